//! What is served when the database has not answered for some time.

use super::*;
use crate::config::Config;
use crate::metrics::collect::Sizes;
use crate::metrics::exposition::Format;
use crate::metrics::{TenantMetrics, Usage};
use crate::pg::conninfo::ConnInfo;
use crate::pg::session::SessionLimits;

/// One that never measures, as nobody runs it.
fn exporter() -> Arc<Exporter> {
    let info = ConnInfo::resolve(Some("postgresql://nobody@127.0.0.1:1/nothing"), &|_| None).expect("valid");
    let config = Config::builtin().expect("valid");
    let options = Options {
        collect: collect::Options {
            sizes: Sizes::Exact,
            business: Vec::new(),
            business_timeout: Duration::from_secs(1),
            lock_timeout: Duration::from_secs(1),
            jobs: 1,
            top_queries: 0,
            query_texts: false,
            failed_operations_hours: 24,
        },
        every: Duration::from_secs(5),
        wait: Duration::from_secs(1),
        sizes_every: Duration::from_secs(60),
        business_every: None,
        max_tenants_detailed: 10,
        criteria: Criteria::new(&config, true),
    };
    Exporter::new(Connector::new(info, "test", SessionLimits::default()), options, None)
}

fn ago(seconds: u64) -> Instant {
    Instant::now()
        .checked_sub(Duration::from_secs(seconds))
        .expect("the machine runs for some minutes")
}

fn fleet(schemas: &[&str]) -> Fleet {
    let tenant = |schema: &&str| -> TenantMetrics {
        let json = serde_json::json!({
            "tenant_id": schema, "schema_name": schema, "tier": "basic", "timestamp": "",
            "database": {"size_bytes": null, "size_source": "unknown", "table_count": 4, "total_rows": null},
            "performance": {"connections": {"total": 0}},
            "resources": {"host": "h"}, "business": {}, "backup": {}, "limits": {}, "alerts": [],
        });
        let mut tenant: TenantMetrics = serde_json::from_value(json).expect("a document");
        tenant
            .limits
            .insert("schema_size".into(), Usage::of(None, Some(1000.0)));
        tenant
    };
    Fleet {
        timestamp: String::new(),
        unix_time: 0.0,
        duration_ms: 0.0,
        tenants: schemas.iter().map(tenant).collect(),
        cluster: Default::default(),
        unknown: vec!["known already".into()],
        alerts: Vec::new(),
    }
}

#[tokio::test]
async fn old_samples_are_served_for_some_minutes_and_then_no_longer() {
    let exporter = exporter();
    let text = Arc::new(Exposition::default());
    let serve = |age| {
        let mut shared = exporter.shared();
        shared.complete = true;
        shared.record(Part::Activity).began = Some(Instant::now());
        shared.text = Some((Arc::clone(&text), ago(age)));
    };
    serve(KEEP.as_secs() - 20);
    let answer = exporter.scrape().await.expect("an answer");
    assert!(answer.fleet.is_some());
    let pieces = answer
        .own
        .pieces(Format::Plain)
        .map(|piece| piece.expect("it is whole"));
    let own = String::from_utf8(pieces.flatten().collect()).expect("text");
    assert!(
        own.contains("tenantctl_measurement_age_seconds{part=\"activity\"} 280"),
        "{own}"
    );
    // Nothing has succeeded yet.
    assert!(own.contains("tenantctl_up 0\n"), "{own}");
    assert!(
        !own.contains("tenantctl_measurement_age_seconds{part=\"sizes\"}"),
        "{own}"
    );
    serve(KEEP.as_secs() + 1);
    let answer = exporter.scrape().await.expect("an answer");
    assert!(answer.fleet.is_none());
    assert!(exporter.ready().await.is_err());
    assert!(exporter.shared().text.is_none(), "it is still held");
}

#[tokio::test]
async fn sizes_are_taken_in_while_they_are_good() {
    let exporter = exporter();
    let found = |age| Found {
        by_schema: [
            (
                "a".to_owned(),
                Database {
                    size_bytes: Some(950),
                    size_source: "exact".into(),
                    ..Database::default()
                },
            ),
            (
                "b".to_owned(),
                Database {
                    size_source: "unknown".into(),
                    ..Database::default()
                },
            ),
        ]
        .into(),
        unknown: vec!["b is locked".into(), "known already".into()],
        measured: ago(age),
    };
    let take_in = |age| {
        let mut shared = exporter.shared();
        shared.sizes = Some(found(age));
        let mut fleet = fleet(&["a", "b", "new"]);
        exporter.take_in(&mut shared, &mut fleet);
        fleet
    };
    let fresh = take_in(10);
    let sizes: Vec<Option<u64>> = fresh.tenants.iter().map(|t| t.database.size_bytes).collect();
    assert_eq!(sizes, [Some(950), None, None]);
    assert_eq!(fresh.tenants[0].limits["schema_size"].ratio, Some(0.95));
    assert_eq!(fresh.tenants[1].limits["schema_size"], Usage::of(None, Some(1000.0)));
    // Everything else of theirs is younger, and stays.
    assert_eq!(fresh.tenants[0].database.table_count, 4);
    assert_eq!(fresh.unknown, ["known already", "b is locked"]);
    let stale = take_in(KEEP.as_secs() + 1);
    assert!(stale.tenants.iter().all(|t| t.database.size_bytes.is_none()));
    assert_eq!(stale.unknown, ["known already"]);
}
