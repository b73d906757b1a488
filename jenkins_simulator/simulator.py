"""The simulator as tests use it: start, restart, hold, release, look behind the scenes."""

from __future__ import annotations

import asyncio
import dataclasses
import re
import socket
from types import TracebackType
from typing import Any

from aiohttp import web

from .app import Application
from .clock import Clock
from .config import SimulatedUser, SimulatorConfig
from .control import ControlApi
from .controller import Controller
from .faults import Faults
from .jobxml import JobKind
from .ledger import Ledger
from .model import Build, Cause, Folder, Item, Job, Origin, Result, add_item, encode_segment
from .parameters import default_values
from .permissions import Permission
from .requests_log import RequestLog
from .start_up import StartUp

_LONGEST_LINE = 1 << 20
_LARGEST_BODY = 64 << 20


def _make_request(
    message: Any, payload: Any, protocol: Any, writer: Any, task: asyncio.Task[None]
) -> web.BaseRequest:
    loop = asyncio.get_running_loop()
    return web.BaseRequest(
        message, payload, protocol, writer, task, loop, client_max_size=_LARGEST_BODY
    )


class JenkinsSimulator:
    """A Jenkins on loopback. `async with JenkinsSimulator(config) as jenkins: …jenkins.url…`."""

    def __init__(self, config: SimulatorConfig | None = None, clock: Clock | None = None) -> None:
        self.config = config or SimulatorConfig()
        self.clock = clock or Clock()
        self.controller = Controller(self.config, self.clock)
        self.requests = RequestLog()
        self._app = Application(self.controller, self.requests, ControlApi(self))
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
            # CPython 3.11 forgets a connection whose server is closed right after accepting it, so: stop accepting,
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

    def set_user(self, name: str, user: SimulatedUser) -> None:
        """Add or replace a user, for example with other permissions."""
        self.controller.users[name] = user

    def set_permissions(self, name: str, permissions: frozenset[Permission]) -> None:
        """Change what a user may do."""
        user = self.controller.users[name]
        self.controller.users[name] = dataclasses.replace(user, permissions=permissions)

    # --- what happened

    @property
    def ledger(self) -> Ledger:
        """All that really happened."""
        return self.controller.ledger

    @property
    def faults(self) -> Faults:
        """The fault rules in force."""
        return self.controller.faults

    # --- jobs and builds

    def create_job(self, full_name: str, config_xml: str) -> Item:
        """Make a job or folder without HTTP; folders on the way are made too."""
        *above, name = full_name.split("/")
        folder = self.controller.root
        for step in above:
            item = folder.find(step) or add_item(folder, step, f"<{JobKind.FOLDER.value}/>")
            assert isinstance(item, Folder)
            folder = item
        return add_item(folder, name, config_xml)

    def add_branch(self, project: str, branch: str, script: str) -> Job:
        """Make the job of a branch, as a multibranch project does when it finds a Jenkinsfile."""
        folder = self.controller.find(project)
        assert isinstance(folder, Folder)
        xml = f"<{JobKind.PIPELINE.value}><definition><script/></definition></{JobKind.PIPELINE.value}>"
        job = add_item(folder, encode_segment(branch).replace("/", "%2F"), xml)
        assert isinstance(job, Job)
        job.branch = branch
        element = job.xml.find("definition/script")
        assert element is not None
        element.text = script
        job.update(job.xml, job.xml_version)
        return job

    def job(self, full_name: str) -> Job:
        """The job of that full name; raises KeyError."""
        return self.controller.job(full_name)

    def hold(self, full_name: str) -> None:
        """Let every further build of this job wait for `release` instead of running its script."""
        self.controller.hold(full_name)

    def release(
        self, full_name: str, number: int | None = None, result: Result = Result.SUCCESS
    ) -> list[Build]:
        """End a held build, or all running ones of the job, with this result."""
        job = self.controller.job(full_name)
        builds = [b for b in job.builds.values() if b.building and number in (None, b.number)]
        for build in builds:
            self.controller.release(build, result)
        return builds

    def set_conditions(self, **changes: Any) -> None:
        """Change conditions by name, for example `retry_times=1`; see `Conditions`."""
        self.controller.apply_conditions(self.controller.conditions.changed(changes))

    def clear_conditions(self) -> None:
        """Return to the conditions that the configuration sets."""
        self.controller.apply_conditions(self.config.conditions)

    def rebuild(self, full_name: str, number: int, user: str | None = None) -> None:
        """Start a build again with its parameters and causes, or by another user."""
        build = self.controller.job(full_name).builds[number]
        self.controller.start_again(build, Origin.REBUILD, user=user)

    def start_by_timer(self, full_name: str) -> None:
        """Start a build as the timer of its job does."""
        job, controller = self.controller.job(full_name), self.controller
        values = default_values(job.config.parameters, controller.newest_build)
        controller.schedule(job, values, Cause(by_timer=True))

    def discard_build(self, full_name: str, number: int) -> None:
        """Delete the record of a build, running or not, as a clean-up script does."""
        self.controller.job(full_name).builds.pop(number, None)

    def lose_secrets(self, pattern: str = ".*") -> list[str]:
        """Delete the secret texts whose id matches, without a trace, and return their ids."""
        lost = [one for one in self.controller.credentials if re.fullmatch(pattern, one)]
        for credential_id in lost:
            del self.controller.credentials[credential_id]
        return lost

    def forget_queue_item(self, item_id: int) -> None:
        """Lose a queue item, as a crash does."""
        self.controller.queue.forget(item_id)

    async def wait_for(self, build: Build) -> Result:
        """Wait until a build is over, FINALIZED sent included, and return its result."""
        if build.task is not None:
            await asyncio.shield(build.task)
        assert build.result is not None
        return build.result
