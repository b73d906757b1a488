"""Events about possible duplicates of a run's build."""

from __future__ import annotations

from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

TYPES = """
    'DEPLOYMENT_STATUS_UPDATE', 'DEPLOYMENT_RUN_START', 'DEPLOYMENT_RUN_FAILURE',
    'DEPLOYMENT_CREATED', 'DEPLOYMENT_UPDATED', 'DEPLOYMENT_DELETED', 'DEPLOYMENT_JOB_UPDATE',
    'DEPLOYMENT_RUN_SETTLED', 'DEPLOYMENT_JOB_DRIFTED'
"""


def _allow(types: str) -> None:
    op.execute("ALTER TABLE deployment_events DROP CONSTRAINT deployment_events_type_check")
    op.execute(
        f"ALTER TABLE deployment_events ADD CONSTRAINT deployment_events_type_check CHECK (type IN ({types}))"
    )


def upgrade() -> None:
    _allow(f"{TYPES}, 'DEPLOYMENT_POSSIBLE_DUPLICATE'")


def downgrade() -> None:
    op.execute(
        "UPDATE deployment_events SET type = 'DEPLOYMENT_STATUS_UPDATE' WHERE type = 'DEPLOYMENT_POSSIBLE_DUPLICATE'"
    )
    _allow(TYPES)
