"""RotateWebhookSecret and RetireWebhookKey: add a new key first, retire the old one when no job uses it any more."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass

from deployment_service.actions.idempotency import RequestKey, begin_request, remember
from deployment_service.actions.webhook_keys import JobWebhook, WebhookKeys, job_webhook
from deployment_service.domain.access import TenantRef
from deployment_service.domain.errors import FailedPrecondition, NotFound
from deployment_service.storage import locks
from deployment_service.storage import webhook_keys as store
from deployment_service.storage.database.pool import Connection, Database
from deployment_service.storage.webhook_keys import KeyUse, OtherJob


@dataclass(frozen=True, slots=True)
class Rotation:
    """The progress of a rotation. ``others``: jobs whose endpoints must be changed by hand, with their new values."""

    key_id: str
    rewriting: Sequence[str]
    others: Sequence[tuple[OtherJob, JobWebhook]]
    keys: Sequence[KeyUse]


async def rotate(
    database: Database,
    keys: WebhookKeys,
    tenant: TenantRef,
    *,
    locale: str,
    key: RequestKey | None,
) -> Rotation:
    """Add a key and request the rewrite of the service's endpoints. A repeated call only returns the progress."""

    async def work(connection: Connection) -> Rotation:
        if await begin_request(connection, key) is None:
            await locks.lock_tenant(connection, tenant.tenant_id)
            await keys.add_next(connection, tenant.tenant_id)
            await store.rewrite_endpoints(connection, tenant.tenant_id)
            await remember(connection, key, tenant.tenant_id)
        newest = await keys.newest(connection, tenant.tenant_id)
        assert newest is not None
        others = [
            (
                other,
                job_webhook(
                    other.webhook_base_url,
                    locale=locale,
                    tenant=tenant.slug,
                    tenant_id=tenant.tenant_id,
                    job_id=other.job_id,
                    key=newest,
                ),
            )
            for other in await store.others(connection, tenant.tenant_id, newest.key_id)
        ]
        rewriting = await store.rewriting(connection, tenant.tenant_id)
        valid = [one for one in await _uses(connection, tenant.tenant_id) if not one.retire_time]
        return Rotation(newest.key_id, rewriting, others, valid)

    return await database.transaction(work)


async def retire(
    database: Database,
    tenant: TenantRef,
    key_id: str,
    *,
    force: bool,
    key: RequestKey | None = None,
) -> KeyUse:
    """Retire a key that is in use nowhere; with ``force`` any but the newest.

    Retiring a retired key changes nothing, so a repeated call takes the same path.
    """

    async def work(connection: Connection) -> KeyUse:
        known_request = await begin_request(connection, key)
        await locks.lock_tenant(connection, tenant.tenant_id)
        known = await _uses(connection, tenant.tenant_id)
        found = next((one for one in known if one.key_id == key_id), None)
        if found is None:
            raise NotFound("webhook key", key_id)
        if found.retire_time is None:
            if found is known[0]:
                raise FailedPrecondition(
                    "WEBHOOK_KEY_NEWEST",
                    "This is the newest key, with which all tokens are made; rotate first.",
                )
            if found.jobs_in_use and not force:
                raise FailedPrecondition(
                    "WEBHOOK_KEY_IN_USE",
                    f"{found.jobs_in_use} jobs have this key in their endpoint or used it in the last "
                    f"{store.USE_DAYS} days. Change their webhooks and wait, or retire it with force.",
                    metadata={"jobs_in_use": str(found.jobs_in_use)},
                )
            await store.retire(connection, tenant.tenant_id, key_id)
        if known_request is None:
            await remember(connection, key, None)
        return next(o for o in await _uses(connection, tenant.tenant_id) if o.key_id == key_id)

    return await database.transaction(work)


async def _uses(connection: Connection, tenant_id: uuid.UUID) -> list[KeyUse]:
    return await store.uses(connection, tenant_id)
