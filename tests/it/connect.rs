//! Each way a connection can fail has its own message, hint and exit code; TLS means what libpq means.

use std::path::Path;

use tenantctl::cluster::{Cluster, Options};

use crate::support::{Cmd, Db, fast, free_port, sql, start, unique};

fn run(url: &str) -> crate::support::Run {
    Cmd::new(&["list"]).env("DATABASE_URL", url).finish()
}

#[test]
fn each_refusal_has_its_own_words() {
    let db = Db::initialized();
    let made = db.provision(&["acme"]).remove(0);
    let with = |password: &str| db.url_as(&made.role).replace('@', &format!("{password}@"));
    run(&with(":wrong"))
        .exits(3)
        .says(&["refused the password", &made.role, "PGPASSWORD", "28P01"]);
    run(&with("")).exits(3).says(&["asks for a password", "PGPASSWORD"]);
    run(&db.url_as("nobody_of_that_name").replace('@', ":x@"))
        .exits(3)
        .says(&["nobody_of_that_name"]);
    run(&db.url.replace(&db.name, "no_such_database"))
        .exits(3)
        .says(&["database \"no_such_database\" does not exist", "createdb"]);
    run("postgresql://postgres@127.0.0.1:1/x")
        .exits(3)
        .says(&["cannot connect to", "No server listens there"]);
    run("postgresql://postgres@/x?host=/no/such/folder")
        .exits(3)
        .says(&["cannot connect to", "hint:"]);
    run("postgresql://postgres@no-such-host.invalid/x")
        .exits(3)
        .says(&["cannot connect to", "no-such-host.invalid"]);
    run("postgresql://x/y?sslmode=verfy-full")
        .exits(2)
        .says(&["verify-full"]);
    run("host=x sslmod=require").exits(2).says(&["sslmode"]);
    run("postgresql://x:notaport/y").exits(2);
    // A role that may log in but not into this database.
    let role = unique("outsider");
    db.sql(&format!(
        "CREATE ROLE {role} LOGIN PASSWORD 'pw'; REVOKE CONNECT ON DATABASE {} FROM PUBLIC",
        db.name
    ));
    run(&db.url_as(&role).replace('@', ":pw@"))
        .exits(3)
        .says(&["no CONNECT privilege", "42501"]);
    // No password in any message, whatever goes wrong.
    let secret = "s3cr3t-of-the-test";
    for url in [
        format!("postgresql://postgres:{secret}@127.0.0.1:1/x"),
        format!("postgresql://postgres:{secret}@127.0.0.1:1/x?bogus=1"),
        format!("host=127.0.0.1 port=1 password={secret} bogus=1"),
        with(&format!(":{secret}")),
    ] {
        let run = Cmd::new(&["-vv", "list"]).env("DATABASE_URL", &url).finish();
        assert_ne!(run.0.status.code(), Some(0));
        assert!(!run.stderr().contains(secret), "{}", run.stderr());
    }
}

#[test]
fn a_connection_limit_is_said_as_such() {
    let db = Db::initialized();
    let role = unique("limited");
    db.sql(&format!("CREATE ROLE {role} LOGIN PASSWORD 'pw' CONNECTION LIMIT 0"));
    run(&db.url_as(&role).replace('@', ":pw@"))
        .exits(3)
        .says(&["no connection left", "53300"]);
}

#[test]
fn a_standby_refuses_writes_and_serves_reads() {
    let primary = start(&Options {
        settings: fast(),
        ..Options::default()
    });
    let db = Db::on(&primary);
    db.run(&["init"]).success();
    db.provision(&["acme"]);
    let standby = primary.standby().unwrap();
    let url = standby.url(Cluster::SUPERUSER, &db.name);
    for args in [&["init"][..], &["provision", "new"], &["drop", "acme", "--yes"]] {
        Cmd::new(args).env("DATABASE_URL", &url).finish().exits(4).says(&[
            "does not accept writes",
            "a standby",
            "primary",
        ]);
    }
    crate::support::wait_for("the standby to have the tenant", || {
        let run = Cmd::new(&["-o", "json", "list"]).env("DATABASE_URL", &url).finish();
        run.0.status.success() && run.json()["tenants"][0]["tenant_id"] == "acme"
    });
    Cmd::new(&["show", "acme"]).env("DATABASE_URL", &url).finish().success();
    // The proof holds there too, and says the same.
    let [here, there] = [&db.url, &url].map(|url| {
        let run = Cmd::new(&["validate", "--all", "-o", "json"])
            .env("DATABASE_URL", url)
            .finish();
        let report = run.json();
        ["tenants_checked", "checks_run", "findings", "unknown"].map(|key| report[key].clone())
    });
    assert_eq!(here, there);
    // Two hosts and target_session_attrs: the primary is found behind the standby.
    let both = format!(
        "host={},{} user=postgres dbname={} sslmode=disable target_session_attrs=read-write",
        standby.dir().display(),
        primary.dir().display(),
        db.name
    );
    Cmd::new(&["provision", "found"])
        .env("DATABASE_URL", &both)
        .finish()
        .success();
    let none = format!(
        "host={} user=postgres dbname={} sslmode=disable target_session_attrs=primary",
        standby.dir().display(),
        db.name
    );
    run(&none).exits(3).says(&["target_session_attrs=primary", "a standby"]);
    // A read-only session on a primary is no place to write either.
    let read_only = unique("ro");
    db.sql(&format!(
        "CREATE ROLE {read_only} LOGIN SUPERUSER; ALTER ROLE {read_only} SET default_transaction_read_only = on"
    ));
    let hba = primary.data().join("pg_hba.conf");
    let old = std::fs::read_to_string(hba).unwrap();
    primary
        .write("pg_hba.conf", &format!("local all {read_only} trust\n{old}"))
        .unwrap();
    db.sql("SELECT pg_reload_conf()");
    let url = primary.url(&read_only, &db.name);
    crate::support::wait_for("the new rule", || sql(&url, "SELECT 1").is_ok());
    Cmd::new(&["provision", "new"])
        .env("DATABASE_URL", &url)
        .finish()
        .exits(4)
        .says(&["read-only"]);
}

#[test]
fn libpq_variables_and_pgpass_are_understood() {
    use std::os::unix::fs::PermissionsExt;
    let own = start(&Options {
        settings: fast(),
        hba: Some("local all postgres trust\nlocal all all scram-sha-256\n".into()),
        ..Options::default()
    });
    let db = Db::on(&own);
    db.run(&["init"]).success();
    let role = unique("dba");
    db.sql(&format!("CREATE ROLE {role} LOGIN SUPERUSER PASSWORD 'a:b\\c'"));
    let dir = own.dir().display().to_string();
    let home = db.dir.join("home");
    std::fs::create_dir(&home).unwrap();
    let pgpass = home.join(".pgpass");
    std::fs::write(
        &pgpass,
        format!("# comment\n*:*:other:*:wrong\n*:5432:{}:{role}:a\\:b\\\\c\n", db.name),
    )
    .unwrap();
    let cmd = || {
        Cmd::new(&["list"])
            .env("PGHOST", &dir)
            .env("PGPORT", "5432")
            .env("PGUSER", &role)
            .env("PGDATABASE", &db.name)
            .env("HOME", home.to_str().unwrap())
    };
    std::fs::set_permissions(&pgpass, std::fs::Permissions::from_mode(0o600)).unwrap();
    cmd().finish().success();
    cmd()
        .env("PGPASSWORD", "wrong")
        .finish()
        .exits(3)
        .says(&["refused the password"]);
    cmd()
        .env("PGPASSWORD", "a:b\\c")
        .env("PGPASSFILE", "/dev/null")
        .finish()
        .success();
    // The string wins over the variables; a bare word is a database.
    cmd()
        .env("DATABASE_URL", "no_such_database")
        .env("PGPASSWORD", "a:b\\c")
        .finish()
        .exits(3)
        .says(&["no_such_database"]);
    std::fs::set_permissions(&pgpass, std::fs::Permissions::from_mode(0o644)).unwrap();
    cmd().finish().exits(3).says(&["warning:", ".pgpass"]);
}

/// A server with TLS, its certificate signed by a test authority for the name `localhost`.
fn tls_server() -> (Cluster, Db, u16) {
    let port = free_port();
    let own = start(&Options {
        settings: fast(),
        hba: Some("local all postgres trust\nhostssl all all 127.0.0.1/32 scram-sha-256\nhostssl all all ::1/128 scram-sha-256\n".into()),
        tcp_port: Some(port),
    });
    let db = Db::on(&own);
    let mut ca = rcgen::CertificateParams::new(Vec::new()).unwrap();
    ca.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    ca.distinguished_name.push(rcgen::DnType::CommonName, "test authority");
    let ca_key = rcgen::KeyPair::generate().unwrap();
    let ca_cert = ca.self_signed(&ca_key).unwrap();
    let issuer = rcgen::Issuer::new(ca, ca_key);
    let key = rcgen::KeyPair::generate().unwrap();
    let cert = rcgen::CertificateParams::new(vec!["localhost".to_owned()])
        .unwrap()
        .signed_by(&key, &issuer)
        .unwrap();
    own.write("server.crt", &cert.pem()).unwrap();
    own.write("server.key", &key.serialize_pem()).unwrap();
    std::fs::write(db.dir.join("ca.crt"), ca_cert.pem()).unwrap();
    let other = rcgen::CertificateParams::new(Vec::new())
        .unwrap()
        .self_signed(&rcgen::KeyPair::generate().unwrap())
        .unwrap();
    std::fs::write(db.dir.join("other.crt"), other.pem()).unwrap();
    db.sql("ALTER SYSTEM SET ssl = on");
    db.sql("CREATE ROLE dba LOGIN SUPERUSER PASSWORD 'pw'");
    db.sql("SELECT pg_reload_conf()");
    crate::support::wait_for("TLS", || db.value("SHOW ssl") == "on");
    (own, db, port)
}

#[test]
fn sslmode_means_what_libpq_means() {
    let (_own, db, port) = tls_server();
    db.run(&["init"]).success();
    let file = |name: &str| Path::new(&db.dir).join(name).display().to_string();
    let (ca, other) = (file("ca.crt"), file("other.crt"));
    let try_url = |host: &str, rest: &str| {
        Cmd::new(&["list"])
            .env(
                "DATABASE_URL",
                &format!("postgresql://dba:pw@{host}:{port}/{}?{rest}", db.name),
            )
            .finish()
    };
    try_url("127.0.0.1", "sslmode=require").success();
    try_url("127.0.0.1", "sslmode=prefer").success();
    try_url("127.0.0.1", "").success();
    try_url("127.0.0.1", "sslmode=disable")
        .exits(3)
        .says(&["does not let \"dba\" log in", "pg_hba.conf"]);
    try_url("localhost", &format!("sslmode=verify-full&sslrootcert={ca}")).success();
    try_url("127.0.0.1", &format!("sslmode=verify-ca&sslrootcert={ca}")).success();
    // The certificate is for localhost, not for the address.
    try_url("127.0.0.1", &format!("sslmode=verify-full&sslrootcert={ca}"))
        .exits(3)
        .says(&["cannot connect", "certificate"]);
    for mode in ["verify-ca", "verify-full", "require"] {
        try_url("localhost", &format!("sslmode={mode}&sslrootcert={other}"))
            .exits(3)
            .says(&["cannot connect", "certificate"]);
    }
    try_url("localhost", "sslmode=verify-full").exits(2).says(&["root"]);
    try_url("localhost", "sslmode=verify-full&sslrootcert=/no/such/file")
        .exits(2)
        .says(&["/no/such/file"]);
    // A server without TLS is refused by whoever asks for it.
    let plain = free_port();
    let without = start(&Options {
        settings: fast(),
        tcp_port: Some(plain),
        ..Options::default()
    });
    run(&format!(
        "postgresql://postgres:x@127.0.0.1:{plain}/postgres?sslmode=require"
    ))
    .exits(3)
    .says(&["TLS"]);
    drop(without);
}
