"""A client that stops reading, on a real replica: nobody else waits for it, and memory stays bounded (P6)."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

import grpc.aio
import psutil
import pytest

from deployment_service.client import DeploymentClient
from deployment_service.domain.access import TenantRef
from deployment_service.v1 import deployment_service_pb2 as pb
from deployment_service.v1.deployment_service_pb2_grpc import DeploymentServiceStub
from tests.support.waiting import until
from tests.support.watch_cluster import Cluster, Quota, Writer, cluster, notifying
from tests.support.watch_records import Record, problems

pytestmark = pytest.mark.timeout(180)
SLUGS = [f"web-{n}" for n in range(4)]
STUCK = 20
FILL = 1500
MEGABYTE = 2**20


@dataclass
class Brisk:
    """A watcher that notes how old each event is when it comes."""

    client: DeploymentClient
    record: Record
    delays: list[float] = field(default_factory=list)

    async def follow(self) -> None:
        async with self.client.watch_messages() as watch:
            async for message in watch:
                self.record.take(message)
                if message.WhichOneof("response") == "event":
                    created = message.event.create_time.ToNanoseconds() / 1e9
                    self.delays.append(time.time() - created)


@contextlib.asynccontextmanager
async def stuck_clients(one: Cluster, tenant: TenantRef) -> AsyncIterator[list[Record]]:
    """Clients that read a snapshot and then nothing; what they have read when the block ends.

    With a window that is small and stays so, or the kernel and gRPC would read a lot for them.
    """
    options = [("grpc.http2.bdp_probe", 0), ("grpc.http2.lookahead_bytes", 65535)]
    metadata = (("authorization", f"Bearer {one.key}"),)
    request = pb.WatchDeploymentsRequest(parent=f"tenants/{tenant.slug}")
    records = []
    async with contextlib.AsyncExitStack() as stack:
        for _ in range(STUCK):
            # A connection each: on a shared one, gRPC's window for the whole connection would hold up all.
            own = [*options, ("grpc.use_local_subchannel_pool", 1)]
            channel = await stack.enter_async_context(
                grpc.aio.insecure_channel(one.targets[0], own)
            )
            call: Any = DeploymentServiceStub(channel).WatchDeployments(request, metadata=metadata)
            record = Record(tenant.slug)
            while not record.snapshots:
                record.take(await call.read())
            records.append(record)
            stack.callback(call.cancel)
        yield records


async def commit(one: Cluster, tenant: TenantRef, at_once: int, seconds: float) -> int:
    """Commit events, some at once and then more at a steady pace for so long; how many."""
    quota = Quota()
    async with notifying(one) as notifier:
        task = asyncio.create_task(Writer(one, tenant, SLUGS, notifier, seed=1).run(quota, 10))
        await quota.allow(at_once)
        await quota.reached(at_once)
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            await quota.allow(20)
            await quota.reached(quota.allowed)
            await asyncio.sleep(0.05)  # the pace
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    return quota.committed


@contextlib.asynccontextmanager
async def brisk_clients(one: Cluster) -> AsyncIterator[list[Brisk]]:
    """One for each replica, which it doesn't leave."""
    async with contextlib.AsyncExitStack() as stack:
        brisk = [
            Brisk(await stack.enter_async_context(one.client("demo", target)), Record("demo"))
            for target in one.targets
        ]
        tasks = [asyncio.create_task(client.follow()) for client in brisk]
        try:
            await until(lambda: all(client.record.snapshots for client in brisk))
            yield brisk
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


async def stuck_while(seconds: float) -> None:
    """Delays beside stuck clients and, at the same time, on a replica without any; what a replica grows by."""
    async with cluster(2) as one:
        tenant = await one.new_tenant("demo", *SLUGS)
        async with brisk_clients(one) as brisk:
            pid = one.replicas[0].pid
            assert pid is not None
            process = psutil.Process(_serving(pid))
            memory = process.memory_info().rss
            async with stuck_clients(one, tenant):
                # More than their windows take: from here on they are stuck.
                before = await commit(one, tenant, FILL, 0.0)
                await until(lambda: all(len(c.delays) >= before for c in brisk), timeout_s=60)
                count = before + await commit(one, tenant, 0, seconds)
                await until(lambda: all(len(c.delays) >= count for c in brisk), timeout_s=60)
                grown = (process.memory_info().rss - memory) / MEGABYTE
            said = one.replicas[0].records
            await until(lambda: sum(r.get("event") == "call" for r in said) >= STUCK)
            assert not [r for r in said if r.get("level") == "error"], "clients go: no defect"
            history, table = await one.history(tenant), await one.table(tenant)
            for client in brisk:
                assert problems(client.record, history, table) == []
            check(brisk[0].delays[before:], brisk[1].delays[before:], grown)


def _serving(pid: int) -> int:
    """The process that serves: what holds its leash may be its parent."""
    family = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    return int(max(family, key=lambda one: one.memory_info().rss).pid)


def check(beside: Sequence[float], apart: Sequence[float], grown: float) -> None:
    figures = f"median {median(beside) * 1e3:.1f} ms beside {STUCK} stuck clients, {median(apart) * 1e3:.1f} ms apart"
    print(f"{figures}; {len(beside)} events; {grown:.1f} MB more")
    assert median(beside) < 2 * median(apart) + 0.05, figures
    # A batch and gRPC's buffers for each, and the ring: nothing that grows with what they don't read.
    assert grown < 60


async def test_clients_that_stop_reading_delay_nobody():
    """P6: twenty of them, for as long as a short test lasts."""
    await stuck_while(5.0)


@pytest.mark.full
@pytest.mark.timeout(300)
async def test_clients_that_stop_reading_for_half_a_minute_delay_nobody():
    """P6: for half a minute, under a steady stream of events."""
    await stuck_while(31.0)
