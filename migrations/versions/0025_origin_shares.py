"""The budget of requests of an origin: what each tenant has used of it lately."""

from __future__ import annotations

from alembic import op

revision = "0025"
down_revision = "0024"
branch_labels = None
depends_on = None

UPGRADE = (
    # Unlogged: worth seconds. After a crash, a restore or a failover it begins empty, which is a full budget.
    # A tenant that is new at an origin may read it once: the queue and the executors. granted, tenants: of the last
    # taking.
    """
    CREATE UNLOGGED TABLE origin_shares (
        tenant_id uuid NOT NULL,
        origin text NOT NULL,
        tokens double precision NOT NULL DEFAULT 2,
        usage double precision NOT NULL DEFAULT 0 CHECK (usage >= 0),
        use_time timestamptz NOT NULL DEFAULT now(),
        granted integer NOT NULL DEFAULT 0 CHECK (granted >= 0),
        tenants integer NOT NULL DEFAULT 1 CHECK (tenants > 0),
        PRIMARY KEY (tenant_id, origin)
    )
    """,
    "CREATE INDEX origin_shares_by_origin ON origin_shares (origin)",
    "GRANT SELECT, INSERT, UPDATE, DELETE ON origin_shares TO deployment_worker",
)


def upgrade() -> None:
    for statement in UPGRADE:
        op.execute(statement)


def downgrade() -> None:
    op.execute("DROP TABLE origin_shares")
