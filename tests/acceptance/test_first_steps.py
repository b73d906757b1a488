"""The first steps of somebody new, on the real thing: create, run, watch, come back later."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from deployment_service.client import DeploymentClient, Watch
from deployment_service.client.errors import DeadlineExceeded, Unavailable
from deployment_service.client.waiting import SETTLED
from deployment_service.v1 import deployment_service_pb2 as pb
from devstack.stack import DevStack
from tests.support.processes import running

pytestmark = pytest.mark.timeout(120)
ROOT = Path(__file__).resolve().parents[2]
PENDING, RUNNING = pb.DEPLOYMENT_STATUS_PENDING, pb.DEPLOYMENT_STATUS_RUNNING
COMPLETED, FAILED = pb.DEPLOYMENT_STATUS_COMPLETED, pb.DEPLOYMENT_STATUS_FAILED


@pytest_asyncio.fixture
async def client(stack: DevStack) -> AsyncIterator[DeploymentClient]:
    async with stack.client() as client:
        yield client


async def create(client: DeploymentClient, slug: str, shell: str, **parameters: str) -> None:
    job = pb.DeploymentJob(freestyle_shell=shell)
    definition = pb.Deployment(
        provider="main",
        job=job,
        parameter_definitions=[
            pb.ParameterDefinition(name=name, default_value=value)
            for name, value in parameters.items()
        ],
    )
    await client.create_deployment(slug, definition)


async def until_settled(watch: Watch) -> list[pb.DeploymentEvent]:
    """The events up to and including the one that settles a run."""
    events = []
    async for event in watch:
        events.append(event)
        if event.run and event.certainty in SETTLED:
            break
    return events


def statuses(events: list[pb.DeploymentEvent]) -> list[pb.DeploymentStatus]:
    """What a run's events say, without repetitions."""
    said: list[pb.DeploymentStatus] = []
    for event in events:
        if event.run and (not said or said[-1] != event.run_status):
            said.append(event.run_status)
    return said


async def test_a_watch_sees_all_in_order_and_goes_on_where_it_was(client: DeploymentClient):
    """P5: pending, running, completed; sequences rise by exactly one; nothing twice, nothing missing."""
    start = (await client.list_deployments()).resume_token
    async with client.watch(resume_token=start) as watch:
        await create(client, "web", "exit $CODE", CODE="0")
        await client.run_deployment("web")
        seen = await until_settled(watch)
        token = watch.resume_token
    assert statuses(seen) == [PENDING, RUNNING, COMPLETED]
    assert seen[0].type == pb.DeploymentEvent.DEPLOYMENT_CREATED

    # Nobody watches; things happen.
    failed = await client.run_and_wait("web", parameters={"CODE": "1"}, timeout_s=60)
    assert failed.status == FAILED

    async with client.watch(resume_token=token) as watch:
        later = await until_settled(watch)
    assert statuses(later) == [PENDING, RUNNING, FAILED]
    sequences = [event.sequence for event in seen + later]
    assert sequences == list(range(sequences[0], sequences[0] + len(sequences)))
    history = [event.sequence async for event in client.history()]
    assert sequences == history, "P8: the stream is the history"


async def test_a_watch_that_starts_late_begins_with_the_present(client: DeploymentClient):
    await create(client, "web", "true")
    await client.run_and_wait("web", timeout_s=60)
    async with client.watch_messages("web") as watch:
        item, complete = await anext(watch), await anext(watch)
    assert item.deployment.status == COMPLETED
    assert complete.WhichOneof("response") == "snapshot_complete"


async def test_a_killed_service_costs_a_watcher_nothing(stack: DevStack, client: DeploymentClient):
    """P3, P4, P5: one build, its end known, no event lost, though the service dies in the middle."""
    await create(client, "web", "sleep 3")
    start = (await client.list_deployments()).resume_token
    async with client.watch(resume_token=start) as watch:
        answer = await client.run_deployment("web")
        seen = []
        async for event in watch:
            seen.append(event)
            if event.run_status == RUNNING and len(statuses(seen)) == 2:
                await stack.kill_service()
                await stack.start_service()
            if event.run and event.certainty in SETTLED:
                break
    assert statuses(seen) == [PENDING, RUNNING, COMPLETED]
    sequences = [event.sequence for event in seen]
    assert sequences == list(range(sequences[0], sequences[0] + len(sequences)))
    await client.wait_for_run(answer.run.name, timeout_s=60)
    assert stack.simulator is not None
    builds = stack.simulator.ledger.builds(run_id=answer.run.uid)
    assert [build.result for build in builds] == ["SUCCESS"]


async def test_run_and_wait_survives_a_restart_of_the_service(
    stack: DevStack, client: DeploymentClient
):
    """P3, P4: one call of the client, one build, and its true end, though the service dies and comes back."""
    await create(client, "web", "sleep 3")
    start = (await client.list_deployments()).resume_token
    async with client.watch("web", resume_token=start) as watch:
        waiting = asyncio.create_task(client.run_and_wait("web", timeout_s=90))
        async for event in watch:
            if event.run_status == RUNNING:
                break
    await stack.kill_service()
    await stack.start_service()
    done = await waiting
    assert (done.status, done.certainty) == (COMPLETED, pb.CERTAINTY_CONFIRMED)
    assert stack.simulator is not None
    assert len(stack.simulator.ledger.builds(run_id=done.uid)) == 1


async def test_a_crashed_database_costs_a_watcher_nothing(
    stack: DevStack, client: DeploymentClient
):
    """P1, P4, P5: all recovers by itself when the database comes back, and nothing is missing."""
    await create(client, "web", "sleep 3")
    assert stack.postgres is not None
    start = (await client.list_deployments()).resume_token
    async with client.watch(resume_token=start) as watch:
        answer = await client.run_deployment("web")
        await stack.postgres.kill()
        async with stack.client(timeout_s=1.0) as impatient:
            with pytest.raises((Unavailable, DeadlineExceeded)):
                await impatient.get_run(answer.run.name)
        await stack.postgres.start()
        seen = await until_settled(watch)
    assert statuses(seen) == [PENDING, RUNNING, COMPLETED]
    sequences = [event.sequence for event in seen]
    assert sequences == list(range(sequences[0], sequences[0] + len(sequences)))
    done = await client.wait_for_run(answer.run.name, timeout_s=60)
    assert (done.status, done.certainty) == (COMPLETED, pb.CERTAINTY_CONFIRMED)


async def test_without_any_webhook_the_end_is_known(stack: DevStack, client: DeploymentClient):
    """P4: Jenkins is read; the gateway isn't there at all."""
    await create(client, "web", "true")
    await stack.kill_gateway()
    done = await client.run_and_wait("web", timeout_s=60)
    assert (done.status, done.certainty) == (COMPLETED, pb.CERTAINTY_CONFIRMED)


async def test_the_example_and_deployctl_do_what_the_readme_says(stack, client, tmp_path):
    env = {
        "DEPLOYMENT_SERVICE_TARGET": stack.target,
        "DEPLOYMENT_API_KEY": stack.api_key,
        "DEPLOYMENT_TENANT": stack.tenant,
    }
    deployctl = ("-m", "deployment_service.client.cli.main")
    token_path = str(tmp_path / "token")
    example = (str(ROOT / "examples" / "watch.py"), "--token-file", token_path, "--until-settled")
    shell = ("--shell", "echo hello")
    async with running(*deployctl, "deployments", "create", "hello", *shell, env=env) as create:
        assert await create.ends() == 0, create.text
    async with running(*example, env=env) as watch:
        await watch.says("hello is pending")
        async with running(*deployctl, "run", "hello", "--wait", env=env) as run:
            assert await run.ends() == 0, run.text
            assert "hello/runs/1: completed, build 1" in run.text
        assert await watch.ends() == 0, watch.text
    assert "pending -> running" in watch.text
    assert "running -> completed" in watch.text

    async with running(*example, env=env) as again:
        second = await client.run_and_wait("hello", timeout_s=60)
        assert await again.ends() == 0, again.text
    assert "is pending" not in again.text, "it goes on from the token: no snapshot"
    assert "runs/1" not in again.text
    assert "runs/2" in again.text
    assert second.status == COMPLETED
    for arguments in (("runs",), ("events",), ("deployments", "list"), ("providers", "list")):
        async with running(*deployctl, *arguments, env=env) as shown:
            assert await shown.ends() == 0, shown.text
            assert shown.text
    async with running(*deployctl, "providers", "check", stack.provider, env=env) as shown:
        assert await shown.ends() == 0, shown.text
        assert shown.text.endswith("No errors."), shown.text
        assert "warning" not in shown.text


async def test_many_runs_at_once_are_each_one_build(stack: DevStack, client: DeploymentClient):
    """P3: eight deployments at once, each run one build of its own."""
    slugs = [f"service-{number}" for number in range(8)]
    await asyncio.gather(*(create(client, slug, "true") for slug in slugs))
    runs = await asyncio.gather(*(client.run_and_wait(slug, timeout_s=80) for slug in slugs))
    assert {run.status for run in runs} == {COMPLETED}
    assert stack.simulator is not None
    for run in runs:
        assert len(stack.simulator.ledger.builds(run_id=run.uid)) == 1


async def test_the_readmes_client_runs_as_it_stands(stack: DevStack, client: DeploymentClient):
    await create(client, "hello", "true")
    code = (ROOT / "README.md").read_text().partition("```python\n")[2].partition("```")[0]
    assert len([line for line in code.splitlines() if line]) <= 10
    env = {"DEPLOYMENT_SERVICE_TARGET": stack.target, "DEPLOYMENT_API_KEY": stack.api_key}
    async with running("-c", code, env=env) as program:
        assert await program.ends() == 0, program.text
    assert program.text == "build 1 CERTAINTY_CONFIRMED"


def test_the_readme_leads_to_files_and_tests_that_exist():
    text = (ROOT / "README.md").read_text()
    for path in re.findall(r"\]\(([\w/.-]+)\)", text):
        assert (ROOT / path).exists(), path
    modules = {path.stem for path in (ROOT / "tests").rglob("test_*.py")}
    assert set(re.findall(r"`(test_\w+)`", text)) <= modules
