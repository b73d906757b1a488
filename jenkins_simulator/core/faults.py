"""Injected faults of requests to this Jenkins and of its notifications."""

from __future__ import annotations

import asyncio
import random
import re
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass, field
from typing import Any

from jenkins_simulator.core.endpoints import ENDPOINTS, is_endpoint


@dataclass
class RequestFault:
    """What happens to matching requests. With `do_work`, the work is done before the fault shows.

    Which requests: `method` and `path` (searched in the raw path and query), or `endpoint`, a name of
    `endpoints.ENDPOINTS`, so that one endpoint fails alone; `larger_than` bytes of body. `count` is how
    often the rule still strikes, None for ever.

    What the caller gets instead: `status` is the answer of a proxy in front, with `retry_after` and
    `location` as its headers; `jenkins_status` is Jenkins' own error page (403 names a permission);
    `oops` is the same as `jenkins_status` 500; `login_page` is 200 with a login form, as a
    single-sign-on proxy answers; `reset` aborts the connection. Slowness: `delay_before_s` passes
    before the work, `delay_after_s` after it.
    """

    method: str = ".*"
    path: str = ""
    count: int | None = None
    probability: float = 1.0
    delay_before_s: float = 0.0
    delay_after_s: float = 0.0
    status: int | None = None
    oops: bool = False
    reset: bool = False
    login_page: bool = False
    do_work: bool = False
    endpoint: str | None = None
    larger_than: int | None = None
    jenkins_status: int | None = None
    retry_after: str | None = None
    location: str | None = None

    def __post_init__(self) -> None:
        if self.endpoint is not None and self.endpoint not in ENDPOINTS:
            raise ValueError(f"unknown endpoint {self.endpoint!r}; known: {sorted(ENDPOINTS)}")
        if self.oops:
            self.jenkins_status = 500

    @property
    def replaces_answer(self) -> bool:
        """Whether the caller gets something else than Jenkins' answer."""
        own = self.status is None and self.jenkins_status is None
        return not own or self.reset or self.login_page

    def matches(self, method: str, path: str, body_bytes: int) -> bool:
        """Return whether the rule is about this request."""
        if self.larger_than is not None and body_bytes <= self.larger_than:
            return False
        if self.endpoint is not None and not is_endpoint(self.endpoint, method, path):
            return False
        return bool(re.fullmatch(self.method, method) and re.search(self.path, path))


@dataclass
class NotificationFault:
    """What happens to matching notifications: dropped, late, twice, or after the next one."""

    job: str = ""
    phase: str = ".*"
    count: int | None = None
    probability: float = 1.0
    drop: bool = False
    delay_s: float = 0.0
    duplicates: int = 0
    reorder: bool = False
    """Send it only after the next notification of any job has been sent."""


@dataclass
class Faults:
    """The rules in force, tried in order; the first that strikes is the only one."""

    seed: int = 0
    requests: list[RequestFault] = field(default_factory=list)
    notifications: list[NotificationFault] = field(default_factory=list)
    _random: random.Random = field(init=False)
    _held_back: list[Callable[[], Awaitable[None]]] = field(default_factory=list)
    _late: set[asyncio.Task[None]] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)

    def add(self, fault: RequestFault | NotificationFault) -> None:
        """Put a rule in force."""
        if isinstance(fault, RequestFault):
            self.requests.append(fault)
        else:
            self.notifications.append(fault)

    def reseed(self, seed: int) -> None:
        """Make the probabilities repeat from here."""
        self.seed = seed
        self._random = random.Random(seed)

    def clear(self) -> None:
        """Withdraw all rules; notifications held back or delayed are never sent."""
        self.requests.clear()
        self.notifications.clear()
        self._held_back.clear()
        for task in self._late:
            task.cancel()

    def for_request(self, method: str, path: str, body_bytes: int = 0) -> RequestFault | None:
        """The rule that strikes this request, using up one of its `count`."""
        for fault in self.requests:
            if fault.matches(method, path, body_bytes) and self._strikes(fault):
                return fault
        return None

    async def deliver(self, job: str, phase: str, send: Callable[[], Awaitable[None]]) -> None:
        """Send a notification, or apply a rule to it."""
        fault = self._for_notification(job, phase)
        if fault is None:
            await send()
        elif fault.reorder:
            self._held_back.append(send)
            return
        elif not fault.drop:
            for _ in range(1 + fault.duplicates):
                self._send_after(fault.delay_s, send) if fault.delay_s else await send()
        while self._held_back:
            await self._held_back.pop(0)()

    def as_json(self) -> dict[str, Any]:
        """The rules in force."""
        return {
            "requests": [asdict(fault) for fault in self.requests],
            "notifications": [asdict(fault) for fault in self.notifications],
        }

    def _for_notification(self, job: str, phase: str) -> NotificationFault | None:
        for fault in self.notifications:
            matches = re.search(fault.job, job) and re.fullmatch(fault.phase, phase)
            if matches and self._strikes(fault):
                return fault
        return None

    def _strikes(self, fault: RequestFault | NotificationFault) -> bool:
        if fault.count == 0 or self._random.random() >= fault.probability:
            return False
        if fault.count is not None:
            fault.count -= 1
        return True

    def _send_after(self, delay_s: float, send: Callable[[], Awaitable[None]]) -> None:
        """Late but not blocking the build: the network is slow, not the receiver."""

        async def later() -> None:
            await asyncio.sleep(delay_s)
            try:
                await send()
            except Exception:  # a late notification that fails is lost
                return

        task = asyncio.get_running_loop().create_task(later())
        self._late.add(task)
        task.add_done_callback(self._late.discard)
