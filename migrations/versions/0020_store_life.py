"""In which life of the store a run was created: a run of the present one cannot have been sent in another."""

from __future__ import annotations

from alembic import op

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None

UPGRADE = (
    # A life ends with a restore, and with a failover, which may lose commits. NULL where the server keeps its functions
    # to itself: then nothing proves in which life a run was created.
    """
    CREATE FUNCTION store_life() RETURNS text LANGUAGE plpgsql STABLE AS $$
    BEGIN
        RETURN concat_ws('/', (SELECT system_identifier FROM pg_control_system()),
            left(pg_walfile_name(pg_current_wal_lsn()), 8), (SELECT marker FROM store_epoch));
    EXCEPTION WHEN insufficient_privilege OR undefined_function THEN
        RETURN NULL;
    END $$
    """,
    # Rows that exist keep NULL: this may be a restored database that is migrated before it is served.
    "ALTER TABLE deployment_runs ADD store_life text",
    "ALTER TABLE deployment_runs ALTER store_life SET DEFAULT store_life()",
)
DOWNGRADE = (
    "ALTER TABLE deployment_runs DROP store_life",
    "DROP FUNCTION store_life",
)


def upgrade() -> None:
    for statement in UPGRADE:
        op.execute(statement)


def downgrade() -> None:
    for statement in DOWNGRADE:
        op.execute(statement)
