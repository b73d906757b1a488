"""How a story is told to its end, and what must then be true of its runs."""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any

from deployment_service.v1 import deployment_service_pb2 as pb
from jenkins_simulator import Build, Cause, Job
from tests.chaos.world import World

JOB = "demo.web"


@dataclass(frozen=True)
class Told:
    """How a run must have ended: builds that carry its id, status, and cause if there was a failure."""

    uid: str
    builds: int = 1
    status: str = "COMPLETED"
    cause: str | None = None


Story = Callable[[World], Awaitable[list[Told]]]


async def tell(story: Story, w: World) -> None:
    """Tell a story to its end and check that it ended well."""
    for told in await story(w):
        await check(w, told)
    numbers = [row["sequence"] for row in await w.sql("SELECT sequence FROM deployment_events")]
    assert sorted(numbers) == list(range(1, len(numbers) + 1)), "events have gaps"
    assert len(list(w.jenkins.controller.root.jobs())) <= 1


async def check(w: World, told: Told) -> None:
    """What Jenkins' ledger, the store and the API say of a run."""
    assert w.builds(told.uid) == told.builds, w.jenkins.ledger.builds()
    (row,) = await w.sql("SELECT * FROM deployment_runs WHERE run_id = $1", uuid.UUID(told.uid))
    assert (row["status"], row["failure_cause"]) == (told.status, told.cause)
    run = await w.client.get_run(f"web/runs/{row['number']}")
    assert pb.DeploymentStatus.Name(run.status) == f"DEPLOYMENT_STATUS_{told.status}"
    kinds = [
        event["type"]
        for event in await w.sql(
            "SELECT type FROM deployment_events WHERE run_number = $1 ORDER BY sequence",
            row["number"],
        )
    ]
    in_jenkins = told.builds > 0 or told.status == "CANCELLED"
    assert kinds.count("DEPLOYMENT_RUN_START") == in_jenkins, kinds
    assert kinds.count("DEPLOYMENT_RUN_FAILURE") == (told.builds == 0), kinds


async def job_is_gone(w: World) -> bool:
    return not await w.sql("SELECT FROM cicd_jobs") and w.jenkins.controller.find(JOB) is None


async def cancel(w: World, number: int) -> None:
    request = pb.CancelRunRequest(
        name=f"tenants/demo/deployments/web/runs/{number}", request_id=str(uuid.uuid4())
    )
    await w.client._caller.call(w.client._stub.CancelRun, request)


def build_of(w: World, number: int) -> Build:
    return w.jenkins.job(JOB).builds[number]


def configure(w: World, **changes: Any) -> None:
    job = w.jenkins.job(JOB)
    job.config = replace(job.config, **changes)


def start_by_hand(w: World, parameters: Any = (), user: str = "alice") -> None:
    """As a person does in Jenkins' own pages."""
    job = w.jenkins.job(JOB)
    assert isinstance(job, Job)
    w.jenkins.controller.schedule(job, parameters, Cause(user))
