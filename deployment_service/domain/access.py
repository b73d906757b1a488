"""Who calls, and what a key may do."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from enum import StrEnum

from deployment_service.domain.actors import Actor, check_on_behalf_of, key_actor


class Role(StrEnum):
    """What a key may do. GATEWAY stands apart; each of the others includes those before it."""

    VIEWER = "VIEWER"
    DEPLOYER = "DEPLOYER"
    DEFINER = "DEFINER"
    GATEWAY = "GATEWAY"
    ADMIN = "ADMIN"

    def includes(self, needed: Role) -> bool:
        """Whether a key with this role may do what needs the other one."""
        if Role.GATEWAY in (self, needed):
            return self is needed
        return _LADDER.index(self) >= _LADDER.index(needed)


_LADDER = (Role.VIEWER, Role.DEPLOYER, Role.DEFINER, Role.ADMIN)


@dataclass(frozen=True, slots=True)
class TenantRef:
    """A tenant that exists: its uid, which no later tenant of the same name will have, and its id."""

    tenant_id: uuid.UUID
    slug: str


@dataclass(frozen=True, slots=True)
class Caller:
    """The holder of a valid key. ``tenant`` None: all tenants."""

    key_id: uuid.UUID
    role: Role
    tenant: TenantRef | None
    display_name: str = ""
    """What the key is called, for people."""

    def actor(self, on_behalf_of: str = "") -> Actor:
        """Return who it is in the history. Raises InvalidArgument if that is no claim that can be shown."""
        claimed = check_on_behalf_of(on_behalf_of, field="on_behalf_of")
        return key_actor(self.key_id, self.display_name, claimed)
