"""Reports about builds that Jenkins has not shown wait for attribution; probes decide about those that stay absent."""

from __future__ import annotations

from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # named_run_id: the run that the report itself named. probe_time: when a read first did not show the build.
    op.execute("ALTER TABLE webhook_deliveries ADD named_run_id uuid, ADD probe_time timestamptz")
    op.execute("DROP INDEX webhook_deliveries_kept")
    op.execute(
        "UPDATE webhook_deliveries"
        " SET verdict = CASE verdict WHEN 'KEPT' THEN 'PENDING_ATTRIBUTION' ELSE 'DEFERRED' END"
        " WHERE verdict IN ('KEPT', 'POKED')"
    )
    op.execute(
        "CREATE INDEX webhook_deliveries_pending ON webhook_deliveries (tenant_id, job_id, build_number)"
        " WHERE verdict = 'PENDING_ATTRIBUTION'"
    )


def downgrade() -> None:
    op.execute("DROP INDEX webhook_deliveries_pending")
    op.execute(
        "UPDATE webhook_deliveries SET verdict = CASE verdict WHEN 'DEFERRED' THEN 'POKED' ELSE 'KEPT' END"
        " WHERE verdict IN ('PENDING_ATTRIBUTION', 'DEFERRED')"
    )
    op.execute(
        "CREATE INDEX webhook_deliveries_kept ON webhook_deliveries (tenant_id, job_id, build_number)"
        " WHERE verdict = 'KEPT'"
    )
    op.execute("ALTER TABLE webhook_deliveries DROP named_run_id, DROP probe_time")
