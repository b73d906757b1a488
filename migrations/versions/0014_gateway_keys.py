"""Which gateway's key each report came with: who vouched for its sender."""

from __future__ import annotations

from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # No reference: API keys stay when they are revoked, and go with their tenant. Empty for reports from before.
    op.execute("ALTER TABLE webhook_deliveries ADD COLUMN gateway_key_id uuid")


def downgrade() -> None:
    op.execute("ALTER TABLE webhook_deliveries DROP COLUMN gateway_key_id")
