"""Who may call what: one row per RPC. A test walks the contract and finds every RPC that has none."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from deployment_service.domain.access import Role
from deployment_service.domain.errors import InvalidArgument
from deployment_service.domain.names import DeploymentName, ProviderName, RunName, TenantName

Slug = str
Names = DeploymentName | ProviderName | RunName | TenantName


@dataclass(frozen=True, slots=True)
class OneTenant:
    """The request names one tenant; a key of that tenant or of all may call."""

    find: Callable[[Any], Slug]


@dataclass(frozen=True, slots=True)
class OptionalTenant:
    """As OneTenant, but the request may leave it out: then the action decides by the caller's scope."""

    find: Callable[[Any], Slug | None]


@dataclass(frozen=True, slots=True)
class ManyTenants:
    """The request names several tenants; the key must be valid for each of them."""

    find: Callable[[Any], Iterable[Slug]]


@dataclass(frozen=True, slots=True)
class AllTenants:
    """Only keys for all tenants."""


@dataclass(frozen=True, slots=True)
class OwnThings:
    """The request names no tenant's resource; the action reads only data of the caller's tenants."""


Scope = OneTenant | OptionalTenant | ManyTenants | AllTenants | OwnThings


@dataclass(frozen=True, slots=True)
class Policy:
    """The least role, how the request's tenant is found, and how large the request may be."""

    role: Role
    scope: Scope
    max_bytes: int = 64 * 2**10


def _named(kind: type[Names], path: str, **options: bool) -> OneTenant:
    """The tenant of the name in the field ``path``."""
    fields = path.split(".")

    def find(request: Any) -> Slug:
        value = request
        for field in fields:
            value = getattr(value, field)
        name: Names = kind.parse(value, field=path, **options)
        return name.tenant

    return OneTenant(find)


def _tenant_if_given(path: str) -> OptionalTenant:
    required = _named(TenantName, path)

    def find(request: Any) -> Slug | None:
        value = request
        for field in path.split("."):
            value = getattr(value, field)
        return required.find(request) if value else None

    return OptionalTenant(find)


def _reported_tenants(request: Any) -> Iterable[Slug]:
    """A report that names no tenant at all is answered by itself: it must not fail its neighbours."""
    for item in (*request.reports, *request.refresh_requests):
        try:
            yield TenantName.parse(item.tenant, field="tenant").tenant
        except InvalidArgument:
            continue


# Definitions, parameters and batches of reports; lists of names and certificates.
_LARGEST = 4 * 2**20
_MEDIUM = 512 * 2**10

_DEPLOYMENTS = "/deployment_service.v1.DeploymentService/"
_GATEWAY = "/deployment_service.v1.GatewayService/"
_ADMIN = "/deployment_service.v1.AdminService/"

POLICIES: dict[str, Policy] = {
    _DEPLOYMENTS + "CreateDeployment": Policy(Role.DEFINER, _named(TenantName, "parent"), _LARGEST),
    _DEPLOYMENTS + "GetDeployment": Policy(
        Role.VIEWER, _named(DeploymentName, "name", allow_deleted=True)
    ),
    _DEPLOYMENTS + "BatchGetDeployments": Policy(Role.VIEWER, _named(TenantName, "parent")),
    _DEPLOYMENTS + "BatchGetRuns": Policy(Role.VIEWER, _named(TenantName, "parent")),
    _DEPLOYMENTS + "ListDeployments": Policy(Role.VIEWER, _named(TenantName, "parent")),
    _DEPLOYMENTS + "UpdateDeployment": Policy(
        Role.DEFINER, _named(DeploymentName, "deployment.name"), _LARGEST
    ),
    _DEPLOYMENTS + "DeleteDeployment": Policy(Role.DEFINER, _named(DeploymentName, "name")),
    _DEPLOYMENTS + "RunDeployment": Policy(Role.DEPLOYER, _named(DeploymentName, "name"), _LARGEST),
    _DEPLOYMENTS + "GetRun": Policy(Role.VIEWER, _named(RunName, "name", allow_deleted=True)),
    _DEPLOYMENTS + "CancelRun": Policy(Role.DEPLOYER, _named(RunName, "name")),
    _DEPLOYMENTS + "ResolveRun": Policy(Role.ADMIN, _named(RunName, "name")),
    _DEPLOYMENTS + "ExplainRun": Policy(Role.VIEWER, _named(RunName, "name", allow_deleted=True)),
    _DEPLOYMENTS + "ListRuns": Policy(
        Role.VIEWER, _named(DeploymentName, "parent", allow_all=True, allow_deleted=True)
    ),
    _DEPLOYMENTS + "ListReports": Policy(
        Role.VIEWER, _named(DeploymentName, "parent", allow_all=True, allow_deleted=True)
    ),
    _DEPLOYMENTS + "ListEvents": Policy(
        Role.VIEWER, _named(DeploymentName, "parent", allow_all=True, allow_deleted=True)
    ),
    _DEPLOYMENTS + "WatchDeployments": Policy(Role.VIEWER, _named(TenantName, "parent"), _MEDIUM),
    _GATEWAY + "ReportBuilds": Policy(Role.GATEWAY, ManyTenants(_reported_tenants), _LARGEST),
    _GATEWAY + "ListWebhookVerifiers": Policy(Role.GATEWAY, OwnThings()),
    _ADMIN + "CreateTenant": Policy(Role.ADMIN, AllTenants()),
    _ADMIN + "GetTenant": Policy(Role.ADMIN, AllTenants()),
    _ADMIN + "ListTenants": Policy(Role.ADMIN, AllTenants()),
    _ADMIN + "UpdateTenant": Policy(Role.ADMIN, AllTenants()),
    _ADMIN + "DeleteTenant": Policy(Role.ADMIN, AllTenants()),
    _ADMIN + "RotateWebhookSecret": Policy(Role.ADMIN, _named(TenantName, "tenant")),
    _ADMIN + "RetireWebhookKey": Policy(Role.ADMIN, _named(TenantName, "tenant")),
    _ADMIN + "CreateProvider": Policy(Role.ADMIN, _named(TenantName, "parent"), _MEDIUM),
    _ADMIN + "CheckProvider": Policy(Role.ADMIN, _named(ProviderName, "name"), _MEDIUM),
    _ADMIN + "GetProvider": Policy(Role.ADMIN, _named(ProviderName, "name")),
    _ADMIN + "ListProviders": Policy(Role.ADMIN, _named(TenantName, "parent")),
    _ADMIN + "UpdateProvider": Policy(Role.ADMIN, _named(ProviderName, "provider.name"), _MEDIUM),
    _ADMIN + "DeleteProvider": Policy(Role.ADMIN, _named(ProviderName, "name")),
    _ADMIN + "CreateApiKey": Policy(Role.ADMIN, _tenant_if_given("api_key.tenant")),
    _ADMIN + "ListApiKeys": Policy(Role.ADMIN, _tenant_if_given("tenant")),
    _ADMIN + "RevokeApiKey": Policy(Role.ADMIN, OwnThings()),
}
