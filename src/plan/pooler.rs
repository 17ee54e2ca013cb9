//! The lookup with which PgBouncer learns tenants' password verifiers, and the role that may call it.
//!
//! The function runs as a superuser, as only one may read `pg_authid`; so it is dropped and made again whenever it is not
//! exactly what it is to be, and nobody but the pooler's role may call it.

use std::time::Duration;

use super::{Plan, as_admin, as_owner, record_done};
use crate::pg::sql::Sql;
use crate::tenant::POOLER_ROLE;

/// The function's name, in the schema `tenantctl`.
pub const LOOKUP: &str = "pooler_lookup";

/// The function's body.
pub const LOOKUP_BODY: &str = include_str!("../../sql/pooler/lookup.sql");

/// What is there of role and lookup.
#[derive(Clone, Debug, Default)]
pub struct Observed {
    /// The database.
    pub database: String,
    /// Whether the session's login is a superuser.
    pub superuser: bool,
    /// The role exists.
    pub role_exists: bool,
    /// It may log in, and has no other attribute and no limit.
    pub plain: bool,
    /// Roles that it is a member of.
    pub member_of: Vec<String>,
    /// Members of it that are no superusers.
    pub members: Vec<String>,
    /// The databases for which it has settings; empty text: for all.
    pub settings: Vec<String>,
    /// It may connect to the database by a grant of its own.
    pub may_connect: bool,
    /// It has USAGE on the registry's schema.
    pub may_use_registry: bool,
    /// What it has rights on beyond that and the lookup, in words.
    pub beyond: Vec<String>,
    /// The databases that it may connect to by grants of its own.
    pub connects: Vec<String>,
    /// What it owns, in words.
    pub owns: Vec<String>,
    /// Roles that the default privileges of the session's login would let call what it makes.
    pub default_grantees: Vec<String>,
    /// The argument types of every function of the lookup's name.
    pub signatures: Vec<String>,
    /// The body of the one that takes a text.
    pub body: Option<String>,
    /// Whether that is of the right language, kind, volatility and result.
    pub shape: bool,
    /// Whether its search_path is pinned, and nothing else set.
    pub pinned: bool,
    /// Whether it belongs to a superuser.
    pub owner_is_super: bool,
    /// Whether nobody but owner and pooler may call it.
    pub closed: bool,
    /// Whether the pooler may.
    pub granted: bool,
}

impl Observed {
    /// What is wrong with the lookup, as a clause; none: it is as it is to be.
    pub fn broken_lookup(&self) -> Option<&'static str> {
        if self.signatures.is_empty() {
            Some("it does not exist")
        } else if self.signatures != ["text"] {
            Some("there are others of its name")
        } else if self.body.as_deref() != Some(LOOKUP_BODY) {
            Some("its body is another")
        } else if !self.owner_is_super {
            Some("it does not belong to a superuser")
        } else if !self.pinned {
            Some("its search_path is not pinned, or it has other settings")
        } else if !self.shape {
            Some("its language, result or attributes are others")
        } else if !self.closed {
            Some("others than the pooler may call it")
        } else {
            None
        }
    }
}

/// What differs from the standard; with `verifier` the role's password is set as well. Empty when nothing does.
pub fn plan(now: &Observed, verifier: Option<&str>, timeout: Duration, lock_timeout: Duration) -> Plan {
    let mut plan = Plan::new("set the pooler's lookup up", timeout, lock_timeout);
    let role = |sql: Sql| sql.ident(POOLER_ROLE);
    if !now.role_exists {
        plan.step(
            "create the pooler's role",
            role(Sql::new("CREATE ROLE ")).text(" LOGIN;"),
        );
    } else if !now.plain {
        let attributes = " LOGIN NOSUPERUSER NOCREATEROLE NOCREATEDB NOREPLICATION NOBYPASSRLS CONNECTION LIMIT -1 VALID UNTIL 'infinity';";
        plan.step(
            "let the role log in and nothing else",
            role(Sql::new("ALTER ROLE ")).text(attributes),
        );
    }
    for group in &now.member_of {
        let sql = role(Sql::new("REVOKE ").ident(group).text(" FROM ")).text(" CASCADE;");
        plan.step("take a membership away", sql);
    }
    for member in &now.members {
        let sql = role(Sql::new("REVOKE ")).text(" FROM ").ident(member).text(" CASCADE;");
        plan.step("put out whoever may become the role", sql);
    }
    for database in &now.settings {
        let sql = role(Sql::new("ALTER ROLE "));
        let sql = if database.is_empty() {
            sql
        } else {
            sql.text(" IN DATABASE ").ident(database)
        };
        plan.step("take its settings away", sql.text(" RESET ALL;"));
    }
    if let Some(verifier) = verifier {
        let sql = role(Sql::new("ALTER ROLE "))
            .text(" PASSWORD ")
            .secret(verifier)
            .text(";");
        plan.step("set the role's password", sql);
    }
    let stripped = !now.beyond.is_empty();
    if stripped {
        // This takes CONNECT on every database, which other registries' poolers need.
        let elsewhere = now.connects.iter().filter(|name| **name != now.database);
        let sql = elsewhere.fold(role(Sql::new("DROP OWNED BY ")).text(";"), |sql, database| {
            role(sql.text("\nGRANT CONNECT ON DATABASE ").ident(database).text(" TO ")).text(";")
        });
        plan.step("take away what it holds beyond the lookup", sql);
    }
    if !now.may_connect || stripped {
        let sql = Sql::new("GRANT CONNECT ON DATABASE ").ident(&now.database).text(" TO ");
        plan.step("let it connect", role(sql).text(";"));
    }
    if !now.may_use_registry || stripped {
        let sql = as_owner().text("\nGRANT USAGE ON SCHEMA tenantctl TO ");
        plan.step(
            "let it into the registry's schema",
            role(sql).text(";\n").append(as_admin()),
        );
    }
    let broken = now.broken_lookup().is_some();
    if broken {
        let mut sql = Sql::default();
        for arguments in &now.signatures {
            sql = sql.append(drop_function(arguments)).text("\n");
        }
        let sql = sql
            .text("CREATE FUNCTION ")
            .qualified("tenantctl", LOOKUP)
            .text("(wanted text) RETURNS TABLE (role_name text, verifier text)\nLANGUAGE sql STABLE STRICT SECURITY DEFINER ROWS 1\nSET search_path = pg_catalog, pg_temp\nAS $lookup$")
            .text(LOOKUP_BODY)
            .text("$lookup$;\nREVOKE ALL ON FUNCTION ")
            .qualified("tenantctl", LOOKUP)
            .text("(text) FROM PUBLIC");
        let sql = now
            .default_grantees
            .iter()
            .fold(sql, |sql, grantee| sql.text(", ").ident(grantee))
            .text(";");
        plan.step("make the lookup anew", sql);
    }
    if broken || stripped || !now.granted {
        let sql = Sql::new("GRANT EXECUTE ON FUNCTION ").qualified("tenantctl", LOOKUP);
        plan.step(
            "let the pooler call it, and nobody else",
            role(sql.text("(text) TO ")).text(";"),
        );
    }
    if !plan.is_empty() {
        plan.step(
            "record the operation",
            as_owner().text("\n").append(record_done("pgbouncer", None, timeout)),
        );
    }
    plan
}

/// Drops a function of the lookup's name by its argument types as the server printed them.
fn drop_function(arguments: &str) -> Sql {
    match crate::pg::sql::FunctionSignature::parse(&format!("{LOOKUP}({arguments})")) {
        Some(signature) => Sql::new("DROP ROUTINE ").function("tenantctl", &signature).text(";"),
        // A type whose name could leave the parentheses: then only one function may be left to drop by its name.
        None => Sql::new("DROP ROUTINE ").qualified("tenantctl", LOOKUP).text(";"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole() -> Observed {
        Observed {
            database: "shop".into(),
            superuser: true,
            role_exists: true,
            plain: true,
            may_connect: true,
            may_use_registry: true,
            connects: vec!["other".into(), "shop".into()],
            signatures: vec!["text".into()],
            body: Some(LOOKUP_BODY.into()),
            shape: true,
            pinned: true,
            owner_is_super: true,
            closed: true,
            granted: true,
            ..Observed::default()
        }
    }

    fn steps(now: &Observed, verifier: Option<&str>) -> String {
        plan(now, verifier, Duration::from_secs(1), Duration::from_secs(1)).to_string()
    }

    #[test]
    fn what_is_as_it_is_to_be_is_left_alone() {
        let second = Duration::from_secs(1);
        assert!(plan(&whole(), None, second, second).is_empty());
        let text = steps(&whole(), Some("SCRAM-SHA-256$hidden"));
        assert!(
            text.contains("PASSWORD NULL /* secret */") && !text.contains("hidden"),
            "{text}"
        );
        assert!(!text.contains("CREATE"), "{text}");
    }

    #[test]
    fn a_new_one_is_made_closed() {
        let text = steps(
            &Observed {
                database: "shop".into(),
                superuser: true,
                default_grantees: vec!["clerk".into()],
                ..Observed::default()
            },
            None,
        );
        for part in [
            "CREATE ROLE \"tenantctl_pooler\" LOGIN;",
            "GRANT CONNECT ON DATABASE \"shop\" TO \"tenantctl_pooler\";",
            "SET search_path = pg_catalog, pg_temp",
            "SECURITY DEFINER",
            "REVOKE ALL ON FUNCTION \"tenantctl\".\"pooler_lookup\"(text) FROM PUBLIC, \"clerk\";",
            "GRANT EXECUTE ON FUNCTION \"tenantctl\".\"pooler_lookup\"(text) TO \"tenantctl_pooler\";",
        ] {
            assert!(text.contains(part), "{part} not in {text}");
        }
        assert!(!text.contains("DROP"), "{text}");
    }

    #[test]
    fn a_tampered_one_is_dropped_and_made_again() {
        let broken: [fn(&mut Observed); 6] = [
            |o| o.body = Some("SELECT 1".into()),
            |o| o.pinned = false,
            |o| o.closed = false,
            |o| o.owner_is_super = false,
            |o| o.shape = false,
            |o| o.signatures = vec!["character varying".into(), "text".into()],
        ];
        for tamper in broken {
            let mut now = whole();
            tamper(&mut now);
            let text = steps(&now, None);
            assert!(
                text.contains("DROP ROUTINE \"tenantctl\".\"pooler_lookup\"(text);"),
                "{text}"
            );
            assert!(
                text.contains("CREATE FUNCTION") && text.contains("GRANT EXECUTE"),
                "{text}"
            );
        }
    }

    #[test]
    fn what_the_role_holds_beyond_is_taken_and_connect_elsewhere_given_back() {
        let now = Observed {
            beyond: vec!["table tenantctl.tenants".into()],
            member_of: vec!["pg_read_all_data".into()],
            settings: vec![String::new(), "shop".into()],
            ..whole()
        };
        let text = steps(&now, None);
        for part in [
            "DROP OWNED BY \"tenantctl_pooler\";\nGRANT CONNECT ON DATABASE \"other\" TO \"tenantctl_pooler\";",
            "GRANT CONNECT ON DATABASE \"shop\" TO \"tenantctl_pooler\";",
            "GRANT USAGE ON SCHEMA tenantctl TO \"tenantctl_pooler\";",
            "GRANT EXECUTE ON FUNCTION",
            "REVOKE \"pg_read_all_data\" FROM \"tenantctl_pooler\" CASCADE;",
            "ALTER ROLE \"tenantctl_pooler\" RESET ALL;",
            "ALTER ROLE \"tenantctl_pooler\" IN DATABASE \"shop\" RESET ALL;",
        ] {
            assert!(text.contains(part), "{part} not in {text}");
        }
    }
}
