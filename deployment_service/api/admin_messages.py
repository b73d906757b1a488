"""Tenants, providers and API keys as messages."""

from __future__ import annotations

from deployment_service.actions.provider_settings import ProviderInput
from deployment_service.actions.rotate_webhook_keys import Rotation
from deployment_service.api.conversions import timestamp
from deployment_service.api.problem_messages import optional_problem
from deployment_service.domain.access import Role
from deployment_service.domain.errors import InvalidArgument
from deployment_service.domain.etags import etag
from deployment_service.domain.findings import Finding
from deployment_service.domain.names import ProviderName, TenantName
from deployment_service.storage.api_keys import ApiKey
from deployment_service.storage.providers import Provider
from deployment_service.storage.tenants import Tenant
from deployment_service.storage.webhook_keys import KeyUse
from deployment_service.v1 import admin_service_pb2 as pb


def tenant_message(tenant: Tenant) -> pb.Tenant:
    """A tenant."""
    return pb.Tenant(
        name=str(TenantName(tenant.slug)),
        uid=str(tenant.tenant_id),
        display_name=tenant.display_name,
        create_time=timestamp(tenant.create_time),
        update_time=timestamp(tenant.update_time),
        etag=etag(tenant.tenant_id, tenant.version),
    )


def rotation_message(rotation: Rotation, tenant: str) -> pb.RotateWebhookSecretResponse:
    """A rotation, with the secrets that people must put where we can't."""
    return pb.RotateWebhookSecretResponse(
        key_id=rotation.key_id,
        rewriting_jobs=rotation.rewriting,
        other_jobs=[
            pb.WebhookJob(
                provider=str(ProviderName(tenant, job.provider_slug)),
                job=job.full_name,
                webhook_url=webhook.url if job.webhook_base_url else "",
                signing_secret=webhook.signing_secret if job.signs else "",
            )
            for job, webhook in rotation.others
        ],
        keys=[key_message(one) for one in rotation.keys],
    )


def key_message(use: KeyUse) -> pb.WebhookKeyInfo:
    """A webhook key, without its secret."""
    return pb.WebhookKeyInfo(
        key_id=use.key_id,
        create_time=timestamp(use.create_time),
        retire_time=timestamp(use.retire_time),
        last_seen_time=timestamp(use.last_seen),
        jobs_in_use=use.jobs_in_use,
    )


def provider_message(provider: Provider, tenant: str, *, in_full: bool) -> pb.Provider:
    """A provider, without its token. ``in_full``: with details of the network, for operators."""
    return pb.Provider(
        name=str(ProviderName(tenant, provider.slug)),
        uid=str(provider.provider_id),
        display_name=provider.display_name,
        base_url=provider.base_url,
        username=provider.username,
        reporting=f"REPORTING_{provider.reporting}",
        webhook_base_url=provider.webhook_base_url,
        ca_certificate_pem=provider.ca_certificate_pem,
        job_folder=provider.job_folder,
        allowed_folders=provider.allowed_folders,
        allowed_job_kinds=[f"JOB_KIND_{kind}" for kind in provider.allowed_job_kinds],
        private_console=provider.private_console,
        create_time=timestamp(provider.create_time),
        update_time=timestamp(provider.update_time),
        etag=etag(provider.provider_id, provider.version),
        observation_problem=optional_problem(provider.problem, in_full=in_full),
    )


def provider_input(message: pb.Provider) -> ProviderInput:
    """What a caller sets."""
    reporting = message.reporting or pb.REPORTING_AUTO
    return ProviderInput(
        base_url=message.base_url,
        display_name=message.display_name,
        username=message.username,
        api_token=message.api_token,
        reporting=pb.Reporting.Name(reporting).removeprefix("REPORTING_"),
        webhook_base_url=message.webhook_base_url,
        ca_certificate_pem=message.ca_certificate_pem,
        job_folder=message.job_folder,
        allowed_folders=tuple(message.allowed_folders),
        allowed_job_kinds=tuple(
            pb.JobKind.Name(kind).removeprefix("JOB_KIND_") for kind in message.allowed_job_kinds
        ),
        private_console=message.private_console,
    )


def finding_message(finding: Finding) -> pb.ProviderFinding:
    """What a check found."""
    return pb.ProviderFinding(
        kind=f"KIND_{finding.kind}",
        severity=f"SEVERITY_{finding.severity}",
        message=finding.message,
        field=finding.field,
        settings_wrong=finding.settings_wrong,
    )


def api_key_message(key: ApiKey) -> pb.ApiKey:
    """An API key, without its secret."""
    return pb.ApiKey(
        name=f"apiKeys/{key.key_id}",
        display_name=key.display_name,
        role=f"ROLE_{key.role}",
        tenant=str(TenantName(key.tenant.slug)) if key.tenant else "",
        create_time=timestamp(key.create_time),
        revoke_time=timestamp(key.revoke_time),
    )


def role(message: pb.ApiKey) -> Role:
    """The role that a key is to have."""
    if not message.role:
        raise InvalidArgument("api_key.role", "is required", reason="REQUIRED_FIELD")
    return Role(pb.Role.Name(message.role).removeprefix("ROLE_"))
