"""The first store: tenants, providers, deployments, jobs, runs, events.

Every key starts with the tenant. The CHECK constraints hold what the code relies on; the comments
say why a column exists, docs/store.md tells how the tables are used together.
"""

from __future__ import annotations

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

SLUG = "~ '^[a-z]([a-z0-9-]{0,61}[a-z0-9])?$'"
STATUSES = "('PENDING', 'RUNNING', 'COMPLETED', 'FAILED', 'CANCELLED')"

UPGRADE = (
    # The restore runbook replaces the marker, so that clients learn that history may have changed.
    """
    CREATE TABLE store_epoch (
        only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
        marker uuid NOT NULL DEFAULT gen_random_uuid()
    )
    """,
    "INSERT INTO store_epoch DEFAULT VALUES",
    f"""
    CREATE TABLE tenants (
        tenant_id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
        slug text NOT NULL UNIQUE CHECK (slug {SLUG}),
        display_name text NOT NULL DEFAULT '',
        version bigint NOT NULL DEFAULT 1,
        create_time timestamptz NOT NULL DEFAULT now(),
        update_time timestamptz NOT NULL DEFAULT now()
    )
    """,
    """
    CREATE TABLE webhook_keys (
        tenant_id uuid NOT NULL REFERENCES tenants,
        key_id text NOT NULL CHECK (key_id ~ '^[a-z0-9]{1,32}$'),
        secret_encrypted bytea NOT NULL,
        create_time timestamptz NOT NULL DEFAULT now(),
        retire_time timestamptz,
        PRIMARY KEY (tenant_id, key_id)
    )
    """,
    # The secret is random and long, so a plain SHA-256 of it can't be searched; tenant_id NULL = all tenants.
    """
    CREATE TABLE api_keys (
        key_id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
        tenant_id uuid REFERENCES tenants,
        secret_sha256 bytea NOT NULL UNIQUE CHECK (octet_length(secret_sha256) = 32),
        role text NOT NULL CHECK (role IN ('VIEWER', 'DEPLOYER', 'DEFINER', 'GATEWAY', 'ADMIN')),
        display_name text NOT NULL DEFAULT '',
        create_time timestamptz NOT NULL DEFAULT now(),
        revoke_time timestamptz
    )
    """,
    "CREATE INDEX api_keys_by_age ON api_keys (create_time DESC, key_id)",
    f"""
    CREATE TABLE cicd_providers (
        tenant_id uuid NOT NULL REFERENCES tenants,
        provider_id uuid NOT NULL DEFAULT gen_random_uuid(),
        slug text NOT NULL CHECK (slug {SLUG}),
        display_name text NOT NULL DEFAULT '',
        base_url text NOT NULL CHECK (base_url ~ '^https?://'),
        username text NOT NULL DEFAULT '',
        api_token_encrypted bytea,
        reporting text NOT NULL DEFAULT 'AUTO' CHECK (reporting IN ('AUTO', 'WEBHOOK', 'POLLING')),
        webhook_base_url text NOT NULL DEFAULT '',
        ca_certificate_pem text NOT NULL DEFAULT '',
        job_folder text NOT NULL DEFAULT '',
        allowed_folders text[] NOT NULL DEFAULT '{{}}',
        allowed_job_kinds text[] NOT NULL DEFAULT '{{}}',
        controller_key text NOT NULL GENERATED ALWAYS AS (md5(base_url || E'\\n' || username)) STORED,
        version bigint NOT NULL DEFAULT 1,
        create_time timestamptz NOT NULL DEFAULT now(),
        update_time timestamptz NOT NULL DEFAULT now(),
        PRIMARY KEY (tenant_id, provider_id),
        UNIQUE (tenant_id, slug)
    )
    """,
    "CREATE INDEX cicd_providers_by_controller ON cicd_providers (controller_key)",
    # One Jenkins seen through one account, whichever tenants' providers name it: the reading cycle is leased here.
    """
    CREATE TABLE cicd_controllers (
        controller_key text PRIMARY KEY,
        lease_owner uuid,
        lease_until timestamptz,
        next_cycle_time timestamptz NOT NULL DEFAULT now(),
        session text NOT NULL DEFAULT '',
        session_time timestamptz,
        CHECK ((lease_owner IS NULL) = (lease_until IS NULL))
    )
    """,
    # status is the current run's; revision counts the deployment's events, version its definitions.
    f"""
    CREATE TABLE deployments (
        tenant_id uuid NOT NULL REFERENCES tenants,
        deployment_id uuid NOT NULL DEFAULT gen_random_uuid(),
        slug text NOT NULL CHECK (slug {SLUG}),
        display_name text NOT NULL DEFAULT '',
        provider_id uuid NOT NULL,
        job_kind text NOT NULL CHECK (job_kind IN
            ('EXISTING', 'PIPELINE_SCRIPT', 'PIPELINE_SCM', 'FREESTYLE_SHELL', 'CONFIG_XML')),
        job_spec jsonb NOT NULL,
        parameters jsonb NOT NULL DEFAULT '{{}}' CHECK (jsonb_typeof(parameters) = 'object'),
        labels jsonb NOT NULL DEFAULT '{{}}' CHECK (jsonb_typeof(labels) = 'object'),
        unstable_policy text NOT NULL DEFAULT 'FAILED' CHECK (unstable_policy IN ('FAILED', 'COMPLETED')),
        status text NOT NULL DEFAULT 'PENDING' CHECK (status IN {STATUSES}),
        current_run_id uuid,
        last_completed_run_id uuid,
        revision bigint NOT NULL DEFAULT 0 CHECK (revision >= 0),
        version bigint NOT NULL DEFAULT 1,
        create_time timestamptz NOT NULL DEFAULT now(),
        update_time timestamptz NOT NULL DEFAULT now(),
        PRIMARY KEY (tenant_id, deployment_id),
        UNIQUE (tenant_id, slug),
        FOREIGN KEY (tenant_id, provider_id) REFERENCES cicd_providers
    )
    """,
    "CREATE INDEX deployments_by_provider ON deployments (tenant_id, provider_id)",
    "CREATE INDEX deployments_by_label ON deployments USING gin (labels jsonb_path_ops)",
    # The work on a job (create, look up, delete) is leased like a run's trigger: attempt fences late writers.
    # status/status_* is the last report as it came, kept by (generation, number, rank) so that order can't matter.
    """
    CREATE TABLE cicd_jobs (
        tenant_id uuid NOT NULL REFERENCES tenants,
        job_id uuid NOT NULL DEFAULT gen_random_uuid(),
        provider_id uuid NOT NULL,
        full_name text NOT NULL CHECK (full_name <> ''),
        origin text NOT NULL CHECK (origin IN ('CREATED', 'ADOPTED')),
        owner_deployment_id uuid CHECK ((origin = 'CREATED') = (owner_deployment_id IS NOT NULL)),
        state text NOT NULL DEFAULT 'CREATING' CHECK (state IN ('CREATING', 'READY', 'FAILED', 'DELETING')),
        state_message text NOT NULL DEFAULT '',
        correlation text CHECK (correlation IN ('RUN_ID', 'QUEUE_ITEM')),
        sends_webhooks boolean,
        status text NOT NULL DEFAULT '',
        status_generation int NOT NULL DEFAULT 0,
        status_build_number int NOT NULL DEFAULT 0,
        status_rank smallint NOT NULL DEFAULT 0,
        generation int NOT NULL DEFAULT 1 CHECK (generation >= 1),
        next_build_number int,
        attempt int NOT NULL DEFAULT 0,
        lease_owner uuid,
        lease_until timestamptz,
        next_try_time timestamptz DEFAULT now(),
        poke_time timestamptz,
        next_sweep_time timestamptz NOT NULL DEFAULT now(),
        create_time timestamptz NOT NULL DEFAULT now(),
        update_time timestamptz NOT NULL DEFAULT now(),
        PRIMARY KEY (tenant_id, job_id),
        UNIQUE (tenant_id, provider_id, full_name),
        FOREIGN KEY (tenant_id, provider_id) REFERENCES cicd_providers,
        CHECK ((lease_owner IS NULL) = (lease_until IS NULL)),
        CHECK (state IN ('READY', 'FAILED') OR next_try_time IS NOT NULL)
    )
    """,
    "CREATE INDEX cicd_jobs_to_do ON cicd_jobs (next_try_time) WHERE state IN ('CREATING', 'DELETING')",
    "CREATE INDEX cicd_jobs_poked ON cicd_jobs (poke_time) WHERE poke_time IS NOT NULL",
    "CREATE INDEX cicd_jobs_to_sweep ON cicd_jobs (next_sweep_time) WHERE state = 'READY'",
    # Builds below first_build_number (in first_generation) are older than the mapping and never become runs.
    """
    CREATE TABLE deployment_cicd_mappings (
        tenant_id uuid NOT NULL,
        deployment_id uuid NOT NULL,
        job_id uuid NOT NULL,
        fixed_parameters jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(fixed_parameters) = 'object'),
        first_generation int NOT NULL DEFAULT 1,
        first_build_number int,
        create_time timestamptz NOT NULL DEFAULT now(),
        PRIMARY KEY (tenant_id, deployment_id),
        FOREIGN KEY (tenant_id, deployment_id) REFERENCES deployments ON DELETE CASCADE,
        FOREIGN KEY (tenant_id, job_id) REFERENCES cicd_jobs
    )
    """,
    "CREATE INDEX deployment_cicd_mappings_by_job ON deployment_cicd_mappings (tenant_id, job_id)",
    # trigger_state: WAITING (nothing is in Jenkins) -> SENDING (a post may be on its way or may have arrived)
    # -> ACCEPTED (Jenkins has it) or ENDED (there will be no post). rank is the point in the status order.
    # first_build_number: no lower number can be the run's. after_*: the highest build known when a run ended that
    # never got one. order_*: what makes a run the deployment's current one (domain/runs.py: order_key).
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
        lease_owner uuid,
        lease_until timestamptz,
        next_try_time timestamptz,
        trigger_deadline timestamptz,
        unclear_until timestamptz,
        look_count int NOT NULL DEFAULT 0,
        look_time timestamptz,
        look_session text,
        create_time timestamptz NOT NULL DEFAULT now(),
        start_time timestamptz,
        end_time timestamptz,
        last_observed_time timestamptz,
        PRIMARY KEY (tenant_id, run_id),
        UNIQUE (tenant_id, deployment_id, number),
        FOREIGN KEY (tenant_id, deployment_id) REFERENCES deployments ON DELETE CASCADE,
        CHECK ((build_number IS NULL) = (generation IS NULL)),
        CHECK (source = 'SERVICE' OR (build_number IS NOT NULL AND trigger_state = 'ENDED')),
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
    # What makes RUN_ACTIVE.
    """
    CREATE INDEX deployment_runs_active
        ON deployment_runs (tenant_id, deployment_id) WHERE end_time IS NULL
    """,
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
        receive_time timestamptz NOT NULL,
        create_time timestamptz NOT NULL DEFAULT now(),
        PRIMARY KEY (tenant_id, delivery_id)
    )
    """,
    "CREATE INDEX webhook_deliveries_by_build ON webhook_deliveries (tenant_id, job_id, build_number)",
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
    # Roles belong to the whole cluster, so another database may have made them already; two migrations at once race.
    """
    DO $$
    DECLARE r text;
    BEGIN
        FOREACH r IN ARRAY ARRAY['deployment_api', 'deployment_worker'] LOOP
            BEGIN
                EXECUTE format('CREATE ROLE %I NOLOGIN', r);
            EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL;
            END;
            EXECUTE format('GRANT %I TO CURRENT_USER', r);
        END LOOP;
    END $$
    """,
    "GRANT USAGE ON SCHEMA public TO deployment_api, deployment_worker",
    "GRANT SELECT ON ALL TABLES IN SCHEMA public TO deployment_api",
    """
    GRANT INSERT, UPDATE, DELETE ON tenants, webhook_keys, api_keys, cicd_providers, deployments, cicd_jobs,
        deployment_cicd_mappings, deployment_runs, request_ids TO deployment_api
    """,
    "GRANT INSERT, DELETE ON deployment_events TO deployment_api",
    "GRANT DELETE ON webhook_deliveries, run_attempts TO deployment_api",
    """
    GRANT SELECT ON store_epoch, tenants, cicd_providers, webhook_keys, deployments, cicd_jobs,
        deployment_cicd_mappings, deployment_runs, run_attempts, deployment_events, webhook_deliveries,
        request_ids TO deployment_worker
    """,
    # UPDATE on tenants is what locking the row takes.
    """
    GRANT UPDATE ON tenants, deployments, cicd_jobs, deployment_cicd_mappings, deployment_runs, run_attempts,
        webhook_deliveries TO deployment_worker
    """,
    "GRANT SELECT, INSERT, UPDATE, DELETE ON cicd_controllers TO deployment_worker",
    "GRANT INSERT ON deployment_runs, run_attempts, deployment_events, webhook_deliveries TO deployment_worker",
    "GRANT DELETE ON cicd_jobs, deployment_events, webhook_deliveries, request_ids TO deployment_worker",
)

TABLES = (
    "request_ids",
    "webhook_deliveries",
    "deployment_events",
    "run_attempts",
    "deployment_runs",
    "deployment_cicd_mappings",
    "cicd_jobs",
    "deployments",
    "cicd_controllers",
    "cicd_providers",
    "api_keys",
    "webhook_keys",
    "tenants",
    "store_epoch",
)


def upgrade() -> None:
    for statement in UPGRADE:
        op.execute(statement)


def downgrade() -> None:
    """Drop the tables. The two roles stay: other databases of the cluster may use them."""
    for table in TABLES:
        op.execute(f"DROP TABLE {table}")
