"""Recover after a restore, or a failover that lost commits: the store may then be older than Jenkins."""

from __future__ import annotations

from datetime import timedelta

from deployment_service.storage import locks
from deployment_service.storage.database.pool import Connection
from deployment_service.storage.events.event_log import usable_epoch_source

_IS_SETTLED = "SELECT settled = {epoch} FROM store_epoch"
_SETTLE = "UPDATE store_epoch SET settled = $1"
_RUNS = """
    -- A lost commit may have recorded a request for these runs, so Jenkins is probed as after a lost answer.
    UPDATE deployment_runs AS r SET trigger_state = 'SENDING', unclear_until = now() + $1::interval,
        next_try_time = now() + $1::interval, probe_count = 0, probe_time = NULL, probe_session = NULL,
        lease_owner = NULL, lease_until = NULL, attempt = r.attempt + 1,
        -- The lowest number that a build of the run can have.
        first_build_number = coalesce(r.first_build_number, j.next_build_number),
        waiting_reason = 'The database was restored: the service checks in Jenkins whether the run was sent already.'
    FROM cicd_jobs AS j
    WHERE j.tenant_id = r.tenant_id AND j.job_id = r.job_id AND r.trigger_state IN ('WAITING', 'SENDING')
        -- A run that was created after the restore cannot have been sent before it.
        AND (r.store_life = (SELECT store_life())) IS NOT TRUE
"""
_JOBS = """
    INSERT INTO unread_jobs SELECT tenant_id, job_id FROM cicd_jobs WHERE state = 'READY' ON CONFLICT DO NOTHING
"""
_REQUEST_REFRESH = "UPDATE cicd_jobs SET refresh_request_time = now() WHERE state = 'READY'"


async def is_settled(connection: Connection) -> bool:
    """Return whether the pending runs of the current epoch are known. Use the connection that claims runs."""
    source = await usable_epoch_source(connection)
    return bool(await connection.fetchval(_IS_SETTLED.format(epoch=source)))


async def settle(connection: Connection, *, unclear_s: float) -> bool:
    """Record a new epoch; return False if it is the first one, or another replica has recorded it.

    Every older run that waits for its trigger becomes SENDING with unknown outcome, and every job is read again.
    ``unclear_s``: the quarantine of those runs, in seconds.
    """
    source = await usable_epoch_source(connection)
    row = await locks.lock_epoch(connection, source)
    if row is None or row["settled"] == row["epoch"]:
        return False
    changed = bool(row["settled"])
    if changed:
        await connection.execute(_REQUEST_REFRESH)
        await connection.execute(_JOBS)
        await connection.execute(_RUNS, timedelta(seconds=unclear_s))
    await connection.execute(_SETTLE, row["epoch"])
    return changed
