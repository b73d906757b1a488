"""Finds the controller of a provider by its ids."""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable

from deployment_service.cicd.errors import ProviderUnreachable
from deployment_service.storage import providers
from deployment_service.storage.database.pool import Database
from deployment_service.workers.controllers.controllers import Controller, Controllers

FindController = Callable[[uuid.UUID, uuid.UUID], Awaitable[Controller]]
"""(tenant_id, provider_id) -> its controller."""


class ControllerFinder:
    """Reads the provider's row each time, so that a change takes effect at once."""

    def __init__(self, database: Database, controllers: Controllers) -> None:
        self._database = database
        self._controllers = controllers

    async def __call__(self, tenant_id: uuid.UUID, provider_id: uuid.UUID) -> Controller:
        """Return the controller of a provider. Raises ProviderUnreachable if there is no such provider."""
        async with self._database.acquire() as connection:
            provider = await providers.by_id(connection, tenant_id, provider_id)
        if provider is None:
            raise ProviderUnreachable("The provider was deleted.")
        return await self._controllers.get(provider)
