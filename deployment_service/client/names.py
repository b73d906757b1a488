"""Short names: with a default tenant ``web`` means ``tenants/demo/deployments/web``."""

from __future__ import annotations

from collections.abc import Sequence

from deployment_service.client.errors import InvalidArgument


class Names:
    """Completes short names. ``tenant`` is an id or a full name; without it only full names are taken."""

    def __init__(self, tenant: str | None) -> None:
        self._tenant = (tenant or "").removeprefix("tenants/")

    @property
    def parent(self) -> str:
        """The tenant's full name."""
        if not self._tenant:
            raise InvalidArgument(
                "No tenant is given: set one on the client, or use full names (tenants/…)."
            )
        return f"tenants/{self._tenant}"

    def tenant(self, name: str | None) -> str:
        """The full name of a tenant, of the default one if ``name`` is empty."""
        if not name:
            return self.parent
        return name if name.startswith("tenants/") else f"tenants/{name}"

    def provider(self, name: str, *, tenant: str | None = None) -> str:
        """The full name of a provider, of the default tenant if none is given."""
        return self._complete(name, "providers", tenant)

    def deployment(self, name: str) -> str:
        """Return the full name of a deployment; ``-`` means all."""
        return self._complete(name, "deployments")

    def parent_of(self, full_names: Sequence[str]) -> str:
        """The full name of the tenant that these are of: the first one's. Without any, the default one."""
        if not full_names:
            return self.parent
        return "/".join(full_names[0].split("/")[:2])

    def run(self, name: str) -> str:
        """The full name of a run; the short one is ``web/runs/7`` or ``web/7``."""
        if name.startswith("tenants/"):
            return name
        deployment, _, number = name.rpartition("/")
        return f"{self.deployment(deployment.removesuffix('/runs'))}/runs/{number}"

    def _complete(self, name: str, collection: str, tenant: str | None = None) -> str:
        if name.startswith("tenants/"):
            return name
        return f"{self.tenant(tenant)}/{collection}/{name}"
