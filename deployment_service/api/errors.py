"""The error table: the gRPC answer of each error. docs/reference/errors.md lists the reasons for callers."""

from __future__ import annotations

import uuid
from dataclasses import dataclass

import asyncpg
import grpc
from google.protobuf import any_pb2, duration_pb2
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2  # type: ignore[import-untyped]

from deployment_service.domain import errors
from deployment_service.runtime.logs import log
from deployment_service.storage.database.failures import Kind, OutageLog, failure_of

DOMAIN = "deployment-service"
Code = grpc.StatusCode


class DeadlineExceeded(errors.ServiceError):
    """The call's time is up."""


class Internal(errors.ServiceError):
    """A defect of ours. What happened is in the log, under the id in the message."""


CODES: dict[type[errors.ServiceError], grpc.StatusCode] = {
    errors.InvalidArgument: Code.INVALID_ARGUMENT,
    errors.NotFound: Code.NOT_FOUND,
    errors.AlreadyExists: Code.ALREADY_EXISTS,
    errors.FailedPrecondition: Code.FAILED_PRECONDITION,
    errors.Aborted: Code.ABORTED,
    errors.Unauthenticated: Code.UNAUTHENTICATED,
    errors.PermissionDenied: Code.PERMISSION_DENIED,
    errors.ResourceExhausted: Code.RESOURCE_EXHAUSTED,
    errors.Unavailable: Code.UNAVAILABLE,
    DeadlineExceeded: Code.DEADLINE_EXCEEDED,
    Internal: Code.INTERNAL,
}

# Metadata is limited to about 8 KiB in all, and a message appears in it up to three times.
_MAX_MESSAGE_BYTES = 800
_MAX_METADATA_BYTES = 200
_MAX_VIOLATIONS = 3

_outage = OutageLog("api")
# A concurrent change of the same rows, more often than the service retries.
_CONCURRENT = (
    asyncpg.DeadlockDetectedError,
    asyncpg.SerializationError,
    asyncpg.LockNotAvailableError,
    asyncpg.ForeignKeyViolationError,
    asyncpg.UniqueViolationError,
)


@dataclass(frozen=True, slots=True)
class Answer:
    """The error status of a call."""

    code: grpc.StatusCode
    message: str
    trailing_metadata: tuple[tuple[str, str | bytes], ...]


def explain(error: Exception) -> errors.ServiceError:
    """Return the caller's error for any exception; log the details that the caller does not receive."""
    if isinstance(error, errors.ServiceError):
        return error
    if isinstance(error, asyncpg.QueryCanceledError):
        return DeadlineExceeded("STATEMENT_TIMEOUT", "The database took too long; try again.")
    if isinstance(error, _CONCURRENT):
        log.info("call.concurrent_change", error=type(error).__name__, detail=str(error))
        return errors.Aborted(
            "CONCURRENT_CHANGE", "Something else changed the same at this moment; try again."
        )
    failure = failure_of(error)
    if failure.kind is Kind.OURS:
        return _internal(error)
    _outage.report(failure)
    return errors.Unavailable(
        "DATABASE_UNAVAILABLE", "The database can't be used now; try again soon."
    )


def _internal(error: Exception) -> errors.ServiceError:
    error_id = uuid.uuid4().hex[:12]
    log.error("call.internal_error", error_id=error_id, exc_info=error)
    return Internal(
        "INTERNAL",
        f"An internal error. Tell the operators of the deployment service its id: {error_id}.",
        metadata={"error_id": error_id},
    )


def answer(error: errors.ServiceError) -> Answer:
    """Return an error as a rich status (google.rpc.Status) with its trailing metadata."""
    code = next(code for kind, code in CODES.items() if isinstance(error, kind))
    message = _clip(error.message, _MAX_MESSAGE_BYTES)
    status = status_pb2.Status(code=_number(code), message=message)
    for detail in (_error_info(error), *_further_details(error, message)):
        packed = any_pb2.Any()
        packed.Pack(detail)
        status.details.append(packed)
    return Answer(
        code,
        message,
        (
            ("error-reason", error.reason),
            ("grpc-status-details-bin", status.SerializeToString()),
        ),
    )


def _error_info(error: errors.ServiceError) -> Message:
    metadata = {
        _clip(key, 64): _clip(value, _MAX_METADATA_BYTES) for key, value in error.metadata.items()
    }
    info: Message = error_details_pb2.ErrorInfo(
        reason=error.reason, domain=DOMAIN, metadata=metadata
    )
    return info


def _further_details(error: errors.ServiceError, message: str) -> list[Message]:
    match error:
        case errors.InvalidArgument():
            violation = error_details_pb2.BadRequest.FieldViolation(
                field=_clip(error.field, _MAX_METADATA_BYTES),
                description=_clip(error.description, _MAX_MESSAGE_BYTES),
                reason=error.reason,
            )
            return [error_details_pb2.BadRequest(field_violations=[violation])]
        case errors.NotFound() | errors.AlreadyExists():
            return [
                error_details_pb2.ResourceInfo(
                    resource_type=error.kind,
                    resource_name=_clip(error.name, _MAX_METADATA_BYTES),
                    description=message,
                )
            ]
        case errors.FailedPrecondition():
            details: list[Message] = [_precondition_failure(error, message)]
            if error.retry_after_s is not None:
                details.append(_retry_info(error.retry_after_s))
            return details
        case errors.ResourceExhausted() | errors.Unavailable():
            return [_retry_info(error.retry_after_s)]
        case errors.Aborted() if error.reason == "CONCURRENT_CHANGE":
            return [_retry_info(0.1)]
        case _:
            return []


def _precondition_failure(error: errors.FailedPrecondition, message: str) -> Message:
    own = errors.PreconditionViolation(error.reason, error.metadata.get("name", ""), message)
    violations = [
        error_details_pb2.PreconditionFailure.Violation(
            type=one.kind,
            subject=_clip(one.subject, _MAX_METADATA_BYTES),
            description=_clip(one.message, _MAX_MESSAGE_BYTES),
        )
        for one in (error.violations or (own,))[:_MAX_VIOLATIONS]
    ]
    failure: Message = error_details_pb2.PreconditionFailure(violations=violations)
    return failure


def _retry_info(seconds: float) -> Message:
    delay = duration_pb2.Duration()
    delay.FromMilliseconds(int(seconds * 1000))
    info: Message = error_details_pb2.RetryInfo(retry_delay=delay)
    return info


def _number(code: grpc.StatusCode) -> int:
    number: int = code.value[0]
    return number


def _clip(text: str, limit: int) -> str:
    encoded = text.encode(errors="replace")
    if len(encoded) <= limit:
        return encoded.decode()
    return encoded[: limit - 3].decode(errors="ignore") + "…"
