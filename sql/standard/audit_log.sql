-- What changed in the tenant's audited tables. Replayed as tenantctl_owner with the tenant's schema as search path; the
-- tenant gets SELECT.

CREATE TABLE audit_log (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    transaction xid8 NOT NULL DEFAULT pg_catalog.pg_current_xact_id(),
    operation text NOT NULL CHECK (operation IN ('INSERT', 'UPDATE', 'DELETE', 'TRUNCATE')),
    table_name text NOT NULL,
    old_row jsonb,
    new_row jsonb,
    role_name name NOT NULL DEFAULT session_user,
    application_name text NOT NULL DEFAULT pg_catalog.current_setting('application_name'),
    client_address inet DEFAULT pg_catalog.inet_client_addr()
);
-- Rows come in the order of their time, so that a few pages of index serve for finding and for pruning by age.
CREATE INDEX audit_log_at ON audit_log USING brin (at);
