"""The keys of webhook tokens: made with their tenant, used to write webhook URLs; they never leave the service."""

from __future__ import annotations

import secrets
import uuid
from collections.abc import Iterable
from dataclasses import dataclass, field

from deployment_service.runtime.secret_box import SecretBox
from deployment_service.storage import tenants
from deployment_service.storage import webhook_keys as store
from deployment_service.storage.database.pool import Connection
from deployment_service.webhook_auth import paths, signatures, tokens

FIRST_KEY_ID = "k1"
_SECRET_BYTES = 32


@dataclass(frozen=True, slots=True)
class WebhookKey:
    """A key that is valid now. Never log it."""

    key_id: str
    secret: bytes

    def __repr__(self) -> str:
        return f"WebhookKey({self.key_id!r}, …)"


class WebhookKeys:
    """Reads and makes the keys, which are encrypted at rest."""

    def __init__(self, box: SecretBox) -> None:
        self._box = box

    async def valid(self, connection: Connection, tenant_id: uuid.UUID) -> list[WebhookKey]:
        """Return every key that is valid now, newest first."""
        return self.decrypted(await tenants.webhook_keys(connection, tenant_id))

    def decrypted(self, rows: Iterable[tuple[str, bytes]]) -> list[WebhookKey]:
        """Return keys from their ids and encrypted secrets."""
        return [WebhookKey(key_id, self._box.decrypt(encrypted)) for key_id, encrypted in rows]

    async def newest(self, connection: Connection, tenant_id: uuid.UUID) -> WebhookKey | None:
        """Return the key with which new tokens are made."""
        rows = await tenants.webhook_keys(connection, tenant_id)
        return WebhookKey(rows[0][0], self._box.decrypt(rows[0][1])) if rows else None

    async def add_next(self, connection: Connection, tenant_id: uuid.UUID) -> str:
        """Make a further key of a locked tenant; return its id. No id is ever used again."""
        last = max(int(one.key_id[1:]) for one in await store.uses(connection, tenant_id))
        key_id = f"k{last + 1}"
        encrypted = self._box.encrypt(secrets.token_bytes(_SECRET_BYTES))
        await tenants.add_webhook_key(connection, tenant_id, key_id, encrypted)
        return key_id

    async def add_first(self, connection: Connection, tenant_id: uuid.UUID) -> None:
        """Make the first key of a new tenant."""
        encrypted = self._box.encrypt(secrets.token_bytes(_SECRET_BYTES))
        await tenants.add_webhook_key(connection, tenant_id, FIRST_KEY_ID, encrypted)


@dataclass(frozen=True, slots=True)
class JobWebhook:
    """Where one job reports, and how it proves that it is the one: by the token in the URL, or by signing."""

    url: str = field(repr=False)
    signing_secret: str = field(repr=False)
    key_id: str


def job_webhook(
    base_url: str,
    *,
    locale: str,
    tenant: str,
    tenant_id: uuid.UUID,
    job_id: uuid.UUID,
    key: WebhookKey,
) -> JobWebhook:
    """Return the credentials with which one job reports, made with this key."""
    token = tokens.mint(str(tenant_id), str(job_id), key.key_id, key.secret)
    secret = signatures.job_secret(str(tenant_id), str(job_id), key.secret)
    path = paths.webhook_path(locale, tenant)
    return JobWebhook(
        f"{base_url.rstrip('/')}/{path}?token={token}",
        signatures.as_text(secret),
        key.key_id,
    )
