"""Resolutions: the ends that operators gave runs, and who decided an event."""

from __future__ import annotations

from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None

KINDS = "('KEY', 'OIDC', 'JENKINS', 'SERVICE')"

UPGRADE = (
    f"""
    ALTER TABLE deployment_events
        ADD actor_kind text CHECK (actor_kind IN {KINDS}),
        ADD actor_subject text,
        ADD actor_display_name text,
        ADD CHECK ((actor_kind IS NULL) = (actor_subject IS NULL)),
        ADD CHECK ((actor_kind IS NULL) = (actor_display_name IS NULL))
    """,
    # Kept as long as the run, where its events may be past retention. Rows are only added.
    # place: 1 for the first resolution of the run. old_certainty: NULL if the run had not ended.
    f"""
    CREATE TABLE run_resolutions (
        tenant_id uuid NOT NULL,
        run_id uuid NOT NULL,
        place int NOT NULL CHECK (place >= 1),
        status text NOT NULL CHECK (status IN ('COMPLETED', 'FAILED', 'CANCELLED')),
        reason text NOT NULL CHECK (length(reason) BETWEEN 1 AND 500),
        old_status text NOT NULL CHECK (old_status IN ('PENDING', 'RUNNING', 'COMPLETED', 'FAILED', 'CANCELLED')),
        old_certainty text CHECK (old_certainty IN ('REPORTED', 'CONFIRMED', 'UNVERIFIABLE')),
        actor_kind text NOT NULL CHECK (actor_kind IN {KINDS}),
        actor_subject text NOT NULL,
        actor_display_name text NOT NULL,
        create_time timestamptz NOT NULL DEFAULT now(),
        PRIMARY KEY (tenant_id, run_id, place),
        FOREIGN KEY (tenant_id, run_id) REFERENCES deployment_runs ON DELETE CASCADE
    )
    """,
    "GRANT SELECT, INSERT ON run_resolutions TO deployment_api",
    "GRANT SELECT ON run_resolutions TO deployment_worker",
)
DOWNGRADE = (
    "DROP TABLE run_resolutions",
    """
    ALTER TABLE deployment_events DROP actor_kind, DROP actor_subject, DROP actor_display_name
    """,
)


def upgrade() -> None:
    for statement in UPGRADE:
        op.execute(statement)


def downgrade() -> None:
    for statement in DOWNGRADE:
        op.execute(statement)
