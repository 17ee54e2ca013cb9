//! `metrics --enforce`.
