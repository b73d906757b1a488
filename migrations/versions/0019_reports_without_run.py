"""An index for the reports that belong to no run, newest first: what ListReports pages through."""

from __future__ import annotations

from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        "CREATE INDEX webhook_deliveries_without_run ON webhook_deliveries (tenant_id, job_id, delivery_id DESC)"
        " WHERE run_id IS NULL"
    )


def downgrade() -> None:
    op.execute("DROP INDEX webhook_deliveries_without_run")
