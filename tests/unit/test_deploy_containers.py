"""The container files: hadolint's rules and ours; each rule is shown to find what breaks it."""

from __future__ import annotations

import ast
import re
import subprocess
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.utils import canonicalize_name

from tests.support.container_files import context_problems, findings, hadolint, stages
from tests.support.deploy_files import DEPLOY, ROOT, documents

OURS = (DEPLOY / "containers" / "Dockerfile").read_text()
JENKINS = (DEPLOY / "containers" / "jenkins" / "Dockerfile").read_text()
IGNORED = (ROOT / ".dockerignore").read_text()
TARGETS = ["service", "gateway", "simulator"]


def tracked() -> list[str]:
    listing = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    if listing.returncode != 0:
        pytest.skip("not a git checkout")
    return [name for name in listing.stdout.splitlines() if (ROOT / name).is_file()]


@pytest.mark.parametrize("text", [OURS, JENKINS], ids=["ours", "jenkins"])
def test_hadolint_finds_nothing(text: str) -> None:
    assert hadolint(text) == []


@pytest.mark.parametrize(
    ("old", "new", "code"),
    [
        ("FROM ${PYTHON_IMAGE} AS runtime", "FROM python AS runtime", "DL3006"),
        ("FROM ${PYTHON_IMAGE} AS runtime", "FROM python:latest AS runtime", "DL3007"),
        ("USER 10001:10001", "USER root", "DL3002"),
        ("COPY migrations migrations", "ADD migrations migrations", "DL3020"),
        ('CMD ["serve"]', "CMD serve", "DL3025"),
        ("WORKDIR /src", "WORKDIR src", "DL3000"),
        ("RUN useradd", "RUN cd / && useradd", "DL3003"),
        ("RUN useradd", "RUN pip install uvloop && useradd", "DL3013"),
        ("RUN useradd", "RUN apt-get update && useradd", "DL3009"),
    ],
)
def test_hadolint_notices(old: str, new: str, code: str) -> None:
    assert old in OURS
    assert code in {finding.split()[1] for finding in hadolint(OURS.replace(old, new, 1))}


def test_our_rules_find_nothing() -> None:
    assert findings(OURS, TARGETS) == []
    (only,) = stages(JENKINS)
    assert findings(JENKINS, [only]) == []


@pytest.mark.parametrize(
    ("old", "new", "finding"),
    [
        ("python:3.11-slim", "registry.example/python:3.11-slim", "names its registry"),
        ("python:3.11-slim", "localhost:5000/python:3.11-slim", "names its registry"),
        ("python:3.11-slim", "python", "without a tag"),
        ("python:3.11-slim", "python:latest", "without a tag"),
        ("USER 10001:10001", "USER deployment", "the user is deployment"),
        ("USER 10001:10001", "USER 0:0", "the user is 0:0"),
        ("USER 10001:10001\n", "", "the user is root"),
        ("FROM runtime AS gateway", "FROM runtime AS gateway\nUSER root", "the user is root"),
        ("--require-hashes \\\n", "\\\n", "pip without hashes"),
        (" --no-index --wheel-dir", " --wheel-dir", "pip without hashes"),
        ("EXPOSE 8080 9464", "EXPOSE 9464", "WEBHOOK_GATEWAY_PORT listens on 8080"),
        ("WEBHOOK_GATEWAY_PORT", "WEBHOOK_GATEWAY_HTTP_PORT", "no such setting"),
        ('CMD ["serve"]', 'CMD ["server"]', "invalid choice"),
        ('ENTRYPOINT ["webhook-gateway"]', 'ENTRYPOINT ["gateway"]', "not a command of ours"),
        ('["python", "healthcheck.py", "http"', '["wget"', "image lacks"),
        ('CMD ["python", "healthcheck.py", "grpc"', 'CMD ["grpc_health_probe"', "image lacks"),
        ("install --no-cache-dir", "install", "pip keeps its cache"),
        ("wheel --no-cache-dir", "wheel", "pip keeps its cache"),
        ("PYTHONUNBUFFERED=1", "WEBHOOK_GATEWAY_API_KEY=dsk_1", "a secret in the image"),
        ("WORKDIR /src", "RUN python -m pip install uvloop", "pip without hashes"),
        ("WORKDIR /src", "RUN pip wheel --index-url https://index.example/ -r x", "an address"),
    ],
)
def test_our_rules_notice(old: str, new: str, finding: str) -> None:
    assert old in OURS
    assert any(finding in one for one in findings(OURS.replace(old, new, 1), TARGETS))


def test_a_missing_health_check_is_noticed() -> None:
    lines = OURS.replace(" \\\n    CMD [", " CMD [").splitlines()
    without = "\n".join(line for line in lines if not line.startswith("HEALTHCHECK"))
    assert [one for one in findings(without, TARGETS) if "no health check" in one] == [
        f"{target}: no health check in exec form" for target in TARGETS
    ]


def test_the_build_context_is_what_the_images_are_made_of() -> None:
    assert context_problems(OURS, IGNORED, tracked()) == []


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("!migrations\n", "", "copied, but hidden: migrations/env.py"),
        ("!README.md\n", "", "copied, but hidden: README.md"),
        ("!deploy/containers/healthcheck.py", "!deploy", "sent, but not copied: deploy/"),
        ("*\n!LICENSE", "!LICENSE", "sent, but not copied: tests/"),
        ("**/*.pyc", "**/*.py", "copied, but hidden: deployment_service/__init__.py"),
    ],
)
def test_a_wrong_build_context_is_noticed(old: str, new: str, problem: str) -> None:
    assert old in IGNORED
    problems = context_problems(OURS, IGNORED.replace(old, new, 1), tracked())
    assert any(one.startswith(problem) for one in problems)


def test_a_file_that_is_not_there_is_noticed() -> None:
    damaged = OURS.replace("COPY migrations migrations", "COPY migration migration")
    assert "copied, but not in the repository: migration" in context_problems(
        damaged, IGNORED, tracked()
    )


@pytest.mark.parametrize(
    ("package", "locks"),
    [
        ("deployment_service", ["production"]),
        ("webhook_gateway", ["production"]),
        ("jenkins_simulator", ["production", "simulator"]),
    ],
)
def test_the_images_hold_all_that_is_imported(package: str, locks: list[str]) -> None:
    pins = {
        name
        for lock in locks
        for name in re.findall(
            r"^([a-z0-9.-]+)==", (ROOT / f"requirements-{lock}.lock").read_text(), re.MULTILINE
        )
    }
    assert missing_distributions(ROOT / package, pins) == set()
    assert missing_distributions(ROOT / package, pins - {"aiohttp", "sqlalchemy"}) != set()


def missing_distributions(package: Path, pins: set[str]) -> set[str]:
    """Return the distributions whose modules the package imports, and which are not among ``pins``."""
    modules = {
        alias.split(".")[0]
        for path in package.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        for alias in _imported(node)
    }
    owners = packages_distributions()
    return {
        name
        for module in modules
        for name in [canonicalize_name(one) for one in owners.get(module, [])]
        if name not in pins | {"deployment-service"}
        # Several distributions share a namespace, such as `google`; one that is held is enough.
        and not pins & {canonicalize_name(one) for one in owners[module]}
    }


def _imported(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    return [node.module] if isinstance(node, ast.ImportFrom) and node.module else []


def test_jenkins_has_the_plugins_that_its_configuration_and_the_docs_need() -> None:
    lines = (DEPLOY / "containers" / "jenkins" / "plugins.txt").read_text().splitlines()
    plugins = dict(line.partition(":")[::2] for line in lines if not line.startswith("#"))
    assert {"configuration-as-code", "matrix-auth", "plain-credentials"} <= plugins.keys()
    # The version of the recordings in tests/conformance.
    assert plugins["notification"] == "1.19"


def test_jenkins_grants_the_account_what_the_readme_names_and_no_more() -> None:
    (configuration,) = documents((DEPLOY / "containers" / "jenkins" / "jenkins.yaml").read_text())
    entries = configuration["jenkins"]["authorizationStrategy"]["globalMatrix"]["entries"]
    granted = {one["user"]["name"]: one["user"]["permissions"] for one in entries}
    assert set(granted["deployer"]) == {
        "Overall/Read",
        *(f"Job/{name}" for name in ("Read", "Build", "Cancel", "Create", "Configure", "Delete")),
        *(f"Credentials/{name}" for name in ("View", "Create", "Update", "Delete")),
    }
    text = (DEPLOY / "containers" / "jenkins" / "jenkins.yaml").read_text()
    users = configuration["jenkins"]["securityRealm"]["local"]["users"]
    assert all(user["password"].startswith("${") for user in users), text
