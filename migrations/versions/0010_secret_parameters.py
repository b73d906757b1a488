"""Secret values of runs, encrypted and only until the run is settled.

secret_parameters: of a run, the names of those that it was given; of a job, of those that Jenkins defines as a
password or a credential (NULL: not read since this revision).
"""

from __future__ import annotations

from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

UPGRADE = (
    """
    ALTER TABLE deployment_runs ADD secret_parameters text[] NOT NULL DEFAULT '{}', ADD secret_values bytea,
        ADD CONSTRAINT deployment_runs_secrets_erased CHECK (secret_values IS NULL OR settle_time IS NULL)
    """,
    "ALTER TABLE cicd_jobs ADD secret_parameters text[]",
)
DOWNGRADE = (
    "ALTER TABLE cicd_jobs DROP secret_parameters",
    "ALTER TABLE deployment_runs DROP secret_values, DROP secret_parameters",
)


def upgrade() -> None:
    for statement in UPGRADE:
        op.execute(statement)


def downgrade() -> None:
    for statement in DOWNGRADE:
        op.execute(statement)
