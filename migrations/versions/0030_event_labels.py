"""The labels that a deployment had at an event, for watches that are filtered by label.

labels: NULL for events of before this revision and of older replicas during a rolling upgrade: those pass every filter.
old_labels: what an update replaced, else NULL.
"""

from __future__ import annotations

from alembic import op

revision = "0030"
down_revision = "0029"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        """
        ALTER TABLE deployment_events
            ADD labels jsonb CHECK (jsonb_typeof(labels) = 'object'),
            ADD old_labels jsonb CHECK (jsonb_typeof(old_labels) = 'object'),
            ADD CHECK (old_labels IS NULL OR type = 'DEPLOYMENT_UPDATED')
        """
    )


def downgrade() -> None:
    op.execute("ALTER TABLE deployment_events DROP labels, DROP old_labels")
