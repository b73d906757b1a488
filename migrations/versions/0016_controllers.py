"""A controller is (tenant, provider): what is read with one provider's credential is never another's.

Leases, cycle times and sessions of the former controllers (URL and account) are kept for each of their providers.
"""

from __future__ import annotations

from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

COLUMNS = """
        lease_owner uuid,
        lease_until timestamptz,
        next_cycle_time timestamptz NOT NULL DEFAULT now(),
        next_poked_cycle_time timestamptz NOT NULL DEFAULT now(),
        sessions jsonb NOT NULL DEFAULT '[]' CHECK (jsonb_typeof(sessions) = 'array'),
        sessions_alternate boolean NOT NULL DEFAULT false,
        CHECK ((lease_owner IS NULL) = (lease_until IS NULL))
"""
STATE = (
    "lease_owner, lease_until, next_cycle_time, next_poked_cycle_time, sessions, sessions_alternate"
)
GRANTS = (
    "GRANT SELECT ON cicd_controllers TO deployment_api",
    "GRANT SELECT, INSERT, UPDATE, DELETE ON cicd_controllers TO deployment_worker",
)

UPGRADE = (
    "CREATE TEMPORARY TABLE former_controllers ON COMMIT DROP AS SELECT * FROM cicd_controllers",
    "DROP TABLE cicd_controllers",
    # base_url: the Jenkins whose sessions these are; that of another address knows none of them.
    f"""
    CREATE TABLE cicd_controllers (
        tenant_id uuid NOT NULL,
        provider_id uuid NOT NULL,
        base_url text NOT NULL DEFAULT '',
        {COLUMNS},
        PRIMARY KEY (tenant_id, provider_id),
        FOREIGN KEY (tenant_id, provider_id) REFERENCES cicd_providers ON DELETE CASCADE
    )
    """,
    f"""
    INSERT INTO cicd_controllers (tenant_id, provider_id, base_url, {STATE})
    SELECT p.tenant_id, p.provider_id, p.base_url, {STATE}
    FROM cicd_providers AS p JOIN former_controllers AS f ON f.controller_key = p.controller_key
    """,  # noqa: S608 - a constant
    "DROP INDEX cicd_providers_by_controller",
    "ALTER TABLE cicd_providers DROP COLUMN controller_key",
    *GRANTS,
)
DOWNGRADE = (
    """
    ALTER TABLE cicd_providers
        ADD controller_key text NOT NULL GENERATED ALWAYS AS (md5(base_url || E'\\n' || username)) STORED
    """,
    "CREATE INDEX cicd_providers_by_controller ON cicd_providers (controller_key)",
    "CREATE TEMPORARY TABLE former_controllers ON COMMIT DROP AS SELECT * FROM cicd_controllers",
    "DROP TABLE cicd_controllers",
    f"CREATE TABLE cicd_controllers (controller_key text PRIMARY KEY, {COLUMNS})",
    f"""
    INSERT INTO cicd_controllers (controller_key, {STATE})
    SELECT DISTINCT ON (p.controller_key) p.controller_key, {STATE}
    FROM former_controllers AS f JOIN cicd_providers AS p USING (tenant_id, provider_id)
    ORDER BY p.controller_key, f.lease_until DESC NULLS LAST
    """,  # noqa: S608 - a constant
    *GRANTS,
)


def upgrade() -> None:
    for statement in UPGRADE:
        op.execute(statement)


def downgrade() -> None:
    for statement in DOWNGRADE:
        op.execute(statement)
