"""Allowed origins in private address ranges: those of the settings and those in the database."""

from __future__ import annotations

import time
from collections.abc import Collection

from deployment_service.domain.egress import check_private, origin_of
from deployment_service.storage import egress
from deployment_service.storage.database.pool import Connection, Database

_REFRESH_S = 30.0
# Seconds between reads while an origin is missing: a refused client retries with each call.
_LEAST_PAUSE_S = 1.0


class AllowedOrigins:
    """Caches the allowed origins; reads them at most once a second, if an origin is missing or the cache is stale."""

    def __init__(self, database: Database, configured: Collection[str] = ()) -> None:
        self._database = database
        self._configured = frozenset(configured)
        self._stored: frozenset[str] = frozenset()
        self._read_at = float("-inf")

    async def allows(self, url: str) -> bool:
        """Return whether connections to a URL in a private range are allowed."""
        origin = origin_of(url)
        if origin in self._configured:
            return True
        age_s = time.monotonic() - self._read_at
        if age_s > (_REFRESH_S if origin in self._stored else _LEAST_PAUSE_S):
            async with self._database.acquire() as connection:
                await self.read(connection)
        return origin in self._stored

    async def read(self, connection: Connection) -> frozenset[str]:
        """Return all allowed origins, read from the database now."""
        self._stored = await egress.origins(connection)
        self._read_at = time.monotonic()
        return self._stored | self._configured

    async def check(
        self, connection: Connection, url: str, *, field: str, caller_decides: bool
    ) -> None:
        """Raise ``InvalidArgument`` if a URL names a private address that is not allowed.

        ``caller_decides``: the caller is an admin of all tenants; the origin is allowed from then on.
        """
        if caller_decides:
            await egress.add(connection, origin_of(url))
            return
        check_private(url, field=field, allowed_origins=await self.read(connection))
