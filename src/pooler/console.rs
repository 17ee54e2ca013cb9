//! What a running PgBouncer says of itself, and whether that is what was written.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Serialize;

use super::version::Version;
use super::{Endpoint, Fleet};
use crate::config::PoolerPolicy;
use crate::error::{Error, ErrorKind, Result};
use crate::pg::conninfo::ConnInfo;
use crate::pg::console::{Console, Line};
use crate::pg::session::{Connector, SessionLimits};
use crate::pg::sql::Sql;
use crate::pooler::settings;

/// The console's database.
const CONSOLE: &str = "pgbouncer";

/// A connector to the console: of this URL, else by the socket that the configuration says PgBouncer listens on.
///
/// Of the environment only HOME and PGPASSFILE count: the other variables are about the server.
///
/// # Errors
/// Kind `usage` for a URL that cannot be.
pub fn connector(url: Option<&str>, policy: &PoolerPolicy) -> Result<Connector> {
    let environment = |name: &str| {
        let of_passwords = ["HOME", "PGPASSFILE"].contains(&name);
        of_passwords.then(|| std::env::var(name).ok()).flatten()
    };
    let setting = |name| settings::value(policy, name).unwrap_or_default();
    let own;
    let text = match url {
        Some(url) => url,
        None => {
            let folder = setting("unix_socket_dir").replace('\\', r"\\").replace('\'', r"\'");
            own = format!("host='{folder}' port={} user={CONSOLE}", setting("listen_port"));
            &own
        }
    };
    let mut info = ConnInfo::resolve(Some(text), &environment)?;
    info.dbname = CONSOLE.into();
    // The console takes no options, and what it is called matters to nobody.
    info.options = None;
    Ok(Connector::new(info, "tenantctl pgbouncer", SessionLimits::default()))
}

/// A setting as it runs.
#[derive(Clone, Debug)]
pub struct Setting {
    /// Its value.
    pub value: String,
    /// Whether a reload can change it.
    pub changeable: bool,
}

/// What a running PgBouncer is like.
#[derive(Debug)]
pub struct Running {
    /// Its version.
    pub version: Version,
    /// Its settings.
    pub settings: BTreeMap<String, Setting>,
    /// Its entries under `[databases]`.
    pub databases: BTreeMap<String, Endpoint>,
    /// `max_user_connections` by user, where the version shows it.
    pub user_limits: Option<BTreeMap<String, String>>,
}

/// Asks the console.
///
/// # Errors
/// When it does not answer, or is something else than PgBouncer's.
pub async fn look(console: &Console) -> Result<Running> {
    let doing = "ask the admin console";
    let version = console.query(&Sql::new("SHOW VERSION"), doing).await?;
    let text = version.first().and_then(|line| line.values().next());
    let version = text.and_then(|text| Version::read(text)).ok_or_else(|| {
        Error::new(
            ErrorKind::Unsupported,
            "what answers there is no admin console of PgBouncer",
        )
        .with_hint("Check --admin-url: it is PgBouncer's own port, as a user of admin_users or by its socket.")
    })?;
    let settings = console.query(&Sql::new("SHOW CONFIG"), doing).await?;
    let databases = console.query(&Sql::new("SHOW DATABASES"), doing).await?;
    let users = console.query(&Sql::new("SHOW USERS"), doing).await?;
    let get = |line: &Line, name: &str| line.get(name).cloned().unwrap_or_default();
    Ok(Running {
        version,
        settings: settings
            .iter()
            .map(|line| {
                let changeable = get(line, "changeable") == "yes";
                (
                    get(line, "key"),
                    Setting {
                        value: get(line, "value"),
                        changeable,
                    },
                )
            })
            .collect(),
        databases: databases
            .iter()
            .map(|line| {
                let at = Endpoint {
                    host: get(line, "host"),
                    port: get(line, "port").parse().unwrap_or_default(),
                    dbname: get(line, "database"),
                };
                (get(line, "name"), at)
            })
            .collect(),
        user_limits: users
            .first()
            .filter(|line| line.contains_key("max_user_connections"))
            .map(|_| {
                users
                    .iter()
                    .map(|line| (get(line, "name"), get(line, "max_user_connections")))
                    .collect()
            }),
    })
}

/// Something that runs otherwise than it was written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// The setting, `database <name>` or `user <name>`.
    pub what: String,
    /// What runs.
    pub running: String,
    /// What was written.
    pub written: String,
    /// Whether a restart brings it about; else it should have been loaded.
    pub needs_restart: bool,
}

impl Running {
    /// Refuses to reload a PgBouncer that reads another file than the one that was written.
    ///
    /// # Errors
    /// Kind `config`.
    pub fn require_file(&self, path: &Path) -> Result<()> {
        let read = self
            .settings
            .get("conffile")
            .map(|s| s.value.as_str())
            .unwrap_or_default();
        let same =
            |a: &Path, b: &Path| a == b || a.canonicalize().is_ok_and(|a| b.canonicalize().is_ok_and(|b| a == b));
        // What a relative name means is known to PgBouncer alone; the name of the file is all there is to compare.
        let read = Path::new(read);
        let fits = if read.is_absolute() {
            same(read, path)
        } else {
            read.file_name() == path.file_name()
        };
        if fits {
            return Ok(());
        }
        Err(Error::config(format!(
            "the running PgBouncer reads {}, not {}",
            read.display(),
            path.display()
        ))
        .with_cause("reloading it would not load what was written")
        .with_hint("Name its folder with --out, or start it with the new file."))
    }

    /// What runs otherwise than these settings, databases and limits.
    pub fn differences(
        &self,
        written: &BTreeMap<String, String>,
        databases: &[(String, Endpoint)],
        fleet: &Fleet,
    ) -> Vec<Difference> {
        let mut found = Vec::new();
        for (name, value) in written {
            let Some(running) = self.settings.get(name) else {
                continue;
            };
            if !means_the_same(name, &running.value, value) {
                found.push(Difference {
                    what: name.clone(),
                    running: running.value.clone(),
                    written: value.clone(),
                    needs_restart: !running.changeable,
                });
            }
        }
        let show = |at: &Endpoint| format!("{} port {} database {}", at.host, at.port, at.dbname);
        for (name, wanted) in databases {
            let running = self.databases.get(name);
            if running != Some(wanted) {
                found.push(Difference {
                    what: format!("database {name}"),
                    running: running.map_or_else(|| "none".into(), show),
                    written: show(wanted),
                    needs_restart: false,
                });
            }
        }
        if let Some(limits) = self
            .user_limits
            .as_ref()
            .filter(|_| self.version >= Version::LIMITS_BY_USER)
        {
            let limited = fleet
                .tenants
                .iter()
                .filter_map(|t| Some((&t.role, t.limit?.to_string())));
            for (role, wanted) in limited {
                let running = limits.get(role).cloned().unwrap_or_else(|| "none".into());
                if running != wanted {
                    found.push(Difference {
                        what: format!("user {role}"),
                        running,
                        written: wanted,
                        needs_restart: false,
                    });
                }
            }
        }
        found
    }
}

/// Whether the console's way of writing a value is the file's.
fn means_the_same(name: &str, running: &str, written: &str) -> bool {
    let number = |text: &str| text.trim().parse::<f64>().ok();
    match (number(running), number(written)) {
        // A mode is octal.
        (Some(a), Some(b)) if name != "unix_socket_mode" => a == b,
        (Some(_), Some(_)) => running.trim_start_matches('0') == written.trim_start_matches('0'),
        _ => running.trim() == written.trim(),
    }
}

/// Has PgBouncer read its files anew.
///
/// # Errors
/// What it refused.
pub async fn reload(console: &Console) -> Result<()> {
    let reloaded = console.query(&Sql::new("RELOAD"), "reload PgBouncer").await;
    reloaded.map(drop).map_err(|error| {
        // The console calls whatever it refuses a violation of the protocol.
        let kind = if error.sqlstate().is_some() { ErrorKind::Unknown } else { error.kind() };
        error.with_kind(kind).with_hint(
            "Look into PgBouncer's log. RELOAD is for users of admin_users, and for the Unix user that PgBouncer runs as by its socket.",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pooler::tests::{fleet, policy};

    fn running(version: Version) -> Running {
        let setting = |value: &str, changeable| Setting {
            value: value.into(),
            changeable,
        };
        Running {
            version,
            settings: [
                ("conffile".into(), setting("/etc/pgbouncer/pgbouncer.ini", true)),
                ("pool_mode".into(), setting("session", true)),
                ("server_lifetime".into(), setting("3600", true)),
                ("listen_port".into(), setting("6432", false)),
            ]
            .into(),
            databases: BTreeMap::new(),
            user_limits: Some(BTreeMap::new()),
        }
    }

    #[test]
    fn what_runs_is_held_against_what_was_written() {
        let written = [
            ("pool_mode", "transaction"),
            ("server_lifetime", "3600.0"),
            ("listen_port", "7000"),
            ("peer_id", "1"),
        ];
        let written = written.map(|(k, v)| (k.to_owned(), v.to_owned())).into();
        let at = Endpoint {
            host: "h".into(),
            port: 5432,
            dbname: "d".into(),
        };
        let found = running(Version::new(1, 18, 0)).differences(&written, &[("shop".into(), at.clone())], &fleet(&[5]));
        let names: Vec<(&str, bool)> = found.iter().map(|d| (d.what.as_str(), d.needs_restart)).collect();
        assert_eq!(
            names,
            [("listen_port", true), ("pool_mode", false), ("database shop", false)]
        );
        let found = running(Version::new(1, 24, 0)).differences(&BTreeMap::new(), &[], &fleet(&[5]));
        assert_eq!(
            (found.len(), found[0].running.as_str(), found[0].written.as_str()),
            (1, "none", "5")
        );
    }

    #[test]
    fn another_file_is_not_reloaded() {
        let running = running(Version::new(1, 18, 0));
        assert!(running.require_file(Path::new("/etc/pgbouncer/pgbouncer.ini")).is_ok());
        assert!(running.require_file(Path::new("/tmp/pgbouncer.ini")).is_err());
    }

    #[test]
    fn the_console_is_reached_by_the_socket_of_the_configuration() {
        let info =
            connector(None, &policy("settings: {unix_socket_dir: /run/pb, listen_port: 7000}")).expect("a connector");
        let info = info.info();
        assert_eq!(
            (info.hosts[0].socket_dir(), info.hosts[0].port),
            (Some("/run/pb"), 7000)
        );
        assert_eq!((info.user.as_str(), info.dbname.as_str()), ("pgbouncer", "pgbouncer"));
    }
}
