"""Carries out cancel requests in Jenkins; a failing one becomes a problem of its run."""

from __future__ import annotations

from deployment_service.cicd.errors import ProviderError, ProviderUnreachable
from deployment_service.cicd.port import BuildView, CancelOutcome, QueueItemView
from deployment_service.domain.problems import Problem, ProblemReason
from deployment_service.storage.runs.reconcile import Unconfirmed
from deployment_service.workers.controllers.controllers import Controller
from deployment_service.workers.reconciler.steps import ReconcileSteps


class Cancels:
    """Asks Jenkins to cancel a run's queue item or build. The next cycle reads the effect."""

    def __init__(self, steps: ReconcileSteps) -> None:
        self._steps = steps

    async def carry_out(
        self, item: Unconfirmed, where: QueueItemView | BuildView, controller: Controller
    ) -> None:
        """Ask Jenkins to stop the build or to take the item out of its queue."""
        try:
            async with controller.slot(ahead=True) as client:
                if isinstance(where, BuildView):
                    await client.stop_build(item.job.full_name, where.number)
                    outcome = None
                else:
                    outcome = await client.cancel_queue_item(where.queue_id)
        except ProviderError as error:
            answered = not isinstance(error, ProviderUnreachable)
            await self._failed(item, error.reason, error.detail, answered=answered)
            return
        if outcome is CancelOutcome.REFUSED:
            await self._failed(
                item,
                ProblemReason.PERMISSION_MISSING,
                f"Jenkins refuses the account {controller.account!r}: it lacks the permission Job/Cancel. "
                "Grant it in Jenkins.",
                answered=True,
            )
        elif outcome is not CancelOutcome.ALREADY_LEFT:
            # An item that has left the queue is a build, which the next cycle reads.
            if item.to_stop and outcome is CancelOutcome.CANCELLED:
                await self._steps.stopped(item)
            await self._steps.cancel_sent(item)

    async def _failed(
        self, item: Unconfirmed, reason: ProblemReason, message: str, *, answered: bool
    ) -> None:
        problem = Problem.of(reason, message)
        await self._steps.cancel_failed(item, problem, answered=answered)
