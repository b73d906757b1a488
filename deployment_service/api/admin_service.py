"""AdminService: translates between messages and actions."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable

from deployment_service.actions import api_keys, providers, rotate_webhook_keys, tenants
from deployment_service.actions.check_provider import CHECK_LIMIT_S, ProviderChecker
from deployment_service.actions.egress import AllowedOrigins
from deployment_service.actions.provider_settings import CHANGEABLE, EgressRule
from deployment_service.actions.webhook_keys import WebhookKeys
from deployment_service.api import admin_messages as messages
from deployment_service.api import calls
from deployment_service.api.calls import Call
from deployment_service.api.conversions import paths
from deployment_service.api.interceptors import Context
from deployment_service.domain.definition import check_display_name
from deployment_service.domain.errors import InvalidArgument
from deployment_service.domain.names import ProviderName, TenantName
from deployment_service.runtime.secret_box import SecretBox
from deployment_service.storage.database.pool import Database
from deployment_service.storage.providers import Provider
from deployment_service.v1 import admin_service_pb2 as pb
from deployment_service.v1 import admin_service_pb2_grpc as pb_grpc

_API_KEY_NAME = re.compile(
    r"apiKeys/([0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})", re.ASCII
)


class AdminService(pb_grpc.AdminServiceServicer):
    """Serves operators. ``policy.py`` has the permissions."""

    def __init__(
        self,
        database: Database,
        box: SecretBox,
        allowed_origins: AllowedOrigins,
        provider_checker: ProviderChecker,
        *,
        locale: str = "en",
        wake_provisioner: Callable[[], None] = lambda: None,
    ) -> None:
        self._database = database
        self._locale = locale
        self._wake_provisioner = wake_provisioner
        self._box = box
        self._allowed_origins = allowed_origins
        self._provider_checker = provider_checker
        self._webhook_keys = WebhookKeys(box)

    def _trial(self, call: Call) -> providers.Trial:
        egress = EgressRule(self._allowed_origins, call.caller.tenant is None)
        return providers.Trial(
            self._provider_checker, self._box, egress, lambda: call.remaining_s(CHECK_LIMIT_S)
        )

    async def CreateTenant(
        self, request: pb.CreateTenantRequest, context: Context
    ) -> pb.CreateTenantResponse:
        tenant = await tenants.create_tenant(
            self._database,
            self._webhook_keys,
            tenant_id=request.tenant_id,
            display_name=request.tenant.display_name,
            key=calls.current().request_key(request),
        )
        return pb.CreateTenantResponse(tenant=messages.tenant_message(tenant))

    async def GetTenant(
        self, request: pb.GetTenantRequest, context: Context
    ) -> pb.GetTenantResponse:
        name = TenantName.parse(request.name, field="name")
        tenant = await tenants.get_tenant(self._database, name)
        return pb.GetTenantResponse(tenant=messages.tenant_message(tenant))

    async def ListTenants(
        self, request: pb.ListTenantsRequest, context: Context
    ) -> pb.ListTenantsResponse:
        page = await tenants.list_tenants(
            self._database, page_size=request.page_size, page_token=request.page_token
        )
        return pb.ListTenantsResponse(
            tenants=map(messages.tenant_message, page.rows), next_page_token=page.next_token
        )

    async def UpdateTenant(
        self, request: pb.UpdateTenantRequest, context: Context
    ) -> pb.UpdateTenantResponse:
        name = TenantName.parse(request.tenant.name, field="tenant.name")
        paths(request.update_mask, request.tenant, {"display_name"})
        tenant = await tenants.update_tenant(
            self._database,
            name,
            display_name=request.tenant.display_name,
            etag=request.tenant.etag,
            key=calls.current().request_key(request),
        )
        return pb.UpdateTenantResponse(tenant=messages.tenant_message(tenant))

    async def DeleteTenant(
        self, request: pb.DeleteTenantRequest, context: Context
    ) -> pb.DeleteTenantResponse:
        name = TenantName.parse(request.name, field="name")
        await tenants.delete_tenant(
            self._database,
            name,
            etag=request.etag,
            key=calls.current().request_key(request),
        )
        return pb.DeleteTenantResponse()

    async def RotateWebhookSecret(
        self, request: pb.RotateWebhookSecretRequest, context: Context
    ) -> pb.RotateWebhookSecretResponse:
        call = calls.current()
        rotation = await rotate_webhook_keys.rotate(
            self._database,
            self._webhook_keys,
            call.tenant,
            locale=self._locale,
            key=call.request_key(request),
        )
        self._wake_provisioner()
        return messages.rotation_message(rotation, call.tenant.slug)

    async def RetireWebhookKey(
        self, request: pb.RetireWebhookKeyRequest, context: Context
    ) -> pb.RetireWebhookKeyResponse:
        call = calls.current()
        key = await rotate_webhook_keys.retire(
            self._database,
            call.tenant,
            request.key_id,
            force=request.force,
            key=call.request_key(request),
        )
        return pb.RetireWebhookKeyResponse(key=messages.key_message(key))

    async def CreateProvider(
        self, request: pb.CreateProviderRequest, context: Context
    ) -> pb.CreateProviderResponse:
        call = calls.current()
        stored = await providers.create_provider(
            self._database,
            call.tenant,
            provider_id=request.provider_id,
            given=messages.provider_input(request.provider),
            trial=self._trial(call),
            key=call.request_key(request),
        )
        return pb.CreateProviderResponse(
            provider=_provider_message(call, stored.provider),
            findings=map(messages.finding_message, stored.check.findings),
        )

    async def CheckProvider(
        self, request: pb.CheckProviderRequest, context: Context
    ) -> pb.CheckProviderResponse:
        call = calls.current()
        given = messages.provider_input(request.provider) if request.HasField("provider") else None
        check = await providers.check_provider(
            self._database,
            call.tenant,
            ProviderName.parse(request.name, field="name").provider,
            given=given,
            trial=self._trial(call),
        )
        return pb.CheckProviderResponse(
            findings=map(messages.finding_message, check.findings),
            jenkins_version=check.version,
            account=check.account,
        )

    async def GetProvider(
        self, request: pb.GetProviderRequest, context: Context
    ) -> pb.GetProviderResponse:
        call = calls.current()
        slug = ProviderName.parse(request.name, field="name").provider
        provider = await providers.get_provider(self._database, call.tenant, slug)
        return pb.GetProviderResponse(provider=_provider_message(call, provider))

    async def ListProviders(
        self, request: pb.ListProvidersRequest, context: Context
    ) -> pb.ListProvidersResponse:
        call = calls.current()
        page = await providers.list_providers(
            self._database, call.tenant, page_size=request.page_size, page_token=request.page_token
        )
        return pb.ListProvidersResponse(
            providers=[_provider_message(call, row) for row in page.rows],
            next_page_token=page.next_token,
        )

    async def UpdateProvider(
        self, request: pb.UpdateProviderRequest, context: Context
    ) -> pb.UpdateProviderResponse:
        call = calls.current()
        stored = await providers.update_provider(
            self._database,
            call.tenant,
            ProviderName.parse(request.provider.name, field="provider.name").provider,
            given=messages.provider_input(request.provider),
            paths=paths(request.update_mask, request.provider, CHANGEABLE),
            etag=request.provider.etag,
            trial=self._trial(call),
            key=call.request_key(request),
        )
        return pb.UpdateProviderResponse(
            provider=_provider_message(call, stored.provider),
            findings=map(messages.finding_message, stored.check.findings),
        )

    async def DeleteProvider(
        self, request: pb.DeleteProviderRequest, context: Context
    ) -> pb.DeleteProviderResponse:
        slug = ProviderName.parse(request.name, field="name").provider
        call = calls.current()
        await providers.delete_provider(
            self._database, call.tenant, slug, etag=request.etag, key=call.request_key(request)
        )
        return pb.DeleteProviderResponse()

    async def CreateApiKey(
        self, request: pb.CreateApiKeyRequest, context: Context
    ) -> pb.CreateApiKeyResponse:
        call = calls.current()
        api_keys.check_may_create(call.caller, call.tenant_ref)
        key, secret = await api_keys.create_api_key(
            self._database,
            role=messages.role(request.api_key),
            tenant=call.tenant_ref,
            display_name=check_display_name(
                request.api_key.display_name, field="api_key.display_name"
            ),
            request=call.request_key(request),
        )
        return pb.CreateApiKeyResponse(api_key=messages.api_key_message(key), secret=secret)

    async def ListApiKeys(
        self, request: pb.ListApiKeysRequest, context: Context
    ) -> pb.ListApiKeysResponse:
        call = calls.current()
        tenant = call.tenant_ref or call.caller.tenant
        page = await api_keys.list_api_keys(
            self._database,
            of_tenant=tenant.tenant_id if tenant else None,
            page_size=request.page_size,
            page_token=request.page_token,
        )
        return pb.ListApiKeysResponse(
            api_keys=map(messages.api_key_message, page.rows), next_page_token=page.next_token
        )

    async def RevokeApiKey(
        self, request: pb.RevokeApiKeyRequest, context: Context
    ) -> pb.RevokeApiKeyResponse:
        match = _API_KEY_NAME.fullmatch(request.name)
        if match is None:
            raise InvalidArgument(
                "name",
                "is not a valid name; expected one like 'apiKeys/0b9d3f6e-…'",
                reason="INVALID_NAME",
            )
        call = calls.current()
        key = await api_keys.revoke_api_key(
            self._database, call.caller, uuid.UUID(match[1]), request=call.request_key(request)
        )
        return pb.RevokeApiKeyResponse(api_key=messages.api_key_message(key))


def _provider_message(call: Call, provider: Provider) -> pb.Provider:
    return messages.provider_message(provider, call.tenant.slug, in_full=call.sees_network)
