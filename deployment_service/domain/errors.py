"""The hierarchy of errors that callers can receive. ``api/errors.py`` maps it to gRPC codes.

Each error has a stable ``reason`` (UPPER_SNAKE_CASE) and a message that includes the next step.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


class ServiceError(Exception):
    """Base class of all errors that are part of the API."""

    def __init__(
        self, reason: str, message: str, *, metadata: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.metadata: Mapping[str, str] = dict(metadata or {})


class InvalidArgument(ServiceError):
    """The request is invalid in every state of the system. ``field`` is a path such as ``deployment.job``."""

    def __init__(self, field: str, message: str, *, reason: str = "INVALID_FIELD") -> None:
        super().__init__(reason, f"{field}: {message}", metadata={"field": field})
        self.field = field
        self.description = message


class NotFound(ServiceError):
    """The request names a resource that does not exist, or that the caller may not see."""

    def __init__(self, kind: str, name: str, *, message: str | None = None) -> None:
        reason = f"{kind.upper().replace(' ', '_')}_NOT_FOUND"
        super().__init__(
            reason, message or f"There is no {kind} '{name}'.", metadata={"name": name}
        )
        self.kind = kind
        self.name = name


class AlreadyExists(ServiceError):
    """A resource with that name exists already."""

    def __init__(self, kind: str, name: str, *, message: str | None = None) -> None:
        reason = f"{kind.upper().replace(' ', '_')}_EXISTS"
        super().__init__(
            reason, message or f"The {kind} '{name}' exists already.", metadata={"name": name}
        )
        self.kind = kind
        self.name = name


@dataclass(frozen=True, slots=True)
class PreconditionViolation:
    """One of several violations of a FailedPrecondition. ``subject``: the violating object, such as a field."""

    kind: str
    subject: str
    message: str


class FailedPrecondition(ServiceError):
    """The state of the system does not allow the request, which is otherwise valid.

    ``retry_after_s``: after how many seconds the state may have changed by itself; None if it does not change.
    ``violations``: details, if the message does not contain them all.
    """

    def __init__(
        self,
        reason: str,
        message: str,
        *,
        metadata: Mapping[str, str] | None = None,
        retry_after_s: float | None = None,
        violations: Sequence[PreconditionViolation] = (),
    ) -> None:
        super().__init__(reason, message, metadata=metadata)
        self.retry_after_s = retry_after_s
        self.violations = tuple(violations)


class Aborted(ServiceError):
    """A concurrent change won: read the resource again, then retry."""


class Unauthenticated(ServiceError):
    """The call has no valid API key."""


class PermissionDenied(ServiceError):
    """The API key is valid but does not allow this call."""


class ResourceExhausted(ServiceError):
    """A limit is reached. ``retry_after_s``: when to retry, in seconds."""

    def __init__(self, reason: str, message: str, *, retry_after_s: float = 1.0) -> None:
        super().__init__(reason, message)
        self.retry_after_s = retry_after_s


class Unavailable(ServiceError):
    """A dependency is unavailable. ``retry_after_s``: when to retry, in seconds."""

    def __init__(self, reason: str, message: str, *, retry_after_s: float = 1.0) -> None:
        super().__init__(reason, message)
        self.retry_after_s = retry_after_s
