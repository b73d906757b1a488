"""The command ``deployment-service``: serve, migrate, and the first key."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import signal
import sys
from collections.abc import Coroutine
from typing import Any, TextIO

from deployment_service.runtime.extras import extra_required

with extra_required("deployment-service", "service"):
    from deployment_service.actions import api_keys, tenants
    from deployment_service.config import (
        DatabaseSettings,
        Settings,
        SettingsError,
        describe,
        load_database_settings,
        load_settings,
    )
    from deployment_service.domain.access import Role, TenantRef
    from deployment_service.domain.errors import ServiceError
    from deployment_service.domain.names import TenantName
    from deployment_service.runtime.logs import configure, log
    from deployment_service.runtime.secret_box import generate_key
    from deployment_service.runtime.service_links import SERVICE_LINK
    from deployment_service.runtime.version import version_text
    from deployment_service.storage.database.failures import (
        UNKNOWN_HOST,
        Kind,
        OutageLog,
        failure_of,
    )
    from deployment_service.storage.database.pool import API_ROLE, Database
    from deployment_service.storage.schema.revisions import SchemaProblem, check_schema

_SETTINGS_HELP = f"""Settings come from the environment [defaults in brackets]:

{describe()}"""
_RETRY_S = 1.0
# A host that is not known may be about to be: in a cluster names appear with the servers that they are of.
_UNKNOWN_HOST_GRACE_S = 5.0


class CommandError(Exception):
    """The command failed; the message has the remedy."""


def main() -> None:
    """Carry out a command; exit 2 if it or the settings are wrong, 1 if it failed."""
    arguments = _parser().parse_args()
    try:
        with extra_required("deployment-service", "service"):
            sys.exit(arguments.run(arguments))
    except SettingsError as error:
        sys.stderr.write(f"deployment-service: {error}\nSee deployment-service --help.\n")
        sys.exit(2)
    except CommandError as error:
        sys.stderr.write(f"deployment-service: {error}\n")
        sys.exit(1)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="deployment-service",
        description="Creates deployments, runs them through Jenkins, and records how each run ended.",
        epilog=_SETTINGS_HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=version_text("deployment-service"))
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    serve = commands.add_parser(
        "serve",
        help="serve until SIGTERM or Ctrl-C",
        description="Serves until SIGTERM or Ctrl-C stops it gracefully; a second one, at once.",
        epilog=_SETTINGS_HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    serve.set_defaults(run=_serve)
    commands.add_parser("migrate", help="bring the database to this version").set_defaults(
        run=_migrate
    )
    key = commands.add_parser(
        "create-key",
        help="make an API key, the only way to the first one",
        description="Makes an API key and prints its secret, once, on stdout.",
    )
    key.add_argument("--role", required=True, choices=[role.lower() for role in Role])
    key.add_argument("--tenant", help="the tenant's id, such as demo; without it: for all tenants")
    key.add_argument("--display-name", default="", help="what it is for")
    key.set_defaults(run=_create_key)
    commands.add_parser(
        "generate-secret-key", help="print a new key for DEPLOYMENT_SERVICE_SECRET_KEYS"
    ).set_defaults(run=_generate_secret_key)
    return parser


def _generate_secret_key(_: argparse.Namespace) -> int:
    sys.stdout.write(generate_key() + "\n")
    return 0


def _migrate(_: argparse.Namespace) -> int:
    from deployment_service.storage.schema.migrate import (
        migrate,  # brings Alembic, which only this command needs
    )

    settings = load_database_settings()
    _configure(settings)
    prepared = _run(_stoppable(_reaching_database(migrate(settings.direct_url()))))
    log.info("migrated", database=prepared.database, schema=prepared.schema, user=prepared.login)
    if prepared.constants:
        lines = "\n".join(f"  {one}" for one in prepared.constants)
        sys.stdout.write(
            "To limit also the sessions that people open as the service's login user, run (replace the name if "
            f"the service logs in as another user):\n{lines}\n"
        )
    return 0


def _create_key(arguments: argparse.Namespace) -> int:
    settings = load_database_settings()
    # stdout is for the secret alone.
    _configure(settings, sys.stderr)
    role = Role(arguments.role.upper())
    secret = _run(
        _reaching_database(_make_key(settings, role, arguments.tenant, arguments.display_name))
    )
    sys.stdout.write(secret + "\n")
    return 0


async def _make_key(
    settings: DatabaseSettings, role: Role, tenant: str | None, display_name: str
) -> str:
    url = settings.database_url.get_secret_value()
    await check_schema(url)
    database = await Database.open(url, role=API_ROLE, max_connections=1)
    try:
        owner = None
        if tenant is not None:
            found = await tenants.get_tenant(
                database, TenantName.parse(f"tenants/{tenant}", field="--tenant")
            )
            owner = TenantRef(found.tenant_id, found.slug)
        _, secret = await api_keys.create_api_key(
            database, role=role, tenant=owner, display_name=display_name
        )
        return secret
    finally:
        await database.close()


async def _stoppable(work: Coroutine[Any, Any, Any]) -> Any:
    """Cancel ``work`` on SIGTERM and SIGINT, which the first process of a container ignores by default."""
    task = asyncio.ensure_future(work)
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    try:
        return await task
    except asyncio.CancelledError:
        raise CommandError("stopped; a revision that had begun is rolled back") from None


async def _reaching_database(work: Coroutine[Any, Any, Any]) -> Any:
    try:
        return await work
    except (SchemaProblem, ServiceError) as error:
        raise CommandError(str(error)) from None
    except Exception as error:
        failure = failure_of(error)
        if failure.kind is Kind.OURS:
            raise
        raise CommandError(str(failure)) from None


def _serve(_: argparse.Namespace) -> int:
    settings = load_settings()
    _configure(settings)
    return int(_run(serve(settings)))


def _configure(settings: DatabaseSettings, stream: TextIO | None = None) -> None:
    configure(settings.log_level, settings.log_format, stream)
    for name in settings.ignored():
        log.warning("setting.ignored", setting=name, why=SERVICE_LINK)


def _run(work: Coroutine[Any, Any, Any]) -> Any:
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        return runner.run(work)


def _loop_factory() -> Any:
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop


async def serve(settings: Settings) -> int:
    """Serve until a signal, then stop gracefully; return the exit code."""
    # Not at the top: it loads everything, which the other commands need not wait for.
    from deployment_service.server import Service

    loop = asyncio.get_running_loop()
    loop.set_exception_handler(_log_loop_error)
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, _on_signal, stop)
    if not await _wait_for_schema(settings, stop):
        return 0
    service = await Service.open(settings)
    try:
        await service.start()
    except OSError as error:
        log.error("cannot start", why=str(error))
        await service.stop()
        return 1
    log.info("listening", target=service.target)
    await stop.wait()
    log.info("stopping", grace_s=settings.drain_grace_s)
    await service.stop()
    log.info("stopped")
    return 0


async def _wait_for_schema(settings: Settings, stop: asyncio.Event) -> bool:
    """Wait until the database can be used; return False on a signal to stop. Raises ``CommandError``."""
    outage = OutageLog("start")
    patience = asyncio.get_running_loop().time() + _UNKNOWN_HOST_GRACE_S
    while not stop.is_set():
        try:
            await check_schema(settings.database_url.get_secret_value())
        except SchemaProblem as error:
            raise CommandError(str(error)) from None
        except Exception as error:
            failure = failure_of(error)
            if failure.kind is Kind.OURS:
                raise
            may_appear = failure == UNKNOWN_HOST and asyncio.get_running_loop().time() < patience
            if failure.kind is not Kind.UNAVAILABLE and not may_appear:
                raise CommandError(str(failure)) from None
            outage.report(failure)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_RETRY_S):
                    await stop.wait()
        else:
            outage.over()
            return True
    return False


def _on_signal(stop: asyncio.Event) -> None:
    if stop.is_set():
        raise SystemExit(1)
    stop.set()


def _log_loop_error(_loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    log.error("loop.error", message=context.get("message"), exc_info=context.get("exception"))


if __name__ == "__main__":
    main()
