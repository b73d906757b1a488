"""Columns and values with the field's words: refresh requests and probes."""

from __future__ import annotations

from alembic import op

revision = "0027"
down_revision = "0026"
branch_labels = None
depends_on = None

_COLUMNS = [
    ("cicd_jobs", "poke_time", "refresh_request_time"),
    ("deployment_runs", "look_count", "probe_count"),
    ("deployment_runs", "look_time", "probe_time"),
    ("deployment_runs", "look_session", "probe_session"),
]


def upgrade() -> None:
    for table, old, new in _COLUMNS:
        op.execute(f"ALTER TABLE {table} RENAME COLUMN {old} TO {new}")
    op.execute("ALTER INDEX cicd_jobs_poked RENAME TO cicd_jobs_refresh_requested")
    op.execute("UPDATE run_attempts SET outcome = 'NOT_PROBED' WHERE outcome = 'NOT_LOOKED'")


def downgrade() -> None:
    op.execute("UPDATE run_attempts SET outcome = 'NOT_LOOKED' WHERE outcome = 'NOT_PROBED'")
    op.execute("ALTER INDEX cicd_jobs_refresh_requested RENAME TO cicd_jobs_poked")
    for table, old, new in _COLUMNS:
        op.execute(f"ALTER TABLE {table} RENAME COLUMN {new} TO {old}")
