"""The first store, part 1: tenants, keys, providers, and the repeat of requests.

Every key starts with the tenant. The CHECK constraints hold what the code relies on; comments say
why a column exists.
"""

from __future__ import annotations

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

SLUG = "~ '^[a-z]([a-z0-9-]{0,61}[a-z0-9])?$'"

UPGRADE = (
    # The restore runbook replaces the marker, so that clients learn that history may have changed. settled: the epoch
    # whose pending runs are known to be what the store says of them; empty before the first.
    """
    CREATE TABLE store_epoch (
        only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
        marker uuid NOT NULL DEFAULT gen_random_uuid(),
        settled text NOT NULL DEFAULT ''
    )
    """,
    "INSERT INTO store_epoch DEFAULT VALUES",
    # Jobs that haven't been read since the epoch changed: nothing new is sent to them.
    "CREATE TABLE unread_jobs (tenant_id uuid NOT NULL, job_id uuid NOT NULL, PRIMARY KEY (tenant_id, job_id))",
    f"""
    CREATE TABLE tenants (
        tenant_id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
        slug text NOT NULL UNIQUE CHECK (slug {SLUG}),
        display_name text NOT NULL DEFAULT '',
        version bigint NOT NULL DEFAULT 1,
        create_time timestamptz NOT NULL DEFAULT now(),
        update_time timestamptz NOT NULL DEFAULT now()
    )
    """,
    """
    CREATE TABLE webhook_keys (
        tenant_id uuid NOT NULL REFERENCES tenants,
        key_id text NOT NULL CHECK (key_id ~ '^[a-z0-9]{1,32}$'),
        secret_encrypted bytea NOT NULL,
        create_time timestamptz NOT NULL DEFAULT now(),
        retire_time timestamptz,
        PRIMARY KEY (tenant_id, key_id)
    )
    """,
    # The secret is random and long, so a plain SHA-256 of it can't be searched; tenant_id NULL = all tenants.
    """
    CREATE TABLE api_keys (
        key_id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
        tenant_id uuid REFERENCES tenants,
        secret_sha256 bytea NOT NULL UNIQUE CHECK (octet_length(secret_sha256) = 32),
        role text NOT NULL CHECK (role IN ('VIEWER', 'DEPLOYER', 'DEFINER', 'GATEWAY', 'ADMIN')),
        display_name text NOT NULL DEFAULT '',
        create_time timestamptz NOT NULL DEFAULT now(),
        revoke_time timestamptz
    )
    """,
    "CREATE INDEX api_keys_by_age ON api_keys (create_time DESC, key_id)",
    f"""
    CREATE TABLE cicd_providers (
        tenant_id uuid NOT NULL REFERENCES tenants,
        provider_id uuid NOT NULL DEFAULT gen_random_uuid(),
        slug text NOT NULL CHECK (slug {SLUG}),
        display_name text NOT NULL DEFAULT '',
        base_url text NOT NULL CHECK (base_url ~ '^https?://'),
        username text NOT NULL DEFAULT '',
        api_token_encrypted bytea,
        reporting text NOT NULL DEFAULT 'AUTO' CHECK (reporting IN ('AUTO', 'WEBHOOK', 'POLLING')),
        webhook_base_url text NOT NULL DEFAULT '',
        ca_certificate_pem text NOT NULL DEFAULT '',
        private_console boolean NOT NULL DEFAULT false,
        job_folder text NOT NULL DEFAULT '',
        allowed_folders text[] NOT NULL DEFAULT '{{}}',
        allowed_job_kinds text[] NOT NULL DEFAULT '{{}}',
        controller_key text NOT NULL GENERATED ALWAYS AS (md5(base_url || E'\\n' || username)) STORED,
        version bigint NOT NULL DEFAULT 1,
        create_time timestamptz NOT NULL DEFAULT now(),
        update_time timestamptz NOT NULL DEFAULT now(),
        PRIMARY KEY (tenant_id, provider_id),
        UNIQUE (tenant_id, slug)
    )
    """,
    "CREATE INDEX cicd_providers_by_controller ON cicd_providers (controller_key)",
    # One Jenkins seen through one account, whichever tenants' providers name it: the reading cycle is leased here.
    """
    CREATE TABLE cicd_controllers (
        controller_key text PRIMARY KEY,
        lease_owner uuid,
        lease_until timestamptz,
        next_cycle_time timestamptz NOT NULL DEFAULT now(),
        next_poked_cycle_time timestamptz NOT NULL DEFAULT now(),
        session text NOT NULL DEFAULT '',
        session_time timestamptz,
        CHECK ((lease_owner IS NULL) = (lease_until IS NULL))
    )
    """,
)

TABLES = (
    "cicd_controllers",
    "cicd_providers",
    "api_keys",
    "webhook_keys",
    "tenants",
    "unread_jobs",
    "store_epoch",
)


def upgrade() -> None:
    for statement in UPGRADE:
        op.execute(statement)


def downgrade() -> None:
    for table in TABLES:
        op.execute(f"DROP TABLE {table}")
