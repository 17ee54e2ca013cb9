//! Alerting rules for Prometheus.
