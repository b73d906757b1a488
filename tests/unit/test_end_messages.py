"""What the message of an ended run says: what is known, and nothing else."""

from __future__ import annotations

import uuid
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from deployment_service.cicd.jenkins.views import build_view
from deployment_service.domain.run_transitions import observe
from deployment_service.domain.runs import Build, Run, RunSource, StatusUpdate, TriggerState
from deployment_service.domain.status import UnstablePolicy, from_read


@pytest.mark.parametrize(
    ("result", "description", "message"),
    [
        ("NOT_BUILT", "Superseded by #2", "result NOT_BUILT: Superseded by #2."),
        ("NOT_BUILT", "", "it was started, but ended early."),
        ("ABORTED", "Aborted by lab", "aborted in Jenkins: Aborted by lab."),
        ("ABORTED", "", "The build was aborted in Jenkins."),
    ],
)
def test_the_message_of_an_interrupted_build_says_what_jenkins_says(
    result: str, description: str, message: str
) -> None:
    """A superseded build was started: no sentence may say that it was not."""
    causes = [{"shortDescription": description, "userId": "lab"}] if description else []
    view = build_view(
        {
            "number": 1,
            "building": False,
            "inProgress": False,
            "result": result,
            "timestamp": 1,
            "actions": [{"_class": "jenkins.model.InterruptedBuildAction", "causes": causes}],
        },
        "web",
        None,
    )
    assert view.causes == (), "an interruption's user did not start it"
    claim = StatusUpdate(
        from_read(finished=True, result=result),
        result,
        Build(1, 1),
        read=True,
        interruption=view.interruption,
    )
    run = Run(uuid.uuid4(), uuid.uuid4(), 1, uuid.uuid4(), RunSource.SERVICE, TriggerState.ACCEPTED)
    ended, _ = observe(run, claim, UnstablePolicy.FAILED, datetime.now(UTC))
    assert ended.failure_message.endswith(message)
    again, _ = observe(
        ended, replace(claim, interruption=""), UnstablePolicy.FAILED, datetime.now(UTC)
    )
    assert again.failure_message == ended.failure_message
