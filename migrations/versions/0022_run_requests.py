"""Who asked for a run and why: requester, reason, annotations, the run that it repeats.

requested_by_*: all NULL for a run of before this revision, and for a build whose cause Jenkins has not shown.
retry_of: the number of the run of the same deployment whose parameters it was given.
"""

from __future__ import annotations

from alembic import op

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None

ACTOR = ("kind", "subject", "display_name", "on_behalf_of")
REQUESTED_BY = ", ".join(f"requested_by_{part}" for part in ACTOR)

UPGRADE = (
    # 16 annotations of 63 + 256 characters take at most 17 KiB as JSON.
    f"""
    ALTER TABLE deployment_runs
        ADD reason text NOT NULL DEFAULT '' CHECK (length(reason) <= 500),
        ADD annotations jsonb NOT NULL DEFAULT '{{}}'
            CHECK (jsonb_typeof(annotations) = 'object' AND octet_length(annotations::text) <= 20000),
        ADD retry_of int CHECK (retry_of >= 1 AND retry_of < number),
        ADD requested_by_kind text CHECK (requested_by_kind IN ('KEY', 'OIDC', 'JENKINS', 'SERVICE')),
        ADD requested_by_subject text CHECK (length(requested_by_subject) <= 200),
        ADD requested_by_display_name text CHECK (length(requested_by_display_name) <= 200),
        ADD requested_by_on_behalf_of text CHECK (length(requested_by_on_behalf_of) <= 200),
        ADD CONSTRAINT run_requester_whole CHECK (num_nulls({REQUESTED_BY}) IN (0, 4)),
        ADD CONSTRAINT run_requester_of_source CHECK (
            requested_by_kind IS NULL OR (source = 'EXTERNAL') = (requested_by_kind = 'JENKINS')),
        ADD CONSTRAINT run_request_of_ours CHECK (
            source = 'SERVICE' OR reason = '' AND annotations = '{{}}' AND retry_of IS NULL)
    """,
    """
    ALTER TABLE deployment_events
        ADD actor_on_behalf_of text CHECK (length(actor_on_behalf_of) <= 200),
        ADD CHECK (actor_on_behalf_of IS NULL OR actor_kind IS NOT NULL),
        ADD CHECK (length(actor_subject) <= 200),
        ADD CHECK (length(actor_display_name) <= 200)
    """,
)
DOWNGRADE = (
    "ALTER TABLE deployment_events DROP actor_on_behalf_of",
    f"""
    ALTER TABLE deployment_runs DROP reason, DROP annotations, DROP retry_of,
        {", ".join(f"DROP {name}" for name in REQUESTED_BY.split(", "))}
    """,
)


def upgrade() -> None:
    for statement in UPGRADE:
        op.execute(statement)


def downgrade() -> None:
    for statement in DOWNGRADE:
        op.execute(statement)
