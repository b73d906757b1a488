"""One attempt to trigger a run, in the order in which it happens.

A WAITING run: check the run and its job, commit that a request will be sent, send it, settle the reply.
A SENDING run, whose request may or may not have arrived: probe Jenkins after the quarantine. After the second probe
conclude; only a proof that no build came of the request allows another request.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from datetime import timedelta

import structlog

from deployment_service.cicd.errors import ProviderError, ProviderRefused, ProviderUnreachable
from deployment_service.cicd.job_rules import correlation_of
from deployment_service.cicd.port import (
    RUN_ID_PARAMETER,
    CicdProvider,
    JobBuilds,
    JobView,
    QueueView,
    TriggerOutcome,
    TriggerReply,
)
from deployment_service.domain.jobs import Correlation
from deployment_service.domain.status import FailureCause
from deployment_service.runtime.backoff import Backoff
from deployment_service.runtime.secret_box import SecretUnreadableError
from deployment_service.storage.runs.dispatch import Claimed
from deployment_service.workers.controllers.controllers import Controller, ControllerUnavailable
from deployment_service.workers.controllers.finder import FindController
from deployment_service.workers.dispatcher.checks import (
    CANCELLED,
    REQUESTS_LOST,
    SERVER_ERRORS,
    UNKNOWN,
    UNTRACEABLE,
    last_answer,
    prepared_job,
    proves_absence,
    why_not,
    why_not_sent,
)
from deployment_service.workers.dispatcher.run_secrets import UNREADABLE, RunSecrets
from deployment_service.workers.dispatcher.settings import DispatcherSettings
from deployment_service.workers.dispatcher.steps import TriggerSteps

_log = structlog.get_logger(__name__)

# After an answer that refused, Jenkins or its proxy works and gains nothing from quick requests.
_REFUSED_FACTOR = 6


class TriggerAttempts:
    """Makes the attempts of one dispatcher. ``wake`` has it claim again: a run is due at once."""

    def __init__(
        self,
        find_controller: FindController,
        steps: TriggerSteps,
        secrets: RunSecrets,
        settings: DispatcherSettings,
        *,
        wake: Callable[[], None],
    ) -> None:
        self._find_controller = find_controller
        self._steps = steps
        self._secrets = secrets
        self._settings = settings
        self._wake = wake

    async def make(self, run: Claimed) -> None:
        """Make one attempt and commit its outcome.

        Raises:
            LeaseLost: another dispatcher has claimed the run since, or it has ended.
            Exception: one of ``UNAVAILABLE_ERRORS``. The next attempt probes for what was sent.
        """
        try:
            await self._begin(run)
        except ProviderRefused as error:
            await self._refused(run, error)
        except ProviderError as error:
            await self._wait(run, error)

    async def _begin(self, run: Claimed) -> None:
        refusal = why_not_sent(run) if run.trigger_state == "WAITING" else None
        if refusal is not None:
            await self._steps.no_build(run, *refusal, certain=True)
            return
        controller = await self._find_controller(run.tenant_id, run.provider_id)
        async with controller.slot(self._settings.slot_wait_s, for_trigger=True) as client:
            if run.trigger_state == "SENDING":
                await self._probe(run, client)
            else:
                await self._send(run, client, controller)

    # -- a WAITING run: one request

    async def _send(self, run: Claimed, client: CicdProvider, controller: Controller) -> None:
        prepared = await self._prepare(run, client)
        if prepared is None:
            return
        run, job = prepared
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
            _log.warning("trigger.no_answer", error=reply.detail)
        if reply.retry_after_s is not None:
            controller.pause_triggers(reply.retry_after_s)
        await self._settle(run, reply, named=named)

    async def _prepare(self, run: Claimed, client: CicdProvider) -> tuple[Claimed, JobView] | None:
        """Return the run with its secrets and its job; None if it cannot be triggered and was ended."""
        try:
            run = self._secrets.decrypted(run)
        except SecretUnreadableError:
            await self._steps.no_build(run, *UNREADABLE, certain=True)
            return None
        job = await prepared_job(run, client, self._steps.may_repair)
        if job is not None:
            run = await self._secrets.separated(run, job)
        refusal = await why_not(run, job, client)
        if refusal is not None or job is None:
            cause, message = refusal or (FailureCause.JOB_MISSING, "")
            await self._steps.no_build(run, cause, message, certain=True)
            return None
        return run, job

    async def _settle(self, run: Claimed, reply: TriggerReply, *, named: bool) -> None:
        """Commit what an answer proves (docs/explanation/runs.md, Answers to a trigger).

        ``named``: the request carried the run's id.
        """
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

    async def _not_sent(self, run: Claimed, why: str, reply: TriggerReply | None = None) -> None:
        """Let the run wait: nothing of it is in Jenkins. An answer may ask for a longer pause."""
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

    # -- a SENDING run: probes, and what they prove

    async def _probe(self, run: Claimed, client: CicdProvider) -> None:
        """Search Jenkins for what an unclear request may have made.

        The queue first, then the builds: an item that leaves the queue in between is found as a build.
        """
        queue = await client.list_queue()
        builds = await client.list_builds(run.full_name, limit=100)
        run_id = str(run.run_id)
        for item in queue.items:
            named = item.parameters.get(RUN_ID_PARAMETER) == run_id
            if named and item.job_full_name == run.full_name:
                reply = TriggerReply(TriggerOutcome.ACCEPTED, queue_id=item.queue_id)
                await self._steps.accepted(run, reply, named=True)
                return
        shown = builds.builds if builds is not None else ()
        found = [b for b in shown if b.parameters.get(RUN_ID_PARAMETER) == run_id]
        if found and await self._steps.found_build(run, min(found, key=lambda b: b.number)):
            return
        is_second = self._is_second_probe(run)
        if builds is not None and not found and is_second:
            await self._conclude(run, queue, builds)
        elif run.overdue or (builds is None and is_second):
            # Jenkins cannot be searched: the job is gone, or our account cannot see it.
            await self._end_unknown(run, run.last_answer)
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
        """Settle a run of which two probes found nothing. Send again only if it is proven that it has no build."""
        sent = await self._steps.sent(run)
        if not proves_absence(run, queue, builds, all_named=sent.all_named):
            await self._end_unknown(run, run.last_answer)
        elif run.cancel_requested:
            await self._steps.no_build(run, *CANCELLED, certain=True)
        elif sent.server_errors >= 2:
            await self._steps.no_build(run, *SERVER_ERRORS, certain=True)
        elif run.overdue:
            cause, message = REQUESTS_LOST
            await self._steps.no_build(
                run, cause, message + last_answer(run.last_answer), certain=True
            )
        else:
            await self._steps.give_back(
                run,
                state="WAITING",
                retry_in_s=0,
                reason="The first request was lost; it is sent again.",
                outcome="NOT_FOUND",
                failed=False,
            )
            self._wake()

    async def _end_unknown(self, run: Claimed, answer: str | None) -> None:
        cause, message = UNKNOWN
        await self._steps.no_build(run, cause, message + last_answer(answer), certain=False)

    # -- an attempt that could neither send nor probe

    async def _refused(self, run: Claimed, error: ProviderError) -> None:
        """Jenkins refuses our account. Before a request that ends the run; a probe is repeated until it is allowed."""
        if run.trigger_state == "WAITING":
            await self._steps.no_build(
                run, FailureCause.TRIGGER_REJECTED, error.message, certain=True
            )
        else:
            await self._wait(run, error)

    async def _wait(self, run: Claimed, error: ProviderError) -> None:
        """Let the run wait: nothing was sent. After the deadline, a probe that cannot be made ends the run."""
        if run.overdue and run.trigger_state == "SENDING":
            await self._end_unknown(run, error.message)
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
        """Return the pause in seconds before the next attempt. ``refused``: an answer came, and refused the request."""
        settings = self._settings
        longest_s = settings.longest_retry_s * (_REFUSED_FACTOR if refused else 1)
        return Backoff(settings.first_retry_s, longest_s).pause_s(run.failures)
