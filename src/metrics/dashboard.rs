//! A dashboard for Grafana over the samples of the exporter.

use serde_json::{Value, json};

use crate::error::{Error, ErrorKind, Result};

/// Joins a tenant's samples with its tier, and keeps those of the chosen tiers.
const OF_TIER: &str = " * on (instance, tenant_id) group_left (tier) tenantctl_tenant_info{tier=~\"$tier\"}";

/// The dashboard as JSON, for Grafana's import or its provisioning.
///
/// # Errors
/// When the JSON cannot be written.
pub fn json() -> Result<String> {
    let dashboard = json!({
        "title": "tenantctl: tenants",
        "uid": "tenantctl-tenants",
        "description": "Sizes, connections, queries, limits and backups of each tenant, from `tenantctl metrics serve`.",
        "tags": ["postgresql", "tenantctl"],
        "schemaVersion": 39,
        "version": 1,
        "editable": true,
        "graphTooltip": 1,
        "refresh": "1m",
        "time": {"from": "now-6h", "to": "now"},
        "timezone": "",
        "annotations": {"list": []},
        "links": [],
        "templating": {"list": variables()},
        "panels": panels(),
    });
    let text = serde_json::to_string_pretty(&dashboard)
        .map_err(|e| Error::new(ErrorKind::Unknown, "cannot write the dashboard").with_cause(e))?;
    Ok(format!("{text}\n"))
}

fn variables() -> Value {
    let of_labels = |name: &str, label: &str, query: &str| {
        json!({
            "name": name,
            "label": label,
            "type": "query",
            "datasource": source(),
            "definition": query,
            "query": {"query": query, "refId": name, "qryType": 1},
            "refresh": 2,
            "sort": 1,
            "multi": true,
            "includeAll": true,
            // Ten thousand names would be too long a query.
            "allValue": ".*",
            "current": {"selected": true, "text": ["All"], "value": ["$__all"]},
        })
    };
    json!([
        {
            "name": "datasource",
            "label": "Data source",
            "type": "datasource",
            "query": "prometheus",
            "refresh": 1,
            "current": {},
        },
        of_labels("instance", "Exporter", "label_values(tenantctl_up, instance)"),
        of_labels("tier", "Tier", "label_values(tenantctl_tenant_info{instance=~\"$instance\"}, tier)"),
        of_labels(
            "tenant",
            "Tenant",
            "label_values(tenantctl_tenant_info{instance=~\"$instance\", tier=~\"$tier\"}, tenant_id)",
        ),
    ])
}

fn source() -> Value {
    json!({"type": "prometheus", "uid": "${datasource}"})
}

/// Where panels go next: rows of a grid that is 24 wide.
struct Layout {
    panels: Vec<Value>,
    x: u32,
    y: u32,
    row_height: u32,
}

/// What a panel shows and how.
struct Panel<'a> {
    kind: &'a str,
    title: &'a str,
    description: &'a str,
    unit: &'a str,
    width: u32,
    height: u32,
    /// Expressions and the names of their series.
    queries: &'a [(&'a str, &'a str)],
}

impl Layout {
    fn row(&mut self, title: &str) {
        self.y += self.row_height;
        self.panels.push(json!({
            "id": self.panels.len() + 1,
            "type": "row",
            "title": title,
            "collapsed": false,
            "gridPos": {"x": 0, "y": self.y, "w": 24, "h": 1},
            "panels": [],
        }));
        self.y += 1;
        self.x = 0;
        self.row_height = 0;
    }

    fn add(&mut self, panel: &Panel<'_>) {
        if self.x + panel.width > 24 {
            self.x = 0;
            self.y += self.row_height;
            self.row_height = 0;
        }
        // Tables and bars show what is now, the others how it came to be.
        let instant = panel.kind != "timeseries";
        let targets: Vec<Value> = panel
            .queries
            .iter()
            .zip('A'..)
            .map(|((expr, legend), id)| {
                json!({
                    "refId": id.to_string(),
                    "datasource": source(),
                    "expr": expr,
                    "legendFormat": legend,
                    "instant": instant,
                    "range": !instant,
                    "format": if panel.kind == "table" { "table" } else { "time_series" },
                })
            })
            .collect();
        let mut value = json!({
            "id": self.panels.len() + 1,
            "type": panel.kind,
            "title": panel.title,
            "description": panel.description,
            "datasource": source(),
            "gridPos": {"x": self.x, "y": self.y, "w": panel.width, "h": panel.height},
            "fieldConfig": {"defaults": {"unit": panel.unit}, "overrides": []},
            "options": options(panel.kind),
            "targets": targets,
        });
        if panel.kind == "table" {
            value["transformations"] = json!([{
                "id": "organize",
                "options": {"excludeByName": {"Time": true, "Value": true, "__name__": true, "job": true}},
            }]);
        }
        self.panels.push(value);
        self.x += panel.width;
        self.row_height = self.row_height.max(panel.height);
    }
}

fn options(kind: &str) -> Value {
    let last = json!({"calcs": ["lastNotNull"], "fields": "", "values": false});
    match kind {
        "stat" => json!({"reduceOptions": last, "colorMode": "value", "graphMode": "none"}),
        "bargauge" => json!({"reduceOptions": last, "orientation": "horizontal", "displayMode": "basic"}),
        "timeseries" => json!({
            "legend": {"displayMode": "list", "placement": "bottom", "showLegend": true},
            "tooltip": {"mode": "multi", "sort": "desc"},
        }),
        _ => json!({}),
    }
}

fn panels() -> Vec<Value> {
    let mut layout = Layout {
        panels: Vec::new(),
        x: 0,
        y: 0,
        row_height: 0,
    };
    overview(&mut layout);
    limits_and_sizes(&mut layout);
    activity(&mut layout);
    safety(&mut layout);
    layout.panels
}

fn overview(layout: &mut Layout) {
    layout.row("Overview");
    for (title, description, unit, expr) in [
        (
            "Database answers",
            "0 when the last measurement of one of the exporters failed.",
            "none",
            "min(tenantctl_up{instance=~\"$instance\"})",
        ),
        ("Tenants", "", "none", "sum(tenantctl_tenants{instance=~\"$instance\"})"),
        (
            "Alerts that fire",
            "As tenantctl judges them.",
            "none",
            "sum(tenantctl_alerts_firing{instance=~\"$instance\"})",
        ),
        (
            "Frozen tenants",
            "Their schemas are too large: they can neither insert nor update.",
            "none",
            "sum(tenantctl_writes_frozen{instance=~\"$instance\"})",
        ),
        (
            "All tenants together",
            "",
            "bytes",
            "sum(tenant_schema_size_bytes{instance=~\"$instance\"})",
        ),
        (
            "Connections of the server",
            "Of max_connections.",
            "percentunit",
            "max(tenantctl_server_connections{instance=~\"$instance\"} / tenantctl_server_connections_max{instance=~\"$instance\"})",
        ),
        (
            "Unknown sizes",
            "Tenants whose size could not be measured.",
            "none",
            "sum(tenantctl_schema_sizes{source=\"unknown\", instance=~\"$instance\"})",
        ),
        (
            "Age of the samples",
            "",
            "s",
            "max(tenantctl_measurement_age_seconds{instance=~\"$instance\"})",
        ),
    ] {
        layout.add(&Panel {
            kind: "stat",
            title,
            description,
            unit,
            width: 3,
            height: 4,
            queries: &[(expr, "")],
        });
    }
}

fn limits_and_sizes(layout: &mut Layout) {
    layout.row("Limits and sizes");
    let selected = "tenant_id=~\"$tenant\", instance=~\"$instance\"";
    layout.add(&Panel {
        kind: "bargauge",
        title: "Fullest tenants",
        description: "What is used of the limits of their tiers, the fullest ten.",
        unit: "percentunit",
        width: 12,
        height: 9,
        queries: &[(
            &format!("sort_desc(topk(10, tenantctl_limit_ratio{{{selected}}}{OF_TIER}))"),
            "{{tenant_id}} {{limit}}",
        )],
    });
    layout.add(&Panel {
        kind: "timeseries",
        title: "Largest schemas",
        description: "",
        unit: "bytes",
        width: 12,
        height: 9,
        queries: &[(
            &format!("topk(10, tenant_schema_size_bytes{{{selected}}}{OF_TIER})"),
            "{{tenant_id}}",
        )],
    });
    layout.add(&Panel {
        kind: "timeseries",
        title: "Size by tier",
        description: "",
        unit: "bytes",
        width: 12,
        height: 8,
        queries: &[(
            &format!("sum by (tier) (tenant_schema_size_bytes{{{selected}}}{OF_TIER})"),
            "{{tier}}",
        )],
    });
    layout.add(&Panel {
        kind: "timeseries",
        title: "Most rows",
        description: "As the server's statistics have them.",
        unit: "short",
        width: 12,
        height: 8,
        queries: &[(
            &format!("topk(10, tenantctl_rows{{{selected}}}{OF_TIER})"),
            "{{tenant_id}}",
        )],
    });
}

fn activity(layout: &mut Layout) {
    layout.row("Connections and queries");
    let selected = "tenant_id=~\"$tenant\", instance=~\"$instance\"";
    let timeseries = |title, description, unit, expr: String, legend| (title, description, unit, expr, legend);
    for (title, description, unit, expr, legend) in [
        timeseries(
            "Connections by state",
            "",
            "none",
            format!("sum by (state) (tenantctl_connections{{{selected}}}{OF_TIER})"),
            "{{state}}",
        ),
        timeseries(
            "Most connections",
            "All sessions of a tenant's role, idle ones included.",
            "none",
            format!("topk(10, tenant_active_connections{{{selected}}}{OF_TIER})"),
            "{{tenant_id}}",
        ),
        timeseries(
            "Queries by type",
            "Needs pg_stat_statements.",
            "reqps",
            format!("sum by (query_type) (rate(tenant_query_duration_seconds_count{{{selected}}}[$__rate_interval]))"),
            "{{query_type}}",
        ),
        timeseries(
            "95th percentile of query durations",
            "From the mean duration of each query between two measurements: single slow calls do not show.",
            "s",
            format!(
                "histogram_quantile(0.95, sum by (le, query_type) (rate(tenant_query_duration_seconds_bucket{{{selected}}}[$__rate_interval])))"
            ),
            "{{query_type}}",
        ),
        timeseries(
            "Busiest tenants",
            "Seconds that their queries took in each second. Tenants beyond --max-tenants-detailed are one, without a name.",
            "short",
            format!(
                "topk(10, sum by (tenant_id) (rate(tenant_query_duration_seconds_sum{{{selected}}}[$__rate_interval])))"
            ),
            "{{tenant_id}}",
        ),
        timeseries(
            "Longest transactions",
            "Time since they began.",
            "s",
            format!("topk(10, tenantctl_longest_transaction_seconds{{{selected}}}{OF_TIER})"),
            "{{tenant_id}}",
        ),
    ] {
        layout.add(&Panel {
            kind: "timeseries",
            title,
            description,
            unit,
            width: 12,
            height: 8,
            queries: &[(&expr, legend)],
        });
    }
}

fn safety(layout: &mut Layout) {
    layout.row("Backups, standbys, alerts");
    let selected = "tenant_id=~\"$tenant\", instance=~\"$instance\"";
    layout.add(&Panel {
        kind: "bargauge",
        title: "Oldest backups",
        description: "Time since the newest good backup of whatever type.",
        unit: "s",
        width: 12,
        height: 9,
        queries: &[(
            &format!("sort_desc(topk(10, tenantctl_backup_age_seconds{{type=\"any\", {selected}}}{OF_TIER}))"),
            "{{tenant_id}}",
        )],
    });
    layout.add(&Panel {
        kind: "stat",
        title: "Tenants without a backup",
        description: "",
        unit: "none",
        width: 4,
        height: 9,
        queries: &[(
            &format!(
                "count(tenantctl_tenant_info{{{selected}, tier=~\"$tier\"}} unless on (instance, tenant_id) tenantctl_backup_age_seconds{{type=\"any\"}}) or vector(0)"
            ),
            "",
        )],
    });
    layout.add(&Panel {
        kind: "timeseries",
        title: "Lag of standbys",
        description: "",
        unit: "s",
        width: 8,
        height: 9,
        queries: &[(
            "tenantctl_standby_lag_seconds{instance=~\"$instance\"}",
            "{{standby}} {{address}}",
        )],
    });
    layout.add(&Panel {
        kind: "table",
        title: "Alerts that fire",
        description: "As tenantctl judges them; those of the database have no tenant.",
        unit: "none",
        width: 12,
        height: 9,
        queries: &[(&format!("tenantctl_alert{{{selected}}}"), "")],
    });
    layout.add(&Panel {
        kind: "timeseries",
        title: "Alerts by type",
        description: "",
        unit: "none",
        width: 12,
        height: 9,
        queries: &[(
            "sum by (type, severity) (tenantctl_alerts_firing{instance=~\"$instance\"}) > 0",
            "{{type}} {{severity}}",
        )],
    });
    layout.add(&Panel {
        kind: "timeseries",
        title: "Measuring",
        description: "How long each part took, and how old its samples are.",
        unit: "s",
        width: 24,
        height: 7,
        queries: &[
            (
                "tenantctl_measurement_duration_seconds{instance=~\"$instance\"}",
                "{{part}} took",
            ),
            (
                "tenantctl_measurement_age_seconds{instance=~\"$instance\"}",
                "age of {{part}}",
            ),
        ],
    });
}
