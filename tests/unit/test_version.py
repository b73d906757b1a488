"""`--version` of the two processes."""

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    ("module", "command"),
    [("deployment_service", "deployment-service"), ("webhook_gateway", "webhook-gateway")],
)
def test_version_is_that_of_the_package_and_needs_no_settings(module: str, command: str) -> None:
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    ended = subprocess.run(
        [sys.executable, "-m", module, "--version"],
        env={"PATH": "/usr/bin:/bin"},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert (ended.returncode, ended.stdout) == (0, f"{command} {declared}\n")
    assert ended.stderr == ""
