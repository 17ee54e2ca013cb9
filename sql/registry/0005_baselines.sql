-- What benchmarks measured, and which backups are damaged.

-- When a backup was found to be damaged; NULL: never, or it was found whole since. A damaged one counts as good for nothing.
ALTER TABLE tenantctl.backups ADD COLUMN damaged_at timestamptz;

-- What `bench` measured when somebody said that it was to be remembered: later runs and `validate --post-deploy` compare with it.
CREATE TABLE tenantctl.baselines (
    baseline_id uuid PRIMARY KEY DEFAULT pg_catalog.gen_random_uuid(),
    recorded_at timestamptz NOT NULL DEFAULT pg_catalog.now(),
    -- As `bench -o json` prints them.
    environment jsonb NOT NULL CHECK (pg_catalog.jsonb_typeof(environment) = 'object'),
    results jsonb NOT NULL CHECK (pg_catalog.jsonb_typeof(results) = 'array'),
    admin text NOT NULL DEFAULT session_user,
    tool_version text NOT NULL
);
CREATE INDEX baselines_recorded ON tenantctl.baselines (recorded_at DESC);

-- A tenant whose drop has begun: its role is locked out, and of its rows some may be gone already.
ALTER TABLE tenantctl.tenants DROP CONSTRAINT tenants_status_check;
ALTER TABLE tenantctl.tenants ADD CONSTRAINT tenants_status_check CHECK (status IN ('active', 'dropping'));
