"""Idempotency records of calls with a request_id, written in the transaction of the effect."""

from __future__ import annotations

import uuid
from dataclasses import dataclass

import asyncpg

from deployment_service.storage.database.pool import Connection

_INSERT = """
    -- Waits for a concurrent transaction with the same id. If that commits, nothing is inserted here and the next
    -- statement sees its row; if it rolls back, this insert succeeds.
    INSERT INTO request_ids (tenant_id, caller, method, request_id, body_sha256)
    VALUES ($1, $2, $3, $4, $5)
    ON CONFLICT DO NOTHING
    RETURNING true
"""
_FIND = """
    SELECT body_sha256, resource_id, sequence FROM request_ids
    WHERE tenant_id = $1 AND caller = $2 AND method = $3 AND request_id = $4
"""
_COMPLETE = """
    UPDATE request_ids SET resource_id = $5, sequence = $6
    WHERE tenant_id = $1 AND caller = $2 AND method = $3 AND request_id = $4
"""
# Retention may delete the row between the two statements; then the insert is retried.
_TRIES = 3


@dataclass(frozen=True, slots=True)
class Claimed:
    """The record of an id that was used before."""

    body_sha256: bytes
    resource_id: uuid.UUID | None
    sequence: int


async def begin_request(
    connection: Connection,
    *,
    tenant_id: uuid.UUID,
    caller: str,
    method: str,
    request_id: uuid.UUID,
    body_sha256: bytes,
) -> Claimed | None:
    """Insert the record of an id; return None, or the existing record if the id was used before."""
    key = (tenant_id, caller, method, request_id)
    for _ in range(_TRIES):
        if await connection.fetchval(_INSERT, *key, body_sha256):
            return None
        row = await connection.fetchrow(_FIND, *key)
        if row is not None:
            return _claimed(row)
    raise AssertionError("unreachable: a request id was deleted after each attempt to insert it")


async def find(
    connection: Connection,
    *,
    tenant_id: uuid.UUID,
    caller: str,
    method: str,
    request_id: uuid.UUID,
) -> Claimed | None:
    """Return the record of an id whose call has committed; None if there is none."""
    row = await connection.fetchrow(_FIND, tenant_id, caller, method, request_id)
    return _claimed(row) if row is not None else None


def _claimed(row: asyncpg.Record) -> Claimed:
    return Claimed(row["body_sha256"], row["resource_id"], row["sequence"])


async def complete(
    connection: Connection,
    *,
    tenant_id: uuid.UUID,
    caller: str,
    method: str,
    request_id: uuid.UUID,
    resource_id: uuid.UUID | None,
    sequence: int,
) -> None:
    """Store the result of the first call. The row belongs to this transaction, so this never waits for a lock."""
    await connection.execute(
        _COMPLETE, tenant_id, caller, method, request_id, resource_id, sequence
    )
