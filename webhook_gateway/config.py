"""Settings from the environment (prefix WEBHOOK_GATEWAY_)."""

from __future__ import annotations

import ipaddress
from typing import Annotated, Literal

from limits import RateLimitItem, parse
from pydantic import BeforeValidator, Field, PlainSerializer, SecretStr, field_validator
from pydantic_settings import NoDecode, SettingsConfigDict

from deployment_service.runtime.metrics_server import host_port
from deployment_service.runtime.secret_text import clean_secret
from deployment_service.runtime.settings_source import EnvironmentSettings

PREFIX = "WEBHOOK_GATEWAY_"

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def _networks(value: object) -> object:
    if isinstance(value, str):
        return tuple(
            ipaddress.ip_network(part.strip()) for part in value.split(",") if part.strip()
        )
    return value


def _secret(value: object) -> object:
    return clean_secret(value) if isinstance(value, str) else value


def _rate(value: object) -> object:
    return parse(value) if isinstance(value, str) else value


# `60/minute`, in the notation of the library `limits`.
Rate = Annotated[
    RateLimitItem, BeforeValidator(_rate), PlainSerializer(lambda rate: str(rate), return_type=str)
]
Seconds = Annotated[float, Field(gt=0, le=3600)]


class Settings(EnvironmentSettings):
    """The settings of a gateway."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, arbitrary_types_allowed=True, frozen=True, validate_default=True
    )

    service_target: str = Field("127.0.0.1:50051", description="the deployment service, for gRPC")
    api_key: Annotated[SecretStr, BeforeValidator(_secret)] = Field(
        description="required; the gateway's own API key (role gateway)", min_length=1
    )
    use_proxy: bool = Field(
        False, description="whether calls to the service go by http_proxy of the environment"
    )
    host: str = Field("127.0.0.1", description="address to listen on")
    port: int = Field(8080, ge=0, le=65535, description="port to listen on; 0 takes a free one")
    metrics_listen: str = Field(
        "",
        description="host:port for Prometheus, which only operators may reach; empty: no metrics",
    )
    trusted_proxies: Annotated[tuple[Network, ...], NoDecode, BeforeValidator(_networks)] = Field(
        (),
        description="networks of trusted proxies, comma-separated, whose X-Forwarded-For is used: 10.0.0.0/8,::1",
    )

    failed_proofs: Rate = Field(
        parse("60/minute"), description="requests without a valid token, from one address"
    )
    tenant_ceiling: Rate = Field(parse("500/second"), description="authentic reports of one tenant")
    max_connections: int = Field(2000, ge=1, description="open connections in all")
    max_connections_per_address: int = Field(
        500, ge=1, description="of them from one address that isn't a trusted proxy"
    )
    idle_timeout: Seconds = Field(
        20.0, description="seconds in which a connection must bring a request's head"
    )
    body_timeout: Seconds = Field(10.0, description="seconds in which a body must arrive")
    write_timeout: Seconds = Field(
        10.0, description="seconds in which a client must read its answer"
    )
    max_body_bytes: int = Field(8 * 2**20, ge=1024, description="largest body")
    max_bodies_bytes: int = Field(
        128 * 2**20,
        ge=1024,
        description="bytes of all bodies in memory; a quarter of it for one tenant",
    )
    failed_proof_delay: float = Field(
        0.05,
        ge=0,
        le=5,
        description="seconds before a failed proof is answered, so that its duration does not show why it failed",
    )

    answer_timeout: Seconds = Field(
        1.0, description="seconds that a request waits for the service before it gets 503"
    )
    call_timeout: Seconds = Field(5.0, description="deadline of one call to the service, seconds")
    max_calls: int = Field(4, ge=1, le=64, description="calls to the service at the same time")
    max_batch: int = Field(500, ge=1, le=1000, description="reports in one call")
    queue_reports: int = Field(
        20_000, ge=1, description="reports kept in memory; half of it for one tenant"
    )
    queue_bytes: int = Field(64 * 2**20, ge=2**20, description="their size, likewise")
    stale_keys: float = Field(
        3600.0,
        ge=0,
        description="seconds that verifiers stay usable while the service is unavailable",
    )
    verifier_interval: Seconds = Field(
        5.0, description="seconds between two reads of changed verifiers while no proof fails"
    )

    stop_timeout: Seconds = Field(10.0, description="seconds that a graceful stop may take")
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="lowest level that is logged"
    )
    log_format: Literal["auto", "json", "console"] = Field(
        "auto", description="auto is console on a terminal, else json"
    )

    @field_validator("metrics_listen")
    @classmethod
    def _host_and_port(cls, value: str) -> str:
        if value:
            host_port(value)
        return value


def describe() -> str:
    """Return a list of all settings for --help."""
    lines = []
    for name, field in Settings.model_fields.items():
        default = "" if field.is_required() else _show(field.default)
        suffix = f" [{default}]" if default else ""
        lines.append(f"  {PREFIX}{name.upper()}\n      {field.description}{suffix}")
    return "\n".join(lines)


def _show(default: object) -> str:
    if default == ():
        return "none"
    if isinstance(default, RateLimitItem):
        return f"{default.amount}/{default.GRANULARITY.name}"
    return str(default)
