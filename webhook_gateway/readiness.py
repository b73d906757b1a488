"""Readiness of the deployment service: single-flight probes, cached for a second."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from webhook_gateway.logs import log

FRESH_S = 1.0
NOT_CHECKED = "NOT_CHECKED"
# Permanent: the service answered, and the key is wrong or has the wrong role.
KEY_REFUSED = ("UNAUTHENTICATED", "PERMISSION_DENIED")


class Readiness:
    """Caches the result of ``probe`` for a second: None if the service accepts our calls, else the obstacle."""

    def __init__(self, probe: Callable[[], Awaitable[str | None]]) -> None:
        self._probe = probe
        self._obstacle: str | None = NOT_CHECKED
        self._probed_s = float("-inf")
        self._flight: asyncio.Task[None] | None = None

    async def obstacle(self) -> str | None:
        """Return None if the service accepts our calls, else the obstacle: a gRPC status or an exception's name."""
        if self._flight is None and time.monotonic() - self._probed_s >= FRESH_S:
            self._flight = asyncio.create_task(self._update())
        if self._flight is not None:
            # `wait` instead of `await`: a cancelled caller must not cancel the probe that others share.
            await asyncio.wait([self._flight])
        return self._obstacle

    async def watch_until_ready(self) -> None:
        """Probe until the service accepts our calls, so that the log has the obstacle even if no client asks."""
        while await self.obstacle() is not None:  # noqa: ASYNC110 - no event announces the service
            await asyncio.sleep(FRESH_S)

    async def _update(self) -> None:
        before, self._obstacle = self._obstacle, NOT_CHECKED
        try:
            self._obstacle = await self._probe()
        except Exception as error:
            self._obstacle = type(error).__name__
        finally:
            self._probed_s = time.monotonic()
            self._flight = None
        if self._obstacle != before:
            _log_change(self._obstacle)


def _log_change(obstacle: str | None) -> None:
    if obstacle is None:
        log.info("service.ready")
    elif obstacle in KEY_REFUSED:
        log.error(
            "service.key_refused",
            setting="WEBHOOK_GATEWAY_API_KEY",
            code=obstacle,
            remedy="The deployment service refuses this key: set one with the role gateway "
            "(deployctl keys create --role gateway --all-tenants).",
        )
    else:
        log.warning("service.not_ready", code=obstacle)
