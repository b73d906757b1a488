"""What can go wrong with a call, as exceptions that carry the service's stable reason."""

from __future__ import annotations

from collections.abc import Mapping

import grpc
import grpc.aio
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2  # type: ignore[import-untyped]

_REASON_KEY = "error-reason"
_STATUS_KEY = "grpc-status-details-bin"


class DeploymentServiceError(Exception):
    """Base class of all exceptions of the client.

    ``reason`` is stable and for programs (``RUN_ACTIVE``), the text is for people. ``run_name``: the run that the
    method was waiting for, if any; the run continues, and ``wait_for_run`` can wait for it again.
    """

    def __init__(
        self,
        message: str,
        *,
        reason: str = "",
        code: grpc.StatusCode | None = None,
        metadata: Mapping[str, str] | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.reason = reason
        self.code = code
        self.metadata: Mapping[str, str] = dict(metadata or {})
        self.retry_after_s = retry_after_s
        self.run_name = ""


class InvalidArgument(DeploymentServiceError):
    """The request is invalid; a retry does not help."""


class NotFound(DeploymentServiceError):
    """A resource that the request names does not exist."""


class AlreadyExists(DeploymentServiceError):
    """A resource of that name exists."""


class FailedPrecondition(DeploymentServiceError):
    """Not in the present state: ``RUN_ACTIVE``, ``JOB_NOT_READY`` …"""


class Aborted(DeploymentServiceError):
    """A concurrent change came first: read again, then retry."""


class Unauthenticated(DeploymentServiceError):
    """The API key is missing, wrong or revoked."""


class PermissionDenied(DeploymentServiceError):
    """The API key is valid but may not do this."""


class ResourceExhausted(DeploymentServiceError):
    """A limit is reached; ``retry_after_s``, if set, is the time until the next attempt."""


class Unavailable(DeploymentServiceError):
    """The service, or a dependency of it, is unavailable."""


class DeadlineExceeded(DeploymentServiceError):
    """No answer in time. The call may have had its effect: repeat it with the same request id."""


class WatchGapError(DeploymentServiceError):
    """A watch is not complete: an event was lost, doubled or swapped. Start again from a snapshot."""

    def __init__(self, message: str) -> None:
        super().__init__(message, reason="WATCH_GAP")


class HistoryLost(DeploymentServiceError):
    """The watch cannot continue from the token (``Reset``): read the current state, then watch from there."""

    def __init__(self, message: str) -> None:
        super().__init__(message, reason="HISTORY_LOST")


class RunNotFinished(DeploymentServiceError):
    """The run did not end within the given time. It continues; ``run_name`` names it."""

    def __init__(self, message: str) -> None:
        super().__init__(message, reason="RUN_NOT_FINISHED")


_CLASSES: dict[grpc.StatusCode, type[DeploymentServiceError]] = {
    grpc.StatusCode.INVALID_ARGUMENT: InvalidArgument,
    grpc.StatusCode.NOT_FOUND: NotFound,
    grpc.StatusCode.ALREADY_EXISTS: AlreadyExists,
    grpc.StatusCode.FAILED_PRECONDITION: FailedPrecondition,
    grpc.StatusCode.ABORTED: Aborted,
    grpc.StatusCode.UNAUTHENTICATED: Unauthenticated,
    grpc.StatusCode.PERMISSION_DENIED: PermissionDenied,
    grpc.StatusCode.RESOURCE_EXHAUSTED: ResourceExhausted,
    grpc.StatusCode.UNAVAILABLE: Unavailable,
    grpc.StatusCode.DEADLINE_EXCEEDED: DeadlineExceeded,
}


def from_rpc(error: grpc.aio.AioRpcError) -> DeploymentServiceError:
    """Return the client's exception for an error of gRPC."""
    trailing = dict(error.trailing_metadata() or ())
    info, retry = _details(trailing.get(_STATUS_KEY))
    reason = info.reason or trailing.get(_REASON_KEY, "")
    code = error.code()
    return _CLASSES.get(code, DeploymentServiceError)(
        error.details() or code.name,
        reason=reason if isinstance(reason, str) else "",
        code=code,
        metadata=info.metadata,
        retry_after_s=retry.retry_delay.ToTimedelta().total_seconds() or None,
    )


def _details(
    raw: str | bytes | None,
) -> tuple[error_details_pb2.ErrorInfo, error_details_pb2.RetryInfo]:
    info, retry = error_details_pb2.ErrorInfo(), error_details_pb2.RetryInfo()
    status = status_pb2.Status()
    try:
        status.ParseFromString(raw if isinstance(raw, bytes) else b"")
        for detail in status.details:
            if not detail.Unpack(info):
                detail.Unpack(retry)
    except DecodeError:
        pass  # details of another server, such as a proxy
    return info, retry
