"""Comparison of jobs with what was written into Jenkins, again and again.

next_compare_time: when a job of ours is compared next; those that exist are due at once, new ones later. drift: what of
it was found changed and is not repaired, empty if nothing; a change of it is told once.
"""

from __future__ import annotations

from alembic import op

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        "ALTER TABLE cicd_jobs ADD next_compare_time timestamptz NOT NULL DEFAULT now(),"
        " ADD drift text NOT NULL DEFAULT ''"
    )
    op.execute(
        "ALTER TABLE cicd_jobs ALTER next_compare_time SET DEFAULT now() + interval '15 minutes'"
    )
    op.execute(
        "CREATE INDEX cicd_jobs_to_compare ON cicd_jobs (next_compare_time)"
        " WHERE state = 'READY' AND origin = 'CREATED'"
    )


def downgrade() -> None:
    op.execute("DROP INDEX cicd_jobs_to_compare")
    op.execute("ALTER TABLE cicd_jobs DROP next_compare_time, DROP drift")
