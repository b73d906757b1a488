"""Settings of deployctl, and its error messages."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, TypeVar, cast

import typer
from google.protobuf.timestamp_pb2 import Timestamp

from deployment_service.client.cli.output import STYLES
from deployment_service.client.client import DeploymentClient
from deployment_service.client.errors import (
    Aborted,
    AlreadyExists,
    DeadlineExceeded,
    DeploymentServiceError,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    PermissionDenied,
    RunNotFinished,
    Unauthenticated,
    Unavailable,
)
from deployment_service.runtime.secret_text import clean_secret
from deployment_service.runtime.service_links import SERVICE_LINK, ignored_settings
from deployment_service.v1 import deployment_service_pb2 as pb

TARGET = "DEPLOYMENT_SERVICE_TARGET"
API_KEY = "DEPLOYMENT_API_KEY"
TENANT = "DEPLOYMENT_TENANT"
DEFAULT_TARGET = "127.0.0.1:50051"

RUN_FAILED = 1

T = TypeVar("T")

Param = Annotated[
    list[str] | None,
    typer.Option("--param", "-p", metavar="KEY=VALUE", help="A parameter; may be repeated."),
]
Since = Annotated[
    str, typer.Option(metavar="TIME", help="Only from then on: `12h` ago, or `2026-03-01T12:00`.")
]
_AGO = re.compile(r"([0-9]{1,9})([smhd])", re.ASCII)
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
Statuses = Annotated[
    list[str] | None,
    typer.Option("--status", help="Only this status: running, failed …; may be repeated."),
]


class CliError(Exception):
    """An error message for the user."""

    def __init__(self, message: str, exit_code: int = 2) -> None:
        super().__init__(message)
        self.exit_code = exit_code


@dataclass(frozen=True)
class Settings:
    """The settings from options and environment."""

    target: str
    api_key: str
    tenant: str
    as_json: bool
    timeout_s: float
    use_proxy: bool = False

    def run(self, work: Callable[[DeploymentClient], Awaitable[T]]) -> T:
        """Connect and do the work of one command."""
        if not self.api_key:
            raise CliError(
                f"No API key: set {API_KEY}, or give --api-key. After `make run`: "
                "deployctl --env-file .dev/env …"
            )

        async def connected() -> T:
            client = DeploymentClient(
                self.target,
                api_key=self.api_key,
                tenant=self.tenant or None,
                timeout_s=self.timeout_s,
                use_proxy=self.use_proxy,
            )
            async with client:
                return await work(client)

        try:
            return asyncio.run(connected())
        except DeploymentServiceError as error:
            text, exit_code = _explain(error, self.target)
            if error.run_name:
                text = f"{text}\nThe run continues: deployctl runs {self._deployment_of(error.run_name)}"
            raise CliError(text, exit_code) from None

    def _deployment_of(self, run_name: str) -> str:
        """The run's deployment, as this command takes it: with its tenant if that isn't the default one."""
        name = run_name.partition("/runs/")[0]
        return name.removeprefix(f"tenants/{self.tenant}/deployments/")


def resolve(
    *,
    target: str | None,
    api_key: str | None,
    tenant: str | None,
    env_file: Path | None,
    as_json: bool,
    timeout_s: float,
    use_proxy: bool,
) -> Settings:
    """Options come first, then the file (and not the environment, which may mean another place)."""
    given: Mapping[str, str] = os.environ if env_file is None else _read(env_file)
    for name in ignored_settings((TARGET, API_KEY, TENANT), given):
        typer.echo(f"deployctl: {name} is ignored: {SERVICE_LINK}.", err=True)
        given = {other: value for other, value in given.items() if other != name}
    return Settings(
        target=target or given.get(TARGET) or DEFAULT_TARGET,
        api_key=secret(api_key or given.get(API_KEY) or "", API_KEY),
        tenant=tenant or given.get(TENANT) or "",
        as_json=as_json,
        timeout_s=timeout_s,
        use_proxy=use_proxy,
    )


def of(context: typer.Context) -> Settings:
    """The settings of the command that is running."""
    settings = context.find_object(Settings)
    assert settings is not None
    return settings


def secret(text: str, name: str) -> str:
    """Return a secret without the line end or quotes that files and shells add. Raises CliError."""
    try:
        return clean_secret(text)
    except ValueError as error:
        raise CliError(f"{name}: {error}") from None


def _read(path: Path) -> dict[str, str]:
    try:
        lines = path.read_text().splitlines()
    except OSError as error:
        raise CliError(
            f"Can't read {path}: {error.strerror}. `make run` writes .dev/env while it runs."
        ) from None
    pairs = (line.split("=", 1) for line in lines if "=" in line and not line.startswith("#"))
    return {key.strip(): value.strip() for key, value in pairs}


def pairs(texts: Iterable[str], option: str) -> dict[str, str]:
    """Read ``KEY=value`` options."""
    result = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise CliError(f"{option} takes KEY=value, not {text!r}.")
        result[key] = value
    return result


def statuses(words: Iterable[str]) -> list[pb.DeploymentStatus]:
    """Read ``--status`` options."""
    result = []
    for word in words:
        try:
            value = pb.DeploymentStatus.Value(f"DEPLOYMENT_STATUS_{word.upper()}")
            result.append(cast("pb.DeploymentStatus", value))
        except ValueError:
            known = ", ".join(STYLES)
            raise CliError(
                f"--status {word}: there is no such status; it is one of {known}."
            ) from None
    return result


def since(text: str) -> Timestamp | None:
    """Read ``--since``: so many seconds, minutes, hours or days ago (``90m``), or a time. None for no text."""
    if not text:
        return None
    ago = _AGO.fullmatch(text)
    try:
        if ago:
            time = datetime.now(UTC) - timedelta(**{_UNITS[ago[2]]: int(ago[1])})
        else:
            time = datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, OverflowError):
        raise CliError(
            f"--since {text}: give a time ago such as 90m, 12h or 7d, or a time such as 2026-03-01T12:00."
        ) from None
    stamp = Timestamp()
    stamp.FromDatetime(time)
    return stamp


def _explain(error: DeploymentServiceError, target: str) -> tuple[str, int]:
    """Return the error message for the user, and the exit code."""
    reason = f" [{error.reason}]" if error.reason else ""
    text = f"{error.message}{reason}"
    match error:
        case Unauthenticated():
            return f"{text}\nThe API key is missing, wrong or revoked: check {API_KEY}.", 3
        case PermissionDenied():
            return f"{text}\nThis key may not do that: use one with the role or tenant it takes.", 3
        case NotFound() | AlreadyExists() | FailedPrecondition() | Aborted():
            return text, 4
        case InvalidArgument():
            return text, 2
        case RunNotFinished():
            return f"{text}.", 6
        case DeadlineExceeded():
            return f"{target} gave no answer in time.{reason} Try again, or with more --timeout.", 5
        case Unavailable() if not error.reason:
            return f"Can't reach {target}: {text}\nIs it running? Check {TARGET}.", 5
        case Unavailable():
            return text, 5
        case _:
            return text, 70
