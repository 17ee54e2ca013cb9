-- The registry: what was installed, which tenants exist, and what was done to them.
-- Replayed as tenantctl_owner with an empty search path; tenants have no USAGE on the schema.

-- One row; whoever changes the installation locks it first. Row locks here cannot be taken by tenants,
-- which advisory locks can.
CREATE TABLE tenantctl.installation (
    singleton boolean PRIMARY KEY DEFAULT true CHECK (singleton),
    installed_at timestamptz NOT NULL DEFAULT pg_catalog.now()
);
INSERT INTO tenantctl.installation DEFAULT VALUES;

CREATE TABLE tenantctl.template_versions (
    template text NOT NULL,
    version integer NOT NULL CHECK (version > 0),
    sha256 text NOT NULL CHECK (sha256 ~ '^[0-9a-f]{64}$'),
    hypertables jsonb NOT NULL DEFAULT '[]',
    bulk_load text[] NOT NULL DEFAULT '{}',
    is_current boolean NOT NULL,
    installed_at timestamptz NOT NULL DEFAULT pg_catalog.now(),
    installed_by text NOT NULL DEFAULT session_user,
    PRIMARY KEY (template, version)
);
CREATE UNIQUE INDEX template_versions_one_current ON tenantctl.template_versions (template) WHERE is_current;

CREATE TABLE tenantctl.template_modules (
    template text NOT NULL,
    version integer NOT NULL,
    ordinal integer NOT NULL,
    module text NOT NULL,
    -- NULL: every tenant has the module.
    feature text,
    body text NOT NULL,
    sha256 text NOT NULL CHECK (sha256 ~ '^[0-9a-f]{64}$'),
    -- What the module creates, by kind, read from the catalog when it was installed.
    objects jsonb NOT NULL,
    PRIMARY KEY (template, version, ordinal),
    UNIQUE (template, version, module),
    FOREIGN KEY (template, version) REFERENCES tenantctl.template_versions
);

CREATE TABLE tenantctl.tenants (
    tenant_id text COLLATE "C" PRIMARY KEY CHECK (tenant_id ~ '^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$'),
    schema_name text COLLATE "C" NOT NULL CONSTRAINT tenants_schema_name_key UNIQUE
        CHECK (schema_name ~ '^tenant_[0-9a-f]{12}$'),
    role_name text COLLATE "C" NOT NULL GENERATED ALWAYS AS (schema_name || '_user') STORED,
    salt text NOT NULL,
    tier text NOT NULL,
    -- What the tier said when it was applied to this tenant; null means unlimited.
    limits jsonb NOT NULL,
    template text NOT NULL,
    template_version integer NOT NULL,
    modules text[] NOT NULL,
    -- The tables that are TimescaleDB hypertables; the others are plain.
    hypertables text[] NOT NULL DEFAULT '{}',
    status text NOT NULL DEFAULT 'active' CHECK (status IN ('active')),
    created_at timestamptz NOT NULL DEFAULT pg_catalog.now(),
    created_by text NOT NULL DEFAULT session_user,
    FOREIGN KEY (template, template_version) REFERENCES tenantctl.template_versions
);

-- Every command that changed something, and every failure that could still be written down. Rows outlive
-- their tenants, hence no foreign key.
CREATE TABLE tenantctl.operations (
    operation_id uuid PRIMARY KEY DEFAULT pg_catalog.gen_random_uuid(),
    operation text NOT NULL,
    tenant_id text COLLATE "C",
    status text NOT NULL CHECK (status IN ('done', 'failed')),
    started_at timestamptz NOT NULL,
    finished_at timestamptz NOT NULL,
    duration_ms double precision NOT NULL
        GENERATED ALWAYS AS (extract(epoch FROM finished_at - started_at) * 1000) STORED,
    -- A change must commit within this time; the row comes last in its transaction, so that a transaction
    -- that took longer cannot write it and rolls back.
    timeout_ms double precision,
    error_id uuid,
    error_type text,
    severity text CHECK (severity IN ('warning', 'error', 'critical')),
    sqlstate text,
    message text,
    cause text,
    admin text NOT NULL DEFAULT session_user,
    client_address inet DEFAULT pg_catalog.inet_client_addr(),
    tool_version text NOT NULL,
    CONSTRAINT operations_within_timeout CHECK (status <> 'done' OR duration_ms <= timeout_ms),
    CHECK ((status = 'failed') = (error_id IS NOT NULL))
);
CREATE INDEX operations_tenant ON tenantctl.operations (tenant_id, finished_at DESC);
CREATE INDEX operations_finished ON tenantctl.operations (finished_at);
