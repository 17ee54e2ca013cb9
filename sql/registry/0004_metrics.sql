-- What metrics act on: tenants whose writes are frozen, and the alerts that have been raised.

-- Since when the tenant's role may neither insert nor update, because its schema has reached its size; NULL: it may.
ALTER TABLE tenantctl.tenants ADD COLUMN writes_frozen_at timestamptz;

-- One row an alert that fires or has fired: it says what was told of it, so that nothing is told twice and every end is.
-- Rows outlive their tenants, whose alerts then end; ended ones go after some days.
CREATE TABLE tenantctl.alerts (
    -- Type, tenant and object, so that a later run knows the same alert again.
    alert_key text COLLATE "C" PRIMARY KEY,
    alert_type text NOT NULL,
    tenant_id text COLLATE "C",
    -- What of the tenant or of the database, where there may be several: the type of a backup, the name of a standby.
    object text,
    severity text NOT NULL CHECK (severity IN ('warning', 'critical')),
    message text NOT NULL,
    -- What was measured, and the limit that it is held against.
    value double precision,
    threshold double precision,
    -- Since when it fires, without a break; a new value begins a new story of the same alert.
    fired_at timestamptz NOT NULL,
    -- The last measurement that found it, or could not say whether it has ended. An older one changes nothing any more.
    seen_at timestamptz NOT NULL,
    resolved_at timestamptz,
    -- The last delivery that the receiver has accepted, and what it said; NULL: none yet.
    notified_at timestamptz,
    notified_severity text,
    -- The measurement from which on the receiver may know of it, though it has not said so: its answer was lost, or the run
    -- was killed. NULL: it was never sent, or refused.
    offered_at timestamptz,
    resolution_notified_at timestamptz
);
CREATE INDEX alerts_tenant ON tenantctl.alerts (tenant_id);

-- Whoever writes alerts down holds the row 'ledger' for a moment; whoever posts them holds 'delivery' until that is noted,
-- so that of two runs at once the second finds what the first has told. A killed run lets go with its session.
CREATE TABLE tenantctl.alert_locks (
    lock text COLLATE "C" PRIMARY KEY CHECK (lock IN ('ledger', 'delivery'))
);
INSERT INTO tenantctl.alert_locks VALUES ('ledger'), ('delivery');
