"""Run migrations on the connection that ``deployment_service.storage.schema.migrate`` passes.

There is no offline mode and no alembic.ini: ``deployment-service migrate`` is the only entry point.
"""

from __future__ import annotations

from alembic import context
from sqlalchemy import Connection

connection: Connection | None = context.config.attributes.get("connection")
if connection is None:
    raise SystemExit(
        "Run `deployment-service migrate`; to write a migration, copy an existing one."
    )

# One transaction for each migration, so that a failing migration does not roll back the earlier ones.
context.configure(connection=connection, transaction_per_migration=True)
with context.begin_transaction():
    context.run_migrations()
connection.commit()
