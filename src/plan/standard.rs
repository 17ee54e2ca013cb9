//! The standard of one tenant: what its schema, rights, row security, audit, limits and role are to be, and the
//! steps from what they are to that.
//!
//! `provision` and `secure` share this: a new tenant is one whose modules have just run and which has nothing else.
//! Statements are folded, one a kind of object and set of rights, and every object is named: `ON ALL TABLES IN SCHEMA`
//! reads all of pg_class, so that its cost grows with the number of tenants.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::{as_admin, as_owner};
use crate::pg::sql::{FunctionSignature, Sql};
use crate::tenant::{Audit, AuditMode, Limits, ModuleObjects, OWNER_ROLE, SchemaName, TENANTS_ROLE, hex};

/// Tables that every tenant has beside its template's, with what makes them; it may read them.
pub const STANDARD_TABLES: [(&str, &str); 2] = [
    ("audit_log", include_str!("../../sql/standard/audit_log.sql")),
    ("tenant_usage", include_str!("../../sql/standard/tenant_usage.sql")),
];
/// The functions behind the triggers, with their bodies; the same text for every tenant.
pub const STANDARD_FUNCTIONS: [(&str, &str); 2] = [
    ("audit_changes", include_str!("../../sql/standard/audit_changes.sql")),
    ("enforce_limits", include_str!("../../sql/standard/enforce_limits.sql")),
];
/// The longest table name for which both policy names fit into 63 bytes.
pub const TABLE_NAME_MAX: usize = 63 - "_tenant_isolation".len();

/// What a tenant is to be like.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// Its schema.
    pub schema: &'a str,
    /// Its role.
    pub role: &'a str,
    /// What its modules create.
    pub objects: &'a ModuleObjects,
    /// Tables that it loads with COPY: no row security.
    pub bulk_load: &'a BTreeSet<String>,
    /// Its audited tables.
    pub audit: &'a Audit,
    /// What it may use.
    pub limits: &'a Limits,
    /// The server's major version.
    pub major: i32,
}

/// A right as the catalog shows it: grantee (empty: PUBLIC), privilege, grantable.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Grant(pub String, pub String, pub bool);

/// What there is of a tenant's schema and role.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Observed {
    /// The schema's owner.
    pub owner: String,
    /// Rights on the schema.
    pub grants: Vec<Grant>,
    /// Tables, views, sequences and whatever else pg_class has in the schema, indexes excepted.
    pub relations: Vec<Relation>,
    /// Functions and procedures.
    pub functions: Vec<Function>,
    /// Domains, enums, ranges, free-standing composite types.
    pub types: Vec<TypeState>,
    /// The login role; none: it is not there.
    pub role: Option<RoleState>,
    /// The modules have just run, and there is no row yet.
    #[serde(skip)]
    pub fresh: bool,
}

/// One relation.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Relation {
    /// Its name.
    pub name: String,
    /// `pg_class.relkind`.
    pub kind: char,
    /// Its owner.
    pub owner: String,
    /// Rights on it.
    pub grants: Vec<Grant>,
    /// Rights on its columns, by grantee (empty: PUBLIC).
    #[serde(default)]
    pub column_grantees: Vec<String>,
    /// Row security is enabled.
    pub row_security: bool,
    /// It also holds for the owner.
    pub forced: bool,
    /// Its policies.
    #[serde(default)]
    pub policies: Vec<Policy>,
    /// Its triggers, internal ones excepted.
    #[serde(default)]
    pub triggers: Vec<Trigger>,
}

/// One row security policy.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Policy {
    /// Its name.
    pub name: String,
    /// For all commands, permissive, with both expressions the constant true.
    pub plain: bool,
    /// Whom it is for; empty: PUBLIC.
    pub roles: Vec<String>,
}

/// One trigger.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Trigger {
    /// Its name.
    pub name: String,
    /// Schema and name of its function.
    pub function: (String, String),
    /// `pg_trigger.tgtype`: row or statement, before or after, which events.
    pub events: i16,
    /// `pg_trigger.tgenabled`.
    pub enabled: char,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// The names of its transition tables, old and new.
    pub transition: (Option<String>, Option<String>),
    /// It has no WHEN and no columns.
    pub unconditional: bool,
}

/// One function.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Function {
    /// Name and argument types.
    pub signature: String,
    /// Its owner.
    pub owner: String,
    /// Rights on it.
    pub grants: Vec<Grant>,
    /// SHA-256 of its body in hex, where it has the name of a standard function.
    #[serde(default)]
    pub body_sha256: Option<String>,
    /// It runs with its owner's rights.
    #[serde(default)]
    pub definer: bool,
    /// Its settings, such as `search_path=...`.
    #[serde(default)]
    pub settings: Vec<String>,
    /// It is a plpgsql function that returns a trigger.
    #[serde(default)]
    pub trigger: bool,
}

/// One type.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct TypeState {
    /// Its name.
    pub name: String,
    /// Its owner.
    pub owner: String,
    /// Rights on it.
    pub grants: Vec<Grant>,
}

/// The login role.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct RoleState {
    /// Attributes that the standard does not have, as ALTER ROLE takes them back, such as `NOSUPERUSER`.
    pub surplus: Vec<Attribute>,
    /// Its CONNECTION LIMIT; -1: none.
    pub connection_limit: i64,
    /// Its settings for all databases, such as `search_path=...`.
    pub settings: Vec<String>,
    /// The databases for which it has settings.
    pub databases_with_settings: Vec<String>,
    /// The roles that it is a member of.
    pub member_of: Vec<Membership>,
    /// The roles that are members of it and can make use of that.
    pub members: Vec<String>,
}

/// An attribute that a tenant's role must not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Attribute {
    /// SUPERUSER
    Superuser,
    /// CREATEROLE
    Createrole,
    /// CREATEDB
    Createdb,
    /// REPLICATION
    Replication,
    /// BYPASSRLS
    Bypassrls,
    /// NOINHERIT, with which it could not connect
    Noinherit,
    /// An end of its validity
    ValidUntil,
}

impl Attribute {
    fn taken_back(self) -> &'static str {
        match self {
            Self::Superuser => " NOSUPERUSER",
            Self::Createrole => " NOCREATEROLE",
            Self::Createdb => " NOCREATEDB",
            Self::Replication => " NOREPLICATION",
            Self::Bypassrls => " NOBYPASSRLS",
            Self::Noinherit => " INHERIT",
            Self::ValidUntil => " VALID UNTIL 'infinity'",
        }
    }
}

/// A membership of the tenant's role.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Membership {
    /// In which role.
    pub role: String,
    /// WITH ADMIN OPTION.
    pub admin: bool,
    /// WITH SET TRUE; always so before PostgreSQL 16.
    pub set: bool,
    /// WITH INHERIT TRUE; before PostgreSQL 16 as the role is.
    pub inherit: bool,
}

impl Observed {
    /// A tenant whose modules have just run: all is the owner's, nobody has a right, nothing is protected.
    pub fn fresh(objects: &ModuleObjects) -> Self {
        let owner = || OWNER_ROLE.to_owned();
        let relations = [(&objects.tables, 'r'), (&objects.views, 'v'), (&objects.sequences, 'S')];
        Self {
            owner: owner(),
            relations: relations
                .into_iter()
                .flat_map(|(names, kind)| names.iter().map(move |name| (name, kind)))
                .map(|(name, kind)| Relation {
                    name: name.clone(),
                    kind,
                    owner: owner(),
                    ..Relation::default()
                })
                .collect(),
            functions: objects
                .functions
                .iter()
                .map(|signature| Function {
                    signature: signature.clone(),
                    owner: owner(),
                    ..Function::default()
                })
                .collect(),
            types: objects
                .types
                .iter()
                .map(|name| TypeState {
                    name: name.clone(),
                    owner: owner(),
                    ..TypeState::default()
                })
                .collect(),
            role: None,
            grants: Vec::new(),
            fresh: true,
        }
    }
}

impl Observed {
    /// What `secure` may touch: what is the owner's, and of the standard what an admin has made by hand. What belongs
    /// to a tenant may hold code of its, and is nobody's to adopt; what is not the standard's is not ours to give away.
    fn adoptable(&self, wanted: &Wanted<'_>) -> Self {
        let objects = wanted.objects;
        let relation = |r: &Relation| {
            is_standard_table(&r.name)
                || [&objects.tables, &objects.views, &objects.sequences]
                    .into_iter()
                    .any(|names| names.contains(&r.name))
        };
        let function = |f: &Function| is_standard_function(&f.signature) || objects.functions.contains(&f.signature);
        let ours = |owner: &str, known: bool| owner == OWNER_ROLE || (known && !is_tenant_role(owner));
        let mut mine = self.clone();
        mine.relations.retain(|r| ours(&r.owner, relation(r)));
        mine.functions.retain(|f| ours(&f.owner, function(f)));
        mine.types.retain(|t| ours(&t.owner, objects.types.contains(&t.name)));
        mine
    }

    /// The objects that belong to a tenant's role, kind and name.
    fn tenant_owned(&self) -> impl Iterator<Item = (&'static str, &str, &str)> {
        let relations = self
            .relations
            .iter()
            .map(|r| ("relation", r.name.as_str(), r.owner.as_str()));
        let functions = self
            .functions
            .iter()
            .map(|f| ("function", f.signature.as_str(), f.owner.as_str()));
        let types = self.types.iter().map(|t| ("type", t.name.as_str(), t.owner.as_str()));
        relations
            .chain(functions)
            .chain(types)
            .filter(|(_, _, owner)| is_tenant_role(owner))
    }
}

fn is_standard_table(name: &str) -> bool {
    STANDARD_TABLES.iter().any(|(table, _)| *table == name)
}

fn is_standard_function(signature: &str) -> bool {
    STANDARD_FUNCTIONS
        .iter()
        .any(|(name, _)| signature.strip_suffix("()") == Some(name))
}

/// Whether a role has the shape of a tenant's.
fn is_tenant_role(role: &str) -> bool {
    role.strip_suffix("_user")
        .is_some_and(|schema| SchemaName::from_registry(schema).is_ok())
}

/// A change: what it is for, and the SQL. It wants to be run as the owner, with the schema as search path: the types of
/// functions' arguments are the only names that are not qualified.
pub type Change = (Cow<'static, str>, Sql);

/// The steps from what there is to what is wanted, in the schema; empty when it is so already.
pub fn schema_changes(wanted: &Wanted<'_>, now: &Observed) -> Vec<Change> {
    let mine = now.adoptable(wanted);
    let mut changes: Vec<Change> = Vec::new();
    let mut add = |what: &'static str, sql: Sql| {
        if !sql.is_empty() {
            changes.push((what.into(), sql));
        }
    };
    add("give everything to the owner", ownership(wanted, &mine));
    for (name, sql) in STANDARD_TABLES {
        if !now.relations.iter().any(|r| r.name == name) {
            add("create what every tenant has beside its template", Sql::new(sql));
        }
    }
    add(
        "take triggers from the tables that are tenantctl's own",
        strays(wanted, &mine),
    );
    add("create the functions of audit and limits", functions(wanted, &mine));
    add("take back rights that nobody is to have", revokes(wanted, &mine));
    add("grant the tenant its rows, not its structure", grants(wanted, &mine));
    add("enable and force row security", row_security(wanted, &mine));
    let (audit, limits, recount) = triggers(wanted, &mine);
    add("audit every change", audit);
    add("hold the tenant to its limits", limits);
    add("count what the limits are held against", recount);
    changes
}

/// What of the standard cannot be brought about by [`schema_changes`], as sentences.
pub fn beyond_repair(wanted: &Wanted<'_>, now: &Observed) -> Vec<String> {
    let mut problems = Vec::new();
    let objects = wanted.objects;
    for (names, kinds, what) in [
        (&objects.tables, &['r', 'p'][..], "table"),
        (&objects.views, &['v'][..], "view"),
        (&objects.sequences, &['S'][..], "sequence"),
    ] {
        for name in names {
            match now.relations.iter().find(|r| r.name == *name) {
                None => problems.push(format!("{what} {name} of the template is missing")),
                Some(r) if !kinds.contains(&r.kind) => problems.push(format!("{name} is not a {what}")),
                Some(_) => {}
            }
        }
    }
    for (name, _) in STANDARD_TABLES {
        if now.relations.iter().any(|r| r.name == name && r.kind != 'r') {
            problems.push(format!("{name} is not a table"));
        }
    }
    if now.owner != OWNER_ROLE && is_tenant_role(&now.owner) {
        problems.push(format!("the schema belongs to tenant role {}", now.owner));
    }
    for (kind, name, owner) in now.tenant_owned() {
        problems.push(format!(
            "{kind} {name} belongs to tenant role {owner} and may hold code of that tenant, so it is not adopted"
        ));
    }
    if now.role.is_none() {
        problems.push(format!("role {} is missing", wanted.role));
    }
    problems
}

/// Appends a grantee: a role, or PUBLIC.
fn grantee(sql: Sql, name: &str) -> Sql {
    if name.is_empty() {
        sql.text("PUBLIC")
    } else {
        sql.ident(name)
    }
}

/// What GRANT and REVOKE call a kind of object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Schema,
    Table,
    Sequence,
    Routine,
    Type,
}

impl Kind {
    fn keyword(self) -> &'static str {
        match self {
            Self::Schema => "SCHEMA ",
            Self::Table => "TABLE ",
            Self::Sequence => "SEQUENCE ",
            Self::Routine => "ROUTINE ",
            Self::Type => "TYPE ",
        }
    }

    /// Appends the names of objects of this kind in a schema.
    fn names(self, mut sql: Sql, schema: &str, names: &[&str]) -> Sql {
        for (i, name) in names.iter().enumerate() {
            sql = if i == 0 { sql } else { sql.text(", ") };
            sql = match self {
                Self::Schema => sql.ident(schema),
                Self::Routine => match FunctionSignature::parse(name) {
                    Some(signature) => sql.function(schema, &signature),
                    None => sql.qualified(schema, name),
                },
                _ => sql.qualified(schema, name),
            };
        }
        sql
    }
}

/// Privileges by name.
type Rights = &'static [&'static str];

/// An object with rights: kind, name, rights now, and those the tenant is to have. None: it is not the standard's, so
/// that what the tenant has there is the admin's business, and only what others have is taken back.
type Granted<'a> = (Kind, &'a str, &'a [Grant], Option<Rights>);

fn rights<'a>(wanted: &Wanted<'a>, now: &'a Observed) -> Vec<Granted<'a>> {
    let objects = wanted.objects;
    let mut all: Vec<Granted<'a>> = vec![(Kind::Schema, "", &now.grants, Some(&["USAGE"]))];
    for r in &now.relations {
        let standard = is_standard_table(&r.name);
        let (kind, rights): (Kind, Rights) = match r.kind {
            'S' => (Kind::Sequence, &["USAGE", "SELECT"]),
            'v' => (Kind::Table, &["SELECT"]),
            _ if standard => (Kind::Table, &["SELECT"]),
            _ => (Kind::Table, &["SELECT", "INSERT", "UPDATE", "DELETE"]),
        };
        let known = standard
            || [&objects.tables, &objects.views, &objects.sequences]
                .into_iter()
                .any(|names| names.contains(&r.name));
        // The sequence of the audit log's key is the owner's alone.
        let rights = if r.name == "audit_log_id_seq" {
            Some(&[][..])
        } else {
            known.then_some(rights)
        };
        all.push((kind, &r.name, &r.grants, rights));
    }
    for f in &now.functions {
        let ours = is_standard_function(&f.signature);
        let rights: Option<Rights> = match (ours, objects.functions.contains(&f.signature)) {
            (true, _) => Some(&[]),
            (false, true) => Some(&["EXECUTE"]),
            (false, false) => None,
        };
        all.push((Kind::Routine, &f.signature, &f.grants, rights));
    }
    for t in &now.types {
        let known = objects.types.contains(&t.name);
        all.push((Kind::Type, &t.name, &t.grants, known.then_some(&["USAGE"])));
    }
    all
}

/// Whether the tenant's own rights on an object must be taken back before the right ones are granted: it has one too
/// many, or one that it could pass on.
fn is_surplus(grants: &[Grant], role: &str, rights: &[&str]) -> bool {
    grants
        .iter()
        .any(|Grant(who, right, grantable)| who == role && (*grantable || !rights.contains(&right.as_str())))
}

fn revokes(wanted: &Wanted<'_>, now: &Observed) -> Sql {
    let mut from: BTreeMap<(Kind, &str), Vec<&str>> = BTreeMap::new();
    for (kind, name, grants, rights) in rights(wanted, now) {
        let mut grantees: BTreeSet<&str> = grants
            .iter()
            .map(|g| g.0.as_str())
            .filter(|who| *who != wanted.role && *who != OWNER_ROLE)
            .collect();
        if rights.is_some_and(|rights| is_surplus(grants, wanted.role, rights)) {
            grantees.insert(wanted.role);
        }
        if let Some(r) = now
            .relations
            .iter()
            .find(|r| r.name == name && kind != Kind::Routine && kind != Kind::Type)
        {
            grantees.extend(
                r.column_grantees
                    .iter()
                    .map(String::as_str)
                    .filter(|who| *who != OWNER_ROLE),
            );
        }
        for who in grantees {
            from.entry((kind, who)).or_default().push(name);
        }
    }
    from.into_iter().fold(Sql::default(), |sql, ((kind, who), names)| {
        let sql = kind.names(
            sql.text("REVOKE ALL PRIVILEGES ON ").text(kind.keyword()),
            wanted.schema,
            &names,
        );
        // What was passed on goes with it.
        grantee(sql.text(" FROM "), who).text(" CASCADE;\n")
    })
}

fn grants(wanted: &Wanted<'_>, now: &Observed) -> Sql {
    let mut to: BTreeMap<(Kind, Rights), Vec<&str>> = BTreeMap::new();
    for (kind, name, grants, rights) in rights(wanted, now) {
        let Some(rights) = rights.filter(|rights| !rights.is_empty()) else {
            continue;
        };
        let has = |right: &&str| grants.iter().any(|g| g.0 == wanted.role && g.1 == **right);
        let column_grants = now.relations.iter().any(|r| {
            r.name == name
                && matches!(kind, Kind::Table | Kind::Sequence)
                && r.column_grantees.iter().any(|g| g == wanted.role)
        });
        if column_grants || is_surplus(grants, wanted.role, rights) || !rights.iter().all(has) {
            to.entry((kind, rights)).or_default().push(name);
        }
    }
    // The standard's tables are made in the same plan where they are missing.
    for (name, _) in STANDARD_TABLES {
        if !now.relations.iter().any(|r| r.name == name) {
            to.entry((Kind::Table, &["SELECT"])).or_default().push(name);
        }
    }
    to.into_iter().fold(Sql::default(), |mut sql, ((kind, rights), names)| {
        sql = sql.text("GRANT ");
        for (i, right) in rights.iter().enumerate() {
            sql = if i == 0 { sql } else { sql.text(", ") }.text(right);
        }
        kind.names(sql.text(" ON ").text(kind.keyword()), wanted.schema, &names)
            .text(" TO ")
            .ident(wanted.role)
            .text(";\n")
    })
}

fn ownership(wanted: &Wanted<'_>, now: &Observed) -> Sql {
    let to_owner = |sql: Sql| sql.text(" OWNER TO ").ident(OWNER_ROLE).text(";\n");
    let mut sql = Sql::default();
    if now.owner != OWNER_ROLE {
        sql = to_owner(sql.text("ALTER SCHEMA ").ident(wanted.schema));
    }
    for r in now.relations.iter().filter(|r| r.owner != OWNER_ROLE) {
        let alter = match r.kind {
            'v' => "ALTER VIEW ",
            'm' => "ALTER MATERIALIZED VIEW ",
            'f' => "ALTER FOREIGN TABLE ",
            'S' => "ALTER SEQUENCE ",
            _ => "ALTER TABLE ",
        };
        sql = to_owner(sql.text(alter).qualified(wanted.schema, &r.name));
    }
    for f in now.functions.iter().filter(|f| f.owner != OWNER_ROLE) {
        if let Some(signature) = FunctionSignature::parse(&f.signature) {
            sql = to_owner(sql.text("ALTER ROUTINE ").function(wanted.schema, &signature));
        }
    }
    for t in now.types.iter().filter(|t| t.owner != OWNER_ROLE) {
        sql = to_owner(sql.text("ALTER TYPE ").qualified(wanted.schema, &t.name));
    }
    // The old owner may be anyone: it takes the admin's own rights.
    if sql.is_empty() {
        sql
    } else {
        as_admin().text("\n").append(sql).append(as_owner())
    }
}

/// What is the owner's alone has no trigger: one that a tenant put there would run with the owner's rights.
fn strays(wanted: &Wanted<'_>, now: &Observed) -> Sql {
    let ours = now
        .relations
        .iter()
        .filter(|r| is_standard_table(&r.name) && r.kind == 'r');
    ours.flat_map(|r| r.triggers.iter().map(move |t| (r, t)))
        .fold(Sql::default(), |sql, (relation, trigger)| {
            sql.text("DROP TRIGGER ")
                .ident(&trigger.name)
                .text(" ON ")
                .qualified(wanted.schema, &relation.name)
                .text(";\n")
        })
}

/// Keeps a table of tenantctl's own from getting a trigger or rule until the transaction ends, and ends it with SQLSTATE
/// [`HAS_TRIGGER`] when it has one: what writes there next would run it. Writers are not held up.
pub fn without_triggers(schema: &str, table: &str) -> Sql {
    Sql::new("LOCK TABLE ")
        .qualified(schema, table)
        .text(
            " IN SHARE UPDATE EXCLUSIVE MODE;
SELECT pg_catalog.sqrt(CASE WHEN c.relhasrules OR EXISTS (SELECT FROM pg_catalog.pg_trigger t WHERE t.tgrelid = c.oid)
    THEN -1 ELSE 1 END)
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = ",
        )
        .literal(schema)
        .text(" AND c.relname = ")
        .literal(table)
        .text(";\n")
}

/// The SQLSTATE of [`without_triggers`]: the root of a negative number.
pub const HAS_TRIGGER: &str = "2201F";

/// Settings of a standard function. A tenant's own would follow it otherwise: names would resolve on its search path,
/// and floating point numbers could be written to the log with fewer digits than they have.
fn settings(schema: &str, function: &str) -> Vec<String> {
    let mut settings = vec![format!("search_path={schema}, pg_temp")];
    if function == "audit_changes" {
        settings.push("extra_float_digits=1".into());
    }
    settings
}

fn functions(wanted: &Wanted<'_>, now: &Observed) -> Sql {
    let mut sql = Sql::default();
    for (name, body) in STANDARD_FUNCTIONS {
        let as_wanted = now.functions.iter().any(|f| {
            f.signature == format!("{name}()")
                && f.body_sha256.as_deref() == Some(hex(&Sha256::digest(body.as_bytes())).as_str())
                && f.definer
                && f.trigger
                && f.settings
                    .iter()
                    .map(|s| s.replace('"', ""))
                    .eq(settings(wanted.schema, name))
        });
        if as_wanted {
            continue;
        }
        sql = sql
            .text("CREATE OR REPLACE FUNCTION ")
            .qualified(wanted.schema, name)
            .text("() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = ")
            .ident(wanted.schema)
            .text(", pg_temp");
        if name == "audit_changes" {
            sql = sql.text(" SET extra_float_digits = 1");
        }
        sql = sql.text(" AS $standard$").text(body).text("$standard$;\n");
    }
    sql
}

fn row_security(wanted: &Wanted<'_>, now: &Observed) -> Sql {
    let mut sql = Sql::default();
    let tables = wanted
        .objects
        .tables
        .iter()
        .map(String::as_str)
        .chain(STANDARD_TABLES.map(|(name, _)| name));
    for table in tables {
        let relation = now.relations.iter().find(|r| r.name == table);
        let relation = match relation {
            Some(r) if matches!(r.kind, 'r' | 'p') => Some(r),
            None if is_standard_table(table) => None,
            _ => continue,
        };
        let policies = relation.map_or(&[][..], |r| &r.policies);
        let (enabled, forced) = relation.map_or((false, false), |r| (r.row_security, r.forced));
        let drop = |sql: Sql, policy: &Policy| {
            sql.text("DROP POLICY ")
                .ident(&policy.name)
                .text(" ON ")
                .qualified(wanted.schema, table)
                .text(";\n")
        };
        if wanted.bulk_load.contains(table) {
            sql = policies.iter().fold(sql, drop);
            if enabled || forced {
                sql = sql
                    .text("ALTER TABLE ")
                    .qualified(wanted.schema, table)
                    .text(" DISABLE ROW LEVEL SECURITY, NO FORCE ROW LEVEL SECURITY;\n");
            }
            continue;
        }
        if !enabled || !forced {
            sql = sql
                .text("ALTER TABLE ")
                .qualified(wanted.schema, table)
                .text(" ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;\n");
        }
        // Two permissive policies a table: the tenant sees its rows, the owner sees them too, anyone else with a stray
        // grant sees none. Without the owner's policy FORCE would hide rows from foreign-key checks.
        let due = [
            (format!("{table}_tenant_isolation"), wanted.role),
            (format!("{table}_admin_bypass"), OWNER_ROLE),
        ];
        let fits = |p: &Policy| {
            due.iter()
                .any(|(name, role)| p.name == *name && p.plain && p.roles == [*role])
        };
        sql = policies.iter().filter(|p| !fits(p)).fold(sql, drop);
        for (name, role) in &due {
            if policies.iter().any(|p| p.name == *name && fits(p)) {
                continue;
            }
            sql = sql
                .text("CREATE POLICY ")
                .ident(name)
                .text(" ON ")
                .qualified(wanted.schema, table)
                .text(" TO ")
                .ident(role)
                .text(" USING (true) WITH CHECK (true);\n");
        }
    }
    sql
}

/// An event that triggers fire on, with its bit in `pg_trigger.tgtype` and the transition tables that it has.
#[derive(Clone, Copy)]
struct Event {
    name: &'static str,
    keyword: &'static str,
    bit: i16,
    referencing: &'static str,
    old: bool,
    new: bool,
}

const EVENTS: [Event; 4] = [
    Event {
        name: "insert",
        keyword: "INSERT",
        bit: 4,
        referencing: "REFERENCING NEW TABLE AS new_rows ",
        old: false,
        new: true,
    },
    Event {
        name: "delete",
        keyword: "DELETE",
        bit: 8,
        referencing: "REFERENCING OLD TABLE AS old_rows ",
        old: true,
        new: false,
    },
    Event {
        name: "update",
        keyword: "UPDATE",
        bit: 16,
        referencing: "REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows ",
        old: true,
        new: true,
    },
    Event {
        name: "truncate",
        keyword: "TRUNCATE",
        bit: 32,
        referencing: "",
        old: false,
        new: false,
    },
];

/// A limit that triggers enforce: its name, the table that it counts, the column that decides what is counted together.
pub struct CountedLimit {
    /// The limit's name in the triggers' arguments, after `max_` in the registry.
    pub resource: &'static str,
    /// The table.
    pub table: &'static str,
    /// The column without which there is nothing to count by.
    pub column: Option<&'static str>,
    /// What moves rows from one count to another beside INSERT and DELETE.
    update: bool,
    /// Counts anew, as the owner, with the schema as search path.
    recount: &'static str,
}

/// All of them.
pub const COUNTED_LIMITS: [CountedLimit; 3] = [
    CountedLimit {
        resource: "portfolios",
        table: "portfolios",
        column: None,
        update: false,
        recount: "INSERT INTO tenant_usage (resource, scope, used)
SELECT 'portfolios', '', pg_catalog.count(*) FROM portfolios;
",
    },
    CountedLimit {
        resource: "positions_per_portfolio",
        table: "positions",
        column: Some("portfolio_id"),
        update: true,
        recount: "INSERT INTO tenant_usage (resource, scope, used)
SELECT 'positions_per_portfolio', COALESCE(portfolio_id::text, ''), pg_catalog.count(*) FROM positions GROUP BY 2;
",
    },
    CountedLimit {
        resource: "trades_per_day",
        table: "trades",
        column: Some("executed_at"),
        update: true,
        recount: "INSERT INTO tenant_usage (resource, scope, used)
SELECT 'trades_per_day', COALESCE(pg_catalog.to_char(executed_at AT TIME ZONE 'UTC', 'YYYY-MM-DD'), 'infinity'),
    pg_catalog.count(*) FROM trades GROUP BY 2;
",
    },
];

impl CountedLimit {
    /// Whether this limit is to be enforced by triggers for a tenant.
    fn is_due(&self, wanted: &Wanted<'_>) -> bool {
        let limits = wanted.limits;
        let limit = match self.resource {
            "portfolios" => limits.max_portfolios,
            "positions_per_portfolio" => limits.max_positions_per_portfolio,
            _ => limits.max_trades_per_day,
        };
        let has_column = match (self.column, wanted.objects.columns.get(self.table)) {
            (Some(column), Some(columns)) => columns.iter().any(|c| c == column),
            _ => true,
        };
        limit.max().is_some() && has_column && wanted.objects.tables.iter().any(|t| t == self.table)
    }
}

/// Audit triggers, limit triggers, and the counting that new limit triggers need. A trigger's lock keeps writers out
/// from here to the end of the transaction, so nothing is missed.
fn triggers(wanted: &Wanted<'_>, now: &Observed) -> (Sql, Sql, Sql) {
    let none = Vec::new();
    let on = |table: &str| {
        now.relations
            .iter()
            .find(|r| r.name == table)
            .map_or(&none, |r| &r.triggers)
    };
    let mut due: BTreeMap<(&str, String), (Event, &'static str, Vec<&str>)> = BTreeMap::new();
    for (table, mode) in wanted.audit {
        let mut arguments = vec![mode.as_str()];
        if *mode == AuditMode::Keys {
            arguments.extend(wanted.objects.keys.get(table).into_iter().flatten().map(String::as_str));
        }
        for event in EVENTS {
            let name = format!("tenantctl_audit_{}", event.name);
            due.insert((table, name), (event, "audit_changes", arguments.clone()));
        }
    }
    let counted: Vec<&CountedLimit> = COUNTED_LIMITS.iter().filter(|l| l.is_due(wanted)).collect();
    for limit in &counted {
        for event in EVENTS.into_iter().filter(|e| limit.update || e.name != "update") {
            let name = format!("tenantctl_limit_{}", event.name);
            due.insert((limit.table, name), (event, "enforce_limits", vec![limit.resource]));
        }
    }
    let (mut audit, mut limits) = (Sql::default(), Sql::default());
    let mut changed: BTreeSet<&str> = BTreeSet::new();
    for relation in now.relations.iter().filter(|r| matches!(r.kind, 'r' | 'p')) {
        for trigger in &relation.triggers {
            if trigger.name.starts_with("tenantctl_")
                && !due.contains_key(&(relation.name.as_str(), trigger.name.clone()))
            {
                let sql = Sql::new("DROP TRIGGER ")
                    .ident(&trigger.name)
                    .text(" ON ")
                    .qualified(wanted.schema, &relation.name)
                    .text(";\n");
                if trigger.name.starts_with("tenantctl_limit_") {
                    limits = limits.append(sql);
                    changed.insert(&relation.name);
                } else {
                    audit = audit.append(sql);
                }
            }
        }
    }
    for ((table, name), (event, function, arguments)) in &due {
        // A table that is missing or something else cannot have one.
        if !now
            .relations
            .iter()
            .any(|r| r.name == *table && matches!(r.kind, 'r' | 'p'))
        {
            continue;
        }
        let there = on(table).iter().any(|t| {
            t.name == *name
                && t.function == (wanted.schema.to_owned(), (*function).to_owned())
                && t.events == event.bit
                && t.enabled == 'O'
                && t.arguments == *arguments
                && t.transition.0.as_deref() == event.old.then_some("old_rows")
                && t.transition.1.as_deref() == event.new.then_some("new_rows")
                && t.unconditional
        });
        if there {
            continue;
        }
        let mut sql = Sql::new("CREATE OR REPLACE TRIGGER ")
            .ident(name)
            .text(" AFTER ")
            .text(event.keyword)
            .text(" ON ")
            .qualified(wanted.schema, table)
            .text(" ")
            .text(event.referencing)
            .text("FOR EACH STATEMENT EXECUTE FUNCTION ")
            .qualified(wanted.schema, function)
            .text("(");
        for (i, argument) in arguments.iter().enumerate() {
            sql = if i == 0 { sql } else { sql.text(", ") }.literal(argument);
        }
        sql = sql.text(");\n");
        if *function == "audit_changes" {
            audit = audit.append(sql);
        } else {
            changed.insert(table);
            limits = limits.append(sql);
        }
    }
    if !now.relations.iter().any(|r| r.name == "tenant_usage") {
        changed.extend(counted.iter().map(|limit| limit.table));
    }
    let recount = recount(wanted, now, &counted, &changed);
    (audit, limits, recount)
}

/// Counts anew what limit triggers were changed for. A new tenant has nothing to count.
fn recount(wanted: &Wanted<'_>, now: &Observed, counted: &[&CountedLimit], changed: &BTreeSet<&str>) -> Sql {
    if now.fresh || changed.is_empty() {
        return Sql::default();
    }
    // Row security is on for the owner too, whose policies stand by now; `off` would raise an error instead.
    let mut sql = Sql::new("SET LOCAL row_security = on;\n").append(without_triggers(wanted.schema, "tenant_usage"));
    for limit in COUNTED_LIMITS.iter().filter(|l| changed.contains(l.table)) {
        sql = sql
            .text("DELETE FROM tenant_usage WHERE resource = ")
            .literal(limit.resource)
            .text(";\n");
        if counted.iter().any(|c| c.resource == limit.resource) {
            sql = sql.text(limit.recount);
        }
    }
    sql.text("SET LOCAL row_security = off;\n")
}

/// The steps that bring the login role to the standard, as the admin; empty when it is so already or not there.
pub fn role_changes(wanted: &Wanted<'_>, now: &Observed) -> Vec<Change> {
    let Some(role) = &now.role else { return Vec::new() };
    let mut changes: Vec<Change> = Vec::new();
    let alter = || Sql::new("ALTER ROLE ").ident(wanted.role);
    if !role.surplus.is_empty() {
        let sql = role.surplus.iter().fold(alter(), |sql, a| sql.text(a.taken_back()));
        changes.push(("take attributes from the role".into(), sql.text(";")));
    }
    let limit = wanted.limits.max_connections.max().map_or(-1, i128::from);
    if i128::from(role.connection_limit) != limit {
        let what = format!("set the connection limit from {} to {limit}", role.connection_limit);
        changes.push((what.into(), alter().text(" CONNECTION LIMIT ").int(limit).text(";")));
    }
    let path = format!("search_path={}", wanted.schema);
    if !role.settings.iter().map(|s| s.replace('"', "")).eq([path]) {
        let sql = alter()
            .text(" RESET ALL;\n")
            .append(search_path(wanted.schema, wanted.role));
        changes.push(("let the role's settings be its search path alone".into(), sql));
    }
    for database in &role.databases_with_settings {
        let sql = alter().text(" IN DATABASE ").ident(database).text(" RESET ALL;");
        changes.push((format!("remove the role's settings in database {database}").into(), sql));
    }
    let plain = |m: &Membership| m.role == TENANTS_ROLE && !m.admin && m.inherit && (wanted.major < 16 || !m.set);
    let mut sql = Sql::default();
    for membership in role.member_of.iter().filter(|m| !plain(m)) {
        sql = sql
            .text("REVOKE ")
            .ident(&membership.role)
            .text(" FROM ")
            .ident(wanted.role)
            .text(" CASCADE;\n");
    }
    if !role.member_of.iter().any(plain) {
        sql = sql.append(join_group(wanted.role, wanted.major));
    }
    for member in &role.members {
        sql = sql
            .text("REVOKE ")
            .ident(wanted.role)
            .text(" FROM ")
            .ident(member)
            .text(" CASCADE;\n");
    }
    if !sql.is_empty() {
        changes.push((
            "leave the role in the group of all tenants only, and nobody in it".into(),
            sql,
        ));
    }
    changes
}

/// The group lets tenants connect. Where the server has it, a tenant may not become the group, so that nothing can
/// pass from one to another in its name.
pub fn join_group(role: &str, major: i32) -> Sql {
    let sql = Sql::new("GRANT ").ident(TENANTS_ROLE).text(" TO ").ident(role);
    if major >= 16 {
        sql.text(" WITH INHERIT TRUE, SET FALSE;\n")
    } else {
        sql.text(";\n")
    }
}

/// Names resolve in the tenant's own schema.
pub fn search_path(schema: &str, role: &str) -> Sql {
    Sql::new("ALTER ROLE ")
        .ident(role)
        .text(" SET search_path = ")
        .ident(schema)
        .text(";")
}
