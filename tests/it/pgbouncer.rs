//! PgBouncer before tenants: a real one, with what `tenantctl pgbouncer` wrote.

mod attacks;
mod files;
mod setup;
mod sharing;

use tenantctl::cluster::{Cluster, Options};

use crate::support::{Db, Made, fast, start};

/// A cluster with a database of its own, as the pooler's role is the cluster's, and tenants `a`, `b`, ...
fn place(tenants: usize) -> (Cluster, Db, Vec<Made>) {
    let cluster = start(&Options {
        settings: fast(),
        ..Options::default()
    });
    let db = Db::on(&cluster);
    db.run(&["init"]).success();
    let ids: Vec<String> = (b'a'..).take(tenants).map(|c| char::from(c).to_string()).collect();
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    let mut made = if tenants == 0 { Vec::new() } else { db.provision(&ids) };
    made.sort_by(|x, y| x.id.cmp(&y.id));
    (cluster, db, made)
}
