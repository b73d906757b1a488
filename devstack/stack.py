"""The whole system on one machine: PostgreSQL, a Jenkins, the service and the gateway.

``python -m devstack.stack`` (``make run``) runs it in the foreground. Tests and the
demo use ``async with DevStack(options) as stack``. Service and gateway are the real processes,
started as in production; only PostgreSQL and Jenkins are stand-ins.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

import asyncpg
from cryptography.fernet import Fernet

from deployment_service.actions.api_keys import create_api_key
from deployment_service.client import DeploymentClient, DeploymentServiceError
from deployment_service.client.errors import FailedPrecondition
from deployment_service.domain.access import Role
from deployment_service.storage.database.pool import API_ROLE, Database
from deployment_service.storage.schema.migrate import migrate
from devstack.children import Child, Record, Sink, StackError, clean_environment
from devstack.options import SIMULATOR_USER, RealJenkins, StackOptions, preferred
from devstack.postgres import EmbeddedPostgres
from devstack.seed import Seed
from jenkins_simulator import JenkinsSimulator

DATABASE = "deployment_service"
_SERVICE, _GATEWAY = "DEPLOYMENT_SERVICE_", "WEBHOOK_GATEWAY_"


class DevStack:
    """A running stack. After ``async with`` it is ready: migrated, seeded, listening.

    ``target``, ``gateway_url``, ``jenkins_url``, ``database_url`` say where things are; ``api_key``
    may do everything; ``simulator`` and ``postgres`` are None where something real is used. Faults:
    ``kill_service()``, ``stop_service()``, ``start_service()``, the same for the gateway,
    ``add_replica()``, and what ``postgres`` and ``simulator`` offer.
    """

    def __init__(
        self,
        options: StackOptions | None = None,
        *,
        sink: Sink | None = None,
        progress: Callable[[str], None] | None = None,
    ) -> None:
        self.options = options or StackOptions()
        self.tenant, self.provider = self.options.tenant, self.options.provider
        self.postgres: EmbeddedPostgres | None = None
        self.simulator: JenkinsSimulator | None = None
        self.jenkins = RealJenkins("", "", "")
        self.database_url = self.target = self.gateway_url = self.api_key = ""
        self._sink: Sink = sink or (lambda _name, _line: None)
        self._progress = progress or (lambda _what: None)
        self._resources = contextlib.AsyncExitStack()
        self._children: list[Child] = []
        self._secret_keys = ""
        self._seed: Seed | None = None

    async def __aenter__(self) -> Self:
        try:
            await self._start()
        except BaseException:
            await self._resources.aclose()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self.options.database_url and self._seed is not None:
            with contextlib.suppress(DeploymentServiceError):
                await self._seed.revoke_keys()  # the database outlives us, our keys need not
        await self._resources.aclose()

    @property
    def jenkins_url(self) -> str:
        """The Jenkins that is used, simulated or real."""
        return self.jenkins.url

    @property
    def service(self) -> Child:
        """The first replica of the service."""
        return self._service

    @property
    def gateway(self) -> Child:
        """The gateway."""
        return self._gateway

    def client(self, **options: float) -> DeploymentClient:
        """A client with the stack's key and tenant."""
        return DeploymentClient(self.target, api_key=self.api_key, tenant=self.tenant, **options)  # type: ignore[arg-type]

    async def kill_service(self) -> None:
        """SIGKILL to the service."""
        await self._service.kill()

    async def stop_service(self) -> None:
        """Stop the service gracefully."""
        await self._service.stop()

    async def start_service(self) -> None:
        """Start the service again, where it was."""
        await self._service.start()

    async def kill_gateway(self) -> None:
        """SIGKILL to the gateway."""
        await self._gateway.kill()

    async def stop_gateway(self) -> None:
        """Stop the gateway gracefully."""
        await self._gateway.stop()

    async def start_gateway(self) -> None:
        """Start the gateway again, where it was."""
        await self._gateway.start()

    async def add_replica(self, settings: Mapping[str, str] | None = None) -> tuple[Child, str]:
        """Start one more replica of the service; return it and its target."""
        name = f"service-{len(self._children)}"
        replica = self._new_service(name, 0, settings or {})
        ready = await replica.start()
        target = str(ready["target"])
        replica.env[f"{_SERVICE}LISTEN"] = target
        return replica, target

    async def failure(self) -> str:
        """Wait until a part ends unexpectedly; return a message for the user."""
        waits = [asyncio.create_task(child.died()) for child in self._children]
        if self.postgres is not None:
            waits.append(asyncio.create_task(self._postgres_died(self.postgres)))
        try:
            done, _ = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            return done.pop().result()
        finally:
            for wait in waits:
                wait.cancel()

    async def _start(self) -> None:
        self._progress("Starting PostgreSQL")
        await self._start_database()
        self._progress(
            "Starting Jenkins (simulated)" if not self.options.jenkins else "Using Jenkins"
        )
        await self._start_jenkins()
        self._progress("Migrating the database")
        title = f"development stack {secrets.token_hex(4)}"
        try:
            await migrate(self.database_url)
            self.api_key = await self._first_key(title)
        except (OSError, TimeoutError, asyncpg.PostgresError) as error:
            raise StackError(
                f"The database can't be used: {error or type(error).__name__}"
            ) from error
        self._progress("Starting the service")
        self._service = self._new_service("service", self.options.service_port, {})
        ready = await _start_somewhere(self._service, f"{_SERVICE}LISTEN", "127.0.0.1:0")
        self.target = str(ready["target"])
        self._service.env[f"{_SERVICE}LISTEN"] = self.target  # the same after a restart
        self._progress("Starting the webhook gateway")
        client = await self._resources.enter_async_context(self.client())
        self._seed = seed = Seed(client, self.tenant, self.provider, title)
        await seed.tenant_exists()
        await self._start_gateway(await seed.gateway_key())
        try:
            await seed.provider_is(self.jenkins, self._webhook_base_url())
        except FailedPrecondition as error:
            raise StackError(f"This Jenkins can't be used: {error.message}") from error

    async def _start_database(self) -> None:
        self._secret_keys = _secret_keys(self.options.secret_keys_path)
        if self.options.database_url:
            self.database_url = self.options.database_url
            return
        self.postgres = await self._resources.enter_async_context(
            EmbeddedPostgres(durable=self.options.durable)
        )
        connection = await asyncpg.connect(self.postgres.url())
        try:
            await connection.execute(f"CREATE DATABASE {DATABASE}")
        finally:
            await connection.close()
        self.database_url = self.postgres.url(DATABASE)

    async def _start_jenkins(self) -> None:
        if self.options.jenkins is not None:
            self.jenkins = self.options.jenkins
            return
        config = self.options.simulator
        self.simulator = JenkinsSimulator(config)
        self._resources.push_async_callback(self.simulator.stop)
        try:
            await self.simulator.start()
        except OSError:
            await self.simulator.start(port=0)
        name = SIMULATOR_USER if SIMULATOR_USER in config.users else next(iter(config.users))
        token = config.users[name].api_token or ""
        self.jenkins = RealJenkins(f"{self.simulator.url}/", name, token)

    async def _start_gateway(self, key: str) -> None:
        env = clean_environment(_SERVICE, _GATEWAY, "DEV_")
        settings = {
            "SERVICE_TARGET": self.target,
            "API_KEY": key,
            "HOST": "0.0.0.0" if self.jenkins.webhook_base_url else "127.0.0.1",
            "PORT": str(preferred(self.options.gateway_port)),
            "LOG_FORMAT": "json",
            **self.options.gateway_settings,
        }
        env |= {f"{_GATEWAY}{name}": value for name, value in settings.items()}
        self._gateway = self._child("gateway", ["-m", "webhook_gateway"], env)
        ready = await _start_somewhere(self._gateway, f"{_GATEWAY}PORT", "0")
        port = urlsplit(str(ready["url"])).port
        self._gateway.env[f"{_GATEWAY}PORT"] = str(port)
        self.gateway_url = f"http://127.0.0.1:{port}"

    def _webhook_base_url(self) -> str:
        """Return the URL of the gateway for Jenkins; empty if there is none: then Jenkins is polled."""
        host = urlsplit(self.jenkins.url).hostname
        is_here = host in ("127.0.0.1", "localhost", "::1")
        return self.jenkins.webhook_base_url or (self.gateway_url if is_here else "")

    def _service_env(self, settings: Mapping[str, str]) -> dict[str, str]:
        env = clean_environment(_SERVICE, _GATEWAY, "DEV_")
        settings = {
            "DATABASE_URL": self.database_url,
            "SECRET_KEYS": self._secret_keys,
            "LOG_FORMAT": "json",
            **self.options.service_settings,
            **settings,
        }
        return env | {f"{_SERVICE}{name}": value for name, value in settings.items()}

    def _new_service(self, name: str, port: int, settings: Mapping[str, str]) -> Child:
        env = self._service_env({"LISTEN": f"127.0.0.1:{preferred(port)}", **settings})
        return self._child(name, ["-m", "deployment_service", "serve"], env)

    async def _first_key(self, title: str) -> str:
        database = await Database.open(self.database_url, role=API_ROLE, max_connections=1)
        try:
            _, secret = await create_api_key(
                database, role=Role.ADMIN, tenant=None, display_name=title
            )
            return secret
        finally:
            await database.close()

    def _child(self, name: str, arguments: list[str], env: Mapping[str, str]) -> Child:
        child = Child(name, [sys.executable, *arguments], env, self._sink)
        self._children.append(child)
        self._resources.push_async_callback(child.stop)
        return child

    async def _postgres_died(self, postgres: EmbeddedPostgres) -> str:
        while not postgres.has_died:  # noqa: ASYNC110  there is no event for it
            await asyncio.sleep(0.5)
        return f"PostgreSQL has ended. Its last output:\n{postgres.last_output()}"


async def _start_somewhere(child: Child, variable: str, anywhere: str) -> Record:
    """Start a child on its default port, or on another one if that port is in use."""
    try:
        return await child.start()
    except StackError:
        if child.env[variable] == anywhere:
            raise
    child.env[variable] = anywhere
    return await child.start()


def _secret_keys(path: Path | None) -> str:
    if path is None:
        return Fernet.generate_key().decode()
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)
        path.write_text(Fernet.generate_key().decode())
    keys = path.read_text().strip()
    if not keys:
        raise StackError(
            f"{path} is empty: remove it, or put the Fernet key of your database there."
        )
    return keys


if __name__ == "__main__":
    from devstack.foreground import main

    main()
