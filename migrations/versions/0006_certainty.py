"""The certainty of an end: reported, confirmed or unverifiable."""

from __future__ import annotations

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

STATUSES = "('PENDING', 'RUNNING', 'COMPLETED', 'FAILED', 'CANCELLED')"
CERTAINTIES = "('REPORTED', 'CONFIRMED', 'UNVERIFIABLE')"
OLD_TYPES = """
    'DEPLOYMENT_STATUS_UPDATE', 'DEPLOYMENT_RUN_START', 'DEPLOYMENT_RUN_FAILURE',
    'DEPLOYMENT_CREATED', 'DEPLOYMENT_UPDATED', 'DEPLOYMENT_DELETED', 'DEPLOYMENT_JOB_UPDATE'
"""
RUNS_IN_ORDER = (
    """
    CREATE INDEX deployment_runs_in_order
        ON deployment_runs (tenant_id, deployment_id, order_generation, order_position, number)
    """,
    """
    CREATE INDEX deployment_runs_completed
        ON deployment_runs (tenant_id, deployment_id, order_generation, order_position, number)
        WHERE status = 'COMPLETED'
    """,
)

UPGRADE = (
    # reported_ends: rank -> [time in microseconds, status text] of each reported end that no read has withdrawn.
    # building_time: when the newest read began that showed the build running. absent_time: when it was concluded that
    # Jenkins has no build of the run. unsaved_result: shown with building:false, inProgress:true.
    # shown: an answer of Jenkins named the build. confirm_due_time: when the reported end is to be read.
    f"""
    ALTER TABLE deployment_runs
        ADD certainty text CHECK (certainty IN {CERTAINTIES}),
        ADD settle_time timestamptz,
        ADD reported_status text CHECK (reported_status IN {STATUSES}),
        ADD reported_ends jsonb NOT NULL DEFAULT '{{}}' CHECK (jsonb_typeof(reported_ends) = 'object'),
        ADD building_time timestamptz,
        ADD absent_time timestamptz,
        ADD unsaved_result text NOT NULL DEFAULT '',
        ADD shown boolean NOT NULL DEFAULT false,
        ADD confirm_due_time timestamptz
    """,
    # Before this revision a FINALIZED report confirmed an end (rank 341 to 345): such an end counts as read.
    """
    UPDATE deployment_runs SET
        certainty = CASE WHEN confirmed THEN 'CONFIRMED' WHEN rank < 320 THEN 'UNVERIFIABLE' ELSE 'REPORTED' END,
        settle_time = CASE WHEN confirmed OR rank < 320 THEN end_time END,
        rank = CASE WHEN confirmed AND rank BETWEEN 320 AND 349 THEN 350 + rank % 10 ELSE rank END,
        reported_status = CASE WHEN rank BETWEEN 320 AND 349 THEN status END,
        reported_ends = CASE WHEN rank BETWEEN 320 AND 349 AND NOT confirmed THEN jsonb_build_object(
            rank, jsonb_build_array((extract(epoch FROM end_time) * 1000000)::bigint, result)) ELSE '{}' END,
        absent_time = CASE WHEN rank < 320 THEN end_time END
    WHERE end_time IS NOT NULL
    """,
    "UPDATE deployment_runs SET shown = true WHERE build_number IS NOT NULL",
    "DROP INDEX deployment_runs_to_read, deployment_runs_in_order, deployment_runs_completed, deployment_runs_active",
    # What makes a run the deployment's current one (domain/runs.py: order_key): an intended run that is not settled,
    # else the highest build that Jenkins has shown.
    """
    ALTER TABLE deployment_runs DROP confirmed, DROP order_generation, DROP order_position,
        ADD order_generation int NOT NULL GENERATED ALWAYS AS (
            CASE WHEN source = 'SERVICE' AND settle_time IS NULL THEN 2147483647
                 WHEN shown THEN generation
                 WHEN source = 'EXTERNAL' AND build_number IS NOT NULL THEN 0
                 ELSE after_generation END) STORED,
        ADD order_position bigint NOT NULL GENERATED ALWAYS AS (
            CASE WHEN source = 'SERVICE' AND settle_time IS NULL THEN 0
                 WHEN shown THEN 2 * build_number::bigint
                 WHEN source = 'EXTERNAL' AND build_number IS NOT NULL THEN 0
                 ELSE 2 * after_build_number::bigint + 1 END) STORED
    """,
    """
    ALTER TABLE deployment_runs
        ADD CHECK ((certainty IS NULL) = (end_time IS NULL)),
        ADD CHECK ((settle_time IS NULL) = (certainty IS NULL OR certainty = 'REPORTED')),
        ADD CHECK (certainty <> 'REPORTED' OR rank BETWEEN 320 AND 349),
        ADD CHECK (certainty <> 'CONFIRMED' OR rank NOT BETWEEN 320 AND 349),
        ADD CHECK (rank < 350 OR certainty = 'CONFIRMED'),
        ADD CHECK (NOT shown OR build_number IS NOT NULL),
        ADD CHECK (confirm_due_time IS NULL OR certainty = 'REPORTED')
    """,
    *RUNS_IN_ORDER,
    # Runs that reads may still change.
    """
    CREATE INDEX deployment_runs_to_read ON deployment_runs (tenant_id, job_id)
        WHERE (settle_time IS NULL OR certainty = 'UNVERIFIABLE') AND trigger_state IN ('ACCEPTED', 'ENDED')
    """,
    # What makes RUN_ACTIVE.
    """
    CREATE INDEX deployment_runs_active ON deployment_runs (tenant_id, deployment_id) WHERE settle_time IS NULL
    """,
    """
    CREATE INDEX deployment_runs_to_confirm ON deployment_runs (confirm_due_time) WHERE confirm_due_time IS NOT NULL
    """,
    # Whether Jenkins discards old builds of the job; NULL: not readable.
    "ALTER TABLE cicd_jobs ADD discards_builds boolean",
    f"ALTER TABLE deployment_events ADD certainty text CHECK (certainty IN {CERTAINTIES})",
    """
    UPDATE deployment_events SET certainty = CASE WHEN confirmed THEN 'CONFIRMED'
        WHEN failure_cause IN ('BUILD_LOST', 'TRIGGER_OUTCOME_UNKNOWN') THEN 'UNVERIFIABLE' ELSE 'REPORTED' END
    WHERE run_number IS NOT NULL AND status IN ('COMPLETED', 'FAILED', 'CANCELLED')
    """,
    "ALTER TABLE deployment_events DROP confirmed, DROP CONSTRAINT deployment_events_type_check",
    f"""
    ALTER TABLE deployment_events ADD CONSTRAINT deployment_events_type_check
        CHECK (type IN ({OLD_TYPES}, 'DEPLOYMENT_RUN_SETTLED'))
    """,
)

DOWNGRADE = (
    "ALTER TABLE cicd_jobs DROP discards_builds",
    "ALTER TABLE deployment_events ADD confirmed boolean NOT NULL DEFAULT false",
    "UPDATE deployment_events SET confirmed = true WHERE certainty = 'CONFIRMED'",
    """
    UPDATE deployment_events SET type = 'DEPLOYMENT_STATUS_UPDATE' WHERE type = 'DEPLOYMENT_RUN_SETTLED'
    """,
    "ALTER TABLE deployment_events DROP certainty, DROP CONSTRAINT deployment_events_type_check",
    f"""
    ALTER TABLE deployment_events ADD CONSTRAINT deployment_events_type_check CHECK (type IN ({OLD_TYPES}))
    """,
    "ALTER TABLE deployment_runs ADD confirmed boolean NOT NULL DEFAULT false",
    "UPDATE deployment_runs SET confirmed = true WHERE certainty = 'CONFIRMED'",
    """
    ALTER TABLE deployment_runs ADD CHECK (NOT confirmed OR end_time IS NOT NULL),
        DROP order_generation, DROP order_position, DROP certainty, DROP settle_time, DROP reported_status,
        DROP reported_ends, DROP building_time, DROP absent_time, DROP unsaved_result, DROP shown,
        DROP confirm_due_time
    """,
    """
    ALTER TABLE deployment_runs
        ADD order_generation int NOT NULL GENERATED ALWAYS AS (
            CASE WHEN source = 'SERVICE' AND build_number IS NULL AND end_time IS NULL THEN 2147483647
                 ELSE coalesce(generation, after_generation) END) STORED,
        ADD order_position bigint NOT NULL GENERATED ALWAYS AS (
            CASE WHEN build_number IS NULL THEN 2 * after_build_number::bigint + 1
                 ELSE 2 * build_number::bigint END) STORED
    """,
    *RUNS_IN_ORDER,
    """
    CREATE INDEX deployment_runs_to_read
        ON deployment_runs (tenant_id, job_id) WHERE NOT confirmed AND trigger_state IN ('ACCEPTED', 'ENDED')
    """,
    """
    CREATE INDEX deployment_runs_active
        ON deployment_runs (tenant_id, deployment_id) WHERE end_time IS NULL
    """,
)


def upgrade() -> None:
    for statement in UPGRADE:
        op.execute(statement)


def downgrade() -> None:
    for statement in DOWNGRADE:
        op.execute(statement)
