//! A dashboard for Grafana.
