//! Metrics in Redis: each tenant's document as `metrics:{tenant_id}`, until it is out of date.

use std::collections::BTreeSet;
use std::time::Duration;

use redis::AsyncConnectionConfig;
use redis::aio::MultiplexedConnection;
use serde::{Deserialize, Serialize};

use super::{Fleet, TenantMetrics};
use crate::error::{Error, ErrorKind, Result};
use crate::pg::tls;
use crate::tenant::TenantId;

/// What stands before the tenant's id in a key.
const PREFIX: &str = "metrics:";

/// The longest that connecting may take.
const CONNECT: Duration = Duration::from_secs(3);

/// The longest wait for the answer to one pipeline.
const ANSWER: Duration = Duration::from_secs(5);

/// The longest that storing all documents, or reading them, may take.
const ALL: Duration = Duration::from_secs(20);

/// Documents in one pipeline, and bytes after which it is sent with fewer.
const PIPELINE: usize = 500;
const PIPELINE_BYTES: usize = 1 << 20;

/// A tenant's document as it lies in Redis.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Cached {
    /// The document.
    #[serde(flatten)]
    pub tenant: TenantMetrics,
    /// The database it was measured in: several that share a Redis may have tenants of the same id.
    pub database_name: String,
    /// When it was measured, as seconds since 1970.
    pub unix_time: f64,
}

/// The same, borrowed.
#[derive(Serialize)]
struct Stored<'a> {
    #[serde(flatten)]
    tenant: &'a TenantMetrics,
    database_name: &'a str,
    unix_time: f64,
}

/// What a key holds.
#[derive(Debug)]
pub enum Entry {
    /// Nothing: never written, or out of date.
    Missing,
    /// Something that is no document of this tenant.
    Unreadable(String),
    /// The document.
    Document(Box<Cached>),
}

/// Stores each tenant's document for so many seconds.
///
/// # Errors
/// Kind `config` for a URL that is none, `connection` when Redis is away or refuses. Some documents may be stored then.
pub async fn store(url: &str, fleet: &Fleet, ttl_seconds: u64) -> Result<()> {
    bounded(async {
        let mut redis = Redis::connect(url).await?;
        let mut waiting = Pipeline::default();
        for tenant in &fleet.tenants {
            let document = serde_json::to_vec(&Stored {
                tenant,
                database_name: &fleet.cluster.database,
                unix_time: fleet.unix_time,
            })
            .map_err(|e| Error::new(ErrorKind::Unknown, "cannot write metrics as JSON").with_cause(e))?;
            waiting.bytes += document.len();
            waiting.documents += 1;
            let key = key(&tenant.tenant_id);
            waiting
                .pipe
                .cmd("SETEX")
                .arg(key)
                .arg(ttl_seconds)
                .arg(document)
                .ignore();
            if waiting.is_full() {
                redis.send(std::mem::take(&mut waiting)).await?;
            }
        }
        redis.send(waiting).await
    })
    .await
}

/// What Redis has of these tenants, in their order.
///
/// # Errors
/// Kind `config` for a URL that is none, `connection` when Redis is away or refuses.
pub async fn load(url: &str, ids: &[TenantId]) -> Result<Vec<(TenantId, Entry)>> {
    bounded(async {
        let mut redis = Redis::connect(url).await?;
        let mut entries = Vec::with_capacity(ids.len());
        for some in ids.chunks(PIPELINE) {
            let mut command = redis::cmd("MGET");
            for id in some {
                command.arg(key(id));
            }
            let values: Vec<Option<Vec<u8>>> = redis.ask(&command).await?;
            if values.len() != some.len() {
                return Err(redis.error("answers with another number of values than was asked for"));
            }
            entries.extend(
                some.iter()
                    .zip(values)
                    .map(|(id, value)| (id.clone(), entry(id, value))),
            );
        }
        Ok(entries)
    })
    .await
}

/// The tenants that Redis has something of, whichever database they belong to.
///
/// # Errors
/// Kind `config` for a URL that is none, `connection` when Redis is away or refuses.
pub async fn ids(url: &str) -> Result<Vec<TenantId>> {
    bounded(async {
        let mut redis = Redis::connect(url).await?;
        // SCAN may name a key twice.
        let mut found = BTreeSet::new();
        let mut cursor = 0_u64;
        loop {
            let mut command = redis::cmd("SCAN");
            command
                .arg(cursor)
                .arg("MATCH")
                .arg(format!("{PREFIX}*"))
                .arg("COUNT")
                .arg(1000);
            let (next, keys): (u64, Vec<Vec<u8>>) = redis.ask(&command).await?;
            // What others keep under such a key has seldom the form of a tenant's id.
            let ids = keys.iter().filter_map(|key| {
                let name = std::str::from_utf8(key).ok()?.strip_prefix(PREFIX)?;
                name.parse::<TenantId>().ok()
            });
            found.extend(ids);
            cursor = next;
            if cursor == 0 {
                return Ok(found.into_iter().collect());
            }
        }
    })
    .await
}

/// Writes a key that expires by itself, reads and removes it. Returns the address, without user and password.
///
/// # Errors
/// Kind `config` for a URL that is none, `connection` when Redis is away or refuses.
pub async fn probe(url: &str) -> Result<String> {
    bounded(async {
        let mut redis = Redis::connect(url).await?;
        // A colon cannot be in a tenant's id, so this is no tenant's key.
        let key = format!("{PREFIX}:probe:{}", crate::pg::password::random_hex(8));
        let _: () = redis.ask(redis::cmd("SETEX").arg(&key).arg(60).arg("1")).await?;
        let value: Option<String> = redis.ask(redis::cmd("GET").arg(&key)).await?;
        let removed: u64 = redis.ask(redis::cmd("DEL").arg(&key)).await?;
        if value.as_deref() != Some("1") || removed != 1 {
            return Err(redis.error("has lost the key that was just written"));
        }
        Ok(redis.address)
    })
    .await
}

fn key(id: &TenantId) -> String {
    format!("{PREFIX}{id}")
}

fn entry(id: &TenantId, value: Option<Vec<u8>>) -> Entry {
    let Some(value) = value else {
        return Entry::Missing;
    };
    match serde_json::from_slice::<Cached>(&value) {
        Ok(cached) if cached.tenant.tenant_id != *id => {
            Entry::Unreadable(format!("it is about tenant {}", cached.tenant.tenant_id))
        }
        Ok(cached) => Entry::Document(Box::new(cached)),
        // serde's message may quote what is there, which is nobody's business here.
        Err(error) => Entry::Unreadable(format!(
            "it is no document of metrics (line {}, column {})",
            error.line(),
            error.column()
        )),
    }
}

async fn bounded<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    match tokio::time::timeout(ALL, work).await {
        Ok(result) => result,
        Err(_) => Err(Error::new(ErrorKind::Connection, "Redis is too slow")
            .with_cause(format!("it was not done after {} s", ALL.as_secs()))),
    }
}

#[derive(Default)]
struct Pipeline {
    pipe: redis::Pipeline,
    documents: usize,
    bytes: usize,
}

impl Pipeline {
    fn is_full(&self) -> bool {
        self.documents >= PIPELINE || self.bytes >= PIPELINE_BYTES
    }
}

/// A connection, and its address without user and password.
struct Redis {
    connection: MultiplexedConnection,
    address: String,
}

impl Redis {
    async fn connect(url: &str) -> Result<Self> {
        // The library takes the process's.
        tls::install_provider();
        // Its message is left out: it may repeat what stands in the URL.
        let client = redis::Client::open(url.trim()).map_err(|_| {
            Error::config("the URL of Redis cannot be read").with_hint(
                "Write redis://[user:password@]host[:port][/number] or rediss://..., with special characters as %40 and so on, into TENANTCTL_REDIS_URL or metrics.redis_url.",
            )
        })?;
        let address = client.get_connection_info().addr().to_string();
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT))
            .set_response_timeout(Some(ANSWER));
        let connecting = client.get_multiplexed_async_connection_with_config(&config);
        match tokio::time::timeout(CONNECT + ANSWER, connecting).await {
            Ok(Ok(connection)) => Ok(Self { connection, address }),
            Ok(Err(error)) => Err(cannot_connect(&address).with_cause(error).with_hint(
                "Check TENANTCTL_REDIS_URL or metrics.redis_url: host, port, password, TLS (rediss://); and that Redis runs.",
            )),
            Err(_) => Err(cannot_connect(&address).with_cause("it does not answer")),
        }
    }

    async fn ask<T: redis::FromRedisValue>(&mut self, command: &redis::Cmd) -> Result<T> {
        let answer = command.query_async(&mut self.connection).await;
        answer.map_err(|error| self.error(error))
    }

    async fn send(&mut self, pipeline: Pipeline) -> Result<()> {
        if pipeline.documents == 0 {
            return Ok(());
        }
        let answer = pipeline.pipe.query_async::<()>(&mut self.connection).await;
        answer.map_err(|error| self.error(error))
    }

    fn error(&self, cause: impl std::fmt::Display) -> Error {
        Error::new(ErrorKind::Connection, format!("Redis at {} refuses", self.address)).with_cause(cause)
    }
}

fn cannot_connect(address: &str) -> Error {
    Error::new(ErrorKind::Connection, format!("cannot connect to Redis at {address}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_document_of_the_tenant_is_told() {
        let id: TenantId = "acme".parse().expect("an id");
        assert!(matches!(entry(&id, None), Entry::Missing));
        for garbage in [
            &b""[..],
            b"garbage",
            b"{}",
            b"null",
            b"\xff\xfe",
            b"{\"tenant_id\":\"acme\"}",
        ] {
            let Entry::Unreadable(why) = entry(&id, Some(garbage.to_vec())) else {
                panic!("{garbage:?} was read");
            };
            assert!(why.starts_with("it is no document"), "{why}");
        }
    }
}
