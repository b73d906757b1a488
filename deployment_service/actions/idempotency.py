"""Repeated calls: one intent, named by its caller with a request_id, has one effect.

Used by every action that changes something, inside its transaction::

    async def work(connection):
        known = await claim(connection, key)          # first statement
        if known is not None:
            return known.resource_id, known.sequence  # answer with the resource as it now is
        ...                                           # the effect
        sequence = await events.append(...)           # last to lock
        await remember(connection, key, resource_id, sequence)

Because claim and effect commit together, only committed effects are remembered; a second call that
comes while the first is under way waits for its outcome.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass

from deployment_service.domain.errors import InvalidArgument
from deployment_service.storage import idempotency
from deployment_service.storage.database.pool import Connection

NO_TENANT = uuid.UUID(int=0)
"""The tenant of calls that are of no tenant, such as CreateTenant."""


@dataclass(frozen=True, slots=True)
class RequestKey:
    """Who means which intent. ``body_sha256`` covers the request without its request_id."""

    tenant_id: uuid.UUID
    caller: str
    method: str
    request_id: uuid.UUID
    body_sha256: bytes


@dataclass(frozen=True, slots=True)
class Remembered:
    """What the first call made: ``sequence`` is the position that its answer gave."""

    resource_id: uuid.UUID | None
    sequence: int


async def begin_request(connection: Connection, key: RequestKey | None) -> Remembered | None:
    """Claim an intent: None means that its effect is now the caller's to make.

    Must be the first statement of the transaction. Without a key there is nothing to remember.
    Raises InvalidArgument if the id was used for something else.
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
    """Return what was remembered of an intent, without claiming it. A hint: ``begin_request`` decides.

    For work that may not be done in a transaction, and not twice. Raises as ``begin_request`` does.
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
    """Store what the effect made, in its transaction; after ``events.append``, which tells the sequence."""
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
