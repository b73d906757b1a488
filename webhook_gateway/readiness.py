"""Whether the service takes our calls: one question at a time for all callers, at most once a second."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from webhook_gateway.logs import log

FRESH_S = 1.0
NOT_CHECKED = "NOT_CHECKED"
# The service answered, and waiting does not help: the key is wrong or has the wrong role.
KEY_REFUSED = ("UNAUTHENTICATED", "PERMISSION_DENIED")


class Readiness:
    """Caches for a second what ``ask`` returned: None if the service takes our calls, else why not."""

    def __init__(self, ask: Callable[[], Awaitable[str | None]]) -> None:
        self._ask = ask
        self._why: str | None = NOT_CHECKED
        self._asked_s = float("-inf")
        self._flight: asyncio.Task[None] | None = None

    async def why_not(self) -> str | None:
        """Return None if the service takes our calls, else why not."""
        if self._flight is None and time.monotonic() - self._asked_s >= FRESH_S:
            self._flight = asyncio.create_task(self._find_out())
        if self._flight is not None:
            # Waited for, not awaited: a caller that is cancelled must not cancel the others' question.
            await asyncio.wait([self._flight])
        return self._why

    async def watch_until_ready(self) -> None:
        """Ask until the service takes our calls, so that the log names the obstacle without any probe."""
        while await self.why_not() is not None:  # noqa: ASYNC110 - nothing announces the service
            await asyncio.sleep(FRESH_S)

    async def _find_out(self) -> None:
        before, self._why = self._why, NOT_CHECKED
        try:
            self._why = await self._ask()
        except Exception as error:
            self._why = type(error).__name__
        finally:
            self._asked_s = time.monotonic()
            self._flight = None
        if self._why != before:
            _log_change(self._why)


def _log_change(why: str | None) -> None:
    if why is None:
        log.info("service.ready")
    elif why in KEY_REFUSED:
        log.error(
            "service.key_refused",
            setting="WEBHOOK_GATEWAY_API_KEY",
            code=why,
            remedy="The deployment service refuses this key: set one with the role gateway "
            "(deployctl keys create --role gateway --all-tenants).",
        )
    else:
        log.warning("service.not_ready", code=why)
