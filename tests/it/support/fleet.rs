//! Metrics made by hand, for what shows them.

use tenantctl::metrics::cluster::{Cluster, Standby};
use tenantctl::metrics::{Alert, AlertSeverity, Fleet, TenantMetrics, Usage};

/// A tenant whose figures follow from its number; 0 is the largest.
pub fn tenant(n: u64) -> TenantMetrics {
    let gib = 1_073_741_824.0;
    let size = 9.6 * gib / (n + 1) as f64;
    let connections = 21 / (n + 1);
    let tier = ["basic", "professional", "enterprise"][(n % 3) as usize];
    let mut t: TenantMetrics = serde_json::from_value(serde_json::json!({
        "tenant_id": format!("tenant-{n:05}"),
        "schema_name": format!("tenant_{n:012x}"),
        "tier": tier,
        "timestamp": "2026-11-27T10:00:00Z",
        "database": {"size_bytes": size as u64, "size_source": "exact", "table_count": 6, "total_rows": 1_234_567 / (n + 1)},
        "performance": {
            "connections": {"total": connections, "active": connections / 2, "idle": connections - connections / 2,
                "idle_in_transaction": 0, "longest_seconds": 4.2, "longest_transaction_seconds": null},
            "top_queries": [
                {"queryid": 42, "calls": 1204, "total_time_ms": 2350.0, "mean_time_ms": 1.95, "rows_returned": 1204,
                 "query": "SELECT *\n  FROM trades\n WHERE portfolio_id = $1"},
                {"queryid": -7, "calls": 1, "total_time_ms": 3.0, "mean_time_ms": 3.0, "rows_returned": 0}
            ]
        },
        "resources": {"host": "ops-1", "cpu_percent": 12.4, "memory_mb": 2048.0, "memory_total_mb": 8192.0},
        "business": {"portfolio_count": 3.0, "trades_24h": null},
        "backup": {"backup_id": format!("tenant-{n:05}_20261127_072810_25193a"), "created_at": "2026-11-27T07:28:10Z",
            "age_seconds": 9110.0 * (1 + n % 40) as f64, "age_seconds_by_type": {"scheduled": 9110.0}, "tenant_age_seconds": 864_000.0},
        "limits": {},
        "alerts": []
    }))
    .unwrap();
    for (name, used, max) in [
        ("schema_size", Some(size.floor()), Some(10.0 * gib)),
        ("connections", Some(connections as f64), Some(25.0)),
        ("portfolios", Some(3.0), Some(5.0)),
        ("positions_per_portfolio", Some(12.0), None),
        ("trades_per_day", None, Some(1000.0)),
        ("api_calls_per_minute", None, Some(100.0)),
    ] {
        t.limits.insert(name.to_owned(), Usage::of(used, max));
    }
    t
}

/// An alert of a tenant's, or the database's own.
pub fn alert(alert_type: &str, severity: AlertSeverity, tenant: Option<&TenantMetrics>, message: &str) -> Alert {
    Alert {
        alert_type: alert_type.to_owned(),
        severity,
        tenant_id: tenant.map(|t| t.tenant_id.clone()),
        object: None,
        message: message.to_owned(),
        value: None,
        limit: None,
    }
}

/// So many tenants; the largest has alerts, and so has the database.
pub fn fleet(tenants: u64) -> Fleet {
    let mut fleet = Fleet {
        timestamp: "2026-11-27T10:00:00Z".to_owned(),
        unix_time: 1_795_773_600.0,
        duration_ms: 85.0,
        tenants: (0..tenants).map(tenant).collect(),
        cluster: Cluster {
            database: "tradesage".to_owned(),
            connections: 41,
            max_connections: 1000,
            standbys: vec![Standby {
                name: "replica1".to_owned(),
                state: Some("streaming".to_owned()),
                lag_bytes: Some(40_960),
                lag_ms: Some(250.0),
                ..Standby::default()
            }],
            ..Cluster::default()
        },
        unknown: Vec::new(),
        alerts: Vec::new(),
    };
    if let Some(first) = fleet.tenants.first_mut() {
        first.alerts = vec![
            alert(
                "schema_size_limit",
                AlertSeverity::Critical,
                Some(first),
                "the schema has 9.6 GiB, 96 % of 10.0 GiB",
            ),
            alert(
                "connection_limit",
                AlertSeverity::Warning,
                Some(first),
                "21 connections are 84 % of 25",
            ),
        ];
        fleet.alerts.clone_from(&first.alerts);
    }
    if let Some(second) = fleet.tenants.get_mut(1) {
        second.database.size_bytes = None;
        second.database.size_source = "unknown".to_owned();
        second
            .limits
            .insert("schema_size".to_owned(), Usage::of(None, Some(1e11)));
        second.backup = tenantctl::metrics::Backup {
            tenant_age_seconds: 400_000.0,
            ..Default::default()
        };
        fleet
            .unknown
            .push("the size of tenant-00001 is unknown: a table is locked".to_owned());
    }
    fleet.alerts.push(alert(
        "replica_lag",
        AlertSeverity::Warning,
        None,
        "standby replica1 is 250.0 ms behind, more than 100 ms",
    ));
    fleet
}
