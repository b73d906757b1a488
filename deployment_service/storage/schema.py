"""Whether the database has the schema that this version of the service needs."""

from __future__ import annotations

import asyncpg
from alembic.script import ScriptDirectory

from deployment_service.storage.migrate import scripts

_REVISION = "SELECT version_num FROM alembic_version"


class SchemaTooOld(Exception):
    """The schema has to be migrated first; the message says how."""


async def check_schema(url: str) -> None:
    """Raise SchemaTooOld unless the schema is the one we know or a newer one."""
    connection = await asyncpg.connect(url, timeout=5)
    try:
        revision = await connection.fetchval(_REVISION)
    except asyncpg.UndefinedTableError:
        revision = None
    finally:
        await connection.close()
    directory = ScriptDirectory(str(scripts()))
    head = directory.get_current_head()
    # A revision that we don't know is newer: a schema stays usable for the version before it.
    older = {script.revision for script in directory.walk_revisions()} - {head}
    if revision is None or revision in older:
        raise SchemaTooOld(
            f"The database's schema is {'missing' if revision is None else f'at {revision}'}, "
            f"this version needs {head}. Run: deployment-service migrate"
        )
