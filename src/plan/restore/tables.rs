//! Contents of single tables, exchanged between the tenant and a copy beside it in one transaction.

use super::super::standard::without_triggers;
use super::*;

/// A foreign key, as the catalog has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForeignKey {
    /// Its name.
    pub name: String,
    /// Schema and name of the table that refers.
    pub table: (String, String),
    /// Its columns.
    pub columns: Vec<String>,
    /// Schema and name of the table referred to.
    pub references: (String, String),
    /// The columns there.
    pub referenced: Vec<String>,
    /// `pg_constraint.confmatchtype`.
    pub matching: char,
    /// `pg_constraint.confupdtype`.
    pub on_update: char,
    /// `pg_constraint.confdeltype`.
    pub on_delete: char,
    /// The columns that ON DELETE SET sets; empty: all.
    pub set_columns: Vec<String>,
    /// DEFERRABLE.
    pub deferrable: bool,
    /// INITIALLY DEFERRED.
    pub deferred: bool,
    /// It was checked for the rows that there are.
    pub validated: bool,
}

impl ForeignKey {
    fn drop(&self, sql: Sql) -> Sql {
        sql.text("ALTER TABLE ")
            .qualified(&self.table.0, &self.table.1)
            .text(" DROP CONSTRAINT ")
            .ident(&self.name)
            .text(";\n")
    }

    fn add(&self, sql: Sql) -> Sql {
        let list = |mut sql: Sql, names: &[String]| {
            for (i, name) in names.iter().enumerate() {
                sql = if i == 0 { sql } else { sql.text(", ") }.ident(name);
            }
            sql
        };
        let action = |action: char| match action {
            'r' => " RESTRICT",
            'c' => " CASCADE",
            'n' => " SET NULL",
            'd' => " SET DEFAULT",
            _ => " NO ACTION",
        };
        let sql = sql
            .text("ALTER TABLE ")
            .qualified(&self.table.0, &self.table.1)
            .text(" ADD CONSTRAINT ")
            .ident(&self.name)
            .text(" FOREIGN KEY (");
        let sql = list(sql, &self.columns)
            .text(") REFERENCES ")
            .qualified(&self.references.0, &self.references.1)
            .text(" (");
        let mut sql = list(sql, &self.referenced).text(")");
        if self.matching == 'f' {
            sql = sql.text(" MATCH FULL");
        }
        sql = sql
            .text(" ON UPDATE")
            .text(action(self.on_update))
            .text(" ON DELETE")
            .text(action(self.on_delete));
        if !self.set_columns.is_empty() {
            sql = list(sql.text(" ("), &self.set_columns).text(")");
        }
        if self.deferrable {
            sql = sql.text(" DEFERRABLE");
        }
        if self.deferred {
            sql = sql.text(" INITIALLY DEFERRED");
        }
        if !self.validated {
            sql = sql.text(" NOT VALID");
        }
        sql.text(";\n")
    }
}

/// A sequence with the state that it is to have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SequenceState {
    /// Its name.
    pub name: String,
    /// As `setval` takes it.
    pub last_value: i64,
    /// As `setval` takes it.
    pub is_called: bool,
}

/// Sets sequences that nobody uses. A rollback does not undo it.
pub fn set_sequences(schema: &str, sequences: &[SequenceState]) -> Sql {
    sequences.iter().fold(Sql::default(), |sql, s| {
        sql.text("SELECT pg_catalog.setval(")
            .literal(&Sql::new("").qualified(schema, &s.name).to_string())
            .text("::pg_catalog.regclass, ")
            .int(s.last_value)
            .text(if s.is_called { ", true);\n" } else { ", false);\n" })
    })
}

/// Sets sequences of a tenant, as part of the transaction: one that was restarted has new storage, which goes with a rollback
/// and whatever was set in it. Values that other sessions have drawn ahead are forgotten with the old one.
fn exchange_sequences(schema: &str, sequences: &[SequenceState]) -> Sql {
    sequences
        .iter()
        .fold(Sql::default(), |sql, s| {
            sql.text("ALTER SEQUENCE ")
                .qualified(schema, &s.name)
                .text(" RESTART;\n")
        })
        .append(set_sequences(schema, sequences))
}

/// A table whose contents are exchanged.
#[derive(Clone, Debug)]
pub struct TableContents {
    /// Its name.
    pub name: String,
    /// Its columns without generated ones.
    pub columns: Vec<Column>,
}

/// A column whose contents are exchanged.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Its type, where that is one of the tenant's schema: each copy of the schema has its own, and values go from one to the
    /// other as text.
    pub local: Option<String>,
    /// It is an array of that type.
    pub array: bool,
}

/// Contents of single tables to be exchanged.
pub struct Tables<'a> {
    /// The tenant.
    pub id: &'a TenantId,
    /// Its schema.
    pub schema: &'a SchemaName,
    /// The schema that has the contents.
    pub incoming: &'a str,
    /// The tables.
    pub tables: &'a [TableContents],
    /// Foreign keys from them and to them, from whatever table.
    pub foreign_keys: &'a [ForeignKey],
    /// What the tenant has now.
    pub live: &'a Observed,
    /// What is wanted of it.
    pub wanted: Wanted<'a>,
    /// The values that the tables' sequences are to have.
    pub sequences: &'a [SequenceState],
    /// Where the contents go that the tables have now.
    pub replaced: &'a str,
    /// For how many days they are kept.
    pub keep_days: u16,
    /// How it is written down.
    pub close: Close<'a>,
    /// The key of the row in the operation log.
    pub operation: Uuid,
    /// Limit for each wait on a lock.
    pub lock_timeout: Duration,
}

/// The transaction that exchanges the contents of tables. Foreign keys are dropped and made anew around it, so that they
/// hold in the end or nothing has happened; triggers stay off, so that neither audit nor limits take it for the tenant's
/// work.
pub fn tables(new: &Tables<'_>) -> Plan {
    let mut plan = Plan::new(
        format!("replace the contents of tables of tenant {}", new.id),
        MOVING,
        new.lock_timeout,
    );
    let live = new.schema.as_str();
    plan.step("lock the tenant", lock_tenant(new.id, new.schema));
    plan.step("see that no drop of it has begun", unless_dropping(new.id));
    let mut locked: BTreeSet<(&str, &str)> = new.tables.iter().map(|t| (live, t.name.as_str())).collect();
    for key in new.foreign_keys {
        locked.insert((&key.table.0, &key.table.1));
        locked.insert((&key.references.0, &key.references.1));
    }
    let mut sql = Sql::new("LOCK TABLE ");
    for (i, (schema, table)) in locked.iter().enumerate() {
        sql = if i == 0 { sql } else { sql.text(", ") }.qualified(schema, table);
    }
    plan.step(
        "wait for the tenant to let go of these tables and of those that refer to them",
        sql.text(" IN ACCESS EXCLUSIVE MODE;"),
    );
    plan.step("write down what is replaced", close_tables(new));
    plan.step(
        "create the schema that keeps what the tables have now",
        as_admin()
            .text("\nCREATE SCHEMA ")
            .ident(new.replaced)
            .text(" AUTHORIZATION ")
            .ident(OWNER_ROLE)
            .text(";\n")
            .append(pin(live))
            // The owner sees all rows by its policies, which were found as they should be.
            .text("\nSET LOCAL row_security = on;"),
    );
    let columns = |mut sql: Sql, table: &TableContents| {
        for (i, column) in table.columns.iter().enumerate() {
            sql = if i == 0 { sql } else { sql.text(", ") }.ident(&column.name);
        }
        sql
    };
    // What is kept must not hang on the tenant's types.
    let values = |mut sql: Sql, table: &TableContents, back: bool| {
        for (i, column) in table.columns.iter().enumerate() {
            sql = if i == 0 { sql } else { sql.text(", ") }.ident(&column.name);
            let Some(local) = &column.local else { continue };
            sql = sql.text("::pg_catalog.text");
            sql = if back {
                sql.text("::")
                    .qualified(live, local)
                    .text(if column.array { "[]" } else { "" })
            } else {
                sql.text(" AS ").ident(&column.name)
            };
        }
        sql
    };
    let keep = new.tables.iter().fold(Sql::default(), |sql, table| {
        let sql = sql
            .text("CREATE TABLE ")
            .qualified(new.replaced, &table.name)
            .text(" AS SELECT ");
        values(sql, table, false)
            .text(" FROM ONLY ")
            .qualified(live, &table.name)
            .text(";\n")
    });
    plan.step("keep it", keep);
    let drop = new.foreign_keys.iter().fold(Sql::default(), |sql, key| key.drop(sql));
    if !drop.is_empty() {
        plan.step("drop the foreign keys around the tables", drop);
    }
    let switch = |word: &'static str| {
        new.tables.iter().fold(Sql::default(), |sql, table| {
            sql.text("ALTER TABLE ")
                .qualified(live, &table.name)
                .text(word)
                .text(" TRIGGER USER;\n")
        })
    };
    // What is checked only at the end would keep its table from being altered until then.
    let mut sql = Sql::new("SET CONSTRAINTS ALL IMMEDIATE;\n")
        .append(switch(" DISABLE"))
        .text("TRUNCATE ");
    for (i, table) in new.tables.iter().enumerate() {
        sql = sql
            .text(if i == 0 { "ONLY " } else { ", ONLY " })
            .qualified(live, &table.name);
    }
    sql = sql.text(";\n");
    for table in new.tables {
        sql = columns(sql.text("INSERT INTO ").qualified(live, &table.name).text(" ("), table)
            .text(") OVERRIDING SYSTEM VALUE SELECT ");
        sql = values(sql, table, true)
            .text(" FROM ONLY ")
            .qualified(new.incoming, &table.name)
            .text(";\n");
    }
    plan.step("replace the rows, with triggers off", sql);
    plan.step(
        "let triggers be as they were",
        switch(" ENABLE").append(triggers_as_they_were(new)),
    );
    let add = new.foreign_keys.iter().fold(Sql::default(), |sql, key| key.add(sql));
    if !add.is_empty() {
        plan.step("make the foreign keys anew, which checks them", add);
    }
    let names: BTreeSet<&str> = new.tables.iter().map(|t| t.name.as_str()).collect();
    let count = count_anew(&new.wanted, &names);
    if !count.is_empty() {
        let sql = without_triggers(live, "tenant_usage").append(count);
        plan.step("count what the limits are held against", sql);
    }
    plan.step("drop what was loaded", drop_schema(new.incoming));
    if !new.sequences.is_empty() {
        plan.step(
            "set the tables' sequences",
            as_owner().text("\n").append(exchange_sequences(live, new.sequences)),
        );
    }
    end(&mut plan, new.operation, new.id, MOVING);
    plan
}

/// ENABLE TRIGGER USER makes all of them fire as usual; some did not.
fn triggers_as_they_were(new: &Tables<'_>) -> Sql {
    let mut sql = Sql::default();
    let relations = new.live.relations.iter();
    for relation in relations.filter(|r| new.tables.iter().any(|t| t.name == r.name)) {
        for trigger in &relation.triggers {
            let word = match trigger.enabled {
                'D' => " DISABLE TRIGGER ",
                'A' => " ENABLE ALWAYS TRIGGER ",
                'R' => " ENABLE REPLICA TRIGGER ",
                _ => continue,
            };
            sql = sql
                .text("ALTER TABLE ")
                .qualified(new.schema.as_str(), &relation.name)
                .text(word)
                .ident(&trigger.name)
                .text(";\n");
        }
    }
    sql
}

/// The row of a restore of tables. What the sequences had is in no table, so it is kept in the row.
fn close_tables(new: &Tables<'_>) -> Sql {
    let names: Vec<&str> = new.sequences.iter().map(|s| s.name.as_str()).collect();
    let was = |sql: Sql| {
        if names.is_empty() {
            return sql.text("'{\"sequences\": []}'::pg_catalog.jsonb");
        }
        let mut sql = sql.text("pg_catalog.jsonb_build_object('sequences', pg_catalog.jsonb_build_array(");
        for (i, name) in names.iter().enumerate() {
            sql = if i == 0 { sql } else { sql.text(", ") }
                .text("(SELECT pg_catalog.jsonb_build_object('name', ")
                .literal(name)
                .text("::text, 'last_value', s.last_value, 'is_called', s.is_called) FROM ")
                .qualified(new.schema.as_str(), name)
                .text(" s)");
        }
        sql.text("))")
    };
    match &new.close {
        Close::Restore { restore, rows } => was(as_owner()
            .text(
                "\nUPDATE tenantctl.restores SET status = 'done', finished_at = pg_catalog.clock_timestamp(), staging_schema = NULL,
    replaced_schema = ",
            )
            .literal(new.replaced)
            .text(", drop_after = ")
            .append(keep_until(Sql::default(), true, new.keep_days))
            .text(", rows = ")
            .int(*rows)
            .text(", replaced = "))
        .text(" WHERE restore_id = ")
        .literal(&restore.to_string())
        .text(";"),
        Close::Undo {
            restore,
            undone,
            backup,
            tables,
        } => {
            let sql = insert_undo(new.id, *restore, *backup, tables).literal(new.replaced).text(", ");
            keep_until(was(sql).text(", "), true, new.keep_days)
                .text(");\n")
                .append(forget_replaced(&Sql::new("restore_id = ").literal(&undone.to_string())))
        }
    }
}
