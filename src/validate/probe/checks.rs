//! What the probe reports, by name.

/// Ids, titles and explanations of what the probe reports, for lists and `--explain`.
pub const CHECKS: &[(&str, &str, &str)] = &[
    (
        "probe_control",
        "the probe cannot act as a tenant",
        "Before it is attacked, each tenant must be able to use its own tables. Where it cannot, a broken login would look like perfect isolation, so what it was refused proves nothing.",
    ),
    (
        "probe_schema",
        "a tenant resolves names in another tenant's schema",
        "USAGE on a schema is the first line between tenants; without it no grant on an object inside is of use.",
    ),
    (
        "probe_read",
        "a tenant reads another tenant's table or view",
        "The tenant got past the server's check of privileges. Whether row security then still hides every row is said in the detail.",
    ),
    (
        "probe_write",
        "a tenant writes to another tenant's table or view",
        "The tenant got past the server's check for INSERT, UPDATE or DELETE.",
    ),
    (
        "probe_frozen",
        "a tenant writes although its writes are frozen",
        "It has reached the size of its tier: until metrics --enforce thaws it, it reads and deletes, and neither inserts nor updates.",
    ),
    (
        "probe_truncate",
        "a tenant may truncate a table",
        "TRUNCATE goes past row security and past row triggers.",
    ),
    (
        "probe_trigger",
        "a tenant may put triggers on a table",
        "A trigger runs as whoever writes to the table, such as the admin: with it a tenant takes over the database.",
    ),
    (
        "probe_references",
        "a tenant may reference a table by foreign keys",
        "A foreign key tells which keys exist, past row security, and keeps rows from being deleted.",
    ),
    (
        "probe_maintain",
        "a tenant may maintain a table",
        "MAINTAIN allows LOCK TABLE in the strongest mode, CLUSTER and REINDEX.",
    ),
    (
        "probe_lock",
        "a tenant locks another tenant's table",
        "A lock held in an open transaction stops the other tenant and the admin.",
    ),
    (
        "probe_sequence",
        "a tenant uses another tenant's sequence",
        "Values drawn or set there are not rolled back.",
    ),
    (
        "probe_function",
        "a tenant may execute a function it should not",
        "Functions of other tenants, and trigger functions, are nobody else's to call.",
    ),
    (
        "probe_type",
        "a tenant may use another tenant's type",
        "A dependency on a type keeps its owner from changing it.",
    ),
    (
        "probe_create",
        "a tenant creates objects in a schema",
        "Objects in a schema are met by whoever resolves names there; code in them runs as that role.",
    ),
    (
        "probe_ownership",
        "a tenant acts as the owner of an object",
        "Owners switch off row security, policies and triggers, and grant rights.",
    ),
    (
        "probe_grant",
        "a tenant grants rights on an object",
        "A grant option lets one mistake spread.",
    ),
    (
        "probe_role",
        "a tenant becomes or changes a role",
        "With another role come all its rights, in every database of the cluster.",
    ),
    (
        "probe_audit",
        "a tenant changes its own audit trail or usage counters",
        "Tenants may read them; who can change them can hide what it did or exceed its limits.",
    ),
    (
        "probe_database",
        "a tenant changes the database or the cluster",
        "CREATE on the database and what superusers do is nothing for tenants.",
    ),
    (
        "probe_other_database",
        "a tenant connects to another database of the cluster",
        "Roles are shared by all databases of the cluster; what PUBLIC may do there, tenants may too.",
    ),
    (
        "probe_temp",
        "a tenant makes temporary tables",
        "Temporary objects shadow names and use disk without limit.",
    ),
    (
        "probe_language",
        "a tenant uses a procedural language",
        "Blocks of code and functions make attacks easy that plain SQL makes hard.",
    ),
    (
        "probe_builtin",
        "a tenant calls built-in functions that reach beyond it",
        "Advisory locks and notifications are shared by all tenants of a database, large objects outlast a schema, size functions wait on locks.",
    ),
    (
        "probe_statistics",
        "a tenant reads statistics of other tenants' tables",
        "Row counts and activity of others are visible there.",
    ),
    (
        "probe_parameter",
        "a tenant sets a parameter that only superusers may",
        "Such parameters switch off triggers, logging or limits.",
    ),
    (
        "probe_signal",
        "a tenant cancels or ends other logins' sessions",
        "It could keep everybody else from working.",
    ),
    (
        "probe_catalog",
        "a tenant reads protected catalogs",
        "They hold password verifiers, values of columns, and the server's configuration.",
    ),
    (
        "probe_file",
        "a tenant reaches the server's files or programs",
        "That is the server's operating system user, and with it every database.",
    ),
    (
        "probe_registry",
        "a tenant reaches tenantctl's registry",
        "It holds every tenant's name, limits and stored credentials.",
    ),
    (
        "probe_activity",
        "a tenant reads what other logins run",
        "Statements hold data.",
    ),
    (
        "probe_large_object",
        "a tenant reaches a large object",
        "Large objects belong to no schema; only their own grants protect them.",
    ),
    (
        "probe_leftover",
        "a temporary login of a killed probe cannot be dropped",
        "It can no longer log in, but it still holds a tenant's role.",
    ),
];
