"""The service with a rule taken out, to show that chaos notices: ``python sabotage.py RULE serve``.

``no-look``: an unclear request is sent again without a look at Jenkins. ``no-merge``: whatever is heard last wins.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from datetime import datetime
from typing import Any

from deployment_service.__main__ import main
from deployment_service.domain.events import EventType
from deployment_service.domain.run_transitions import observe
from deployment_service.domain.runs import Run, StatusUpdate, Transition
from deployment_service.domain.status import UNKNOWN, DeploymentStatus, UnstablePolicy
from deployment_service.storage.runs import runs
from deployment_service.unit_of_work import run_unit_of_work as actions_observe
from deployment_service.workers.dispatcher.attempt import TriggerAttempts

_GUARD = " AND (n.forced OR r.rank <= n.rank)"


async def send_again(self: Any, run: Any, _client: object) -> None:
    await self._steps.give_back(
        run, state="WAITING", retry_in_s=0, reason="It is sent again.", outcome="NOT_FOUND"
    )


def last_word(
    run: Run, update: StatusUpdate, policy: UnstablePolicy, now: datetime, **_: object
) -> tuple[Run, list[Transition]]:
    """Take the update for the run's status, whatever was known before; the events say truly what it was."""
    blank = replace(
        run,
        state=UNKNOWN,
        status=DeploymentStatus.PENDING,
        result="",
        certainty=None,
        settle_time=None,
        reports=(),
        confirm_due_time=None,
        failure_cause=None,
        failure_message="",
        end_time=None,
    )
    moved, transitions = observe(blank, update, policy, now)
    if run.status is not DeploymentStatus.PENDING:
        transitions = [t for t in transitions if t.type is not EventType.DEPLOYMENT_RUN_START]
        if moved.status is DeploymentStatus.RUNNING is not run.status:
            back = Transition(
                EventType.DEPLOYMENT_STATUS_UPDATE, run.status, DeploymentStatus.RUNNING
            )
            transitions = [back]
    return moved, transitions


if __name__ == "__main__":
    rule = sys.argv.pop(1)
    if rule == "no-look":
        assert hasattr(TriggerAttempts, "_probe")
        TriggerAttempts._probe = send_again  # type: ignore[method-assign, assignment]
    else:
        assert _GUARD in runs._UPDATE
        assert hasattr(actions_observe, "observe")
        actions_observe.observe = last_word
        runs._UPDATE = runs._UPDATE.replace(_GUARD, "")
    main()
