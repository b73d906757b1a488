"""Create the tenant, key and provider of a stack in its database. Every step may be repeated."""

from __future__ import annotations

from deployment_service.client import DeploymentClient
from deployment_service.client.errors import NotFound
from deployment_service.v1 import admin_service_pb2 as pb
from devstack.options import RealJenkins


class Seed:
    """Makes tenant, key and provider through the API, as an operator would. ``title`` marks this stack's keys."""

    def __init__(self, client: DeploymentClient, tenant: str, provider: str, title: str) -> None:
        self._client = client
        self._tenant = tenant
        self._provider = provider
        self._title = title

    async def tenant_exists(self) -> None:
        """Create the tenant if it isn't there."""
        try:
            await self._client.admin.get_tenant(self._tenant)
        except NotFound:
            await self._client.admin.create_tenant(self._tenant, display_name="Development")

    async def gateway_key(self) -> str:
        """A new key for the gateway."""
        made = await self._client.admin.create_api_key(pb.ROLE_GATEWAY, display_name=self._title)
        return made.secret

    async def revoke_keys(self) -> None:
        """Revoke this stack's keys, the one that we call with last."""
        page = await self._client.admin.list_api_keys(page_size=500)
        for key in page.api_keys:  # newest first: the gateway's, then ours
            if key.display_name == self._title:
                await self._client.admin.revoke_api_key(key.name)

    async def provider_is(self, jenkins: RealJenkins, webhook_base_url: str) -> None:
        """Create the provider, or point the one that is there at this Jenkins."""
        name = self._client.names.provider(self._provider)
        provider = pb.Provider(
            name=name,
            display_name="Development",
            base_url=jenkins.url,
            username=jenkins.user,
            api_token=jenkins.token,
            webhook_base_url=webhook_base_url,
            # Only the person who started this Jenkins can read its consoles.
            private_console=True,
        )
        fields = ("base_url", "username", "api_token", "webhook_base_url", "private_console")
        try:
            await self._client.admin.get_provider(self._provider)
        except NotFound:
            await self._client.admin.create_provider(self._provider, provider)
        else:
            await self._client.admin.update_provider(provider, fields=fields)
