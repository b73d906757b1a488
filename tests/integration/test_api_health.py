"""The health names: what they answer while the service starts, serves and drains."""

from typing import Any

import grpc.aio
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from deployment_service.api.setup import LIVENESS, Health

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


class Pool:
    """A pool whose check succeeds or fails as the test says."""

    def __init__(self, *, usable: bool) -> None:
        self.name = "api"
        self.usable = usable

    async def check(self) -> None:
        if not self.usable:
            raise ConnectionRefusedError


async def statuses(channel: grpc.aio.Channel) -> dict[str, Any]:
    stub: Any = health_pb2_grpc.HealthStub(channel)
    answers = {
        name: await stub.Check(health_pb2.HealthCheckRequest(service=name))
        for name in ("", "deployments", LIVENESS)
    }
    return {name: answer.status for name, answer in answers.items()}


@pytest.mark.parametrize("usable", [True, False])
async def test_liveness_is_serving_with_or_without_database_and_while_draining(usable: bool):
    server = grpc.aio.server()
    pools: Any = [Pool(usable=usable)]
    health = Health(pools, ["deployments"])
    await health.start(server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            ready = SERVING if usable else NOT_SERVING
            assert await statuses(channel) == {"": ready, "deployments": ready, LIVENESS: SERVING}
            await health.shut_down()
            assert await statuses(channel) == {
                "": NOT_SERVING,
                "deployments": NOT_SERVING,
                LIVENESS: SERVING,
            }
    finally:
        await server.stop(None)
