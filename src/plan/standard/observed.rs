//! What there is of a tenant, as `sql/catalog/tenant_state.sql` tells it.

use serde::Deserialize;

use super::{Wanted, is_standard_function, is_standard_table, is_tenant_role};
use crate::tenant::{ModuleObjects, OWNER_ROLE};

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
    /// The owner has lost rights on its own schema.
    #[serde(default)]
    pub owner_lacks: bool,
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
    /// The owner has lost rights on it.
    #[serde(default)]
    pub owner_lacks: bool,
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
    pub(super) fn taken_back(self) -> &'static str {
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
    /// Who granted it; from PostgreSQL 16 on each may.
    #[serde(default)]
    pub grantor: String,
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
            owner_lacks: false,
            fresh: true,
        }
    }
}

impl Observed {
    /// What `secure` may touch: what is the owner's, and of the standard what an admin has made by hand. What belongs
    /// to a tenant may hold code of its, and is nobody's to adopt; what is not the standard's is not ours to give away.
    pub(super) fn adoptable(&self, wanted: &Wanted<'_>) -> Self {
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
    pub(super) fn tenant_owned(&self) -> impl Iterator<Item = (&'static str, &str, &str)> {
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
