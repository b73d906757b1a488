"""Idempotency of repeated calls: one intent, identified by the caller's request_id, has one effect.

Used by every action that changes something, inside its transaction::

    async def work(connection):
        known = await begin_request(connection, key)  # first statement
        if known is not None:
            return known.resource_id, known.sequence  # answer with the resource as it now is
        ...                                           # the effect
        sequence = await events.append(...)           # last to lock
        await remember(connection, key, resource_id, sequence)

The key and the effect commit together, so only committed effects are stored. A second call during the
first waits for its outcome.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass

from deployment_service.domain.errors import InvalidArgument
from deployment_service.storage import idempotency
from deployment_service.storage.database.pool import Connection

NO_TENANT = uuid.UUID(int=0)
"""The tenant id of calls that belong to no tenant, such as CreateTenant."""


@dataclass(frozen=True, slots=True)
class RequestKey:
    """The key of an intent. ``body_sha256`` covers the request without its request_id."""

    tenant_id: uuid.UUID
    caller: str
    method: str
    request_id: uuid.UUID
    body_sha256: bytes


@dataclass(frozen=True, slots=True)
class Remembered:
    """The result of the first call. ``sequence``: the position of its resume_token."""

    resource_id: uuid.UUID | None
    sequence: int


async def begin_request(connection: Connection, key: RequestKey | None) -> Remembered | None:
    """Return the result of an earlier call with this key; None if this call must make the effect.

    Must be the first statement of the transaction. Without a key the result is None.
    Raises: ``InvalidArgument`` if the id was used for another request.
    """
    if key is None:
        return None
    known = await idempotency.begin_request(
        connection,
        tenant_id=key.tenant_id,
        caller=key.caller,
        method=key.method,
        request_id=key.request_id,
        body_sha256=key.body_sha256,
    )
    return _same(known, key)


async def find(connection: Connection, key: RequestKey | None) -> Remembered | None:
    """Return the result of an earlier call, without claiming the key. A hint only: ``begin_request`` decides.

    For work that must not run in a transaction, nor twice. Raises like ``begin_request``.
    """
    if key is None:
        return None
    return _same(
        await idempotency.find(
            connection,
            tenant_id=key.tenant_id,
            caller=key.caller,
            method=key.method,
            request_id=key.request_id,
        ),
        key,
    )


def _same(known: idempotency.Claimed | None, key: RequestKey) -> Remembered | None:
    if known is None:
        return None
    if known.body_sha256 != key.body_sha256:
        raise InvalidArgument(
            "request_id",
            "was used before with a different request; use a new UUID for each intent",
            reason="REQUEST_ID_REUSED",
        )
    return Remembered(known.resource_id, known.sequence)


async def remember(
    connection: Connection,
    key: RequestKey | None,
    resource_id: uuid.UUID | None,
    sequence: int = 0,
) -> None:
    """Store the result of the effect in its transaction, after ``events.append``, which returns the sequence."""
    if key is None:
        return
    await idempotency.complete(
        connection,
        tenant_id=key.tenant_id,
        caller=key.caller,
        method=key.method,
        request_id=key.request_id,
        resource_id=resource_id,
        sequence=sequence,
    )
