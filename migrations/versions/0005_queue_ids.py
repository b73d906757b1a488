"""Queue ids are opaque text: Jenkins' are numbers, of any length, and other controllers' need not be."""

from __future__ import annotations

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

TABLES = ("deployment_runs", "run_attempts", "webhook_deliveries")


def upgrade() -> None:
    op.execute("ALTER TABLE deployment_runs DROP CONSTRAINT deployment_runs_queue_id_check")
    for table in TABLES:
        op.execute(
            f"ALTER TABLE {table} ALTER COLUMN queue_id TYPE text USING nullif(greatest(queue_id, 0), 0)::text,"
            f" ADD CONSTRAINT {table}_queue_id_check CHECK (queue_id <> '' AND length(queue_id) <= 200)"
        )


def downgrade() -> None:
    for table in TABLES:
        op.execute(f"ALTER TABLE {table} DROP CONSTRAINT {table}_queue_id_check")
        # An id that is no number of 18 digits at most is forgotten: the older schema cannot hold it.
        op.execute(
            f"ALTER TABLE {table} ALTER COLUMN queue_id TYPE bigint"
            " USING CASE WHEN queue_id ~ '^[0-9]{1,18}$' THEN nullif(queue_id::bigint, 0) END"
        )
    op.execute(
        "ALTER TABLE deployment_runs ADD CONSTRAINT deployment_runs_queue_id_check CHECK (queue_id >= 1)"
    )
