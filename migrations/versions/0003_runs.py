"""Part 3: runs, the attempts to trigger them, events, and what webhooks delivered."""

from __future__ import annotations

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

STATUSES = "('PENDING', 'RUNNING', 'COMPLETED', 'FAILED', 'CANCELLED')"

UPGRADE = (
    # trigger_state: WAITING (nothing is in Jenkins) -> SENDING (a post may be on its way or may have arrived)
    # -> ACCEPTED (Jenkins has it) or ENDED (there will be no post). rank is the point in the status order.
    # build_timestamp_ms: as Jenkins itself shows it; NULL: it hasn't shown the build yet.
    # failures: steps of the trigger that failed in a row. first_build_number: no lower number can be the run's.
    # after_*: the highest build known when a run ended that never got one. order_*: what makes a run the deployment's
    # current one (domain/runs.py: order_key).
    f"""
    CREATE TABLE deployment_runs (
        tenant_id uuid NOT NULL,
        run_id uuid NOT NULL DEFAULT gen_random_uuid(),
        deployment_id uuid NOT NULL,
        number int NOT NULL CHECK (number >= 1),
        job_id uuid NOT NULL,
        source text NOT NULL CHECK (source IN ('SERVICE', 'EXTERNAL')),
        parameters jsonb NOT NULL DEFAULT '{{}}' CHECK (jsonb_typeof(parameters) = 'object'),
        status text NOT NULL DEFAULT 'PENDING' CHECK (status IN {STATUSES}),
        rank smallint NOT NULL DEFAULT 0 CHECK (rank BETWEEN 0 AND 399),
        result text NOT NULL DEFAULT '',
        confirmed boolean NOT NULL DEFAULT false,
        failure_cause text,
        failure_message text NOT NULL DEFAULT '',
        waiting_for text CHECK (waiting_for IN ('TRIGGER', 'QUEUE', 'INPUT')),
        waiting_reason text NOT NULL DEFAULT '',
        generation int,
        build_number int CHECK (build_number >= 1),
        build_timestamp_ms bigint,
        queue_id bigint CHECK (queue_id >= 1),
        first_build_number int,
        after_generation int NOT NULL DEFAULT 0,
        after_build_number int NOT NULL DEFAULT 0,
        order_generation int NOT NULL GENERATED ALWAYS AS (
            CASE WHEN source = 'SERVICE' AND build_number IS NULL AND end_time IS NULL THEN 2147483647
                 ELSE coalesce(generation, after_generation) END) STORED,
        order_position bigint NOT NULL GENERATED ALWAYS AS (
            CASE WHEN build_number IS NULL THEN 2 * after_build_number::bigint + 1
                 ELSE 2 * build_number::bigint END) STORED,
        trigger_state text NOT NULL CHECK (trigger_state IN ('WAITING', 'SENDING', 'ACCEPTED', 'ENDED')),
        attempt int NOT NULL DEFAULT 0,
        failures int NOT NULL DEFAULT 0,
        lease_owner uuid,
        lease_until timestamptz,
        next_try_time timestamptz,
        trigger_deadline timestamptz,
        unclear_until timestamptz,
        look_count int NOT NULL DEFAULT 0,
        look_time timestamptz,
        look_session text,
        cancel_request_time timestamptz,
        cancel_sent_time timestamptz,
        create_time timestamptz NOT NULL DEFAULT now(),
        start_time timestamptz,
        end_time timestamptz,
        last_observed_time timestamptz,
        PRIMARY KEY (tenant_id, run_id),
        UNIQUE (tenant_id, deployment_id, number),
        FOREIGN KEY (tenant_id, deployment_id) REFERENCES deployments ON DELETE CASCADE,
        CHECK ((build_number IS NULL) = (generation IS NULL)),
        CHECK (source = 'SERVICE' OR trigger_state = 'ENDED' AND (build_number IS NOT NULL OR end_time IS NOT NULL)),
        CHECK ((status IN ('COMPLETED', 'FAILED', 'CANCELLED')) = (end_time IS NOT NULL)),
        CHECK ((rank >= 300) = (end_time IS NOT NULL)),
        CHECK ((status IN ('FAILED', 'CANCELLED')) = (failure_cause IS NOT NULL)),
        CHECK (NOT confirmed OR end_time IS NOT NULL),
        CHECK (trigger_state <> 'SENDING' OR unclear_until IS NOT NULL),
        CHECK (trigger_state NOT IN ('WAITING', 'SENDING') OR next_try_time IS NOT NULL),
        CHECK ((lease_owner IS NULL) = (lease_until IS NULL))
    )
    """,
    # One owner per build.
    """
    CREATE UNIQUE INDEX deployment_runs_by_build
        ON deployment_runs (tenant_id, job_id, generation, build_number) WHERE build_number IS NOT NULL
    """,
    """
    CREATE INDEX deployment_runs_to_trigger
        ON deployment_runs (next_try_time) WHERE trigger_state IN ('WAITING', 'SENDING')
    """,
    # What Jenkins is asked about until it is confirmed.
    """
    CREATE INDEX deployment_runs_to_read
        ON deployment_runs (tenant_id, job_id) WHERE NOT confirmed AND trigger_state IN ('ACCEPTED', 'ENDED')
    """,
    # What a report that names no run may belong to.
    """
    CREATE INDEX deployment_runs_without_build
        ON deployment_runs (tenant_id, job_id)
        WHERE source = 'SERVICE' AND build_number IS NULL AND end_time IS NULL
    """,
    """
    CREATE INDEX deployment_runs_in_order
        ON deployment_runs (tenant_id, deployment_id, order_generation, order_position, number)
    """,
    """
    CREATE INDEX deployment_runs_completed
        ON deployment_runs (tenant_id, deployment_id, order_generation, order_position, number)
        WHERE status = 'COMPLETED'
    """,
    # Runs of all deployments, newest first.
    """
    CREATE INDEX deployment_runs_by_age ON deployment_runs (tenant_id, create_time DESC, run_id DESC)
    """,
    # What makes RUN_ACTIVE.
    """
    CREATE INDEX deployment_runs_active
        ON deployment_runs (tenant_id, deployment_id) WHERE end_time IS NULL
    """,
    # named: the request carried the run's id.
    """
    CREATE TABLE run_attempts (
        tenant_id uuid NOT NULL,
        run_id uuid NOT NULL,
        attempt int NOT NULL,
        owner uuid NOT NULL,
        claim_time timestamptz NOT NULL DEFAULT now(),
        send_by timestamptz,
        next_build_number int,
        jenkins_session text,
        named boolean,
        outcome text NOT NULL DEFAULT '',
        http_status int,
        queue_id bigint,
        message text NOT NULL DEFAULT '',
        end_time timestamptz,
        PRIMARY KEY (tenant_id, run_id, attempt),
        FOREIGN KEY (tenant_id, run_id) REFERENCES deployment_runs ON DELETE CASCADE
    )
    """,
    # No foreign key to deployments: history outlives them. The name is the one at the time.
    f"""
    CREATE TABLE deployment_events (
        tenant_id uuid NOT NULL REFERENCES tenants,
        sequence bigint NOT NULL CHECK (sequence >= 1),
        deployment_id uuid NOT NULL,
        deployment_slug text NOT NULL,
        revision bigint NOT NULL CHECK (revision >= 1),
        type text NOT NULL CHECK (type IN (
            'DEPLOYMENT_STATUS_UPDATE', 'DEPLOYMENT_RUN_START', 'DEPLOYMENT_RUN_FAILURE',
            'DEPLOYMENT_CREATED', 'DEPLOYMENT_UPDATED', 'DEPLOYMENT_DELETED', 'DEPLOYMENT_JOB_UPDATE')),
        run_number int,
        job_id uuid,
        build_number int,
        old_status text NOT NULL CHECK (old_status IN {STATUSES}),
        status text NOT NULL CHECK (status IN {STATUSES}),
        deployment_status text NOT NULL CHECK (deployment_status IN {STATUSES}),
        source text NOT NULL CHECK (source IN ('API', 'DISPATCHER', 'WEBHOOK', 'READ')),
        confirmed boolean NOT NULL DEFAULT false,
        correction boolean NOT NULL DEFAULT false,
        failure_cause text,
        message text NOT NULL DEFAULT '',
        create_time timestamptz NOT NULL DEFAULT clock_timestamp(),
        PRIMARY KEY (tenant_id, sequence),
        UNIQUE (tenant_id, deployment_id, revision)
    )
    """,
    "CREATE INDEX deployment_events_by_name ON deployment_events (tenant_id, deployment_slug, sequence)",
    # A report that can't be attributed yet stays here as KEPT until Jenkins says whose build it is.
    """
    CREATE TABLE webhook_deliveries (
        tenant_id uuid NOT NULL REFERENCES tenants,
        delivery_id bigint NOT NULL GENERATED ALWAYS AS IDENTITY,
        job_id uuid NOT NULL,
        build_number int NOT NULL,
        run_id uuid,
        source text NOT NULL,
        phase text NOT NULL DEFAULT '',
        status text NOT NULL DEFAULT '',
        rank smallint NOT NULL,
        queue_id bigint,
        sender_timestamp_ms bigint,
        verdict text NOT NULL,
        message text NOT NULL DEFAULT '',
        signed_id text,
        receive_time timestamptz NOT NULL,
        create_time timestamptz NOT NULL DEFAULT now(),
        PRIMARY KEY (tenant_id, delivery_id)
    )
    """,
    "CREATE INDEX webhook_deliveries_by_build ON webhook_deliveries (tenant_id, job_id, build_number)",
    # A signed delivery has a name; a second one of that name is a replay.
    """
    CREATE UNIQUE INDEX webhook_deliveries_signed
        ON webhook_deliveries (tenant_id, job_id, signed_id) WHERE signed_id IS NOT NULL
    """,
    """
    CREATE INDEX webhook_deliveries_kept
        ON webhook_deliveries (tenant_id, job_id, build_number) WHERE verdict = 'KEPT'
    """,
    # tenant_id is the nil UUID for calls that are of no tenant. sequence: the position that the first answer gave.
    """
    CREATE TABLE request_ids (
        tenant_id uuid NOT NULL,
        caller text NOT NULL,
        method text NOT NULL,
        request_id uuid NOT NULL,
        body_sha256 bytea NOT NULL,
        resource_id uuid,
        sequence bigint NOT NULL DEFAULT 0,
        create_time timestamptz NOT NULL DEFAULT now(),
        PRIMARY KEY (tenant_id, caller, method, request_id)
    )
    """,
    "CREATE INDEX request_ids_by_age ON request_ids (create_time)",
)

TABLES = (
    "request_ids",
    "webhook_deliveries",
    "deployment_events",
    "run_attempts",
    "deployment_runs",
)


def upgrade() -> None:
    for statement in UPGRADE:
        op.execute(statement)


def downgrade() -> None:
    for table in TABLES:
        op.execute(f"DROP TABLE {table}")
