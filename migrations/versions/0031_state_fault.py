"""Why a job is FAILED, in a column of its own; before, ``state_message`` began with it."""

from __future__ import annotations

from alembic import op

revision = "0031"
down_revision = "0030"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE cicd_jobs ADD COLUMN state_fault text NOT NULL DEFAULT ''")
    op.execute(
        "UPDATE cicd_jobs SET"
        " state_fault = coalesce(substring(state_message FROM '^([A-Z_]+): '), 'PROVIDER_REFUSED'),"
        " state_message = regexp_replace(state_message, '^[A-Z_]+: ', '')"
        " WHERE state = 'FAILED'"
    )
    op.execute(
        "ALTER TABLE cicd_jobs ADD CONSTRAINT cicd_jobs_state_fault_check CHECK ("
        "(state = 'FAILED') = (state_fault <> '') AND state_fault IN"
        " ('', 'JOB_EXISTS', 'JOB_NOT_FOUND', 'FOLDER_NOT_FOUND', 'PROVIDER_REFUSED'))"
    )


def downgrade() -> None:
    op.execute("ALTER TABLE cicd_jobs DROP CONSTRAINT cicd_jobs_state_fault_check")
    op.execute(
        "UPDATE cicd_jobs SET state_message = state_fault || ': ' || state_message WHERE state = 'FAILED'"
    )
    op.execute("ALTER TABLE cicd_jobs DROP COLUMN state_fault")
