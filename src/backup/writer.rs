//! Makes backups: of many tenants at a time, and of one tenant with many sessions.
//!
//! A set of workers shares all tenants. One becomes the leader of a tenant: it locks it, opens the snapshot and plans its
//! parts; the others help with the parts of tenants that are under way before they begin with the next one. So four sessions
//! are as busy with one large tenant as with a thousand small ones.

use std::collections::{BTreeMap, VecDeque};
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::Serialize;
use tokio::sync::{Notify, mpsc, watch};

use super::active::{Active, Parts};
use super::ddl;
use super::load;
use super::lock::{TenantLock, clear};
use super::manifest::{
    BackupId, DdlSource, FORMAT, LOAD, MANIFEST, Manifest, Member, Part, SUMS, Sequence, Server, Structure, Table,
    member_name, sha256,
};
use super::member::{MemberWriter, Packing, write_plain};
use super::parts::{self, Copied, Counters};
use super::snapshot::{self, Shown, Source};
use super::template::{self as template_member, TEMPLATE};
use crate::catalog;
use crate::error::{Error, ErrorKind, Result};
use crate::fleet::RECYCLE_AFTER;
use crate::interrupt::Interrupt;
use crate::pg::eviction::end_lost;
use crate::pg::record;
use crate::pg::session::{Connector, Server as PgServer, Session};
use crate::pg::sql::Sql;
use crate::plan::backup::{Begun, Finished, begun, failed, finished};
use crate::store::{Metadata, Store};
use crate::tenant::{Template, TenantId};

/// Parts smaller than this are left to the leader: to join its snapshot takes longer.
const WORTH_HELP: u64 = 1 << 20;
/// How often a standby that replays over our snapshot is tried again.
const CONFLICTS: usize = 2;
/// How often the last worker asks for a place on a server that is full, and how long it waits in between.
const PLACE_ATTEMPTS: usize = 10;
const PLACE_PAUSE: Duration = Duration::from_millis(200);

/// Makes backups of tenants of one database.
pub struct Writer {
    /// Opens sessions as the admin on the primary.
    pub connector: Connector,
    /// Opens sessions on the standby that is read instead; none: the primary is read.
    pub replica: Option<Connector>,
    /// Where they are put.
    pub store: Arc<dyn Store>,
    /// How they are packed.
    pub packing: Packing,
    /// What they are for.
    pub backup_type: String,
    /// Days after which they may be pruned.
    pub keep_days: u32,
    /// What a part is meant to hold at most, [`parts::PART_BYTES`] but for tests.
    pub part_bytes: u64,
    /// Counts along.
    pub counters: Arc<Counters>,
}

/// A backup that is whole.
#[derive(Clone, Debug, Serialize)]
pub struct Done {
    /// The backup.
    pub backup_id: BackupId,
    /// Whose it is.
    pub tenant_id: TenantId,
    /// The tenant's schema.
    pub schema_name: String,
    /// Its type.
    pub backup_type: String,
    /// The store's URL.
    pub store: String,
    /// Its prefix there.
    pub key: String,
    /// Bytes before compression.
    pub raw_bytes: u64,
    /// Bytes in the store, without manifest and checksums.
    pub stored_bytes: u64,
    /// Rows of all tables.
    pub rows: u64,
    /// The moment that it shows the tenant at, ISO 8601 in UTC.
    pub created_at: String,
    /// When it may be pruned, ISO 8601 in UTC.
    pub expires_at: String,
    /// From before the tenant's lock to the manifest, in milliseconds.
    pub duration_ms: f64,
    /// Where its DDL comes from.
    pub ddl: DdlSource,
    /// Whether it is encrypted.
    pub encrypted: bool,
    /// Whether it was read from a standby.
    pub from_replica: bool,
    /// What of hypertables it does not hold, such as compression and jobs.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub left_out: Vec<String>,
}

/// What became of each tenant.
pub type Results = mpsc::UnboundedReceiver<(TenantId, Result<Done>)>;

impl Writer {
    /// Backs up many tenants with so many workers, each with a session that reads and one that holds a tenant's lock,
    /// and one session for all that writes what is to hold at once. A failure does not stop the others; an interrupt
    /// begins no more and takes back what is half written.
    ///
    /// Results arrive as they are known; failures are in the operation log by then, unless no session could be had. The
    /// channel closes when all is done; tenants not begun after an interrupt are absent.
    pub fn many(self, tenants: Vec<TenantId>, jobs: usize, interrupt: &Interrupt) -> Results {
        let (sender, receiver) = mpsc::unbounded_channel();
        let run = Arc::new(Run {
            writer: self,
            state: Mutex::new(State {
                waiting: tenants.into(),
                active: Vec::new(),
                leaders: 0,
                workers: jobs,
            }),
            changed: Notify::new(),
            interrupt: interrupt.clone(),
            sender,
            source: tokio::sync::Mutex::new(None),
            registry: tokio::sync::Mutex::new(None),
            templates: tokio::sync::Mutex::new(BTreeMap::new()),
            describer: ddl::Describer::new(),
        });
        for _ in 0..jobs {
            let worker = Worker {
                run: Arc::clone(&run),
                reader: Held::default(),
                locker: Held::default(),
            };
            tokio::spawn(worker.work());
        }
        receiver
    }

    fn metadata(&self, shown: &Shown) -> Metadata {
        Metadata(BTreeMap::from([
            ("tenant_id", shown.tenant.tenant_id.to_string()),
            ("schema_name", shown.tenant.schema_name.clone()),
            ("backup_type", self.backup_type.clone()),
            ("backup_date", shown.created_at.clone()),
        ]))
    }
}

/// What all workers share.
struct Run {
    writer: Writer,
    state: Mutex<State>,
    /// Something in the state is different.
    changed: Notify,
    interrupt: Interrupt,
    sender: mpsc::UnboundedSender<(TenantId, Result<Done>)>,
    source: tokio::sync::Mutex<Option<Source>>,
    /// Writes rows of backups that begin: sessions that hold locks commit only at the end.
    registry: tokio::sync::Mutex<Option<Arc<Session>>>,
    templates: tokio::sync::Mutex<BTreeMap<(String, i32), Arc<Template>>>,
    describer: ddl::Describer,
}

struct State {
    waiting: VecDeque<TenantId>,
    /// Tenants under way with parts that others may copy.
    active: Vec<Arc<Active>>,
    /// Workers that lead a tenant, so that there may be parts to come.
    leaders: usize,
    workers: usize,
}

/// What a worker does next.
enum Task {
    Help(Arc<Active>),
    Lead(TenantId),
    Wait,
    End,
}

impl Run {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn next(&self) -> Task {
        let mut state = self.state();
        if let Some(active) = state.active.iter().find(|active| active.wants_help()) {
            return Task::Help(Arc::clone(active));
        }
        if !self.interrupt.requested()
            && let Some(tenant) = state.waiting.pop_front()
        {
            state.leaders += 1;
            return Task::Lead(tenant);
        }
        if state.leaders > 0 {
            return Task::Wait;
        }
        state.workers -= 1;
        Task::End
    }

    fn led(&self) {
        self.state().leaders -= 1;
        self.changed.notify_waiters();
    }

    /// Gives a tenant back and signs off, unless this worker is the last.
    fn leave_to_others(&self, tenant: &TenantId) -> bool {
        let mut state = self.state();
        let others = state.workers > 1;
        if others {
            state.waiting.push_front(tenant.clone());
            state.leaders -= 1;
            state.workers -= 1;
            self.changed.notify_waiters();
        }
        others
    }

    /// No session can be had, so nothing can be done to what is left: says so for each, instead of trying each.
    fn fail_all(&self, tenant: TenantId, error: &Error) {
        let waiting: Vec<TenantId> = self.state().waiting.drain(..).collect();
        for tenant in std::iter::once(tenant).chain(waiting) {
            let failures = self.writer.connector.failures();
            failures.note("backup", Some(&tenant), error);
            let _ = self.sender.send((tenant, Err(error.clone())));
        }
    }

    async fn source(&self, reader: &Session) -> Result<Source> {
        let mut known = self.source.lock().await;
        if let Some(source) = *known {
            return Ok(source);
        }
        let source = snapshot::source(reader).await?;
        if self.writer.replica.is_some() {
            let primary = snapshot::source(self.registry().await?.as_ref()).await?;
            if primary.system_identifier != source.system_identifier {
                return Err(Error::usage("the replica is not one of this primary")
                    .with_cause(format!(
                        "its system identifier is {}, the primary's {}",
                        source.system_identifier, primary.system_identifier
                    ))
                    .with_hint("Check --from-replica and cluster.replicas against --database-url."));
            }
        }
        *known = Some(source);
        Ok(source)
    }

    async fn registry(&self) -> Result<Arc<Session>> {
        let mut held = self.registry.lock().await;
        if let Some(session) = held.as_ref().filter(|session| !session.is_closed()) {
            return Ok(Arc::clone(session));
        }
        let session = Arc::new(self.writer.connector.connect().await?);
        *held = Some(Arc::clone(&session));
        Ok(session)
    }

    async fn template(&self, reader: &Session, name: &str, version: i32) -> Result<Arc<Template>> {
        let mut known = self.templates.lock().await;
        let key = (name.to_owned(), version);
        if let Some(template) = known.get(&key) {
            return Ok(Arc::clone(template));
        }
        let found = catalog::template::version(reader, name, Some(version)).await?;
        let template = Arc::new(found.ok_or_else(|| {
            Error::new(
                ErrorKind::Unsupported,
                format!("the registry lacks version {version} of template {name}"),
            )
            .with_hint(
                "Someone deleted it by hand. Restore its rows in tenantctl.template_versions and template_modules.",
            )
        })?);
        known.insert(key, Arc::clone(&template));
        Ok(template)
    }
}

/// A session that is kept from tenant to tenant, and replaced now and then.
#[derive(Default)]
struct Held {
    session: Option<Session>,
    used: usize,
}

impl Held {
    async fn take(&mut self, connector: &Connector) -> Result<Session> {
        self.used += 1;
        match self.session.take() {
            Some(session) if !session.is_closed() && self.used <= RECYCLE_AFTER => Ok(session),
            _ => {
                self.used = 1;
                connector.connect().await
            }
        }
    }

    /// One on the server of a tenant's snapshot: another one may know that snapshot's name for something else.
    async fn take_beside(&mut self, connector: &Connector, active: &Active) -> Result<Session> {
        self.used += 1;
        match self.session.take() {
            Some(session)
                if !session.is_closed()
                    && self.used <= RECYCLE_AFTER
                    && session.server().started == active.server.started =>
            {
                Ok(session)
            }
            _ => {
                self.used = 1;
                connector.connect_beside(&active.server, active.host).await
            }
        }
    }

    fn keep(&mut self, session: Session) {
        self.session = Some(session);
    }
}

/// One of the workers.
struct Worker {
    run: Arc<Run>,
    reader: Held,
    locker: Held,
}

impl Worker {
    async fn work(mut self) {
        let run = Arc::clone(&self.run);
        loop {
            let changed = run.changed.notified();
            match run.next() {
                Task::Help(active) => self.help(&active).await,
                Task::Lead(tenant) => {
                    let (reader, locker) = match self.sessions_for(&tenant).await {
                        Ok(Some(sessions)) => sessions,
                        Ok(None) => return,
                        Err(error) => {
                            run.fail_all(tenant, &error);
                            run.led();
                            continue;
                        }
                    };
                    let result = self.lead(reader, locker, &tenant).await;
                    if let Err(error) = &result {
                        let registry = run.registry().await.ok();
                        let connector = &run.writer.connector;
                        record::failure(connector, registry.as_deref(), "backup", Some(&tenant), error).await;
                    }
                    let _ = run.sender.send((tenant, result));
                    run.led();
                }
                Task::Wait => changed.await,
                Task::End => {
                    run.changed.notify_waiters();
                    return;
                }
            }
        }
    }

    /// The sessions to lead a tenant with; none when the server has no place for this many, and the tenant was left to the
    /// workers that have theirs.
    async fn sessions_for(&mut self, tenant: &TenantId) -> Result<Option<(Session, Session)>> {
        let mut attempts = 0;
        loop {
            match self.sessions().await {
                Err(error) if error.sqlstate() == Some("53300") => {
                    if self.run.leave_to_others(tenant) {
                        return Ok(None);
                    }
                    // The last one: what the others have let go of is free in a moment.
                    attempts += 1;
                    if attempts > PLACE_ATTEMPTS {
                        return Err(error);
                    }
                    tokio::time::sleep(PLACE_PAUSE).await;
                }
                sessions => return sessions.map(Some),
            }
        }
    }

    async fn sessions(&mut self) -> Result<(Session, Session)> {
        let writer = &self.run.writer;
        // All need it: workers that took the last places for themselves would fail every tenant.
        self.run.registry().await?;
        let locker = self.locker.take(&writer.connector).await?;
        let reader = self
            .reader
            .take(writer.replica.as_ref().unwrap_or(&writer.connector))
            .await?;
        Ok((reader, locker))
    }

    async fn help(&mut self, active: &Active) {
        let writer = &self.run.writer;
        let connector = writer.replica.as_ref().unwrap_or(&writer.connector);
        let joined = async {
            let session = self.reader.take_beside(connector, active).await?;
            snapshot::join(&session, &active.source, &active.snapshot).await?;
            Ok::<_, Error>(session)
        };
        match joined.await {
            Ok(session) => {
                active.copy_parts(writer, &session, active.worth_help).await;
                session.rollback().await;
                self.reader.keep(session);
            }
            Err(error) => {
                // The leader goes on alone; that nobody tries again and again is all that is needed.
                tracing::info!(backup = %active.id, %error, cause = error.cause(), "no help with the parts of a backup");
                active.parts().joinable = false;
            }
        }
    }

    /// Backs up one tenant.
    async fn lead(&mut self, mut reader: Session, locker: Session, tenant: &TenantId) -> Result<Done> {
        let run = Arc::clone(&self.run);
        let started = Instant::now();
        let lock = match TenantLock::take_on(locker, tenant).await {
            Ok(lock) => lock,
            Err(refused) => {
                let (locker, error) = *refused;
                self.locker.keep(locker);
                self.reader.keep(reader);
                return Err(error);
            }
        };
        let mut conflicts = 0;
        let result = loop {
            let result = run.back_up(&lock, &reader, tenant, started).await;
            reader.rollback().await;
            let Err(error) = result else { break result };
            // A standby replays what removes rows that the snapshot still needs.
            let Some(replica) = run
                .writer
                .replica
                .as_ref()
                .filter(|_| error.sqlstate() == Some("40001"))
            else {
                break Err(error);
            };
            conflicts += 1;
            if conflicts > CONFLICTS || lock.session().is_closed() {
                break Err(error.with_hint("The replica replays what removes rows that the backup still reads. Set hot_standby_feedback = on there, or raise max_standby_streaming_delay."));
            }
            tracing::info!(%tenant, %error, "the replica's replay got in the way, trying again");
            if reader.is_closed() {
                match replica.connect().await {
                    Ok(again) => reader = again,
                    Err(error) => break Err(error),
                }
            }
        };
        self.reader.keep(reader);
        let server = lock.session().server().clone();
        let released = lock.release().await;
        match (result, released) {
            (result, Ok(locker)) => {
                self.locker.keep(locker);
                result
            }
            (Err(error), Err(_)) => Err(error),
            // Written, and not known whether it counts.
            (Ok(done), Err(error)) => run.settle(&server, done, error).await,
        }
    }
}

impl Run {
    /// One attempt, under the tenant's lock. What it writes on the lock's session is committed by the caller.
    async fn back_up(&self, lock: &TenantLock, reader: &Session, tenant: &TenantId, started: Instant) -> Result<Done> {
        let writer = &self.writer;
        lock.clear_dead(&*writer.store).await?;
        lock.clear_dead_restores(&writer.connector).await?;
        let seen = async {
            let source = self.source(reader).await?;
            let shown = snapshot::open(reader, &source, tenant, writer.keep_days).await?;
            let template = self.template(reader, &shown.origin.name, shown.origin.version).await?;
            let ddl = self.ddl(reader, &shown).await?;
            let sequences =
                catalog::contents::sequences(reader, &shown.tenant.schema_name, &shown.contents.sequences).await?;
            Ok((source, shown, template, ddl, sequences))
        };
        let (source, shown, template, ddl, sequences) = tokio::select! {
            seen = seen => seen?,
            () = self.interrupt.times(1) => {
                reader.cancel().await;
                return Err(Error::interrupted());
            }
        };
        let id = BackupId::new(tenant, &shown.moment);
        let encrypted = !writer.packing.recipients.is_empty();
        let row = begun(&Begun {
            backup_id: id.as_str(),
            tenant_id: tenant,
            schema_name: &shown.tenant.schema_name,
            backup_type: &writer.backup_type,
            store: writer.store.url(),
            key: &id.prefix(),
            from_replica: writer.replica.is_some(),
            encrypted,
        });
        self.registry()
            .await?
            .batch(&row, &format!("begin backup {id}"))
            .await?;
        let hypertables = shown.hypertable_names();
        let waiting = parts::plan(&shown.contents.tables, &hypertables, writer.part_bytes);
        let active = Arc::new(Active {
            id: id.clone(),
            schema: shown.tenant.schema_name.clone(),
            snapshot: shown.snapshot.clone(),
            server: reader.server().clone(),
            host: reader.host(),
            source,
            metadata: writer.metadata(&shown),
            tables: shown.contents.tables.clone(),
            hypertables,
            worth_help: WORTH_HELP.min(writer.part_bytes / 2),
            work: Mutex::new(Parts {
                waiting: waiting.into(),
                under_way: 0,
                copied: Vec::new(),
                error: None,
                joinable: true,
            }),
            idle: Notify::new(),
            stop: watch::Sender::new(false),
        });
        let written = async {
            let (members, copied) = self.write_all(&active, reader, &template, &ddl).await?;
            let structure = ddl.structure.clone();
            let manifest = self.manifest(&shown, &active, structure, sequences, members, copied, reader);
            self.commit(lock, &active, manifest, started).await
        }
        .await;
        let error = match written {
            Ok(manifest) => {
                return Ok(Done {
                    backup_id: id.clone(),
                    tenant_id: tenant.clone(),
                    schema_name: shown.tenant.schema_name.clone(),
                    backup_type: manifest.backup_type,
                    store: writer.store.url().to_owned(),
                    key: id.prefix(),
                    raw_bytes: manifest.raw_bytes,
                    stored_bytes: manifest.stored_bytes,
                    rows: manifest.rows,
                    created_at: manifest.created_at,
                    expires_at: manifest.expires_at,
                    duration_ms: manifest.duration_ms,
                    ddl: manifest.structure.source,
                    encrypted,
                    from_replica: writer.replica.is_some(),
                    left_out: manifest.left_out,
                });
            }
            Err(error) => error,
        };
        self.take_back(lock, &id, &error).await;
        Err(error)
    }

    async fn ddl(&self, reader: &Session, shown: &Shown) -> Result<ddl::Ddl> {
        let read_from = self.writer.replica.as_ref().unwrap_or(&self.writer.connector);
        let hypertables: Vec<String> = shown.hypertable_names().into_iter().collect();
        let subject = ddl::Subject {
            session: reader,
            info: read_from.info(),
            snapshot: &shown.snapshot,
            schema: &shown.tenant.schema_name,
            template: &shown.origin.name,
            version: shown.origin.version,
            modules: &shown.origin.modules,
            hypertables: &hypertables,
        };
        self.describer.describe(&subject, &shown.contents).await
    }

    /// Writes the small members and, with whoever helps, all parts.
    async fn write_all(
        &self,
        active: &Arc<Active>,
        reader: &Session,
        template: &Template,
        ddl: &ddl::Ddl,
    ) -> Result<(Vec<Member>, Vec<Copied>)> {
        let writer = &self.writer;
        let shared = !active.source.citus && active.wants_help();
        if shared {
            self.state().active.push(Arc::clone(active));
            self.changed.notify_waiters();
        }
        let template = template_member::to_json(template);
        let small = async {
            let texts = [
                ("pre-data.sql", ddl.pre_data.as_str()),
                ("post-data.sql", ddl.post_data.as_str()),
                (TEMPLATE, template.as_str()),
            ];
            let members = texts.map(|(stem, text)| {
                let name = member_name(stem, !writer.packing.recipients.is_empty());
                write_packed(writer, active, name, text)
            });
            let members = futures_util::future::join_all(members).await;
            let members: Result<Vec<Member>> = members.into_iter().collect();
            if let Err(error) = &members {
                active.fail(error.clone());
            }
            members
        };
        let copying = async {
            active.copy_parts(writer, reader, 0).await;
            active.all_copied().await
        };
        let interrupted = async {
            self.interrupt.times(1).await;
            active.fail(Error::interrupted());
            std::future::pending::<Infallible>().await
        };
        // What is under way ends by itself once it is told to stop.
        let (members, copied) = tokio::select! {
            both = futures_util::future::join(small, copying) => both,
            never = interrupted => match never {},
        };
        if shared {
            self.state().active.retain(|other| !Arc::ptr_eq(other, active));
        }
        // The snapshot has served.
        reader.rollback().await;
        let copied = copied?;
        Ok((members?, copied))
    }

    #[expect(clippy::too_many_arguments, reason = "a manifest has that many sources")]
    fn manifest(
        &self,
        shown: &Shown,
        active: &Active,
        structure: Structure,
        sequences: Vec<Sequence>,
        members: Vec<Member>,
        copied: Vec<Copied>,
        reader: &Session,
    ) -> Manifest {
        let writer = &self.writer;
        let server = reader.server();
        Manifest {
            format: FORMAT,
            tool_version: env!("CARGO_PKG_VERSION").to_owned(),
            backup_id: active.id.clone(),
            backup_type: writer.backup_type.clone(),
            created_at: shown.created_at.clone(),
            expires_at: shown.expires_at.clone(),
            duration_ms: 0.0,
            tenant: shown.tenant.clone(),
            server: Server {
                version_num: server.version_num,
                version: server.version.clone(),
                database: server.database.clone(),
                replica: server.in_recovery,
            },
            template: shown.origin.clone(),
            structure,
            recipients: writer.packing.recipients.texts().to_vec(),
            tables: tables(active, copied),
            sequences,
            hypertables: shown.hypertables.clone(),
            left_out: shown.left_out.clone(),
            materialized_views: shown.contents.materialized_views.clone(),
            members,
            rows: 0,
            raw_bytes: 0,
            stored_bytes: 0,
        }
    }

    /// Writes what makes the members a backup, and its row. The row comes first and is committed last: a backup that somebody
    /// has taken for dead gets no manifest.
    async fn commit(
        &self,
        lock: &TenantLock,
        active: &Active,
        mut manifest: Manifest,
        started: Instant,
    ) -> Result<Manifest> {
        let (store, id, metadata) = (&*self.writer.store, &active.id, &active.metadata);
        let script = load::script(&active.schema, &manifest.tables, &manifest.sequences);
        manifest
            .members
            .push(write_plain(store, id, LOAD, metadata, &script).await?);
        manifest.rows = manifest.tables.iter().map(|table| table.rows).sum();
        manifest.raw_bytes = manifest.all_members().map(|member| member.raw_bytes).sum();
        manifest.stored_bytes = manifest.all_members().map(|member| member.stored_bytes).sum();
        manifest.duration_ms = (started.elapsed().as_secs_f64() * 1_000_000.0).round() / 1000.0;
        let json = manifest.to_json();
        let row = Sql::new("SAVEPOINT whole;\n").append(finished(&Finished {
            backup_id: id.as_str(),
            tenant_id: &manifest.tenant.tenant_id,
            created_at: &manifest.created_at,
            expires_at: &manifest.expires_at,
            raw_bytes: manifest.raw_bytes,
            stored_bytes: manifest.stored_bytes,
            rows: manifest.rows,
            duration_ms: manifest.duration_ms,
            manifest_sha256: &sha256(json.as_bytes()),
        }));
        let written = async {
            let doing = format!("record backup {id}");
            lock.session()
                .batch(&row, &doing)
                .await
                .map_err(|error| match error.sqlstate() {
                    Some("22012") => error
                        .with_kind(ErrorKind::InUse)
                        .with_message(format!(
                            "backup {id} was taken for dead and cleared away by another run"
                        ))
                        .with_hint("Its session with the server was lost for a time. Run the command again."),
                    _ => error,
                })?;
            write_plain(store, id, SUMS, metadata, &manifest.sums()).await?;
            write_plain(store, id, MANIFEST, metadata, &json).await
        };
        match written.await {
            Ok(_) => Ok(manifest),
            Err(error) => {
                let back = Sql::new("ROLLBACK TO SAVEPOINT whole");
                if let Err(why) = lock.session().batch(&back, "take the row back").await {
                    tracing::debug!(%why, "savepoint");
                }
                Err(error)
            }
        }
    }

    /// Removes what a backup that failed has written, and marks its row. What cannot be removed now, the tenant's next backup
    /// or `prune` removes.
    async fn take_back(&self, lock: &TenantLock, id: &BackupId, error: &Error) {
        if let Err(why) = clear(&*self.writer.store, id).await {
            // Its row stays as it is, by which the next run finds it.
            tracing::warn!(backup = %id, %why, cause = why.cause(), "what a failed backup has left could not be removed");
            return;
        }
        let (sql, doing) = (failed(id.as_str(), Some(error)), format!("mark backup {id} as failed"));
        if !lock.session().is_closed() && lock.session().batch(&sql, &doing).await.is_ok() {
            return;
        }
        let elsewhere = async { self.registry().await?.batch(&sql, &doing).await };
        if let Err(why) = elsewhere.await {
            tracing::info!(backup = %id, %why, cause = why.cause(), "a failed backup is still marked as running");
        }
    }

    /// After the session was lost that was to commit a backup's row: finds out whether it did.
    async fn settle(&self, lost: &PgServer, done: Done, error: Error) -> Result<Done> {
        let uncertain = |error: Error| {
            error.with_uncertainty().with_hint(
                "The server cannot be asked, so it is not known whether the backup counts. Once it is back, `tenantctl backup list` tells.",
            )
        };
        let Ok(session) = end_lost(&self.writer.connector, lost).await else {
            return Err(uncertain(error));
        };
        match catalog::backups::find_one(&session, &done.backup_id).await {
            Ok(Some(row)) if row.status == "done" => Ok(done),
            Ok(_) => {
                if let Err(why) = clear(&*self.writer.store, &done.backup_id).await {
                    tracing::warn!(backup = %done.backup_id, %why, "what a failed backup has left could not be removed");
                } else {
                    let sql = failed(done.backup_id.as_str(), Some(&error));
                    if let Err(why) = session.batch(&sql, "mark the backup as failed").await {
                        tracing::info!(backup = %done.backup_id, %why, "a failed backup is still marked as running");
                    }
                }
                Err(error)
            }
            Err(_) => Err(uncertain(error)),
        }
    }
}

/// Tables with their parts in order. Partitioned ones have no rows of their own and are left out.
fn tables(active: &Active, mut copied: Vec<Copied>) -> Vec<Table> {
    copied.sort_by_key(|part| (part.table, part.number));
    let with_rows = active.tables.iter().enumerate().filter(|(_, table)| table.kind == 'r');
    with_rows
        .map(|(at, facts)| {
            let of = || copied.iter().filter(|part| part.table == at);
            Table {
                name: facts.name.clone(),
                columns: facts.columns.clone(),
                through: facts.through.clone(),
                format: facts.format,
                rows: of().map(|part| part.rows).sum(),
                checksum: format!(
                    "{:032x}",
                    of().fold(0_u128, |sum, part| sum.wrapping_add(part.checksum))
                ),
                parts: of()
                    .map(|part| Part {
                        rows: part.rows,
                        member: part.member.clone(),
                    })
                    .collect(),
            }
        })
        .collect()
}

async fn write_packed(writer: &Writer, active: &Active, name: String, text: &str) -> Result<Member> {
    let bytes = text.as_bytes().to_vec();
    let (store, packing) = (&*writer.store, &writer.packing);
    let member = MemberWriter::create(store, &active.id, name, &active.metadata, packing, bytes).await?;
    member.finish().await
}
