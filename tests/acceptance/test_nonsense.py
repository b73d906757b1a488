"""Every RPC given nonsense answers with a precise code and reason and changes nothing (P6, P7).

The RPCs and their fields are found by walking the contract, so that none is left out.
"""

from __future__ import annotations

from typing import Any

import asyncpg
import grpc
import pytest
import pytest_asyncio
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from deployment_service.domain.access import Role
from deployment_service.v1 import admin_service_pb2 as admin
from deployment_service.v1 import gateway_service_pb2 as gateway
from tests.support.api import Refusal, refusal, running_api, seed_deployment
from tests.support.nonsense import (
    EMPTY_IS_SOUND,
    MEGABYTE,
    METHODS,
    REPORT,
    SOUND,
    Nonsense,
    is_map,
    nonsense,
)


class Caller:
    """Calls RPCs by their descriptor with whatever bytes."""

    def __init__(self, api: Any) -> None:
        self.api = api

    async def __call__(
        self, method: MethodDescriptor, request: Message | bytes, metadata: Any
    ) -> Any:
        """The answer: a message or a Refusal."""
        path = f"/{method.containing_service.full_name}/{method.name}"
        data = request if isinstance(request, bytes) else request.SerializeToString()
        parse = GetMessageClass(method.output_type).FromString
        try:
            if method.name == "WatchDeployments":
                stream = self.api.channel.unary_stream(path, response_deserializer=parse)(
                    data, metadata=metadata, timeout=20
                )
                first = await stream.read()
                stream.cancel()
                return first
            return await self.api.channel.unary_unary(path, response_deserializer=parse)(
                data, metadata=metadata, timeout=20
            )
        except grpc.aio.AioRpcError as error:
            return refusal(error)


@pytest_asyncio.fixture
async def api(database_url):
    async with running_api(database_url) as running:
        for slug in ("demo", "other", "empty"):
            await running.admin.CreateTenant(
                admin.CreateTenantRequest(tenant_id=slug), metadata=running.as_admin
            )
        for slug in ("demo", "other"):
            await seed_deployment(running, slug)
        await running.admin.CreateProvider(
            admin.CreateProviderRequest(
                parent="tenants/demo",
                provider_id="idle",
                provider=admin.Provider(base_url="http://x/"),
            ),
            metadata=running.as_admin,
        )
        yield running


async def contents(database_url: str) -> dict[str, Any]:
    """What is in every table; but for the readers' leases of controllers, which come and go by themselves."""
    connection = await asyncpg.connect(database_url)
    try:
        tables = await connection.fetch(
            "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"
            " AND tablename NOT IN ('cicd_controllers', 'origin_shares')"
        )
        return {
            name: await connection.fetchval(
                f"SELECT array_agg(t::text ORDER BY t::text) FROM {name} AS t"
            )
            for (name,) in tables
        }
    finally:
        await connection.close()


def test_every_rpc_has_a_sound_request():
    assert {method.name for method in METHODS} == set(SOUND)


@pytest.mark.timeout(300)
async def test_nonsense_is_refused_precisely_and_changes_nothing(api, database_url):
    gateway_key, admin_key = await api.key(Role.GATEWAY), await api.key(Role.ADMIN)
    before = await contents(database_url)
    for method in METHODS:
        of_gateway = method.containing_service.name == "GatewayService"
        await check_nonsense(Caller(api), method, gateway_key if of_gateway else admin_key)
        assert await contents(database_url) == before, method.name


async def check_nonsense(call: Caller, method: MethodDescriptor, metadata: Any) -> None:
    sound = SOUND[method.name]()
    cases: list[Nonsense] = [("undecodable", b"\xff\xff\xff"), *nonsense(method.name, sound)]
    if method.name not in EMPTY_IS_SOUND:
        cases.append(("empty", b""))
    for which, request in cases:
        what = f"{method.name}: {which}"
        answer = await call(method, request, metadata)
        if method.name == "ReportBuilds" and not isinstance(answer, Refusal):
            # Each report is answered by itself.
            assert {r.verdict for r in answer.results} <= {gateway.REPORT_VERDICT_INVALID}, what
            continue
        assert isinstance(answer, Refusal), f"{what}: was accepted"
        assert answer.code in (grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.ABORTED), (
            f"{what}: {answer}"
        )
        if answer.code is grpc.StatusCode.ABORTED:
            assert answer.reason == "ETAG_MISMATCH", what
        else:
            assert answer.details["BadRequest"].field_violations[0].field, what
        assert len(answer.message) < 1000, what


def report_with(**fields: Any) -> gateway.BuildReport:
    report = gateway.BuildReport()
    report.CopyFrom(REPORT)
    for name, value in fields.items():
        if name == "parameters":
            report.parameters.update(value)
        else:
            setattr(report, name, value)
    return report


async def test_senseless_reports_are_answered_one_by_one_and_do_not_fail_their_neighbours(
    api, database_url
):
    metadata = await api.key(Role.GATEWAY)
    before = await contents(database_url)
    senseless = [
        gateway.BuildReport(),
        report_with(tenant="x"),
        report_with(tenant="tenants/DEMO"),
        report_with(cicd_job_id="x"),
        report_with(build_number=0),
        report_with(build_number=-1),
        report_with(status=MEGABYTE),
        report_with(status="a\0b"),
        report_with(phase=99),
        report_with(source=0),
        report_with(source=99),
        report_with(run_id="x"),
        report_with(job_path="\0"),
        report_with(parameters={"A": "\0"}),
        report_with(parameters={"A": MEGABYTE}),
    ]
    request = gateway.ReportBuildsRequest(
        reports=[REPORT, *senseless, REPORT],
        refresh_requests=[
            gateway.RefreshRequest(),
            gateway.RefreshRequest(tenant="tenants/demo", cicd_job_id="\0"),
        ],
    )
    answer = await api.gateway.ReportBuilds(request, metadata=metadata)
    verdicts = [result.verdict for result in answer.results]
    unknown_job = gateway.REPORT_VERDICT_NO_MAPPING
    assert verdicts == [
        unknown_job,
        *[gateway.REPORT_VERDICT_INVALID] * len(senseless),
        unknown_job,
    ]
    assert await contents(database_url) == before


async def test_another_tenants_name_is_refused_whether_it_exists_or_not(api, database_url):
    """P6: the answers don't tell which tenants there are."""
    gateway_key, admin_key = await api.key(Role.GATEWAY, "demo"), await api.key(Role.ADMIN, "demo")
    before = await contents(database_url)
    for method in METHODS:
        # They name no tenant; see test_api_auth and test_webhook_verifiers.
        if method.name in ("RevokeApiKey", "ListWebhookVerifiers"):
            continue
        of_gateway = method.containing_service.name == "GatewayService"
        answers = []
        for tenant in ("other", "nobody"):
            request = SOUND[method.name]()
            rename(request, "demo", tenant)
            answer = await Caller(api)(method, request, gateway_key if of_gateway else admin_key)
            assert isinstance(answer, Refusal), method.name
            assert (answer.code, answer.reason) == (
                grpc.StatusCode.PERMISSION_DENIED,
                "SCOPE_INSUFFICIENT",
            ), method.name
            answers.append(answer.message.replace(tenant, "…"))
        assert answers[0] == answers[1]
    assert await contents(database_url) == before


def rename(message: Message, old: str, new: str) -> None:
    for field, value in message.ListFields():
        if isinstance(value, str):
            setattr(message, field.name, value.replace(f"tenants/{old}", f"tenants/{new}"))
        elif isinstance(value, Message):
            rename(value, old, new)
        elif not isinstance(value, (int, bytes)) and not is_map(field):
            for index, item in enumerate(value):
                if isinstance(item, str):
                    value[index] = item.replace(f"tenants/{old}", f"tenants/{new}")
                elif isinstance(item, Message):
                    rename(item, old, new)


async def test_without_a_valid_key_nothing_is_said(api, database_url):
    before = await contents(database_url)
    for method in METHODS:
        for metadata, reason in (
            ((), "API_KEY_MISSING"),
            ((("authorization", "Bearer"),), "API_KEY_INVALID"),
            ((("authorization", "Bearer x"),), "API_KEY_INVALID"),
            ((("authorization", "Bearer dsk_" + "A" * 43),), "API_KEY_INVALID"),
            ((("authorization", "Basic dXNlcjpwYXNz"),), "API_KEY_INVALID"),
        ):
            for request in (b"", b"\xff", SOUND[method.name]()):
                answer = await Caller(api)(method, request, metadata)
                assert isinstance(answer, Refusal)
                assert (answer.code, answer.reason) == (grpc.StatusCode.UNAUTHENTICATED, reason)
    assert await contents(database_url) == before


async def test_a_message_larger_than_any_request_is_refused_in_the_same_form(api):
    # An unknown field: nothing but the size is wrong with it.
    huge = b"\xfa\x3f\x80\x80\xc0\x02" + b"x" * (5 * 2**20)
    gateway_key, admin_key = await api.key(Role.GATEWAY), await api.key(Role.ADMIN)
    for method in METHODS:
        of_gateway = method.containing_service.name == "GatewayService"
        answer = await Caller(api)(method, huge, gateway_key if of_gateway else admin_key)
        assert isinstance(answer, Refusal), method.name
        assert (answer.code, answer.reason) == (
            grpc.StatusCode.INVALID_ARGUMENT,
            "REQUEST_TOO_LARGE",
        )
