"""What a call may cost before, and after, its key was checked (P6)."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
import pytest_asyncio
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from deployment_service.api.intake import decode
from deployment_service.domain.access import Role
from deployment_service.v1 import admin_service_pb2 as admin
from deployment_service.v1 import deployment_service_pb2 as pb
from deployment_service.v1 import gateway_service_pb2 as gateway
from deployment_service.v1.deployment_service_pb2_grpc import DeploymentServiceStub
from tests.support.api import Api, bearer, refusal, refused, running_api, seed_deployment
from tests.support.nonsense import METHODS, WEB
from tests.support.relay import relay_from
from tests.support.waiting import until


@contextlib.asynccontextmanager
async def two_tenants(database_url: str, **settings: Any) -> AsyncIterator[Api]:
    async with running_api(database_url, **settings) as running:
        for slug in ("demo", "other"):
            await running.admin.CreateTenant(
                admin.CreateTenantRequest(tenant_id=slug), metadata=running.as_admin
            )
            await seed_deployment(running, slug)
        yield running


@pytest_asyncio.fixture
async def api(database_url: str) -> AsyncIterator[Api]:
    async with two_tenants(database_url) as running:
        yield running


async def revoked(api: Api, role: Role) -> Any:
    created = await api.admin.CreateApiKey(
        admin.CreateApiKeyRequest(
            api_key=admin.ApiKey(role=f"ROLE_{role.name}", tenant="tenants/demo")
        ),
        metadata=api.as_admin,
    )
    await api.admin.RevokeApiKey(
        admin.RevokeApiKeyRequest(name=created.api_key.name), metadata=api.as_admin
    )
    return bearer(created.secret)


async def code_without_message(api: Api, path: str, metadata: Any) -> grpc.StatusCode:
    """How a call is answered that has sent its metadata and nothing else."""
    call: Any = api.channel.stream_stream(path)(metadata=metadata)
    async with asyncio.timeout(5):
        return grpc.StatusCode(await call.code())


@pytest.mark.parametrize("state", ["missing", "wrong", "malformed", "revoked", "of another role"])
async def test_a_call_is_refused_before_its_message_has_come(api, state):
    """Each RPC, streams too: nothing of a message can cost anything if nothing of it is waited for."""
    wrong = bearer("dsk_" + "A" * 43)
    expected = grpc.StatusCode.UNAUTHENTICATED
    for method in METHODS:
        of_gateway = method.containing_service.name == "GatewayService"
        metadata = {"missing": (), "wrong": wrong, "malformed": bearer("x")}.get(state)
        if state == "revoked":
            metadata = await revoked(api, Role.GATEWAY if of_gateway else Role.ADMIN)
        if state == "of another role":
            metadata = await api.key(Role.ADMIN if of_gateway else Role.GATEWAY, "demo")
            expected = grpc.StatusCode.PERMISSION_DENIED
        path = f"/{method.containing_service.full_name}/{method.name}"
        assert await code_without_message(api, path, metadata) is expected, method.name


@pytest.mark.parametrize("name", ["CreateTenant", "ListTenants", "DeleteTenant"])
async def test_what_needs_a_key_for_all_tenants_is_refused_to_others_before_its_message(api, name):
    key = await api.key(Role.ADMIN, "demo")
    path = f"/deployment_service.v1.AdminService/{name}"
    assert await code_without_message(api, path, key) is grpc.StatusCode.PERMISSION_DENIED


def report_with_empty_parameters() -> bytes:
    """Many map entries in many reports."""
    report = b"\x6a\x00" * 1000
    return b"".join(b"\x0a\xd0\x0f" + report for _ in range(1001))


@pytest.mark.parametrize(
    ("method", "message"),
    [
        ("ReportBuilds", b"\x0a\x00" * 2**20),
        ("ReportBuilds", b"\x12\x00" * 2**20),
        ("ReportBuilds", report_with_empty_parameters()),
        ("ReportBuilds", b"\x18\x00" * 2**20),
        ("WatchDeployments", b"\x12\x00" * 2**20),
        ("WatchDeployments", b"\x12\x00" * 100_000),
        ("RunDeployment", b"\x12\x00" * 2**20),
        ("CreateDeployment", b"\x1a\x00" * 2**20),
    ],
)
async def test_a_message_of_ever_so_many_small_ones_is_refused_unread(api, method, message):
    """With a valid key: no more fields are looked at than any request may have."""
    role = Role.GATEWAY if method == "ReportBuilds" else Role.ADMIN
    found = next(one for one in METHODS if one.name == method)
    path = f"/{found.containing_service.full_name}/{method}"
    begun = time.process_time()
    call = api.channel.stream_stream(path)(iter([message]), metadata=await api.key(role))
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call.read()
    answer = refusal(caught.value)
    assert (answer.code, answer.reason) in {
        (grpc.StatusCode.INVALID_ARGUMENT, "REQUEST_TOO_LARGE"),
        (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD"),
    }
    assert time.process_time() - begun < 1.0


async def test_each_method_has_a_limit_of_its_own(api):
    key = await api.key(Role.VIEWER, "demo")
    for name, reason in (("x" * 2**16, "REQUEST_TOO_LARGE"), ("x" * 900, "INVALID_NAME")):
        async with refused() as refusals:
            await api.deployments.GetDeployment(pb.GetDeploymentRequest(name=name), metadata=key)
        assert refusals[0].reason == reason
    definitions = [
        pb.ParameterDefinition(
            name=f"P{n}", kind=pb.PARAMETER_KIND_STRING, default_value="x" * 4_500
        )
        for n in range(100)
    ]
    largest = pb.Deployment(name=WEB, parameter_definitions=definitions)
    await api.deployments.UpdateDeployment(
        pb.UpdateDeploymentRequest(deployment=largest), metadata=await api.key(Role.DEFINER, "demo")
    )


async def test_compressed_messages_are_refused(api):
    """A compressed message has a thousand times its size once it is received."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await api.deployments.GetDeployment(
            pb.GetDeploymentRequest(name=WEB),
            metadata=await api.key(Role.VIEWER, "demo"),
            compression=grpc.Compression.Gzip,
        )
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


async def test_calls_whose_message_never_comes_delay_no_other_tenant(api):
    """Bytes in flight are bounded for each tenant: its stalled calls wait for each other."""
    key, other = await api.key(Role.DEPLOYER, "demo"), await api.key(Role.VIEWER, "other")
    path = "/deployment_service.v1.DeploymentService/RunDeployment"
    stalled = [api.channel.stream_stream(path)(metadata=key) for _ in range(100)]
    for _ in range(20):
        await api.deployments.GetDeployment(
            pb.GetDeploymentRequest(name="tenants/other/deployments/web"),
            metadata=other,
            timeout=2,
        )
    own = api.deployments.GetDeployment(pb.GetDeploymentRequest(name=WEB), metadata=key)
    for call in stalled:
        call.cancel()
    await own


async def test_an_address_with_too_many_calls_is_refused_and_another_is_not(database_url):
    async with two_tenants(database_url, max_calls_per_address=10) as api:
        key = await api.key(Role.VIEWER, "demo")
        request = pb.WatchDeploymentsRequest(parent="tenants/demo")
        watches = [api.deployments.WatchDeployments(request, metadata=key) for _ in range(10)]
        for watch in watches:
            await watch.read()
        async with refused() as refusals:
            await api.deployments.GetDeployment(pb.GetDeploymentRequest(name=WEB), metadata=key)
        assert refusals[0].code is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert refusals[0].reason == "TOO_MANY_CALLS"
        assert refusals[0].details["RetryInfo"].retry_delay.seconds == 1
        async with relay_from("127.0.0.2", api.service.target) as target:
            async with grpc.aio.insecure_channel(target) as channel:
                stub: Any = DeploymentServiceStub(channel)
                await stub.GetDeployment(pb.GetDeploymentRequest(name=WEB), metadata=key)
        for watch in watches:
            watch.cancel()


async def test_health_and_reflection_are_bounded_too(api):
    health: Any = health_pb2_grpc.HealthStub(api.channel)
    reflection: Any = reflection_pb2_grpc.ServerReflectionStub(api.channel)
    async with refused() as refusals:
        await health.Check(health_pb2.HealthCheckRequest(service="x" * 2**20))
    assert refusals[0].reason == "REQUEST_TOO_LARGE"
    for large in (2**12, 2**20):
        call = reflection.ServerReflectionInfo(
            iter([reflection_pb2.ServerReflectionRequest(list_services="x" * large)])
        )
        async with refused() as refusals:
            await call.read()
        assert refusals[0].reason == "REQUEST_TOO_LARGE"
    open_calls = [health.Watch(health_pb2.HealthCheckRequest()) for _ in range(50)]
    for call in open_calls:
        await call.read()
    async with refused() as refusals:
        await health.Check(health_pb2.HealthCheckRequest())
    assert refusals[0].reason == "TOO_MANY_CALLS"
    async with refused() as refusals:
        await reflection.ServerReflectionInfo(
            iter([reflection_pb2.ServerReflectionRequest(list_services="")])
        ).read()
    assert refusals[0].reason == "TOO_MANY_CALLS"
    # A key's calls are counted apart.
    await api.deployments.GetDeployment(
        pb.GetDeploymentRequest(name=WEB), metadata=await api.key(Role.VIEWER, "demo")
    )
    for call in open_calls:
        call.cancel()


async def test_a_failed_key_is_refused_after_a_delay_that_valid_ones_do_not_have(database_url):
    async with two_tenants(database_url, failed_key_delay_s=0.5) as api:
        key = await api.key(Role.VIEWER, "demo")
        request = pb.GetDeploymentRequest(name=WEB)

        async def seconds(metadata: Any) -> float:
            begun = time.monotonic()
            with contextlib.suppress(grpc.aio.AioRpcError):
                await api.deployments.GetDeployment(request, metadata=metadata)
            return time.monotonic() - begun

        for metadata in ((), bearer("x"), bearer("dsk_" + secrets.token_urlsafe(32))):
            assert await seconds(metadata) >= 0.5
        assert await seconds(key) < 0.4


async def test_a_flood_of_failed_keys_is_bounded_and_leaves_valid_ones_their_turn(database_url):
    async with two_tenants(database_url, failed_key_delay_s=2) as api:
        key = await api.key(Role.VIEWER, "demo")
        request = pb.GetDeploymentRequest(name=WEB)
        await api.deployments.GetDeployment(request, metadata=key)
        reasons: list[str] = []

        async def fail() -> None:
            metadata = bearer("dsk_" + secrets.token_urlsafe(32))
            async with refused() as refusals:
                await api.deployments.GetDeployment(request, metadata=metadata)
            reasons.append(refusals[0].reason)

        flood = [asyncio.create_task(fail()) for _ in range(400)]
        await until(lambda: "TOO_MANY_FAILED_KEYS" in reasons)
        await api.deployments.GetDeployment(request, metadata=key, timeout=2)
        await asyncio.gather(*flood)
        assert set(reasons) == {"API_KEY_INVALID", "TOO_MANY_FAILED_KEYS"}
        assert reasons.count("API_KEY_INVALID") <= 2 * 200


async def test_the_newest_connections_of_an_address_beyond_its_limit_are_closed(database_url):
    async with two_tenants(database_url, max_connections_per_address=20) as api:
        key = await api.key(Role.VIEWER, "demo")
        host, _, port = api.service.target.rpartition(":")
        opened = [await asyncio.open_connection(host, int(port)) for _ in range(100)]
        readers = [asyncio.create_task(reader.read()) for reader, _ in opened]
        await until(lambda: sum(reader.done() for reader in readers) >= 80)
        request = pb.GetDeploymentRequest(name=WEB)
        # The oldest connection of the address, and one of another address.
        await api.deployments.GetDeployment(request, metadata=key)
        async with relay_from("127.0.0.3", api.service.target) as target:
            async with grpc.aio.insecure_channel(target) as channel:
                stub: Any = DeploymentServiceStub(channel)
                await stub.GetDeployment(request, metadata=key)
        for _, writer in opened:
            writer.close()
        await asyncio.gather(*readers, return_exceptions=True)


async def test_connections_are_limited_in_all(database_url):
    async with two_tenants(database_url, max_connections=30) as api:
        host, _, port = api.service.target.rpartition(":")
        opened = [
            await asyncio.open_connection(host, int(port), local_addr=(f"127.0.0.{n % 50 + 2}", 0))
            for n in range(60)
        ]
        readers = [asyncio.create_task(reader.read()) for reader, _ in opened]
        await until(lambda: sum(reader.done() for reader in readers) >= 30)
        for _, writer in opened:
            writer.close()
        await asyncio.gather(*readers, return_exceptions=True)


async def test_a_trusted_proxy_stands_for_many_clients(database_url):
    async with two_tenants(
        database_url, max_calls_per_address=2, trusted_proxies="127.0.0.0/8,10.0.0.0/8"
    ) as api:
        key = await api.key(Role.VIEWER, "demo")
        request = pb.WatchDeploymentsRequest(parent="tenants/demo")
        watches = [api.deployments.WatchDeployments(request, metadata=key) for _ in range(10)]
        for watch in watches:
            await watch.read()
        for watch in watches:
            watch.cancel()


def test_reports_of_one_batch_have_room() -> None:
    """The bound on fields is above what a sound batch has."""
    report = gateway.BuildReport(parameters={str(n): "x" * 20 for n in range(100)})
    request = gateway.ReportBuildsRequest(reports=[report] * 1000)
    assert decode(request.SerializeToString(), gateway.ReportBuildsRequest.FromString) == request
