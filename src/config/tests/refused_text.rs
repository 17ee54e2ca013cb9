//! Wrong keys, types and YAML, each with its exact place.

use super::{TIER, parse, refused, tier_with};

#[test]
fn unknown_and_missing_keys() {
    refused(
        "template: {}\ntemplats: {}\n",
        "2:1: unknown key \"templats\"",
        "Did you mean \"templates\"? Valid keys here: templates, template,",
    );
    refused(
        &tier_with("features:", "featurs:"),
        "5:5: unknown key \"featurs\" in templates.small",
        "Did you mean \"features\"? Valid keys here: name, description, features, limits, hypertables.",
    );
    refused(
        &tier_with("max_portfolios", "portfolios"),
        "7:7: unknown key \"portfolios\" in templates.small.limits",
        "Valid keys here: max_portfolios,",
    );
    refused(
        "retention_days:\n  schedulled: 7\n",
        "2:3: unknown key \"schedulled\" in retention_days",
        "Did you mean \"scheduled\"?",
    );
    refused(
        "alerts:\n  schema_size: {critcal: 0.9}\n",
        "2:17: unknown key \"critcal\" in alerts.schema_size",
        "\"critical\"",
    );
    refused(
        "performance_targets: {backup_restore: {backup_2gb_s: 1}}",
        "1:40: unknown key \"backup_2gb_s\" in performance_targets.backup_restore",
        "\"backup_1gb_s\"",
    );
    refused(
        "template: {modules: [{name: trades, file: trades.sql}]}",
        "1:37: unknown key \"file\" in template.modules",
        "Valid keys here: name, feature, requires.",
    );
    refused(
        &tier_with("      max_connections: 25\n", ""),
        "7:7: templates.small.limits: missing key \"max_connections\"",
        "Write `unlimited` for no limit.",
    );
    refused(
        &tier_with("    features: [portfolios]\n", ""),
        "3:5: templates.small: missing key \"features\"",
        "",
    );
    refused(
        "template: {hypertables: [{table: trades, column: executed_at}]}",
        "1:26: template.hypertables: missing key \"chunk_interval\"",
        "",
    );
}

#[test]
fn duplicate_keys() {
    refused(
        "backup:\n  jobs: 1\nbackup:\n  jobs: 2\n",
        "3:1: duplicate key \"backup\"",
        "Keep one",
    );
    refused(
        "retention_days:\n  weekly: 7\n  weekly: 8\n",
        "3:3: duplicate key \"weekly\"",
        "",
    );
    refused(
        &format!("{TIER}  small:\n    features: all\n"),
        "13:3: duplicate key \"small\"",
        "",
    );
    refused(
        &tier_with("      max_trades_per_day: 1000", "      max_portfolios: 6"),
        "9:7: duplicate key \"max_portfolios\"",
        "",
    );
    refused(
        "cluster: {settings: {fsync: on, 'fsync': off}}",
        "1:33: duplicate key \"fsync\"",
        "",
    );
}

#[test]
fn wrong_types() {
    refused(
        &tier_with("max_portfolios: 5", "max_portfolios: lots"),
        "7:23: templates.small.limits.max_portfolios: expected a whole number or `unlimited`, found \"lots\"",
        "",
    );
    refused(
        &tier_with("max_portfolios: 5", "max_portfolios: \"5\""),
        "7:23: templates.small.limits.max_portfolios: expected a whole number or `unlimited`, found \"5\"",
        "",
    );
    refused(
        &tier_with("max_portfolios: 5", "max_portfolios: 5.0"),
        "7:23: templates.small.limits.max_portfolios: expected a whole number or `unlimited`, found 5.0",
        "",
    );
    refused(
        &tier_with("max_portfolios: 5", "max_portfolios:"),
        "7:21: templates.small.limits.max_portfolios: expected a whole number or `unlimited`, found nothing",
        "",
    );
    refused(
        &tier_with("max_portfolios: 5", "max_portfolios: 99999999999999999999"),
        "7:23: templates.small.limits.max_portfolios: expected a whole number or `unlimited`, found 99999999999999999999",
        "",
    );
    refused(
        &tier_with("name: Small", "name: 5"),
        "3:11: templates.small.name: expected text, found 5",
        "double quotes",
    );
    refused(
        &tier_with("[portfolios]", "portfolios"),
        "5:15: templates.small.features: expected a list, found \"portfolios\"",
        "",
    );
    refused(
        "templates: [basic]\n",
        "1:12: templates: expected keys with values, found a list",
        "",
    );
    refused(
        "templates: basic\n",
        "1:12: templates: expected keys with values, found \"basic\"",
        "",
    );
    refused(
        "retention_days: 30\n",
        "1:17: retention_days: expected keys with values, found 30",
        "",
    );
    refused(
        "retention_days: {weekly: true}\n",
        "1:26: retention_days.weekly: expected a whole number, found true",
        "",
    );
    refused(
        "retention_days: {weekly: 0x1_0.5}\n",
        "1:26: retention_days.weekly: expected a whole number, found \"0x1_0.5\"",
        "",
    );
    refused(
        "backup:\n  age_recipients:\n",
        "2:17: backup.age_recipients: expected a list, found nothing",
        "[]",
    );
    refused(
        "backup: {store: [x]}\n",
        "1:17: backup.store: expected text, found a list",
        "",
    );
    refused(
        "alerts: {schema_size: 0.9}\n",
        "1:23: alerts.schema_size: expected keys with values, found 0.9",
        "",
    );
    refused(
        "alerts: {schema_size: low}\n",
        "1:23: alerts.schema_size: expected `warning` and `critical` with ratios, or `off`, found \"low\"",
        "",
    );
    refused(
        "alerts: {schema_size: {warning: high}}\n",
        "1:33: alerts.schema_size.warning: expected a number, found \"high\"",
        "",
    );
    refused(
        "- templates\n",
        "1:1: expected keys such as `templates:`, found a list",
        "",
    );
    refused(
        "just words\n",
        "1:1: expected keys such as `templates:`, found \"just words\"",
        "",
    );
    refused(
        "template: {modules: [trades]}\n",
        "1:22: template.modules: expected a module with its `name`, found \"trades\"",
        "",
    );
    refused(
        "metrics: {business_queries: {x: 5}}\n",
        "1:33: metrics.business_queries.x: expected a SELECT, found 5",
        "",
    );
    refused(
        "pgbouncer: {pool_mode: transactions}\n",
        "1:24: pgbouncer.pool_mode: expected one of session, transaction, statement, found \"transactions\"",
        "\"transaction\"",
    );
    refused(
        "pgbouncer: {database: {name: \"a\\nb\"}}\n",
        "1:30: pgbouncer.database.name: must be a single line",
        "",
    );
    refused(
        "pgbouncer: {database: {host: ' '}}\n",
        "1:30: pgbouncer.database.host: expected text, found an empty one",
        "",
    );
}

#[test]
fn yaml_itself() {
    refused(
        "backup:\n\tjobs: 1\n",
        "2:1: a tab stands where YAML allows only spaces",
        "spaces",
    );
    refused(
        "backup:\n  jobs: 1\n\tstore: x\n",
        "3:1: a tab stands where YAML allows only spaces",
        "spaces",
    );
    refused(
        "backup: {jobs: 1}\n---\nbackup: {jobs: 2}\n",
        "3:1: a second document begins here",
        "---",
    );
    refused(
        "backup: *b\n",
        "1:9: an alias names an anchor that is not there",
        "&name",
    );
    refused(
        "backup: &b [*b]\n",
        "1:13: an alias stands inside what it refers to",
        "",
    );
    refused(
        "backup: !include /etc/passwd\n",
        "1:18: unsupported tag \"!include\"",
        "",
    );
    refused("? [a]\n: 1\n", "1:3: a key must be a single word", "");
    refused("~: 1\n", "1:1: a key must be a single word", "");
    refused(
        "backup: {jobs: 1\n",
        "1:9: invalid YAML: unclosed bracket '{'",
        "bracket",
    );
    refused(
        "backup: jobs: 1\n",
        "1:13: invalid YAML: mapping values are not allowed in this context",
        "",
    );
    refused(
        "backup:\n  jobs: 1\n store: x\n",
        "3:2: invalid YAML: while parsing a block mapping, did not find expected key",
        "indentation",
    );
    refused(
        "backup: @x\n",
        "1:9: invalid YAML: unexpected character: `@'",
        "double quotes",
    );
    let deep = format!("backup: {}{}", "[".repeat(40), "]".repeat(40));
    refused(
        &deep,
        "1:24: the file is too large or too deeply nested, counted with what its aliases stand for",
        "anchors",
    );
    // An alias is told by what it stands for: that is the text to change.
    refused(
        "retention_days:\n  weekly: &n 0\n  monthly: *n\n",
        "2:14: retention_days.weekly: expected a whole number from 1 to 36500, found 0",
        "",
    );
    refused(
        "backup: {jobs: &n 500}\nretention_days: {weekly: 7}\nprovisioning: {jobs: 5, timeout_s: &t 90000}\n",
        "3:39: provisioning.timeout_s: expected a number above 0 and at most 86400, found 90000",
        "",
    );
}

#[test]
fn a_few_lines_of_aliases_cannot_fill_the_memory() {
    let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for i in 1..20 {
        let inner = vec![format!("*a{}", i - 1); 10].join(", ");
        bomb += &format!("a{i}: &a{i} [{inner}]\n");
    }
    let started = std::time::Instant::now();
    let error = parse(&bomb).expect_err("refused");
    assert!(
        error.message().starts_with("t.yaml:") && error.message().contains("aliases"),
        "{error}"
    );
    assert!(started.elapsed().as_secs() < 5);
}
