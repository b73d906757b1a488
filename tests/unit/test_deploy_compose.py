"""deploy/compose.yaml: by the schema of Compose, and by our rules, each of which is shown to find a damaged file."""

from __future__ import annotations

from typing import Any

import pytest

from deployment_service.runtime.secret_box import generate_key
from jenkins_simulator.__main__ import _arguments
from tests.support.compose_files import findings, reaches
from tests.support.deploy_files import DEPLOY, check_settings, documents, interpolated

TEXT = (DEPLOY / "compose.yaml").read_text()
VARIABLES = {
    "POSTGRES_PASSWORD": "Zm9v-YmFy_",
    "DEPLOYMENT_SERVICE_SECRET_KEYS": generate_key(),
    "WEBHOOK_GATEWAY_API_KEY": "dsk_1",
    "JENKINS_ADMIN_PASSWORD": "a",
    "JENKINS_DEPLOYER_PASSWORD": "b",
}


def services(**variables: str) -> dict[str, Any]:
    (compose,) = documents(TEXT)
    found = interpolated(compose["services"], VARIABLES | variables)
    assert isinstance(found, dict)
    return found


def test_the_file_keeps_the_schema_and_our_rules() -> None:
    assert findings(TEXT, VARIABLES) == []


@pytest.mark.parametrize(
    ("old", "new", "finding"),
    [
        ("depends_on:", "depend_on:", "schema: "),
        ("condition: service_healthy", "condition: healthy", "schema: "),
        ("stop_grace_period: 20s", "stop_grace_period: soon", "schema: "),
        ("services:", "service:", "schema: "),
        ("postgres:17", "registry.example/postgres:17", "names its registry"),
        ("postgres:17", "postgres", "without a tag"),
        ("postgres:17", "postgres:latest", "without a tag"),
        ("  read_only: true\n", "", "service: without read_only"),
        ("  cap_drop: [ALL]\n", "  cap_drop: [SYS_ADMIN]\n", "gateway: without cap_drop"),
        ('"no-new-privileges:true"', '"seccomp:unconfined"', "simulator: without security_opt"),
        ("_ALLOWED_ORIGINS", "_ALLOWED_ORIGIN", "no such setting"),
        ("WEBHOOK_GATEWAY_SERVICE_TARGET", "WEBHOOK_GATEWAY_TARGET", "no such setting"),
        ('command: ["migrate"]', 'command: ["upgrade"]', "invalid choice"),
        ("target: gateway", "target: gate", "nothing to build"),
        ('tmpfs: ["/tmp:mode=1777,size=16m"]', "tmpfs: []", "do not go together"),
        ('tmpfs: ["/tmp:mode=1777,size=64m"]', 'tmpfs: ["/var/tmp"]', "do not go together"),
        ("context: ..", "context: .", "nothing to build"),
        ("PYTHON_IMAGE:", "BASE_IMAGE:", "no such build argument"),
        ("      test: [", "      x-test: [", "waits for postgres, which has no health check"),
        ('    restart: "no"\n', "", "waits for the end of migrate"),
        ("      migrate: {", "      migration: {", "depends on migration"),
        ("networks: [database]", "networks: [db]", "no such network"),
        ("127.0.0.1:${SERVICE_PORT", "${SERVICE_PORT", "other machines reach"),
        ("${WEBHOOK_GATEWAY_API_KEY-}", "dsk_1", "a secret that stands in the file"),
        ("${JENKINS_ADMIN_PASSWORD:?see docs/how-to/containers.md}", "a", "a secret that stands"),
        ("deployment:${POSTGRES_PASSWORD}@", "deployment:x@", "a password that stands"),
    ],
)
def test_a_damaged_file_is_noticed(old: str, new: str, finding: str) -> None:
    assert old in TEXT
    assert any(finding in one for one in findings(TEXT.replace(old, new, 1), VARIABLES))


def test_a_key_that_stands_twice_is_an_error() -> None:
    with pytest.raises(Exception, match="twice: service"):
        documents(TEXT.replace("  gateway:\n    <<", "  service:\n    <<"))


@pytest.mark.parametrize("name", sorted(set(VARIABLES) - {"WEBHOOK_GATEWAY_API_KEY"}))
def test_nothing_starts_without_its_secrets(name: str) -> None:
    with pytest.raises(KeyError, match=f"{name}: see docs/how-to/containers.md"):
        services(**{name: ""})


def test_both_processes_accept_their_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    service, gateway = services()["service"], services()["gateway"]
    settings = check_settings("DEPLOYMENT_SERVICE_", service["environment"], monkeypatch)
    assert settings.allowed_origins == ("http://simulator:8080", "http://jenkins:8080")
    settings = check_settings("WEBHOOK_GATEWAY_", gateway["environment"], monkeypatch)
    assert settings.service_target == "dns:///service:50051"


def test_the_gateway_says_when_its_key_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    gateway = services(WEBHOOK_GATEWAY_API_KEY="")["gateway"]
    with pytest.raises(ValueError, match="api_key"):
        check_settings("WEBHOOK_GATEWAY_", gateway["environment"], monkeypatch)


def test_the_simulator_accepts_its_arguments(monkeypatch: pytest.MonkeyPatch) -> None:
    command = services()["simulator"]["command"]
    monkeypatch.setattr("sys.argv", ["jenkins_simulator", *command])
    assert _arguments().host == services()["simulator"]["hostname"]


def test_only_what_needs_the_database_reaches_it() -> None:
    found = services()
    assert {one for one in found if reaches(found, one, "postgres")} == {
        "postgres",
        "migrate",
        "service",
    }
    for one in ("gateway", "simulator", "jenkins"):
        assert reaches(found, one, "service")
    assert reaches(found, "simulator", "gateway")


def test_the_real_jenkins_is_there_only_when_asked_for() -> None:
    assert {name for name, one in services().items() if "profiles" in one} == {"jenkins"}
