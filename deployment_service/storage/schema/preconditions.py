"""What a database must offer before it is migrated, and the statements by which a DBA provides it.

The login user of a migration need not own the server: an ordinary owner of the database is enough, once the two
roles exist and are granted to it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

import asyncpg

from deployment_service.storage.database.pool import API_ROLE, WORKER_ROLE
from deployment_service.storage.schema.revisions import SchemaProblem, quoted

ROLES = (API_ROLE, WORKER_ROLE)
_OLDEST_VERSION = 160000

_FACTS = """
    SELECT current_setting('server_version_num')::int AS version, current_setting('server_encoding') AS encoding,
        current_setting('server_version') AS version_text, current_setting('search_path') AS search_path,
        pg_is_in_recovery() OR current_setting('transaction_read_only') = 'on' AS read_only,
        current_user::text AS login, current_database()::text AS database, current_schema()::text AS schema,
        login.rolsuper OR login.rolcreaterole AS creates_roles
    FROM pg_roles AS login WHERE login.rolname = current_user
"""
_SCHEMA = """
    SELECT has_schema_privilege($1, 'CREATE') AND has_schema_privilege($1, 'USAGE') AS usable,
        has_schema_privilege($1, 'USAGE WITH GRANT OPTION') AS grants
"""
_ROLES = """
    SELECT name, role.oid IS NOT NULL AS exists, coalesce(pg_has_role(role.oid, 'SET'), false) AS taken,
        coalesce(pg_has_role(role.oid, 'MEMBER WITH ADMIN OPTION'), false) AS admin,
        coalesce(has_schema_privilege(role.oid, $2::text, 'USAGE'), false) AS sees_schema
    FROM unnest($1::text[]) AS name LEFT JOIN pg_roles AS role ON role.rolname = name ORDER BY name
"""
# Tables of another owner can't be altered.
_OWNERS = """
    SELECT DISTINCT pg_get_userbyid(relowner)::text AS owner FROM pg_class
    WHERE relnamespace = $1::text::regnamespace AND relkind = 'r' AND NOT pg_has_role(relowner, 'USAGE')
        AND to_regclass('alembic_version') IS NOT NULL
"""
_SET = """
    SELECT unnest(setconfig) AS setting FROM pg_db_role_setting
    WHERE setrole = current_user::regrole
        AND setdatabase = (SELECT oid FROM pg_database WHERE datname = current_database())
"""
_CREATE = """
    DO $$ BEGIN
        CREATE ROLE {role} NOLOGIN;
    EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL;
    END $$
"""
_IS_GRANTED = """
    SELECT EXISTS (SELECT FROM pg_auth_members
        WHERE roleid = $1::text::regrole AND member = current_user::regrole AND set_option)
"""


@dataclass(slots=True)
class Prepared:
    """A database that can be migrated. ``constants``: statements that keep its login user's sessions right."""

    login: str
    database: str
    schema: str
    constants: list[str]


@dataclass(slots=True)
class _Findings:
    problems: list[str] = field(default_factory=list)
    statements: list[str] = field(default_factory=list)

    def add(self, problem: str, *statements: str) -> None:
        self.problems.append(problem)
        self.statements += [one for one in statements if one not in self.statements]


class NotReady(SchemaProblem):
    """The database can't be migrated yet. ``statements`` are all that a DBA has to run first."""

    def __init__(self, problems: list[str], statements: list[str], database: str) -> None:
        lines = ["The database is not ready to be migrated:", *(f"  - {one}" for one in problems)]
        if statements:
            lines += [
                f"A DBA has to run in the database {quoted(database)}:",
                *(f"  {one}" for one in statements),
                "Then run `deployment-service migrate` again.",
            ]
        super().__init__("\n".join(lines))
        self.statements = statements


async def check_preconditions(connection: asyncpg.Connection) -> Prepared:
    """Return what the database is like; raises NotReady with all that is missing at once."""
    facts = await connection.fetchrow(_FACTS)
    assert facts is not None
    found = _Findings()
    _check_server(facts, found)
    wanted = _first_schema(facts["search_path"])
    # Not one that comes later in the search path: it would be hidden once the first exists.
    exists = facts["schema"] in (wanted, facts["login"])
    schema = facts["schema"] if exists else wanted
    constants = await _constants(connection, facts, schema)
    if not found.problems:
        await _check_schema(connection, facts, schema, found, exists=exists)
        await _check_roles(connection, facts, schema, found, exists=exists)
        for row in await connection.fetch(_OWNERS, quoted(schema)) if exists else ():
            found.add(
                f"the tables are owned by {quoted(row['owner'])}, so {quoted(facts['login'])} cannot alter them",
                f"GRANT {quoted(row['owner'])} TO {quoted(facts['login'])};",
            )
    if found.problems:
        statements = found.statements + (constants if found.statements else [])
        raise NotReady(found.problems, statements, facts["database"])
    return Prepared(facts["login"], facts["database"], schema, constants)


def _check_server(facts: Any, found: _Findings) -> None:
    if facts["version"] < _OLDEST_VERSION:
        found.add(
            f"the server is PostgreSQL {facts['version_text']}; version 16 or newer is needed"
        )
    if facts["encoding"] != "UTF8":
        found.add(
            f"the database has the encoding {facts['encoding']}; UTF8 is needed, which only a new database can have",
            "CREATE DATABASE deployments ENCODING 'UTF8' TEMPLATE template0 "
            f"OWNER {quoted(facts['login'])};  -- and name it in DEPLOYMENT_SERVICE_DATABASE_URL",
        )
    if facts["read_only"]:
        found.add(
            "the server takes no writes: it is a standby, or default_transaction_read_only is on"
        )


async def _check_schema(
    connection: asyncpg.Connection, facts: Any, schema: str, found: _Findings, *, exists: bool
) -> None:
    login = quoted(facts["login"])
    if not exists:
        hidden = await connection.fetchval(
            "SELECT EXISTS (SELECT FROM pg_namespace WHERE nspname = $1)", schema
        )
        if hidden:
            found.add(
                f"{login} may not use the schema {quoted(schema)}",
                f"GRANT USAGE, CREATE ON SCHEMA {quoted(schema)} TO {login};",
            )
        else:
            found.add(
                f"the schema {quoted(schema)} of the search path does not exist",
                f"CREATE SCHEMA {quoted(schema)} AUTHORIZATION {login};",
            )
        return
    rights = await connection.fetchrow(_SCHEMA, schema)
    assert rights is not None
    if not rights["usable"]:
        found.add(
            f"{login} may not create tables in the schema {quoted(schema)}",
            f"GRANT USAGE, CREATE ON SCHEMA {quoted(schema)} TO {login};",
        )


async def _check_roles(
    connection: asyncpg.Connection, facts: Any, schema: str, found: _Findings, *, exists: bool
) -> None:
    login = quoted(facts["login"])
    rights = await connection.fetchrow(_SCHEMA, schema) if exists else None
    # A schema that a DBA creates belongs to the login user, who then grants its use.
    grants = rights is None or rights["grants"]
    for role in await connection.fetch(_ROLES, list(ROLES), schema if exists else "pg_catalog"):
        name = role["name"]
        if not role["exists"] and not (facts["creates_roles"] and grants):
            found.add(
                f"the role {name} does not exist, and {login} may not create it and let it use the schema",
                f"CREATE ROLE {name} NOLOGIN;",
                f"GRANT {name} TO {login};",
            )
        elif role["exists"] and not role["taken"] and not role["admin"]:
            found.add(f"{login} is not a member of the role {name}", f"GRANT {name} TO {login};")
        if not grants and not role["sees_schema"]:
            found.add(
                f"the role {name} may not use the schema {quoted(schema)}, and {login} may not grant it",
                f"GRANT USAGE ON SCHEMA {quoted(schema)} TO {name};",
            )


async def ensure_roles(connection: asyncpg.Connection) -> None:
    """Create missing roles and memberships. ``check_preconditions`` must have passed."""
    for role in ROLES:
        if not await connection.fetchval("SELECT to_regrole($1) IS NOT NULL", role):
            await connection.execute(_CREATE.format(role=role))
        for attempt in range(5):
            if await connection.fetchval(_IS_GRANTED, role):
                break
            try:
                await connection.execute(f"GRANT {role} TO CURRENT_USER")
            except asyncpg.InsufficientPrivilegeError:
                break  # a member by way of another role
            except (asyncpg.InternalServerError, asyncpg.UniqueViolationError):
                # Another session changes the role at this moment: migrations of other databases do.
                if attempt == 4:
                    raise


async def _constants(connection: asyncpg.Connection, facts: Any, schema: str) -> list[str]:
    """Statements that set what every session needs on the login user; none for those that are set."""
    wanted = {
        "statement_timeout": "20s",
        "idle_in_transaction_session_timeout": "5s",
        "default_transaction_isolation": "read committed",
        "search_path": quoted(schema),
    }
    present = dict(row["setting"].split("=", 1) for row in await connection.fetch(_SET))
    alter = f"ALTER ROLE {quoted(facts['login'])} IN DATABASE {quoted(facts['database'])}"
    return [
        f"{alter} SET {name} = {_value(name, value)};"
        for name, value in wanted.items()
        if present.get(name) not in (value, value.strip('"'))
    ]


def _value(name: str, value: str) -> str:
    return value if name == "search_path" else f"'{value}'"


def _first_schema(search_path: str) -> str:
    """The schema that the search path means first, if it existed."""
    for name in re.findall(r'"((?:[^"]|"")*)"|([^\s,"]+)', search_path):
        schema: str = (name[0] or name[1]).replace('""', '"')
        if schema != "$user":
            return schema
    return "public"
