"""A sound request for each RPC, and all the nonsense that can be put into it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from google.protobuf import timestamp_pb2
from google.protobuf.descriptor import FieldDescriptor, MethodDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from deployment_service.api.validation import _IGNORED as OUTPUT_ONLY
from deployment_service.v1 import admin_service_pb2 as admin
from deployment_service.v1 import deployment_service_pb2 as deployments
from deployment_service.v1 import gateway_service_pb2 as gateway
from tests.support.api import request_id

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
    "BatchGetDeployments": lambda: deployments.BatchGetDeploymentsRequest(
        parent="tenants/demo", names=[WEB]
    ),
    "BatchGetRuns": lambda: deployments.BatchGetRunsRequest(
        parent="tenants/demo", names=[f"{WEB}/runs/1"]
    ),
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
    "CancelRun": lambda: deployments.CancelRunRequest(name=f"{WEB}/runs/1"),
    "ResolveRun": lambda: deployments.ResolveRunRequest(
        name=f"{WEB}/runs/1",
        status=deployments.DEPLOYMENT_STATUS_FAILED,
        reason="Seen.",
        request_id=request_id(),
    ),
    "ExplainRun": lambda: deployments.ExplainRunRequest(name=f"{WEB}/runs/1"),
    "GetRun": lambda: deployments.GetRunRequest(name=f"{WEB}/runs/1"),
    "ListRuns": lambda: deployments.ListRunsRequest(parent="tenants/demo/deployments/-"),
    "ListReports": lambda: deployments.ListReportsRequest(parent=WEB),
    "ListEvents": lambda: deployments.ListEventsRequest(parent=WEB),
    "WatchDeployments": lambda: deployments.WatchDeploymentsRequest(parent="tenants/demo"),
    "ReportBuilds": lambda: gateway.ReportBuildsRequest(reports=[REPORT]),
    "ListWebhookVerifiers": lambda: gateway.ListWebhookVerifiersRequest(),
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
    "CheckProvider": lambda: admin.CheckProviderRequest(
        name="tenants/demo/providers/new", provider=admin.Provider(base_url="http://new/")
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
    "RotateWebhookSecret": lambda: admin.RotateWebhookSecretRequest(
        tenant="tenants/demo", request_id=request_id()
    ),
    "RetireWebhookKey": lambda: admin.RetireWebhookKeyRequest(tenant="tenants/demo", key_id="k1"),
    "RevokeApiKey": lambda: admin.RevokeApiKeyRequest(name=f"apiKeys/{NIL}"),
}
EMPTY_IS_SOUND = {"ListWebhookVerifiers", "ListTenants", "ListApiKeys", "ReportBuilds"}

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
    "reason": ("", " ", "x" * 501),
    "on_behalf_of": ("x" * 201, "a\u202eb", "a\u200bb", "a\nb"),
}
# The same words mean something else here, or nothing at all.
NOT_HERE = {
    ("CreateTenant", "tenant.name"),
    ("CreateTenant", "tenant.etag"),
    ("CreateProvider", "provider.name"),
    ("CreateProvider", "provider.etag"),
    ("CheckProvider", "provider.name"),
    ("CheckProvider", "provider.etag"),
    ("CreateApiKey", "api_key.name"),
    ("CreateDeployment", "deployment.name"),
    ("CreateDeployment", "deployment.etag"),
    ("UpdateDeployment", "deployment.provider"),
    ("RunDeployment", "reason"),
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
        if field.name == "annotations":
            yield from (
                {"-": "x"},
                {"a b": "x"},
                {"a": "x" * 257},
                {f"k{n}": "" for n in range(17)},
            )
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
