"""Part 9: a deleted deployment keeps its runs until its purge time; its name is free at once."""

from __future__ import annotations

from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

UPGRADE = (
    # resource_id: the last part of the deployment's name in the API. A deleted one can't have its slug any more.
    """
    ALTER TABLE deployments
        ADD COLUMN delete_time timestamptz,
        ADD COLUMN purge_time timestamptz,
        ADD COLUMN resource_id text NOT NULL GENERATED ALWAYS AS
            (CASE WHEN delete_time IS NULL THEN slug ELSE 'uid:' || deployment_id::text END) STORED,
        ALTER COLUMN provider_id DROP NOT NULL,
        ADD CHECK ((delete_time IS NULL) = (purge_time IS NULL)),
        ADD CHECK (provider_id IS NOT NULL OR delete_time IS NOT NULL),
        DROP CONSTRAINT deployments_tenant_id_slug_key,
        ADD UNIQUE (tenant_id, resource_id),
        DROP CONSTRAINT deployments_tenant_id_provider_id_fkey,
        ADD FOREIGN KEY (tenant_id, provider_id) REFERENCES cicd_providers ON DELETE SET NULL (provider_id)
    """,
    # Lists without deleted deployments don't read past them.
    "CREATE INDEX deployments_listed ON deployments (tenant_id, resource_id) WHERE delete_time IS NULL",
    "CREATE INDEX deployments_to_purge ON deployments (purge_time) WHERE purge_time IS NOT NULL",
    "GRANT DELETE ON deployments TO deployment_worker",
    # stop_until: the run ended with its deployment, and its build is to be stopped until then.
    """
    ALTER TABLE deployment_runs
        ADD COLUMN stop_until timestamptz CHECK (stop_until IS NULL OR cancel_request_time IS NOT NULL)
    """,
    "CREATE INDEX deployment_runs_to_stop ON deployment_runs (tenant_id, job_id) WHERE stop_until IS NOT NULL",
)

DOWNGRADE = (
    "ALTER TABLE deployment_runs DROP COLUMN stop_until",
    "REVOKE DELETE ON deployments FROM deployment_worker",
    "DELETE FROM deployments WHERE delete_time IS NOT NULL",
    """
    ALTER TABLE deployments
        DROP CONSTRAINT deployments_tenant_id_provider_id_fkey,
        ADD FOREIGN KEY (tenant_id, provider_id) REFERENCES cicd_providers,
        ALTER COLUMN provider_id SET NOT NULL,
        DROP COLUMN resource_id,
        DROP COLUMN purge_time,
        DROP COLUMN delete_time,
        ADD UNIQUE (tenant_id, slug)
    """,
)


def upgrade() -> None:
    for statement in UPGRADE:
        op.execute(statement)


def downgrade() -> None:
    for statement in DOWNGRADE:
        op.execute(statement)
