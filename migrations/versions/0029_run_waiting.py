"""Allow events of the type RUN_WAITING: a run waits for something else than before."""

from __future__ import annotations

from alembic import op

revision = "0029"
down_revision = "0028"
branch_labels = None
depends_on = None

OLD_TYPES = (
    "DEPLOYMENT_STATUS_UPDATE",
    "DEPLOYMENT_RUN_START",
    "DEPLOYMENT_RUN_FAILURE",
    "DEPLOYMENT_CREATED",
    "DEPLOYMENT_UPDATED",
    "DEPLOYMENT_DELETED",
    "DEPLOYMENT_JOB_UPDATE",
    "DEPLOYMENT_RUN_SETTLED",
    "DEPLOYMENT_JOB_DRIFTED",
    "DEPLOYMENT_POSSIBLE_DUPLICATE",
    "DEPLOYMENT_OBSERVATION_PROBLEM",
)


def _allow(types: tuple[str, ...]) -> None:
    listed = ", ".join(f"'{one}'" for one in types)
    op.execute("ALTER TABLE deployment_events DROP CONSTRAINT deployment_events_type_check")
    op.execute(
        f"ALTER TABLE deployment_events ADD CONSTRAINT deployment_events_type_check CHECK (type IN ({listed}))"
    )


def upgrade() -> None:
    _allow((*OLD_TYPES, "DEPLOYMENT_RUN_WAITING"))


def downgrade() -> None:
    # An older replica does not know the type; the sequence has to stay without a gap.
    op.execute(
        "UPDATE deployment_events SET type = 'DEPLOYMENT_STATUS_UPDATE' WHERE type = 'DEPLOYMENT_RUN_WAITING'"
    )
    _allow(OLD_TYPES)
