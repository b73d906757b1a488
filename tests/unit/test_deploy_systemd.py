"""The systemd units: by systemd itself where it is installed, and by our rules; each finds a damaged unit."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections import defaultdict
from pathlib import Path

import pytest

from deployment_service.runtime.secret_box import generate_key
from tests.support.deploy_files import (
    DEPLOY,
    check_settings,
    command_problem,
    env_file,
    is_secret,
    unknown_settings,
)
from tests.support.kubernetes_wiring import stop_bound_s

FOLDER = DEPLOY / "systemd"
SERVICE = "deployment-service.service"
GATEWAY = "webhook-gateway.service"
MIGRATE = "deployment-service-migrate.service"
UNITS = (SERVICE, GATEWAY, MIGRATE)
BIN = "/opt/deployment-service/bin/"
# systemd.exec(5). `strace` of both processes showed no call outside of the filter and no other kind of socket; both ran
# with PR_SET_MDWE, the kernel's own form of MemoryDenyWriteExecute.
HARDENING = {
    "DynamicUser": ["yes"],
    "NoNewPrivileges": ["yes"],
    "CapabilityBoundingSet": [""],
    "AmbientCapabilities": [""],
    "ProtectSystem": ["strict"],
    "ProtectHome": ["yes"],
    "ProtectKernelModules": ["yes"],
    "ProtectKernelTunables": ["yes"],
    "ProtectControlGroups": ["yes"],
    "PrivateDevices": ["yes"],
    "PrivateTmp": ["yes"],
    "MemoryDenyWriteExecute": ["yes"],
    "RestrictAddressFamilies": ["AF_INET AF_INET6 AF_UNIX"],
    "RestrictNamespaces": ["yes"],
    "RestrictSUIDSGID": ["yes"],
    "SystemCallFilter": ["@system-service", "~@privileged @resources"],
    "UMask": ["0077"],
}


def directives(text: str) -> dict[str, list[str]]:
    """Return the values of each directive, whatever its section."""
    found: dict[str, list[str]] = defaultdict(list)
    for line in text.splitlines():
        if "=" in line and not line.startswith("#"):
            name, value = line.split("=", 1)
            found[name].append(value)
    return found


def problems(name: str, text: str) -> list[str]:
    """Return what breaks our rules in a unit."""
    unit = directives(text)
    found = [f"{key} is {unit[key]}" for key, wanted in HARDENING.items() if unit[key] != wanted]
    command = unit["ExecStart"][0].split()
    problem = command_problem([command[0].removeprefix(BIN), *command[1:]])
    if problem:
        found.append(problem)
    if any(re.search(r"PASSWORD|SECRET|KEY|TOKEN|URL", one) for one in unit["Environment"]):
        found.append("a secret that everybody can read in the unit")
    (settings,) = unit["EnvironmentFile"] or [""]
    if not (FOLDER / (Path(settings).name + ".example")).is_file():
        found.append(f"no example of {settings}")
    if name == MIGRATE:
        found += ["not run once"] if unit["Type"] != ["oneshot"] else []
        return found
    if unit["Restart"] != ["on-failure"] or unit["RestartPreventExitStatus"] != ["2"]:
        found.append("not started again after a failure, or for ever with wrong settings")
    if unit["WantedBy"] != ["multi-user.target"]:
        found.append("not started with the machine")
    example = env_file((FOLDER / (Path(settings).name + ".example")).read_text())
    if int(unit["TimeoutStopSec"][0]) < stop_bound_s(example):
        found.append("killed before it has stopped")
    return found


@pytest.mark.parametrize("name", UNITS)
def test_the_units_keep_our_rules(name: str) -> None:
    assert problems(name, (FOLDER / name).read_text()) == []


@pytest.mark.parametrize(
    ("name", "old", "new", "finding"),
    [
        (SERVICE, "DynamicUser=yes\n", "User=root\n", "DynamicUser is []"),
        (GATEWAY, "ProtectSystem=strict", "ProtectSystem=full", "ProtectSystem is ['full']"),
        (GATEWAY, "CapabilityBoundingSet=\n", "CapabilityBoundingSet=CAP_CHOWN\n", "Capability"),
        (MIGRATE, "NoNewPrivileges=yes", "# NoNewPrivileges=yes", "NoNewPrivileges is []"),
        (MIGRATE, "SystemCallFilter=~@privileged @resources\n", "", "SystemCallFilter"),
        (SERVICE, "AF_UNIX", "AF_UNIX AF_PACKET", "RestrictAddressFamilies"),
        (SERVICE, "bin/deployment-service serve", "bin/deployment-service run", "invalid choice"),
        (GATEWAY, "bin/webhook-gateway", "bin/gateway", "not a command of ours"),
        (GATEWAY, "RestartSec=5", "Environment=WEBHOOK_GATEWAY_API_KEY=dsk_1", "a secret"),
        (GATEWAY, "gateway.env", "webhook.env", "no example of"),
        (MIGRATE, "Type=oneshot", "Type=exec", "not run once"),
        (SERVICE, "Restart=on-failure", "Restart=no", "not started again"),
        (SERVICE, "RestartPreventExitStatus=2\n", "", "for ever with wrong settings"),
        (SERVICE, "multi-user.target", "rescue.target", "not started with the machine"),
        (SERVICE, "TimeoutStopSec=60", "TimeoutStopSec=30", "killed before it has stopped"),
        (GATEWAY, "TimeoutStopSec=30", "TimeoutStopSec=10", "killed before it has stopped"),
    ],
)
def test_a_damaged_unit_is_noticed(name: str, old: str, new: str, finding: str) -> None:
    text = (FOLDER / name).read_text()
    assert old in text
    damaged = text.replace(old, new, 1)
    if "no example" in finding:
        with pytest.raises(FileNotFoundError):
            problems(name, damaged)
        return
    assert any(finding in one for one in problems(name, damaged))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A file system with the units, the commands that they start and the targets that they name."""
    for folder in ("etc/systemd/system", "usr/lib/systemd/system", BIN[1:]):
        (tmp_path / folder).mkdir(parents=True)
    for name in UNITS:
        shutil.copy(FOLDER / name, tmp_path / "etc/systemd/system" / name)
    for command in ("deployment-service", "webhook-gateway"):
        path = tmp_path / BIN[1:] / command
        path.write_text("#!/bin/sh\n")
        path.chmod(0o755)
    for target in ("sysinit", "basic", "shutdown", "network-online", "multi-user"):
        path = tmp_path / f"usr/lib/systemd/system/{target}.target"
        path.write_text("[Unit]\nDefaultDependencies=no\n")
    return tmp_path


def analyze(*arguments: str) -> str:
    """Return what systemd-analyze prints; skip the test where it is missing or too old for these options."""
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed")
    ended = subprocess.run(
        ["systemd-analyze", *arguments], capture_output=True, text=True, timeout=50
    )
    if re.search(r"unrecognized option|only supported|not supported", ended.stderr):
        pytest.skip(f"systemd-analyze: {ended.stderr.strip()}")
    return ended.stdout + ended.stderr


def test_systemd_finds_nothing_in_the_units(root: Path) -> None:
    assert analyze("verify", f"--root={root}", *UNITS) == ""


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("ProtectSystem=", "ProtectSystm=", "Unknown key"),
        ("ProtectHome=yes", "ProtectHome=maybe", "Failed to parse"),
        ("SystemCallFilter=@system-service", "SystemCallFilter=@all", "Unknown system call group"),
        ("bin/webhook-gateway", "bin/gateway", "not executable"),
        ("RestartSec=5", "RestartSec=soon", "Failed to parse"),
    ],
)
def test_systemd_notices_a_damaged_unit(root: Path, old: str, new: str, told: str) -> None:
    path = root / "etc/systemd/system" / GATEWAY
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    assert told in analyze("verify", f"--root={root}", *UNITS)


@pytest.mark.parametrize("name", UNITS)
def test_systemd_rates_the_exposure_as_low(root: Path, name: str) -> None:
    """`systemd-analyze security` rates from 0 (nothing exposed) to 10; up to 2 it calls OK."""
    assert exposure(root, name) <= 2
    path = root / "etc/systemd/system" / name
    path.write_text(path.read_text().replace("CapabilityBoundingSet=\n", ""))
    assert exposure(root, name) > 2


def exposure(root: Path, name: str) -> float:
    told = analyze("security", "--offline=true", f"--root={root}", name)
    rated = re.search(r"exposure level for \S+: ([0-9.]+)", told)
    assert rated, told
    return float(rated[1])


@pytest.mark.parametrize("prefix", ["DEPLOYMENT_SERVICE_", "WEBHOOK_GATEWAY_"])
def test_the_example_settings_are_accepted_once_the_secrets_are_set(
    prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "service" if prefix == "DEPLOYMENT_SERVICE_" else "gateway"
    values = env_file((FOLDER / f"{name}.env.example").read_text())
    assert unknown_settings(values) == []
    assert all(("CHANGE_ME" in value) is is_secret(key) for key, value in values.items())
    filled = {key: value.replace("CHANGE_ME", generate_key()) for key, value in values.items()}
    check_settings(prefix, filled, monkeypatch)


def test_the_migration_needs_its_database_only() -> None:
    values = env_file((FOLDER / "migrate.env.example").read_text())
    assert set(values) == {"DEPLOYMENT_SERVICE_DATABASE_URL"}


def test_the_two_processes_of_one_machine_do_not_share_a_port() -> None:
    values = [
        value
        for name in ("service", "gateway")
        for key, value in env_file((FOLDER / f"{name}.env.example").read_text()).items()
        if key.endswith(("_LISTEN", "_PORT"))
    ]
    ports = [value.rpartition(":")[2] for value in values]
    assert len(ports) == len(set(ports))
