//! Runs the checklist: each check by itself, within its time; what goes wrong within one is its result.

use std::time::Duration;

use super::capacity::{self, Objects};
use super::checklist::{self, Check};
use super::observe::Observed;
use super::{Item, caches, deployed, outside, pooler, server, settings, storage, wraparound};
use crate::config::Config;
use crate::error::{Error, ErrorKind, Result};
use crate::interrupt::Interrupt;
use crate::notify::message::Origin;
use crate::pg::session::{Connector, Session};
use crate::provisioner::Provisioner;
use crate::store::{self, WriteOptions};

/// What the checklist is run with.
pub struct Checklist<'a> {
    /// Opens sessions as the admin.
    pub connector: &'a Connector,
    /// The policy.
    pub config: &'a Config,
    /// The store of backups; none if none is named.
    pub store_url: Option<&'a str>,
    /// The receiver of alerts.
    pub alert_url: Option<&'a str>,
    /// The cache of metrics.
    pub redis_url: Option<&'a str>,
    /// The pooler's admin console.
    pub pooler_url: Option<&'a str>,
    /// Memory of the server's machine, where somebody says it.
    pub memory: Option<u64>,
    /// Makes tenants, for `provisioning`; or why it cannot.
    pub provisioner: Option<Result<Provisioner>>,
    /// Checks of the proof of isolation, and tenants that are probed, at a time.
    pub jobs: usize,
    /// Limit for each check, those of isolation apart, which have it for each of theirs.
    pub timeout: Duration,
    /// The user's wish to stop.
    pub interrupt: &'a Interrupt,
}

/// What several checks share, read when the first asks for it.
#[derive(Default)]
struct Shared {
    objects: Option<Option<Objects>>,
}

impl Checklist<'_> {
    /// Runs these checks in their order; `done` is called after each. Returns what was observed with the items.
    ///
    /// # Errors
    /// When the server cannot be reached or read at all, or the user asks to stop.
    pub async fn run(&self, checks: &[&'static Check], done: impl Fn()) -> Result<(Observed, Vec<Item>)> {
        let mut session = self.connector.connect().await?;
        let seen = Observed::read(&session, self.memory).await?;
        let mut shared = Shared::default();
        let mut items = Vec::new();
        for check in checks {
            if session.is_closed() {
                session = self.connector.connect().await?;
            }
            // On the heap: what S3's client is made of is nested deeper than the compiler follows.
            let running = Box::pin(self.one(check, &session, &seen, &mut shared));
            let limit = self.limit(check);
            let result = tokio::select! {
                result = within(limit, running) => result,
                () = self.interrupt.times(1) => {
                    session.cancel().await;
                    return Err(Error::interrupted());
                }
            };
            if self.interrupt.requested() {
                return Err(Error::interrupted());
            }
            match result {
                Some(Ok(some)) => items.extend(some),
                Some(Err(error)) => items.push(undecided(check, &error)),
                None => {
                    session.cancel().await;
                    session.abandon();
                    items.push(late(check, limit.unwrap_or_default()));
                }
            }
            done();
        }
        Ok((seen, items))
    }

    /// The proof of isolation limits each of its own checks, and has no limit as a whole.
    fn limit(&self, check: &Check) -> Option<Duration> {
        let whole = [&checklist::ISOLATION, &checklist::ISOLATION_PROBE].contains(&check);
        (!whole).then_some(self.timeout)
    }

    async fn one(
        &self,
        check: &'static Check,
        session: &Session,
        seen: &Observed,
        shared: &mut Shared,
    ) -> Result<Vec<Item>> {
        let config = self.config;
        let tenants = seen.tenants().map_or(0, |tenants| tenants.count);
        let one = |item: Item| vec![item];
        // Without a tenant there is nothing to judge; without a list of tenants nothing can be judged.
        let of_tenants = ["cache_memory", "chunks", "backup_space", "restore_drill"];
        if let Some(error) = seen.unusable().filter(|_| of_tenants.contains(&check.id)) {
            let item = Item::unknown(check, format!("nothing is known of tenants: {}", error.one_line()));
            return Ok(one(item.remedy(error.hint().unwrap_or_default())));
        }
        Ok(match check.id {
            "server_version" => one(server::version(session, seen).await?),
            "timescaledb" => one(server::timescaledb(session, config, seen).await?),
            "settings" => settings::check(&config.cluster, seen),
            "config_files" => server::config_files(session, seen).await?,
            "durability" => server::durability(seen),
            "autovacuum" => wraparound::check(session, seen).await?,
            "exposure" => server::exposure(session, seen).await?,
            "registry" => one(server::registry(seen)),
            "monitoring" => one(server::monitoring(seen)),
            "connections" => server::connections(config, seen),
            "pooler" => pooler::check(self.pooler_url, session, config, seen).await?,
            "locks" => capacity::locks(seen, shared.objects(session, seen).await?.as_ref()),
            "cache_memory" => {
                self.cache_memory(check, seen, shared.objects(session, seen).await?.as_ref())
                    .await?
            }
            "chunks" => {
                let with = if tenants > 0 {
                    capacity::hypertables(session).await?
                } else {
                    capacity::Hypertables::new()
                };
                capacity::chunks(config, seen, &with)
            }
            "replicas" => outside::replicas(self.connector, session, &config.cluster, seen).await?,
            "store" => one(self.store(check).await),
            "store_encryption" => one(match self.store_url {
                Some(url) => match store::check_url(url) {
                    Ok(()) => storage::encryption(url, &config.backup).about(url),
                    Err(error) => undecided(check, &error),
                },
                None => no_store(check),
            }),
            "backup_space" => one(match self.store_url {
                Some(url) => match store::check_url(url) {
                    Ok(()) => storage::space(url, storage::need(session, seen, url).await?).await,
                    Err(error) => undecided(check, &error),
                },
                None => no_store(check),
            }),
            "restore_drill" => one(storage::drill(session, seen).await?),
            "alerts" => one(outside::alerts(self.alert_url, self.alert_limit()).await),
            "redis" => one(outside::redis(self.redis_url).await),
            "provisioning" => match &self.provisioner {
                Some(Ok(provisioner)) => deployed::provisioning(session, config, provisioner).await?,
                Some(Err(error)) => one(Item::fail(
                    check,
                    error.one_line(),
                    error.hint().unwrap_or_default().to_owned(),
                )),
                None => one(Item::unknown(check, "nothing makes tenants here")),
            },
            "isolation" => one(self.proof().queries().await?),
            "isolation_probe" => one(self.proof().probe().await?),
            "backup_automation" => deployed::backup_automation(session, config, tenants).await?,
            "backup_verified" => one(deployed::backup_verified(session, tenants).await?),
            "alert_test" => {
                let origin = Origin {
                    database: &session.server().database,
                    labels: &config.alerts.labels,
                };
                one(outside::alert_test(self.alert_url, origin, self.alert_limit()).await)
            }
            "baseline" => one(deployed::baseline(session).await?),
            other => {
                return Err(Error::new(ErrorKind::Unsupported, format!("nobody runs check {other}")));
            }
        })
    }

    async fn cache_memory(
        &self,
        check: &'static Check,
        seen: &Observed,
        objects: Option<&Objects>,
    ) -> Result<Vec<Item>> {
        let Some(objects) = objects else {
            return Ok(vec![Item::pass(check, "there is no tenant yet")]);
        };
        let target = self.config.performance_targets.resource_usage.connection_overhead_mb;
        Ok(match caches::measure(self.connector).await? {
            Some(cost) => caches::cache_memory(seen, objects, &cost, target),
            None => vec![Item::unknown(
                check,
                "no tenant has a table of the owner's to measure with",
            )],
        })
    }

    async fn store(&self, check: &'static Check) -> Item {
        let Some(url) = self.store_url else {
            return no_store(check);
        };
        let policy = &self.config.backup;
        let options = WriteOptions {
            storage_class: policy.storage_class.clone(),
            server_side_encryption: policy.server_side_encryption.map(|sse| sse.as_str().to_owned()),
        };
        match store::open(url, &options).await {
            Ok(store) => storage::reach(store.as_ref()).await,
            Err(error) => Item::fail(check, error.one_line(), error.hint().unwrap_or_default().to_owned()),
        }
    }

    fn alert_limit(&self) -> Duration {
        Duration::try_from_secs_f64(self.config.alerts.timeout_s).unwrap_or(self.timeout)
    }

    fn proof(&self) -> deployed::Proof<'_> {
        deployed::Proof {
            connector: self.connector,
            config: self.config,
            jobs: self.jobs,
            timeout: self.timeout,
            interrupt: self.interrupt,
        }
    }
}

impl Shared {
    async fn objects(&mut self, session: &Session, seen: &Observed) -> Result<Option<Objects>> {
        if self.objects.is_none() {
            self.objects = Some(capacity::objects(session, seen).await?);
        }
        Ok(self.objects.clone().flatten())
    }
}

async fn within<T>(limit: Option<Duration>, work: impl Future<Output = T>) -> Option<T> {
    match limit {
        Some(limit) => tokio::time::timeout(limit, work).await.ok(),
        None => Some(work.await),
    }
}

fn no_store(check: &'static Check) -> Item {
    let remedy = "Set backup.store or TENANTCTL_STORE, or give --store: file:///folder or s3://bucket/prefix.";
    if check.id == checklist::STORE.id {
        Item::fail(check, "no store of backups is named", remedy)
    } else {
        Item::unknown(check, "no store of backups is named").remedy(remedy)
    }
}

/// A check that could not be run to its end.
fn undecided(check: &'static Check, error: &Error) -> Item {
    let why = match (error.kind(), error.sqlstate()) {
        (ErrorKind::Permission, _) => "the login's rights do not suffice: ",
        (_, Some("55P03")) => "a lock that it needs was not released in time: ",
        _ => "",
    };
    let item = Item::unknown(check, format!("{why}{}", error.one_line()));
    match error.hint() {
        Some(hint) => item.remedy(hint),
        None => item,
    }
}

/// What does not answer in time is not there; what is slow to be found out is unknown.
fn late(check: &'static Check, limit: Duration) -> Item {
    let detail = format!("no answer within {} s", limit.as_secs_f64());
    let outside = ["replicas", "pooler", "store", "alerts", "redis", "alert_test"];
    if outside.contains(&check.id) {
        Item::fail(
            check,
            detail,
            "Check its address, and the network between here and there.",
        )
    } else {
        Item::unknown(check, detail).remedy("Give it longer with --check-timeout.")
    }
}
