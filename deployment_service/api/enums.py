"""Convert enum names of the store to values of the contract."""

from __future__ import annotations

from typing import Any, TypeVar

from deployment_service.v1 import deployment_service_pb2 as pb

Value = TypeVar("Value", bound=int)


def value_of(unspecified: Value, enum: Any, name_in_store: str) -> Value:
    """Return the enum value for a name without prefix; ``unspecified``, which has the prefix, if it is unknown.

    During a rolling upgrade an old replica reads values that a newer one wrote. An unknown value must not make the
    whole answer fail.
    """
    name = enum.Name(unspecified).removesuffix("UNSPECIFIED") + name_in_store
    value: Value = enum.Value(name) if name in enum.keys() else unspecified  # noqa: SIM118 - no mapping
    return value


def status_value(text: str | None) -> pb.DeploymentStatus:
    """Return a status; unspecified if there is none."""
    return value_of(pb.DEPLOYMENT_STATUS_UNSPECIFIED, pb.DeploymentStatus, text or "")


def certainty_value(text: str | None) -> pb.Certainty:
    """Return a certainty; unspecified if there is none."""
    return value_of(pb.CERTAINTY_UNSPECIFIED, pb.Certainty, text or "")


def waiting_for_value(text: str | None) -> pb.WaitingFor:
    """Return the value of ``waiting_for``; unspecified if there is none."""
    return value_of(pb.WAITING_FOR_UNSPECIFIED, pb.WaitingFor, text or "")


def failure_cause_value(text: str | None) -> pb.FailureCause:
    """Return a cause; unspecified if there is none."""
    return value_of(pb.FAILURE_CAUSE_UNSPECIFIED, pb.FailureCause, text or "")
