"""ListWebhookVerifiers: the verifiers of webhooks for gateways, job by job, never the keys themselves."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import cast

from deployment_service.actions.webhook_keys import WebhookKey, WebhookKeys
from deployment_service.domain.access import TenantRef
from deployment_service.domain.errors import InvalidArgument
from deployment_service.storage import webhook_verifiers as store
from deployment_service.storage.database.pool import Database
from deployment_service.storage.pages import Paging
from deployment_service.storage.webhook_verifiers import ChangedJob, Position
from deployment_service.webhook_auth import signatures, tokens

_PAGE_SIZE = 1000


@dataclass(frozen=True, slots=True)
class KeyVerifier:
    """What a job proves itself with under one key. ``signing_secret``: empty for jobs that do not sign."""

    key_id: str
    token_sha256: bytes
    signing_secret: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class JobVerifier:
    """What one job proves itself with."""

    tenant_slug: str
    job_id: uuid.UUID
    deleted: bool
    keys: Sequence[KeyVerifier]


@dataclass(frozen=True, slots=True)
class VerifierPage:
    """``reset``: the list begins anew with this page."""

    verifiers: Sequence[JobVerifier]
    next_cursor: str
    more: bool
    reset: bool


@dataclass(frozen=True, slots=True)
class _Cursor:
    """Where a page begins, in which life of the store, and where the walk that it belongs to is followed up."""

    epoch: str
    floor: int
    after: Position


async def list_verifiers(
    database: Database,
    keys: WebhookKeys,
    tenant: TenantRef | None,
    *,
    cursor: str,
    page_size: int,
) -> VerifierPage:
    """Return the changes after ``cursor``, of one tenant or (None) of all.

    A cursor that is of another scope or of another life of the store, or none at all, begins anew.
    """
    tenant_id = tenant.tenant_id if tenant else None
    paging = Paging(
        ("webhook verifiers", tenant_id or "all"),
        (str, int, int, uuid.UUID, uuid.UUID),
        default_size=_PAGE_SIZE,
        max_size=_PAGE_SIZE,
    )
    size = paging.size(page_size)
    known = _read(paging, cursor)
    async with database.acquire() as connection:
        after = known.after if known else Position()
        changes = await store.page(connection, tenant_id, after, size + 1)
        if known is not None and known.epoch != changes.epoch:
            known = None
            changes = await store.page(connection, tenant_id, Position(), size + 1)
        jobs, more = changes.jobs[:size], len(changes.jobs) > size
        tenant_ids = {job.position.tenant_id for job in jobs if not job.gone}
        encrypted = await store.keys_of(connection, tenant_ids)
    floor = known.floor if known is not None and known.floor else changes.floor
    # The last page: continue from its lower bound, for changes that were not committed when the walk began.
    following = jobs[-1].position if more else Position(floor)
    cells = (
        changes.epoch,
        floor if more else 0,
        following.changed,
        following.tenant_id,
        following.job_id,
    )
    valid = {owner: keys.decrypted(rows) for owner, rows in encrypted.items()}
    return VerifierPage(
        [_verifier(job, valid.get(job.position.tenant_id, ())) for job in jobs],
        paging.token(cells),
        more,
        reset=known is None,
    )


def _read(paging: Paging, cursor: str) -> _Cursor | None:
    try:
        cells = paging.cursor(cursor)
    except InvalidArgument:
        return None
    if cells is None:
        return None
    epoch, floor, changed, tenant_id, job_id = cast(
        "tuple[str, int, int, uuid.UUID, uuid.UUID]", cells
    )
    return _Cursor(epoch, floor, Position(changed, tenant_id, job_id))


def _verifier(job: ChangedJob, keys: Sequence[WebhookKey]) -> JobVerifier:
    tenant_uid, job_id = str(job.position.tenant_id), str(job.position.job_id)
    return JobVerifier(
        job.tenant_slug,
        job.position.job_id,
        job.gone,
        [
            KeyVerifier(
                key.key_id,
                tokens.digest(tokens.mint(tenant_uid, job_id, key.key_id, key.secret)),
                signatures.job_secret(tenant_uid, job_id, key.secret) if job.signs else b"",
            )
            for key in keys
            if not job.gone
        ],
    )
