"""The trigger of a run: claim it, record the request before it is sent, and record its outcome.

``attempt`` and ``lease_owner`` fence every write: a process that stalled past its lease changes nothing. They do not
reach Jenkins; the quarantine ``unclear_until`` separates a late request from the next one (docs/explanation/runs.md).
"""

from __future__ import annotations

import uuid
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from deployment_service.domain.duplicates import SentAttempts
from deployment_service.domain.parameter_definitions import (
    DeclaredParameter,
    definitions_from_json,
)
from deployment_service.domain.secret_values import SplitValues
from deployment_service.storage.database.pool import Connection

_CLAIM = """
    WITH due AS (
        SELECT tenant_id, run_id FROM deployment_runs AS r
        -- SENDING: the request may still be on its way, so the run is claimed only to probe Jenkins.
        WHERE trigger_state IN ('WAITING', 'SENDING') AND next_try_time <= now()
            AND (lease_until IS NULL OR lease_until < now())
            -- Nothing new is sent to a job that was not read since the store was restored.
            AND (trigger_state = 'SENDING' OR trigger_deadline < now() OR NOT EXISTS (
                SELECT FROM unread_jobs AS u WHERE u.tenant_id = r.tenant_id AND u.job_id = r.job_id))
            AND tenant_id <> ALL ($5::uuid[])
            AND ($4::uuid[] = '{}' OR NOT EXISTS (
                SELECT FROM cicd_jobs AS b WHERE b.tenant_id = r.tenant_id AND b.job_id = r.job_id
                    AND b.provider_id = ANY($4)))
        ORDER BY next_try_time LIMIT $3 FOR UPDATE SKIP LOCKED
    ), claimed AS (
        UPDATE deployment_runs AS r SET lease_owner = $1, lease_until = now() + $2::interval,
            attempt = r.attempt + 1
        FROM due WHERE r.tenant_id = due.tenant_id AND r.run_id = due.run_id
        RETURNING r.*
    ), noted AS (
        INSERT INTO run_attempts (tenant_id, run_id, attempt, owner)
        SELECT tenant_id, run_id, attempt, $1 FROM claimed
    )
    SELECT c.tenant_id, c.run_id, c.deployment_id, c.job_id, c.number, c.attempt, c.trigger_state, c.parameters,
        c.secret_parameters, c.secret_values, j.secret_parameters AS job_secrets,
        (SELECT message FROM run_attempts AS a
         WHERE a.tenant_id = c.tenant_id AND a.run_id = c.run_id AND a.message <> ''
             AND a.outcome IN ('NOT_SENT', 'NOT_DONE', 'UNCLEAR', 'SERVER_ERROR', 'NOT_PROBED')
         ORDER BY a.attempt DESC LIMIT 1) AS last_answer,
        c.failures, c.first_build_number, c.probe_count, c.probe_time, c.probe_session,
        c.trigger_deadline < now() AS overdue, now() AS claim_time,
        c.cancel_request_time IS NOT NULL AS cancel_requested,
        j.full_name, j.provider_id, j.owner_deployment_id, j.correlation, j.generation,
        ARRAY(SELECT one ->> 'name' FROM deployments AS d, jsonb_array_elements(d.parameter_definitions) AS one
            WHERE d.tenant_id = c.tenant_id AND d.deployment_id = c.deployment_id AND one ->> 'kind' = 'SECRET')
            AS defined_secrets,
        coalesce(o.parameter_definitions, '[]') AS definitions, coalesce(o.job_kind, '') AS job_kind,
        coalesce(o.version, 0) AS definition_version,
        p.job_folder, p.allowed_folders, p.allowed_job_kinds, d.job_kind AS run_job_kind
    FROM claimed AS c JOIN cicd_jobs AS j ON j.tenant_id = c.tenant_id AND j.job_id = c.job_id
    JOIN cicd_providers AS p ON p.tenant_id = j.tenant_id AND p.provider_id = j.provider_id
    JOIN deployments AS d ON d.tenant_id = c.tenant_id AND d.deployment_id = c.deployment_id
    LEFT JOIN deployments AS o ON o.tenant_id = j.tenant_id AND o.deployment_id = j.owner_deployment_id
"""
_SECRETS = """
    UPDATE deployment_runs SET parameters = $5, secret_parameters = $6, secret_values = $7
    WHERE tenant_id = $1 AND run_id = $2 AND attempt = $3 AND lease_owner = $4 AND settle_time IS NULL
    RETURNING run_id
"""
_JOB_SECRETS = "UPDATE cicd_jobs SET secret_parameters = $3 WHERE tenant_id = $1 AND job_id = $2"
_BEGIN_SEND = """
    UPDATE deployment_runs SET trigger_state = 'SENDING', unclear_until = now() + $5::interval,
        next_try_time = now() + $5::interval, probe_count = 0, probe_time = NULL, probe_session = NULL,
        first_build_number = least(first_build_number, $6)
    WHERE tenant_id = $1 AND run_id = $2 AND attempt = $3 AND lease_owner = $4 AND cancel_request_time IS NULL
        AND trigger_state = 'WAITING' AND end_time IS NULL AND trigger_deadline > now()
    RETURNING run_id
"""
_NOTE_SEND = """
    UPDATE run_attempts SET send_by = now() + $4::interval, next_build_number = $5, jenkins_session = $6, named = $7
    WHERE tenant_id = $1 AND run_id = $2 AND attempt = $3
"""
_NOTE_OUTCOME = """
    UPDATE run_attempts SET outcome = $4, http_status = $5, queue_id = $6, message = $7, end_time = now()
    WHERE tenant_id = $1 AND run_id = $2 AND attempt = $3
"""
_LATEST_ATTEMPT = "SELECT attempt FROM deployment_runs WHERE tenant_id = $1 AND run_id = $2"
_RELEASE = """
    UPDATE deployment_runs SET lease_owner = NULL, lease_until = NULL,
        failures = CASE WHEN $8 THEN failures + 1 ELSE 0 END,
        -- The deadline limits the wait that an answer (Retry-After) requests.
        next_try_time = CASE WHEN $6 = 'SENDING' THEN greatest(now() + $5::interval, unclear_until)
            ELSE least(now() + $5::interval,
                CASE WHEN trigger_deadline > now() THEN trigger_deadline + interval '10 ms' END) END,
        trigger_state = $6, waiting_reason = $7
    WHERE tenant_id = $1 AND run_id = $2 AND attempt = $3 AND lease_owner = $4
        AND trigger_state IN ('WAITING', 'SENDING')
"""
_DROP_LEASE = """
    UPDATE deployment_runs SET lease_owner = NULL, lease_until = NULL
    WHERE tenant_id = $1 AND run_id = $2 AND attempt = $3 AND lease_owner = $4
"""
_NOTE_PROBE = """
    UPDATE deployment_runs SET lease_owner = NULL, lease_until = NULL, failures = 0, probe_count = probe_count + 1,
        probe_time = now(), probe_session = $5, next_try_time = now() + $6::interval
    WHERE tenant_id = $1 AND run_id = $2 AND attempt = $3 AND lease_owner = $4 AND trigger_state = 'SENDING'
"""
_FENCE = """
    UPDATE deployment_runs SET lease_owner = NULL, lease_until = NULL
    WHERE tenant_id = $1 AND run_id = $2 AND attempt = $3 AND lease_owner = $4
        AND trigger_state IN ('WAITING', 'SENDING')
    RETURNING run_id
"""
# In one session of Jenkins a queue id denotes one item; after a crash ids are reused. If replicas answer in turn, or
# the session is unknown, the item belongs to a run that still waits for its build.
_QUEUE_ITEM_OWNER = """
    SELECT number FROM deployment_runs AS r
    WHERE tenant_id = $1 AND job_id = $2 AND queue_id = $3 AND run_id <> $4 AND source = 'SERVICE'
        AND coalesce(
            (SELECT bool_or(theirs.jenkins_session = ours.jenkins_session
                 OR CASE WHEN c.sessions_alternate THEN NULL ELSE false END)
             FROM run_attempts AS theirs
             JOIN run_attempts AS ours ON ours.tenant_id = $1 AND ours.run_id = $4 AND ours.attempt = $5
             JOIN cicd_jobs AS j ON j.tenant_id = r.tenant_id AND j.job_id = r.job_id
             LEFT JOIN cicd_controllers AS c ON c.tenant_id = j.tenant_id AND c.provider_id = j.provider_id
             WHERE theirs.tenant_id = r.tenant_id AND theirs.run_id = r.run_id AND theirs.queue_id = r.queue_id),
            build_number IS NULL AND end_time IS NULL)
"""
_SENT = """
    SELECT count(*) FILTER (WHERE outcome = 'SERVER_ERROR') AS server_errors,
        coalesce(bool_and(named) FILTER (WHERE send_by IS NOT NULL), true) AS all_named
    FROM run_attempts WHERE tenant_id = $1 AND run_id = $2
"""

_SENT_ATTEMPTS = """
    -- An attempt without an outcome belongs to a process that died or stalled.
    SELECT count(*) FILTER (WHERE outcome IN ('', 'UNCLEAR')) AS unanswered,
        count(*) FILTER (WHERE outcome = 'ACCEPTED') AS answered,
        (SELECT count(*) FROM deployment_runs AS e JOIN deployment_runs AS own
            ON own.tenant_id = $1 AND own.run_id = $2 AND e.job_id = own.job_id
         WHERE e.tenant_id = $1 AND e.source = 'EXTERNAL' AND e.cancel_request_time IS NOT NULL
             AND e.parameters ->> 'DEPLOYMENT_RUN_ID' = $2::text) AS stopped
    FROM run_attempts WHERE tenant_id = $1 AND run_id = $2 AND send_by IS NOT NULL
"""


@dataclass(frozen=True, slots=True)
class Claimed:
    """A run that this replica has leased, to trigger it (WAITING) or to probe for its build (SENDING)."""

    tenant_id: uuid.UUID
    run_id: uuid.UUID
    deployment_id: uuid.UUID
    job_id: uuid.UUID
    number: int
    attempt: int
    trigger_state: str
    parameters: Mapping[str, str] = field(repr=False)
    secret_parameters: Sequence[str]
    secret_values: bytes | None = field(repr=False)
    job_secrets: Sequence[str] | None
    """The parameters that the job defines as secret; None if they were not read yet."""
    failures: int
    last_answer: str | None
    first_build_number: int | None
    probe_count: int
    probe_time: datetime | None
    probe_session: str | None
    overdue: bool
    claim_time: datetime
    cancel_requested: bool
    full_name: str
    provider_id: uuid.UUID
    owner_deployment_id: uuid.UUID | None
    correlation: str | None
    generation: int
    defined_secrets: Sequence[str]
    """The parameters that the run's deployment defines as secret."""
    definitions: tuple[DeclaredParameter, ...]
    """The definitions of the deployment that owns the job; none for an adopted job."""
    definition_version: int
    job_kind: str
    """The kind of the owner's definition; empty for an adopted job."""
    job_folder: str = ""
    allowed_folders: Sequence[str] = ()
    allowed_job_kinds: Sequence[str] = ()
    run_job_kind: str = "EXISTING"
    """The kind of the job by the definition of the run's own deployment."""
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)
    """The decrypted secret values; ``parameters`` contains them too."""


@dataclass(frozen=True, slots=True)
class Sent:
    """How many requests of a run Jenkins answered with a 500, and whether all requests carried the run id."""

    server_errors: int
    all_named: bool


async def claim(
    connection: Connection,
    owner: uuid.UUID,
    *,
    lease_s: float,
    limit: int,
    without_providers: Collection[uuid.UUID] = (),
    without_tenants: Collection[uuid.UUID] = (),
) -> list[Claimed]:
    """Claim due runs, oldest first, except those of the given providers and tenants."""
    excluded = (list(without_providers), list(without_tenants))
    rows = await connection.fetch(_CLAIM, owner, _interval(lease_s), limit, *excluded)
    return [
        Claimed(**{**row, "definitions": definitions_from_json(row["definitions"])}) for row in rows
    ]


async def tell_secrets_apart(
    connection: Connection,
    run: Claimed,
    owner: uuid.UUID,
    values: SplitValues,
    secret_values: bytes | None,
    *,
    job_secrets: Collection[str],
) -> bool:
    """Store which values of a run are secret by the job's definitions; return False if the lease is lost."""
    key = (run.tenant_id, run.run_id, run.attempt, owner)
    await connection.execute(_JOB_SECRETS, run.tenant_id, run.job_id, sorted(job_secrets))
    names = sorted(values.secret)
    done = await connection.fetchval(_SECRETS, *key, values.shown, names, secret_values)
    return done is not None


async def begin_send(
    connection: Connection,
    run: Claimed,
    owner: uuid.UUID,
    *,
    send_within_s: float,
    unclear_s: float,
    next_build_number: int,
    session: str | None,
    named: bool,
) -> bool:
    """Record a request before it is sent; return False if the lease is lost, or the run is overdue or cancelled."""
    key = (run.tenant_id, run.run_id, run.attempt)
    unclear = _interval(unclear_s)
    if await connection.fetchval(_BEGIN_SEND, *key, owner, unclear, next_build_number) is None:
        return False
    within = _interval(send_within_s)
    await connection.execute(_NOTE_SEND, *key, within, next_build_number, session, named)
    return True


async def note_outcome(
    connection: Connection,
    run: Claimed,
    outcome: str,
    *,
    http_status: int | None = None,
    queue_id: str | None = None,
    message: str = "",
) -> None:
    """Record the outcome of an attempt, for ExplainRun."""
    key = (run.tenant_id, run.run_id, run.attempt)
    await connection.execute(_NOTE_OUTCOME, *key, outcome, http_status, queue_id, message)


async def is_latest_attempt(connection: Connection, run: Claimed) -> bool:
    """Return whether the run has not been claimed again since."""
    attempt = await connection.fetchval(_LATEST_ATTEMPT, run.tenant_id, run.run_id)
    return bool(attempt == run.attempt)


async def release(
    connection: Connection,
    run: Claimed,
    owner: uuid.UUID,
    *,
    state: str,
    retry_in_s: float,
    reason: str,
    failed: bool = False,
) -> None:
    """Release the lease, as WAITING (nothing is in Jenkins) or SENDING (retry after the quarantine).

    ``failed``: Jenkins could not be reached, so the next try backs off.
    """
    key = (run.tenant_id, run.run_id, run.attempt, owner)
    await connection.execute(_RELEASE, *key, _interval(retry_in_s), state, reason, failed)


async def drop_lease(connection: Connection, run: Claimed, owner: uuid.UUID) -> None:
    """End the lease of an attempt that did nothing. The run stays as it is, and is due."""
    await connection.execute(_DROP_LEASE, run.tenant_id, run.run_id, run.attempt, owner)


async def note_probe(
    connection: Connection, run: Claimed, owner: uuid.UUID, *, session: str, next_in_s: float
) -> None:
    """Record a probe of Jenkins that found no build of the run."""
    key = (run.tenant_id, run.run_id, run.attempt, owner)
    await connection.execute(_NOTE_PROBE, *key, session, _interval(next_in_s))


async def fence(connection: Connection, run: Claimed, owner: uuid.UUID) -> bool:
    """Lock the run and release its lease; return False if the lease was lost. The job must be locked."""
    key = (run.tenant_id, run.run_id, run.attempt, owner)
    return await connection.fetchval(_FENCE, *key) is not None


async def queue_item_owner(connection: Connection, run: Claimed, queue_id: str) -> int | None:
    """Return the number of another run that waits for the same queue item; None if there is none."""
    number: int | None = await connection.fetchval(
        _QUEUE_ITEM_OWNER, run.tenant_id, run.job_id, queue_id, run.run_id, run.attempt
    )
    return number


async def sent(connection: Connection, run: Claimed) -> Sent:
    """Return which requests were sent for a run."""
    (row,) = await connection.fetch(_SENT, run.tenant_id, run.run_id)
    return Sent(**row)


async def sent_attempts(
    connection: Connection, tenant_id: uuid.UUID, run_id: uuid.UUID
) -> SentAttempts:
    """Return the counts of the recorded requests of a run."""
    (row,) = await connection.fetch(_SENT_ATTEMPTS, tenant_id, run_id)
    return SentAttempts(**row)


def _interval(seconds: float) -> timedelta:
    return timedelta(seconds=seconds)
