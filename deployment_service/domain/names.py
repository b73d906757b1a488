"""Resource names such as ``tenants/demo/deployments/web-prod/runs/7``: parsed and made here only."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Self

from deployment_service.domain.errors import InvalidArgument

_ID = "[a-z](?:[a-z0-9-]{0,61}[a-z0-9])?"
_ID_SHAPE = re.compile(_ID, re.ASCII)
_TENANT = re.compile(f"tenants/({_ID})", re.ASCII)
_PROVIDER = re.compile(f"tenants/({_ID})/providers/({_ID})", re.ASCII)
_DEPLOYMENT = re.compile(f"tenants/({_ID})/deployments/({_ID})", re.ASCII)
_DEPLOYMENT_OR_ALL = re.compile(f"tenants/({_ID})/deployments/({_ID}|-)", re.ASCII)
_RUN = re.compile(f"tenants/({_ID})/deployments/({_ID})/runs/([1-9][0-9]{{0,8}})", re.ASCII)

ID_RULE = "1-63 characters: a-z, 0-9 and '-', starting with a letter, not ending with '-'"
ALL = "-"


@dataclass(frozen=True, slots=True)
class TenantName:
    tenant: str

    def __str__(self) -> str:
        return f"tenants/{self.tenant}"

    @classmethod
    def parse(cls, text: str, *, field: str) -> Self:
        return cls(*_parts(_TENANT, text, field, "tenants/demo"))


@dataclass(frozen=True, slots=True)
class ProviderName:
    tenant: str
    provider: str

    def __str__(self) -> str:
        return f"tenants/{self.tenant}/providers/{self.provider}"

    @classmethod
    def parse(cls, text: str, *, field: str) -> Self:
        return cls(*_parts(_PROVIDER, text, field, "tenants/demo/providers/main"))


@dataclass(frozen=True, slots=True)
class DeploymentName:
    """``deployment`` is ``-`` (ALL) only where ``parse`` was told to allow it."""

    tenant: str
    deployment: str

    def __str__(self) -> str:
        return f"tenants/{self.tenant}/deployments/{self.deployment}"

    @classmethod
    def parse(cls, text: str, *, field: str, allow_all: bool = False) -> Self:
        pattern = _DEPLOYMENT_OR_ALL if allow_all else _DEPLOYMENT
        return cls(*_parts(pattern, text, field, "tenants/demo/deployments/web-prod"))


@dataclass(frozen=True, slots=True)
class RunName:
    tenant: str
    deployment: str
    number: int

    def __str__(self) -> str:
        return f"tenants/{self.tenant}/deployments/{self.deployment}/runs/{self.number}"

    @classmethod
    def parse(cls, text: str, *, field: str) -> Self:
        tenant, deployment, number = _parts(
            _RUN, text, field, "tenants/demo/deployments/web-prod/runs/7"
        )
        return cls(tenant, deployment, int(number))


def check_id(text: str, *, field: str) -> str:
    """Return ``text`` if it is an id; raise InvalidArgument if not."""
    if not _ID_SHAPE.fullmatch(text):
        raise InvalidArgument(field, f"must be an id: {ID_RULE}")
    return text


def _parts(pattern: re.Pattern[str], text: str, field: str, example: str) -> tuple[str, ...]:
    match = pattern.fullmatch(text)
    if match is None:
        said = "is required" if not text else "is not a valid name"
        raise InvalidArgument(
            field, f"{said}; expected one like '{example}'", reason="INVALID_NAME"
        )
    return match.groups()
