"""The calls of ``AdminService``: tenants, their webhook keys, providers, API keys."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from typing import TYPE_CHECKING

from google.protobuf.field_mask_pb2 import FieldMask

from deployment_service.client.channel import Caller
from deployment_service.client.names import Names
from deployment_service.v1 import admin_service_pb2 as pb
from deployment_service.v1.admin_service_pb2_grpc import AdminServiceStub

if TYPE_CHECKING:
    # exists for type checkers only
    from deployment_service.v1.admin_service_pb2_grpc import AdminServiceAsyncStub


class AdminCalls:
    """Reached as ``DeploymentClient.admin``; needs a key with role admin."""

    def __init__(self, caller: Caller, names: Names) -> None:
        self._caller = caller
        self._names = names
        self._stub: AdminServiceAsyncStub = AdminServiceStub(caller.channel)

    async def create_tenant(
        self, tenant_id: str, *, display_name: str = "", request_id: str | None = None
    ) -> pb.Tenant:
        """Create a tenant."""
        request = pb.CreateTenantRequest(
            tenant_id=tenant_id,
            tenant=pb.Tenant(display_name=display_name),
            request_id=request_id or str(uuid.uuid4()),
        )
        return (await self._caller.call(self._stub.CreateTenant, request)).tenant

    async def get_tenant(self, tenant: str) -> pb.Tenant:
        """Return a tenant."""
        request = pb.GetTenantRequest(name=self._names.tenant(tenant))
        return (await self._caller.call(self._stub.GetTenant, request)).tenant

    async def list_tenants(
        self, *, page_size: int = 0, page_token: str = ""
    ) -> pb.ListTenantsResponse:
        """Return one page of tenants."""
        request = pb.ListTenantsRequest(page_size=page_size, page_token=page_token)
        return await self._caller.call(self._stub.ListTenants, request)

    async def delete_tenant(
        self, tenant: str, *, etag: str = "", request_id: str | None = None
    ) -> None:
        """Delete a tenant that has neither deployments nor providers."""
        request = pb.DeleteTenantRequest(
            name=self._names.tenant(tenant), etag=etag, request_id=request_id or str(uuid.uuid4())
        )
        await self._caller.call(self._stub.DeleteTenant, request)

    async def rotate_webhook_secret(
        self, tenant: str | None = None, *, request_id: str | None = None
    ) -> pb.RotateWebhookSecretResponse:
        """Add a key for webhooks and rewrite the endpoints that are ours; the old keys stay valid.

        A repeated call with the same ``request_id`` returns the progress of the rewriting.
        """
        request = pb.RotateWebhookSecretRequest(
            tenant=self._names.tenant(tenant), request_id=request_id or str(uuid.uuid4())
        )
        return await self._caller.call(self._stub.RotateWebhookSecret, request)

    async def retire_webhook_key(
        self,
        key_id: str,
        *,
        tenant: str | None = None,
        force: bool = False,
        request_id: str | None = None,
    ) -> pb.WebhookKeyInfo:
        """Retire a key for webhooks that no job uses any more (``force``: although one does)."""
        request = pb.RetireWebhookKeyRequest(
            tenant=self._names.tenant(tenant),
            key_id=key_id,
            force=force,
            request_id=request_id or str(uuid.uuid4()),
        )
        return (await self._caller.call(self._stub.RetireWebhookKey, request)).key

    async def create_provider(
        self,
        provider_id: str,
        provider: pb.Provider,
        *,
        tenant: str | None = None,
        request_id: str | None = None,
    ) -> pb.Provider:
        """Create a provider: a Jenkins and the account to use there.

        Raises FailedPrecondition (``PROVIDER_SETTINGS_WRONG``) if trying it out proves the settings wrong.
        """
        made = await self.create_checked_provider(
            provider_id, provider, tenant=tenant, request_id=request_id
        )
        return made.provider

    async def create_checked_provider(
        self,
        provider_id: str,
        provider: pb.Provider,
        *,
        tenant: str | None = None,
        request_id: str | None = None,
    ) -> pb.CreateProviderResponse:
        """Create a provider like ``create_provider``, and return the findings of its check too."""
        request = pb.CreateProviderRequest(
            parent=self._names.tenant(tenant),
            provider_id=provider_id,
            provider=provider,
            request_id=request_id or str(uuid.uuid4()),
        )
        return await self._caller.call(self._stub.CreateProvider, request)

    async def check_provider(
        self, provider: str, settings: pb.Provider | None = None
    ) -> pb.CheckProviderResponse:
        """Try out a provider, or the ``settings`` that it would have; stores and changes nothing.

        Takes up to ten seconds, and four fifths of the call's timeout.
        """
        request = pb.CheckProviderRequest(name=self._names.provider(provider), provider=settings)
        return await self._caller.call(self._stub.CheckProvider, request)

    async def get_provider(self, provider: str) -> pb.Provider:
        """Return a provider, without its credentials."""
        request = pb.GetProviderRequest(name=self._names.provider(provider))
        return (await self._caller.call(self._stub.GetProvider, request)).provider

    async def list_providers(
        self, *, tenant: str | None = None, page_size: int = 0, page_token: str = ""
    ) -> pb.ListProvidersResponse:
        """Return one page of a tenant's providers."""
        request = pb.ListProvidersRequest(
            parent=self._names.tenant(tenant), page_size=page_size, page_token=page_token
        )
        return await self._caller.call(self._stub.ListProviders, request)

    async def update_provider(
        self, provider: pb.Provider, *, fields: Iterable[str] = (), request_id: str | None = None
    ) -> pb.Provider:
        """Change the named ``fields`` of a provider; if none is named, those that are set in it.

        Name a field to empty it. ``fields=["*"]`` replaces all that can be changed.
        """
        request = pb.UpdateProviderRequest(
            provider=provider,
            update_mask=FieldMask(paths=list(fields)),
            request_id=request_id or str(uuid.uuid4()),
        )
        return (await self._caller.call(self._stub.UpdateProvider, request)).provider

    async def delete_provider(
        self, provider: str, *, etag: str = "", request_id: str | None = None
    ) -> None:
        """Delete a provider that nothing uses."""
        request = pb.DeleteProviderRequest(
            name=self._names.provider(provider),
            etag=etag,
            request_id=request_id or str(uuid.uuid4()),
        )
        await self._caller.call(self._stub.DeleteProvider, request)

    async def create_api_key(
        self,
        role: pb.Role,
        *,
        tenant: str = "",
        display_name: str = "",
        request_id: str | None = None,
    ) -> pb.CreateApiKeyResponse:
        """Create a key, for one tenant or (``tenant=""``) for all. Only this answer holds its secret.

        ``secret`` is empty if the call had to be repeated and the first answer, which held the secret, was lost. Then
        revoke the key of this answer and create another one.
        """
        key = pb.ApiKey(
            role=role,
            tenant=self._names.tenant(tenant) if tenant else "",
            display_name=display_name,
        )
        request = pb.CreateApiKeyRequest(api_key=key, request_id=request_id or str(uuid.uuid4()))
        return await self._caller.call(self._stub.CreateApiKey, request)

    async def list_api_keys(
        self, *, tenant: str = "", page_size: int = 0, page_token: str = ""
    ) -> pb.ListApiKeysResponse:
        """Return one page of keys, newest first, without their secrets."""
        request = pb.ListApiKeysRequest(
            tenant=self._names.tenant(tenant) if tenant else "",
            page_size=page_size,
            page_token=page_token,
        )
        return await self._caller.call(self._stub.ListApiKeys, request)

    async def revoke_api_key(self, name: str, *, request_id: str | None = None) -> pb.ApiKey:
        """Revoke a key: ``apiKeys/…``. Within seconds no replica accepts it."""
        full = name if name.startswith("apiKeys/") else f"apiKeys/{name}"
        request = pb.RevokeApiKeyRequest(name=full, request_id=request_id or str(uuid.uuid4()))
        return (await self._caller.call(self._stub.RevokeApiKey, request)).api_key
