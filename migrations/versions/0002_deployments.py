"""Part 2: deployments, their jobs, and which belong together."""

from __future__ import annotations

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

SLUG = "~ '^[a-z]([a-z0-9-]{0,61}[a-z0-9])?$'"
STATUSES = "('PENDING', 'RUNNING', 'COMPLETED', 'FAILED', 'CANCELLED')"

UPGRADE = (
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
    # token_exposed: Jenkins prints the token in its console, or may do so: then it proves no final status.
    # number_time: when next_build_number was written; what was read of Jenkins before then is out of date.
    # endpoint_key_id: the webhook key in the endpoint that we wrote.
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
        token_exposed boolean NOT NULL DEFAULT true,
        endpoint_key_id text,
        status text NOT NULL DEFAULT '',
        status_generation int NOT NULL DEFAULT 0,
        status_build_number int NOT NULL DEFAULT 0,
        status_rank smallint NOT NULL DEFAULT 0,
        generation int NOT NULL DEFAULT 1 CHECK (generation >= 1),
        next_build_number int,
        number_time timestamptz,
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
    "CREATE INDEX cicd_jobs_to_do ON cicd_jobs (next_try_time) WHERE next_try_time IS NOT NULL",
    "CREATE INDEX cicd_jobs_poked ON cicd_jobs (poke_time) WHERE poke_time IS NOT NULL",
    "CREATE INDEX cicd_jobs_to_sweep ON cicd_jobs (next_sweep_time) WHERE state = 'READY'",
    # With which webhook keys a job's reports came, to the hour: it may have several senders. signed: with a signature,
    # which no rewriting of its endpoint changes.
    """
    CREATE TABLE webhook_key_uses (
        tenant_id uuid NOT NULL,
        job_id uuid NOT NULL,
        key_id text NOT NULL,
        signed boolean NOT NULL,
        last_seen_time timestamptz NOT NULL DEFAULT now(),
        PRIMARY KEY (tenant_id, job_id, key_id, signed),
        FOREIGN KEY (tenant_id, job_id) REFERENCES cicd_jobs ON DELETE CASCADE
    )
    """,
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
)

TABLES = (
    "deployment_cicd_mappings",
    "webhook_key_uses",
    "cicd_jobs",
    "deployments",
)


def upgrade() -> None:
    for statement in UPGRADE:
        op.execute(statement)


def downgrade() -> None:
    for table in TABLES:
        op.execute(f"DROP TABLE {table}")
