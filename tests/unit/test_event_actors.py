"""Who an event names where no caller decided it."""

from __future__ import annotations

import uuid

import pytest

from deployment_service.cicd.port import BuildCause, BuildView
from deployment_service.domain.actors import JENKINS, THIS_SERVICE, Actor, jenkins_actor
from deployment_service.domain.event_actors import actor_of
from deployment_service.domain.events import EventSource, EventType
from deployment_service.domain.runs import Run, RunSource, Transition, TriggerState
from deployment_service.domain.status import DeploymentStatus, FailureCause
from deployment_service.workers.reconciler.classify import started_by

ALICE = jenkins_actor("alice", "Started by user Alice")
UPDATE = EventType.DEPLOYMENT_STATUS_UPDATE
PENDING, RUNNING, FAILED = (
    DeploymentStatus.PENDING,
    DeploymentStatus.RUNNING,
    DeploymentStatus.FAILED,
)


def a_run(source: RunSource, requested_by: Actor | None = ALICE) -> Run:
    ids = [uuid.UUID(int=number) for number in range(3)]
    return Run(ids[0], ids[1], 1, ids[2], source, TriggerState.ENDED, requested_by=requested_by)


@pytest.mark.parametrize(
    ("source", "run_source", "status", "cause", "expected"),
    [
        (EventSource.DISPATCHER, RunSource.SERVICE, RUNNING, None, THIS_SERVICE),
        (EventSource.READ, RunSource.SERVICE, RUNNING, None, JENKINS),
        (EventSource.WEBHOOK, RunSource.SERVICE, FAILED, FailureCause.BUILD_FAILED, JENKINS),
        (EventSource.READ, RunSource.EXTERNAL, RUNNING, None, ALICE),
        (EventSource.READ, RunSource.EXTERNAL, FAILED, FailureCause.BUILD_FAILED, JENKINS),
        (EventSource.READ, RunSource.EXTERNAL, FAILED, FailureCause.BUILD_LOST, THIS_SERVICE),
        (
            EventSource.READ,
            RunSource.SERVICE,
            FAILED,
            FailureCause.TRIGGER_OUTCOME_UNKNOWN,
            THIS_SERVICE,
        ),
    ],
)
def test_who_moved_a_run(source, run_source, status, cause, expected):
    step = Transition(UPDATE, PENDING, status, failure_cause=cause)
    assert actor_of(source, a_run(run_source), step) == expected


def test_an_external_run_whose_cause_is_not_shown_is_jenkins_own():
    step = Transition(UPDATE, PENDING, RUNNING)
    assert actor_of(EventSource.READ, a_run(RunSource.EXTERNAL, None), step) == JENKINS


def view(*causes: BuildCause) -> BuildView:
    return BuildView("j", 1, None, True, None, None, None, None, causes=causes)


def test_an_account_counts_before_any_other_cause():
    timer = BuildCause(False, "", "Started by timer")
    alice = BuildCause(True, "alice", "Started by user Alice")
    assert started_by(view(timer, alice)) == ALICE
    assert started_by(view(timer)) == jenkins_actor("", "Started by timer")
    assert started_by(view()) is None
