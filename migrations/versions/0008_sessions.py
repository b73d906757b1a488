"""All sessions of a Jenkins that answered lately: several replicas may answer behind one address.

sessions: [{session, first, last}]. sessions_alternate: replicas are known to answer by turns.
"""

from __future__ import annotations

from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        "ALTER TABLE cicd_controllers DROP COLUMN session, DROP COLUMN session_time,"
        " ADD COLUMN sessions jsonb NOT NULL DEFAULT '[]' CHECK (jsonb_typeof(sessions) = 'array'),"
        " ADD COLUMN sessions_alternate boolean NOT NULL DEFAULT false"
    )


def downgrade() -> None:
    op.execute(
        "ALTER TABLE cicd_controllers DROP COLUMN sessions, DROP COLUMN sessions_alternate,"
        " ADD COLUMN session text NOT NULL DEFAULT '', ADD COLUMN session_time timestamptz"
    )
