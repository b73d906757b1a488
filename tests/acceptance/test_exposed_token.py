"""A Jenkins that can't keep our URLs secret: every token is in its consoles, and ends are read from it."""

from __future__ import annotations

import dataclasses
import statistics

import asyncpg
import pytest

from deployment_service.v1 import admin_service_pb2 as admin_pb
from deployment_service.v1 import deployment_service_pb2 as pb
from devstack.options import StackOptions, simulator_config
from devstack.stack import DevStack

pytestmark = pytest.mark.alone

PUBLIC = StackOptions(
    simulator=dataclasses.replace(simulator_config(), credentials_plugin=False),
    # So seldom that only a refresh request can explain an end that is known soon.
    service_settings={"READ_INTERVAL_S": "60"},
)
RUNS = 4


@pytest.mark.timeout(180)
@pytest.mark.parametrize("stack", [PUBLIC], indirect=True)
async def test_ends_are_jenkins_own_word_and_known_soon_all_the_same(stack: DevStack) -> None:
    """P4, P7: a printed token ends nothing by itself, but has the job read at once."""
    assert stack.simulator is not None
    definition = pb.Deployment(
        provider=stack.provider, job=pb.DeploymentJob(freestyle_shell="sleep 0.3")
    )
    delays = []
    async with stack.client() as client:
        # Nobody vouches for who reads this Jenkins' consoles.
        name = client.names.provider(stack.provider)
        provider = admin_pb.Provider(name=name, private_console=False)
        await client.admin.update_provider(provider, fields=("private_console",))
        await client.create_deployment("web", definition)
        for _ in range(RUNS):
            run = await client.run_and_wait("web", timeout_s=90)
            assert run.status == pb.DEPLOYMENT_STATUS_COMPLETED
            (build,) = stack.simulator.ledger.builds(run_id=run.uid)
            assert build.ended_at is not None
            delays.append(run.end_time.ToNanoseconds() / 1e9 - build.ended_at)
        assert (await client.get_deployment("web")).cicd_job.token_exposed
    print("seconds from the build's end to ours:", [f"{delay:.2f}" for delay in delays])
    assert statistics.median(delays) < 2.5
    connection = await asyncpg.connect(stack.database_url)
    try:
        sources = await connection.fetch(
            "SELECT source FROM deployment_events WHERE status = 'COMPLETED'"
        )
        refresh_requested = await connection.fetchval(
            "SELECT count(*) FROM webhook_deliveries WHERE verdict = 'DEFERRED'"
        )
    finally:
        await connection.close()
    assert {row["source"] for row in sources} == {"READ"}
    assert refresh_requested >= RUNS
