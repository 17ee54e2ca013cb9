//! Posts alerts to a webhook or to Alertmanager.
