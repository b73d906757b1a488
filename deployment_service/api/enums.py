"""Words of the store as values of the contract."""

from __future__ import annotations

from typing import Any, TypeVar

from deployment_service.v1 import deployment_service_pb2 as pb

Value = TypeVar("Value", bound=int)


def value_of(unspecified: Value, enum: Any, word: str) -> Value:
    """The value whose name ends in ``word``, after the prefix that ``unspecified`` shows; else that itself.

    While replicas are exchanged for newer ones, the old ones read what the new ones write. A word that one doesn't
    know yet must not cost its callers all that it does know.
    """
    name = enum.Name(unspecified).removesuffix("UNSPECIFIED") + word
    value: Value = enum.Value(name) if name in enum.keys() else unspecified  # noqa: SIM118 - no mapping
    return value


def status_value(text: str | None) -> pb.DeploymentStatus:
    """Return a status; unspecified if there is none."""
    return value_of(pb.DEPLOYMENT_STATUS_UNSPECIFIED, pb.DeploymentStatus, text or "")


def certainty_value(text: str | None) -> pb.Certainty:
    """Return a certainty; unspecified if there is none."""
    return value_of(pb.CERTAINTY_UNSPECIFIED, pb.Certainty, text or "")


def waiting_for_value(text: str | None) -> pb.WaitingFor:
    """Return what a run waits for; unspecified if for nothing."""
    return value_of(pb.WAITING_FOR_UNSPECIFIED, pb.WaitingFor, text or "")


def failure_cause_value(text: str | None) -> pb.FailureCause:
    """Return a cause; unspecified if there is none."""
    return value_of(pb.FAILURE_CAUSE_UNSPECIFIED, pb.FailureCause, text or "")
