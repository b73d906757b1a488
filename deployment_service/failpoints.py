"""Named points at which a test can make a real process crash, sleep or fail. For tests only.

There is one before and after every call of the provider port, every transaction and every connection
that is taken for single statements. They are put there at the two seams, around the provider's client
and in place of ``Database``, so a new call has its points automatically. Nothing of this is
in a service that wasn't started with DEPLOYMENT_SERVICE_FAILPOINTS: its seams are the plain classes.

    DEPLOYMENT_SERVICE_FAILPOINTS="provider.trigger.after=crash; commit.steps.TriggerSteps.*=sleep:0.5 once"

Points: ``provider.METHOD``, ``commit.MODULE.FUNCTION`` (where the unit of work is defined),
``statement.MODULE.FUNCTION`` (where the connection is taken), each with ``.before`` and ``.after``; names may
be patterns. Actions: ``crash`` (SIGKILL), ``sleep:SECONDS``, ``raise``, ``note`` (a log line).
"""

from __future__ import annotations

import asyncio
import contextlib
import fnmatch
import os
import re
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import structlog

from deployment_service.cicd.port import CicdProvider
from deployment_service.storage.database.pool import Connection, Database

T = TypeVar("T")

_log = structlog.get_logger(__name__)

_ENTRY = re.compile(
    r"(?P<point>(?:provider|commit|statement|\*)[\w.*]*)"
    r"(?:@(?P<nth>[1-9]\d{0,5}))?=(?P<action>crash|raise|note|sleep:(?P<seconds>\d+(?:\.\d+)?))(?P<once> once)?"
)


class FailpointReached(Exception):
    """Raised by a point whose action is ``raise``."""


@dataclass(slots=True)
class _Rule:
    pattern: str
    action: str
    seconds: float
    nth: int | None
    """At which time it acts; None: every time."""
    times: int = 0


class Failpoints:
    """The active rules. ``reach`` a point by its name, or wrap an object whose methods are points."""

    def __init__(self, rules: list[_Rule]) -> None:
        self._rules = rules
        _log.warning(
            "FAILPOINTS ARE ENABLED: this process fails on purpose, never use it for real deployments",
            points=[rule.pattern for rule in rules],
        )

    async def reach(self, point: str) -> None:
        """Apply the first rule for this point."""
        for rule in self._rules:
            if fnmatch.fnmatchcase(point, rule.pattern):
                rule.times += 1
                if rule.nth in (None, rule.times):
                    await self._act(rule, point)
                return

    async def _act(self, rule: _Rule, point: str) -> None:
        if rule.action == "crash":
            sys.stdout.flush()
            os.kill(os.getpid(), signal.SIGKILL)
        _log.warning("failpoint", point=point, action=rule.action)
        if rule.action == "raise":
            raise FailpointReached(point)
        await asyncio.sleep(rule.seconds)

    def provider(self, client: CicdProvider) -> CicdProvider:
        """The client with a point before and after each of its methods."""
        return cast(CicdProvider, _Provider(client, self))

    def database_class(self) -> type[Database]:
        """``Database`` with a point before and after each commit."""
        return type("Database", (_Database,), {"points": self})


def enabled(text: str) -> Failpoints | None:
    """The failpoints that ``text`` sets, None if it is empty. Raises ValueError."""
    rules = _parse(text)
    return Failpoints(rules) if rules else None


def check(text: str) -> None:
    """Raises ValueError if ``text`` can't be understood."""
    _parse(text)


def _parse(text: str) -> list[_Rule]:
    rules = []
    for entry in filter(None, map(str.strip, text.split(";"))):
        match = _ENTRY.fullmatch(entry)
        if match is None:
            raise ValueError(f"{entry!r} is not POINT=crash, =raise, =note or =sleep:SECONDS")
        action = match["action"].partition(":")[0]
        nth = int(match["nth"]) if match["nth"] else 1 if match["once"] else None
        rules.append(_Rule(match["point"], action, float(match["seconds"] or 0), nth))
    return rules


class _Provider:
    """Wraps all methods of the port, at their first access."""

    def __init__(self, client: CicdProvider, points: Failpoints) -> None:
        self._client = client
        self._points = points

    def __getattr__(self, name: str) -> Callable[..., Awaitable[Any]]:
        method = getattr(self._client, name)

        async def call(*args: Any, **kwargs: Any) -> Any:
            await self._points.reach(f"provider.{name}.before")
            answer = await method(*args, **kwargs)
            await self._points.reach(f"provider.{name}.after")
            return answer

        return call


class _Database(Database):
    points: Failpoints

    async def transaction(self, work: Callable[[Connection], Awaitable[T]]) -> T:
        unit = _name(work.__module__, work.__qualname__)

        async def until_commit(connection: Connection) -> T:
            result = await work(connection)
            await self.points.reach(f"commit.{unit}.before")
            return result

        result = await super().transaction(until_commit)
        await self.points.reach(f"commit.{unit}.after")
        return result

    def acquire(self) -> contextlib.AbstractAsyncContextManager[Connection]:
        caller = sys._getframe(1)
        user = _name(caller.f_globals["__name__"], caller.f_code.co_qualname)
        return self._with_points(super().acquire(), user)

    @contextlib.asynccontextmanager
    async def _with_points(
        self, plain: contextlib.AbstractAsyncContextManager[Connection], user: str
    ) -> AsyncIterator[Connection]:
        await self.points.reach(f"statement.{user}.before")
        async with plain as connection:
            yield connection
        # Single statements commit by themselves, so by now they have.
        await self.points.reach(f"statement.{user}.after")


def _name(module: str, qualname: str) -> str:
    """Function and lambda within a function go by the function's name."""
    return f"{module.rpartition('.')[2]}.{qualname.partition('.<locals>')[0]}"
