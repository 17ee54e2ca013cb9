-- What the tenant's limits are held against: how many rows there are, by limit and scope. Replayed as audit_log is.

-- Half of each page is free: counting updates a row in place.
CREATE TABLE tenant_usage (
    resource text NOT NULL,
    scope text NOT NULL,
    used bigint NOT NULL,
    PRIMARY KEY (resource, scope)
) WITH (fillfactor = 50);
