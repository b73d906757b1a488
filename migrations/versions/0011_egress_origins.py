"""Origins in private ranges to which tenants' providers may lead: those that operators allowed.

Providers that exist were set up before there was such a rule: their origins stay allowed.
"""

from __future__ import annotations

from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

UPGRADE = (
    # For all tenants: an operator decides about addresses, not about who uses them.
    """
    CREATE TABLE egress_origins (
        origin text PRIMARY KEY CHECK (origin ~ '^[a-z]+://[^/]+$'),
        create_time timestamptz NOT NULL DEFAULT now()
    )
    """,
    # The scheme's own port is left out, as in domain/egress.py.
    """
    INSERT INTO egress_origins (origin)
    SELECT DISTINCT regexp_replace(regexp_replace(
        lower(substring(url FROM '^[A-Za-z]+://[^/]+')), '^(http://.*)[:]80$', '\\1'), '^(https://.*)[:]443$', '\\1')
    FROM (SELECT base_url AS url FROM cicd_providers UNION ALL SELECT webhook_base_url FROM cicd_providers) AS urls
    WHERE url ~ '^[A-Za-z]+://[^/]+'
    """,
    "GRANT SELECT, INSERT ON egress_origins TO deployment_api",
    "GRANT SELECT ON egress_origins TO deployment_worker",
)


def upgrade() -> None:
    for statement in UPGRADE:
        op.execute(statement)


def downgrade() -> None:
    op.execute("DROP TABLE egress_origins")
