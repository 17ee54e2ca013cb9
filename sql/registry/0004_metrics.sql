-- What metrics act on: tenants whose writes are frozen, and the alerts that have been raised.

-- Since when the tenant's role may neither insert nor update, because its schema has reached its size; NULL: it may.
ALTER TABLE tenantctl.tenants ADD COLUMN writes_frozen_at timestamptz;

-- One row an alert that fires or has fired: it says what was told to whom, so that nothing is told twice and every end is.
CREATE TABLE tenantctl.alerts (
    -- Type, tenant and object, so that a later run knows the same alert again.
    alert_key text COLLATE "C" PRIMARY KEY,
    alert_type text NOT NULL,
    tenant_id text COLLATE "C",
    severity text NOT NULL CHECK (severity IN ('warning', 'critical')),
    message text NOT NULL,
    -- What was measured, and the limit that it is held against.
    value double precision,
    threshold double precision,
    fired_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    seen_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    resolved_at timestamptz,
    -- The last delivery that the receiver has accepted, and what it said; NULL: none yet.
    notified_at timestamptz,
    notified_severity text,
    resolution_notified_at timestamptz
);
CREATE INDEX alerts_tenant ON tenantctl.alerts (tenant_id);
CREATE INDEX alerts_firing ON tenantctl.alerts (alert_type) WHERE resolved_at IS NULL;
