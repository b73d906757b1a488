"""The simulator as tests use it: start, restart, hold, release, read its internal state."""

from __future__ import annotations

import asyncio
import socket
from types import TracebackType
from typing import Any

from aiohttp import web

from jenkins_simulator.core.backstage import Backstage
from jenkins_simulator.core.clock import Clock
from jenkins_simulator.core.config import SimulatorConfig
from jenkins_simulator.core.controller import Controller
from jenkins_simulator.execution import run_build
from jenkins_simulator.http.app import Application
from jenkins_simulator.http.control import ControlApi
from jenkins_simulator.http.requests_log import RequestLog
from jenkins_simulator.http.start_up import StartUp
from jenkins_simulator.plugins.seed_jobs import keep_writing

_LONGEST_LINE = 1 << 20
_LARGEST_BODY = 64 << 20


def _make_request(
    message: Any, payload: Any, protocol: Any, writer: Any, task: asyncio.Task[None]
) -> web.BaseRequest:
    loop = asyncio.get_running_loop()
    return web.BaseRequest(
        message, payload, protocol, writer, task, loop, client_max_size=_LARGEST_BODY
    )


class JenkinsSimulator(Backstage):
    """A Jenkins on loopback. `async with JenkinsSimulator(config) as jenkins: …jenkins.url…`."""

    def __init__(self, config: SimulatorConfig | None = None, clock: Clock | None = None) -> None:
        config, clock = config or SimulatorConfig(), clock or Clock()
        super().__init__(config, clock, Controller(config, clock, run_build, keep_writing))
        self.requests = RequestLog()
        control = ControlApi(self, self.requests, self.restart)
        self._app = Application(self.controller, self.requests, control)
        self._runner: web.ServerRunner | None = None
        self._listener: socket.socket
        self._port = self.config.port

    # --- life

    async def start(self, port: int | None = None) -> str:
        """Listen (port 0: any free one), begin to work, and return the URL."""
        if port is not None:
            self._port = port
        await self._listen()
        self.controller.come_up()
        return self.url

    async def stop(self) -> None:
        """End everything: connections, builds and their processes."""
        await self._stop_listening()
        await self.controller.close()

    async def restart(self, *, hard: bool = False, down_s: float = 0.0) -> None:
        """Restart as after SIGTERM, or after SIGKILL if `hard`; refuse connections for `down_s`."""
        await self.controller.go_down(hard=hard)
        await self._stop_listening()
        if down_s:
            await self.clock.sleep(down_s)
        self._app.sessions.forget_all()
        self.controller.restore(hard=hard)
        takes_s = self.config.start_up_s
        if takes_s > 0:
            self._app.start_up = StartUp(self.clock, takes_s, self.clock.now())
        await self._listen()
        if takes_s > 0:
            await self.clock.sleep(takes_s)
            self._app.start_up = None
        self.controller.come_up()

    async def __aenter__(self) -> JenkinsSimulator:
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.stop()

    async def _listen(self) -> None:
        server = web.Server(
            self._app.handle,
            max_line_size=_LONGEST_LINE,
            max_field_size=_LONGEST_LINE,
            request_factory=_make_request,
        )
        self._runner = web.ServerRunner(server, shutdown_timeout=0.1)
        await self._runner.setup()
        self._listener = socket.create_server((self.config.host, self._port))
        await web.SockSite(self._runner, self._listener).start()
        self._port = int(self._listener.getsockname()[1])
        template = self.config.root_url
        self.controller.root_url = (
            None if template is None else template.format(host=self.config.host, port=self._port)
        )

    async def _stop_listening(self) -> None:
        if self._runner is not None:
            runner, self._runner = self._runner, None
            # CPython 3.11 loses a connection whose server is closed right after accepting it, so: stop accepting,
            # and let what was accepted reach the server.
            asyncio.get_running_loop().remove_reader(self._listener)
            await asyncio.sleep(0)
            await runner.cleanup()

    # --- where and who

    @property
    def url(self) -> str:
        """The base URL, without a trailing slash."""
        return f"http://{self.config.host}:{self._port}"

    @property
    def port(self) -> int:
        """The port, kept over restarts."""
        return self._port

    @property
    def is_listening(self) -> bool:
        """Whether connections are accepted."""
        return self._runner is not None and bool(self._runner.addresses)

    @property
    def is_starting(self) -> bool:
        """Whether it starts and does no work yet."""
        return self._app.start_up is not None
