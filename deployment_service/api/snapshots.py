"""What a watch begins with: the deployments as they are now. Implements ``watch.ports.SnapshotReader``."""

from __future__ import annotations

from deployment_service.api.deployment_messages import deployment_message
from deployment_service.domain.access import TenantRef
from deployment_service.domain.lists import View
from deployment_service.storage.database.pool import Database
from deployment_service.storage.deployments import deployments
from deployment_service.storage.deployments.deployments import DeploymentFilter
from deployment_service.watch.ports import Selection, SnapshotPage

_PAGE_SIZE = 200


class DeploymentSnapshots:
    """Reads pages of deployments. Without webhook URLs: all watchers of a tenant get the same."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def page(self, tenant: TenantRef, selection: Selection, after: str) -> SnapshotPage:
        """The page of deployments after an id, each read as it is now."""
        async with self._database.acquire() as connection:
            chunk = await deployments.page(
                connection,
                tenant.tenant_id,
                DeploymentFilter(slugs=selection.slugs, labels=dict(selection.labels)),
                after_resource_id=after,
                limit=_PAGE_SIZE,
                view=View.BASIC,
            )
        return SnapshotPage(
            [
                deployment_message(tenant, row, view=View.BASIC).SerializeToString()
                for row in chunk.rows
            ],
            chunk.rows[-1].resource_id if chunk.more else "",
        )
