//! The tenant's login role: attributes, settings, memberships.

use super::{Change, Membership, Observed, Wanted};
use crate::pg::sql::Sql;
use crate::tenant::TENANTS_ROLE;

/// The steps that bring the login role to the standard, as the admin; empty when it is so already or not there.
pub fn role_changes(wanted: &Wanted<'_>, now: &Observed) -> Vec<Change> {
    let Some(role) = &now.role else { return Vec::new() };
    let mut changes: Vec<Change> = Vec::new();
    let alter = || Sql::new("ALTER ROLE ").ident(wanted.role);
    if !role.surplus.is_empty() {
        let sql = role.surplus.iter().fold(alter(), |sql, a| sql.text(a.taken_back()));
        changes.push(("take attributes from the role".into(), sql.text(";")));
    }
    let limit = wanted.limits.max_connections.max().map_or(-1, i128::from);
    if i128::from(role.connection_limit) != limit {
        let what = format!("set the connection limit from {} to {limit}", role.connection_limit);
        changes.push((what.into(), alter().text(" CONNECTION LIMIT ").int(limit).text(";")));
    }
    let path = format!("search_path={}", wanted.schema);
    if !role.settings.iter().map(|s| s.replace('"', "")).eq([path]) {
        let sql = alter()
            .text(" RESET ALL;\n")
            .append(search_path(wanted.schema, wanted.role));
        changes.push(("let the role's settings be its search path alone".into(), sql));
    }
    for database in &role.databases_with_settings {
        let sql = alter().text(" IN DATABASE ").ident(database).text(" RESET ALL;");
        changes.push((format!("remove the role's settings in database {database}").into(), sql));
    }
    let plain = |m: &Membership| m.role == TENANTS_ROLE && !m.admin && m.inherit && (wanted.major < 16 || !m.set);
    let mut sql = Sql::default();
    for membership in role.member_of.iter().filter(|m| !plain(m)) {
        sql = sql
            .text("REVOKE ")
            .ident(&membership.role)
            .text(" FROM ")
            .ident(wanted.role);
        if wanted.major >= 16 {
            sql = sql.text(" GRANTED BY ").ident(&membership.grantor);
        }
        sql = sql.text(
            " CASCADE;
",
        );
    }
    if !role.member_of.iter().any(plain) {
        sql = sql.append(join_group(wanted.role, wanted.major));
    }
    for member in &role.members {
        sql = sql
            .text("REVOKE ")
            .ident(wanted.role)
            .text(" FROM ")
            .ident(member)
            .text(" CASCADE;\n");
    }
    if !sql.is_empty() {
        changes.push((
            "leave the role in the group of all tenants only, and nobody in it".into(),
            sql,
        ));
    }
    changes
}

/// The group lets tenants connect. Where the server has it, a tenant may not become the group, so that nothing can
/// pass from one to another in its name.
pub fn join_group(role: &str, major: i32) -> Sql {
    let sql = Sql::new("GRANT ").ident(TENANTS_ROLE).text(" TO ").ident(role);
    if major >= 16 {
        sql.text(" WITH INHERIT TRUE, SET FALSE;\n")
    } else {
        sql.text(";\n")
    }
}

/// Names resolve in the tenant's own schema.
pub fn search_path(schema: &str, role: &str) -> Sql {
    Sql::new("ALTER ROLE ")
        .ident(role)
        .text(" SET search_path = ")
        .ident(schema)
        .text(";")
}
