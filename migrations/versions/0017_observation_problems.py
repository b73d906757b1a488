"""What keeps Jenkins from being observed, on jobs and providers; cancel requests that cannot be carried out.

problem_since: the first failure; NULL: none since the last success. problem_event_time: when watchers of the
deployment were told of a problem that has not ended yet.
"""

from __future__ import annotations

from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

TYPES = """
    'DEPLOYMENT_STATUS_UPDATE', 'DEPLOYMENT_RUN_START', 'DEPLOYMENT_RUN_FAILURE',
    'DEPLOYMENT_CREATED', 'DEPLOYMENT_UPDATED', 'DEPLOYMENT_DELETED', 'DEPLOYMENT_JOB_UPDATE',
    'DEPLOYMENT_RUN_SETTLED', 'DEPLOYMENT_JOB_DRIFTED', 'DEPLOYMENT_POSSIBLE_DUPLICATE'
"""
REASONS = """
    'UNREACHABLE', 'SLOW', 'STARTING', 'OVERLOADED', 'SERVER_ERROR', 'NOT_JENKINS', 'REFUSED', 'PERMISSION_MISSING',
    'MALFORMED_ANSWER', 'JOB_NOT_SHOWN'
"""


def _problem_columns(table: str, prefix: str = "") -> str:
    since, reason, message = (f"{prefix}problem_{part}" for part in ("since", "reason", "message"))
    return f"""
        ALTER TABLE {table}
            ADD {since} timestamptz,
            ADD {reason} text CHECK ({reason} IN ({REASONS})),
            ADD {message} text CHECK (length({message}) BETWEEN 1 AND 500),
            ADD CHECK (num_nulls({since}, {reason}, {message}) IN (0, 3))
    """


def _allow(types: str) -> None:
    op.execute("ALTER TABLE deployment_events DROP CONSTRAINT deployment_events_type_check")
    op.execute(
        f"ALTER TABLE deployment_events ADD CONSTRAINT deployment_events_type_check CHECK (type IN ({types}))"
    )


UPGRADE = (
    _problem_columns("cicd_providers"),
    _problem_columns("cicd_jobs"),
    _problem_columns("deployment_runs", "cancel_"),
    "ALTER TABLE deployment_runs ADD CHECK (cancel_problem_since IS NULL OR cancel_request_time IS NOT NULL)",
    "ALTER TABLE deployments ADD problem_event_time timestamptz",
    f"""
    ALTER TABLE deployment_events
        ADD problem_since timestamptz,
        ADD problem_reason text CHECK (problem_reason IN ({REASONS})),
        ADD CHECK ((problem_since IS NULL) = (problem_reason IS NULL)),
        ADD CHECK (problem_reason IS NULL OR type = 'DEPLOYMENT_OBSERVATION_PROBLEM')
    """,
    # Nearly always empty, so that a cycle finds out at no cost that all is well.
    "CREATE INDEX cicd_jobs_with_problem ON cicd_jobs (tenant_id, provider_id) WHERE problem_since IS NOT NULL",
    """
    CREATE INDEX deployment_runs_with_problem ON deployment_runs (tenant_id, job_id)
        WHERE cancel_problem_since IS NOT NULL
    """,
    """
    CREATE INDEX deployments_with_problem ON deployments (tenant_id, provider_id)
        WHERE problem_event_time IS NOT NULL
    """,
    # Runs that are held up before they are sent: their provider is read to learn when it answers again.
    """
    CREATE INDEX deployment_runs_held_up ON deployment_runs (tenant_id, job_id)
        WHERE trigger_state IN ('WAITING', 'SENDING') AND failures > 0
    """,
    """
    GRANT UPDATE (problem_since, problem_reason, problem_message) ON cicd_providers TO deployment_worker
    """,
)
DOWNGRADE = (
    "DROP INDEX deployment_runs_held_up",
    "ALTER TABLE deployment_events DROP problem_since, DROP problem_reason",
    "ALTER TABLE deployments DROP problem_event_time",
    """
    ALTER TABLE deployment_runs
        DROP cancel_problem_since, DROP cancel_problem_reason, DROP cancel_problem_message
    """,
    "ALTER TABLE cicd_jobs DROP problem_since, DROP problem_reason, DROP problem_message",
    "ALTER TABLE cicd_providers DROP problem_since, DROP problem_reason, DROP problem_message",
)


def upgrade() -> None:
    for statement in UPGRADE:
        op.execute(statement)
    _allow(f"{TYPES}, 'DEPLOYMENT_OBSERVATION_PROBLEM'")


def downgrade() -> None:
    op.execute(
        "UPDATE deployment_events SET type = 'DEPLOYMENT_JOB_UPDATE', problem_since = NULL, problem_reason = NULL"
        " WHERE type = 'DEPLOYMENT_OBSERVATION_PROBLEM'"
    )
    _allow(TYPES)
    for statement in DOWNGRADE:
        op.execute(statement)
