//! The command line: types only. Help texts here are also the man pages and the completions.

mod bench;
mod metrics;
mod pgbouncer;
mod retention;
mod validate;

use std::path::PathBuf;

use clap::builder::{OsStringValueParser, TypedValueParser};
use clap::{Args, Parser, Subcommand, ValueEnum};

pub use bench::{BenchArgs, BenchSuite};
pub use metrics::{
    MeasureArgs, MetricsArgs, MetricsCommand, MetricsReportArgs, MetricsServeArgs, MetricsShowArgs, MetricsSort,
    SizesArg,
};
pub use pgbouncer::PgbouncerArgs;
pub use retention::RetentionArgs;
pub use validate::{FailOn, ReportFormat, ValidateArgs};

/// Run PostgreSQL with a schema per tenant.
///
/// tenantctl makes tenants in one PostgreSQL database, each with a schema and a login role of its own, all or
/// nothing and in milliseconds.
#[derive(Debug, Parser)]
#[command(
    name = "tenantctl",
    version,
    propagate_version = true,
    arg_required_else_help = true,
    after_help = EXIT_CODES,
    after_long_help = EXIT_CODES
)]
pub struct Cli {
    /// Options of every command.
    #[command(flatten)]
    pub global: Global,
    /// The command.
    #[command(subcommand)]
    pub command: Command,
}

const EXIT_CODES: &str = "Exit codes:
  0    done
  1    findings or alerts, or some of many tenants failed, or a benchmark missed a target
  2    usage or configuration
  3    cannot connect
  4    the database refused
  5    a local file refused
  130  interrupted";

/// Options of every command.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Global options")]
pub struct Global {
    /// Server and database: a libpq URL, key=value pairs, or a database name
    ///
    /// What it leaves out comes from PGHOST, PGPORT, PGUSER, PGPASSWORD, PGDATABASE, PGSSLMODE and the other libpq
    /// variables, the password also from ~/.pgpass. Put no password here: other users of the machine see it in ps.
    #[arg(
        long,
        global = true,
        env = "DATABASE_URL",
        value_name = "URL",
        hide_env_values = true
    )]
    pub database_url: Option<String>,
    /// Policy file
    ///
    /// Default: ./tenant_templates.yaml, else /etc/tenantctl/tenant_templates.yaml, else the copy built in.
    #[arg(long, global = true, env = "TENANTCTL_CONFIG", value_name = "FILE", value_parser = path_or_nothing())]
    pub config: Option<PathBuf>,
    /// Form of the result on stdout
    #[arg(short, long, global = true, value_enum, default_value_t = OutputFormat::Text, value_name = "FORMAT")]
    pub output: OutputFormat,
    /// Print no hints and no progress, only results and errors
    #[arg(short, long, global = true)]
    pub quiet: bool,
    /// Log more to stderr: -v for what is done, -vv for every statement
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
    /// Form of log lines and errors on stderr
    #[arg(long, global = true, value_enum, default_value_t = LogFormat::Text, value_name = "FORMAT")]
    pub log_format: LogFormat,
    /// When to use colour
    #[arg(long, global = true, value_enum, default_value_t = Color::Auto, value_name = "WHEN")]
    pub color: Color,
    /// Show no progress bar
    #[arg(long, global = true)]
    pub no_progress: bool,
}

/// A path that may be empty, which an environment variable set to nothing is; it then counts as unset.
fn path_or_nothing() -> impl TypedValueParser<Value = PathBuf> {
    OsStringValueParser::new().map(PathBuf::from)
}

/// Form of results.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum OutputFormat {
    /// For people
    Text,
    /// For programs; fields are added, never renamed
    Json,
    /// For Prometheus: `metrics` only
    #[value(hide = true)]
    Prometheus,
}

/// Form of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people
    Text,
    /// One JSON object a line
    Json,
}

/// When to use colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Color {
    /// On a terminal, unless NO_COLOR is set
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Create or upgrade the registry, the owner role and the template
    ///
    /// Safe to run again and from two terminals at once. Needs a superuser, or a role with CREATEROLE and CREATE on the
    /// database; it reports which lines of the hardening standard take more.
    Init(InitArgs),
    /// Make tenants
    ///
    /// Each tenant is made in one transaction and one round trip: it is there whole, or not at all. Passwords are made
    /// here, shown once, and never sent to the server, which gets a SCRAM verifier.
    Provision(ProvisionArgs),
    /// Give tenants new passwords
    ///
    /// One transaction a tenant; the server gets a SCRAM verifier, as from provision. Sessions that are open go on,
    /// unless --disconnect ends them; the old password opens no new ones.
    Rotate(RotateArgs),
    /// Passwords that are stored encrypted: show one, list all
    #[command(subcommand)]
    Credentials(CredentialsCommand),
    /// List tenants
    List(ListArgs),
    /// Show one tenant: tier, limits, tables, sizes, connections
    Show(ShowArgs),
    /// Prove that tenants are isolated, or name each hole and what mends it
    ///
    /// Runs every check against the live catalog, all in one read-only snapshot; on a standby too. Exits with 1 when
    /// there are findings at or above --fail-on, when there is no tenant to prove anything about, and with --strict
    /// when a check could not be run. Findings that the configuration suppresses are listed and do not count.
    Validate(ValidateArgs),
    /// Drop tenants: schema, role and registry row together
    ///
    /// Each tenant goes whole in one transaction. Its role must hold nothing in other databases, and no session of
    /// it may be open, unless --disconnect ends them.
    Drop(DropArgs),
    /// Bring tenants and the database to the hardening standard
    ///
    /// Compares what is there with what provision would make today (ownership, rights, row security, audit, limits,
    /// role) and changes what differs; data is never touched, and objects that are not the template's are left alone.
    /// --all also applies the lines that concern the whole database, those of `hardening:` in the configuration.
    Secure(SecureArgs),
    /// Back tenants up into a store; list, verify and prune backups
    ///
    /// One snapshot a tenant, read by several sessions, compressed and where configured encrypted on the way, without a
    /// temporary file. A backup counts once its manifest is written, and that comes last. A tenant that is called list,
    /// verify or prune is named after `--`.
    Backup(BackupArgs),
    /// Restore a tenant from a backup
    ///
    /// Loads the backup beside the tenant, proves it, then swaps the two in one short transaction. What the tenant had
    /// before is kept and can be put back with --undo until it is dropped. Whatever fails leaves the tenant as it was.
    Restore(RestoreArgs),
    /// Measure tenants: sizes, connections, queries, limits, backups; raise alerts
    ///
    /// A fixed number of queries for all tenants together, beside the business queries of the configuration. Exits with 1
    /// when an alert fires. `-o prometheus` prints the samples that `metrics serve` exposes. A tenant that is called serve,
    /// rules, dashboard or report is named after `--`.
    Metrics(MetricsArgs),
    /// Show and prune the audit logs of tenants
    #[command(subcommand)]
    Audit(AuditCommand),
    /// Drop what is older than a tier keeps, in whole chunks
    ///
    /// Of hypertables, the chunks whose rows are all older than the tier's `retention` of the table; a few at a time, so that the
    /// server's lock table suffices. Tables that are not hypertables are left alone, and said.
    Retention(RetentionArgs),
    /// Write PgBouncer's configuration for these tenants; prepare the lookup of their passwords
    ///
    /// Without --out it prints pgbouncer.ini. Refuses combinations that are known to be unsafe, with the reason.
    Pgbouncer(PgbouncerArgs),
    /// Measure this cluster against the performance targets
    ///
    /// Works in databases and folders of its own, which it drops at the end, so that no catalog of yours grows. An option of a
    /// suite that was not asked for is refused.
    Bench(BenchArgs),
    /// Run the whole story on a throw-away cluster
    ///
    /// Starts a PostgreSQL of its own from the binaries on this machine, prepares it, makes three tenants with trading
    /// data, tries to read one as another, hardens it, proves its isolation, makes a mistake, finds and mends it,
    /// backs all up, destroys a tenant and restores it, measures them, prints timings, and cleans up.
    Demo(DemoArgs),
    /// Print the completion script of a shell
    Completions(CompletionsArgs),
    /// Print the manual page, or write all of them into a folder
    Man(ManArgs),
}

impl Command {
    /// The name as typed, for application_name and the operation log.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Init(_) => "init",
            Self::Provision(_) => "provision",
            Self::Rotate(_) => "rotate",
            Self::Credentials(_) => "credentials",
            Self::List(_) => "list",
            Self::Show(_) => "show",
            Self::Validate(_) => "validate",
            Self::Drop(_) => "drop",
            Self::Secure(_) => "secure",
            Self::Backup(_) => "backup",
            Self::Restore(_) => "restore",
            Self::Metrics(_) => "metrics",
            Self::Audit(_) => "audit",
            Self::Retention(_) => "retention",
            Self::Pgbouncer(_) => "pgbouncer",
            Self::Bench(_) => "bench",
            Self::Demo(_) => "demo",
            Self::Completions(_) => "completions",
            Self::Man(_) => "man",
        }
    }

    /// Whether it changes something in the database, and so needs the primary.
    pub fn writes(&self) -> bool {
        match self {
            Self::Init(_) | Self::Provision(_) | Self::Bench(_) => true,
            Self::Rotate(args) => !args.dry_run,
            Self::Drop(args) => !args.dry_run,
            Self::Secure(args) => !args.dry_run,
            Self::Backup(args) => match &args.command {
                None => !args.make.dry_run,
                Some(BackupCommand::List(_)) => false,
                Some(BackupCommand::Verify(_) | BackupCommand::Prune(_)) => true,
            },
            Self::Restore(args) => !args.dry_run || args.from_store,
            Self::Metrics(args) => args.show.enforce && !args.show.dry_run,
            Self::Audit(AuditCommand::Prune(args)) => !args.dry_run,
            Self::Retention(args) => !args.dry_run,
            Self::Pgbouncer(args) => args.setup && !args.dry_run,
            Self::Validate(args) => args.post_deploy,
            Self::Credentials(_)
            | Self::List(_)
            | Self::Show(_)
            | Self::Audit(AuditCommand::Show(_))
            | Self::Demo(_)
            | Self::Completions(_)
            | Self::Man(_) => false,
        }
    }
}

/// Arguments of `init`.
#[derive(Debug, Args)]
pub struct InitArgs {
    /// Print the SQL instead of running it
    #[arg(long)]
    pub dry_run: bool,
}

/// Arguments of `provision`.
#[derive(Debug, Args)]
#[command(group(clap::ArgGroup::new("which").required(true).multiple(true).args(["tenants", "from_file"])))]
pub struct ProvisionArgs {
    /// Tenant ids: 1 to 63 letters, digits, '.', '_' or '-', starting with a letter or digit
    #[arg(value_name = "TENANT", allow_hyphen_values = false)]
    pub tenants: Vec<String>,
    /// Tier, for tenants whose line in the file names none [default: provisioning.default_tier]
    #[arg(short, long, value_name = "TIER")]
    pub tier: Option<String>,
    /// Read more tenants from a file, one `tenant_id[,tier]` a line; `-` is stdin
    #[arg(short, long, value_name = "FILE")]
    pub from_file: Option<PathBuf>,
    /// Count tenants that exist as done, and leave them as they are
    #[arg(long)]
    pub if_not_exists: bool,
    /// Tenants made at the same time [default: provisioning.jobs]
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub jobs: Option<u16>,
    /// Write passwords to this new file (mode 0600, CSV) instead of stdout
    #[arg(long, value_name = "FILE")]
    pub credentials_file: Option<PathBuf>,
    /// Print no passwords: they are stored, encrypted to credentials.age_recipients
    #[arg(long, visible_alias = "store-only", conflicts_with = "credentials_file")]
    pub no_show: bool,
    /// Print the SQL instead of running it, secrets masked
    #[arg(long)]
    pub dry_run: bool,
}

/// Arguments of `rotate`.
#[derive(Debug, Args)]
#[command(group(clap::ArgGroup::new("which").required(true).args(["tenants", "all"])))]
pub struct RotateArgs {
    /// Tenant ids
    #[arg(value_name = "TENANT")]
    pub tenants: Vec<String>,
    /// All tenants of this database
    #[arg(short, long)]
    pub all: bool,
    /// Of all tenants only those of this tier
    #[arg(short, long, value_name = "TIER", conflicts_with = "tenants")]
    pub tier: Option<String>,
    /// End the tenants' sessions once the new password holds
    #[arg(long)]
    pub disconnect: bool,
    /// Tenants worked on at the same time [default: provisioning.jobs]
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub jobs: Option<u16>,
    /// Write passwords to this new file (mode 0600, CSV) instead of stdout
    #[arg(long, value_name = "FILE")]
    pub credentials_file: Option<PathBuf>,
    /// Print no passwords: they are stored, encrypted to credentials.age_recipients
    #[arg(long, visible_alias = "store-only", conflicts_with = "credentials_file")]
    pub no_show: bool,
    /// Print the SQL instead of running it, secrets masked
    #[arg(long)]
    pub dry_run: bool,
}

/// Passwords that are stored encrypted.
#[derive(Debug, Subcommand)]
pub enum CredentialsCommand {
    /// Show how to log in as a tenant, with its password
    ///
    /// Decrypts here, with your private key. A password that was changed by hand, with ALTER ROLE or by the tenant, is
    /// not the stored one, and nothing can tell; `rotate` mends that.
    Show(CredentialsShowArgs),
    /// List whose password is stored, since when and for which keys
    List,
}

/// Arguments of `credentials show`.
#[derive(Debug, Args)]
pub struct CredentialsShowArgs {
    /// Tenant id
    #[arg(value_name = "TENANT")]
    pub tenant: String,
    /// File with an age or SSH private key; `-` is stdin (may be given more than once)
    #[arg(short, long, value_name = "FILE", env = "TENANTCTL_IDENTITY", value_parser = path_or_nothing())]
    pub identity: Vec<PathBuf>,
}

/// Arguments of `list`.
#[derive(Debug, Args)]
pub struct ListArgs {
    /// Only tenants of this tier
    #[arg(short, long, value_name = "TIER")]
    pub tier: Option<String>,
}

/// Arguments of `show`.
#[derive(Debug, Args)]
pub struct ShowArgs {
    /// Tenant id
    #[arg(value_name = "TENANT")]
    pub tenant: String,
}

/// Arguments of `drop`.
#[derive(Debug, Args)]
pub struct DropArgs {
    /// Tenant ids
    #[arg(value_name = "TENANT", required = true)]
    pub tenants: Vec<String>,
    /// Yes, destroy them with all their data
    #[arg(long)]
    pub yes: bool,
    /// End the tenants' sessions instead of refusing when there are any
    #[arg(long)]
    pub disconnect: bool,
    /// Print the SQL instead of running it
    #[arg(long)]
    pub dry_run: bool,
}

/// Where backups lie.
#[derive(Debug, Args)]
pub struct StoreArgs {
    /// Store of backups: file:///folder or s3://bucket/prefix [default: backup.store]
    ///
    /// S3 credentials and region come from the environment or the AWS profile; AWS_ENDPOINT_URL names another make.
    #[arg(long, value_name = "URL", env = "TENANTCTL_STORE")]
    pub store: Option<String>,
}

/// How backups are decrypted.
#[derive(Debug, Args)]
pub struct IdentityArgs {
    /// File with an age or SSH private key, for encrypted backups; `-` is stdin (may be given more than once)
    #[arg(short, long, value_name = "FILE", env = "TENANTCTL_IDENTITY", value_parser = path_or_nothing())]
    pub identity: Vec<PathBuf>,
}

/// Arguments of `backup`.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct BackupArgs {
    /// What else can be done with backups.
    #[command(subcommand)]
    pub command: Option<BackupCommand>,
    /// What is backed up.
    #[command(flatten)]
    pub make: BackupMakeArgs,
}

/// Arguments of `backup` without a subcommand.
#[derive(Debug, Args)]
pub struct BackupMakeArgs {
    /// Tenant ids
    #[arg(value_name = "TENANT", conflicts_with_all = ["all", "tier"])]
    pub tenants: Vec<String>,
    /// All tenants
    #[arg(long)]
    pub all: bool,
    /// Only tenants of this tier
    #[arg(short, long, value_name = "TIER")]
    pub tier: Option<String>,
    /// What the backup is for, which decides how long it is kept: scheduled, weekly, monthly, manual, pre_migration, or a
    /// word of your own
    #[arg(long = "type", value_name = "TYPE", default_value = "manual")]
    pub backup_type: String,
    /// Sessions that read, shared by all tenants of the run; each may take a second one for a lock [default: backup.jobs]
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub jobs: Option<u16>,
    /// Read from this standby instead of the primary: a libpq URL, key=value pairs, or `any` of cluster.replicas
    #[arg(long, value_name = "URL")]
    pub from_replica: Option<String>,
    /// Where to.
    #[command(flatten)]
    pub store: StoreArgs,
    /// Tell what would be backed up, and write nothing
    #[arg(long)]
    pub dry_run: bool,
}

/// Subcommands of `backup`.
#[derive(Debug, Subcommand)]
pub enum BackupCommand {
    /// List backups, newest first
    ///
    /// Without --store the registry's, with it those that lie in that store, whatever a registry says.
    List(BackupListArgs),
    /// Read backups again and prove that they are whole
    ///
    /// Reads every member, holds it to its checksum, unpacks it and counts its rows.
    Verify(BackupVerifyArgs),
    /// Remove expired backups and what uploads that died have left
    ///
    /// Keeps the newest good backup of every tenant, whatever its age. Without --yes it only tells what would go.
    Prune(BackupPruneArgs),
}

/// Arguments of `backup list`.
#[derive(Debug, Args)]
pub struct BackupListArgs {
    /// Only of these tenants
    #[arg(value_name = "TENANT")]
    pub tenants: Vec<String>,
    /// Look into this store instead of the registry: file:///folder or s3://bucket/prefix
    #[arg(long, value_name = "URL")]
    pub store: Option<String>,
    /// List instead the tenants that have had no good backup for so many hours; exits 1 if there are any
    #[arg(long, value_name = "HOURS", conflicts_with = "store", value_parser = clap::value_parser!(u32).range(1..=87_600))]
    pub overdue: Option<u32>,
}

/// Arguments of `backup verify`.
#[derive(Debug, Args)]
pub struct BackupVerifyArgs {
    /// Backup ids
    #[arg(value_name = "BACKUP", conflicts_with = "all", required_unless_present = "all")]
    pub backups: Vec<String>,
    /// All backups
    #[arg(long)]
    pub all: bool,
    /// Also restore each into a schema of its own, compare structure, rows and contents with the backup, and drop it
    #[arg(long)]
    pub restore_drill: bool,
    /// Backups verified at a time; sessions of a drill [default: backup.jobs]
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub jobs: Option<u16>,
    /// Only what lies in this store: file:///folder or s3://bucket/prefix [default: the stores that the registry names]
    #[arg(long, value_name = "URL", env = "TENANTCTL_STORE")]
    pub store: Option<String>,
    /// What opens them.
    #[command(flatten)]
    pub identity: IdentityArgs,
}

/// Arguments of `backup prune`.
#[derive(Debug, Args)]
pub struct BackupPruneArgs {
    /// Only of these tenants
    #[arg(value_name = "TENANT")]
    pub tenants: Vec<String>,
    /// Yes, remove them
    #[arg(long)]
    pub yes: bool,
    /// Tell what would go, and remove nothing
    #[arg(long, conflicts_with = "yes")]
    pub dry_run: bool,
    /// Where they lie.
    #[command(flatten)]
    pub store: StoreArgs,
}

/// Arguments of `restore`.
#[derive(Debug, Args)]
pub struct RestoreArgs {
    /// Tenant id; with --drop-replaced and --from-store any number of them
    #[arg(value_name = "TENANT", required_unless_present = "all")]
    pub tenants: Vec<String>,
    /// With --from-store and --drop-replaced: all tenants
    #[arg(long)]
    pub all: bool,
    /// This backup
    #[arg(long, value_name = "BACKUP")]
    pub backup: Option<String>,
    /// The newest good backup; so it is too when --backup is not given
    #[arg(long, conflicts_with = "backup")]
    pub latest: bool,
    /// Make a new tenant of this id from the backup instead of replacing the tenant
    #[arg(long = "as", value_name = "NEW_ID", conflicts_with_all = ["tables", "undo", "drop_replaced", "from_store"])]
    pub as_id: Option<String>,
    /// Tier of the new tenant [default: as in the backup]
    #[arg(short, long, value_name = "TIER", requires = "as_id")]
    pub tier: Option<String>,
    /// Replace the contents of these tables only
    #[arg(long, value_name = "TABLE,...", value_delimiter = ',', conflicts_with_all = ["undo", "drop_replaced", "from_store"])]
    pub tables: Vec<String>,
    /// Put back what the last restore has replaced
    #[arg(long, conflicts_with_all = ["backup", "latest", "drop_replaced", "from_store"])]
    pub undo: bool,
    /// Drop what earlier restores have replaced: of the tenants named at once, with --all where its grace is over
    #[arg(long, conflicts_with_all = ["backup", "latest", "from_store"])]
    pub drop_replaced: bool,
    /// Rebuild registry, roles and tenants from the manifests in the store, on a cluster that has none of them
    #[arg(long, conflicts_with_all = ["backup", "disconnect"])]
    pub from_store: bool,
    /// End the tenant's sessions instead of giving up when they do not let go of its tables
    #[arg(long)]
    pub disconnect: bool,
    /// Days for which what is replaced is kept
    #[arg(long, value_name = "DAYS", default_value_t = 7, value_parser = clap::value_parser!(u16).range(0..=3650))]
    pub keep_days: u16,
    /// Sessions that load and build indexes at the same time [default: backup.jobs]
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub jobs: Option<u16>,
    /// Memory for each index build, as PostgreSQL writes it
    #[arg(long, value_name = "SIZE", default_value = "64MB")]
    pub maintenance_work_mem: String,
    /// Write the passwords of new tenants to this new file with mode 0600 instead of showing them
    #[arg(long, value_name = "FILE")]
    pub credentials_file: Option<PathBuf>,
    /// Show no passwords: they are stored encrypted to credentials.age_recipients
    #[arg(long, conflicts_with = "credentials_file")]
    pub no_show: bool,
    /// Where the backups lie.
    #[command(flatten)]
    pub store: StoreArgs,
    /// What opens them.
    #[command(flatten)]
    pub identity: IdentityArgs,
    /// Check the backup, print the plan, and change nothing
    #[arg(long)]
    pub dry_run: bool,
}

/// Arguments of `secure`.
#[derive(Debug, Args)]
pub struct SecureArgs {
    /// Tenant ids
    #[arg(value_name = "TENANT", conflicts_with_all = ["all", "tier"])]
    pub tenants: Vec<String>,
    /// All tenants, and the database
    #[arg(long)]
    pub all: bool,
    /// Only tenants of this tier
    #[arg(short, long, value_name = "TIER")]
    pub tier: Option<String>,
    /// The lines that concern the whole database or cluster
    #[arg(long)]
    pub database: bool,
    /// Count anew what limits are held against, even where nothing differs
    ///
    /// For after rows were changed with triggers off. Writers of a tenant wait while its rows are counted.
    #[arg(long)]
    pub recount: bool,
    /// Tenants changed at the same time [default: provisioning.jobs]
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub jobs: Option<u16>,
    /// Print the SQL instead of running it
    #[arg(long)]
    pub dry_run: bool,
}

/// Show and prune the audit logs of tenants.
#[derive(Debug, Subcommand)]
pub enum AuditCommand {
    /// Show what a tenant changed, newest first
    ///
    /// Of an update the columns that differ, of other changes the row; -o json has rows in full.
    Show(AuditShowArgs),
    /// Remove old entries
    ///
    /// In transactions of some ten thousand entries each; whatever ends the command, the rest is for the next run.
    Prune(AuditPruneArgs),
}

/// Arguments of `audit show`.
#[derive(Debug, Args)]
pub struct AuditShowArgs {
    /// Tenant id
    #[arg(value_name = "TENANT")]
    pub tenant: String,
    /// Only changes of this table
    #[arg(long, value_name = "TABLE")]
    pub table: Option<String>,
    /// Only changes of this kind
    #[arg(long, value_enum, value_name = "OPERATION")]
    pub operation: Option<AuditOperation>,
    /// Only changes since this time, such as 2026-01-31 or 2026-01-31T12:00:00Z; UTC where it names no zone
    #[arg(long, value_name = "TIME")]
    pub since: Option<String>,
    /// Show rows of any length; without, those above 64 KiB are replaced by their length
    #[arg(long)]
    pub full: bool,
    /// At most so many
    #[arg(short, long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub limit: u32,
}

/// What was done to a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum AuditOperation {
    /// A row was added
    Insert,
    /// A row was changed
    Update,
    /// A row was removed
    Delete,
    /// A table was emptied
    Truncate,
}

impl AuditOperation {
    /// The word in the audit log.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Insert => "INSERT",
            Self::Update => "UPDATE",
            Self::Delete => "DELETE",
            Self::Truncate => "TRUNCATE",
        }
    }
}

/// Arguments of `audit prune`.
#[derive(Debug, Args)]
pub struct AuditPruneArgs {
    /// Tenant ids
    #[arg(value_name = "TENANT", conflicts_with = "all")]
    pub tenants: Vec<String>,
    /// All tenants
    #[arg(long)]
    pub all: bool,
    /// Remove entries older than so many days [default: audit.keep_days]
    #[arg(long, value_name = "DAYS", value_parser = clap::value_parser!(u32).range(1..=36_500))]
    pub older_than: Option<u32>,
    /// Count them instead of removing them
    #[arg(long)]
    pub dry_run: bool,
}

/// Arguments of `demo`.
#[derive(Debug, Args)]
pub struct DemoArgs {
    /// Leave the cluster running and print how to connect
    #[arg(long)]
    pub keep: bool,
}

/// Arguments of `completions`.
#[derive(Debug, Args)]
pub struct CompletionsArgs {
    /// The shell
    #[arg(value_enum, value_name = "SHELL")]
    pub shell: clap_complete::Shell,
}

/// Arguments of `man`.
#[derive(Debug, Args)]
pub struct ManArgs {
    /// Write a page for every command into this folder
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
}
