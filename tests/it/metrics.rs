//! Metrics are true: known sizes, rows, connections, queries, counters and backups, and nobody gets another's figures.

use std::time::Duration;

use tenantctl::catalog::tenants;
use tenantctl::metrics::Fleet;
use tenantctl::metrics::collect::{Options, Sizes, collect};
use tenantctl::pg::conninfo::ConnInfo;
use tenantctl::pg::session::{Connector, SessionLimits};

use crate::support::runtime;

fn connector(url: &str) -> Connector {
    let info = ConnInfo::resolve(Some(url), &|_| None).unwrap();
    Connector::new(info, "tenantctl test", SessionLimits::default())
}

fn options(sizes: Sizes) -> Options {
    Options {
        sizes,
        business: Vec::new(),
        business_timeout: Duration::from_secs(5),
        lock_timeout: Duration::from_millis(500),
        jobs: 4,
        top_queries: 10,
        query_texts: false,
        failed_operations_hours: 24,
    }
}

fn measure(url: &str, options: &Options) -> Fleet {
    runtime().block_on(async {
        let connector = connector(url);
        let session = connector.connect().await.unwrap();
        let all = tenants::list(&session, None).await.unwrap();
        collect(&connector, &session, &all, options).await.unwrap()
    })
}

#[test]
fn zz_scratch() {
    let url = std::env::var("MCOL").unwrap();
    for sizes in [
        Sizes::Exact,
        Sizes::Estimate,
        Sizes::None,
        Sizes::Exact,
        Sizes::Estimate,
    ] {
        let t = std::time::Instant::now();
        let f = measure(&url, &options(sizes));
        eprintln!(
            "{sizes:?} total {:?} duration {} n {} unknown {:?} sum {}",
            t.elapsed(),
            f.duration_ms,
            f.tenants.len(),
            f.unknown,
            f.tenants.iter().filter_map(|t| t.database.size_bytes).sum::<u64>()
        );
        eprintln!("{}", serde_json::to_string(&f.tenants[77]).unwrap());
        eprintln!("{}", serde_json::to_string(&f.cluster).unwrap());
    }
}
