"""docs/how-to/containers.md: files, targets, names and tests on the page exist, and its settings are accepted."""

from __future__ import annotations

import re
import stat
import subprocess
from pathlib import Path

import pytest

from tests.support.compose_files import findings
from tests.support.container_files import stages
from tests.support.deploy_files import (
    DEPLOY,
    ROOT,
    check_settings,
    command_problem,
    documents,
    env_file,
    interpolated,
)
from tests.support.kubernetes_files import environment, of_kind, texts, workloads

PAGE = (ROOT / "docs" / "how-to" / "containers.md").read_text()
BLOCKS = re.findall(r"^```sh\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


def test_every_file_on_the_page_exists() -> None:
    named = set(re.findall(r"\b(?:deploy/[\w./-]*\w|requirements[\w-]*\.lock)", PAGE))
    assert len(named) > 8
    assert {one for one in named if not (ROOT / one).exists()} <= {"deploy/.env", "deploy/systemd"}
    existing = {path.stem for path in (ROOT / "tests").rglob("test_*.py")}
    assert set(re.findall(r"`(test_deploy_\w+)`", PAGE)) <= existing


def test_the_images_that_it_builds_are_those_of_the_manifests() -> None:
    built = dict(re.findall(r"--target (\w+) --tag ([\w.:-]+) \.", PAGE))
    found = stages((DEPLOY / "containers" / "Dockerfile").read_text())
    assert set(built) == {"service", "gateway", "simulator"} <= set(found)
    manifests = [one for text in texts("base").values() for one in documents(text)]
    used = {pod["spec"]["containers"][0]["image"] for _, pod in workloads(manifests)}
    assert used == {built["service"], built["gateway"]}


def test_the_secrets_that_it_makes_for_compose_are_accepted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "deploy").mkdir()
    (script,) = [block for block in BLOCKS if "/dev/urandom" in block]
    subprocess.run(["sh", "-eu", "-c", script], cwd=tmp_path, check=True, timeout=30)
    path = tmp_path / "deploy" / ".env"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    variables = env_file(path.read_text())
    text = (DEPLOY / "compose.yaml").read_text()
    assert findings(text, variables) == []
    (compose,) = documents(text)
    values = interpolated(compose["services"]["service"]["environment"], variables)
    settings = check_settings("DEPLOYMENT_SERVICE_", values, monkeypatch)
    assert variables["POSTGRES_PASSWORD"] in settings.direct_url()


def test_the_services_that_it_starts_with_compose_exist() -> None:
    (compose,) = documents((DEPLOY / "compose.yaml").read_text())
    named = set(re.findall(r"(?:--detach|exec -T) (\w+)", PAGE))
    assert named == {"service"} <= set(compose["services"])
    (profile,) = set(re.findall(r"--profile (\w+)", PAGE))
    assert compose["services"]["jenkins"]["profiles"] == [profile]


def test_the_secrets_that_it_creates_are_those_that_the_manifests_ask_for() -> None:
    created = {
        (name, key.partition("=")[0])
        for name, files in re.findall(
            r"create secret generic ([\w-]+)((?: --from-file=\S+)+)", PAGE
        )
        for key in re.findall(r"--from-file=(\S+)", files)
    }
    resources = [
        one for text in (texts("base") | texts("migrate")).values() for one in documents(text)
    ]
    for _, pod in workloads(resources):
        pod["spec"]["containers"][0].pop("envFrom", None)
    asked = {
        tuple(value.removeprefix("secret ").split("/"))
        for _, pod in workloads(resources)
        for value in environment(resources, pod["spec"]["containers"][0]).values()
    }
    assert created == asked
    objects = re.findall(r" (job|deployment)/([\w-]+)", PAGE)
    assert {kind for kind, _ in objects} == {"job", "deployment"}
    for kind, name in objects:
        assert name in of_kind(resources, kind.capitalize())


def test_the_commands_of_ours_on_the_page_exist() -> None:
    lines = re.findall(r"deployment-service (create-key[ \w-]*\w|migrate|serve)", PAGE)
    assert lines
    for line in lines:
        assert command_problem(["deployment-service", *line.split()]) is None
