"""Read the events of one run, and deployments by age, through an index of their own."""

from __future__ import annotations

from alembic import op

revision = "0028"
down_revision = "0027"
branch_labels = None
depends_on = None

UPGRADE = (
    """
    CREATE INDEX deployment_events_by_run ON deployment_events (tenant_id, deployment_id, run_number, sequence)
        WHERE run_number IS NOT NULL
    """,
    "CREATE INDEX deployments_by_age ON deployments (tenant_id, create_time, deployment_id)",
)
DOWNGRADE = ("DROP INDEX deployments_by_age", "DROP INDEX deployment_events_by_run")


def upgrade() -> None:
    for statement in UPGRADE:
        op.execute(statement)


def downgrade() -> None:
    for statement in DOWNGRADE:
        op.execute(statement)
