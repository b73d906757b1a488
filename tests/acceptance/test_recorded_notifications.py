"""What a real Notification plugin sent, rewritten to a deployment's job, moves that deployment (P1, P2)."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from deployment_service.client import DeploymentClient
from deployment_service.v1 import deployment_service_pb2 as pb
from devstack.options import StackOptions
from devstack.stack import DevStack
from jenkins_simulator import NotificationFault, Result

pytestmark = [pytest.mark.timeout(120), pytest.mark.asyncio(loop_scope="module")]
PAYLOADS = Path(__file__).parents[1] / "payloads"
EXPECTED = {
    "SUCCESS": pb.DEPLOYMENT_STATUS_COMPLETED,
    "FAILURE": pb.DEPLOYMENT_STATUS_FAILED,
    "UNSTABLE": pb.DEPLOYMENT_STATUS_FAILED,
    "ABORTED": pb.DEPLOYMENT_STATUS_CANCELLED,
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def quiet_stack() -> AsyncIterator[DevStack]:
    """One for all; its Jenkins sends nothing, so that only what was recorded is told."""
    options = StackOptions(service_settings={"READ_INTERVAL_S": "0.5"})
    async with DevStack(options, sink=lambda name, line: print(f"{name:>8} | {line}")) as stack:
        assert stack.simulator is not None
        stack.simulator.faults.add(NotificationFault(drop=True))
        yield stack


def recorded(name: str) -> list[dict[str, Any]]:
    """The JSON bodies of a recording's first build, in the order in which they were sent."""
    requests = json.loads((PAYLOADS / f"{name}.json").read_text())["requests"]
    bodies = [
        json.loads(request["body"]) for request in requests if request["body"].startswith("{")
    ]
    return [body for body in bodies if body["name"] == bodies[0]["name"]]


def rewritten(body: dict[str, Any], run: pb.Run, job: str) -> dict[str, Any]:
    """The same notification as Jenkins would have sent it for this run's build."""
    build = body["build"] | {
        "number": run.build_number,
        "queue_id": run.queue_id,
        "url": f"job/{job}/{run.build_number}/",
        "full_url": f"http://ci.invalid/job/{job}/{run.build_number}/",
        "parameters": {"DEPLOYMENT_RUN_ID": run.uid},
    }
    return body | {"name": job, "display_name": job, "url": f"job/{job}/", "build": build}


@pytest.mark.parametrize(
    "name",
    [
        "notification-1.15-success",
        "notification-1.15-failure",
        "notification-1.15-unstable",
        "notification-1.15-aborted",
        "notification-1.15-loglines",
        "notification-1.19-rich",
        "notification-1.19-aborted",
        "pipeline",
    ],
)
async def test_a_recorded_build_moves_the_deployment(quiet_stack: DevStack, name: str) -> None:
    stack, slug = quiet_stack, name.replace(".", "-")
    bodies = recorded(name)
    result = next(body["build"]["status"] for body in bodies if "status" in body["build"])
    async with stack.client() as client:
        run, url = await _building(stack, client, slug)
        answers = await _send(url, [rewritten(body, run, f"demo.{slug}") for body in bodies])
        assert {status for status, _ in answers} == {200}
        assert answers[-1][1]["deployment"] == f"tenants/demo/deployments/{slug}"
        # Jenkins comes to the same end, as it did when this was recorded.
        assert stack.simulator is not None
        stack.simulator.release(f"demo.{slug}", result=Result[result])
        ended = await _ended(client, slug)
    assert ended.status == EXPECTED[result]
    assert ended.build_number == run.build_number


async def test_a_repeated_and_reversed_recording_ends_the_same(quiet_stack: DevStack) -> None:
    """P2: late, twice and in any order; each status is told once."""
    stack, slug = quiet_stack, "disorder"
    async with stack.client() as client:
        run, url = await _building(stack, client, slug)
        bodies = [rewritten(b, run, f"demo.{slug}") for b in recorded("notification-1.15-failure")]
        # The build has ended, or a read that shows it running would withdraw the reports.
        assert stack.simulator is not None
        (build,) = stack.simulator.release(f"demo.{slug}", result=Result.FAILURE)
        await stack.simulator.wait_for(build)
        await _send(url, [*reversed(bodies), *bodies])
        assert (await _ended(client, slug)).status == pb.DEPLOYMENT_STATUS_FAILED
        events = [event async for event in client.history(slug)]
    ends = [event.type for event in events if event.run_status == pb.DEPLOYMENT_STATUS_FAILED]
    assert len(ends) == len(set(ends)), "one end, and at most one event that settles it"


async def _building(stack: DevStack, client: DeploymentClient, slug: str) -> tuple[pb.Run, str]:
    """A run that builds until it is released, and its job's webhook URL."""
    assert stack.simulator is not None
    job = pb.DeploymentJob(freestyle_shell="exit 0")
    await client.create_deployment(slug, pb.Deployment(provider="main", job=job))
    stack.simulator.hold(f"demo.{slug}")
    await client.run_deployment(slug)
    async with asyncio.timeout(20):
        while not (run := await client.get_run(f"{slug}/runs/1")).build_number:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    deployment = await client.get_deployment(slug)
    return run, deployment.cicd_job.webhook_url


async def _send(url: str, bodies: list[dict[str, Any]]) -> list[tuple[int, dict[str, Any]]]:
    answers = []
    async with aiohttp.ClientSession() as http:
        for body in bodies:
            async with http.post(url, json=body) as answer:
                answers.append((answer.status, await answer.json(content_type=None)))
    return answers


async def _ended(client: DeploymentClient, slug: str) -> pb.Run:
    async with asyncio.timeout(20):
        while not (run := await client.get_run(f"{slug}/runs/1")).HasField("settle_time"):  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    return run
