//! The probe: silent where everything holds, and it finds what was broken, by trying.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tenantctl::cluster::{Cluster, Options};
use tenantctl::interrupt::Interrupt;
use tenantctl::pg::conninfo::ConnInfo;
use tenantctl::pg::session::{Connector, SessionLimits};
use tenantctl::validate::probe::{Mode, Probe, ProbeReport, Progress, run};

use crate::support::{Db, Made, fast, hold, sql, start, wait_for};

/// A cluster of a test's own, so that every database of it is hardened and no other test's roles come and go.
struct Hardened {
    cluster: Cluster,
    db: Db,
    tenants: Vec<Made>,
}

impl Hardened {
    fn with(tenants: &[&str]) -> Self {
        let cluster = start(&Options {
            settings: fast(),
            ..Options::default()
        });
        let db = Db::on(&cluster);
        db.run(&["init"]).success();
        let mut args = tenants.to_vec();
        args.extend(["--tier", "enterprise"]);
        let tenants = db.provision(&args);
        db.run(&["secure", "--all"]).success();
        Self { cluster, db, tenants }
    }

    fn login(&self, tenant: &Made) -> String {
        let password = tenant.password.as_deref().unwrap();
        let url = self.cluster.url(&tenant.role, &self.db.name);
        url.replace('@', &format!(":{password}@"))
    }

    fn probe(&self, mode: Mode) -> ProbeReport {
        probe(&self.db.url, mode)
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
}

fn new(url: &str, mode: Mode) -> Probe {
    let info = ConnInfo::resolve(Some(url), &|_| None).unwrap();
    Probe::new(Connector::new(info, "tenantctl", SessionLimits::default()), mode)
}

fn probe(url: &str, mode: Mode) -> ProbeReport {
    runtime()
        .block_on(run(
            &new(url, mode),
            &Arc::new(Progress::default()),
            &Interrupt::never(),
        ))
        .unwrap()
}

#[track_caller]
fn assert_silent(report: &ProbeReport) {
    assert!(
        report.findings.is_empty() && report.unknown.is_empty(),
        "{:#?}\n{:#?}",
        report.findings,
        report.unknown
    );
}

/// No role, session or membership of a probe.
#[track_caller]
fn assert_nothing_left(db: &Db) {
    assert_eq!(
        db.value("SELECT count(*) FROM pg_roles WHERE rolname LIKE 'tenantctl_probe%'"),
        "0"
    );
    assert_eq!(
        db.value("SELECT count(*) FROM pg_auth_members WHERE roleid IN (SELECT oid FROM pg_roles WHERE rolname LIKE 'tenant\\_%\\_user') AND NOT admin_option"),
        "0"
    );
}

#[test]
fn a_hardened_database_gives_no_finding() {
    let hardened = Hardened::with(&["acme", "globex", "initech"]);
    for mode in [Mode::LogIn, Mode::AsRole] {
        let report = hardened.probe(mode);
        assert_silent(&report);
        assert_eq!((report.tenants, report.pairs), (3, 6));
        assert!(report.attempts > 2_000, "{}", report.attempts);
        assert_nothing_left(&hardened.db);
        crate::support::loud(&format!(
            "{mode:?}: {} attempts in {:?}",
            report.attempts, report.duration
        ));
    }
    for tenant in &hardened.tenants {
        sql(&hardened.login(tenant), "SELECT count(*) FROM portfolios").unwrap();
    }
}

/// A hole, who is let through it, and what must be found: check, whom it is charged to, object.
struct Hole {
    name: &'static str,
    apply: &'static str,
    undo: &'static str,
    found: &'static [(&'static str, &'static str, &'static str)],
}

/// {v} the victim's schema, {a} the attacker's; roles end in _user.
const HOLES: &[Hole] = &[
    Hole {
        name: "frozen in the registry alone",
        apply: "UPDATE tenantctl.tenants SET writes_frozen_at = now() WHERE schema_name = '{a}'",
        undo: "UPDATE tenantctl.tenants SET writes_frozen_at = NULL WHERE schema_name = '{a}'",
        found: &[("probe_frozen", "globex", "table {a}.trades")],
    },
    Hole {
        name: "usage alone",
        apply: "GRANT USAGE ON SCHEMA {v} TO {a}_user",
        undo: "REVOKE USAGE ON SCHEMA {v} FROM {a}_user",
        found: &[("probe_schema", "acme", "schema {v}")],
    },
    Hole {
        name: "select to a neighbour",
        apply: "GRANT USAGE ON SCHEMA {v} TO {a}_user; GRANT SELECT ON {v}.trades TO {a}_user",
        undo: "REVOKE USAGE ON SCHEMA {v} FROM {a}_user; REVOKE SELECT ON {v}.trades FROM {a}_user",
        found: &[("probe_read", "acme", "table {v}.trades")],
    },
    Hole {
        name: "one column to a neighbour",
        apply: "GRANT USAGE ON SCHEMA {v} TO {a}_user; GRANT SELECT (price), UPDATE (price) ON {v}.trades TO {a}_user",
        undo: "REVOKE USAGE ON SCHEMA {v} FROM {a}_user; REVOKE SELECT (price), UPDATE (price) ON {v}.trades FROM {a}_user",
        found: &[
            ("probe_read", "acme", "table {v}.trades"),
            ("probe_write", "acme", "table {v}.trades"),
        ],
    },
    Hole {
        name: "everything to PUBLIC",
        apply: "GRANT USAGE ON SCHEMA {v} TO PUBLIC; GRANT ALL ON {v}.positions TO PUBLIC",
        undo: "REVOKE USAGE ON SCHEMA {v} FROM PUBLIC; REVOKE ALL ON {v}.positions FROM PUBLIC",
        found: &[
            ("probe_read", "acme", "table {v}.positions"),
            ("probe_write", "acme", "table {v}.positions"),
            ("probe_truncate", "acme", "table {v}.positions"),
            ("probe_references", "acme", "table {v}.positions"),
            ("probe_trigger", "acme", "table {v}.positions"),
            ("probe_lock", "acme", "table {v}.positions"),
            ("probe_trigger", "globex", "table {g}.positions"),
        ],
    },
    Hole {
        name: "membership in the neighbour's role",
        apply: "GRANT {v}_user TO {a}_user",
        undo: "REVOKE {v}_user FROM {a}_user",
        found: &[
            ("probe_role", "acme", "role {v}_user"),
            ("probe_read", "acme", "table {v}.trades"),
        ],
    },
    Hole {
        name: "membership in the owner",
        apply: "GRANT tenantctl_owner TO {a}_user",
        undo: "REVOKE tenantctl_owner FROM {a}_user",
        found: &[
            ("probe_role", "globex", "role tenantctl_owner"),
            ("probe_grant", "acme", "table {v}.trades"),
            ("probe_ownership", "acme", "table {v}.trades"),
            ("probe_create", "acme", "schema {v}"),
            ("probe_registry", "globex", "table tenantctl.tenants"),
            ("probe_audit", "globex", "table {a}.audit_log"),
        ],
    },
    Hole {
        name: "CREATE in the neighbour's schema",
        apply: "GRANT USAGE, CREATE ON SCHEMA {v} TO {a}_user",
        undo: "REVOKE USAGE, CREATE ON SCHEMA {v} FROM {a}_user",
        found: &[("probe_create", "acme", "schema {v}")],
    },
    Hole {
        name: "CREATE in its own schema",
        apply: "GRANT CREATE ON SCHEMA {a} TO {a}_user",
        undo: "REVOKE CREATE ON SCHEMA {a} FROM {a}_user",
        found: &[("probe_create", "globex", "schema {a}")],
    },
    Hole {
        name: "ownership of its own table",
        apply: "ALTER TABLE {a}.trades OWNER TO {a}_user",
        undo: "ALTER TABLE {a}.trades OWNER TO tenantctl_owner; GRANT SELECT, INSERT, UPDATE, DELETE ON {a}.trades TO {a}_user",
        found: &[("probe_truncate", "globex", "table {a}.trades")],
    },
    Hole {
        name: "grant option",
        apply: "GRANT SELECT ON {a}.trades TO {a}_user WITH GRANT OPTION",
        undo: "REVOKE GRANT OPTION FOR SELECT ON {a}.trades FROM {a}_user",
        found: &[("probe_grant", "globex", "table {a}.trades")],
    },
    Hole {
        name: "its own audit trail",
        apply: "GRANT DELETE ON {a}.audit_log TO {a}_user",
        undo: "REVOKE DELETE ON {a}.audit_log FROM {a}_user",
        found: &[("probe_audit", "globex", "table {a}.audit_log")],
    },
    Hole {
        name: "TRUNCATE and TRIGGER on its own table",
        apply: "GRANT TRUNCATE, TRIGGER ON {a}.trades TO {a}_user",
        undo: "REVOKE TRUNCATE, TRIGGER ON {a}.trades FROM {a}_user",
        found: &[
            ("probe_truncate", "globex", "table {a}.trades"),
            ("probe_trigger", "globex", "table {a}.trades"),
        ],
    },
    Hole {
        name: "TEMPORARY for PUBLIC",
        apply: "GRANT TEMPORARY ON DATABASE {db} TO PUBLIC",
        undo: "REVOKE TEMPORARY ON DATABASE {db} FROM PUBLIC",
        found: &[("probe_temp", "", "database {db}")],
    },
    Hole {
        name: "CREATE on the database",
        apply: "GRANT CREATE ON DATABASE {db} TO {a}_user",
        undo: "REVOKE CREATE ON DATABASE {db} FROM {a}_user",
        found: &[("probe_database", "globex", "database {db}")],
    },
    Hole {
        name: "another database for PUBLIC",
        apply: "GRANT CONNECT ON DATABASE postgres TO PUBLIC",
        undo: "REVOKE CONNECT ON DATABASE postgres FROM PUBLIC",
        found: &[("probe_other_database", "", "database postgres")],
    },
    Hole {
        name: "another database for one tenant",
        apply: "GRANT CONNECT ON DATABASE template1 TO {a}_user",
        undo: "REVOKE CONNECT ON DATABASE template1 FROM {a}_user",
        found: &[("probe_other_database", "globex", "database template1")],
    },
    Hole {
        name: "a language",
        apply: "GRANT USAGE ON LANGUAGE plpgsql TO PUBLIC",
        undo: "REVOKE USAGE ON LANGUAGE plpgsql FROM PUBLIC",
        found: &[("probe_language", "", "language plpgsql")],
    },
    Hole {
        name: "notifications and advisory locks",
        apply: "GRANT EXECUTE ON FUNCTION pg_notify(text, text), pg_try_advisory_xact_lock(bigint) TO PUBLIC",
        undo: "REVOKE EXECUTE ON FUNCTION pg_notify(text, text), pg_try_advisory_xact_lock(bigint) FROM PUBLIC",
        found: &[
            ("probe_builtin", "", "function pg_catalog.pg_notify(text, text)"),
            (
                "probe_builtin",
                "",
                "function pg_catalog.pg_try_advisory_xact_lock(bigint)",
            ),
        ],
    },
    Hole {
        name: "statistics of everybody",
        apply: "GRANT SELECT ON pg_catalog.pg_stat_user_tables TO PUBLIC",
        undo: "REVOKE SELECT ON pg_catalog.pg_stat_user_tables FROM PUBLIC",
        found: &[("probe_statistics", "", "view pg_catalog.pg_stat_user_tables")],
    },
    Hole {
        name: "CREATE in public",
        apply: "GRANT CREATE ON SCHEMA public TO PUBLIC",
        undo: "REVOKE CREATE ON SCHEMA public FROM PUBLIC",
        found: &[("probe_create", "", "schema public")],
    },
    Hole {
        name: "the superuser attribute",
        apply: "ALTER ROLE {a}_user SUPERUSER",
        undo: "ALTER ROLE {a}_user NOSUPERUSER",
        found: &[
            ("probe_role", "globex", "role {a}_user"),
            ("probe_file", "globex", "command COPY TO PROGRAM"),
            ("probe_catalog", "globex", "table pg_catalog.pg_authid"),
            ("probe_parameter", "globex", "parameter session_replication_role"),
            ("probe_read", "acme", "table {v}.trades"),
        ],
    },
    Hole {
        name: "CREATEROLE",
        apply: "ALTER ROLE {a}_user CREATEROLE",
        undo: "ALTER ROLE {a}_user NOCREATEROLE",
        found: &[("probe_role", "globex", "role {a}_user")],
    },
    Hole {
        name: "a predefined role",
        apply: "GRANT pg_read_all_data TO {a}_user",
        undo: "REVOKE pg_read_all_data FROM {a}_user",
        found: &[
            ("probe_role", "globex", "role pg_read_all_data"),
            ("probe_read", "acme", "table {v}.trades"),
        ],
    },
    Hole {
        name: "the server's files",
        apply: "GRANT pg_read_server_files TO {a}_user; GRANT EXECUTE ON FUNCTION pg_read_file(text) TO {a}_user",
        undo: "REVOKE pg_read_server_files FROM {a}_user; REVOKE EXECUTE ON FUNCTION pg_read_file(text) FROM {a}_user",
        found: &[("probe_file", "globex", "function pg_catalog.pg_read_file(text)")],
    },
    Hole {
        name: "monitoring",
        apply: "GRANT pg_read_all_stats TO {a}_user",
        undo: "REVOKE pg_read_all_stats FROM {a}_user",
        found: &[
            ("probe_activity", "globex", "view pg_catalog.pg_stat_activity"),
            ("probe_role", "globex", "role pg_read_all_stats"),
        ],
    },
    Hole {
        name: "a parameter",
        apply: "GRANT SET ON PARAMETER session_replication_role TO {a}_user",
        undo: "REVOKE SET ON PARAMETER session_replication_role FROM {a}_user",
        found: &[("probe_parameter", "globex", "parameter session_replication_role")],
    },
    Hole {
        name: "the registry",
        apply: "GRANT USAGE ON SCHEMA tenantctl TO {a}_user; GRANT SELECT ON tenantctl.credentials TO {a}_user",
        undo: "REVOKE USAGE ON SCHEMA tenantctl FROM {a}_user; REVOKE SELECT ON tenantctl.credentials FROM {a}_user",
        found: &[("probe_registry", "globex", "table tenantctl.credentials")],
    },
    Hole {
        name: "a large object",
        apply: "SELECT lo_from_bytea(4711, 'x'); GRANT SELECT ON LARGE OBJECT 4711 TO PUBLIC",
        undo: "SELECT lo_unlink(4711)",
        found: &[("probe_large_object", "globex", "large object 4711")],
    },
];

#[test]
fn every_class_of_hole_is_found_and_charged_to_the_right_tenant() {
    let hardened = Hardened::with(&["acme", "globex", "initech"]);
    let schema = |id: &str| hardened.tenants.iter().find(|t| t.id == id).unwrap().schema.clone();
    let fill = |text: &str| {
        text.replace("{v}", &schema("acme"))
            .replace("{a}", &schema("globex"))
            .replace("{db}", &hardened.db.name)
    };
    let mut missed = Vec::new();
    for hole in HOLES {
        hardened.db.sql(&fill(hole.apply));
        for mode in [Mode::LogIn, Mode::AsRole] {
            let report = hardened.probe(mode);
            for (check, tenant, object) in hole.found {
                let object = fill(object);
                // What PUBLIC may do to the victim says nothing about the others.
                let wanted = !object.contains("{g}");
                let found = report.findings.iter().any(|f| {
                    f.check == *check && f.tenant_id.as_deref().unwrap_or_default() == *tenant && f.object == object
                });
                if found != wanted {
                    missed.push(format!(
                        "{} ({mode:?}): {check} {tenant} {object}, found {:#?}",
                        hole.name, report.findings
                    ));
                }
            }
            for finding in &report.findings {
                assert!(finding.severity >= tenantctl::validate::Severity::Medium);
                assert!(!finding.remedy.is_empty() && finding.detail.contains("tried with"));
            }
            if !report.unknown.is_empty() {
                missed.push(format!("{} ({mode:?}): {:#?}", hole.name, report.unknown));
            }
        }
        hardened.db.sql(&fill(hole.undo));
    }
    assert!(missed.is_empty(), "{}", missed.join("\n"));
    for mode in [Mode::LogIn, Mode::AsRole] {
        assert_silent(&hardened.probe(mode));
    }
    assert_nothing_left(&hardened.db);
}

/// What a probe must leave as it was: verifiers, roles, rows, sequences.
fn state(db: &Db, tenants: &[Made]) -> Vec<Vec<String>> {
    let mut state =
        db.sql("SELECT rolname, rolpassword, rolcanlogin, rolvaliduntil, rolconnlimit FROM pg_authid ORDER BY 1");
    state.extend(db.sql("SELECT setdatabase, setrole, setconfig FROM pg_db_role_setting ORDER BY 1, 2"));
    state.extend(db.sql("SELECT schemaname, sequencename, last_value FROM pg_sequences ORDER BY 1, 2"));
    state.extend(db.sql("SELECT oid FROM pg_largeobject_metadata"));
    for tenant in tenants {
        for table in ["portfolios", "trades", "positions", "audit_log", "tenant_usage"] {
            state.extend(db.sql(&format!(
                "SELECT '{table}', md5(string_agg(t::text, '' ORDER BY t::text)) FROM {}.{table} t",
                tenant.schema
            )));
        }
    }
    state
}

#[test]
fn nothing_is_left_or_changed_even_where_everything_is_open() {
    let hardened = Hardened::with(&["acme", "globex"]);
    let db = &hardened.db;
    for tenant in &hardened.tenants {
        sql(
            &hardened.login(tenant),
            "INSERT INTO portfolios (user_id, name) VALUES (gen_random_uuid(), 'p')",
        )
        .unwrap();
        // The worst case: whatever is tried succeeds.
        db.sql(&format!("ALTER ROLE {} SUPERUSER", tenant.role));
    }
    let before = state(db, &hardened.tenants);
    for mode in [Mode::LogIn, Mode::AsRole] {
        let report = hardened.probe(mode);
        assert!(report.findings.len() > 100, "{}", report.findings.len());
        assert!(report.unknown.is_empty(), "{:#?}", report.unknown);
        // An attempt that a superuser fails at would prove nothing.
        for does in [
            "see its rows",
            "grant rights on it",
            "create extensions",
            "create event triggers",
            "run programs",
        ] {
            assert!(
                report.findings.iter().any(|f| f.detail.contains(does)),
                "{mode:?}: {does}"
            );
        }
        assert_eq!(state(db, &hardened.tenants), before, "{mode:?}");
    }
    assert_nothing_left(db);
    for tenant in &hardened.tenants {
        sql(&hardened.login(tenant), "SELECT count(*) FROM portfolios").unwrap();
    }
}

#[test]
fn a_tenant_that_locks_its_own_tables_does_not_hold_it_up() {
    let hardened = Hardened::with(&["acme", "globex"]);
    let (db, acme, globex) = (&hardened.db, &hardened.tenants[0], &hardened.tenants[1]);
    db.sql(&format!(
        "GRANT USAGE ON SCHEMA {0} TO {1}; GRANT SELECT ON ALL TABLES IN SCHEMA {0} TO {1}",
        acme.schema, globex.role
    ));
    let tables = "portfolios, positions, trades, market_data, orders";
    let tables: Vec<&str> = tables
        .split(", ")
        .filter(|t| db.value(&format!("SELECT to_regclass('{}.{t}') IS NOT NULL", acme.schema)) == "t")
        .collect();
    let _held = hold(
        &hardened.login(acme),
        &format!("BEGIN; LOCK TABLE {} IN ACCESS EXCLUSIVE MODE", tables.join(", ")),
    );
    for mode in [Mode::LogIn, Mode::AsRole] {
        let started = Instant::now();
        let report = hardened.probe(mode);
        assert!(started.elapsed() < Duration::from_secs(40), "{:?}", started.elapsed());
        assert!(
            report.unknown.iter().all(|u| u.reason.contains("55P03")),
            "{:#?}",
            report.unknown
        );
        assert!(report.unknown.iter().any(|u| u.check == "probe_control"));
        assert!(report.unknown.iter().any(|u| u.check == "probe_read"));
        assert!(
            report
                .findings
                .iter()
                .any(|f| f.check == "probe_schema" && f.tenant_id.as_deref() == Some("acme"))
        );
    }
    assert_nothing_left(db);
}

/// Code that a tenant owns runs as that tenant at most, and not at all from the admin's own session.
#[test]
fn a_tenants_code_does_not_run_as_the_admin() {
    let hardened = Hardened::with(&["acme", "globex"]);
    let (db, acme) = (&hardened.db, &hardened.tenants[0]);
    db.sql(&format!(
        "CREATE SEQUENCE public.sprung; GRANT ALL ON SEQUENCE public.sprung TO PUBLIC; GRANT USAGE ON SCHEMA public TO PUBLIC;
         CREATE FUNCTION {0}.trap() RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS $$
            BEGIN RESET ROLE; PERFORM nextval('public.sprung'); RETURN true; END $$;
         ALTER FUNCTION {0}.trap() OWNER TO {1}; GRANT EXECUTE ON FUNCTION {0}.trap() TO PUBLIC;
         CREATE VIEW {0}.bait AS SELECT 1 AS x WHERE {0}.trap(); ALTER VIEW {0}.bait OWNER TO {1};
         GRANT USAGE ON SCHEMA {0} TO PUBLIC; GRANT SELECT ON {0}.bait TO PUBLIC;
         CREATE POLICY bait ON {0}.trades USING ({0}.trap()); GRANT SELECT ON {0}.trades TO PUBLIC;
         CREATE FUNCTION {0}.trap_trigger() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM nextval('public.sprung'); RETURN NULL; END $$;
         ALTER FUNCTION {0}.trap_trigger() OWNER TO {1};
         CREATE TRIGGER bait BEFORE INSERT OR UPDATE OR DELETE ON {0}.positions EXECUTE FUNCTION {0}.trap_trigger()",
        acme.schema, acme.role
    ));
    for mode in [Mode::AsRole, Mode::LogIn] {
        let report = hardened.probe(mode);
        assert_eq!(db.value("SELECT is_called FROM public.sprung"), "f", "{mode:?}");
        for object in ["view {}.bait", "table {}.trades"] {
            let object = object.replace("{}", &acme.schema);
            assert!(
                report
                    .findings
                    .iter()
                    .any(|f| f.check == "probe_read" && f.object == object && f.detail.contains("globex")),
                "{mode:?} {object} {:#?}",
                report.findings
            );
        }
    }
}

#[test]
fn an_admin_without_superuser_gets_the_same_or_is_told() {
    let cluster = start(&Options {
        settings: fast(),
        ..Options::default()
    });
    let db = Db::on(&cluster);
    db.sql(&format!(
        "CREATE ROLE dba LOGIN CREATEROLE PASSWORD 'dba'; ALTER DATABASE {} OWNER TO dba; CREATE ROLE reader LOGIN PASSWORD 'reader'",
        db.name
    ));
    let url = |user: &str| cluster.url(user, &db.name).replace('@', &format!(":{user}@"));
    db.command(&["init"])
        .env("DATABASE_URL", &url("dba"))
        .finish()
        .success();
    db.command(&["provision", "acme", "globex"])
        .env("DATABASE_URL", &url("dba"))
        .finish()
        .success();
    db.run(&["secure", "--all"]).success();
    for mode in [Mode::LogIn, Mode::AsRole] {
        let report = probe(&url("dba"), mode);
        assert_silent(&report);
        assert!(report.attempts > 500);
        assert_nothing_left(&db);
    }
    // An admin that can read the registry but makes no roles.
    db.sql("GRANT tenantctl_owner TO reader");
    for mode in [Mode::LogIn, Mode::AsRole] {
        let report = probe(&url("reader"), mode);
        assert!(report.findings.is_empty(), "{:#?}", report.findings);
        assert_eq!(report.attempts, 0);
        assert!(
            report.unknown.iter().all(|u| u.check == "probe_control"),
            "{:#?}",
            report.unknown
        );
        assert!(
            report.unknown.iter().any(|u| u.reason.contains("CREATEROLE")),
            "{:#?}",
            report.unknown
        );
    }
}

#[test]
fn killed_at_any_moment_it_leaves_nothing_usable_and_the_next_run_cleans_up() {
    let hardened = Hardened::with(&["acme", "globex", "initech"]);
    let db = &hardened.db;
    let fresh = "SELECT count(*) > 0 FROM pg_roles
        WHERE rolname LIKE 'tenantctl_probe%' AND rolvaliduntil > now() + interval '58 s'";
    let mut left = 0;
    for round in 0..20_u32 {
        let mut probe = db
            .command(&["validate", "--all", "--probe", "--check", "probe_read"])
            .command
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        // What the round before has left goes first, then the first of its own appears.
        wait_for("a temporary role", || {
            probe.try_wait().unwrap().is_some() || db.value(fresh) == "t"
        });
        // Moments spread by the golden ratio, so that they are even and in no order.
        std::thread::sleep(Duration::from_secs_f64((f64::from(round) * 0.618_034).fract()));
        probe.kill().unwrap();
        probe.wait().unwrap();
        let roles = db.sql(
            "SELECT rolname, rolcanlogin, rolpassword IS NULL, rolvaliduntil <= now() + interval '60 s'
             FROM pg_authid WHERE rolname LIKE 'tenantctl_probe%'",
        );
        left += roles.len();
        for role in &roles {
            assert!(role[1] == "f" && role[2] == "t" || role[3] == "t", "{role:?}");
        }
        // Nobody is in as one of them once the server has noticed.
        wait_for("the killed probe's sessions to end", || {
            db.value("SELECT count(*) FROM pg_stat_activity WHERE datname IS NOT NULL AND pid <> pg_backend_pid()")
                == "0"
        });
        if round % 10 == 9 {
            assert_silent(&hardened.probe(Mode::LogIn));
            assert_nothing_left(db);
        }
    }
    crate::support::loud(&format!("20 probes killed left {left} roles for the next"));
    assert!(left > 0, "no kill fell into the time of a temporary role");
    // What a probe that is running has made is not a leftover, nor is a role that only looks like one.
    let _running = hold(
        &db.url,
        "CREATE ROLE tenantctl_probe_0123456789ab; CREATE ROLE tenantctl_probe_cdef01234567 LOGIN VALID UNTIL 'infinity'; CREATE TEMPORARY TABLE t (x int)",
    );
    let pid = db.value("SELECT pid FROM pg_stat_activity WHERE query LIKE 'CREATE ROLE%' AND pid <> pg_backend_pid()");
    db.sql(&format!(
        "COMMENT ON ROLE tenantctl_probe_cdef01234567 IS 'tenantctl probe of backend {pid}'"
    ));
    assert_silent(&hardened.probe(Mode::LogIn));
    assert_eq!(
        db.value("SELECT count(*) FROM pg_roles WHERE rolname LIKE 'tenantctl_probe%'"),
        "2"
    );
    for tenant in &hardened.tenants {
        sql(&hardened.login(tenant), "SELECT count(*) FROM portfolios").unwrap();
    }
}

#[test]
fn many_tenants_form_a_ring_and_every_way_in_the_catalog_is_tried() {
    let ids: Vec<String> = (0..52).map(|i| format!("t{i:02}")).collect();
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    let cluster = start(&Options {
        settings: fast(),
        ..Options::default()
    });
    let db = Db::on(&cluster);
    db.run(&["init"]).success();
    let mut args = ids.clone();
    args.extend(["--tier", "basic"]);
    let tenants = db.provision(&args);
    db.run(&["secure", "--all"]).success();
    let report = probe(&db.url, Mode::AsRole);
    assert_silent(&report);
    assert_eq!((report.tenants, report.pairs), (52, 52));
    // Far from each other in the ring, and through a role of no tenant.
    let (attacker, victim) = (&tenants[5], &tenants[40]);
    db.sql(&format!(
        "CREATE ROLE analysts; GRANT analysts TO {1}; GRANT USAGE ON SCHEMA {0} TO analysts; GRANT SELECT ON {0}.trades TO analysts",
        victim.schema, attacker.role
    ));
    let found = |report: &ProbeReport| {
        report.findings.iter().any(|f| {
            f.check == "probe_read"
                && f.tenant_id.as_ref() == Some(&victim.id)
                && f.detail.contains(&format!("tenant {} can read it", attacker.id))
        })
    };
    let report = probe(&db.url, Mode::AsRole);
    assert_eq!(report.pairs, 53);
    assert!(found(&report), "{:#?}", report.findings);
    // One tenant alone, as a victim.
    let mut named = new(&db.url, Mode::LogIn);
    named.scope = Some(vec![victim.id.clone()]);
    let report = runtime()
        .block_on(run(&named, &Arc::new(Progress::default()), &Interrupt::never()))
        .unwrap();
    assert_eq!(report.pairs, 11);
    assert!(found(&report), "{:#?}", report.findings);
    assert!(report.unknown.is_empty(), "{:#?}", report.unknown);
    assert_nothing_left(&db);
}

#[test]
fn ctrl_c_ends_it_soon_and_cleanly() {
    let hardened = Hardened::with(&["acme", "globex", "initech", "umbrella"]);
    let db = &hardened.db;
    let child = db
        .command(&["-o", "json", "validate", "--all", "--probe", "--jobs", "1"])
        .command
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    wait_for("a temporary role", || {
        db.value("SELECT count(*) > 0 FROM pg_roles WHERE rolname LIKE 'tenantctl_probe%'") == "t"
    });
    std::process::Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status()
        .unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(
        output.status.code(),
        Some(130),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert_nothing_left(db);
}
