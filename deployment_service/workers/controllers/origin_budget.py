"""Requests to one origin (scheme, host, port) have a budget over all tenants, leased from the database.

Several tenants and several replicas may read one Jenkins. Each request takes one of the budget; a cycle takes all
that it needs at once. See docs/explanation/jobs.md.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable

import structlog
from prometheus_client import CollectorRegistry, Counter

from deployment_service.storage import origin_shares
from deployment_service.storage.database.pool import Database
from deployment_service.storage.origin_shares import Taken

_log = structlog.get_logger(__name__)

_LOGGED_EVERY_S = 60.0
# Requests that were taken and not used by then expire: the tenant's share has refilled meanwhile.
_KEPT_S = 10.0


class OriginBudget:
    """``requests_per_second`` of one origin, for all tenants together."""

    def __init__(
        self,
        database: Database,
        *,
        requests_per_second: float,
        registry: CollectorRegistry | None = None,
    ) -> None:
        self._database = database
        self._requests_per_second = requests_per_second
        self._logged: dict[tuple[uuid.UUID, str], float] = {}
        self._held_back = Counter(
            "jenkins_requests_held_back",
            "Requests to a Jenkins that had to wait because the budget of its origin was used up.",
            registry=registry or CollectorRegistry(),
        )

    async def take(self, tenant_id: uuid.UUID, origin: str, wanted: int, *, ahead: bool) -> Taken:
        """Take up to ``wanted`` requests of a tenant's share."""
        async with self._database.acquire() as connection:
            taken = await origin_shares.take(
                connection,
                tenant_id,
                origin,
                wanted,
                requests_per_second=self._requests_per_second,
                ahead=ahead,
            )
        if taken.granted < wanted:
            self._note(tenant_id, origin, wanted - taken.granted, taken.tenants)
        return taken

    def _note(self, tenant_id: uuid.UUID, origin: str, missing: int, tenants: int) -> None:
        self._held_back.inc(missing)
        now = time.monotonic()
        if now - self._logged.get((tenant_id, origin), -_LOGGED_EVERY_S) < _LOGGED_EVERY_S:
            return
        if len(self._logged) >= 10_000:
            self._logged.clear()
        self._logged[tenant_id, origin] = now
        _log.info("origin_budget.used_up", tenant_id=str(tenant_id), origin=origin, tenants=tenants)


class Allowance:
    """The requests that one controller may send now, taken from the budget. They are never returned; they expire."""

    def __init__(
        self,
        budget: OriginBudget | None,
        tenant_id: uuid.UUID,
        origin: str,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``budget`` None: there is no limit."""
        self._budget = budget
        self._place = (tenant_id, origin)
        self._clock = clock
        self._left = 0
        self._taken_at = 0.0

    async def take(self, wanted: int, *, ahead: bool = False) -> Taken:
        """Take what is missing for ``wanted`` requests; return how many may be sent."""
        if self._budget is None:
            return Taken(wanted, 0.0, 1)
        if self._left > 0 and self._clock() - self._taken_at > _KEPT_S:
            self._left = 0
        wait_s, tenants = 0.0, 1
        if self._left < wanted:
            taken = await self._budget.take(*self._place, wanted - self._left, ahead=ahead)
            self._left += taken.granted
            self._taken_at = self._clock()
            wait_s, tenants = taken.wait_s, taken.tenants
        return Taken(max(0, min(wanted, self._left)), wait_s, tenants)

    async def spend(self, *, ahead: bool) -> float:
        """Count one request and return 0, or the seconds to wait if none may be sent."""
        taken = await self.take(1, ahead=ahead)
        if taken.granted < 1:
            return max(taken.wait_s, 0.1)
        self._left -= 1
        return 0.0

    def settle(self, sent: int) -> None:
        """Count the requests of a call beyond the one that ``spend`` counted; give that one back if none was sent."""
        self._left -= sent - 1
