-- Backups and restores: what lies in which store, what a restore has put in the place of what.

-- An expression that was printed, read again and printed is not always the same text: of x IN ('a', 'b') over a varchar the
-- casts move. A tenant that was restored from a dump has this form; NULL: it is the same, or was never looked at.
ALTER TABLE tenantctl.template_objects ADD COLUMN expression_reread text;

-- A row that a backup or restore of the tenant locks for as long as it runs: one at a time. A killed client lets go of
-- it with its session. Rows outlive their tenants, as their backups do.
CREATE TABLE tenantctl.tenant_locks (
    tenant_id text COLLATE "C" PRIMARY KEY
);

CREATE TABLE tenantctl.backups (
    backup_id text COLLATE "C" PRIMARY KEY,
    tenant_id text COLLATE "C" NOT NULL,
    schema_name text COLLATE "C" NOT NULL,
    backup_type text NOT NULL,
    -- The store's URL without credentials, and the folder or prefix of the backup in it.
    store text NOT NULL,
    key text NOT NULL,
    -- 'running' with nobody holding the tenant's lock is a backup that died; the next one clears up after it.
    status text NOT NULL CHECK (status IN ('running', 'done', 'failed')),
    started_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    -- The moment that the backup shows the tenant at.
    created_at timestamptz,
    expires_at timestamptz,
    raw_bytes bigint,
    stored_bytes bigint,
    rows bigint,
    duration_ms double precision,
    -- Lower-case hex SHA-256 of manifest.json: a manifest that was changed in the store is refused.
    manifest_sha256 text CHECK (manifest_sha256 ~ '^[0-9a-f]{64}$'),
    encrypted boolean,
    from_replica boolean,
    -- The last time that all of it was read again and found good.
    verified_at timestamptz,
    -- The last time that it was restored for trial and compared.
    drilled_at timestamptz,
    error_id uuid,
    admin text NOT NULL DEFAULT session_user,
    tool_version text NOT NULL,
    CHECK (status <> 'done' OR (created_at IS NOT NULL AND expires_at IS NOT NULL AND manifest_sha256 IS NOT NULL
        AND raw_bytes IS NOT NULL AND stored_bytes IS NOT NULL AND rows IS NOT NULL))
);
CREATE INDEX backups_tenant ON tenantctl.backups (tenant_id, created_at DESC) WHERE status = 'done';
CREATE INDEX backups_expiry ON tenantctl.backups (expires_at) WHERE status = 'done';
CREATE INDEX backups_unfinished ON tenantctl.backups (tenant_id) WHERE status = 'running';

CREATE TABLE tenantctl.restores (
    restore_id uuid PRIMARY KEY,
    tenant_id text COLLATE "C" NOT NULL,
    backup_id text COLLATE "C",
    -- 'replace' swaps the whole schema, 'tables' the contents of some, 'new' made a tenant, 'undo' took a restore back,
    -- 'drill' was a trial.
    kind text NOT NULL CHECK (kind IN ('replace', 'tables', 'new', 'undo', 'drill')),
    status text NOT NULL CHECK (status IN ('running', 'done', 'failed')),
    tables text[],
    -- The schema that it is being loaded into; NULL once it has been swapped in or dropped.
    staging_schema text COLLATE "C" CHECK (staging_schema ~ '^tenantctl_(restore|drill)_[0-9a-f]{12}$'),
    -- What the tenant had before, kept until drop_after at least; NULL when there was nothing or it is gone.
    replaced_schema text COLLATE "C" CHECK (replaced_schema ~ '^tenantctl_replaced_[0-9a-f]{12}$'),
    -- What the registry said of what is kept, for --undo: template, template_version, modules, hypertables and audit of a
    -- schema; the values of the sequences of single tables.
    replaced jsonb,
    drop_after timestamptz,
    rows bigint,
    started_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    finished_at timestamptz,
    error_id uuid,
    admin text NOT NULL DEFAULT session_user,
    tool_version text NOT NULL
);
CREATE INDEX restores_tenant ON tenantctl.restores (tenant_id, started_at DESC);
CREATE INDEX restores_left ON tenantctl.restores (tenant_id) WHERE staging_schema IS NOT NULL OR replaced_schema IS NOT NULL;
