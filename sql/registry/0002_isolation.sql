-- What isolation rests on beyond the tenant's own schema: which tables are audited, what each template version looks
-- like when it is whole, and passwords that only the holders of an age identity can read.

ALTER TABLE tenantctl.tenants
    -- Table -> 'full' or 'keys'; a table that is not named is not audited.
    ADD COLUMN audit jsonb NOT NULL DEFAULT '{}' CHECK (pg_catalog.jsonb_typeof(audit) = 'object'),
    -- The transaction that made the tenant's objects. A catalog row with this xmin is as the template made it, which
    -- spares validate from printing and comparing its expressions; NULL: they are always compared.
    ADD COLUMN structure_xid xid;

ALTER TABLE tenantctl.template_versions
    -- The major version whose printing of expressions the fingerprint holds: another one may print the same differently.
    ADD COLUMN server_major integer,
    -- Checksum of what tenantctl itself adds to every tenant, as the binary that installed the version had it.
    ADD COLUMN standard_sha256 text;

-- What the objects of a template version look like, by the module that made or last changed them, as the catalog of the
-- reference copy showed them. Ordinal 0 is what tenantctl itself adds to every tenant; there the current version counts,
-- whatever version a tenant was made from. A NULL shape says that the module took the object away.
CREATE TABLE tenantctl.template_objects (
    template text NOT NULL,
    version integer NOT NULL,
    ordinal integer NOT NULL,
    kind text NOT NULL,
    -- With {schema} for the schema's name, as in shape and expression.
    object text NOT NULL,
    -- What plain catalog columns say, comparable without a lock on the object.
    shape text,
    -- The object's expression as the server prints it; NULL where it has none.
    expression text,
    PRIMARY KEY (template, version, ordinal, kind, object),
    FOREIGN KEY (template, version) REFERENCES tenantctl.template_versions
);

CREATE TABLE tenantctl.credentials (
    tenant_id text COLLATE "C" PRIMARY KEY REFERENCES tenantctl.tenants ON DELETE CASCADE,
    -- An ASCII-armored age file that holds the password.
    ciphertext text NOT NULL,
    recipients text[] NOT NULL,
    stored_at timestamptz NOT NULL DEFAULT pg_catalog.now()
);
