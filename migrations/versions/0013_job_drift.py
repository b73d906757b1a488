"""Drift of jobs in Jenkins: an event type of its own, and how often a job was repaired lately.

repair_times: of the last hour. declared_version: the version of the owner's definition that was written last; a newer
one is no drift.
"""

from __future__ import annotations

from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

TYPES = """
    'DEPLOYMENT_STATUS_UPDATE', 'DEPLOYMENT_RUN_START', 'DEPLOYMENT_RUN_FAILURE', 'DEPLOYMENT_CREATED',
    'DEPLOYMENT_UPDATED', 'DEPLOYMENT_DELETED', 'DEPLOYMENT_JOB_UPDATE', 'DEPLOYMENT_RUN_SETTLED'
"""


def check_types(types: str) -> str:
    return (
        "ALTER TABLE deployment_events DROP CONSTRAINT deployment_events_type_check,"
        f" ADD CONSTRAINT deployment_events_type_check CHECK (type IN ({types}))"
    )


def upgrade() -> None:
    op.execute(
        "ALTER TABLE cicd_jobs ADD repair_times timestamptz[] NOT NULL DEFAULT '{}', ADD declared_version bigint"
    )
    op.execute(check_types(f"{TYPES}, 'DEPLOYMENT_JOB_DRIFTED'"))


def downgrade() -> None:
    op.execute(
        "UPDATE deployment_events SET type = 'DEPLOYMENT_JOB_UPDATE' WHERE type = 'DEPLOYMENT_JOB_DRIFTED'"
    )
    op.execute(check_types(TYPES))
    op.execute("ALTER TABLE cicd_jobs DROP repair_times, DROP declared_version")
