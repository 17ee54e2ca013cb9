//! Who owns and who may what: owners, REVOKE, GRANT.

use std::collections::{BTreeMap, BTreeSet};

use super::super::{as_admin, as_owner};
use super::{Grant, Observed, Relation, STANDARD_TABLES, Wanted, is_standard_function, is_standard_table};
use crate::pg::sql::{FunctionSignature, Sql};
use crate::tenant::OWNER_ROLE;

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
            _ if standard || objects.partitions.contains(&r.name) => (Kind::Table, &["SELECT"]),
            _ if wanted.frozen => (Kind::Table, &["SELECT", "DELETE"]),
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

/// What [`writes`] finds, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Writes {
    /// Tables that the standard lets the tenant write to while it is not frozen.
    pub standard: Vec<String>,
    /// Tables and views that are not the standard's to grant on, and that it can write to all the same.
    pub beyond: Vec<String>,
}

/// Where a tenant inserts and updates.
pub fn writes(wanted: &Wanted<'_>, now: &Observed) -> Writes {
    let mine = now.adoptable(wanted);
    let thawed = Wanted {
        frozen: false,
        ..*wanted
    };
    let mut found = Writes::default();
    for (kind, name, _, rights) in rights(&thawed, &mine) {
        if kind == Kind::Table && rights.is_some_and(|rights| rights.contains(&"INSERT")) {
            found.standard.push(name.to_owned());
        }
    }
    let others = mine.relations.iter().filter(|r| !found.standard.contains(&r.name));
    let beyond = others.filter(|r| can_write(r, wanted.role));
    found.beyond = beyond.map(|r| r.name.clone()).collect();
    found
}

/// Whether a role inserts or updates here, by a right of its own on the table or one on some of its columns.
fn can_write(relation: &Relation, role: &str) -> bool {
    relation.kind != 'S'
        && (relation.column_grantees.iter().any(|who| who == role)
            || relation
                .grants
                .iter()
                .any(|Grant(who, right, _)| who == role && matches!(right.as_str(), "INSERT" | "UPDATE")))
}

/// Whether the tenant's own rights on an object must be taken back before the right ones are granted: it has one too
/// many, or one that it could pass on.
fn is_surplus(grants: &[Grant], role: &str, rights: &[&str]) -> bool {
    grants
        .iter()
        .any(|Grant(who, right, grantable)| who == role && (*grantable || !rights.contains(&right.as_str())))
}

pub(super) fn revokes(wanted: &Wanted<'_>, now: &Observed) -> Sql {
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
    let mut sql = from.into_iter().fold(Sql::default(), |sql, ((kind, who), names)| {
        let sql = kind.names(
            sql.text("REVOKE ALL PRIVILEGES ON ").text(kind.keyword()),
            wanted.schema,
            &names,
        );
        // What was passed on goes with it.
        grantee(sql.text(" FROM "), who).text(" CASCADE;\n")
    });
    // Of what is not the standard's a frozen tenant keeps the rest.
    let beyond = if wanted.frozen {
        writes(wanted, now).beyond
    } else {
        Vec::new()
    };
    if !beyond.is_empty() {
        sql = sql
            .text("REVOKE INSERT, UPDATE ON TABLE ")
            .qualified_list(wanted.schema, &beyond)
            .text(" FROM ")
            .ident(wanted.role)
            .text(" CASCADE;\n");
    }
    sql
}

pub(super) fn grants(wanted: &Wanted<'_>, now: &Observed) -> Sql {
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
    let mut own = Sql::default();
    if now.owner_lacks {
        own = own
            .text("GRANT ALL ON SCHEMA ")
            .ident(wanted.schema)
            .text(" TO ")
            .ident(OWNER_ROLE)
            .text(";\n");
    }
    for relation in now.relations.iter().filter(|r| r.owner_lacks) {
        let kind = if relation.kind == 'S' {
            Kind::Sequence
        } else {
            Kind::Table
        };
        own = kind
            .names(
                own.text("GRANT ALL ON ").text(kind.keyword()),
                wanted.schema,
                &[&relation.name],
            )
            .text(" TO ")
            .ident(OWNER_ROLE)
            .text(";\n");
    }
    to.into_iter().fold(own, |mut sql, ((kind, rights), names)| {
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

/// Takes every right in a schema from everybody but its owner, which is then the only one who can look at it.
pub fn take_all_rights(schema: &str, now: &Observed) -> Sql {
    let mut from: BTreeMap<(Kind, &str), Vec<&str>> = BTreeMap::new();
    let mut all: Vec<(Kind, &str, &[Grant])> = vec![(Kind::Schema, "", &now.grants)];
    for r in &now.relations {
        let kind = if r.kind == 'S' { Kind::Sequence } else { Kind::Table };
        all.push((kind, &r.name, &r.grants));
        for who in r.column_grantees.iter().filter(|who| *who != OWNER_ROLE) {
            from.entry((Kind::Table, who)).or_default().push(&r.name);
        }
    }
    all.extend(now.functions.iter().map(|f| (Kind::Routine, &*f.signature, &*f.grants)));
    all.extend(now.types.iter().map(|t| (Kind::Type, &*t.name, &*t.grants)));
    for (kind, name, grants) in all {
        let grantees: BTreeSet<&str> = grants.iter().map(|g| g.0.as_str()).collect();
        for who in grantees.into_iter().filter(|who| *who != OWNER_ROLE) {
            let names = from.entry((kind, who)).or_default();
            if !names.contains(&name) {
                names.push(name);
            }
        }
    }
    from.into_iter().fold(Sql::default(), |sql, ((kind, who), names)| {
        let sql = kind.names(
            sql.text("REVOKE ALL PRIVILEGES ON ").text(kind.keyword()),
            schema,
            &names,
        );
        grantee(sql.text(" FROM "), who).text(" CASCADE;\n")
    })
}

pub(super) fn ownership(wanted: &Wanted<'_>, now: &Observed) -> Sql {
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
