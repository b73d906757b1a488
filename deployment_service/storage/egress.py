"""The origins in private address ranges that operators have allowed, for all tenants."""

from __future__ import annotations

from deployment_service.storage.database.pool import Connection


async def origins(connection: Connection) -> frozenset[str]:
    """Return all allowed origins."""
    rows = await connection.fetch("SELECT origin FROM egress_origins")
    return frozenset(row["origin"] for row in rows)


async def add(connection: Connection, origin: str) -> None:
    """Allow an origin; no effect if it is allowed already."""
    await connection.execute(
        "INSERT INTO egress_origins (origin) VALUES ($1) ON CONFLICT DO NOTHING", origin
    )
