"""The two database roles: `deployment_api` for calls, `deployment_worker` for what runs by itself.

A downgrade takes their rights, not the roles: other databases of the cluster may use them.
"""

from __future__ import annotations

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

ROLES = ("deployment_api", "deployment_worker")

UPGRADE = (
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
    "GRANT SELECT, INSERT, UPDATE, DELETE ON cicd_controllers, unread_jobs TO deployment_worker",
    "GRANT SELECT, INSERT, UPDATE ON webhook_key_uses TO deployment_worker",
    "GRANT UPDATE (settled) ON store_epoch TO deployment_worker",
    "GRANT INSERT ON deployment_runs, run_attempts, deployment_events, webhook_deliveries TO deployment_worker",
    "GRANT DELETE ON cicd_jobs, deployment_events, webhook_deliveries, request_ids TO deployment_worker",
)


def upgrade() -> None:
    for statement in UPGRADE:
        op.execute(statement)


def downgrade() -> None:
    for role in ROLES:
        op.execute(f"REVOKE ALL ON ALL TABLES IN SCHEMA public FROM {role}")
        op.execute(f"REVOKE USAGE ON SCHEMA public FROM {role}")
