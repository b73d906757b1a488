"""All webhook keys of a tenant, and the jobs that still use each."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from deployment_service.storage.database.pool import Connection

USE_DAYS = 7
# A key is in use if a recent report was authenticated by it, or the endpoint that the service wrote has it. A report
# with a newer key does not end its use: a job may have several senders, and one with the old key may report rarely.
_RECENT = f"interval '{USE_DAYS} days'"
_KEYS = f"""
    SELECT k.key_id, k.create_time, k.retire_time,
        (SELECT max(u.last_seen_time) FROM webhook_key_uses AS u
            WHERE u.tenant_id = k.tenant_id AND u.key_id = k.key_id) AS last_seen,
        (SELECT count(*) FROM cicd_jobs AS j
            WHERE j.tenant_id = k.tenant_id AND j.state <> 'DELETING'
                AND (j.endpoint_key_id = k.key_id OR EXISTS (
                    SELECT FROM webhook_key_uses AS u
                    WHERE u.tenant_id = j.tenant_id AND u.job_id = j.job_id AND u.key_id = k.key_id
                        AND u.last_seen_time > now() - {_RECENT})))::int AS jobs_in_use
    FROM webhook_keys AS k
    WHERE k.tenant_id = $1
    ORDER BY k.create_time DESC, k.key_id DESC
"""
_REWRITE = """
    -- Incrementing attempt fences off a concurrent rewrite with an older key.
    UPDATE cicd_jobs SET next_try_time = now(), attempt = attempt + 1, lease_owner = NULL, lease_until = NULL
    WHERE tenant_id = $1 AND state = 'READY' AND endpoint_key_id IS NOT NULL
"""
_REWRITING = """
    SELECT full_name FROM cicd_jobs
    WHERE tenant_id = $1 AND state = 'READY' AND next_try_time IS NOT NULL ORDER BY full_name LIMIT 1000
"""
# Includes jobs with our endpoint whose builds also sign, with a secret that a person has stored in Jenkins.
_OTHERS = f"""
    SELECT j.job_id, j.full_name, p.slug AS provider_slug, p.webhook_base_url, j.signing_since IS NOT NULL AS signs
    FROM cicd_jobs AS j JOIN cicd_providers AS p USING (tenant_id, provider_id)
    WHERE j.tenant_id = $1 AND j.state <> 'DELETING' AND j.next_try_time IS NULL
        AND (j.endpoint_key_id IS DISTINCT FROM $2 OR EXISTS (
            SELECT FROM webhook_key_uses AS u
            WHERE u.tenant_id = $1 AND u.job_id = j.job_id AND u.signed AND u.key_id <> $2
                AND u.last_seen_time > now() - {_RECENT}))
    ORDER BY j.full_name LIMIT 1000
"""
_RETIRE = """
    UPDATE webhook_keys SET retire_time = coalesce(retire_time, now()) WHERE tenant_id = $1 AND key_id = $2
"""
_NOTE_SIGNING = """
    UPDATE cicd_jobs SET signing_since = now() WHERE tenant_id = $1 AND job_id = $2 AND signing_since IS NULL
"""


@dataclass(frozen=True, slots=True)
class KeyUse:
    """A key without its secret, and the number of jobs that use it."""

    key_id: str
    create_time: datetime
    retire_time: datetime | None
    last_seen: datetime | None
    jobs_in_use: int


@dataclass(frozen=True, slots=True)
class OtherJob:
    """A job whose endpoint or signing secret the service cannot write."""

    job_id: uuid.UUID
    full_name: str
    provider_slug: str
    webhook_base_url: str
    signs: bool


async def uses(connection: Connection, tenant_id: uuid.UUID) -> list[KeyUse]:
    """Return all keys that the tenant ever had, newest first."""
    return [KeyUse(*row) for row in await connection.fetch(_KEYS, tenant_id)]


async def rewrite_endpoints(connection: Connection, tenant_id: uuid.UUID) -> None:
    """Let the provisioner write the newest key into the endpoints that the service wrote."""
    await connection.execute(_REWRITE, tenant_id)


async def rewriting(connection: Connection, tenant_id: uuid.UUID) -> Sequence[str]:
    """Return the full names of the jobs whose endpoint must still be rewritten."""
    return [row["full_name"] for row in await connection.fetch(_REWRITING, tenant_id)]


async def others(connection: Connection, tenant_id: uuid.UUID, key_id: str) -> list[OtherJob]:
    """Return the jobs whose key must be changed by a person."""
    return [OtherJob(*row) for row in await connection.fetch(_OTHERS, tenant_id, key_id)]


async def note_signing(connection: Connection, tenant_id: uuid.UUID, job_id: uuid.UUID) -> None:
    """Record that a caller has read the job's signing secret."""
    await connection.execute(_NOTE_SIGNING, tenant_id, job_id)


async def retire(connection: Connection, tenant_id: uuid.UUID, key_id: str) -> None:
    await connection.execute(_RETIRE, tenant_id, key_id)
