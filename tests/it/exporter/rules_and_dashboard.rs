//! `metrics rules` and `metrics dashboard`, tried with promtool and a real Prometheus.

use super::*;

/// A folder of the test's own, with a configuration and the rules that follow from it.
fn rules(name: &str, config: &str) -> (PathBuf, String) {
    let dir = std::env::temp_dir().join(format!(
        "tenantctl-test-{}-{}",
        std::process::id(),
        support::unique(name)
    ));
    std::fs::create_dir_all(&dir).unwrap();
    std::fs::write(dir.join("tenant_templates.yaml"), config).unwrap();
    let rules = Cmd::new(&["metrics", "rules"]).dir(&dir).finish().success().stdout();
    std::fs::write(dir.join("rules.yml"), &rules).unwrap();
    (dir, rules)
}

#[test]
fn each_rule_fires_when_it_should_and_only_then() {
    let (dir, text) = rules(
        "rules",
        "cluster: {replicas: [host=r1 dbname=d, host=r2 dbname=d]}\nalerts: {backup_overdue_hours: {any: 26, monthly: 760}}\n",
    );
    promtool(&["check", "rules", "rules.yml"], &dir, "");
    // Whatever is not named as bad is as it should be.
    let test = |bad: &[(&str, &str)], firing: &[(&str, &str, u32)]| -> String {
        let mut series: BTreeMap<String, String> = BTreeMap::new();
        let mut add = |labels: &str, value: &str| {
            series.insert(labels.to_owned(), value.to_owned());
        };
        for limit in [
            "schema_size",
            "connections",
            "portfolios",
            "positions_per_portfolio",
            "trades_per_day",
        ] {
            let value = if limit == "schema_size" { "0.9" } else { "0.8" };
            // At the threshold is not above it.
            add(
                &format!("tenantctl_limit_ratio{{tenant_id='a',limit='{limit}'}}"),
                value,
            );
        }
        for (labels, value) in [
            ("tenantctl_writes_frozen{tenant_id='a'}", "0"),
            ("tenantctl_tenant_age_seconds{tenant_id='a'}", "9999999"),
            ("tenantctl_backup_age_seconds{tenant_id='a',type='any'}", "93600"),
            ("tenantctl_backup_age_seconds{tenant_id='a',type='monthly'}", "93600"),
            ("tenantctl_tenant_age_seconds{tenant_id='new'}", "93600"),
            ("tenantctl_standby_lag_seconds{standby='s',address=''}", "0.1"),
            ("tenantctl_standbys", "2"),
            ("tenantctl_server_in_recovery", "0"),
            ("tenantctl_alerts_firing{type='backup_failed',severity='critical'}", "0"),
            (
                "tenantctl_alerts_firing{type='provision_failed',severity='critical'}",
                "0",
            ),
            ("tenantctl_up", "1"),
            ("tenantctl_measurement_age_seconds{part='activity'}", "120"),
            ("tenantctl_measurement_interval_seconds{part='activity'}", "5"),
            ("tenantctl_measurements_total{part='activity'}", "7"),
            ("tenantctl_measurement_age_seconds{part='sizes'}", "7000"),
            ("tenantctl_measurement_interval_seconds{part='sizes'}", "3600"),
            ("tenantctl_measurements_total{part='sizes'}", "7"),
        ] {
            add(labels, value);
        }
        for (labels, value) in bad {
            if value.is_empty() {
                series.remove(*labels);
            } else {
                series.insert((*labels).to_owned(), (*value).to_owned());
            }
        }
        let mut test = "  - interval: 1m\n    input_series:\n".to_owned();
        for (labels, value) in series {
            let labels = labels.replace('\'', "\"");
            test += &format!("      - {{series: '{labels}', values: '{value}+0x60'}}\n");
        }
        test += "    promql_expr_test:\n      - expr: count by (alertname, severity) (ALERTS{alertstate=\"firing\"})\n        eval_time: 20m\n        exp_samples:\n";
        for (alert, severity, count) in firing {
            test += &format!(
                "          - {{labels: '{{alertname=\"{alert}\", severity=\"{severity}\"}}', value: {count}}}\n"
            );
        }
        if firing.is_empty() {
            test = test.replace("exp_samples:\n", "exp_samples: []\n");
        }
        test
    };
    let ratio = |limit: &str| format!("tenantctl_limit_ratio{{tenant_id='a',limit='{limit}'}}");
    let mut tests = vec![test(&[], &[])];
    for (limit, alert, value, severity) in [
        ("schema_size", "TenantSchemaSize", "0.91", "critical"),
        ("connections", "TenantConnections", "0.95", "warning"),
        ("portfolios", "TenantPortfolios", "0.9", "warning"),
        ("portfolios", "TenantPortfolios", "0.91", "critical"),
        ("positions_per_portfolio", "TenantPositions", "0.81", "warning"),
        ("positions_per_portfolio", "TenantPositions", "1", "critical"),
        ("trades_per_day", "TenantTrades", "0.81", "warning"),
        ("trades_per_day", "TenantTrades", "1.5", "critical"),
    ] {
        tests.push(test(&[(&ratio(limit), value)], &[(alert, severity, 1)]));
    }
    for (labels, value, alert, severity) in [
        (
            "tenantctl_writes_frozen{tenant_id='a'}",
            "1",
            "TenantWritesFrozen",
            "critical",
        ),
        (
            "tenantctl_backup_age_seconds{tenant_id='a',type='any'}",
            "93601",
            "TenantBackupOverdue",
            "critical",
        ),
        (
            "tenantctl_backup_age_seconds{tenant_id='a',type='monthly'}",
            "2736001",
            "TenantBackupOverdue",
            "critical",
        ),
        // Without a backup it has waited since it was made; only `any` is due within a day.
        (
            "tenantctl_backup_age_seconds{tenant_id='a',type='any'}",
            "",
            "TenantBackupOverdue",
            "critical",
        ),
        (
            "tenantctl_tenant_age_seconds{tenant_id='new'}",
            "93601",
            "TenantBackupOverdue",
            "critical",
        ),
        (
            "tenantctl_standby_lag_seconds{standby='s',address=''}",
            "0.2",
            "TenantctlReplicaLag",
            "warning",
        ),
        ("tenantctl_standbys", "1", "TenantctlReplicaMissing", "critical"),
        (
            "tenantctl_alerts_firing{type='backup_failed',severity='critical'}",
            "3",
            "TenantctlOperationFailed",
            "critical",
        ),
        (
            "tenantctl_alerts_firing{type='provision_failed',severity='critical'}",
            "1",
            "TenantctlOperationFailed",
            "critical",
        ),
        ("tenantctl_up", "", "TenantctlExporterAbsent", "critical"),
        ("tenantctl_up", "0", "TenantctlExporterDown", "critical"),
        (
            "tenantctl_measurement_age_seconds{part='activity'}",
            "131",
            "TenantctlMeasurementTooOld",
            "warning",
        ),
        (
            "tenantctl_measurement_age_seconds{part='sizes'}",
            "7321",
            "TenantctlMeasurementTooOld",
            "warning",
        ),
        (
            "tenantctl_measurement_age_seconds{part='sizes'}",
            "",
            "TenantctlMeasurementTooOld",
            "warning",
        ),
    ] {
        tests.push(test(&[(labels, value)], &[(alert, severity, 1)]));
    }
    // A standby has none of its own to miss.
    tests.push(test(
        &[("tenantctl_standbys", "0"), ("tenantctl_server_in_recovery", "1")],
        &[],
    ));
    // Words, with the figures filled in.
    let words = "    alert_rule_test:\n      - alertname: TenantPortfolios\n        eval_time: 20m\n        exp_alerts:\n          - exp_labels: {severity: critical, tenant_id: a, limit: portfolios}\n            exp_annotations:\n              summary: Tenant a is near its limit of portfolios\n              description: It uses 95% of what its tier allows, above 90 %.\n";
    tests.push(
        test(
            &[(&ratio("portfolios"), "0.95")],
            &[("TenantPortfolios", "critical", 1)],
        ) + words,
    );
    let tests = tests.concat();
    for line in text.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")) {
        assert!(tests.contains(line), "{line} is not tried");
    }
    std::fs::write(
        dir.join("test.yml"),
        format!("rule_files: [rules.yml]\nevaluation_interval: 1m\ntests:\n{tests}"),
    )
    .unwrap();
    promtool(&["test", "rules", "test.yml"], &dir, "");
    std::fs::remove_dir_all(&dir).unwrap();
}

#[test]
fn rules_say_nothing_of_what_is_switched_off() {
    let (dir, text) = rules(
        "off",
        "alerts: {schema_size: off, connections: off, portfolios: off, positions_per_portfolio: off, trades_per_day: off, backup_overdue_hours: off}\n",
    );
    promtool(&["check", "rules", "rules.yml"], &dir, "");
    assert!(
        !text.contains("tenantctl_limit_ratio") && !text.contains("tenantctl_backup_age"),
        "{text}"
    );
    assert!(text.contains("TenantWritesFrozen"));
    std::fs::remove_dir_all(&dir).unwrap();
}

#[test]
fn each_panel_of_the_dashboard_has_data_in_a_real_prometheus() {
    let (cluster, db) = with_statements();
    let json = db.run(&["metrics", "dashboard"]).success().json();
    let panels = json["panels"].as_array().unwrap();
    let ids: std::collections::BTreeSet<u64> = panels.iter().map(|p| p["id"].as_u64().unwrap()).collect();
    assert_eq!(ids.len(), panels.len(), "ids are not unique");
    let cells = |panel: &Value| {
        let at = |key: &str| panel["gridPos"][key].as_u64().unwrap();
        let (x, y, w, h) = (at("x"), at("y"), at("w"), at("h"));
        assert!(x + w <= 24, "{panel}");
        (x..x + w).flat_map(move |x| (y..y + h).map(move |y| (x, y)))
    };
    let all: Vec<(u64, u64)> = panels.iter().flat_map(cells).collect();
    assert_eq!(
        all.len(),
        all.iter().collect::<std::collections::BTreeSet<_>>().len(),
        "panels overlap"
    );
    let names: Vec<&str> = json["templating"]["list"]
        .as_array()
        .unwrap()
        .iter()
        .map(|v| v["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["datasource", "instance", "tier", "tenant"]);
    // A standby, a backup, an alert, a transaction and queries, so that there is something of everything.
    let standby = cluster.standby().unwrap();
    let id = support::unique("dash-");
    let made = provision(&db, &[&id]);
    let store = format!("file://{}", db.dir.join("store").display());
    db.run(&["backup", &id, "--store", &store]).success();
    let url = login(&cluster, &db, &made[0]);
    support::sql(
        &url,
        "INSERT INTO portfolios (user_id, name) SELECT gen_random_uuid(), 'p' FROM generate_series(1, 5)",
    )
    .unwrap();
    let serving = Serving::start(&db, &["--every", "0", "--sizes-every", "1"]);
    let Some(prometheus) = Prometheus::start(&db.dir, &serving, None) else {
        return;
    };
    let transaction = hold(&url, "BEGIN; SELECT 1");
    let busy = hold(&url, "SELECT 1");
    let fill_in = |expr: &str| {
        let filled = expr
            .replace("$__rate_interval", "30s")
            .replace("$tenant", ".*")
            .replace("$tier", ".*")
            .replace("$instance", ".*");
        assert!(!filled.contains('$'), "{filled}");
        filled
    };
    let mut expressions = Vec::new();
    for panel in panels.iter().filter(|p| p["type"] != "row") {
        for target in panel["targets"].as_array().unwrap() {
            assert_eq!(target["datasource"]["uid"], "${datasource}");
            let title = panel["title"].as_str().unwrap().to_owned();
            expressions.push((title, fill_in(target["expr"].as_str().unwrap())));
        }
    }
    assert!(expressions.len() > 20);
    let mut missing = Vec::new();
    wait_for_missing(&mut missing, || {
        busy.run("SELECT count(*) FROM portfolios; UPDATE portfolios SET name = name");
        let empty = |(_, expr): &&(String, String)| {
            let found = prometheus.query(expr);
            // A type of query that is not run just now has no percentile.
            found.iter().all(|(_, value)| value.is_nan())
        };
        expressions
            .iter()
            .filter(empty)
            .map(|(title, expr)| format!("{title}: {expr}"))
            .collect()
    });
    assert!(missing.is_empty(), "no data in\n{}", missing.join("\n"));
    // The lists to choose from.
    for variable in json["templating"]["list"].as_array().unwrap().iter().skip(1) {
        let query = variable["definition"].as_str().unwrap();
        let inside = query.strip_prefix("label_values(").unwrap().strip_suffix(')').unwrap();
        let (series, label) = inside.rsplit_once(", ").unwrap();
        let found = prometheus.query(&fill_in(series));
        assert!(
            !found.is_empty() && found.iter().all(|(labels, _)| labels.contains_key(label)),
            "{query}"
        );
    }
    // With a tier and a tenant chosen, only that tenant is shown; with another tier, none.
    let largest = &expressions
        .iter()
        .find(|(title, _)| title == "Largest schemas")
        .unwrap()
        .1;
    assert_eq!(prometheus.query(&largest.replacen(".*", &id, 1)).len(), 1, "{largest}");
    let other_tier = largest.replace("tier=~\".*\"", "tier=~\"professional\"");
    assert!(prometheus.query(&other_tier).is_empty(), "{other_tier}");
    drop((transaction, busy, standby));
}

/// Looks again and again for what is missing, for a minute at most.
fn wait_for_missing(missing: &mut Vec<String>, mut look: impl FnMut() -> Vec<String>) {
    let end = Instant::now() + Duration::from_secs(60);
    loop {
        *missing = look();
        if missing.is_empty() || Instant::now() > end {
            return;
        }
        std::thread::sleep(Duration::from_millis(500));
    }
}
