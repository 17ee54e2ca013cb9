//! A template's modules in two parts: what comes before a backup's rows, and what is quicker or only right after them.

use std::collections::BTreeSet;

use super::script::{self, Cursor, Kind, Statement, identifier, look};
use crate::catalog::contents::{Contents, KeyFacts};
use crate::error::Result;
use crate::plan::standard::STANDARD_TABLES;
use crate::tenant::{Module, Template};

/// The modules' statements in two parts, with names that resolve by the search path.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Replay {
    pre: String,
    post: String,
}

/// Where a statement of a module goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Before,
    /// Beside a constraint or index that must be there: nothing that was put off may be missing.
    After,
    /// Rows and rights: a restore brings its own.
    Nowhere,
    /// Nobody has thought of it.
    Unknown,
}

impl Replay {
    /// Splits modules; none when one of their statements cannot be placed. The contents are those of a tenant that has
    /// exactly these modules, in `schema`.
    pub(super) fn new<'a>(
        modules: impl Iterator<Item = &'a Module>,
        contents: &Contents,
        schema: &str,
    ) -> Option<Self> {
        let plain: BTreeSet<&str> = contents
            .tables
            .iter()
            .filter(|t| t.kind == 'r' && !t.related)
            .map(|t| t.name.as_str())
            .collect();
        let dropped = droppable(&contents.keys, &plain);
        // Rows come in any order: no foreign key may be there before them.
        if contents.keys.iter().any(|k| k.kind == 'f' && !dropped.contains(&k)) {
            tracing::debug!("a foreign key cannot wait for the rows");
            return None;
        }
        // A foreign key may rest on an index that is no constraint's, and is made with its table.
        let relied_on: BTreeSet<&str> = contents
            .keys
            .iter()
            .filter(|k| k.kind == 'f')
            .filter_map(|k| k.index.as_deref())
            .collect();
        let (mut pre, mut post) = (String::new(), String::new());
        let add = |to: &mut String, text: &str| {
            to.push_str(text);
            to.push('\n');
        };
        let mut later = Vec::new();
        let mut filled = Vec::new();
        for module in modules {
            for statement in script::statements(&module.sql).ok()? {
                let mut place = place(&statement).ok()?;
                if statement.kind == Kind::Index {
                    let name = look(&statement.text, index_name).ok()?;
                    let can_wait = statement.table.as_deref().is_some_and(|table| plain.contains(table));
                    if !can_wait || name.is_some_and(|name| relied_on.contains(name.as_str())) {
                        place = Place::Before;
                    }
                }
                if place == Place::Before && look(&statement.text, makes_rows).ok()? {
                    filled.extend(statement.table.clone());
                }
                match place {
                    Place::Before => add(&mut pre, &statement.text),
                    Place::After => later.push(statement),
                    Place::Nowhere => {}
                    Place::Unknown => {
                        tracing::debug!(module = module.name, text = statement.text, "cannot be placed");
                        return None;
                    }
                }
            }
        }
        for (_, sql) in STANDARD_TABLES {
            for statement in script::statements(sql).ok()? {
                match statement.kind {
                    Kind::Index => later.push(statement),
                    _ => add(&mut pre, &statement.text),
                }
            }
        }
        // Foreign keys first: primary keys cannot go while they are there.
        let (foreign, own): (Vec<&KeyFacts>, Vec<&KeyFacts>) = dropped.iter().partition(|k| k.kind == 'f');
        for key in foreign.iter().chain(&own) {
            let (table, name) = (identifier(&key.table), identifier(&key.name));
            add(
                &mut pre,
                &["ALTER TABLE ", &table, " DROP CONSTRAINT ", &name, ";"].concat(),
            );
        }
        for table in filled {
            add(&mut pre, &["TRUNCATE ", &identifier(&table), ";"].concat());
        }
        let restore = |key: &&KeyFacts| {
            let (table, name) = (identifier(&key.table), identifier(&key.name));
            let definition = script::unqualify(&key.definition, schema);
            ["ALTER TABLE ", &table, " ADD CONSTRAINT ", &name, " ", &definition, ";"].concat()
        };
        let (indexes, others): (Vec<Statement>, Vec<Statement>) =
            later.into_iter().partition(|s| s.kind == Kind::Index);
        own.iter().for_each(|key| add(&mut post, &restore(key)));
        indexes.iter().for_each(|s| add(&mut post, &s.text));
        foreign.iter().for_each(|key| add(&mut post, &restore(key)));
        others.iter().for_each(|s| add(&mut post, &s.text));
        Some(Self { pre, post })
    }
}

/// The part before the rows, for a schema that does not exist yet.
pub(super) fn pre_data(replay: &Replay, schema: &str) -> String {
    [
        "CREATE SCHEMA ",
        &identifier(schema),
        ";\n",
        &header(schema),
        &replay.pre,
    ]
    .concat()
}

/// The part after them.
pub(super) fn post_data(replay: &Replay, schema: &str) -> String {
    [header(schema).as_str(), &replay.post].concat()
}

fn header(schema: &str) -> String {
    let schema = identifier(schema);
    [
        "SET search_path = ",
        &schema,
        ", pg_temp;\n",
        "SET check_function_bodies = off;\n",
    ]
    .concat()
}

/// Keys that can be taken away before the rows come and be made again after them, from their definitions alone.
fn droppable<'a>(keys: &'a [KeyFacts], plain: &BTreeSet<&str>) -> Vec<&'a KeyFacts> {
    let is_plain = |table: &String| plain.contains(table.as_str());
    let can_wait = |key: &&KeyFacts| {
        (is_plain(&key.table) || key.kind == 'f')
            && !key.commented
            && !key.special
            && !key.depended_on
            && match key.kind {
                // Its table's partitions follow.
                'f' => key.references.is_some(),
                'p' | 'u' => true,
                // An expression would be printed from what it was printed as.
                _ => false,
            }
    };
    keys.iter().filter(can_wait).collect()
}

fn place(statement: &Statement) -> Result<Place> {
    look(&statement.text, |mut c| {
        if c.accept("CREATE") {
            return place_create(c);
        }
        if c.accept("ALTER") {
            return place_alter(c);
        }
        if c.accept_all(&["COMMENT", "ON"]) {
            return if c.accept("POLICY") {
                Place::Nowhere
            } else if ["INDEX", "TRIGGER", "RULE", "STATISTICS"]
                .iter()
                .any(|kind| c.accept(kind))
            {
                Place::After
            } else {
                Place::Before
            };
        }
        let rows_or_rights = [
            "INSERT", "UPDATE", "DELETE", "TRUNCATE", "MERGE", "GRANT", "REVOKE", "ANALYZE",
        ];
        if rows_or_rights.iter().any(|word| c.accept(word))
            || c.accept_all(&["SELECT", "setval", "("])
            || c.accept_all(&["SELECT", "pg_catalog", ".", "setval", "("])
        {
            return Place::Nowhere;
        }
        Place::Unknown
    })
}

fn place_create(mut c: Cursor<'_>) -> Place {
    c.accept_all(&["OR", "REPLACE"]);
    if c.accept("POLICY") {
        return Place::Nowhere;
    }
    if c.accept("UNIQUE") || c.accept("INDEX") {
        c.accept("INDEX");
        // The server would choose the name, by what there is at the time.
        let named = !c.holds("CONCURRENTLY") && index_name_here(&mut c).is_some();
        return if named { Place::After } else { Place::Unknown };
    }
    if c.accept("STATISTICS") {
        c.accept_all(&["IF", "NOT", "EXISTS"]);
        let named = !c.accept("(") && !c.accept("ON");
        return if named { Place::After } else { Place::Unknown };
    }
    c.accept("CONSTRAINT");
    if c.accept("TRIGGER") || c.accept("RULE") {
        return Place::After;
    }
    c.accept("UNLOGGED");
    if c.accept("TABLE") {
        // The copy would lack the indexes that have been put off.
        return if c.holds("LIKE") && c.holds("INCLUDING") {
            Place::Unknown
        } else {
            Place::Before
        };
    }
    let known = [
        "VIEW",
        "FUNCTION",
        "PROCEDURE",
        "AGGREGATE",
        "TYPE",
        "DOMAIN",
        "SEQUENCE",
    ];
    if known.iter().any(|kind| c.accept(kind)) || c.accept_all(&["RECURSIVE", "VIEW"]) {
        Place::Before
    } else {
        Place::Unknown
    }
}

fn place_alter(mut c: Cursor<'_>) -> Place {
    let known = [
        "SEQUENCE",
        "TYPE",
        "DOMAIN",
        "VIEW",
        "FUNCTION",
        "PROCEDURE",
        "AGGREGATE",
    ];
    if known.iter().any(|kind| c.accept(kind)) {
        return if c.holds("OWNER") || c.holds("RENAME") || c.holds("SCHEMA") {
            Place::Unknown
        } else {
            Place::Before
        };
    }
    if !c.accept("TABLE") {
        return Place::Unknown;
    }
    c.accept_all(&["IF", "EXISTS"]);
    c.accept("ONLY");
    if c.qualified_name().is_none() {
        return Place::Unknown;
    }
    let row_security = ["ENABLE", "DISABLE", "FORCE"]
        .iter()
        .any(|word| c.accept_all(&[word, "ROW", "LEVEL", "SECURITY"]))
        || c.accept_all(&["NO", "FORCE", "ROW", "LEVEL", "SECURITY"]);
    if row_security {
        return if c.holds(",") { Place::Unknown } else { Place::Nowhere };
    }
    // What names an index or a trigger, which may have been put off, or changes what they are made from.
    let touchy = [
        "INDEX",
        "TRIGGER",
        "RULE",
        "CLUSTER",
        "REPLICA",
        "OWNER",
        "RENAME",
        "SCHEMA",
        "TABLESPACE",
        "DROP",
    ];
    let plain = ["ADD", "ALTER", "SET", "VALIDATE", "INHERIT"]
        .iter()
        .any(|word| c.accept(word));
    // Nothing that is gone with these is needed; stepped over, they are not looked at below.
    c.accept("COLUMN");
    if c.name().is_some() && !c.accept_all(&["DROP", "DEFAULT"]) {
        c.accept_all(&["DROP", "NOT", "NULL"]);
    }
    if plain && !touchy.iter().any(|word| c.holds(word)) {
        Place::Before
    } else {
        Place::Unknown
    }
}

/// Whether it is CREATE TABLE AS.
fn makes_rows(mut c: Cursor<'_>) -> bool {
    c.accept("CREATE") && {
        c.accept("UNLOGGED");
        c.accept("TABLE") && c.skip_to("AS")
    }
}

fn index_name(mut c: Cursor<'_>) -> Option<String> {
    c.accept("CREATE");
    c.accept("UNIQUE");
    c.accept("INDEX");
    index_name_here(&mut c)
}

fn index_name_here(c: &mut Cursor<'_>) -> Option<String> {
    c.accept_all(&["IF", "NOT", "EXISTS"]);
    if c.accept("ON") { None } else { c.name() }
}

/// The columns of the table that the first statement creates, in order.
pub(super) fn columns_of(sql: &str) -> Vec<String> {
    let read = |mut c: Cursor<'_>| {
        let mut columns = Vec::new();
        if !(c.accept_all(&["CREATE", "TABLE"]) && c.qualified_name().is_some() && c.accept("(")) {
            return columns;
        }
        loop {
            let constraint = ["PRIMARY", "UNIQUE", "CHECK", "CONSTRAINT", "FOREIGN", "EXCLUDE"]
                .iter()
                .any(|word| c.accept(word));
            match c.name() {
                Some(name) if !constraint => columns.push(name),
                Some(_) => {}
                None if constraint => {}
                None => return columns,
            }
            if !c.next_item() {
                return columns;
            }
        }
    };
    let first = script::statements(sql).ok().and_then(|all| all.into_iter().next());
    first.and_then(|s| look(&s.text, read).ok()).unwrap_or_default()
}

/// How many comments the modules of a template make; none when they cannot be read.
pub(super) fn comments(template: &Template) -> Option<usize> {
    let mut count = 0;
    for module in &template.modules {
        for statement in script::statements(&module.sql).ok()? {
            count += usize::from(look(&statement.text, |mut c| c.accept_all(&["COMMENT", "ON"])).ok()?);
        }
    }
    Some(count)
}

/// Whether pg_dump's setting matters to whoever replays its output, with whatever version: the others keep its own session
/// from timing out, and may not be known to an older server.
pub(super) fn is_setting_of_dumps(text: &str) -> Result<bool> {
    look(text, |mut c| {
        if c.accept("SELECT") {
            return true;
        }
        c.accept("SET");
        let name = c.name().unwrap_or_default();
        let kept = [
            "client_encoding",
            "standard_conforming_strings",
            "check_function_bodies",
            "xmloption",
        ];
        kept.contains(&name.as_str())
    })
}

/// Whether a statement of pg_dump's belongs to what comes after the rows.
pub(super) fn comes_after_rows(statement: &Statement) -> Result<bool> {
    if matches!(statement.kind, Kind::Key | Kind::Index | Kind::ForeignKey) {
        return Ok(true);
    }
    look(&statement.text, |mut c| {
        if c.accept("CREATE") {
            c.accept_all(&["OR", "REPLACE"]);
            c.accept("CONSTRAINT");
            return ["TRIGGER", "RULE", "STATISTICS", "POLICY"]
                .iter()
                .any(|kind| c.accept(kind));
        }
        if c.accept_all(&["ALTER", "DOMAIN"]) {
            return c.qualified_name().is_some() && c.accept("ADD");
        }
        if !c.accept_all(&["ALTER", "TABLE"]) {
            return false;
        }
        c.accept("ONLY");
        c.qualified_name().is_some()
            && (c.accept_all(&["ADD", "CONSTRAINT"]) || c.accept_all(&["ENABLE", "ROW", "LEVEL"]))
    })
}

/// Whether a statement of pg_dump's makes what every tenant gets from the standard anyway: row security, policies, the
/// triggers of audit and limits, and the one that timescaledb puts on hypertables.
pub(super) fn is_of_standard(text: &str) -> Result<bool> {
    let is_standard_trigger =
        |name: Option<String>| name.is_some_and(|n| n.starts_with("tenantctl_") || n == "ts_insert_blocker");
    look(text, |mut c| {
        if c.accept_all(&["COMMENT", "ON"]) {
            return c.accept("POLICY") || (c.accept("TRIGGER") && is_standard_trigger(c.name()));
        }
        if c.accept("CREATE") {
            c.accept_all(&["OR", "REPLACE"]);
            return c.accept("POLICY") || (c.accept("TRIGGER") && is_standard_trigger(c.name()));
        }
        if !c.accept_all(&["ALTER", "TABLE"]) {
            return false;
        }
        c.accept("ONLY");
        if c.qualified_name().is_none() {
            return false;
        }
        let row_security = ["ENABLE", "FORCE"]
            .iter()
            .any(|word| c.accept_all(&[word, "ROW", "LEVEL", "SECURITY"]));
        let trigger = (c.accept("DISABLE") || c.accept("ENABLE")) && {
            c.accept("ALWAYS");
            c.accept("REPLICA");
            c.accept("TRIGGER")
        };
        row_security || (trigger && is_standard_trigger(c.name()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::contents::{RowFormat, TableFacts};

    fn place_of(sql: &str) -> Place {
        place(&script::statements(sql).expect("readable")[0]).expect("readable")
    }

    #[test]
    fn every_kind_of_statement_has_its_place_or_none() {
        for (place, statements) in [
            (
                Place::Before,
                &[
                    "CREATE TABLE t (a int PRIMARY KEY)",
                    "CREATE UNLOGGED TABLE t AS SELECT 1",
                    "CREATE OR REPLACE VIEW v AS SELECT 1",
                    "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'",
                    "CREATE TYPE e AS ENUM ('a')",
                    "CREATE DOMAIN d AS text",
                    "CREATE SEQUENCE s",
                    "ALTER SEQUENCE s OWNED BY t.a",
                    "ALTER TABLE t ADD COLUMN b int",
                    "ALTER TABLE t ADD CONSTRAINT k UNIQUE (b)",
                    "ALTER TABLE t ALTER COLUMN b DROP DEFAULT",
                    "ALTER TABLE t ALTER b SET STORAGE external",
                    "COMMENT ON COLUMN t.a IS 'INDEX'",
                    "COMMENT ON CONSTRAINT k ON t IS 'x'",
                ][..],
            ),
            (
                Place::After,
                &[
                    "CREATE UNIQUE INDEX IF NOT EXISTS i ON t (a)",
                    "CREATE TRIGGER g BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION f()",
                    "CREATE OR REPLACE RULE r AS ON INSERT TO t DO INSTEAD NOTHING",
                    "CREATE STATISTICS s ON a, b FROM t",
                    "COMMENT ON INDEX i IS 'x'",
                ],
            ),
            (
                Place::Nowhere,
                &[
                    "INSERT INTO t VALUES (1)",
                    "GRANT SELECT ON t TO x",
                    "SELECT pg_catalog.setval('s', 3)",
                    "CREATE POLICY p ON t USING (true)",
                    "ALTER TABLE t ENABLE ROW LEVEL SECURITY",
                ],
            ),
            (
                Place::Unknown,
                &[
                    "CREATE INDEX ON t (a)",
                    "CREATE STATISTICS ON a, b FROM t",
                    "CREATE TABLE u (LIKE t INCLUDING ALL)",
                    "CREATE TEMP TABLE t (a int)",
                    "CREATE EXTENSION hstore",
                    "CREATE MATERIALIZED VIEW m AS SELECT 1",
                    "ALTER TABLE t ADD CONSTRAINT k PRIMARY KEY USING INDEX i",
                    "ALTER TABLE t RENAME COLUMN a TO b",
                    "ALTER TABLE t DROP COLUMN a",
                    "ALTER TABLE t ALTER a DROP NOT NULL, DROP COLUMN b",
                    "ALTER TABLE t CLUSTER ON i",
                    "ALTER TABLE t DISABLE TRIGGER g",
                    "ALTER INDEX i RENAME TO j",
                    "ALTER FUNCTION f() OWNER TO x",
                    "DROP TABLE t",
                    "DO $$ BEGIN END $$",
                    "SELECT create_everything()",
                    "SET search_path = public",
                ],
            ),
        ] {
            for sql in statements {
                assert_eq!(place_of(sql), place, "{sql}");
            }
        }
    }

    #[test]
    fn columns_are_read_from_the_statement_that_makes_them() {
        let sql = "-- why\nCREATE TABLE t (a int, \"B c\" numeric(3, 2) DEFAULT f(1, 2), d text, PRIMARY KEY (a, d), CHECK (a > 0)) WITH (fillfactor = 50);";
        assert_eq!(columns_of(sql), ["a", "B c", "d"]);
        for (table, sql) in STANDARD_TABLES {
            assert!(columns_of(sql).len() >= 3, "{table}");
        }
        assert_eq!(columns_of(STANDARD_TABLES[1].1), ["resource", "scope", "used"]);
    }

    fn key(table: &str, name: &str, kind: char, definition: &str, references: Option<&str>, index: &str) -> KeyFacts {
        KeyFacts {
            table: table.into(),
            name: name.into(),
            kind,
            definition: definition.into(),
            references: references.map(str::to_owned),
            index: Some(index.into()),
            depended_on: false,
            commented: false,
            special: false,
        }
    }

    #[test]
    fn keys_and_indexes_come_after_the_rows_where_nothing_needs_them_before() {
        let table = |name: &str| TableFacts {
            name: name.into(),
            kind: 'r',
            columns: Vec::new(),
            layout: Vec::new(),
            through: None,
            format: RowFormat::Binary,
            pages: 0,
            bytes: 0,
            related: name.starts_with("part"),
        };
        let mut contents = Contents {
            tables: ["Odd t", "u", "w", "part"].map(table).into(),
            keys: vec![
                key("Odd t", "t_pkey", 'p', "PRIMARY KEY (a)", None, "t_pkey"),
                key(
                    "u",
                    "u_fkey",
                    'f',
                    "FOREIGN KEY (a) REFERENCES tenant_x.\"Odd t\"(a)",
                    Some("Odd t"),
                    "t_pkey",
                ),
                key(
                    "w",
                    "w_fkey",
                    'f',
                    "FOREIGN KEY (a) REFERENCES tenant_x.u(b)",
                    Some("u"),
                    "u_unique",
                ),
                key("part", "part_pkey", 'p', "PRIMARY KEY (a)", None, "part_pkey"),
            ],
            ..Contents::default()
        };
        let module = Module {
            name: "m".into(),
            feature: None,
            sql: "CREATE TABLE \"Odd t\" (a int PRIMARY KEY); INSERT INTO \"Odd t\" VALUES (1);
                CREATE INDEX i ON \"Odd t\" (a); CREATE TRIGGER g AFTER INSERT ON u EXECUTE FUNCTION f();
                CREATE UNIQUE INDEX u_unique ON u (b); CREATE INDEX part_i ON part (a)"
                .into(),
            objects: crate::tenant::ModuleObjects::default(),
        };
        let replay = Replay::new(std::iter::once(&module), &contents, "tenant_x").expect("placed");
        assert!(replay.pre.starts_with(
            "CREATE TABLE \"Odd t\" (a int PRIMARY KEY);\nCREATE UNIQUE INDEX u_unique ON u (b);\nCREATE INDEX part_i ON part (a);\n"
        ));
        assert!(replay.pre.ends_with(
            "ALTER TABLE \"u\" DROP CONSTRAINT u_fkey;\nALTER TABLE \"w\" DROP CONSTRAINT w_fkey;\nALTER TABLE \"Odd t\" DROP CONSTRAINT t_pkey;\n"
        ));
        assert_eq!(
            replay.post,
            "ALTER TABLE \"Odd t\" ADD CONSTRAINT t_pkey PRIMARY KEY (a);
CREATE INDEX i ON \"Odd t\" (a);
CREATE INDEX audit_log_at ON audit_log USING brin (at);
ALTER TABLE \"u\" ADD CONSTRAINT u_fkey FOREIGN KEY (a) REFERENCES \"Odd t\"(a);
ALTER TABLE \"w\" ADD CONSTRAINT w_fkey FOREIGN KEY (a) REFERENCES u(b);
CREATE TRIGGER g AFTER INSERT ON u EXECUTE FUNCTION f();
"
        );
        assert!(
            pre_data(&replay, "tenant_x")
                .starts_with("CREATE SCHEMA tenant_x;\nSET search_path = tenant_x, pg_temp;\n")
        );
        // A view that groups by a key needs it from the start.
        contents.keys[0].depended_on = true;
        let replay = Replay::new(std::iter::once(&module), &contents, "tenant_x").expect("placed");
        assert!(!replay.pre.contains("DROP CONSTRAINT t_pkey"));
        // A foreign key of a partitioned table is dropped as well: its rows need not come after those that they refer to.
        contents.keys[0].depended_on = false;
        contents.keys[1].table = "part".into();
        let replay = Replay::new(std::iter::once(&module), &contents, "tenant_x").expect("placed");
        assert!(replay.pre.contains("ALTER TABLE \"part\" DROP CONSTRAINT u_fkey;"));
        // One that has to stay is pg_dump's to describe.
        contents.keys[1].commented = true;
        assert_eq!(Replay::new(std::iter::once(&module), &contents, "tenant_x"), None);
    }
}
