"""The only table of database errors: the kind of each, and its remedy.

Start-up, calls, workers and commands use it. It has its own texts, because the text of a library may contain its
input, and with it a password that is not percent-encoded.
"""

from __future__ import annotations

import re
import socket
import ssl
import time
from dataclasses import dataclass
from enum import StrEnum

import asyncpg
import structlog

from deployment_service.storage.database.url import UnreadableFile

_log = structlog.get_logger(__name__)
_REPEAT_S = 60.0


class SessionMismatch(Exception):
    """The state of a session is wrong; the message names the difference. The connection is discarded."""


class BadDatabaseUrl(Exception):
    """The database URL, or a file that it names, is not usable."""


class Kind(StrEnum):
    """The meaning of an error for its caller."""

    UNAVAILABLE = "unavailable"  # temporary: retry
    WRONG_SETTINGS = (
        "wrong settings"  # waiting does not help at start-up; later an operator may correct them
    )
    MISSING_PRIVILEGE = "missing privilege"  # a DBA must grant it
    OURS = "ours"  # a defect


@dataclass(frozen=True, slots=True)
class Failure:
    """``what`` happened, in a text of this service, and the ``remedy``."""

    kind: Kind
    what: str
    remedy: str = ""

    def __str__(self) -> str:
        return f"{self.what}. {self.remedy}" if self.remedy else f"{self.what}."


@dataclass(frozen=True, slots=True)
class _Row:
    classes: tuple[type[BaseException], ...]
    failure: Failure
    message_pattern: str = ""
    """A pattern that the server's message must match, where one class stands for several failures."""
    on_connection: bool = False
    """Whether the connection must not be used again."""


_URL = "DEPLOYMENT_SERVICE_DATABASE_URL"
_WAIT = "The service tries again by itself"
_MIGRATE = "Run `deployment-service migrate`: it names the statements that a DBA has to run"


def _unavailable(what: str, remedy: str = _WAIT) -> Failure:
    return Failure(Kind.UNAVAILABLE, what, remedy)


def _settings(what: str, remedy: str) -> Failure:
    return Failure(Kind.WRONG_SETTINGS, what, remedy)


_PASSWORD = _settings(
    "The database refuses the user or the password",
    f"Correct {_URL}, or pg_hba.conf on the server; a password file (?passfile=…) is read for each connection",
)
_NO_DATABASE = _settings(
    "The database does not exist on that server", f"Create it, or correct its name in {_URL}"
)
_POOLER_MODE = _settings(
    "The pooler lends its sessions for single statements",
    "Set its pool_mode to transaction or session",
)
_POOLER_PARAMETER = _settings(
    "The pooler refuses a parameter of the URL",
    f"Remove parameters such as search_path or options from {_URL} and set them with ALTER ROLE … IN DATABASE … SET",
)
_FILE = _settings(
    "A file that the database URL names cannot be read",
    f"Correct sslrootcert, sslcert or sslkey in {_URL}, or the permissions of the file",
)
_NO_TLS = _settings("The server does not offer TLS", f"Correct sslmode in {_URL} or the server")
UNKNOWN_HOST = _settings(
    "The host of the database is not known", f"Correct the host in {_URL}, or the DNS"
)
_ROLE = Failure(
    Kind.MISSING_PRIVILEGE, "The login user may not act in a role of the service", _MIGRATE
)

# The first matching row counts.
_TABLE = (
    _Row(
        (BadDatabaseUrl,),
        _settings("The database URL, or a file that it names, is not usable", f"Correct {_URL}"),
    ),
    _Row(
        (SessionMismatch,),
        _unavailable(
            "A session with the database is read-only or changed by another party",
            "The service takes another connection; check what the address leads to, and the pooler",
        ),
        on_connection=True,
    ),
    # PgBouncer's own errors share one class.
    _Row((asyncpg.PostgresConnectionError,), _POOLER_PARAMETER, "unsupported startup parameter"),
    _Row((asyncpg.PostgresConnectionError,), _NO_DATABASE, "no such database"),
    _Row((asyncpg.PostgresConnectionError,), _POOLER_MODE, "statement pooling"),
    _Row(
        (asyncpg.PostgresConnectionError,),
        _PASSWORD,
        "no such user|password authentication failed|SASL authentication failed|auth failed",
    ),
    _Row((asyncpg.InvalidAuthorizationSpecificationError,), _PASSWORD, on_connection=True),
    _Row((asyncpg.InvalidCatalogNameError,), _NO_DATABASE),
    _Row((asyncpg.InvalidParameterValueError,), _ROLE, "^role .* does not exist"),
    _Row((asyncpg.InsufficientPrivilegeError,), _ROLE, "permission denied to set role"),
    _Row(
        (asyncpg.InsufficientPrivilegeError,),
        Failure(
            Kind.MISSING_PRIVILEGE,
            "The database refuses access to an object of the service",
            _MIGRATE,
        ),
    ),
    _Row(
        (asyncpg.UndefinedTableError, asyncpg.InvalidSchemaNameError),
        _settings(
            "The tables of the service are not in the schema that the session uses",
            "Run `deployment-service migrate`; if they are in another schema, set search_path for the login user",
        ),
    ),
    _Row(
        (asyncpg.ReadOnlySQLTransactionError, asyncpg.exceptions.TargetServerAttributeNotMatched),
        _unavailable(
            "The address leads to a server that takes no writes (a standby, or read-only)",
            "The service tries again until the primary answers there",
        ),
        on_connection=True,
    ),
    _Row(
        (asyncpg.InvalidSQLStatementNameError, asyncpg.DuplicatePreparedStatementError),
        _unavailable(
            "A pooler does not keep prepared statements", "The service connects without them"
        ),
        on_connection=True,
    ),
    _Row(
        (asyncpg.QueryCanceledError, asyncpg.LockNotAvailableError),
        _unavailable("A statement took longer than it may"),
    ),
    _Row(
        (asyncpg.InsufficientResourcesError,),
        _unavailable(
            "The database lacks connections, memory or disk space",
            "Give it more, or reduce the *_POOL_CONNECTIONS; the service tries again by itself",
        ),
    ),
    _Row(
        (
            asyncpg.OperatorInterventionError,
            asyncpg.IdleInTransactionSessionTimeoutError,
            asyncpg.PostgresConnectionError,
        ),
        _unavailable("The server or the pooler ended the connection"),
        on_connection=True,
    ),
    _Row(
        (asyncpg.InterfaceError, asyncpg.InternalClientError),
        _unavailable("The connection to the database broke"),
        on_connection=True,
    ),
    _Row(
        (ssl.SSLCertVerificationError,),
        _settings(
            "The certificate of the database server is not accepted",
            f"Correct sslrootcert or the host name in {_URL}, or the certificate of the server",
        ),
    ),
    _Row((UnreadableFile,), _FILE),
    _Row((ssl.SSLError,), _FILE, r"^\[(X509|PEM|CRYPTO)|PEM|no certificate"),
    _Row((ssl.SSLError,), _unavailable("TLS with the database failed"), on_connection=True),
    _Row((socket.gaierror,), _unavailable("The DNS does not answer"), "Errno -3"),
    _Row((socket.gaierror,), UNKNOWN_HOST),
    _Row((ConnectionError,), _NO_TLS, "rejected SSL upgrade"),
    _Row((ConnectionRefusedError,), _unavailable("The database refuses connections")),
    _Row(
        (TimeoutError,),
        _unavailable("The database, or a free connection to it, did not answer in time"),
        on_connection=True,
    ),
    _Row((OSError,), _unavailable("The database cannot be reached"), on_connection=True),
)
_OURS = Failure(Kind.OURS, "An error of the service itself")

# Errors that a caller waits out or reports, by class. Everything else is a defect.
UNAVAILABLE_ERRORS = (
    SessionMismatch,
    BadDatabaseUrl,
    UnreadableFile,
    OSError,
    TimeoutError,
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    asyncpg.OperatorInterventionError,
    asyncpg.InsufficientResourcesError,
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.InvalidCatalogNameError,
    asyncpg.ReadOnlySQLTransactionError,
    asyncpg.IdleInTransactionSessionTimeoutError,
    asyncpg.InvalidSQLStatementNameError,
    asyncpg.DuplicatePreparedStatementError,
    asyncpg.InsufficientPrivilegeError,
    asyncpg.InvalidSchemaNameError,
    asyncpg.UndefinedTableError,
)


def failure_of(error: BaseException) -> Failure:
    """Return the failure of an error from the database, or from connecting to it."""
    if isinstance(error, BaseExceptionGroup):
        failures = [failure_of(one) for one in error.exceptions]
        return next((one for one in failures if one.kind is Kind.OURS), failures[0])
    # asyncpg rejects a value of a statement.
    if isinstance(error, asyncpg.InterfaceError) and ValueError in type(error).__mro__:
        return _OURS
    row = _row(error)
    return row.failure if row is not None else _OURS


def is_about_the_connection(error: BaseException) -> bool:
    """Return whether the connection with this error must not be used again."""
    row = _row(error)
    return row is not None and row.on_connection


class OutageLog:
    """Logs a failure when it begins or changes, once a minute while it lasts, and its end."""

    def __init__(self, worker: str) -> None:
        self._worker = worker
        self._failure: Failure | None = None
        self._logged_at = 0.0

    def report(self, failure: Failure) -> None:
        now = time.monotonic()
        if failure != self._failure or now - self._logged_at > _REPEAT_S:
            _log.warning(
                "database.unavailable",
                worker=self._worker,
                kind=failure.kind,
                reason=failure.what,
                remedy=failure.remedy,
            )
            self._logged_at = now
        self._failure = failure

    def report_error(self, error: BaseException, event: str, **facts: object) -> None:
        """Log an error: a defect with its traceback, an expected failure in one line with a limited rate."""
        failure = failure_of(error)
        if failure.kind is Kind.OURS:
            _log.error(event, exc_info=error, **facts)
        else:
            self.report(failure)

    def over(self) -> None:
        """Call it after a success."""
        if self._failure is not None:
            _log.info("database.available", worker=self._worker)
        self._failure = None


def _row(error: BaseException) -> _Row | None:
    for row in _TABLE:
        if isinstance(error, row.classes) and (
            not row.message_pattern or re.search(row.message_pattern, str(error))
        ):
            return row
    return None
