"""deployctl asks for lists as a person does: the newest, and since a time."""

from __future__ import annotations

import json

import pytest

from deployment_service.client.errors import WatchGapError
from deployment_service.client.watch import Completeness
from deployment_service.v1 import deployment_service_pb2 as pb
from tests.support.scripted_service import run
from tests.unit.test_client_cli import COMPLETED, deployctl, service

__all__ = ["service"]  # the fixture


async def test_events_asks_for_the_newest_and_shows_them_oldest_first(service):
    newest = [
        pb.DeploymentEvent(sequence=n, deployment=f"tenants/demo/deployments/e{n}")
        for n in (9, 8, 7)
    ]
    service.will("ListEvents", pb.ListEventsResponse(events=newest, next_page_token="more"))
    ended = await deployctl(service, "--json", "events", "--limit", "2", "--since", "12h")
    assert ended.code == 0, ended.err
    assert [json.loads(line)["sequence"] for line in ended.out.splitlines()] == ["8", "9"]
    (request,) = service.requests["ListEvents"]
    assert request.order_by == "sequence desc"
    assert request.create_time_from.seconds > 0


async def test_deployments_are_asked_for_by_age_and_since_a_time(service):
    service.will("ListDeployments", pb.ListDeploymentsResponse())
    assert (await deployctl(service, "deployments", "list")).code == 0
    ended = await deployctl(service, "deployments", "list", "--newest", "--since", "12h")
    assert ended.code == 0, ended.err
    by_name, newest = service.requests["ListDeployments"]
    assert (by_name.order_by, by_name.HasField("create_time_from")) == ("", False)
    assert newest.order_by == "create_time desc"
    assert newest.create_time_from.seconds > 0


@pytest.mark.parametrize(
    ("text", "code"),
    [("90m", 0), ("2026-03-01T12:00+02:00", 0), ("yesterday", 2), ("12", 2), ("999999999d", 2)],
)
async def test_runs_since_a_time(service, text, code):
    service.will("ListRuns", pb.ListRunsResponse(runs=[run(status=COMPLETED)]))
    ended = await deployctl(service, "runs", "--since", text)
    assert bool(ended.code) == bool(code), ended.err
    if code:
        assert f"--since {text}" in ended.err
    elif "T" in text:
        (request,) = service.requests["ListRuns"]
        assert request.create_time_from.ToJsonString() == "2026-03-01T10:00:00Z"


@pytest.mark.parametrize("kind", ["event", "bookmark"])
def test_the_first_message_after_start_must_follow_what_start_names(kind):
    """What is lost between the token and the first message shows as well."""
    for prev, fits in ((41, True), (42, False), (40, False), (0, False)):
        check = Completeness(filtered=True)
        check.accept(pb.WatchDeploymentsResponse(start=pb.WatchStart(sequence=41)))
        first = pb.WatchDeploymentsResponse(prev_sequence=prev)
        getattr(first, kind).sequence = 50
        if fits:
            check.accept(first)
        else:
            with pytest.raises(WatchGapError):
                check.accept(first)
    later = Completeness(filtered=True)
    later.accept(pb.WatchDeploymentsResponse(start=pb.WatchStart(sequence=41)))
    later.accept(pb.WatchDeploymentsResponse(reset=pb.Reset()))
    later.accept(pb.WatchDeploymentsResponse(snapshot_complete=pb.SnapshotComplete(sequence=7)))
    assert later.position == 7
