//! Serves the metrics over HTTP.
