"""How many runs of a tenant were made of builds that the service did not start, within an hour."""

from __future__ import annotations

from alembic import op

revision = "0026"
down_revision = "0025"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        "CREATE INDEX deployment_runs_external ON deployment_runs (tenant_id, create_time) WHERE source = 'EXTERNAL'"
    )


def downgrade() -> None:
    op.execute("DROP INDEX deployment_runs_external")
