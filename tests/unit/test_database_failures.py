"""One table says what each database error means; no text of it quotes what a library was given."""

from __future__ import annotations

import errno
import socket
import ssl

import asyncpg
import pytest

from deployment_service.config import SettingsError, load_database_settings
from deployment_service.storage.database.failures import (
    BadDatabaseUrl,
    Kind,
    OutageLog,
    SessionMismatch,
    failure_of,
    is_about_the_connection,
)
from deployment_service.storage.database.url import (
    UnreadableFile,
    check_database_url,
    target_session_attrs,
)

SECRET = "hunter2"


def certificate_error() -> ssl.SSLCertVerificationError:
    return ssl.SSLCertVerificationError(1, "[SSL: CERTIFICATE_VERIFY_FAILED] self-signed")


@pytest.mark.parametrize(
    ("error", "kind", "remedy"),
    [
        (ConnectionRefusedError(SECRET), Kind.UNAVAILABLE, "again"),
        (TimeoutError(), Kind.UNAVAILABLE, "again"),
        (asyncpg.CannotConnectNowError(SECRET), Kind.UNAVAILABLE, "again"),
        (asyncpg.AdminShutdownError(SECRET), Kind.UNAVAILABLE, "again"),
        (asyncpg.TooManyConnectionsError(SECRET), Kind.UNAVAILABLE, "CONNECTIONS"),
        (asyncpg.DiskFullError(SECRET), Kind.UNAVAILABLE, "disk|more"),
        (asyncpg.ReadOnlySQLTransactionError(SECRET), Kind.UNAVAILABLE, "primary"),
        (asyncpg.IdleInTransactionSessionTimeoutError(SECRET), Kind.UNAVAILABLE, "again"),
        (asyncpg.QueryCanceledError(SECRET), Kind.UNAVAILABLE, "again"),
        (asyncpg.InterfaceError(SECRET), Kind.UNAVAILABLE, "again"),
        (SessionMismatch(SECRET), Kind.UNAVAILABLE, "pooler"),
        (asyncpg.InvalidPasswordError(SECRET), Kind.WRONG_SETTINGS, "DATABASE_URL"),
        (asyncpg.InvalidAuthorizationSpecificationError(SECRET), Kind.WRONG_SETTINGS, "pg_hba"),
        (asyncpg.InvalidCatalogNameError(SECRET), Kind.WRONG_SETTINGS, "name"),
        (asyncpg.UndefinedTableError(SECRET), Kind.WRONG_SETTINGS, "migrate"),
        (socket.gaierror(-2, SECRET), Kind.WRONG_SETTINGS, "DNS"),
        (socket.gaierror(-3, SECRET), Kind.UNAVAILABLE, "again"),
        (FileNotFoundError(errno.ENOENT, "no socket"), Kind.UNAVAILABLE, "again"),
        (UnreadableFile("sslrootcert"), Kind.WRONG_SETTINGS, "permissions"),
        (ssl.SSLError(SECRET, "[X509] PEM lib"), Kind.WRONG_SETTINGS, "sslcert"),
        (certificate_error(), Kind.WRONG_SETTINGS, "certificate"),
        (ConnectionError(f"server at {SECRET} rejected SSL upgrade"), Kind.WRONG_SETTINGS, "ssl"),
        (BadDatabaseUrl("ValueError"), Kind.WRONG_SETTINGS, "DATABASE_URL"),
        (asyncpg.ProtocolViolationError(f"no such database: {SECRET}"), Kind.WRONG_SETTINGS, ""),
        (asyncpg.ProtocolViolationError("no such user: x"), Kind.WRONG_SETTINGS, "passfile"),
        (asyncpg.InsufficientPrivilegeError(SECRET), Kind.MISSING_PRIVILEGE, "migrate"),
        (
            asyncpg.InvalidParameterValueError('role "deployment_api" does not exist'),
            Kind.MISSING_PRIVILEGE,
            "DBA",
        ),
        (asyncpg.InvalidParameterValueError(SECRET), Kind.OURS, ""),
        (asyncpg.SyntaxOrAccessError(SECRET), Kind.OURS, ""),
        (asyncpg.UndefinedColumnError(SECRET), Kind.OURS, ""),
        (KeyError(SECRET), Kind.OURS, ""),
        (ExceptionGroup("tasks", [asyncpg.InterfaceError(SECRET)]), Kind.UNAVAILABLE, ""),
        (
            ExceptionGroup("tasks", [asyncpg.InterfaceError(SECRET), KeyError()]),
            Kind.OURS,
            "",
        ),
    ],
    ids=repr,
)
def test_every_error_has_a_kind_and_a_remedy(error: Exception, kind: Kind, remedy: str) -> None:
    import re

    failure = failure_of(error)
    assert failure.kind is kind
    assert re.search(remedy, str(failure))
    assert SECRET not in str(failure)
    assert kind is Kind.OURS or failure.remedy


@pytest.mark.parametrize(
    ("error", "discarded"),
    [
        (asyncpg.ReadOnlySQLTransactionError("x"), True),
        (asyncpg.InvalidPasswordError("x"), True),
        (asyncpg.ProtocolViolationError("x"), True),
        (asyncpg.InvalidSQLStatementNameError("x"), True),
        (asyncpg.IdleInTransactionSessionTimeoutError("x"), True),
        (SessionMismatch("x"), True),
        (TimeoutError(), True),
        (asyncpg.QueryCanceledError("x"), False),
        (asyncpg.UniqueViolationError("x"), False),
        (asyncpg.LockNotAvailableError("x"), False),
        (asyncpg.InsufficientPrivilegeError("x"), False),
        (KeyError("x"), False),
    ],
    ids=repr,
)
def test_which_errors_cost_the_connection(error: Exception, discarded: bool) -> None:
    assert is_about_the_connection(error) is discarded


BAD_PASSWORDS = [
    f"a@{SECRET}",
    f"a/{SECRET}",
    f"a?{SECRET}",
    f"a#{SECRET}",
    f"a%{SECRET}",
    f"a {SECRET}",
    f"a[{SECRET}",
    f"a]{SECRET}",
    f"?{SECRET}=x",
    f"a/{SECRET}@b",
    f"12/{SECRET}",
    f"a\t{SECRET}",
]


@pytest.mark.parametrize("password", BAD_PASSWORDS)
def test_a_password_that_is_not_encoded_is_named_and_never_quoted(
    password: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"postgresql://user:{password}@db.internal:5432/name"
    with pytest.raises(ValueError) as caught:
        check_database_url(url)
    assert "percent-encoded" in str(caught.value)
    assert SECRET not in str(caught.value)
    for setting in ("DATABASE_URL", "DATABASE_DIRECT_URL"):
        monkeypatch.setenv("DEPLOYMENT_SERVICE_DATABASE_URL", "postgresql://u@h/d")
        monkeypatch.setenv(f"DEPLOYMENT_SERVICE_{setting}", url)
        with pytest.raises(SettingsError) as refused:
            load_database_settings()
        assert setting in str(refused.value)
        assert SECRET not in str(refused.value)


@pytest.mark.parametrize(
    "url",
    [
        "mysql://u@h/d",
        "postgresql+asyncpg://u@h/d",
        "host=h dbname=d",
        f"{SECRET}",
        f"postgresql://u@h:{SECRET}/d",
        "postgresql://u@h:99999/d",
        f"postgresql://u@h/d?{SECRET}",
        f"postgresql://u@/d?host=h&port={SECRET}",
        f"postgresql://u@h/d/{SECRET}",
    ],
)
def test_what_is_no_database_url_is_refused_without_being_quoted(url: str) -> None:
    with pytest.raises(ValueError) as caught:
        check_database_url(url)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://u:p%40ss%2F@h:5432/d",
        "postgres://u@h/d",
        "postgresql://u:p:q@h/d",
        "postgresql://u@a:5432,b:5433/d?target_session_attrs=any",
        "postgresql://u@[::1]:5432/d",
        "postgresql://u@/d?host=/run/postgresql",
        "postgresql://u@h/d?user=a@b&sslmode=verify-full&sslrootcert=/ca.pem",
        "postgresql:///d",
    ],
)
def test_usable_database_urls_pass(url: str) -> None:
    check_database_url(url)


def test_a_server_that_takes_writes_is_asked_for_unless_the_url_says_otherwise() -> None:
    assert target_session_attrs("postgresql://u@h/d") == "read-write"
    assert target_session_attrs("postgresql://u@h/d?target_session_attrs=any") == "any"


def test_an_outage_is_logged_once_and_its_end_once(capsys: pytest.CaptureFixture[str]) -> None:
    outage = OutageLog("tester")
    for _ in range(100):
        outage.report_error(asyncpg.InvalidPasswordError("x"), "failed")
    outage.over()
    outage.over()
    said = capsys.readouterr().out
    assert said.count("database.unavailable") == 1
    assert said.count("database.available ") == 1
    outage.report_error(ConnectionRefusedError(), "failed")
    outage.report_error(asyncpg.InvalidPasswordError("x"), "failed")
    assert capsys.readouterr().out.count("database.unavailable") == 2
