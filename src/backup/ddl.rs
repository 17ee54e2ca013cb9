//! What a tenant's structure is, and the SQL that makes it again.
//!
//! A tenant that looks as its template says is described by the template's modules: that costs nothing per tenant, and
//! what is replayed is printed by the server as the original is. Any other tenant is described by pg_dump.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use sha2::{Digest, Sha256};
use tokio::sync::OnceCell;
use tokio_postgres::types::Type;

use super::manifest::{DdlSource, Structure};
use super::pg_dump::PgDump;
use super::replay::{self, Replay};
use super::script::{self, Kind};
use crate::catalog::contents::{self, Contents, Extra};
use crate::catalog::template::{self, Fingerprint};
use crate::error::{Error, ErrorKind, Result};
use crate::pg::conninfo::ConnInfo;
use crate::pg::session::{Param, Session, column};
use crate::pg::sql::Sql;
use crate::plan::standard::{STANDARD_TABLES, is_standard_function};
use crate::tenant::{ModuleObjects, Template, hex, standard_sha256};

/// A tenant's structure and the scripts that make it again.
#[derive(Clone, Debug, PartialEq)]
pub struct Ddl {
    /// Where it comes from, and what the structure is to be compared by.
    pub structure: Structure,
    /// Before the rows: everything but keys, indexes, triggers, rules and statistics.
    pub pre_data: String,
    /// After the rows.
    pub post_data: String,
}

/// The tenant whose structure is asked for.
#[derive(Clone, Copy)]
pub struct Subject<'a> {
    /// In the backup's transaction, with an empty search path.
    pub session: &'a Session,
    /// How that session was opened, for pg_dump.
    pub info: &'a ConnInfo,
    /// The snapshot that the session has exported.
    pub snapshot: &'a str,
    /// The tenant's schema.
    pub schema: &'a str,
    /// The name of its template.
    pub template: &'a str,
    /// The template's version.
    pub version: i32,
    /// The modules that it has.
    pub modules: &'a [String],
    /// Those of its tables that are hypertables.
    pub hypertables: &'a [String],
}

/// By template, version and modules; none where it is not known what tenants look like.
type Remembered = HashMap<(String, i32, Vec<String>), Option<Arc<Known>>>;

/// Describes tenants; remembers what templates look like from one to the next.
#[derive(Default)]
pub struct Describer {
    known: Mutex<Remembered>,
    pg_dump: OnceCell<PgDump>,
}

impl Describer {
    /// One that knows nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads a tenant's structure and the scripts for it. `contents` were read in the same transaction.
    ///
    /// # Errors
    /// What the server or pg_dump refused; kind `unsupported` when pg_dump is needed and there is none.
    pub async fn describe(&self, of: &Subject<'_>, contents: &Contents) -> Result<Ddl> {
        let seen = template::fingerprint(of.session, of.schema).await?;
        let (shape_sha256, sha256) = hashes(&seen, &contents.extras, of.schema, of.schema);
        let structure = |source| Structure {
            source,
            shape_sha256,
            sha256,
        };
        if let Some(known) = self.known(of).await?
            && known.is_like(&seen, contents)
            && let Some(replay) = known.replay(contents, of.schema)
        {
            return Ok(Ddl {
                structure: structure(DdlSource::Template),
                pre_data: replay::pre_data(replay, of.schema),
                post_data: replay::post_data(replay, of.schema),
            });
        }
        let (pre_data, post_data) = self.dump(of).await?;
        Ok(Ddl {
            structure: structure(DdlSource::PgDump),
            pre_data,
            post_data,
        })
    }

    async fn dump(&self, of: &Subject<'_>) -> Result<(String, String)> {
        let major = of.session.server().major();
        let find = || async {
            tokio::task::spawn_blocking(move || PgDump::find(major))
                .await
                .map_err(|e| Error::new(ErrorKind::Unknown, "cannot look for pg_dump").with_cause(e))?
        };
        let program = self.pg_dump.get_or_try_init(find).await?;
        let text = program.run(of.session, of.info, of.snapshot, of.schema).await?;
        sections(&text, of.hypertables)
    }

    async fn known(&self, of: &Subject<'_>) -> Result<Option<Arc<Known>>> {
        let key = (of.template.to_owned(), of.version, of.modules.to_vec());
        let remembered = |known: &Mutex<Remembered>| {
            let known = known.lock().unwrap_or_else(PoisonError::into_inner);
            known.get(&key).cloned()
        };
        if let Some(known) = remembered(&self.known) {
            return Ok(known);
        }
        let known = Known::read(of).await?.map(Arc::new);
        let mut all = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(all.entry(key).or_insert(known).clone())
    }
}

/// Checksums of the structure of a schema: over shapes alone, and over shapes and expressions. `original` is the name that
/// the schema had when the backup was made: text that holds it is as it was, whatever the schema is called now.
///
/// # Errors
/// Kind `not_found` when there is no such schema; what the server refused.
pub async fn structure(session: &Session, schema: &str, original: &str) -> Result<(String, String)> {
    let seen = template::fingerprint(session, schema).await?;
    let contents = contents::read(session, schema).await?;
    Ok(hashes(&seen, &contents.extras, schema, original))
}

/// What tenantctl puts there whatever a backup says, and what it takes care of by itself.
fn is_standard(object: &str) -> bool {
    object.strip_prefix("{schema}.").is_some_and(is_standard_function)
}

/// What the backup leaves to the cluster that it is restored to.
fn is_local(extra: &Extra) -> bool {
    extra.1.starts_with("tablespace ") || extra.1.starts_with("security label ")
}

fn hashes(seen: &Fingerprint, extras: &[Extra], schema: &str, original: &str) -> (String, String) {
    let plain = |text: &str| text.replace(schema, "{schema}").replace(original, "{schema}");
    let mut lines = BTreeSet::new();
    for look in seen.values().filter(|look| !is_standard(&look.object)) {
        lines.insert((
            look.kind.clone(),
            plain(&look.object),
            plain(look.shape.as_deref().unwrap_or_default()),
            plain(look.expression.as_deref().unwrap_or_default()),
        ));
    }
    for extra in extras.iter().filter(|e| !is_standard(&e.0) && !is_local(e)) {
        lines.insert((String::new(), plain(&extra.0), plain(&extra.1), String::new()));
    }
    let (mut shape, mut whole) = (Sha256::new(), Sha256::new());
    let field = |hash: &mut Sha256, text: &str| {
        hash.update((text.len() as u64).to_be_bytes());
        hash.update(text.as_bytes());
    };
    for (kind, object, look, expression) in &lines {
        for text in [kind, object, look] {
            field(&mut shape, text);
            field(&mut whole, text);
        }
        field(&mut whole, expression);
    }
    (hex(&shape.finalize()), hex(&whole.finalize()))
}

/// What tenants of one template, version and set of modules look like.
struct Known {
    looks: BTreeMap<(String, String), (String, Option<String>)>,
    /// The columns of every table, in order.
    columns: BTreeMap<String, Vec<String>>,
    extras: BTreeSet<Extra>,
    template: Template,
    modules: Vec<String>,
    /// None within: the modules hold statements that cannot be placed.
    replay: OnceLock<Option<Replay>>,
}

impl Known {
    async fn read(of: &Subject<'_>) -> Result<Option<Self>> {
        let sql = Sql::new(include_str!("../../sql/catalog/template_expected.sql"));
        let (major, standard) = (of.session.server().major(), standard_sha256());
        let params: [Param<'_>; 5] = [
            (&of.template, Type::TEXT),
            (&of.version, Type::INT4),
            (&of.modules, Type::TEXT_ARRAY),
            (&major, Type::INT4),
            (&standard, Type::TEXT),
        ];
        let rows = of
            .session
            .query(&sql, &params, "read what the template looks like")
            .await?;
        let Some(first) = rows.first() else { return Ok(None) };
        let is_like_current: bool = column(first, "is_like_current")?;
        let mut looks = BTreeMap::new();
        for row in &rows {
            looks.insert(
                (column(row, "kind")?, column(row, "object")?),
                (column(row, "shape")?, column(row, "expression")?),
            );
        }
        let Some(template) = template::version(of.session, of.template, Some(of.version)).await? else {
            return Ok(None);
        };
        let has = |name: &String| of.modules.contains(name);
        let objects: ModuleObjects = template
            .modules
            .iter()
            .filter(|m| has(&m.name))
            .map(|m| &m.objects)
            .collect();
        let mut columns = objects.columns;
        columns.extend(STANDARD_TABLES.map(|(table, sql)| (table.to_owned(), replay::columns_of(sql))));
        let extras = if is_like_current {
            Self::read_extras(of, &template, &looks).await?
        } else {
            BTreeSet::new()
        };
        Ok(Some(Self {
            looks,
            columns,
            extras,
            template,
            modules: of.modules.to_vec(),
            replay: OnceLock::new(),
        }))
    }

    /// What the modules give their objects beside their looks, as the reference copy has it. Somebody may have added to
    /// that by hand, as to tenants; then it is not the modules that would bring it back.
    async fn read_extras(
        of: &Subject<'_>,
        template: &Template,
        looks: &BTreeMap<(String, String), (String, Option<String>)>,
    ) -> Result<BTreeSet<Extra>> {
        let reference = match contents::read(of.session, &template.schema()).await {
            Ok(contents) => contents.extras,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(BTreeSet::new()),
            Err(error) => return Err(error),
        };
        let is_comment = |extra: &Extra| extra.1.starts_with("comment ");
        let comments = replay::comments(template).unwrap_or_default();
        let comments_are_the_modules = reference.iter().filter(|e| is_comment(e)).count() == comments;
        let is_made_by_modules = |extra: &Extra| {
            // These have no command that would add them later.
            ["owned by ", "multirange ", "kind ", "of ", "partition"]
                .iter()
                .any(|begin| extra.1.starts_with(begin))
                || (is_comment(extra) && comments_are_the_modules)
        };
        let objects: BTreeSet<&str> = looks.keys().map(|(_, object)| object.as_str()).collect();
        let is_of_tenant = |extra: &Extra| objects.contains(extra.0.as_str());
        Ok(reference
            .into_iter()
            .filter(|e| is_made_by_modules(e) && is_of_tenant(e))
            .collect())
    }

    fn is_like(&self, seen: &Fingerprint, contents: &Contents) -> bool {
        let seen = seen.values().filter(|look| !is_standard(&look.object));
        let mut count = 0;
        for look in seen {
            count += 1;
            let fits = self
                .looks
                .get(&(look.kind.clone(), look.object.clone()))
                .is_some_and(|(shape, expression)| {
                    look.shape.as_deref() == Some(shape) && look.expression == *expression
                });
            if !fits {
                tracing::debug!(kind = look.kind, object = look.object, "not as the template has it");
                return false;
            }
        }
        if count != self.looks.keys().filter(|(_, object)| !is_standard(object)).count() {
            tracing::debug!("the template has more");
            return false;
        }
        let ordered = contents
            .tables
            .iter()
            .all(|t| self.columns.get(&t.name) == Some(&t.layout));
        let extras: BTreeSet<Extra> = contents.extras.iter().cloned().collect();
        if !ordered || extras != self.extras {
            tracing::debug!(ordered, "other columns' order, comments or storage than the template's");
            return false;
        }
        true
    }

    fn replay(&self, contents: &Contents, schema: &str) -> Option<&Replay> {
        let build = || {
            let has = |name: &String| self.modules.contains(name);
            let modules = self.template.modules.iter().filter(|m| has(&m.name));
            Replay::new(modules, contents, schema)
        };
        self.replay.get_or_init(build).as_ref()
    }
}

/// What pg_dump wrote, in two parts, without what the standard brings and what only its own session needs.
fn sections(text: &str, hypertables: &[String]) -> Result<(String, String)> {
    let statements = script::statements(&script::without_restrict(text)?)?;
    let (mut settings, mut pre, mut post) = (String::new(), String::new(), String::new());
    let mut after = false;
    for statement in statements {
        let add = |to: &mut String, text: &str| {
            to.push_str(text);
            to.push_str("\n\n");
        };
        if statement.kind == Kind::Setting {
            if replay::is_setting_of_dumps(&statement.text)? {
                settings.push_str(&statement.text);
                settings.push('\n');
            }
            continue;
        }
        // pg_dump writes all that comes before the rows before all that comes after them.
        after = after || replay::comes_after_rows(&statement)?;
        if replay::is_of_standard(&statement.text)? {
            continue;
        }
        let is_hypertable = statement
            .table
            .as_ref()
            .is_some_and(|table| hypertables.contains(table));
        let text = if is_hypertable {
            script::without_only(&statement.text)
        } else {
            statement.text
        };
        add(if after { &mut post } else { &mut pre }, &text);
    }
    Ok((format!("{settings}\n{pre}"), format!("{settings}\n{post}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tenant::ObjectLook;

    fn seen(shape: &str, expression: &str) -> Fingerprint {
        let look = ObjectLook {
            kind: "column".into(),
            object: "{schema}.t.a".into(),
            shape: Some(shape.into()),
            expression: Some(expression.into()),
            reread: None,
        };
        [((look.kind.clone(), look.object.clone()), look)].into()
    }

    #[test]
    fn checksums_do_not_depend_on_the_name_of_the_schema() {
        let tenant = "tenant_aaaaaaaaaaaa";
        let staging = "tenantctl_restore_bbbbbbbbbbbb";
        let before = hashes(
            &seen("text default", "'see {schema}.t in tenant_aaaaaaaaaaaa'::text"),
            &[],
            tenant,
            tenant,
        );
        // In a string the name is not renamed, and there is nothing that the query would take for the schema's.
        let after = hashes(
            &seen(
                "text default",
                "'see tenant_aaaaaaaaaaaa.t in tenant_aaaaaaaaaaaa'::text",
            ),
            &[],
            staging,
            tenant,
        );
        assert_eq!(before, after);
        let other = hashes(&seen("text default", "'other'::text"), &[], tenant, tenant);
        assert_eq!(other.0, before.0, "the shape is the same");
        assert_ne!(other.1, before.1);
        let commented = [Extra("{schema}.t".into(), "comment 'x'".into())];
        assert_ne!(
            hashes(&seen("text default", "x"), &commented, tenant, tenant).0,
            other.0
        );
        let placed = [Extra("{schema}.t".into(), "tablespace fast".into())];
        assert_eq!(
            hashes(&seen("text default", "'other'::text"), &placed, tenant, tenant),
            other
        );
    }

    #[test]
    fn a_dump_is_split_and_rid_of_what_the_standard_brings() {
        let dump = r"--
-- PostgreSQL database dump
--

\restrict abc

SET statement_timeout = 0;
SET transaction_timeout = 0;
SET client_encoding = 'UTF8';
SELECT pg_catalog.set_config('search_path', '', false);
SET default_table_access_method = heap;

CREATE SCHEMA x;
COMMENT ON SCHEMA x IS 'a';
CREATE FUNCTION x.audit_changes() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN CREATE INDEX; END$$;
CREATE TABLE x.t (a integer);
ALTER TABLE ONLY x.t FORCE ROW LEVEL SECURITY;
CREATE TABLE x.h (a integer);
ALTER TABLE ONLY x.t ATTACH PARTITION x.h FOR VALUES IN (1);
ALTER TABLE ONLY x.h ADD CONSTRAINT h_pkey PRIMARY KEY (a);
COMMENT ON CONSTRAINT h_pkey ON x.h IS 'k';
CREATE VIEW x.late AS SELECT a FROM x.h GROUP BY a;
CREATE TRIGGER tenantctl_audit_insert AFTER INSERT ON x.t FOR EACH STATEMENT EXECUTE FUNCTION x.audit_changes('full');
ALTER TABLE x.t DISABLE TRIGGER tenantctl_audit_insert;
CREATE TRIGGER own BEFORE INSERT ON x.t FOR EACH ROW EXECUTE FUNCTION x.f();
CREATE TRIGGER ts_insert_blocker BEFORE INSERT ON x.h FOR EACH ROW EXECUTE FUNCTION _timescaledb_functions.insert_blocker();
CREATE POLICY t_admin_bypass ON x.t TO tenantctl_owner USING (true);
COMMENT ON POLICY t_admin_bypass ON x.t IS 'p';
ALTER TABLE x.t ENABLE ROW LEVEL SECURITY;

\unrestrict abc
";
        let (pre, post) = sections(dump, &["h".into()]).expect("readable");
        let texts = |sql: &str| {
            script::statements(sql)
                .expect("readable")
                .into_iter()
                .map(|s| s.text)
                .collect::<Vec<_>>()
        };
        let settings = [
            "SET client_encoding = 'UTF8';",
            "SELECT pg_catalog.set_config('search_path', '', false);",
        ];
        let (pre, post) = (texts(&pre), texts(&post));
        assert_eq!(
            (&pre[..2], &post[..2]),
            (&settings.map(str::to_owned)[..], &settings.map(str::to_owned)[..])
        );
        assert_eq!(
            pre[2..],
            [
                "SET default_table_access_method = heap;",
                "CREATE SCHEMA x;",
                "COMMENT ON SCHEMA x IS 'a';",
                "CREATE FUNCTION x.audit_changes() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN CREATE INDEX; END$$;",
                "CREATE TABLE x.t (a integer);",
                "CREATE TABLE x.h (a integer);",
                "ALTER TABLE ONLY x.t ATTACH PARTITION x.h FOR VALUES IN (1);",
            ]
        );
        assert_eq!(
            post[2..],
            [
                "ALTER TABLE x.h ADD CONSTRAINT h_pkey PRIMARY KEY (a);",
                "COMMENT ON CONSTRAINT h_pkey ON x.h IS 'k';",
                "CREATE VIEW x.late AS SELECT a FROM x.h GROUP BY a;",
                "CREATE TRIGGER own BEFORE INSERT ON x.t FOR EACH ROW EXECUTE FUNCTION x.f();",
            ]
        );
    }
}
