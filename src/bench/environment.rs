//! What a run was made on: server, settings, the machine of the client.

use std::time::Instant;

use serde::Serialize;

use crate::error::Result;
use crate::pg::session::{Connector, column};
use crate::pg::sql::Sql;

/// What a run was made on.
#[derive(Clone, Debug, Serialize)]
pub struct Environment {
    /// The server's version, such as `15.18 (Debian 15.18-0+deb12u1)`.
    pub server_version: String,
    /// The server's major version.
    pub server_major: i32,
    /// Settings of the server that decide how fast it is, as `name = value`.
    pub settings: Vec<String>,
    /// Extensions of the database that the login is connected to, as `name version`. The scratch databases have none of them, but
    /// some are at work in the whole cluster.
    pub extensions: Vec<String>,
    /// Whether client and server share a machine, as far as can be told from the connection.
    pub server_is_local: bool,
    /// Processors of the machine that tenantctl runs on.
    pub client_cpus: usize,
    /// Bytes of memory of that machine; null where the system does not say.
    pub client_memory_bytes: Option<u64>,
    /// tenantctl's version.
    pub tenantctl_version: &'static str,
    /// `release`, or `debug`, which is many times slower.
    pub build: &'static str,
    /// When the run began, ISO 8601 in UTC, by the server's clock.
    pub started_at: String,
    /// How long it took, in seconds.
    pub duration_s: f64,
    /// The suites and their options, as they were given.
    pub arguments: Vec<String>,
}

/// A run that began.
pub struct Begun {
    environment: Environment,
    since: Instant,
}

impl Begun {
    /// Looks at the server and at this machine. `arguments` are the suites and their options.
    ///
    /// # Errors
    /// When the server cannot be reached or refuses the query.
    pub async fn now(connector: &Connector, arguments: Vec<String>) -> Result<Self> {
        let session = connector.connect().await?;
        let row = session
            .query_one(
                &Sql::new(include_str!("../../sql/bench/environment.sql")),
                &[],
                "read the server's settings",
            )
            .await?;
        let on_socket = connector.info().hosts[session.host()].socket_dir().is_some();
        let mut system = sysinfo::System::new();
        system.refresh_memory();
        Ok(Self {
            environment: Environment {
                server_version: session.server().version.clone(),
                server_major: session.server().major(),
                settings: column(&row, "settings")?,
                extensions: column(&row, "extensions")?,
                server_is_local: on_socket || column(&row, "same_address")?,
                client_cpus: std::thread::available_parallelism().map_or(1, usize::from),
                client_memory_bytes: Some(system.total_memory()).filter(|bytes| *bytes > 0),
                tenantctl_version: env!("CARGO_PKG_VERSION"),
                build: if cfg!(debug_assertions) { "debug" } else { "release" },
                started_at: column(&row, "now")?,
                duration_s: 0.0,
                arguments,
            },
            since: Instant::now(),
        })
    }

    /// The run has ended.
    pub fn end(self) -> Environment {
        Environment {
            duration_s: self.since.elapsed().as_secs_f64(),
            ..self.environment
        }
    }
}
