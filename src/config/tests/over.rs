//! A file's keys over the built-in ones.

use super::super::{Config, ProvisioningPolicy, RetentionPolicy, ServerSideEncryption, Threshold, document};
use super::{NAME, TIER, builtin, good};
use crate::error::ErrorKind;
use crate::tenant::Limit;

#[test]
fn a_file_with_tiers_alone_has_the_rest_built_in() {
    let config = good(TIER);
    assert_eq!(config.source, NAME);
    let only = Config {
        source: NAME.to_owned(),
        tiers: config.tiers.clone(),
        provisioning: ProvisioningPolicy {
            default_tier: "small".to_owned(),
            ..builtin().provisioning
        },
        ..builtin()
    };
    assert_eq!(config, only);
    assert_eq!(config.tiers.len(), 1);
}

#[test]
fn keys_are_overridden_one_by_one() {
    let config = good(
        "templates:\nretention_days:\n  weekly: 60\nalerts:\n  schema_size: {warning: 0.7}\n  connections: off\n\
         performance_targets:\n  schema_creation:\n    max_s: 0.5\nprovisioning:\n  timeout_s: 1.5\nbackup:\n",
    );
    let base = builtin();
    assert_eq!(config.tiers, base.tiers);
    assert_eq!(
        config.retention_days,
        RetentionPolicy {
            weekly: 60,
            ..base.retention_days
        }
    );
    assert_eq!(
        config.alerts.schema_size,
        Threshold {
            warning: Some(0.7),
            critical: None
        }
    );
    assert_eq!(config.alerts.connections, Threshold::default());
    assert_eq!(config.alerts.portfolios, base.alerts.portfolios);
    assert_eq!(config.performance_targets.schema_creation.max_s, 0.5);
    assert_eq!(config.performance_targets.schema_creation.p99_s, 9.0);
    assert_eq!(config.backup, base.backup);
    // A lock is never waited for longer than the whole may take, also where only the whole was shortened.
    assert_eq!(
        (
            config.provisioning.timeout.as_millis(),
            config.provisioning.lock_timeout.as_millis()
        ),
        (1500, 1500)
    );
}

#[test]
fn lists_and_named_entries_replace_the_built_in_ones() {
    let config = good(
        "cluster:\n  settings: {fsync: on, autovacuum: true, checkpoint_completion_target: 0.90}\n\
         metrics:\n  business_queries: {}\n\
         template:\n  modules: [{name: portfolios, feature: portfolios}, {name: market_data}]\n\
         templates:\n  s: {features: all, limits: &l {max_portfolios: unlimited, max_positions_per_portfolio: unlimited,\n\
         \x20   max_trades_per_day: unlimited, max_api_calls_per_minute: unlimited, max_schema_size_gb: 1, max_connections: 1}}\n\
         \x20 t:\n    features: [portfolios]\n    limits: {<<: *l, max_portfolios: 7}\n",
    );
    let settings: Vec<(&str, &str)> = config
        .cluster
        .settings
        .iter()
        .map(|(k, v)| (k.as_str(), v.as_str()))
        .collect();
    assert_eq!(
        settings,
        [
            ("autovacuum", "on"),
            ("checkpoint_completion_target", "0.90"),
            ("fsync", "on")
        ]
    );
    assert!(config.metrics.business_queries.is_empty());
    let template = config.template().expect("built-in modules");
    assert_eq!(template.modules.len(), 2);
    assert!(template.hypertables.is_empty() && template.bulk_load.is_empty());
    // Merge keys let tiers share limits; a tier without a name is called by its key.
    let tier = config.tier("t").expect("tier");
    assert_eq!((tier.name.as_str(), tier.description.as_str()), ("t", ""));
    assert_eq!(
        (tier.limits.max_portfolios, tier.limits.max_schema_size_gb),
        (Limit::Max(7), Limit::Max(1))
    );
    assert_eq!(config.provisioning.default_tier, "s");
}

#[test]
fn urls_without_secrets_are_kept() {
    let config = good(
        "backup:\n  store: s3://my.bucket-1/pre/fix\n  storage_class: ''\n  server_side_encryption: aws:kms\n\
         metrics:\n  redis_url: rediss://cache:6380/1\nalerts:\n  url: https://alerts.example/api/v2/alerts\n",
    );
    assert_eq!(config.backup.store.as_deref(), Some("s3://my.bucket-1/pre/fix"));
    assert_eq!(config.backup.storage_class, None);
    assert_eq!(config.backup.server_side_encryption, Some(ServerSideEncryption::AwsKms));
    assert_eq!(config.metrics.redis_url.as_deref(), Some("rediss://cache:6380/1"));
    assert_eq!(
        config.alerts.url.as_deref(),
        Some("https://alerts.example/api/v2/alerts")
    );
    assert_eq!(
        good("backup: {store: 'file:///var/backups'}").backup.store.as_deref(),
        Some("file:///var/backups")
    );
    let key = format!("age1{}", "q".repeat(58));
    assert_eq!(
        good(&format!("backup: {{age_recipients: [{key}]}}"))
            .backup
            .age_recipients,
        [key.as_str()]
    );
    assert_eq!(
        good(&format!("credentials: {{age_recipients: [{key}]}}"))
            .credentials
            .age_recipients,
        [key]
    );
    assert_eq!(
        good("cluster: {replicas: ['postgresql://monitor@r1/db']}")
            .cluster
            .replicas
            .len(),
        1
    );
}

#[test]
fn unknown_tiers_get_the_nearest() {
    let config = builtin();
    assert_eq!(config.tier("basic").expect("there").key, "basic");
    for (name, near) in [
        ("profesional", "professional"),
        ("Basic", "basic"),
        ("enterprize", "enterprise"),
        ("pro", "professional"),
    ] {
        let error = config.tier(name).expect_err(name);
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(
            error
                .hint()
                .expect("hint")
                .starts_with(&format!("Did you mean {near:?}?")),
            "{name}: {:?}",
            error.hint()
        );
    }
    let error = config.tier("gold").expect_err("unknown");
    assert_eq!(error.hint(), Some("Tiers: basic, professional, enterprise."));
}

#[test]
fn nearest_is_near() {
    let keys = ["max_portfolios", "max_connections", "jobs", "url"];
    for (name, near) in [
        ("max_connection", Some("max_connections")),
        ("max-connections", Some("max_connections")),
        ("MAX_PORTFOLIOS", Some("max_portfolios")),
        ("job", Some("jobs")),
        ("max_c", Some("max_connections")),
        ("max_", None),
        ("timeout", None),
        ("x", None),
    ] {
        assert_eq!(document::nearest(name, &keys), near, "{name}");
    }
}
