"""Each command without the packages of its extra says in one line what to install."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CORE = ("google", "grpc", "grpc_status", "typing_extensions.py")


@pytest.mark.parametrize(
    ("module", "command", "extra"),
    [
        ("deployment_service", "deployment-service", "service"),
        ("webhook_gateway", "webhook-gateway", "gateway"),
        ("deployment_service.client.cli.main", "deployctl", "cli"),
    ],
)
@pytest.mark.parametrize("arguments", [[], ["--help"], ["serve"]], ids=["bare", "help", "command"])
def test_a_command_without_its_extra_says_what_to_install(
    tmp_path: Path, module: str, command: str, extra: str, arguments: list[str]
) -> None:
    installed = next(Path(one) for one in sys.path if one.endswith("site-packages"))
    for name in CORE:
        if (installed / name).exists():
            (tmp_path / name).symlink_to(installed / name)
    ended = subprocess.run(
        [sys.executable, "-S", "-m", module, *arguments],
        env={"PYTHONPATH": f"{tmp_path}:{ROOT}", "PATH": "/usr/bin:/bin"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert ended.returncode == 2
    assert ended.stdout == ""
    (line,) = ended.stderr.splitlines()
    assert line.startswith(f"{command}: the package ")
    assert f"pip install 'deployment-service[{extra}]'" in line
