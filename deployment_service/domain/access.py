"""Callers of the API, and the role of each API key."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from enum import StrEnum

from deployment_service.domain.actors import Actor, check_on_behalf_of, key_actor


class Role(StrEnum):
    """The role of an API key. Each role includes the roles before it, except GATEWAY, which stands alone."""

    VIEWER = "VIEWER"
    DEPLOYER = "DEPLOYER"
    DEFINER = "DEFINER"
    GATEWAY = "GATEWAY"
    ADMIN = "ADMIN"

    def includes(self, needed: Role) -> bool:
        """Return whether a key with this role may call a method that requires ``needed``."""
        if Role.GATEWAY in (self, needed):
            return self is needed
        return _ASCENDING.index(self) >= _ASCENDING.index(needed)


_ASCENDING = (Role.VIEWER, Role.DEPLOYER, Role.DEFINER, Role.ADMIN)


@dataclass(frozen=True, slots=True)
class TenantRef:
    """An existing tenant. ``tenant_id`` is never reused, also not by a later tenant with the same ``slug``."""

    tenant_id: uuid.UUID
    slug: str


@dataclass(frozen=True, slots=True)
class Caller:
    """The holder of a valid API key. ``tenant`` is None for a key of all tenants."""

    key_id: uuid.UUID
    role: Role
    tenant: TenantRef | None
    display_name: str = ""
    """The display name of the key."""

    def actor(self, on_behalf_of: str = "") -> Actor:
        """Return the caller as the actor of an event.

        Raises:
            InvalidArgument: ``on_behalf_of`` is too long or has an invisible character.
        """
        claimed = check_on_behalf_of(on_behalf_of, field="on_behalf_of")
        return key_actor(self.key_id, self.display_name, claimed)
