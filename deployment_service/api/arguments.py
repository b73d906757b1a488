"""What several requests of ``DeploymentService`` hold, read and checked."""

from __future__ import annotations

import uuid
from collections.abc import Iterable

from deployment_service.api import calls
from deployment_service.api.calls import Call
from deployment_service.domain.access import Role, TenantRef
from deployment_service.domain.errors import InvalidArgument, PermissionDenied, ServiceError
from deployment_service.domain.names import ALL, DeploymentName, ProviderName
from deployment_service.v1 import deployment_service_pb2 as pb


def deployment_or_all(parent: str) -> str:
    name = DeploymentName.parse(parent, field="parent", allow_all=True, allow_deleted=True)
    return name.deployment


def job_id(text: str, parent: DeploymentName) -> uuid.UUID | None:
    """The id of the requested job; None: the job of the deployment ``parent``."""
    if parent.deployment != ALL:
        if text:
            raise InvalidArgument("cicd_job_id", "is only for the parent 'tenants/…/deployments/-'")
        return None
    try:
        return uuid.UUID(text)
    except ValueError:
        raise InvalidArgument(
            "cicd_job_id", "must be the id of a CICD job, a UUID; or name a deployment in parent"
        ) from None


def may_see_webhooks(call: Call) -> bool:
    """The token in a webhook URL lets its holder report builds."""
    return call.caller.role.includes(Role.DEFINER)


def statuses(values: Iterable[pb.DeploymentStatus]) -> list[str]:
    return sorted(
        {pb.DeploymentStatus.Name(one).removeprefix("DEPLOYMENT_STATUS_") for one in values}
    )


def provider_id(text: str, tenant: TenantRef, field: str) -> str:
    """The id of a provider, given by its name; or by its id alone, for it can only be of the same tenant."""
    if text and "/" not in text:
        text = f"tenants/{tenant.slug}/providers/{text}"
    name = ProviderName.parse(text, field=field)
    if name.tenant != tenant.slug:
        raise InvalidArgument(
            field, f"must be a provider of tenants/{tenant.slug}", reason="WRONG_PARENT"
        )
    return name.provider


def foreign(field: str, tenant: TenantRef) -> ServiceError:
    """Return the error for a name of another tenant than the request's.

    A key of one tenant learns nothing of others; a key for all tenants named the wrong one.
    """
    call = calls.current_or_none()
    if call is not None and call.caller.tenant is None:
        return InvalidArgument(
            field, f"is not of the tenant 'tenants/{tenant.slug}'", reason="WRONG_PARENT"
        )
    return PermissionDenied(
        "SCOPE_INSUFFICIENT", f"{field}: only names of 'tenants/{tenant.slug}' are allowed."
    )
