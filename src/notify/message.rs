//! The forms in which receivers are told: one JSON document for webhooks, Alertmanager's of its API's version 2.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use serde_json::{Map, Value, json};

use crate::metrics::AlertSeverity;

/// One alert as it is told.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// The same for the same alert in every run.
    pub key: String,
    /// Such as `schema_size_limit`.
    pub alert_type: String,
    /// How bad it is.
    pub severity: AlertSeverity,
    /// The tenant; none: the database's own.
    pub tenant_id: Option<String>,
    /// What of it, where there may be several.
    pub object: Option<String>,
    /// One sentence.
    pub message: String,
    /// What was measured.
    pub value: Option<f64>,
    /// What it is held against.
    pub limit: Option<f64>,
    /// When it began, ISO 8601 in UTC.
    pub fired_at: String,
    /// When it ended; none: it goes on.
    pub resolved_at: Option<String>,
    /// Of an error of a command: its id and its class.
    pub error: Option<(String, &'static str)>,
}

/// When something is told, and until when Alertmanager is to believe it; ISO 8601 in UTC.
#[derive(Clone, Debug, PartialEq)]
pub struct Moment {
    /// Now.
    pub now: String,
    /// Now and the minutes of the configuration.
    pub expires: String,
}

impl Moment {
    /// By this machine's clock, for when no server can be asked.
    pub fn here(expire_minutes: u32) -> Self {
        let now = SystemTime::now();
        Self {
            now: iso(now),
            expires: iso(now + Duration::from_secs(60 * u64::from(expire_minutes))),
        }
    }
}

/// Whose alerts they are.
#[derive(Clone, Copy, Debug)]
pub struct Origin<'a> {
    /// The database.
    pub database: &'a str,
    /// `alerts.labels` of the configuration, which tell clusters apart whose databases have the same name.
    pub labels: &'a BTreeMap<String, String>,
}

/// The document for a webhook.
pub fn webhook(origin: Origin<'_>, moment: &Moment, events: &[Event]) -> Vec<u8> {
    let alerts: Vec<Value> = events
        .iter()
        .map(|event| {
            let mut alert = json!({
                "status": if event.resolved_at.is_some() { "resolved" } else { "firing" },
                "key": event.key,
                "type": event.alert_type,
                "severity": event.severity.as_str(),
                "tenant_id": event.tenant_id,
                "object": event.object,
                "message": event.message,
                "value": event.value.map(number),
                "limit": event.limit.map(number),
                "fired_at": event.fired_at,
                "resolved_at": event.resolved_at,
            });
            if let (Some((id, kind)), Some(alert)) = (&event.error, alert.as_object_mut()) {
                alert.insert("error_id".into(), id.as_str().into());
                alert.insert("error_type".into(), (*kind).into());
            }
            alert
        })
        .collect();
    let mut document = json!({ "version": 1, "sent_at": moment.now, "database": origin.database, "alerts": alerts });
    if let Some(document) = document.as_object_mut().filter(|_| !origin.labels.is_empty()) {
        document.insert("labels".into(), json!(origin.labels));
    }
    document.to_string().into_bytes()
}

/// The array for Alertmanager. Labels are what tells an alert from others there, so they hold nothing that changes while
/// it goes on, the severity excepted: one that changes ends an alert and begins another.
pub fn alertmanager(origin: Origin<'_>, moment: &Moment, events: &[Event]) -> Vec<u8> {
    let alerts: Vec<Value> = events
        .iter()
        .map(|event| {
            let mut labels = Map::new();
            let mut label = |name: &str, value: Option<&str>| {
                // An empty label is the same as none there.
                if let Some(value) = value.filter(|value| !value.is_empty()) {
                    labels.insert(name.into(), value.into());
                }
            };
            for (name, value) in origin.labels {
                label(name, Some(value));
            }
            label("alertname", Some(&event.alert_type));
            label("severity", Some(event.severity.as_str()));
            label("database", Some(origin.database));
            label("tenant_id", event.tenant_id.as_deref());
            match &event.error {
                Some((_, kind)) => label("error_type", Some(kind)),
                None => label("object", event.object.as_deref()),
            }
            let mut annotations = Map::new();
            annotations.insert("message".into(), event.message.as_str().into());
            for (name, value) in [("value", event.value), ("limit", event.limit)] {
                if let Some(value) = value {
                    annotations.insert(name.into(), number(value).to_string().into());
                }
            }
            if let Some((id, _)) = &event.error {
                annotations.insert("error_id".into(), id.as_str().into());
            }
            json!({
                "labels": labels,
                "annotations": annotations,
                "startsAt": event.fired_at,
                "endsAt": if event.resolved_at.is_some() { &moment.now } else { &moment.expires },
                "generatorURL": format!("urn:tenantctl:{}", urn(origin.database)),
            })
        })
        .collect();
    Value::Array(alerts).to_string().into_bytes()
}

/// Whole numbers as such: `5368709120`, not `5368709120.0`.
fn number(value: f64) -> Value {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    if value.fract() == 0.0 && value.abs() < EXACT {
        Value::from(value as i64)
    } else {
        Value::from(value)
    }
}

fn urn(text: &str) -> String {
    percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
}

/// `2026-11-27T10:30:00.123Z`.
fn iso(moment: SystemTime) -> String {
    let since = moment.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let (seconds, millis) = (since.as_secs(), since.subsec_millis());
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = civil(days);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z")
}

/// Year, month and day of a number of days since 1970: counted in years that begin with March, whose leap day comes last.
fn civil(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 {
        month_from_march + 3
    } else {
        month_from_march - 9
    };
    (year_of_era + era * 400 + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    static NONE: BTreeMap<String, String> = BTreeMap::new();

    fn origin(database: &str) -> Origin<'_> {
        Origin {
            database,
            labels: &NONE,
        }
    }

    fn event() -> Event {
        Event {
            key: "schema_size_limit/acme/".into(),
            alert_type: "schema_size_limit".into(),
            severity: AlertSeverity::Critical,
            tenant_id: Some("acme".into()),
            object: None,
            message: "schema size".into(),
            value: Some(5_368_709_120.0),
            limit: Some(0.5),
            fired_at: "2026-01-01T00:00:00.000000Z".into(),
            resolved_at: None,
            error: None,
        }
    }

    fn moment() -> Moment {
        Moment {
            now: "2026-01-02T00:00:00Z".into(),
            expires: "2026-01-02T01:00:00Z".into(),
        }
    }

    fn read(bytes: &[u8]) -> Value {
        serde_json::from_slice(bytes).expect("JSON")
    }

    #[test]
    fn a_webhook_is_told_everything() {
        let resolved = Event {
            tenant_id: None,
            object: Some("r1".into()),
            resolved_at: Some("2026-01-01T12:00:00Z".into()),
            ..event()
        };
        assert_eq!(
            read(&webhook(origin("app"), &moment(), &[event(), resolved])),
            json!({"version": 1, "sent_at": "2026-01-02T00:00:00Z", "database": "app", "alerts": [
                {"status": "firing", "key": "schema_size_limit/acme/", "type": "schema_size_limit", "severity": "critical",
                 "tenant_id": "acme", "object": null, "message": "schema size", "value": 5_368_709_120_u64, "limit": 0.5,
                 "fired_at": "2026-01-01T00:00:00.000000Z", "resolved_at": null},
                {"status": "resolved", "key": "schema_size_limit/acme/", "type": "schema_size_limit", "severity": "critical",
                 "tenant_id": null, "object": "r1", "message": "schema size", "value": 5_368_709_120_u64, "limit": 0.5,
                 "fired_at": "2026-01-01T00:00:00.000000Z", "resolved_at": "2026-01-01T12:00:00Z"},
            ]})
        );
    }

    #[test]
    fn labels_of_the_configuration_tell_clusters_apart() {
        let labels = BTreeMap::from([("cluster".to_owned(), "eu-1".to_owned())]);
        let origin = Origin {
            database: "app",
            labels: &labels,
        };
        let alert = &read(&alertmanager(origin, &moment(), &[event()]))[0];
        assert_eq!(alert["labels"]["cluster"], "eu-1");
        assert_eq!(alert["labels"]["alertname"], "schema_size_limit");
        assert_eq!(
            read(&webhook(origin, &moment(), &[event()]))["labels"],
            json!({"cluster": "eu-1"})
        );
    }

    #[test]
    fn errors_carry_their_id() {
        let error = Event {
            error: Some(("4c1e".into(), "timeout")),
            ..event()
        };
        let alert = &read(&webhook(origin("app"), &moment(), std::slice::from_ref(&error)))["alerts"][0];
        assert_eq!(
            (&alert["error_id"], &alert["error_type"]),
            (&json!("4c1e"), &json!("timeout"))
        );
        let alert = &read(&alertmanager(origin("app"), &moment(), &[error]))[0];
        assert_eq!(alert["labels"]["error_type"], "timeout");
        assert_eq!(alert["annotations"]["error_id"], "4c1e");
    }

    #[test]
    fn alertmanager_is_told_in_its_own_form() {
        let ended = Event {
            tenant_id: None,
            object: Some("r1".into()),
            value: None,
            limit: None,
            resolved_at: Some("2026-01-01T12:00:00Z".into()),
            ..event()
        };
        assert_eq!(
            read(&alertmanager(origin("my app"), &moment(), &[event(), ended])),
            json!([
                {"labels": {"alertname": "schema_size_limit", "severity": "critical", "database": "my app", "tenant_id": "acme"},
                 "annotations": {"message": "schema size", "value": "5368709120", "limit": "0.5"},
                 "startsAt": "2026-01-01T00:00:00.000000Z", "endsAt": "2026-01-02T01:00:00Z",
                 "generatorURL": "urn:tenantctl:my%20app"},
                {"labels": {"alertname": "schema_size_limit", "severity": "critical", "database": "my app", "object": "r1"},
                 "annotations": {"message": "schema size"},
                 "startsAt": "2026-01-01T00:00:00.000000Z", "endsAt": "2026-01-02T00:00:00Z",
                 "generatorURL": "urn:tenantctl:my%20app"},
            ])
        );
    }

    #[test]
    fn moments_are_those_of_the_calendar() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_399, "2000-02-28T23:59:59.000Z"),
            (951_782_400, "2000-02-29T00:00:00.000Z"),
            (951_868_800, "2000-03-01T00:00:00.000Z"),
            (1_735_689_599, "2024-12-31T23:59:59.000Z"),
            (4_107_542_400, "2100-03-01T00:00:00.000Z"),
        ] {
            assert_eq!(iso(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)), text);
        }
        assert_eq!(
            iso(SystemTime::UNIX_EPOCH + Duration::from_millis(1_767_225_600_045)),
            "2026-01-01T00:00:00.045Z"
        );
    }
}
