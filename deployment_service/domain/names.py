"""Resource names such as ``tenants/demo/deployments/web-prod/runs/7``. Only this module parses and formats them."""

from __future__ import annotations

import re
import uuid
from dataclasses import dataclass
from typing import Self

from deployment_service.domain.errors import FailedPrecondition, InvalidArgument

_ID = "[a-z](?:[a-z0-9-]{0,61}[a-z0-9])?"
_UID = "uid:[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_ID_SHAPE = re.compile(_ID, re.ASCII)
_TENANT = re.compile(f"tenants/({_ID})", re.ASCII)
_PROVIDER = re.compile(f"tenants/({_ID})/providers/({_ID})", re.ASCII)
_DEPLOYMENT = re.compile(f"tenants/({_ID})/deployments/({_ID}|{_UID}|-)", re.ASCII)
_RUN = re.compile(f"tenants/({_ID})/deployments/({_ID}|{_UID})/runs/([1-9][0-9]{{0,8}})", re.ASCII)

ID_RULE = "1-63 characters: a-z, 0-9 and '-', starting with a letter, not ending with '-'"
ALL = "-"
_DEPLOYMENT_EXAMPLE = "tenants/demo/deployments/web-prod"


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
    """The name of a deployment.

    ``deployment`` is a slug. Where ``parse`` allows it, it is also ``-`` (``ALL``), or ``uid:`` and the UUID of a
    deleted deployment.
    """

    tenant: str
    deployment: str

    def __str__(self) -> str:
        return f"tenants/{self.tenant}/deployments/{self.deployment}"

    @classmethod
    def parse(
        cls, text: str, *, field: str, allow_all: bool = False, allow_deleted: bool = False
    ) -> Self:
        name = cls(*_parts(_DEPLOYMENT, text, field, _DEPLOYMENT_EXAMPLE))
        if name.deployment == ALL and not allow_all:
            raise _invalid(text, field, _DEPLOYMENT_EXAMPLE)
        if not allow_deleted:
            _check_not_deleted(name.deployment, text, field)
        return name


@dataclass(frozen=True, slots=True)
class RunName:
    tenant: str
    deployment: str
    number: int

    def __str__(self) -> str:
        return f"tenants/{self.tenant}/deployments/{self.deployment}/runs/{self.number}"

    @classmethod
    def parse(cls, text: str, *, field: str, allow_deleted: bool = False) -> Self:
        tenant, deployment, number = _parts(_RUN, text, field, f"{_DEPLOYMENT_EXAMPLE}/runs/7")
        if not allow_deleted:
            _check_not_deleted(deployment, text, field)
        return cls(tenant, deployment, int(number))


def check_id(text: str, *, field: str) -> str:
    """Return an id unchanged.

    Raises:
        InvalidArgument: the text is not an id.
    """
    if not _ID_SHAPE.fullmatch(text):
        raise InvalidArgument(field, f"must be an id: {ID_RULE}")
    return text


def deleted_uid(resource_id: str | None) -> uuid.UUID | None:
    """Return the UUID of a deleted deployment from the last part of its name; None for other names."""
    if resource_id is None or not resource_id.startswith("uid:"):
        return None
    return uuid.UUID(resource_id.removeprefix("uid:"))


def _parts(pattern: re.Pattern[str], text: str, field: str, example: str) -> tuple[str, ...]:
    match = pattern.fullmatch(text)
    if match is None:
        raise _invalid(text, field, example)
    return match.groups()


def _invalid(text: str, field: str, example: str) -> InvalidArgument:
    problem = "is required" if not text else "is not a valid name"
    return InvalidArgument(
        field, f"{problem}; expected one like '{example}'", reason="INVALID_NAME"
    )


def _check_not_deleted(deployment: str, text: str, field: str) -> None:
    if deleted_uid(deployment) is not None:
        raise FailedPrecondition(
            "DEPLOYMENT_DELETED",
            f"'{text}' ({field}) names a deleted deployment. It can be read until its purge time, "
            "but not changed or run.",
            metadata={"name": text},
        )
