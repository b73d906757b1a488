"""`/_simulator/…`: the simulator's own HTTP interface, for tests in other processes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from typing import Any

from aiohttp import web

from jenkins_simulator.core.backstage import Backstage
from jenkins_simulator.core.config import SimulatedUser
from jenkins_simulator.core.faults import NotificationFault, RequestFault
from jenkins_simulator.core.model import Result
from jenkins_simulator.core.permissions import ALL_PERMISSIONS, Permission
from jenkins_simulator.http.requests_log import RequestLog

Arguments = dict[str, Any]


class ControlApi:
    """Answers JSON; GET reads, POST takes the arguments of the Python method of the same name."""

    def __init__(
        self, simulator: Backstage, requests: RequestLog, restart: Callable[..., Awaitable[None]]
    ) -> None:
        self._simulator = simulator
        self._requests_log = requests
        self._restart_simulator = restart
        self._background: set[asyncio.Task[None]] = set()

    async def handle(self, request: web.BaseRequest) -> web.Response:
        """Answer one request of a test."""
        command = request.path.removeprefix("/_simulator/").strip("/")
        handlers = self._posts() if request.method == "POST" else self._gets()
        handler = handlers.get(command)
        if handler is None:
            return web.json_response({"known": sorted(handlers)}, status=404)
        try:
            arguments = await request.json() if request.can_read_body else {}
            return web.json_response(await handler(arguments))
        except (KeyError, TypeError, ValueError) as error:
            return web.json_response({"error": f"{type(error).__name__}: {error}"}, status=400)

    def _gets(self) -> dict[str, Callable[[Arguments], Awaitable[Any]]]:
        return {
            "ledger": self._ledger,
            "requests": self._requests,
            "faults": self._faults,
            "conditions": self._conditions,
        }

    def _posts(self) -> dict[str, Callable[[Arguments], Awaitable[Any]]]:
        return {
            "faults": self._add_fault,
            "faults/clear": self._clear_faults,
            "conditions": self._set_conditions,
            "conditions/clear": self._clear_conditions,
            "rebuild": self._rebuild,
            "timer": self._timer,
            "discard": self._discard,
            "secrets/lose": self._lose_secrets,
            "requests/clear": self._clear_requests,
            "restart": self._restart,
            "hold": self._hold,
            "release": self._release,
            "forget": self._forget,
            "clock": self._advance,
            "user": self._user,
        }

    async def _ledger(self, _: Arguments) -> Any:
        return self._simulator.ledger.as_json()

    async def _requests(self, _: Arguments) -> Any:
        counts = self._requests_log.counts().items()
        return {
            "counts": [{"method": m, "path": p, "count": n} for (m, p), n in sorted(counts)],
            "entries": [asdict(entry) for entry in self._requests_log.entries],
        }

    async def _faults(self, _: Arguments) -> Any:
        return self._simulator.faults.as_json()

    async def _add_fault(self, arguments: Arguments) -> Any:
        """`{"request": {…}}` or `{"notification": {…}}`, with the fields of the rule."""
        if "seed" in arguments:
            self._simulator.faults.reseed(int(arguments["seed"]))
        if "request" in arguments:
            self._simulator.faults.add(RequestFault(**arguments["request"]))
        if "notification" in arguments:
            self._simulator.faults.add(NotificationFault(**arguments["notification"]))
        return self._simulator.faults.as_json()

    async def _clear_faults(self, _: Arguments) -> Any:
        self._simulator.faults.clear()
        return {}

    async def _conditions(self, _: Arguments) -> Any:
        return self._simulator.controller.conditions.as_json()

    async def _set_conditions(self, arguments: Arguments) -> Any:
        self._simulator.set_conditions(**arguments)
        return self._simulator.controller.conditions.as_json()

    async def _clear_conditions(self, _: Arguments) -> Any:
        self._simulator.clear_conditions()
        return self._simulator.controller.conditions.as_json()

    async def _rebuild(self, arguments: Arguments) -> Any:
        number = int(arguments["number"])
        self._simulator.rebuild(arguments["job"], number, arguments.get("user"))
        return {}

    async def _timer(self, arguments: Arguments) -> Any:
        self._simulator.start_by_timer(arguments["job"])
        return {}

    async def _discard(self, arguments: Arguments) -> Any:
        self._simulator.discard_build(arguments["job"], int(arguments["number"]))
        return {}

    async def _lose_secrets(self, arguments: Arguments) -> Any:
        return {"lost": self._simulator.lose_secrets(arguments.get("pattern", ".*"))}

    async def _clear_requests(self, _: Arguments) -> Any:
        self._requests_log.clear()
        return {}

    async def _restart(self, arguments: Arguments) -> Any:
        """Answers at once: the connection of this very request would not outlive the restart."""
        hard, down_s = bool(arguments.get("hard", False)), float(arguments.get("down_s", 0))

        async def restart() -> None:
            await asyncio.sleep(0.05)
            await self._restart_simulator(hard=hard, down_s=down_s)

        task = asyncio.create_task(restart())
        self._background.add(task)
        task.add_done_callback(self._background.discard)
        return {}

    async def _hold(self, arguments: Arguments) -> Any:
        self._simulator.hold(arguments["job"])
        return {}

    async def _release(self, arguments: Arguments) -> Any:
        number = arguments.get("number")
        result = Result[arguments.get("result", "SUCCESS")]
        released = self._simulator.release(arguments["job"], number, result)
        return {"released": [build.number for build in released]}

    async def _forget(self, arguments: Arguments) -> Any:
        self._simulator.forget_queue_item(int(arguments["id"]))
        return {}

    async def _user(self, arguments: Arguments) -> Any:
        """Add or replace a user: name, password, api_token, permissions by name or id."""
        named = arguments.get("permissions", [permission.name for permission in ALL_PERMISSIONS])
        permissions = frozenset(Permission.parse(name) for name in named)
        user = SimulatedUser(arguments.get("password"), arguments.get("api_token"), permissions)
        self._simulator.set_user(arguments["name"], user)
        return {}

    async def _advance(self, arguments: Arguments) -> Any:
        self._simulator.clock.advance(float(arguments["advance_s"]))
        return {"now": self._simulator.clock.now()}
