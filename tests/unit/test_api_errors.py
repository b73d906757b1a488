"""How errors are answered: every kind of failure has one precise form."""

import asyncpg
import grpc
import pytest
from google.rpc import status_pb2  # type: ignore[import-untyped]

from deployment_service.api.errors import answer, explain
from deployment_service.domain import errors

Code = grpc.StatusCode


@pytest.mark.parametrize(
    ("error", "code", "reason"),
    [
        (ConnectionRefusedError(), Code.UNAVAILABLE, "DATABASE_UNAVAILABLE"),
        (asyncpg.CannotConnectNowError("x"), Code.UNAVAILABLE, "DATABASE_UNAVAILABLE"),
        (asyncpg.ConnectionDoesNotExistError("x"), Code.UNAVAILABLE, "DATABASE_UNAVAILABLE"),
        (asyncpg.TooManyConnectionsError("x"), Code.UNAVAILABLE, "DATABASE_UNAVAILABLE"),
        (asyncpg.ReadOnlySQLTransactionError("x"), Code.UNAVAILABLE, "DATABASE_UNAVAILABLE"),
        (asyncpg.DiskFullError("x"), Code.UNAVAILABLE, "DATABASE_UNAVAILABLE"),
        (TimeoutError(), Code.UNAVAILABLE, "DATABASE_UNAVAILABLE"),
        (asyncpg.QueryCanceledError("x"), Code.DEADLINE_EXCEEDED, "STATEMENT_TIMEOUT"),
        (asyncpg.DeadlockDetectedError("x"), Code.ABORTED, "CONCURRENT_CHANGE"),
        (asyncpg.ForeignKeyViolationError("x"), Code.ABORTED, "CONCURRENT_CHANGE"),
        (asyncpg.CheckViolationError("x"), Code.INTERNAL, "INTERNAL"),
        (asyncpg.exceptions._base.DataError("x"), Code.INTERNAL, "INTERNAL"),
        (KeyError("secret detail"), Code.INTERNAL, "INTERNAL"),
    ],
)
def test_what_befalls_us_is_told_without_internals(error, code, reason):
    told = answer(explain(error))
    metadata = dict(told.trailing_metadata)
    assert (told.code, metadata["error-reason"]) == (code, reason)
    assert "secret" not in told.message


def test_messages_of_any_length_fit_into_metadata():
    """gRPC drops a call whose metadata has more than 8 KiB, and with it the reason."""
    for text in ("x" * 100_000, "é" * 100_000, "💥" * 100_000):
        for error in (
            errors.InvalidArgument(text, text),
            errors.NotFound("deployment", text),
            errors.FailedPrecondition("RUN_ACTIVE", text, metadata={"name": text, text: text}),
        ):
            told = answer(error)
            percent_encoded = 3 * len(told.message.encode())
            details = dict(told.trailing_metadata)["grpc-status-details-bin"]
            assert percent_encoded + len(details) * 4 / 3 < 8000
            status = status_pb2.Status.FromString(details)
            assert status.message == told.message
