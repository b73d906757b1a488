"""A store that may be older than Jenkins: after a restore, or a failover that lost the last commits."""

from __future__ import annotations

from datetime import timedelta

from deployment_service.storage.database.pool import Connection
from deployment_service.storage.events.event_log import usable_epoch_source

_IS_SETTLED = "SELECT settled = {epoch} FROM store_epoch"
_LOCK = "SELECT settled, {epoch} AS epoch FROM store_epoch FOR UPDATE"
_SETTLE = "UPDATE store_epoch SET settled = $1"
# Whatever the store says of them, a request may have been sent since: they are looked for, as after a lost answer. The
# lowest number that can be theirs is the job's next one as the store knows it. A run that was created since cannot have
# been sent before: it need not wait.
_RUNS = """
    UPDATE deployment_runs AS r SET trigger_state = 'SENDING', unclear_until = now() + $1::interval,
        next_try_time = now() + $1::interval, probe_count = 0, probe_time = NULL, probe_session = NULL,
        lease_owner = NULL, lease_until = NULL, attempt = r.attempt + 1,
        first_build_number = coalesce(r.first_build_number, j.next_build_number),
        waiting_reason = 'The database was restored: Jenkins is asked whether it was sent already.'
    FROM cicd_jobs AS j
    WHERE j.tenant_id = r.tenant_id AND j.job_id = r.job_id AND r.trigger_state IN ('WAITING', 'SENDING')
        AND (r.store_life = (SELECT store_life())) IS NOT TRUE
"""
_JOBS = """
    INSERT INTO unread_jobs SELECT tenant_id, job_id FROM cicd_jobs WHERE state = 'READY' ON CONFLICT DO NOTHING
"""
_POKE = "UPDATE cicd_jobs SET refresh_request_time = now() WHERE state = 'READY'"


async def is_settled(connection: Connection) -> bool:
    """Whether the store is of the epoch whose pending runs are known. Ask on the connection that claims."""
    source = await usable_epoch_source(connection)
    return bool(await connection.fetchval(_IS_SETTLED.format(epoch=source)))


async def settle(connection: Connection, *, unclear_s: float) -> bool:
    """Take note of a new epoch; False if it is the first one, or somebody else has done it.

    Every run of another epoch that waits for its trigger counts as sent with unknown outcome; every job is to be read.
    """
    source = await usable_epoch_source(connection)
    row = await connection.fetchrow(_LOCK.format(epoch=source))
    if row is None or row["settled"] == row["epoch"]:
        return False
    changed = bool(row["settled"])
    if changed:
        await connection.execute(_POKE)
        await connection.execute(_JOBS)
        await connection.execute(_RUNS, timedelta(seconds=unclear_s))
    await connection.execute(_SETTLE, row["epoch"])
    return changed
