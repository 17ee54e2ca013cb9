//! The service file: named sets of parameters.

use std::fs;
use std::path::{Path, PathBuf};

use super::given::{Given, Origin};
use super::parameters::{Pair, param};
use crate::error::{Error, ErrorKind, Result};

/// Where the distributions' libpq looks for the system-wide service file.
const SYSTEM_SERVICE_DIRS: [&str; 2] = ["/etc/postgresql-common", "/etc/sysconfig/pgsql"];

/// Adds what the service file holds for the service, if one is named.
pub(super) fn add(given: &mut Given, env: &dyn Fn(&str) -> Option<String>, home: Option<&Path>) -> Result<()> {
    let (service, kind) = match (given.value("service"), env("PGSERVICE")) {
        (Some(service), _) => (service.to_owned(), ErrorKind::Usage),
        (None, Some(service)) => (service, ErrorKind::Config),
        (None, None) => return Ok(()),
    };
    if service.is_empty() {
        return Ok(());
    }
    let named = given
        .path("servicefile")
        .or_else(|| env("PGSERVICEFILE").map(PathBuf::from));
    let mut files: Vec<PathBuf> = match &named {
        Some(file) if !file.exists() => {
            return Err(Error::config(format!("service file {file:?} not found"))
                .with_hint("Correct PGSERVICEFILE, or unset it to use ~/.pg_service.conf."));
        }
        Some(file) => vec![file.clone()],
        None => home.map(|home| home.join(".pg_service.conf")).into_iter().collect(),
    };
    match env("PGSYSCONFDIR") {
        Some(dir) => files.push(PathBuf::from(dir).join("pg_service.conf")),
        None => files.extend(SYSTEM_SERVICE_DIRS.map(|dir| Path::new(dir).join("pg_service.conf"))),
    }
    for file in files.into_iter().filter(|file| file.exists()) {
        let text = fs::read(&file).map_err(|error| {
            Error::config(format!("cannot read service file {file:?}"))
                .with_cause(error)
                .with_hint("Make it readable for this user, or name another with PGSERVICEFILE.")
        })?;
        if let Some(pairs) = service_section(&String::from_utf8_lossy(&text), &service, &file)? {
            for ((param, value), line) in pairs {
                // The string wins over the file, and the first line of the file over the next.
                let file = file.clone();
                given.add(param, value, Origin::Service { file, line });
            }
            return Ok(());
        }
    }
    Err(Error::new(kind, format!("definition of service {service:?} not found"))
        .with_hint("Write it to ~/.pg_service.conf as a section of that name, or name the file with PGSERVICEFILE."))
}

/// The parameters of one section of a service file with their lines, if it has that section.
fn service_section(text: &str, service: &str, file: &Path) -> Result<Option<Vec<(Pair, usize)>>> {
    let at = |line: usize| format!("line {line} of service file {file:?}");
    let mut section = None;
    for (line, content) in (1..).zip(text.lines().map(str::trim)) {
        if content.is_empty() || content.starts_with('#') {
            continue;
        }
        if let Some(name) = content.strip_prefix('[') {
            if section.is_some() {
                break;
            }
            if name.strip_prefix(service).is_some_and(|rest| rest.starts_with(']')) {
                section = Some(Vec::new());
            }
            continue;
        }
        let Some(pairs) = &mut section else { continue };
        let Some((key, value)) = content.split_once('=') else {
            return Err(Error::config(format!("missing \"=\" in {}", at(line)))
                .with_hint("Each line is key=value; lookups in LDAP are not supported."));
        };
        if key.ends_with(char::is_whitespace) {
            return Err(Error::config(format!("space before \"=\" in {}", at(line)))
                .with_hint("Service files take no spaces around the equals sign."));
        }
        if key == "service" || key == "servicefile" {
            return Err(Error::config(format!("nested service in {}", at(line)))
                .with_hint("Copy the other section's lines instead."));
        }
        let param = param(key, true).map_err(|error| error.with_kind(ErrorKind::Config).with_cause(at(line)))?;
        pairs.push(((param, value.to_owned()), line));
    }
    Ok(section)
}

#[cfg(test)]
mod tests {
    use crate::error::ErrorKind;
    use crate::pg::conninfo::SslMode;
    use crate::pg::conninfo::tests::{Dir, password, resolve, short};

    #[test]
    fn services_stand_between_string_and_environment() {
        let dir = Dir::new();
        let text = "# servers\n[other]\nhost=wrong\n\n  [prod]  \n  host=sh  \n#port=9\nport=7\nport=8\nuser=su\n\
            password=p=q\nsslmode=require\napplication_name=a b\n[next]\nhost=wrong\n";
        let file = dir.file(".pg_service.conf", text, 0o644);
        let home = ("HOME", dir.path());
        let env = [home, ("PGHOST", "eh"), ("PGDATABASE", "ed"), ("PGSSLMODE", "disable")];
        for (text, extra) in [
            ("service=prod", ("", "")),
            ("", ("PGSERVICE", "prod")),
            ("postgres://?service=prod", ("PGSERVICE", "other")),
        ] {
            let info = resolve(text, &[env.as_slice(), &[extra]].concat()).unwrap();
            assert_eq!(short(&info), "su@sh:7/ed", "{text:?}");
            assert_eq!(
                (password(&info, 0).as_deref(), info.sslmode),
                (Some("p=q"), SslMode::Require)
            );
            assert_eq!(info.application_name.as_deref(), Some("a b"));
        }
        assert_eq!(
            short(&resolve("service=prod host=x port=1", &env).unwrap()),
            "su@x:1/ed"
        );
        let named = [("PGSERVICEFILE", file.as_str()), ("PGUSER", "u")];
        assert_eq!(short(&resolve("service=other", &named).unwrap()), "u@wrong:5432/u");
        let text = format!("service=other servicefile={file} user=u");
        assert_eq!(short(&resolve(&text, &[]).unwrap()), "u@wrong:5432/u");
        // The system's file
        dir.file("pg_service.conf", "[sys]\nhost=sys\n", 0o644);
        let info = resolve("service=sys user=u", &[home, ("PGSYSCONFDIR", dir.path())]).unwrap();
        assert_eq!(short(&info), "u@sys:5432/u");
    }

    #[test]
    fn wrong_services_are_refused() {
        let dir = Dir::new();
        for (text, message) in [
            ("[s]\nhost\n", "missing \"=\" in line 2"),
            ("[s]\nldap://host/x\n", "missing \"=\" in line 2"),
            ("[s]\nservice=t\n", "nested service in line 2"),
            ("[s]\nhots=x\n", "unknown connection parameter \"hots\""),
            ("[s]\nhost = x\n", "space before \"=\" in line 2"),
            ("[s]\n\nport=x\n", "port in line 3 of service file"),
            ("[s]\nrequire_auth=md5\n", "require_auth in line 2 of service file"),
            ("[t]\nhost=x\n", "definition of service \"s\" not found"),
        ] {
            let file = dir.file("services", text, 0o644);
            let env = [
                ("PGSERVICEFILE", file.as_str()),
                ("PGSERVICE", "s"),
                ("PGSYSCONFDIR", "/nonexistent"),
            ];
            let error = resolve("user=u", &env).unwrap_err();
            assert!(error.message().contains(message), "{text:?}: {error}");
            assert_eq!(error.kind(), ErrorKind::Config, "{text:?}");
            assert!(error.hint().is_some(), "{text:?}");
        }
        let error = resolve("service=s", &[("PGSERVICEFILE", "/nonexistent/f")]).unwrap_err();
        assert_eq!(error.message(), "service file \"/nonexistent/f\" not found");
        let error = resolve("service=s", &[("PGSYSCONFDIR", "/nonexistent")]).unwrap_err();
        assert_eq!(
            (error.message(), error.kind()),
            ("definition of service \"s\" not found", ErrorKind::Usage)
        );
    }
}
