"""The origins in private ranges that operators allowed, for all tenants."""

from __future__ import annotations

from deployment_service.storage.database.pool import Connection


async def origins(connection: Connection) -> frozenset[str]:
    """Return all of them."""
    rows = await connection.fetch("SELECT origin FROM egress_origins")
    return frozenset(row["origin"] for row in rows)


async def add(connection: Connection, origin: str) -> None:
    """Allow an origin, if it isn't yet."""
    await connection.execute(
        "INSERT INTO egress_origins (origin) VALUES ($1) ON CONFLICT DO NOTHING", origin
    )
