"""The one tree of errors that a caller may see. ``api/errors.py`` maps it to gRPC codes.

Each carries a stable ``reason`` (UPPER_SNAKE_CASE) and a message that tells what to do.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


class ServiceError(Exception):
    """Base of everything that is answered to a caller on purpose."""

    def __init__(
        self, reason: str, message: str, *, metadata: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.metadata: Mapping[str, str] = dict(metadata or {})


class InvalidArgument(ServiceError):
    """The request is wrong whatever the state of the system; ``field`` is a path such as ``deployment.job``."""

    def __init__(self, field: str, message: str, *, reason: str = "INVALID_FIELD") -> None:
        super().__init__(reason, f"{field}: {message}", metadata={"field": field})
        self.field = field
        self.description = message


class NotFound(ServiceError):
    """A resource that the request names doesn't exist (or isn't the caller's to know of)."""

    def __init__(self, kind: str, name: str, *, message: str | None = None) -> None:
        reason = f"{kind.upper().replace(' ', '_')}_NOT_FOUND"
        super().__init__(
            reason, message or f"There is no {kind} '{name}'.", metadata={"name": name}
        )
        self.kind = kind
        self.name = name


class AlreadyExists(ServiceError):
    """A resource of that name exists."""

    def __init__(self, kind: str, name: str, *, message: str | None = None) -> None:
        reason = f"{kind.upper().replace(' ', '_')}_EXISTS"
        super().__init__(
            reason, message or f"The {kind} '{name}' exists already.", metadata={"name": name}
        )
        self.kind = kind
        self.name = name


@dataclass(frozen=True, slots=True)
class PreconditionViolation:
    """One of several reasons for a FailedPrecondition. ``subject``: what it is about, such as a field."""

    kind: str
    subject: str
    message: str


class FailedPrecondition(ServiceError):
    """The request is fine, the state of the system isn't: change that first.

    ``retry_after_s``: the state changes by itself about then; None: it does not. ``violations``: what is wrong, if
    that is more than the message says.
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
    """Somebody else was faster: read again, then retry."""


class Unauthenticated(ServiceError):
    """No valid key came with the call."""


class PermissionDenied(ServiceError):
    """The key is valid but may not do this."""


class ResourceExhausted(ServiceError):
    """A limit is reached; ``retry_after_s`` says when to try again."""

    def __init__(self, reason: str, message: str, *, retry_after_s: float = 1.0) -> None:
        super().__init__(reason, message)
        self.retry_after_s = retry_after_s


class Unavailable(ServiceError):
    """Something we need is away; ``retry_after_s`` says when to try again."""

    def __init__(self, reason: str, message: str, *, retry_after_s: float = 1.0) -> None:
        super().__init__(reason, message)
        self.retry_after_s = retry_after_s
