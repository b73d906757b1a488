"""Changes of what gateways verify webhooks with: one row per job, so that a gateway reads changes only.

The rows are written by triggers, because jobs appear and go in several places and none may be missed.
"""

from __future__ import annotations

from alembic import op

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None

UPGRADE = (
    # When the job's signing secret was first given to somebody: since then gateways get it too.
    "ALTER TABLE cicd_jobs ADD COLUMN signing_since timestamptz",
    """
    UPDATE cicd_jobs AS j SET signing_since = now() WHERE EXISTS (
        SELECT FROM webhook_key_uses AS u WHERE u.tenant_id = j.tenant_id AND u.job_id = j.job_id AND u.signed)
    """,
    # changed: the transaction that changed it. gone: the job was deleted; the row stays for gateways that still have
    # it, also after its tenant (so no reference, and the slug).
    """
    CREATE TABLE webhook_verifiers (
        tenant_id uuid NOT NULL,
        job_id uuid NOT NULL,
        tenant_slug text NOT NULL,
        changed bigint NOT NULL CHECK (changed > 0),
        gone boolean NOT NULL DEFAULT false,
        update_time timestamptz NOT NULL DEFAULT now(),
        PRIMARY KEY (tenant_id, job_id)
    )
    """,
    "CREATE INDEX webhook_verifiers_changed ON webhook_verifiers (changed, tenant_id, job_id)",
    "CREATE INDEX webhook_verifiers_changed_of_tenant ON webhook_verifiers (tenant_id, changed, job_id)",
    "CREATE INDEX webhook_verifiers_gone ON webhook_verifiers (update_time) WHERE gone",
    """
    INSERT INTO webhook_verifiers (tenant_id, job_id, tenant_slug, changed)
    SELECT j.tenant_id, j.job_id, t.slug, pg_current_xact_id()::text::bigint
    FROM cicd_jobs AS j JOIN tenants AS t USING (tenant_id)
    """,
    """
    CREATE FUNCTION note_verifier_of_job() RETURNS trigger LANGUAGE plpgsql AS $$
    DECLARE job cicd_jobs;
    BEGIN
        IF TG_OP = 'DELETE' THEN job := OLD; ELSE job := NEW; END IF;
        INSERT INTO webhook_verifiers AS v (tenant_id, job_id, tenant_slug, changed, gone)
        SELECT job.tenant_id, job.job_id, t.slug, pg_current_xact_id()::text::bigint, TG_OP = 'DELETE' FROM tenants AS t
        WHERE t.tenant_id = job.tenant_id
        ON CONFLICT (tenant_id, job_id) DO UPDATE
            SET changed = excluded.changed, gone = excluded.gone, update_time = now();
        RETURN NULL;
    END $$
    """,
    """
    CREATE TRIGGER note_verifier AFTER INSERT OR DELETE OR UPDATE OF signing_since ON cicd_jobs
    FOR EACH ROW EXECUTE FUNCTION note_verifier_of_job()
    """,
    # A key that is added or retired changes what every job of the tenant proves itself with.
    """
    CREATE FUNCTION note_verifiers_of_tenant() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        UPDATE webhook_verifiers SET changed = pg_current_xact_id()::text::bigint, update_time = now()
        WHERE tenant_id = NEW.tenant_id AND NOT gone;
        RETURN NULL;
    END $$
    """,
    """
    CREATE TRIGGER note_verifiers AFTER INSERT OR UPDATE ON webhook_keys
    FOR EACH ROW EXECUTE FUNCTION note_verifiers_of_tenant()
    """,
    "GRANT SELECT, INSERT, UPDATE ON webhook_verifiers TO deployment_api, deployment_worker",
    "GRANT DELETE ON webhook_verifiers TO deployment_worker",
)


def upgrade() -> None:
    for statement in UPGRADE:
        op.execute(statement)


def downgrade() -> None:
    op.execute("DROP TRIGGER note_verifiers ON webhook_keys")
    op.execute("DROP TRIGGER note_verifier ON cicd_jobs")
    op.execute("DROP FUNCTION note_verifiers_of_tenant()")
    op.execute("DROP FUNCTION note_verifier_of_job()")
    op.execute("DROP TABLE webhook_verifiers")
    op.execute("ALTER TABLE cicd_jobs DROP COLUMN signing_since")
