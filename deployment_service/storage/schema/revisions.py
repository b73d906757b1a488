"""Whether the database has the schema that this version of the service needs.

Without Alembic: to import it takes a service that starts as long as everything else.
"""

from __future__ import annotations

from pathlib import Path

import asyncpg

from deployment_service.storage.database.pool import API_ROLE, WORKER_ROLE
from deployment_service.storage.database.sessions import CONNECT_TIMEOUT_S, connect

_REVISION = "SELECT version_num FROM alembic_version"
_EXISTS = "SELECT to_regclass('alembic_version') IS NOT NULL"
_FOREIGN_ROLES = """
    SELECT name, current_user AS login FROM unnest($1::text[]) AS name LEFT JOIN pg_roles AS role ON rolname = name
    WHERE role.oid IS NULL OR NOT pg_has_role(role.oid, 'SET')
"""
# The schema as the login user finds it, then read as the service reads.
_ACT = """
    SELECT set_config('search_path', array_to_string(
        ARRAY(SELECT quote_ident(name) FROM unnest(current_schemas(false)) AS name), ', '), true);
    SET LOCAL ROLE deployment_api
"""


class MigrationsMissing(RuntimeError):
    """The installation lacks the migration scripts."""


class SchemaProblem(Exception):
    """The database is not prepared for the service; the message names the next step."""


class RolesMissing(SchemaProblem):
    """The login user is not a member of the service's roles."""

    def __init__(self, roles: list[str], login: str) -> None:
        super().__init__(
            "The login user may not act in the roles of the service. A DBA has to run:\n"
            f"  GRANT {', '.join(roles)} TO {quoted(login)};"
        )


async def check_schema(url: str) -> None:
    """Raise SchemaProblem unless the schema is the one we know or a newer one, and its roles are ours to take."""
    connection = await connect(url, application="start", command_timeout_s=CONNECT_TIMEOUT_S)
    try:
        # In a transaction: a pooler keeps it on one server.
        async with connection.transaction():
            foreign = await connection.fetch(_FOREIGN_ROLES, [API_ROLE, WORKER_ROLE])
            if foreign and await connection.fetchval(_EXISTS):
                raise RolesMissing([row["name"] for row in foreign], foreign[0]["login"])
            if not foreign:
                await connection.execute(_ACT)
            revision = await connection.fetchval(_REVISION)
    except (asyncpg.UndefinedTableError, asyncpg.InvalidSchemaNameError):
        revision = None
    finally:
        connection.terminate()
    *older, head = revisions()
    # A revision that we don't know is newer: a schema stays usable for the version before it.
    if revision is None or revision in older:
        raise SchemaProblem(
            f"The database's schema is {'missing' if revision is None else f'at {revision}'}, "
            f"this version needs {head}. Run: deployment-service migrate"
        )


def quoted(name: str) -> str:
    """Return an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def revisions() -> list[str]:
    """The revisions that we know, oldest first: a script's name begins with its own."""
    return sorted(path.name[:4] for path in (scripts() / "versions").glob("[0-9]*.py"))


def scripts() -> Path:
    """The scripts are inside the installed package, or beside it in a checkout."""
    package = Path(__file__).resolve().parents[2]
    for path in (package / "migrations", package.parent / "migrations"):
        if (path / "env.py").is_file():
            return path
    raise MigrationsMissing("The migration scripts aren't part of this installation.")
