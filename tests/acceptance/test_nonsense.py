"""Every RPC given nonsense answers with a precise code and reason and changes nothing (P6, P7).

The RPCs and their fields are found by walking the contract, so that none is left out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import asyncpg
import grpc
import pytest
import pytest_asyncio
from google.protobuf import timestamp_pb2
from google.protobuf.descriptor import FieldDescriptor, MethodDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from deployment_service.api.validation import _IGNORED as OUTPUT_ONLY
from deployment_service.domain.access import Role
from deployment_service.v1 import admin_service_pb2 as admin
from deployment_service.v1 import deployment_service_pb2 as deployments
from deployment_service.v1 import gateway_service_pb2 as gateway
from tests.support.api import Refusal, refusal, request_id, running_api, seed_deployment

METHODS: list[MethodDescriptor] = [
    method
    for module in (deployments, gateway, admin)
    for service in module.DESCRIPTOR.services_by_name.values()
    for method in service.methods
]
NIL = "00000000-0000-4000-8000-000000000000"
WEB = "tenants/demo/deployments/web"
JOB = deployments.DeploymentJob(freestyle_shell="true", full_name="shop/new")
REPORT = gateway.BuildReport(
    tenant="tenants/demo",
    cicd_job_id=NIL,
    build_number=1,
    status="SUCCESS",
    source=gateway.REPORT_SOURCE_GUIDE,
)

# A request that would be fine, for each RPC: the nonsense is put into it.
SOUND: dict[str, Callable[[], Message]] = {
    "CreateDeployment": lambda: deployments.CreateDeploymentRequest(
        parent="tenants/demo",
        deployment_id="new",
        deployment=deployments.Deployment(provider="tenants/demo/providers/main", job=JOB),
        request_id=request_id(),
    ),
    "GetDeployment": lambda: deployments.GetDeploymentRequest(name=WEB),
    "ListDeployments": lambda: deployments.ListDeploymentsRequest(
        parent="tenants/demo", provider="tenants/demo/providers/main"
    ),
    "UpdateDeployment": lambda: deployments.UpdateDeploymentRequest(
        deployment=deployments.Deployment(name=WEB, display_name="New"), request_id=request_id()
    ),
    "DeleteDeployment": lambda: deployments.DeleteDeploymentRequest(
        name=WEB, request_id=request_id()
    ),
    "RunDeployment": lambda: deployments.RunDeploymentRequest(name=WEB, request_id=request_id()),
    "GetRun": lambda: deployments.GetRunRequest(name=f"{WEB}/runs/1"),
    "ListRuns": lambda: deployments.ListRunsRequest(parent="tenants/demo/deployments/-"),
    "ListEvents": lambda: deployments.ListEventsRequest(parent=WEB),
    "WatchDeployments": lambda: deployments.WatchDeploymentsRequest(parent="tenants/demo"),
    "ReportBuilds": lambda: gateway.ReportBuildsRequest(reports=[REPORT]),
    "GetWebhookKeys": lambda: gateway.GetWebhookKeysRequest(tenant="tenants/demo"),
    "CreateTenant": lambda: admin.CreateTenantRequest(
        tenant_id="new", tenant=admin.Tenant(display_name="New"), request_id=request_id()
    ),
    "GetTenant": lambda: admin.GetTenantRequest(name="tenants/demo"),
    "ListTenants": lambda: admin.ListTenantsRequest(),
    "UpdateTenant": lambda: admin.UpdateTenantRequest(
        tenant=admin.Tenant(name="tenants/demo", display_name="New"), request_id=request_id()
    ),
    "DeleteTenant": lambda: admin.DeleteTenantRequest(name="tenants/empty"),
    "CreateProvider": lambda: admin.CreateProviderRequest(
        parent="tenants/demo",
        provider_id="new",
        provider=admin.Provider(base_url="http://new/"),
        request_id=request_id(),
    ),
    "GetProvider": lambda: admin.GetProviderRequest(name="tenants/demo/providers/main"),
    "ListProviders": lambda: admin.ListProvidersRequest(parent="tenants/demo"),
    "UpdateProvider": lambda: admin.UpdateProviderRequest(
        provider=admin.Provider(name="tenants/demo/providers/main", base_url="http://new/"),
        request_id=request_id(),
    ),
    "DeleteProvider": lambda: admin.DeleteProviderRequest(name="tenants/demo/providers/idle"),
    "CreateApiKey": lambda: admin.CreateApiKeyRequest(
        api_key=admin.ApiKey(role=admin.ROLE_VIEWER, tenant="tenants/demo")
    ),
    "ListApiKeys": lambda: admin.ListApiKeysRequest(tenant="tenants/demo"),
    "RevokeApiKey": lambda: admin.RevokeApiKeyRequest(name=f"apiKeys/{NIL}"),
}
EMPTY_IS_SOUND = {"ListTenants", "ListApiKeys", "ReportBuilds"}

MEGABYTE = "x" * 2**20
ANY_TEXT = (MEGABYTE, "a\0b", "\x1b[31m")
WRONG_NAMES = (
    "",
    "-",
    "/",
    "tenants/",
    "tenants/DEMO",
    "tenants/demo/x/y",
    "tenants/d%00",
    "💥",
    "../..",
)
# Fields that only certain texts fit.
PARTICULAR = {
    "name": WRONG_NAMES,
    "parent": WRONG_NAMES,
    "provider": WRONG_NAMES[1:],
    "tenant": WRONG_NAMES[1:],
    "tenant_id": ("", "A", "-", "a" * 64, "💥"),
    "provider_id": ("", "A", "-", "a" * 64, "💥"),
    "deployment_id": ("", "A", "-", "a" * 64, "💥"),
    "request_id": ("x", NIL + "0", "{" + NIL + "}", NIL.replace("-", "")),
    "page_token": ("x", "AAAA", "💥", "A" * 900),
    "resume_token": ("x", "AAAA", "💥", "A" * 900),
    "etag": ("x", "💥", "abc-1"),
    "base_url": ("", "x", "ftp://x/", "http://", "http://u:p@x/", "http://x/?a"),
    "webhook_base_url": ("x", "ftp://x/", "http://u:p@x/"),
    "ca_certificate_pem": ("x", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"),
    "job_folder": ("a//b", "..", "a/../b"),
    "username": ("a:b",),
}
# The same words mean something else here, or nothing at all.
NOT_HERE = {
    ("CreateTenant", "tenant.name"),
    ("CreateTenant", "tenant.etag"),
    ("CreateProvider", "provider.name"),
    ("CreateProvider", "provider.etag"),
    ("CreateApiKey", "api_key.name"),
    ("CreateDeployment", "deployment.name"),
    ("CreateDeployment", "deployment.etag"),
    ("UpdateDeployment", "deployment.provider"),
}

Nonsense = tuple[str, Message | bytes]


def is_map(field: FieldDescriptor) -> bool:
    return field.message_type is not None and field.message_type.GetOptions().map_entry


def nonsense(method: str, request: Message) -> Iterator[Nonsense]:
    """The sound request, each time with one piece of nonsense in it."""
    for path, field in fields_of(type(request).DESCRIPTOR.fields, ()):
        where = ".".join(path)
        for value in values_for(method, where, field, request, path):
            copy = type(request)()
            copy.CopyFrom(request)
            put(copy, path, field, value)
            yield f"{where} = {str(value)[:40]!r}", copy


def fields_of(
    fields: Any, path: tuple[str, ...]
) -> Iterator[tuple[tuple[str, ...], FieldDescriptor]]:
    for field in fields:
        if f"{field.containing_type.name}.{field.name}" in OUTPUT_ONLY:
            continue
        yield (*path, field.name), field
        inner: Any = field.message_type
        single = inner is not None and not is_map(field) and not is_repeated(field)
        if single and len(path) < 4 and inner.file.package == "deployment_service.v1":
            yield from fields_of(inner.fields, (*path, field.name))


def is_repeated(field: Any) -> bool:
    return not isinstance(
        getattr(GetMessageClass(field.containing_type)(), field.name),
        (str, bytes, int, float, Message),
    )


def values_for(
    method: str, where: str, field: Any, request: Message, path: tuple[str, ...]
) -> Iterator[Any]:
    if is_map(field):
        yield from ({str(n): "" for n in range(1200)}, {"A": MEGABYTE}, {"a\0": "x"}, {"A": "\0"})
        if field.name == "parameters" and field.containing_type.name != "BuildReport":
            yield from ({"not a name": "x"}, {"DEPLOYMENT_RUN_ID": "x"})
    elif is_repeated(field):
        yield from repeated_values(field)
    elif field.type == field.TYPE_STRING:
        yield from ANY_TEXT if field.name not in SEVERAL_LINES else ANY_TEXT[:2]
        if (method, where) not in NOT_HERE:
            yield from PARTICULAR.get(field.name, ())
    elif field.type == field.TYPE_ENUM:
        yield from (99, -1)
    elif field.name == "page_size":
        yield from (-1, -(2**31))
    elif field.message_type is timestamp_pb2.Timestamp.DESCRIPTOR:
        yield timestamp_pb2.Timestamp(seconds=2**62)
    elif field.name == "update_mask":
        yield from (mask("uid"), mask("\0"), mask("no.such.field"), mask(MEGABYTE))


SEVERAL_LINES = {"pipeline_script", "freestyle_shell", "config_xml", "ca_certificate_pem"}


def repeated_values(field: FieldDescriptor) -> Iterator[Any]:
    if field.type == field.TYPE_STRING:
        yield from ([MEGABYTE], ["a\0b"], ["x"] * 2000)
        if field.name == "names":
            yield from ([name] for name in WRONG_NAMES)
    elif field.type == field.TYPE_ENUM:
        yield from ([99], [0], [1] * 2000)
    else:
        assert field.message_type is not None
        yield [GetMessageClass(field.message_type)()] * 2000


def mask(path: str) -> Any:
    request = admin.UpdateTenantRequest()
    request.update_mask.paths.append(path)
    return request.update_mask


def put(message: Any, path: tuple[str, ...], field: FieldDescriptor, value: Any) -> None:
    for name in path[:-1]:
        message = getattr(message, name)
    if is_map(field):
        getattr(message, path[-1]).update(value)
    elif isinstance(value, Message):
        getattr(message, path[-1]).CopyFrom(value)
    elif isinstance(value, list):
        del getattr(message, path[-1])[:]
        getattr(message, path[-1]).extend(value)
    else:
        setattr(message, path[-1], value)


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
            "SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename <> 'cicd_controllers'"
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
        pokes=[gateway.JobPoke(), gateway.JobPoke(tenant="tenants/demo", cicd_job_id="\0")],
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
        if method.name == "RevokeApiKey":  # names no tenant; see test_api_auth
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
            for item in value:
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
