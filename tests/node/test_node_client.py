"""P3, P5: the client of examples/node, written from the contract's comments alone, while the service is killed."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from deployment_service.v1 import deployment_service_pb2 as pb
from devstack.stack import DevStack

pytestmark = pytest.mark.timeout(120)
EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "node"
SECONDS = "# simulator: duration 2"
Lines = list[str]


@asynccontextmanager
async def example(
    stack: DevStack, slug: str, shell: str = SECONDS
) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run the example; yield its process and the lines that it prints."""
    environment = {
        **os.environ,
        "DEPLOYMENT_SERVICE_TARGET": stack.target,
        "DEPLOYMENT_API_KEY": stack.api_key,
        "DEPLOYMENT_TENANT": stack.tenant,
    }
    process = await asyncio.create_subprocess_exec(
        "node",
        "deploy.mjs",
        slug,
        shell,
        cwd=EXAMPLE,
        env=environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def kill_and_start(stack: DevStack) -> None:
    await stack.kill_service()
    await stack.start_service()


async def at_once(stack: DevStack, _next_line: Callable[[], Awaitable[str]]) -> None:
    """While the example creates the deployment or its run."""
    await kill_and_start(stack)


async def while_it_watches(stack: DevStack, next_line: Callable[[], Awaitable[str]]) -> None:
    await next_line()
    await kill_and_start(stack)


async def again_and_again(stack: DevStack, next_line: Callable[[], Awaitable[str]]) -> None:
    await kill_and_start(stack)
    await next_line()
    await kill_and_start(stack)
    await kill_and_start(stack)


async def never(_stack: DevStack, _next_line: Callable[[], Awaitable[str]]) -> None:
    pass


@pytest.mark.parametrize("kill", [never, at_once, while_it_watches, again_and_again])
async def test_a_run_is_followed_to_its_settled_end(
    stack: DevStack, kill: Callable[[DevStack, Callable[[], Awaitable[str]]], Awaitable[None]]
) -> None:
    async with example(stack, "from-node") as process:
        lines: Lines = []

        async def next_line() -> str:
            assert process.stdout is not None
            lines.append((await process.stdout.readline()).decode())
            return lines[-1]

        await kill(stack, next_line)
        while await next_line():
            pass
        assert process.stderr is not None
        errors = (await process.stderr.read()).decode()
        assert await process.wait() == 0, errors
    printed = [line.split() for line in lines if line]
    assert printed[-1][-1] == "CERTAINTY_CONFIRMED"
    await is_the_whole_story(stack, [int(one[0]) for one in printed])


async def is_the_whole_story(stack: DevStack, sequences: list[int]) -> None:
    """Each event of the one run was printed once, in order, up to the one that settles it; one build came of it."""
    assert stack.simulator is not None
    async with stack.client() as client:
        run = await client.get_run("tenants/demo/deployments/from-node/runs/1")
        events = [one async for one in client.history("from-node") if one.run == run.name]
    assert run.status == pb.DEPLOYMENT_STATUS_COMPLETED
    assert sequences == [one.sequence for one in events][: len(sequences)]
    assert events[len(sequences) - 1].certainty == pb.CERTAINTY_CONFIRMED
    assert len(stack.simulator.ledger.builds(run_id=run.uid)) == 1


async def test_an_error_that_does_not_pass_ends_it(stack: DevStack) -> None:
    async with example(stack, "Not A Slug") as process:
        _, errors = await process.communicate()
    assert process.returncode == 1
    assert b"INVALID_ARGUMENT" in errors
