"""Whether the database has the schema that this version of the service needs.

Without Alembic: to import it takes a service that starts as long as everything else.
"""

from __future__ import annotations

from pathlib import Path

import asyncpg

_REVISION = "SELECT version_num FROM alembic_version"


class MigrationsMissing(RuntimeError):
    """The installation lacks the migration scripts."""


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
    *older, head = revisions()
    # A revision that we don't know is newer: a schema stays usable for the version before it.
    if revision is None or revision in older:
        raise SchemaTooOld(
            f"The database's schema is {'missing' if revision is None else f'at {revision}'}, "
            f"this version needs {head}. Run: deployment-service migrate"
        )


def revisions() -> list[str]:
    """The revisions that we know, oldest first: a script's name begins with its own."""
    return sorted(path.name[:4] for path in (scripts() / "versions").glob("[0-9]*.py"))


def scripts() -> Path:
    """The scripts are inside the installed package, or beside it in a checkout."""
    package = Path(__file__).resolve().parent.parent
    for path in (package / "migrations", package.parent / "migrations"):
        if (path / "env.py").is_file():
            return path
    raise MigrationsMissing("The migration scripts aren't part of this installation.")
