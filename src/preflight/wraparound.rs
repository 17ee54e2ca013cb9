//! The check of autovacuum, and of the ids that run out where it does not keep up.

use super::Item;
use super::checklist::AUTOVACUUM;
use super::observe::Observed;
use super::server::turn_on;
use crate::error::Result;
use crate::figures::grouped;
use crate::pg::session::{Session, column};
use crate::pg::sql::Sql;

/// Ids after which the server takes no more writes, less three million that it keeps: half of what 32 bits count
/// (postgresql.org/docs, "Preventing Transaction ID Wraparound Failures"). The same for transactions and multixacts.
const SPACE: i64 = 2_147_483_648;

/// The oldest ids of a kind in the cluster.
#[derive(Clone, Debug)]
struct Oldest {
    /// `transaction ids`, or `multixact ids`.
    kind: String,
    /// The setting above which autovacuum must freeze.
    setting: String,
    /// Ids handed out since.
    age: i64,
    /// The database that has them.
    database: String,
    /// Whether it takes connections.
    open: bool,
}

/// `autovacuum`.
///
/// # Errors
/// When the server refuses the query.
pub async fn check(session: &Session, seen: &Observed) -> Result<Vec<Item>> {
    let sql = Sql::new(include_str!("../../sql/preflight/wraparound.sql"));
    let rows = session.query(&sql, &[], "look at the age of the databases").await?;
    let oldest = rows
        .iter()
        .map(|row| {
            Ok(Oldest {
                kind: column(row, "kind")?,
                setting: column(row, "setting")?,
                age: column::<i32>(row, "age")?.into(),
                database: column(row, "database")?,
                open: column(row, "open")?,
            })
        })
        .collect::<Result<Vec<Oldest>>>()?;
    Ok(judge(seen, &oldest))
}

fn judge(seen: &Observed, oldest: &[Oldest]) -> Vec<Item> {
    let mut items = Vec::new();
    for name in ["autovacuum", "track_counts"] {
        if seen.is_off(name) {
            let detail = "is off: tables bloat, estimates age, and transaction ids run out";
            items.push(Item::fail(&AUTOVACUUM, detail, turn_on(name, seen)).about(name));
        }
    }
    for ids in oldest {
        let limit = i64::try_from(seen.number(&ids.setting)).unwrap_or(i64::MAX);
        let item = if ids.age > SPACE / 2 {
            Item::fail(&AUTOVACUUM, ids.used(), ids.remedy())
        } else if limit > 0 && ids.age > limit {
            Item::warn(&AUTOVACUUM, ids.used(), ids.remedy())
        } else {
            continue;
        };
        items.push(item.about(&ids.kind));
    }
    if items.is_empty() {
        let used: Vec<String> = oldest
            .iter()
            .map(|ids| format!("{} {}", ids.kind, ids.used()))
            .collect();
        items.push(Item::pass(
            &AUTOVACUUM,
            format!("autovacuum is on; {}", used.join("; ")),
        ));
    }
    items
}

impl Oldest {
    fn used(&self) -> String {
        format!(
            "of database {} reach back {}, {:.0} % of what there are",
            self.database,
            grouped(self.age as f64),
            self.age as f64 * 100.0 / SPACE as f64
        )
    }

    fn remedy(&self) -> String {
        let database = &self.database;
        let mut text = format!(
            "Look for long transactions, replication slots and prepared transactions that hold it back, then run VACUUM (FREEZE) in {database}."
        );
        if !self.open {
            let door = |open: &'static str| {
                Sql::new("ALTER DATABASE ")
                    .ident(database)
                    .text(" ALLOW_CONNECTIONS ")
                    .text(open)
            };
            text.push_str(&format!(
                " That one lets nobody in before {}; shut it again with {};",
                door("true"),
                door("false")
            ));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::super::observe::tests::observed;
    use super::*;

    const ON: [(&str, &str, Option<&str>, &str); 4] = [
        ("autovacuum", "on", None, "bool"),
        ("track_counts", "on", None, "bool"),
        ("autovacuum_freeze_max_age", "200000000", None, "integer"),
        ("autovacuum_multixact_freeze_max_age", "400000000", None, "integer"),
    ];

    fn oldest(transactions: i64, multixacts: i64) -> [Oldest; 2] {
        let ids = |kind: &str, setting: &str, age: i64| Oldest {
            kind: kind.into(),
            setting: setting.into(),
            age,
            database: "d".into(),
            open: true,
        };
        [
            ids("transaction ids", "autovacuum_freeze_max_age", transactions),
            ids("multixact ids", "autovacuum_multixact_freeze_max_age", multixacts),
        ]
    }

    #[test]
    fn each_kind_of_id_has_its_own_limit() {
        for (transactions, multixacts, expected) in [
            (200_000_000, 400_000_000, vec![(Verdict::Pass, None)]),
            (200_000_001, 0, vec![(Verdict::Warn, Some("transaction ids"))]),
            (1_100_000_000, 0, vec![(Verdict::Fail, Some("transaction ids"))]),
            (0, 400_000_001, vec![(Verdict::Warn, Some("multixact ids"))]),
            (
                1_100_000_000,
                1_100_000_000,
                vec![
                    (Verdict::Fail, Some("transaction ids")),
                    (Verdict::Fail, Some("multixact ids")),
                ],
            ),
        ] {
            let items = judge(&observed(&ON), &oldest(transactions, multixacts));
            let found: Vec<_> = items.iter().map(|item| (item.status, item.object.as_deref())).collect();
            assert_eq!(found, expected, "{transactions} {multixacts}");
        }
    }

    #[test]
    fn what_counts_for_autovacuum_must_be_on() {
        for name in ["autovacuum", "track_counts"] {
            let changed = ON.map(|s| if s.0 == name { (s.0, "off", s.2, s.3) } else { s });
            let items = judge(&observed(&changed), &oldest(0, 0));
            assert_eq!(
                (items[0].status, items[0].object.as_deref()),
                (Verdict::Fail, Some(name))
            );
        }
    }
}
