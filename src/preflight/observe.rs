//! What the checks of the database judge, read once.

use std::collections::BTreeMap;

use super::machine::Memory;
use super::units::{self, Quantity};
use crate::catalog::foundation;
use crate::config::Date;
use crate::error::{Error, ErrorKind, Result};
use crate::pg::session::{Server, Session, column};
use crate::pg::sql::Sql;

/// A setting as a new session would have it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Setting {
    /// In the server's own form and unit.
    pub value: String,
    /// Its unit, such as `8kB`.
    pub unit: Option<String>,
    /// `bool`, `enum`, `integer`, `real` or `string`.
    pub vartype: String,
    /// `postmaster` where only a restart changes it.
    pub context: String,
    /// A changed value waits for a restart.
    pub pending_restart: bool,
    /// Where the value comes from.
    pub source: String,
    /// File and line, where the login may see that.
    pub place: Option<String>,
    /// It is set for this login or by its connection, and tells nothing of what others have.
    pub own: bool,
}

impl Setting {
    /// The value as a quantity; none where it is no number.
    pub fn quantity(&self) -> Option<Quantity> {
        units::parse(&self.value, self.unit.as_deref())
    }

    /// The value for people, with its unit.
    pub fn shown(&self) -> String {
        match self.quantity() {
            Some(quantity) if quantity.value() >= 0.0 && self.unit.is_some() => units::show(quantity),
            _ => self.value.clone(),
        }
    }
}

/// Whether there is a registry.
#[derive(Clone, Debug)]
pub enum Registry {
    /// None in this database.
    Absent,
    /// One that cannot be used, and why.
    Unusable(Error),
    /// One that can.
    Ready(Tenants),
}

/// The tenants in figures.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tenants {
    /// How many there are.
    pub count: u64,
    /// Their limits on connections, all together; those without one left out.
    pub connections: u64,
    /// The largest of these.
    pub most_connections: u64,
    /// Tenants without such a limit.
    pub unlimited: u64,
    /// Tenants without any hypertable.
    pub plain: u64,
}

/// What was observed.
#[derive(Clone, Debug)]
pub struct Observed {
    /// Server and login.
    pub server: Server,
    /// By name.
    pub settings: BTreeMap<String, Setting>,
    /// Whether the login sees all settings: some are hidden from those without `pg_read_all_settings`.
    pub sees_all_settings: bool,
    /// The cluster's own number, by which its replicas are known.
    pub system_identifier: String,
    /// The server's date, in UTC.
    pub today: Date,
    /// Names of the extensions in this database.
    pub extensions: Vec<String>,
    /// The version of timescaledb on the server's disk.
    pub timescaledb_available: Option<String>,
    /// The version in this database.
    pub timescaledb_installed: Option<String>,
    /// Whether pg_stat_statements is on the server's disk.
    pub statements_available: bool,
    /// CONNECTION LIMIT of this database; none if it has none.
    pub database_limit: Option<u64>,
    /// Tables of this database, chunks and partitions among them, the system's left out.
    pub tables: u64,
    /// The registry.
    pub registry: Registry,
    /// Memory of the machine, where it is known.
    pub memory: Option<Memory>,
}

impl Observed {
    /// Reads it.
    ///
    /// # Errors
    /// When the server refuses a query; an unusable registry is no error.
    pub async fn read(session: &Session, memory: Option<u64>) -> Result<Self> {
        let sql = Sql::new(include_str!("../../sql/preflight/settings.sql"));
        let rows = session.query(&sql, &[], "read the settings").await?;
        let mut settings = BTreeMap::new();
        for row in &rows {
            let setting = Setting {
                value: column::<Option<String>>(row, "value")?.unwrap_or_default(),
                unit: column(row, "unit")?,
                vartype: column(row, "vartype")?,
                context: column(row, "context")?,
                pending_restart: column(row, "pending_restart")?,
                source: column(row, "source")?,
                place: column(row, "place")?,
                own: column(row, "own")?,
            };
            settings.insert(column::<String>(row, "name")?, setting);
        }
        let sql = Sql::new(include_str!("../../sql/preflight/server.sql"));
        let row = session.query_one(&sql, &[], "look at the server").await?;
        let registry = if column::<bool>(&row, "has_registry")? {
            match foundation::require_registry(session).await {
                Ok(()) => Registry::Ready(tenants(session).await?),
                Err(error) => Registry::Unusable(error),
            }
        } else {
            Registry::Absent
        };
        Ok(Self {
            server: session.server().clone(),
            settings,
            sees_all_settings: column(&row, "sees_all_settings")?,
            system_identifier: column(&row, "system_identifier")?,
            today: Date::parse(column(&row, "today")?)
                .ok_or_else(|| Error::new(ErrorKind::Unknown, "the server's date cannot be read"))?,
            extensions: column::<Option<Vec<String>>>(&row, "extensions")?.unwrap_or_default(),
            timescaledb_available: column(&row, "timescaledb_available")?,
            timescaledb_installed: column(&row, "timescaledb_installed")?,
            statements_available: column(&row, "statements_available")?,
            database_limit: u64::try_from(column::<i32>(&row, "database_limit")?).ok(),
            tables: column::<i64>(&row, "tables")?.unsigned_abs(),
            registry,
            memory: match memory {
                Some(bytes) => Some(Memory::told(bytes)),
                None if column::<bool>(&row, "nearby")? => Memory::of_local_server(session),
                None => None,
            },
        })
    }

    /// A setting's value, empty where the server does not have it.
    pub fn value(&self, name: &str) -> &str {
        self.settings.get(name).map_or("", |setting| setting.value.as_str())
    }

    /// A setting that is a plain number; 0 where the server does not have it.
    pub fn number(&self, name: &str) -> u64 {
        self.value(name).parse().unwrap_or_default()
    }

    /// Whether a setting is `off`.
    pub fn is_off(&self, name: &str) -> bool {
        self.value(name) == "off"
    }

    /// Whether a library is preloaded. Where the list is hidden from the login, the library's own settings tell: those of the
    /// libraries asked for here are there only if it is.
    pub fn preloads(&self, library: &str) -> bool {
        if !self.sees_all_settings && !self.settings.contains_key("shared_preload_libraries") {
            let of_library = |name: &String| name.split_once('.').is_some_and(|(of, _)| of == library);
            return self.settings.keys().any(of_library);
        }
        let listed = |text: &str| {
            text.split(',')
                .any(|name| name.trim().trim_matches('"').rsplit('/').next() == Some(library))
        };
        listed(self.value("shared_preload_libraries"))
    }

    /// Whether an extension is in this database.
    pub fn has_extension(&self, name: &str) -> bool {
        self.extensions.iter().any(|known| known == name)
    }

    /// Why nothing is known of tenants although there may be some; none where it is known that there are none.
    pub fn unusable(&self) -> Option<&Error> {
        match &self.registry {
            Registry::Unusable(error) => Some(error),
            Registry::Ready(_) | Registry::Absent => None,
        }
    }

    /// The tenants, where the registry can be read.
    pub fn tenants(&self) -> Option<&Tenants> {
        match &self.registry {
            Registry::Ready(tenants) => Some(tenants),
            Registry::Absent | Registry::Unusable(_) => None,
        }
    }

    /// Connections that are not reserved for superusers and the like, or as many of them as the database lets in.
    pub fn usable_connections(&self) -> u64 {
        let all = self.unreserved_connections();
        self.database_limit.map_or(all, |limit| limit.min(all))
    }

    /// Connections of the whole server that are not reserved.
    pub fn unreserved_connections(&self) -> u64 {
        let reserved = self.number("superuser_reserved_connections") + self.number("reserved_connections");
        self.number("max_connections").saturating_sub(reserved)
    }

    /// Locks that the server's table surely holds, by the manual's formula.
    pub fn lock_capacity(&self) -> u64 {
        self.number("max_locks_per_transaction")
            * (self.number("max_connections") + self.number("max_prepared_transactions"))
    }
}

async fn tenants(session: &Session) -> Result<Tenants> {
    let sql = Sql::new(include_str!("../../sql/preflight/tenants.sql"));
    let row = session.query_one(&sql, &[], "count the tenants").await?;
    let number = |name: &str| -> Result<u64> { Ok(column::<i64>(&row, name)?.unsigned_abs()) };
    Ok(Tenants {
        count: number("tenants")?,
        connections: number("connections")?,
        most_connections: number("most_connections")?,
        unlimited: number("unlimited")?,
        plain: number("plain")?,
    })
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A server of version 15 with these settings, given as name, value, unit and type.
    pub fn observed(settings: &[(&str, &str, Option<&str>, &str)]) -> Observed {
        let setting = |(name, value, unit, vartype): &(&str, &str, Option<&str>, &str)| {
            let setting = Setting {
                value: (*value).to_owned(),
                unit: unit.map(str::to_owned),
                vartype: (*vartype).to_owned(),
                context: "postmaster".to_owned(),
                ..Setting::default()
            };
            ((*name).to_owned(), setting)
        };
        Observed {
            server: Server {
                version_num: 150_019,
                version: "15.19".into(),
                database: "d".into(),
                user: "u".into(),
                in_recovery: false,
                read_only: false,
                backend_pid: 1,
                started: "then".into(),
            },
            settings: settings.iter().map(setting).collect(),
            sees_all_settings: true,
            system_identifier: "1".into(),
            today: Date::parse("2026-11-27").expect("a day"),
            extensions: Vec::new(),
            timescaledb_available: None,
            timescaledb_installed: None,
            statements_available: false,
            database_limit: None,
            tables: 0,
            registry: Registry::Absent,
            memory: None,
        }
    }

    #[test]
    fn libraries_are_found_however_they_are_named() {
        for (list, there) in [
            ("timescaledb", true),
            ("pg_stat_statements, timescaledb", true),
            ("$libdir/timescaledb", true),
            ("\"timescaledb\"", true),
            ("timescaledb_x", false),
            ("", false),
        ] {
            let seen = observed(&[("shared_preload_libraries", list, None, "string")]);
            assert_eq!(seen.preloads("timescaledb"), there, "{list}");
        }
        // Hidden from a login without rights.
        let mut seen = observed(&[("timescaledb.max_background_workers", "16", None, "integer")]);
        assert!(!seen.preloads("timescaledb"));
        seen.sees_all_settings = false;
        assert!(seen.preloads("timescaledb") && !seen.preloads("pg_stat_statements"));
    }

    #[test]
    fn capacities_follow_the_manual() {
        let seen = observed(&[
            ("max_connections", "100", None, "integer"),
            ("max_prepared_transactions", "10", None, "integer"),
            ("max_locks_per_transaction", "64", None, "integer"),
            ("superuser_reserved_connections", "3", None, "integer"),
            ("reserved_connections", "5", None, "integer"),
        ]);
        assert_eq!((seen.lock_capacity(), seen.usable_connections()), (7040, 92));
    }
}
