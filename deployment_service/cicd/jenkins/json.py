"""Jenkins' JSON, decoded within bounds that are checked before they cost anything.

Controllers run code of tenants, so an answer may be hostile. Its size is bounded while it is read, its structure
before it is decoded, and its numbers and texts by ``jenkins_views``. Decoding runs on a thread: the event loop
serves other tenants meanwhile.
"""

from __future__ import annotations

import json
import threading
import time
import uuid
from collections.abc import Callable
from typing import Any
from weakref import WeakValueDictionary

from deployment_service.cicd.errors import ProviderUnreachable
from deployment_service.domain.problems import ProblemReason

MIB = 2**20
MAX_CONTAINERS = 50_000
MAX_DEPTH = 30
# What is decoded on the event loop: below it a thread costs more than it saves.
INLINE_BYTES = 16 * 1024


class AnswerTooLarge(ProviderUnreachable):
    """An answer has more containers or levels than an answer needs. It is used no more than a missing one."""

    def __init__(self, message: str) -> None:
        super().__init__(message, reason=ProblemReason.MALFORMED_ANSWER)


def decode(body: bytes) -> Any:
    """Decode JSON. Raises ValueError if it is none, AnswerTooLarge if it is beyond the bounds."""
    # An upper bound, as brackets in texts count too; 50,000 is ten times what a queue of 500 items has.
    if body.count(b"{") + body.count(b"[") > MAX_CONTAINERS:
        raise AnswerTooLarge(f"Jenkins' answer has more than {MAX_CONTAINERS} objects and lists.")
    try:
        data = json.loads(body)
    except RecursionError:
        raise AnswerTooLarge("Jenkins' answer is nested too deeply.") from None
    _check_depth(data)
    return data


def _check_depth(data: Any) -> None:
    level = [data]
    for _ in range(MAX_DEPTH):
        level = [inner for outer in level for inner in _inner(outer)]
        if not level:
            return
    raise AnswerTooLarge(f"Jenkins' answer has more than {MAX_DEPTH} levels.")


def _inner(value: Any) -> list[Any]:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [one for one in inner if isinstance(one, dict | list)]


class AnswerBudget:
    """What the answers of one tenant's controllers may cost in a minute: bytes read, and seconds of decoding.

    Beyond it none of them is read until the minute is over. Its methods may be called on any thread.
    """

    def __init__(
        self,
        *,
        bytes_per_minute: int = 256 * MIB,
        decoding_s_per_minute: float = 10.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._limits = (bytes_per_minute, decoding_s_per_minute)
        self._clock = clock
        self._lock = threading.Lock()
        self._minute = -1
        self._bytes = 0
        self._decoding_s = 0.0

    def spend(self, size_bytes: int, decoding_s: float) -> None:
        """Note what an answer cost."""
        with self._lock:
            self._roll()
            self._bytes += size_bytes
            self._decoding_s += decoding_s

    def exhausted(self) -> bool:
        """Whether nothing more may be read in this minute."""
        with self._lock:
            self._roll()
            return self._bytes >= self._limits[0] or self._decoding_s >= self._limits[1]

    def _roll(self) -> None:
        minute = int(self._clock() // 60)
        if minute != self._minute:
            self._minute, self._bytes, self._decoding_s = minute, 0, 0.0


class AnswerBudgets:
    """The budget of each tenant, for as long as a client of its uses it."""

    def __init__(self, make: Callable[[], AnswerBudget] = AnswerBudget) -> None:
        self._make = make
        self._of_tenants: WeakValueDictionary[uuid.UUID, AnswerBudget] = WeakValueDictionary()

    def of(self, tenant_id: uuid.UUID) -> AnswerBudget:
        """Return the budget that all clients of a tenant share."""
        budget = self._of_tenants.get(tenant_id)
        if budget is None:
            budget = self._of_tenants[tenant_id] = self._make()
        return budget
