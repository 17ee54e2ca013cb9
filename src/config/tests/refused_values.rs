//! Values that cannot be, each with its exact place.

use super::{TIER, good, refused, tier_with};

#[test]
fn impossible_numbers() {
    let limit = |text: &str, found: &str| {
        let message = format!(
            "12:24: templates.small.limits.max_connections: expected a whole number from 1 to 262143 or `unlimited`, found {found}"
        );
        refused(&tier_with("max_connections: 25", text), &message, "");
    };
    limit("max_connections: 0", "0");
    limit("max_connections: -1", "-1");
    limit("max_connections: 262144", "262144");
    good(&tier_with("max_connections: 25", "max_connections: 262143"));
    refused(
        &tier_with("max_trades_per_day: 1000", "max_trades_per_day: 0"),
        "9:27: templates.small.limits.max_trades_per_day: expected a whole number of at least 1 or `unlimited`, found 0",
        "",
    );
    refused(
        &tier_with("max_trades_per_day: 1000", "max_trades_per_day: 9223372036854775808"),
        "9:27: templates.small.limits.max_trades_per_day: expected a whole number of at least 1 or `unlimited`, found 9223372036854775808",
        "",
    );
    refused(
        "provisioning: {jobs: 0}",
        "1:22: provisioning.jobs: expected a whole number from 1 to 1000, found 0",
        "",
    );
    refused(
        "provisioning: {timeout_s: 0}",
        "1:27: provisioning.timeout_s: expected a number above 0 and at most 86400, found 0",
        "",
    );
    refused(
        "provisioning: {timeout_s: -3}",
        "1:27: provisioning.timeout_s: expected a number above 0 and at most 86400, found -3",
        "",
    );
    refused(
        "provisioning: {timeout_s: .nan}",
        "1:27: expected a finite number, found .nan",
        "",
    );
    refused(
        "provisioning:\n  timeout_s: 2\n  lock_timeout_s: 3\n",
        "3:19: provisioning.lock_timeout_s: must not exceed timeout_s, which is 2 s",
        "",
    );
    refused(
        "alerts: {labels: {severity: low}}",
        "1:29: alerts.labels.severity: is a label that alerts have by themselves",
        "Choose another name, such as `cluster`.",
    );
    refused(
        "retention_days: {weekly: 0}",
        "1:26: retention_days.weekly: expected a whole number from 1 to 36500, found 0",
        "",
    );
    refused(
        "retention_days: {weekly: -7}",
        "1:26: retention_days.weekly: expected a whole number from 1 to 36500, found -7",
        "",
    );
    for (ratio, found) in [("1.5", "1.5"), ("-0.1", "-0.1"), ("0", "0"), ("90", "90")] {
        refused(
            &format!("alerts: {{connections: {{warning: {ratio}}}}}"),
            &format!("1:33: alerts.connections.warning: expected a number above 0 and at most 1, found {found}"),
            "",
        );
    }
    refused(
        "alerts: {connections: {warning: 0.9, critical: 0.9}}",
        "1:23: alerts.connections: the warning at 0.9 must come before the critical alert at 0.9",
        "",
    );
    refused(
        "alerts: {connections: {}}",
        "1:23: alerts.connections: has neither `warning` nor `critical`",
        "off",
    );
    for level in ["0", "23"] {
        refused(
            &format!("backup: {{compression_level: {level}}}"),
            &format!("1:29: backup.compression_level: expected a whole number from 1 to 22, found {level}"),
            "",
        );
    }
    refused(
        "backup: {jobs: 0}",
        "1:16: backup.jobs: expected a whole number from 1 to 1000, found 0",
        "",
    );
    refused(
        "cluster: {max_replica_lag_ms: 0}",
        "1:31: cluster.max_replica_lag_ms: expected a whole number from 1 to 86400000, found 0",
        "",
    );
    refused(
        "metrics: {ttl_seconds: 0}",
        "1:24: metrics.ttl_seconds: expected a whole number from 1 to 2147483647, found 0",
        "",
    );
    refused(
        "pgbouncer: {max_client_conn: 0}",
        "1:30: pgbouncer.max_client_conn: expected a whole number from 1 to 1000000, found 0",
        "",
    );
    refused(
        "pgbouncer: {database: {port: 70000}}",
        "1:30: pgbouncer.database.port: expected a whole number from 1 to 65535, found 70000",
        "",
    );
    refused(
        "performance_targets: {schema_creation: {max_s: 0}}",
        "1:48: performance_targets.schema_creation.max_s: expected a number above 0 and at most 1000000000, found 0",
        "",
    );
}

#[test]
fn tiers_and_features() {
    refused(
        &tier_with("small:", "Small:"),
        "2:3: invalid name \"Small\" in templates",
        "a-z",
    );
    refused(
        &tier_with("small:", "\"a b\":"),
        "2:3: invalid name \"a b\" in templates",
        "a-z",
    );
    refused(
        "templates: {}\n",
        "1:12: templates: there must be at least one tier",
        "",
    );
    refused(
        &tier_with("[portfolios]", "[portfolois]"),
        "5:16: templates.small.features: unknown feature \"portfolois\"",
        "Did you mean \"portfolios\"? Features of the template: advanced_analytics,",
    );
    refused(
        &tier_with("[portfolios]", "[portfolios, market_data]"),
        "5:28: templates.small.features: unknown feature \"market_data\"",
        "Features of the template",
    );
    refused(
        &tier_with("[portfolios]", "[portfolios, portfolios]"),
        "5:28: templates.small.features: feature \"portfolios\" is listed twice",
        "",
    );
    refused(
        &tier_with("[portfolios]", "[]"),
        "5:15: templates.small.features: a tier needs at least one feature",
        "[all]",
    );
    refused(
        &tier_with("[portfolios]", "[portfolios, all]"),
        "5:28: templates.small.features: `all` cannot stand beside other features",
        "",
    );
    refused(
        &tier_with("[portfolios]", "[all, all]"),
        "5:16: templates.small.features: `all` cannot stand beside other features",
        "",
    );
    refused(
        &tier_with("[portfolios]", "\n    - positions"),
        "6:7: templates.small.features: feature \"positions\" needs feature \"portfolios\", which tier small lacks",
        "Add portfolios to the features of small: module positions requires portfolios.",
    );
    for analytics in ["basic_analytics", "advanced_analytics", "risk_management"] {
        refused(
            &tier_with("[portfolios]", &format!("[portfolios, positions, {analytics}]")),
            &format!(
                "5:39: templates.small.features: feature {analytics:?} needs feature \"trades\", which tier small lacks"
            ),
            "Add trades",
        );
    }
    refused(
        "provisioning: {default_tier: gold}",
        "1:30: provisioning.default_tier: no tier \"gold\"",
        "Tiers: basic, professional, enterprise.",
    );
    refused(
        &format!("{TIER}provisioning: {{default_tier: smal}}"),
        "13:30: provisioning.default_tier: no tier \"smal\"",
        "Did you mean \"small\"?",
    );
    refused(
        "template:\n  modules:\n  - {name: portfolios, feature: portfolios}\n",
        "3:5: template.modules: the built-in tiers do not fit these modules",
        "Add `templates:`",
    );
}

#[test]
fn the_template() {
    for name in ["Trading", "1a", "a-b", "\"\u{e9}\"", &"a".repeat(42)] {
        let shown = name.trim_matches('"');
        refused(
            &format!("template: {{name: {name}}}"),
            &format!("1:18: template.name: invalid name {shown:?}"),
            "41",
        );
    }
    good(&format!("template: {{name: {}}}", "a".repeat(41)));
    for name in ["../trades", "a/trades", "..", ".hidden", "trades.sql", "\"tr ades\""] {
        let shown = name.trim_matches('"');
        refused(
            &format!("template: {{directory: d, modules: [{{name: {name}}}]}}"),
            &format!("1:43: template.modules.name: invalid name {shown:?}"),
            "without .sql",
        );
    }
    refused(
        "template: {modules: []}",
        "1:21: template.modules: a template needs at least one module",
        "",
    );
    refused(
        "template: {modules: [{feature: trades}]}",
        "1:22: template.modules: missing key \"name\"",
        "",
    );
    refused(
        "template: {modules: [{name: trade}]}",
        "1:29: template.modules.name: there is no built-in module \"trade\"",
        "Did you mean \"trades\"?",
    );
    refused(
        "template: {directory: d, modules: [{name: a}, {name: a}]}",
        "1:54: template.modules.name: module \"a\" is listed twice",
        "",
    );
    refused(
        "template: {directory: d, modules: [{name: a, feature: all}]}",
        "1:55: template.modules.feature: invalid name \"all\"",
        "every feature",
    );
    refused(
        "template: {directory: d, modules: [{name: a, requires: [b]}, {name: b}]}",
        "1:57: template.modules.requires: no module \"b\" stands above this one",
        "in this order",
    );
    refused(
        "template: {directory: d, modules: [{name: a, feature: a}, {name: b, requires: [a]}]}",
        "1:80: template.modules.requires: every tenant gets this module, but not every tenant gets \"a\"",
        "",
    );
    for interval in [
        "1",
        "day",
        "0 days",
        "-1 day",
        "1 fortnight",
        "1day",
        "1 day 2 hours",
        "10000 days",
        "+1 day",
        "1.5 days",
    ] {
        let found = if interval == "1" {
            interval.to_owned()
        } else {
            format!("{interval:?}")
        };
        refused(
            &format!("template: {{hypertables: [{{table: t, column: c, chunk_interval: {interval}}}]}}"),
            &format!(
                "1:64: template.hypertables.chunk_interval: expected a whole number and a unit, such as `1 day`, found {found}"
            ),
            if interval == "1" {
                ""
            } else {
                "minute, hour, day, week, month, year"
            },
        );
    }
    let config = good(
        "template: {hypertables: [{table: t, column: c, chunk_interval: 12  Hours}, {table: u, column: c, chunk_interval: 1 days}]}",
    );
    let intervals: Vec<&str> = config
        .template
        .hypertables
        .iter()
        .map(|h| h.chunk_interval.as_str())
        .collect();
    assert_eq!(intervals, ["12 hours", "1 day"]);
    refused(
        "template: {hypertables: [{table: public.t, column: c, chunk_interval: 1 day}]}",
        "1:34: template.hypertables.table: invalid name \"public.t\"",
        "without a schema",
    );
    refused(
        "template: {hypertables: [{table: t, column: c, chunk_interval: 1 day}, {table: t, column: d, chunk_interval: 1 day}]}",
        "1:80: template.hypertables.table: table \"t\" is listed twice",
        "",
    );
    refused(
        "template: {bulk_load: [trades, trades]}",
        "1:32: template.bulk_load: table \"trades\" is listed twice",
        "",
    );
}

#[test]
fn urls_and_secrets() {
    let store = |url: &str, message: &str, hint: &str| {
        refused(
            &format!("backup:\n  store: '{url}'\n"),
            &format!("2:10: backup.store: {message}"),
            hint,
        );
    };
    store(
        "s3://id:hunter2@bucket/x",
        "holds a password or token",
        "AWS_SECRET_ACCESS_KEY",
    );
    store(
        "s3://hunter2@bucket",
        "holds a password or token",
        "AWS_SECRET_ACCESS_KEY",
    );
    store(
        "https://bucket.s3.amazonaws.com/",
        "expected a URL that starts with file:/// or s3://",
        "",
    );
    store("/var/backups", "expected a URL that starts with file:/// or s3://", "");
    store("postgresql://u:hunter2@h/d", "holds a password or token", "");
    store(
        "file://var/backups",
        "a file: URL needs three slashes and an absolute path",
        "file:///var/backups",
    );
    store("file:///", "names no folder", "");
    store("file:///a b", "a URL must not hold blanks", "%20");
    store("s3:///prefix", "names no valid bucket", "3 to 63");
    store(
        "s3://bucket/x?region=eu",
        "a store's URL has no ? and no #",
        "AWS_ENDPOINT_URL",
    );
    for url in [
        "redis://:hunter2@h",
        "rediss://u:hunter2@h:1/0",
        "redis://h?password=hunter2",
    ] {
        refused(
            &format!("metrics: {{redis_url: '{url}'}}"),
            "1:22: metrics.redis_url: holds a password or token",
            "TENANTCTL_REDIS_URL",
        );
    }
    refused(
        "metrics: {redis_url: 'http://h'}",
        "1:22: metrics.redis_url: expected a URL that starts with redis:// or rediss://",
        "",
    );
    refused(
        "metrics: {redis_url: hunter2}",
        "1:22: metrics.redis_url: expected a URL that starts with redis:// or rediss://",
        "",
    );
    refused(
        "metrics: {redis_url: 'redis://'}",
        "1:22: metrics.redis_url: names no host",
        "",
    );
    for url in [
        "https://u:hunter2@h/",
        "https://hunter2@h/",
        "https://h/?a=b&token=hunter2",
    ] {
        refused(
            &format!("alerts: {{url: '{url}'}}"),
            "1:15: alerts.url: holds a password or token",
            "TENANTCTL_ALERT_URL",
        );
    }
    refused(
        "alerts: {url: 'smtp://h'}",
        "1:15: alerts.url: expected a URL that starts with https:// or http://",
        "",
    );
    for replica in [
        "postgresql://u:hunter2@h/d",
        "host=h password=hunter2",
        "postgresql://h/d?password=hunter2",
    ] {
        refused(
            &format!("cluster: {{replicas: ['{replica}']}}"),
            "1:22: cluster.replicas: holds a password or token",
            ".pgpass",
        );
    }
    refused(
        "cluster: {replicas: 'postgresql://u:hunter2@h/d'}",
        "1:21: cluster.replicas: expected a list, found text",
        "",
    );
    refused(
        "cluster: {replicas: [replica1]}",
        "1:22: cluster.replicas: expected a libpq URL or key=value pairs",
        "host=",
    );
    refused(
        "cluster: {replicas: ['mysql://h']}",
        "1:22: cluster.replicas: expected a URL that starts with postgresql://",
        "",
    );
    refused(
        "backup: {age_recipients: [AGE-SECRET-KEY-1HUNTER2]}",
        "1:27: backup.age_recipients: is a private key",
        "public key",
    );
    refused(
        "backup: {age_recipients: [age1short]}",
        "1:27: backup.age_recipients: expected a public key",
        "age1",
    );
    refused(
        "backup: {server_side_encryption: AES-256}",
        "1:34: backup.server_side_encryption: expected one of AES256, aws:kms, found \"AES-256\"",
        "Did you mean \"AES256\"?",
    );
    refused(
        "backup: {storage_class: standard}",
        "1:25: backup.storage_class: expected a storage class in capitals, found \"standard\"",
        "STANDARD_IA",
    );
}

#[test]
fn settings_and_queries() {
    refused(
        "cluster: {settings: {checkpoint_segments: 32}}",
        "1:43: cluster.settings.checkpoint_segments: PostgreSQL has no such setting since 9.5",
        "max_wal_size",
    );
    refused(
        "cluster: {settings: {work_mem: 256mb}}",
        "1:32: cluster.settings.work_mem: unknown unit \"mb\"",
        "\"MB\"",
    );
    refused(
        "cluster: {settings: {\"work mem\": 1GB}}",
        "1:22: invalid name \"work mem\" in cluster.settings",
        "work_mem",
    );
    refused(
        "cluster: {settings: {work_mem: [1]}}",
        "1:32: cluster.settings.work_mem: expected text, found a list",
        "",
    );
    let query = |sql: &str, message: &str| {
        refused(
            &format!("metrics:\n  business_queries:\n    n: \"{sql}\"\n"),
            &format!("3:8: metrics.business_queries.n: {message}"),
            "",
        );
    };
    query(
        "DELETE FROM trades",
        "expected a query that starts with SELECT or WITH, found \"DELETE FROM trades\"",
    );
    query("SELECT 1; DROP TABLE x", "must be one statement");
    query("", "expected a query that starts with SELECT or WITH, found \"\"");
    refused(
        "metrics: {business_queries: {Count: SELECT 1}}",
        "1:30: invalid name \"Count\" in metrics.business_queries",
        "a-z",
    );
    let config = good("metrics: {business_queries: {n: ' select 1 ; '}}");
    assert_eq!(config.metrics.business_queries[0].sql, "select 1");
}

#[test]
fn suppressions() {
    let one = |text: &str| format!("validate:\n  suppress:\n    - {{{text}}}\n");
    refused(
        &one("check: a, expires: 2026-12-31"),
        "3:7: validate.suppress: missing key \"reason\"",
        "why this finding is acceptable",
    );
    refused(
        &one("check: a, reason: r"),
        "3:7: validate.suppress: missing key \"expires\"",
        "YYYY-MM-DD",
    );
    refused(
        &one("reason: r, expires: 2026-12-31"),
        "3:7: validate.suppress: missing key \"check\"",
        "",
    );
    refused(
        &one("check: a, reason: '', expires: 2026-12-31"),
        "3:26: validate.suppress.reason: expected text, found an empty one",
        "",
    );
    refused(
        &one("check: a, reason: r, expires: 2026-02-30"),
        "3:38: validate.suppress.expires: expected a day such as 2026-12-31, found \"2026-02-30\"",
        "",
    );
    refused(
        &one("check: a, reason: r, expires: 20261231"),
        "3:38: validate.suppress.expires: expected text, found 20261231",
        "",
    );
    refused(
        &one("check: a, reason: r, expires: 2026-12-31, tenant: a b"),
        "3:58: validate.suppress.tenant: expected a tenant id, found \"a b\"",
        "Leave the key out",
    );
    refused(
        &one("check: a, reason: r, expires: 2026-12-31, objct: x"),
        "3:50: unknown key \"objct\" in validate.suppress",
        "Did you mean \"object\"?",
    );
    refused(
        "validate: {supress: []}",
        "1:12: unknown key \"supress\" in validate",
        "suppress",
    );
    refused(
        "validate: {suppress: {check: a}}",
        "1:22: validate.suppress: expected a list, found a mapping",
        "",
    );
    let config = good(&one(
        "check: a, tenant: x, object: 'table *.t', reason: r, expires: 2026-12-31",
    ));
    let [suppression] = &config.validate.suppress[..] else {
        panic!("{:?}", config.validate);
    };
    assert_eq!(suppression.place, "t.yaml:3:7");
    assert_eq!(suppression.object.as_deref(), Some("table *.t"));
    assert_eq!(suppression.expires.to_string(), "2026-12-31");
    assert!(good("validate:\n").validate.suppress.is_empty());
}
