"""A second build of a run, which our own account has started: it is stopped, and its history says why.

It is the one exception that P3 has left: a request that reached Jenkins after its quarantine was over,
when the run had been sent again. A person who uses Rebuild or Replay has another account: that build
is simply an external run.
"""

from __future__ import annotations

import uuid

from deployment_service.actions.observe import Ledger
from deployment_service.domain.events import EventSource, EventType
from deployment_service.domain.parameters import RUN_ID_PARAMETER
from deployment_service.domain.runs import Run, RunSource, Transition
from deployment_service.storage import cancel, reports
from deployment_service.storage.database import Connection, Database
from deployment_service.storage.reconcile import Unconfirmed


def names_another_run(run: Run) -> uuid.UUID | None:
    """The run whose id an external run's build carries."""
    if run.source is not RunSource.EXTERNAL:
        return None
    try:
        return uuid.UUID(run.parameters.get(RUN_ID_PARAMETER, ""))
    except ValueError:
        return None


async def stop_repeat(database: Database, item: Unconfirmed) -> bool | None:
    """Commit the wish to stop the external run's build, if it repeats a run of ours. The reconciler carries it out.

    Its build was started by our account: the caller has asked Jenkins. None: it can't be said yet, as Jenkins hasn't
    shown the run's own build; it is asked for it.
    """
    job, repeat = item.job, item.run
    repeated = names_another_run(repeat)

    async def work(connection: Connection) -> bool | None:
        await reports.lock_jobs(connection, job.tenant_id, [job.job_id])
        ledger = await Ledger.open(
            connection,
            job.tenant_id,
            [job.job_id],
            source=EventSource.READ,
            run_ids=[repeat.run_id, *([repeated] if repeated else [])],
        )
        stored, first = ledger.run(repeat.run_id), repeated and ledger.run(repeated)
        # A restored store may not know the run: then nothing says that it has a build already.
        if not stored or not first or not first.build or not stored.build or not stored.active:
            return False
        here, there = first.build, stored.build
        lower = here.generation == there.generation and here.number < there.number
        if first.source is not RunSource.SERVICE or not lower:
            return False
        if first.build_timestamp_ms is None:
            await reports.poke(connection, job.tenant_id, [job.job_id])
            return None
        if not await cancel.request_once(connection, job.tenant_id, repeat.run_id):
            return False
        message = (
            f"A second build of run {first.number}, which has #{first.build.number}: the request for it reached "
            "Jenkins long after it was given up. It is being stopped."
        )
        kind = EventType.DEPLOYMENT_STATUS_UPDATE
        ledger.move(stored, [Transition(kind, stored.status, stored.status, message=message)])
        await ledger.write()
        return True

    return await database.transaction(work)
