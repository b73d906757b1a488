"""Runs, webhooks and watches that are under way while something happens to the database, and how they fared."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import grpc.aio
from grpc_health.v1 import health_pb2, health_pb2_grpc

from deployment_service.client import DeploymentClient
from deployment_service.runtime.backoff import Backoff
from deployment_service.v1 import deployment_service_pb2 as pb
from devstack.stack import DevStack
from tests.support.webhooks import create_ready

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
RECOVERED_S = 10.0
_PATIENCE_S = 60.0


@dataclass
class Traffic:
    """``started`` and ``ended``: of each run, when its call was answered and when its end was known, by the loop's
    clock. ``health``: each change of the health. ``sequences``: those of events, in the order they came."""

    client: DeploymentClient
    target: str
    started: dict[str, float] = field(default_factory=dict)
    ended: dict[str, float] = field(default_factory=dict)
    health: list[tuple[float, int]] = field(default_factory=list)
    sequences: list[int] = field(default_factory=list)
    gaps: list[tuple[int, int]] = field(default_factory=list)
    resets: int = 0
    _stopping: asyncio.Event = field(default_factory=asyncio.Event)
    _last: int | None = None

    async def run_again_and_again(self, name: str) -> None:
        now = asyncio.get_running_loop().time
        while not self._stopping.is_set():
            answer = await self.client.run_deployment(name)
            self.started[answer.run.uid] = now()
            run = await self.client.wait_for_run(
                answer.run.name, timeout_s=_PATIENCE_S, resume_token=""
            )
            assert run.status == pb.DEPLOYMENT_STATUS_COMPLETED, run
            self.ended[run.uid] = now()

    async def follow(self) -> None:
        async for message in self.client.watch_messages():
            match message.WhichOneof("response"):
                case "event":
                    sequence = message.event.sequence
                    if self._last is not None and sequence != self._last + 1:
                        self.gaps.append((self._last, sequence))
                    self.sequences.append(sequence)
                    self._last = sequence
                case "reset":
                    self.resets += 1
                    self._last = None

    async def look_at_health(self) -> None:
        loop = asyncio.get_running_loop()
        async with grpc.aio.insecure_channel(self.target) as channel:
            stub: Any = health_pb2_grpc.HealthStub(channel)
            while True:
                answer = await stub.Check(health_pb2.HealthCheckRequest(), timeout=5)
                if not self.health or self.health[-1][1] != answer.status:
                    self.health.append((loop.time(), answer.status))
                await asyncio.sleep(0.1)

    async def until_serving(self, *, serving: bool, within_s: float = RECOVERED_S) -> float:
        """Wait until the health is as expected; return after how long."""
        begun = asyncio.get_running_loop().time()
        expected = SERVING if serving else NOT_SERVING
        await self._until(lambda: self.health[-1][1] == expected, within_s, f"serving={serving}")
        return asyncio.get_running_loop().time() - begun

    async def until_runs_end(self, count: int, within_s: float) -> float:
        """Wait until so many runs have ended that started from now on; return after how long."""
        begun = asyncio.get_running_loop().time()

        def ended() -> bool:
            return sum(self.started[uid] >= begun for uid in self.ended) >= count

        await self._until(ended, within_s, f"{count} runs")
        return asyncio.get_running_loop().time() - begun

    async def _until(self, condition: object, within_s: float, what: str) -> None:
        assert callable(condition)
        try:
            async with asyncio.timeout(within_s):
                while not condition():  # noqa: ASYNC110 - the clock matters, not who changes it
                    await asyncio.sleep(0.05)
        except TimeoutError:
            raise AssertionError(f"not within {within_s:g} s: {what}") from None


@contextlib.asynccontextmanager
async def traffic(stack: DevStack, teams: int = 4) -> AsyncIterator[Traffic]:
    """Teams run their deployments all the time while the block runs; at its end every run has ended."""
    client = DeploymentClient(
        stack.target,
        api_key=stack.api_key,
        tenant="demo",
        timeout_s=_PATIENCE_S,
        backoff=Backoff(0.05, 0.4),
    )
    async with client:
        one = Traffic(client, stack.target)
        names = [f"team-{number}" for number in range(teams)]
        for name in names:
            await create_ready(
                client,
                name,
                pb.Deployment(
                    provider="main",
                    job=pb.DeploymentJob(freestyle_shell="# simulator: duration 0.3"),
                ),
            )
        others = [
            asyncio.create_task(one.follow(), name="follow"),
            asyncio.create_task(one.look_at_health(), name="health"),
        ]
        runners = [asyncio.create_task(one.run_again_and_again(name), name=name) for name in names]
        try:
            await one.until_runs_end(teams, _PATIENCE_S)
            yield one
            one._stopping.set()
            async with asyncio.timeout(_PATIENCE_S):
                await asyncio.gather(*runners)
        finally:
            for task in (*others, *runners):
                task.cancel()
            await asyncio.gather(*others, *runners, return_exceptions=True)
        check(one, stack)


def check(done: Traffic, stack: DevStack) -> None:
    """P3, P4, P5: one build for each run, each end known, events without a gap or a duplicate."""
    assert stack.simulator is not None
    builds = {uid: len(stack.simulator.ledger.builds(run_id=uid)) for uid in done.started}
    assert set(builds.values()) == {1}, builds
    assert done.started.keys() == done.ended.keys()
    assert not done.gaps
    if not done.resets:
        assert len(set(done.sequences)) == len(done.sequences)
