"""The dispatcher: triggers each pending run once (promise P3).

A step for a WAITING run: read the job, announce the request in the database, send it, settle the
answer. A step for a SENDING run, whose request may or may not have arrived: after the quarantine
look for it twice; send again only if Jenkins proves that it isn't there. docs/explanation/runs.md has the why.
"""

from __future__ import annotations

import random
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta

import structlog

from deployment_service.cicd.errors import ProviderError, ProviderRefused, ProviderUnreachable
from deployment_service.cicd.job_rules import correlation_of
from deployment_service.cicd.port import (
    RUN_ID_PARAMETER,
    CicdProvider,
    JobBuilds,
    QueueView,
    TriggerOutcome,
    TriggerReply,
)
from deployment_service.domain.jobs import Correlation
from deployment_service.domain.status import FailureCause
from deployment_service.runtime.backoff import Backoff
from deployment_service.runtime.secret_box import SecretBox, SecretUnreadableError
from deployment_service.storage import restore
from deployment_service.storage.database.failures import UNAVAILABLE_ERRORS
from deployment_service.storage.database.pool import Database
from deployment_service.storage.runs import dispatch
from deployment_service.storage.runs.dispatch import Claimed
from deployment_service.workers.controllers.controllers import Controller, ControllerUnavailable
from deployment_service.workers.controllers.finder import FindController
from deployment_service.workers.dispatcher.checks import (
    CANCELLED,
    UNKNOWN,
    UNTRACEABLE,
    last_answer,
    prepared_job,
    proves_absence,
    why_not,
    why_not_sent,
)
from deployment_service.workers.dispatcher.run_secrets import UNREADABLE, RunSecrets
from deployment_service.workers.dispatcher.steps import LeaseLost, TriggerSteps
from deployment_service.workers.leased_worker import LeasedWorker, Limits, Room

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class DispatcherSettings:
    """``quarantine_s``: how long a request of ours may linger in the network before it reaches Jenkins.
    ``per_provider`` (about) keeps one slow Jenkins from taking all of ``at_once``, ``per_tenant`` several of one
    tenant."""

    request_timeout_s: float = 10.0
    send_within_s: float = 5.0
    quarantine_s: float = 30.0
    probe_interval_s: float = 10.0
    lease_s: float = 60.0
    first_retry_s: float = 1.0
    longest_retry_s: float = 10.0
    at_once: int = 128
    per_tenant: int = 64
    per_provider: int = 16

    @property
    def slot_wait_s(self) -> float:
        """How long to wait for a turn at a controller: what is claimed must be done before the lease ends."""
        return min(5.0, self.lease_s / 3)

    @property
    def unclear_s(self) -> float:
        """How long after it was announced a request may still reach Jenkins."""
        return self.send_within_s + self.request_timeout_s + self.quarantine_s


class Dispatcher:
    """Claims due runs and takes each a step further. ``wake`` makes it look at once."""

    def __init__(
        self,
        database: Database,
        find_controller: FindController,
        box: SecretBox,
        *,
        committed: Callable[[uuid.UUID], None],
        settled: Callable[[uuid.UUID], None],
        settings: DispatcherSettings,
    ) -> None:
        self._database = database
        self._find_controller = find_controller
        self._settled = settled
        self._settings = settings
        self._owner = uuid.uuid4()
        self._steps = TriggerSteps(database, self._owner, committed)
        self._secrets = RunSecrets(box, self._steps)
        self._worker = LeasedWorker(
            "dispatcher",
            self._claim,
            self._step,
            lambda run: {"tenant_id": str(run.tenant_id), "run_id": str(run.run_id)},
            limits=Limits(
                settings.at_once,
                per_tenant=settings.per_tenant,
                per_provider=settings.per_provider,
                per_claim=settings.per_provider,
            ),
            every_s=1.0,
            stop_grace_s=settings.request_timeout_s + 5,
        )

    def wake(self) -> None:
        """Claim now: a run has just been committed."""
        self._worker.wake()

    async def start(self) -> None:
        """Begin to claim runs."""
        await self._worker.start()

    async def stop(self) -> None:
        """Claim nothing more; let the steps under way settle, which takes no longer than their timeouts."""
        await self._worker.stop()

    async def _claim(self, room: Room) -> Sequence[Claimed]:
        async with self._database.acquire() as connection:
            if await restore.is_settled(connection):
                return await dispatch.claim(
                    connection,
                    self._owner,
                    lease_s=self._settings.lease_s,
                    limit=room.limit,
                    without_providers=room.full_providers,
                    without_tenants=room.full_tenants,
                )
        await self._settle_epoch()
        return ()

    async def _settle_epoch(self) -> None:
        """The store has a new life: before anything is sent, Jenkins is asked what the old one has sent."""
        unclear_s = self._settings.unclear_s
        changed = await self._database.transaction(
            lambda connection: restore.settle(connection, unclear_s=unclear_s)
        )
        if changed:
            _log.warning(
                "the store was restored or has failed over: pending runs are looked for in Jenkins"
            )
        self._worker.wake()

    async def _step(self, run: Claimed) -> None:
        try:
            try:
                await self._take_further(run)
            except LeaseLost:
                _log.info("run passed to somebody else", run_id=str(run.run_id))
            except ProviderRefused as error:
                await self._refused(run, error)
            except ProviderUnreachable as error:
                await self._wait(run, error)
            except ProviderError as error:
                await self._wait(run, error)
        except (LeaseLost, *UNAVAILABLE_ERRORS) as error:
            # The lease runs out and the run is claimed again; what was sent is looked for then.
            _log.warning("step not settled", run_id=str(run.run_id), error=type(error).__name__)
        finally:
            self._settled(run.run_id)

    async def _take_further(self, run: Claimed) -> None:
        refusal = why_not_sent(run) if run.trigger_state == "WAITING" else None
        if refusal is not None:
            await self._steps.no_build(run, *refusal, certain=True)
            return
        controller = await self._find_controller(run.tenant_id, run.provider_id)
        async with controller.slot(self._settings.slot_wait_s, for_trigger=True) as client:
            if run.trigger_state == "SENDING":
                await self._look(run, client)
            else:
                await self._send(run, client, controller)

    async def _send(self, run: Claimed, client: CicdProvider, controller: Controller) -> None:
        try:
            run = self._secrets.opened(run)
        except SecretUnreadableError:
            await self._steps.no_build(run, *UNREADABLE, certain=True)
            return
        job = await prepared_job(run, client, self._steps.may_repair)
        if job is not None:
            run = await self._secrets.told_apart(run, job)
        trouble = await why_not(run, job, client)
        if trouble is not None or job is None:
            cause, message = trouble or (FailureCause.JOB_MISSING, "")
            await self._steps.no_build(run, cause, message, certain=True)
            return
        settings = self._settings
        # Taken before the commit, so that our limit ends before the one in the database does.
        send_by = time.monotonic() + settings.send_within_s
        await self._steps.begin_send(
            run,
            send_within_s=settings.send_within_s,
            unclear_s=settings.unclear_s,
            job=job,
        )
        parameters = dict(run.parameters)
        named = correlation_of(job) is Correlation.RUN_ID
        if named:
            parameters[RUN_ID_PARAMETER] = str(run.run_id)
        if time.monotonic() > send_by:
            await self._not_sent(run, "The service was too slow to send the request.")
            return
        reply = await client.trigger(
            run.full_name,
            parameters,
            parameterised=bool(job.parameters),
            timeout_s=settings.request_timeout_s,
        )
        if reply.outcome in (TriggerOutcome.UNCLEAR, TriggerOutcome.NOT_SENT):
            controller.failed()
            _log.warning("trigger.no_answer", run_id=str(run.run_id), error=reply.detail)
        if reply.retry_after_s is not None:
            controller.pause_triggers(reply.retry_after_s)
        await self._settle(run, reply, named=named)

    async def _settle(self, run: Claimed, reply: TriggerReply, *, named: bool) -> None:
        """Commit what an answer proves (docs/explanation/runs.md, Answers to a trigger)."""
        match reply.outcome:
            case TriggerOutcome.ACCEPTED if not named and reply.queue_id is None:
                # Neither an id in the build nor a queue item ties a build to the run.
                await self._steps.no_build(run, *UNTRACEABLE, certain=False, reply=reply)
            case TriggerOutcome.ACCEPTED:
                await self._steps.accepted(run, reply, named=named)
            case TriggerOutcome.NOT_SENT | TriggerOutcome.NOT_DONE:
                await self._not_sent(run, reply.message, reply)
            case TriggerOutcome.REFUSED | TriggerOutcome.REJECTED | TriggerOutcome.PROVIDER_FAULT:
                await self._steps.no_build(
                    run, FailureCause.TRIGGER_REJECTED, reply.message, certain=True, reply=reply
                )
            case TriggerOutcome.SERVER_ERROR | TriggerOutcome.UNCLEAR:
                await self._steps.unclear(run, reply)

    async def _look(self, run: Claimed, client: CicdProvider) -> None:
        """Search Jenkins for what an unclear request may have made: the queue first, then the builds,
        so that nothing slips from one to the other unseen."""
        queue = await client.list_queue()
        builds = await client.list_builds(run.full_name, limit=100)
        run_id = str(run.run_id)
        for item in queue.items:
            if (
                item.parameters.get(RUN_ID_PARAMETER) == run_id
                and item.job_full_name == run.full_name
            ):
                reply = TriggerReply(TriggerOutcome.ACCEPTED, queue_id=item.queue_id)
                await self._steps.accepted(run, reply, named=True)
                return
        shown = builds.builds if builds is not None else ()
        found = [b for b in shown if b.parameters.get(RUN_ID_PARAMETER) == run_id]
        if found and await self._steps.found_build(run, min(found, key=lambda b: b.number)):
            return
        first_look = not self._is_second_probe(run)
        if builds is not None and not found and not first_look:
            await self._conclude(run, queue, builds)
        elif run.overdue or (builds is None and not first_look):
            # Jenkins can't be looked through: the job is gone, or isn't shown to us.
            cause, message = UNKNOWN
            await self._steps.no_build(
                run, cause, message + last_answer(run.last_answer), certain=False
            )
        else:
            await self._steps.note_probe(
                run, session=queue.session or "", next_in_s=self._settings.probe_interval_s
            )

    def _is_second_probe(self, run: Claimed) -> bool:
        """Return whether this probe began long enough after another one that found nothing.

        Time alone counts: the replicas of a highly available controller answer by turns, each in a session of its own.
        """
        between = timedelta(seconds=self._settings.probe_interval_s)
        return run.probe_time is not None and run.claim_time - run.probe_time >= between

    async def _conclude(self, run: Claimed, queue: QueueView, builds: JobBuilds) -> None:
        """Two probes have found nothing. Send again only if it is proven that nothing came of it."""
        sent = await self._steps.sent(run)
        proven = proves_absence(run, queue, builds, all_named=sent.all_named)
        if proven and run.cancel_requested:
            await self._steps.no_build(run, *CANCELLED, certain=True)
        elif proven and sent.server_errors >= 2:
            await self._steps.no_build(
                run,
                FailureCause.TRIGGER_REJECTED,
                "Jenkins answered twice with an internal error. Its log says why; bad parameters are the usual cause.",
                certain=True,
            )
        elif proven and not run.overdue:
            await self._steps.give_back(
                run,
                state="WAITING",
                retry_in_s=0,
                reason="The first request was lost; it is sent again.",
                outcome="NOT_FOUND",
                failed=False,
            )
            self._worker.wake()
        elif proven:
            message = (
                "Requests to Jenkins were lost until the trigger deadline. Nothing was started; run it again."
                + last_answer(run.last_answer)
            )
            await self._steps.no_build(run, FailureCause.TRIGGER_DEADLINE, message, certain=True)
        else:
            cause, message = UNKNOWN
            await self._steps.no_build(
                run, cause, message + last_answer(run.last_answer), certain=False
            )

    async def _not_sent(self, run: Claimed, why: str, reply: TriggerReply | None = None) -> None:
        """Nothing is in Jenkins: the request waits, as long as the answer asks for if there was one."""
        delay_s = self._retry_in_s(run, refused=reply is not None and bool(reply.http_status))
        delay_s = max(delay_s, (reply and reply.retry_after_s) or 0.0)
        await self._steps.give_back(
            run,
            state="WAITING",
            retry_in_s=delay_s,
            reason=f"{why} Next try in {delay_s:.0f} s.",
            outcome=(reply.outcome if reply else TriggerOutcome.NOT_SENT).value,
            http_status=reply.http_status if reply else None,
            message=why,
        )

    async def _refused(self, run: Claimed, error: ProviderError) -> None:
        """Jenkins refuses our account: before a request that is final, during a search it must be waited out."""
        if run.trigger_state == "WAITING":
            await self._steps.no_build(
                run, FailureCause.TRIGGER_REJECTED, error.message, certain=True
            )
        else:
            await self._wait(run, error)

    async def _wait(self, run: Claimed, error: ProviderError) -> None:
        """Nothing was sent in this step. After the deadline a search that can't be made ends the run."""
        if run.overdue and run.trigger_state == "SENDING":
            cause, message = UNKNOWN
            await self._steps.no_build(
                run, cause, message + last_answer(error.message), certain=False
            )
            return
        delay_s = self._retry_in_s(run)
        outcome = "NOT_SENT" if run.trigger_state == "WAITING" else "NOT_PROBED"
        if isinstance(error, ControllerUnavailable):
            delay_s, outcome = max(error.wait_s, 0.2) * random.uniform(1.0, 1.5), "PAUSED"  # noqa: S311 - jitter
        elif isinstance(error, ProviderUnreachable):
            delay_s = max(delay_s, error.retry_after_s or 0.0)
        await self._steps.give_back(
            run,
            state=run.trigger_state,
            retry_in_s=delay_s,
            reason=f"{error.message} Next try in {delay_s:.0f} s.",
            outcome=outcome,
            message=error.message,
        )

    def _retry_in_s(self, run: Claimed, *, refused: bool = False) -> float:
        """Exponential, with jitter, so that waiting runs don't come back all at once.

        ``refused``: an answer came, so Jenkins or its proxy works and gains nothing from quick requests.
        """
        settings = self._settings
        limit = settings.longest_retry_s * (_REFUSED_FACTOR if refused else 1)
        return Backoff(settings.first_retry_s, limit).pause_s(run.failures)


_REFUSED_FACTOR = 6
