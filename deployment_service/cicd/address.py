"""How to reach a controller."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class ControllerAddress:
    """All that a client needs."""

    base_url: str
    username: str
    api_token: str = field(repr=False)
    ca_certificate_pem: str = field(default="", repr=False)
    private_allowed: bool = True
    """Whether its host may be a loopback, link-local or private address."""
    tenant_id: uuid.UUID | None = None
    """Whose budget its answers use; None: one of its own."""
