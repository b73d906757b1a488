"""A change of what a run waits for is an event of its own, unless another event has it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from deployment_service.domain.actors import JENKINS, jenkins_actor
from deployment_service.domain.event_actors import actor_of
from deployment_service.domain.events import EventSource, EventType, WaitingFor
from deployment_service.domain.run_transitions import ACCEPTED_BY_JENKINS, observe
from deployment_service.domain.run_waiting import wait_for
from deployment_service.domain.runs import Build, Run, RunSource, StatusUpdate, TriggerState
from deployment_service.domain.status import RUNNING, UnstablePolicy, from_read

NOW = datetime(2026, 3, 1, tzinfo=UTC)
WAITING = EventType.DEPLOYMENT_RUN_WAITING
STARTED = StatusUpdate(RUNNING, "STARTED", Build(1, 1), time=NOW)
READ = replace(STARTED, read=True, building=True)
AT_INPUT = replace(READ, waiting_for=WaitingFor.INPUT, waiting_reason="Go?")
REQUESTED = Run(
    UUID(int=7),
    UUID(int=1),
    1,
    UUID(int=3),
    RunSource.SERVICE,
    TriggerState.SENDING,
    waiting_for=WaitingFor.TRIGGER,
)


def after(*updates: StatusUpdate, run: Run = REQUESTED) -> tuple[Run, list[EventType]]:
    """The run after updates, a second apart, and the types of the events that they made."""
    types = []
    for second, update in enumerate(updates):
        now = NOW + timedelta(seconds=second)
        run, transitions = observe(run, replace(update, time=now), UnstablePolicy.FAILED, now)
        types += [one.type for one in transitions]
    return run, types


def test_acceptance_itself_says_that_the_run_is_queued():
    run, types = after(ACCEPTED_BY_JENKINS)
    assert (run.waiting_for, types) == (WaitingFor.QUEUE, [EventType.DEPLOYMENT_RUN_START])


@pytest.mark.parametrize("started", [STARTED, READ])
def test_the_start_of_the_build_is_told_once(started: StatusUpdate):
    run, types = after(ACCEPTED_BY_JENKINS, started, started, READ)
    assert (run.waiting_for, types) == (None, [EventType.DEPLOYMENT_RUN_START, WAITING])


def test_a_build_that_is_heard_of_before_its_acceptance_never_waited_in_the_queue():
    run, types = after(STARTED, ACCEPTED_BY_JENKINS)
    assert (run.waiting_for, types) == (None, [EventType.DEPLOYMENT_RUN_START])


def test_only_a_read_says_that_a_build_waits_at_an_input_step_or_no_longer():
    """P2: a webhook that comes twice or late changes nothing."""
    run, types = after(ACCEPTED_BY_JENKINS, READ, AT_INPUT, STARTED, AT_INPUT)
    assert (run.waiting_for, run.waiting_reason) == (WaitingFor.INPUT, "Go?")
    assert types == [EventType.DEPLOYMENT_RUN_START, WAITING, WAITING]
    assert after(READ, run=run)[1] == [WAITING]


def test_an_end_says_by_itself_that_nothing_is_waited_for():
    end = replace(
        READ,
        state=from_read(finished=True, result="SUCCESS"),
        status_text="SUCCESS",
        building=False,
    )
    run, types = after(ACCEPTED_BY_JENKINS, AT_INPUT, end)
    assert run.waiting_for is None
    assert types == [EventType.DEPLOYMENT_RUN_START, WAITING, EventType.DEPLOYMENT_STATUS_UPDATE]
    assert wait_for(run, WaitingFor.INPUT, "") == (run, [])


def test_another_reason_for_the_same_wait_is_no_event():
    run, _ = after(ACCEPTED_BY_JENKINS)
    moved, transitions = wait_for(run, WaitingFor.QUEUE, "Waiting for next available executor")
    assert (moved.waiting_reason, transitions) == ("Waiting for next available executor", [])
    moved, (told,) = wait_for(moved, None, "")
    assert (told.type, told.old_status, told.status) == (WAITING, run.status, run.status)
    assert moved.waiting_reason == ""


def test_jenkins_makes_an_external_build_wait_not_who_started_it():
    run = replace(
        REQUESTED,
        source=RunSource.EXTERNAL,
        requested_by=jenkins_actor("alice", "Started by alice"),
    )
    _, (told,) = wait_for(run, WaitingFor.INPUT, "Go?")
    assert actor_of(EventSource.READ, run, told) == JENKINS
