"""Settings, from the environment (prefix DEPLOYMENT_SERVICE_). Units are in the names."""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, SecretStr, ValidationError, field_validator
from pydantic_settings import NoDecode, SettingsConfigDict

from deployment_service import failpoints
from deployment_service.domain.egress import check_http_url, origin_of
from deployment_service.domain.errors import InvalidArgument
from deployment_service.runtime.metrics_server import host_port
from deployment_service.runtime.secret_box import SecretBox
from deployment_service.runtime.secret_text import clean_secret
from deployment_service.runtime.service_links import SERVICE_LINK
from deployment_service.runtime.settings_source import EnvironmentSettings
from deployment_service.storage.database.url import check_database_url
from deployment_service.webhook_auth import paths

PREFIX = "DEPLOYMENT_SERVICE_"

Seconds = Annotated[float, Field(gt=0, le=86_400)]
Connections = Annotated[int, Field(ge=1, le=500)]
Days = Annotated[float, Field(ge=0.05, le=36_500)]  # at least an hour and a little


class SettingsError(Exception):
    """The environment doesn't hold usable settings; the message has a line for each problem."""


def _secrets(value: object) -> object:
    if isinstance(value, str):
        return tuple(clean_secret(part) for part in value.split(",") if part.strip())
    return value


def _stripped(value: object) -> object:
    return value.strip().strip("\ufeff").strip() if isinstance(value, str) else value


def _split(value: object) -> object:
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(",") if part.strip())
    return value


SecretUrl = Annotated[SecretStr, BeforeValidator(_stripped)]


def _origins(value: object) -> object:
    if not isinstance(value, str):
        return value
    try:
        urls = [
            check_http_url(part, field="an origin") for part in value.split(",") if part.strip()
        ]
    except InvalidArgument as error:
        raise ValueError(str(error)) from None
    return tuple(origin_of(url) for url in urls)


class DatabaseSettings(EnvironmentSettings):
    """Where the database is: all that ``migrate`` and ``create-key`` need."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, frozen=True, validate_default=True, extra="ignore"
    )

    database_url: SecretUrl = Field(
        description="required; PostgreSQL 16 or newer: postgresql://user:password@host:5432/name; "
        "may lead through a pooler",
        min_length=1,
    )
    database_direct_url: SecretUrl = Field(
        SecretStr(""),
        description="leads to the same database without a transaction pooler, for LISTEN and for `migrate`; "
        "the database URL if empty",
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="least level that is logged"
    )
    log_format: Literal["auto", "json", "console"] = Field(
        "auto", description="auto is console on a terminal, else json"
    )

    @field_validator("database_url", "database_direct_url")
    @classmethod
    def _readable_url(cls, value: SecretStr) -> SecretStr:
        if value.get_secret_value():
            check_database_url(value.get_secret_value())
        return value

    def direct_url(self) -> str:
        """Return the URL of connections that need a session of their own."""
        return (
            self.database_direct_url.get_secret_value() or self.database_url.get_secret_value()
        ).strip()


class Settings(DatabaseSettings):
    """How a replica of the service runs."""

    listen: str = Field(
        "127.0.0.1:50051", description="host:port to listen on for gRPC; port 0 takes a free one"
    )
    secret_keys: Annotated[tuple[SecretStr, ...], NoDecode, BeforeValidator(_secrets)] = Field(
        description="required; Fernet keys, comma-separated, for secrets at rest: the first encrypts, "
        "all decrypt; `deployment-service generate-secret-key` makes one",
        min_length=1,
    )
    webhook_locale: str = Field(
        "en", description=f"the locale in webhook URLs: {paths.LOCALE_RULE}"
    )
    allow_config_xml: bool = Field(
        False,
        description="whether admins may define jobs by a whole config.xml: it may do anything",
    )

    allowed_origins: Annotated[tuple[str, ...], NoDecode, BeforeValidator(_origins)] = Field(
        (),
        description="origins, comma-separated, of Jenkins controllers and repositories in loopback, link-local or "
        "private ranges that tenants may use: https://jenkins.internal,http://10.0.0.5:8080; an admin of "
        "all tenants allows an origin by creating a provider with it",
    )

    api_pool_connections: Connections = Field(
        20, description="connections to the database for calls, at most"
    )
    worker_pool_connections: Connections = Field(
        10, description="connections to the database for background work and reports, at most"
    )
    watch_pool_connections: Connections = Field(
        5, description="connections to the database for reading events of watches, at most"
    )
    statement_timeout_s: Seconds = Field(20.0, description="what one SQL statement may take")
    call_timeout_s: Seconds = Field(30.0, description="deadline of unary calls that bring none")
    key_cache_s: float = Field(
        2.0, ge=0, le=30, description="how long a revoked API key may still be accepted"
    )
    trusted_proxies: Annotated[
        tuple[IPv4Network | IPv6Network, ...], NoDecode, BeforeValidator(_split)
    ] = Field(
        (),
        description="networks of proxies with many clients, comma-separated, so that limits by address do not "
        "apply: 10.0.0.0/8,::1",
    )
    max_connections: int = Field(4_000, ge=1, description="open connections of clients in all")
    max_connections_per_address: int = Field(
        500, ge=1, description="of them from one address, or one IPv6 /64 network"
    )
    max_calls_per_address: int = Field(
        2_000, ge=1, description="open calls, watches included, from one address"
    )
    failed_key_delay_s: float = Field(
        0.2, ge=0, le=5, description="how long a call without a valid key waits for its refusal"
    )
    calls_per_second_per_tenant: float = Field(
        500.0, gt=0, description="unary calls and beginning streams of one tenant on this replica"
    )
    requests_per_second_per_origin: float = Field(
        200.0,
        gt=0,
        description="requests to one Jenkins (scheme, host, port), of all tenants and replicas together",
    )
    max_active_runs_per_tenant: int = Field(
        1_000, ge=1, description="runs of one tenant that are not settled"
    )
    max_watches_per_tenant: int = Field(
        1000, ge=1, description="open watch streams of one tenant on this replica"
    )

    trigger_wait_s: Seconds = Field(
        3.0, description="how long RunDeployment and CreateDeployment wait for Jenkins"
    )
    trigger_deadline_s: Seconds = Field(
        600.0, description="how long a run may wait to be triggered before it fails"
    )
    quarantine_s: Seconds = Field(
        30.0, description="how long a request of ours may linger before it reaches Jenkins"
    )
    request_timeout_s: Seconds = Field(
        5.0,
        description="timeout of one request to Jenkins; five of them are part of the detection bound",
    )
    send_within_s: Seconds = Field(
        5.0, description="how long after it was announced a trigger may still be sent"
    )
    probe_interval_s: Seconds = Field(
        10.0, description="least time between two probes for a build that Jenkins does not show"
    )
    lost_after_s: Seconds = Field(
        30.0, description="how long a build must have been missing to count as lost"
    )
    lease_s: Seconds = Field(
        60.0, description="duration of a lease: if a replica dies, its work waits this long"
    )
    read_interval_s: Seconds = Field(
        5.0, description="how often Jenkins is read where webhooks come"
    )
    polling_interval_s: Seconds = Field(
        2.0, description="how often Jenkins is read where no webhooks come"
    )
    compare_interval_s: Seconds = Field(
        900.0,
        description="interval at which each job of the service is compared with its configuration in Jenkins",
    )

    event_retention_days: Days = Field(
        90.0,
        description="how long events are kept (each deployment's newest: for ever); a watch that was away "
        "for longer begins afresh",
    )
    delivery_retention_days: Days = Field(
        7.0,
        description="how long webhook deliveries are kept; those still to be attributed: at least a day",
    )

    deleted_retention_days: Days = Field(
        30.0,
        description="how long a deleted deployment and its runs can be read before they are purged",
    )

    max_connection_age_s: Seconds = Field(
        300.0,
        description="how long a client's connection is used for new calls: then the client resolves our name "
        "again and finds added replicas",
    )
    max_connection_age_grace_s: Seconds = Field(
        300.0,
        description="how much longer calls and watches on it may go on; watches then resume on another",
    )
    metrics_listen: str = Field("", description="host:port for Prometheus; empty: no metrics")
    drain_grace_s: Seconds = Field(
        10.0, description="how long calls under way may take to finish on shutdown"
    )
    failpoints: str = Field(
        "",
        description="makes the process fail at named points: for tests, never for real deployments",
    )

    @field_validator("listen", "metrics_listen")
    @classmethod
    def _host_and_port(cls, value: str) -> str:
        if value:
            host_port(value)
        return value

    @field_validator("webhook_locale")
    @classmethod
    def _known_to_the_gateway(cls, value: str) -> str:
        return paths.check_locale(value.strip())

    @field_validator("failpoints")
    @classmethod
    def _known_actions(cls, value: str) -> str:
        failpoints.check(value)
        return value

    @field_validator("secret_keys")
    @classmethod
    def _usable_keys(cls, value: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
        try:
            SecretBox([key.get_secret_value() for key in value])
        except ValueError:
            raise ValueError("each must be a Fernet key: 32 bytes in URL-safe base64") from None
        return value

    def secret_box(self) -> SecretBox:
        """What encrypts and decrypts secrets at rest."""
        return SecretBox([key.get_secret_value() for key in self.secret_keys])


def load_database_settings() -> DatabaseSettings:
    """Read where the database is; raises SettingsError."""
    try:
        return DatabaseSettings()
    except ValidationError as error:
        raise SettingsError(_explain(error)) from None


def load_settings() -> Settings:
    """Read all settings; raises SettingsError."""
    try:
        return Settings()
    except ValidationError as error:
        raise SettingsError(_explain(error)) from None


def _explain(error: ValidationError) -> str:
    lines = []
    for problem in error.errors(include_input=False, include_url=False):
        field = str(problem["loc"][0]) if problem["loc"] else ""
        about = Settings.model_fields[field].description if field in Settings.model_fields else ""
        missing = problem["type"] == "missing"
        defect = "is not set" if missing else problem["msg"].removeprefix("Value error, ")
        lines.append(f"{PREFIX}{field.upper()}{' ' if missing else ': '}{defect}. It is: {about}")
    lines += [f"{name} is ignored: {SERVICE_LINK}." for name in Settings.ignored()]
    return "\n".join(lines)


def describe() -> str:
    """Return a list of all settings for --help."""
    lines = []
    for name, field in Settings.model_fields.items():
        default = "" if field.is_required() else _show(field.default)
        lines.append(f"  {PREFIX}{name.upper()}\n      {field.description}{default}")
    return "\n".join(lines)


def _show(default: object) -> str:
    text = default.get_secret_value() if isinstance(default, SecretStr) else str(default)
    return f" [{text}]" if text else ""
