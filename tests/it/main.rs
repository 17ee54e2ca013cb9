//! Integration tests: the real binary against real PostgreSQL clusters that the tests start themselves.
//!
//! One shared cluster serves most tests, each in a database of its own; tests that need another kind of server
//! (TLS, a standby, one that dies) start their own. Roles are cluster-wide, so no test assumes it is alone.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

mod alerts;
mod architecture;
mod audit;
mod backup;
mod bench_suites;
mod benchmark;
mod benchmark_report;
mod benchmark_run;
mod bulk;
mod cache;
mod cli;
mod connect;
mod ddl;
mod demo;
mod docs;
mod drop;
mod exporter;
mod faults;
mod freeze;
mod hostile;
mod init;
mod kill;
mod limits;
mod metrics;
mod metrics_text;
mod mutations;
mod passwords;
mod pgbouncer;
mod preflight;
mod probe;
mod provision;
mod readme;
mod replicas;
mod report;
mod restore;
mod rotate;
mod secure;
mod show;
mod store;
mod support;
mod template;
mod timescaledb;
mod validate;
mod values;
