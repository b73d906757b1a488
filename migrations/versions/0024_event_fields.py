"""What an event says of its run at that moment, and how long the runs of a deployment take.

typical_duration: the median of the last completed runs, from their acceptance by Jenkins to their end.
"""

from __future__ import annotations

from alembic import op

revision = "0024"
down_revision = "0023"
branch_labels = None
depends_on = None

STATUSES = "('PENDING', 'RUNNING', 'COMPLETED', 'FAILED', 'CANCELLED')"

UPGRADE = (
    # old_deployment_status: NULL for events of before this revision.
    f"""
    ALTER TABLE deployment_events
        ADD old_deployment_status text CHECK (old_deployment_status IN {STATUSES}),
        ADD waiting_for text CHECK (waiting_for IN ('TRIGGER', 'QUEUE', 'INPUT')),
        ADD waiting_reason text NOT NULL DEFAULT '',
        ADD build_url text NOT NULL DEFAULT '',
        ADD failure_message text NOT NULL DEFAULT '',
        ADD CHECK (waiting_for IS NULL OR run_number IS NOT NULL),
        ADD CHECK (waiting_reason = '' OR waiting_for IS NOT NULL),
        ADD CHECK (build_url = '' OR build_number IS NOT NULL),
        ADD CHECK (failure_message = '' OR failure_cause IS NOT NULL)
    """,
    "ALTER TABLE deployments ADD typical_duration interval CHECK (typical_duration >= interval '0')",
    """
    UPDATE deployments AS d SET typical_duration = (
        SELECT percentile_disc(0.5) WITHIN GROUP (ORDER BY greatest(last.end_time - last.start_time, interval '0'))
            FILTER (WHERE last.source = 'SERVICE' AND last.start_time IS NOT NULL)
        FROM (
            SELECT source, start_time, end_time FROM deployment_runs
            WHERE tenant_id = d.tenant_id AND deployment_id = d.deployment_id AND status = 'COMPLETED'
                AND settle_time IS NOT NULL
            ORDER BY order_generation DESC, order_position DESC, number DESC LIMIT 20
        ) AS last)
    WHERE last_completed_run_id IS NOT NULL
    """,
)
DOWNGRADE = (
    "ALTER TABLE deployments DROP typical_duration",
    """
    ALTER TABLE deployment_events DROP old_deployment_status, DROP waiting_for, DROP waiting_reason, DROP build_url,
        DROP failure_message
    """,
)


def upgrade() -> None:
    for statement in UPGRADE:
        op.execute(statement)


def downgrade() -> None:
    for statement in DOWNGRADE:
        op.execute(statement)
