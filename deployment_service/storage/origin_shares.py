"""The budget of requests of an origin (scheme, host, port), which all tenants share fairly.

Each tenant has a bucket that fills at its share of the origin's rate: the rate divided by the tenants that used the
origin within a minute. Beyond its share a tenant gets the unused shares of the others. Tenants never lock
the same row; two concurrent calls may both get the same remainder, a few requests at most.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass

from deployment_service.storage.database.pool import Connection

WINDOW_S = 5.0
"""Length of the window in which use counts, in seconds. An origin gets at most about the rate times this in it."""
SMALLEST_BUCKET = 8
"""Requests that a tenant may send at once after a pause, independent of the number of tenants."""
_ENROL = "INSERT INTO origin_shares (tenant_id, origin) VALUES ($1, $2) ON CONFLICT DO NOTHING"
# usage decays: a request counts e^-1 after a window. Ages are capped and tiny values become 0, to avoid underflow.
TAKE = """
    UPDATE origin_shares AS s SET (tokens, usage, use_time, granted, tenants) = (
        SELECT greatest(mine.tokens - got.n, least(mine.tokens, mine.lowest)), mine.usage + got.n, now(), got.n,
            others.tenants
        FROM (
            SELECT 1 + count(*) AS tenants,
                coalesce(sum(o.usage * exp(-extract(epoch FROM now() - o.use_time)::float8 / $5::float8)), 0)
                    AS usage
            FROM origin_shares AS o
            WHERE o.origin = $2 AND o.tenant_id <> $1 AND o.use_time BETWEEN now() - interval '1 min' AND now()
        ) AS others, LATERAL (
            SELECT $4::float8 / others.tenants AS rate,
                greatest($6::float8, $4::float8 * $5::float8 / others.tenants) AS bucket,
                least(greatest(extract(epoch FROM now() - s.use_time)::float8, 0), 60) AS age_s
        ) AS share, LATERAL (
            SELECT least(share.bucket, s.tokens + share.age_s * share.rate) AS tokens,
                CASE WHEN s.usage < 0.001 THEN 0 ELSE s.usage * exp(-share.age_s / $5::float8) END AS usage,
                -- Urgent requests may use a bucket in advance; other requests may not.
                CASE WHEN $7 THEN -share.bucket ELSE 0 END AS lowest
        ) AS mine, LATERAL (
            SELECT least($3::int, floor(greatest(
                mine.tokens - mine.lowest, $4::float8 * $5::float8 - others.usage - mine.usage, 0)))::int AS n
        ) AS got
    )
    WHERE s.tenant_id = $1 AND s.origin = $2
    RETURNING granted, tokens, tenants
"""
_FORGET = """
    DELETE FROM origin_shares WHERE ctid = ANY (ARRAY(
        SELECT ctid FROM origin_shares WHERE use_time < now() - interval '1 day' LIMIT $1))
"""


@dataclass(frozen=True, slots=True)
class Taken:
    """The granted requests; ``wait_s``: seconds until the next one, if fewer than wanted were granted."""

    granted: int
    wait_s: float
    tenants: int


async def take(
    connection: Connection,
    tenant_id: uuid.UUID,
    origin: str,
    wanted: int,
    *,
    requests_per_second: float,
    ahead: bool,
) -> Taken:
    """Take up to ``wanted`` requests of a tenant's share. ``ahead``: urgent requests, before all others."""
    arguments = (
        tenant_id,
        origin,
        wanted,
        requests_per_second,
        WINDOW_S,
        float(SMALLEST_BUCKET),
        ahead,
    )
    row = await connection.fetchrow(TAKE, *arguments)
    if row is None:
        await connection.execute(_ENROL, tenant_id, origin)
        row = await connection.fetchrow(TAKE, *arguments)
        assert row is not None
    tenants: int = row["tenants"]
    bucket = max(SMALLEST_BUCKET, requests_per_second * WINDOW_S / tenants)
    missing = max(0.0, 1.0 - row["tokens"] - (bucket if ahead else 0.0))
    return Taken(row["granted"], missing * tenants / requests_per_second, tenants)


async def forget(connection: Connection, limit: int) -> int:
    """Remove shares that were not used for a day; return how many were removed."""
    status = await connection.execute(_FORGET, limit)
    return int(status.rpartition(" ")[2])
