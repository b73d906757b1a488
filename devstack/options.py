"""How a development stack is to be: in code, or by the environment of ``make run``."""

from __future__ import annotations

import os
import secrets
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from devstack.children import StackError
from jenkins_simulator import SimulatedUser, SimulatorConfig

JENKINS_VARIABLES = ("DEV_JENKINS_URL", "DEV_JENKINS_USER", "DEV_JENKINS_TOKEN")
SIMULATOR_VARIABLES = ("DEV_SIMULATOR_URL", "DEV_SIMULATOR_USER", "DEV_SIMULATOR_TOKEN")
"""Value that marks a stack's settings as those of a simulated Jenkins: its account is not one of a real Jenkins."""
SIMULATOR_USER = "deployer"


@dataclass(frozen=True)
class RealJenkins:
    """A Jenkins that exists. ``webhook_base_url``: where it reaches our gateway, empty if it can't."""

    url: str
    user: str
    token: str
    webhook_base_url: str = ""


@dataclass(frozen=True)
class StackOptions:
    """The defaults are those of tests: everything fresh, on free ports, not durable."""

    jenkins: RealJenkins | None = None
    """None: the simulator."""
    simulator: SimulatorConfig = field(default_factory=lambda: simulator_config())
    database_url: str | None = None
    """A database on a server that exists; None: an embedded server, with fresh data."""
    durable: bool = False
    """Whether the embedded server survives power cuts."""
    secret_keys_path: Path | None = None
    """Keeps the key of secrets at rest for a database that outlives the stack."""
    tenant: str = "demo"
    provider: str = "main"
    service_port: int = 0
    gateway_port: int = 0
    """Ports to prefer; another if one is taken. 0: any."""
    service_settings: Mapping[str, str] = field(default_factory=dict)
    gateway_settings: Mapping[str, str] = field(default_factory=dict)
    """Further settings of the processes, without prefix: ``{"READ_INTERVAL_S": "1"}``."""


def simulator_config(port: int = 0) -> SimulatorConfig:
    """Settings of a simulated Jenkins, slower than in tests and faster than a real one."""
    user = SimulatedUser(password=secrets.token_urlsafe(12), api_token="11" + secrets.token_hex(16))
    return SimulatorConfig(
        port=port,
        quiet_period_s=0.5,
        executors=4,
        finalize_delay_s=0.1,
        users={SIMULATOR_USER: user},
    )


def options_for_run(folder: Path, environ: Mapping[str, str] = os.environ) -> StackOptions:
    """Options of ``make run``: default ports, durable data, and optionally a real Jenkins or database."""
    database_url = environ.get("DEV_DATABASE_URL") or None
    return StackOptions(
        jenkins=_real_jenkins(environ),
        simulator=simulator_config(preferred(8080)),
        database_url=database_url,
        durable=True,
        secret_keys_path=folder / "secret-keys" if database_url else None,
        service_port=50051,
        gateway_port=8081,
        service_settings={"LOG_LEVEL": environ.get("DEV_LOG_LEVEL", "info")},
        gateway_settings={"LOG_LEVEL": environ.get("DEV_LOG_LEVEL", "info")},
    )


def means_a_simulator(environ: Mapping[str, str]) -> bool:
    """Whether DEV_JENKINS_URL comes from an earlier stack's settings and means its simulator: no Jenkins to use."""
    url = environ.get(JENKINS_VARIABLES[0], "").strip()
    return bool(url) and url == environ.get(SIMULATOR_VARIABLES[0], "").strip()


def _real_jenkins(environ: Mapping[str, str]) -> RealJenkins | None:
    if means_a_simulator(environ):
        return None
    url, user, token = (environ.get(name, "").strip() for name in JENKINS_VARIABLES)
    if not (url or user or token):
        return None
    missing = [name for name in JENKINS_VARIABLES if not environ.get(name, "").strip()]
    if missing:
        raise StackError(
            f"To use a real Jenkins set all three of {', '.join(JENKINS_VARIABLES)}; "
            f"missing: {', '.join(missing)}. To use the simulator set none of them."
        )
    return RealJenkins(url, user, token, environ.get("DEV_WEBHOOK_BASE_URL", "").strip())


def preferred(port: int) -> int:
    """The port if it is free, else 0: any."""
    if port == 0:
        return 0
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return 0
    return port
