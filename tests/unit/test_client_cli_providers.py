"""deployctl providers: findings as a table that is read without colours, and an exit code for scripts."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest
import pytest_asyncio

from deployment_service.client.cli.providers import ReportingWord, _provider
from deployment_service.client.cli.settings import CliError
from deployment_service.v1 import admin_service_pb2 as pb
from tests.support.scripted_service import Fail, ScriptedService, error_info, scripted_service
from tests.unit.test_client_cli import deployctl

WRONG = pb.ProviderFinding(
    kind=pb.ProviderFinding.KIND_NOT_ROOT,
    severity=pb.ProviderFinding.SEVERITY_ERROR,
    message="http://ci/job/shop/ is a folder. Set base_url to http://ci/.",
    field="base_url",
    settings_wrong=True,
)
SLOW = pb.ProviderFinding(
    kind=pb.ProviderFinding.KIND_JENKINS_URL,
    severity=pb.ProviderFinding.SEVERITY_WARNING,
    message="Careful \x1b[31m[red]with[/red] :smile: this.",
)
FINE = pb.ProviderFinding(
    kind=pb.ProviderFinding.KIND_JENKINS,
    severity=pb.ProviderFinding.SEVERITY_INFO,
    message="Jenkins 2.440 answers at http://ci/.",
)
MADE = pb.Provider(name="tenants/demo/providers/main", base_url="http://ci/")


@pytest_asyncio.fixture
async def service() -> AsyncIterator[ScriptedService]:
    async with scripted_service() as service:
        yield service


async def test_findings_are_a_table_and_an_error_fails_the_command(service):
    service.will("CheckProvider", pb.CheckProviderResponse(findings=[WRONG, FINE]))
    ended = await deployctl(service, "providers", "check", "main")
    lines = [line.split() for line in ended.out.splitlines()]
    assert lines[0] == ["SEVERITY", "ABOUT", "SETTING", "FINDING"]
    assert lines[1][:3] == ["error", "not", "root"]
    assert "Set base_url to http://ci/." in ended.out
    assert lines[2][:2] == ["info", "jenkins"]
    assert ended.out.endswith("1 error.\n")
    assert ended.code == 4
    (request,) = service.requests["CheckProvider"]
    assert request.name == "tenants/demo/providers/main"
    assert not request.HasField("provider")


async def test_warnings_alone_are_no_failure_and_text_is_shown_as_text(service):
    service.will("CheckProvider", pb.CheckProviderResponse(findings=[SLOW, FINE]))
    ended = await deployctl(service, "providers", "check", "main")
    assert ended.code == 0
    assert "[red]with[/red] :smile: this." in ended.out
    assert "\x1b" not in ended.out
    assert ended.out.endswith("No errors.\n")


async def test_a_kind_that_is_newer_than_this_client(service):
    newer = pb.ProviderFinding(message="New.")
    newer.MergeFromString(b"\x08\x63\x10\x09")
    service.will("CheckProvider", pb.CheckProviderResponse(findings=[newer]))
    ended = await deployctl(service, "providers", "check", "main")
    assert (ended.code, ended.err) == (0, "")
    assert "New." in ended.out


async def test_json_for_programs(service):
    answer = pb.CheckProviderResponse(
        findings=[WRONG, FINE], jenkins_version="2.440", account="deployer"
    )
    service.will("CheckProvider", answer)
    ended = await deployctl(service, "--json", "providers", "check", "main")
    told = json.loads(ended.out)
    assert (told["jenkinsVersion"], told["account"]) == ("2.440", "deployer")
    assert [one["settingsWrong"] for one in told["findings"]] == [True, False]
    assert ended.code == 4


async def test_settings_that_are_not_stored_are_checked(service, tmp_path: Path):
    ca = tmp_path / "ca.pem"
    ca.write_text("PEM")
    service.will("CheckProvider", pb.CheckProviderResponse())
    options = ("--url", "https://ci/", "--user", "deployer", "--ca-file", str(ca))
    ended = await deployctl(
        service, "providers", "check", "main", *options, JENKINS_API_TOKEN="secret\n"
    )
    assert (ended.code, ended.err) == (0, "")
    (request,) = service.requests["CheckProvider"]
    given = request.provider
    assert (given.base_url, given.username, given.api_token) == (
        "https://ci/",
        "deployer",
        "secret",
    )
    assert given.ca_certificate_pem == "PEM"
    assert "secret" not in ended.out


async def test_half_of_the_settings_are_not_guessed(service):
    ended = await deployctl(service, "providers", "check", "main", "--job-folder", "shop")
    assert ended.code == 2
    assert "Give --url" in ended.err
    assert "CheckProvider" not in service.requests


@pytest.mark.parametrize(
    ("user", "ca_file", "said"),
    [
        ("deployer", None, "Give both --user and --token"),
        ("", Path("no/such/file"), "Can't read no/such/file"),
    ],
)
def test_settings_that_cannot_be_meant(user, ca_file, said):
    with pytest.raises(CliError, match=said):
        _provider("http://ci/", user, "", ca_file, "", ReportingWord.AUTO, "")


async def test_a_create_tells_what_is_not_as_it_should_be(service):
    service.will("CreateProvider", pb.CreateProviderResponse(provider=MADE, findings=[SLOW, FINE]))
    ended = await deployctl(service, "providers", "create", "main", "--url", "http://ci/")
    assert ended.code == 0
    assert ended.out.startswith("Created tenants/demo/providers/main for http://ci/.\n")
    assert "Careful" in ended.out
    assert "2.440" not in ended.out


async def test_a_refused_create_says_why(service):
    refusal = Fail(
        grpc.StatusCode.FAILED_PRECONDITION,
        WRONG.message,
        reason="PROVIDER_SETTINGS_WRONG",
        details=(error_info("PROVIDER_SETTINGS_WRONG"),),
    )
    service.will("CreateProvider", refusal)
    ended = await deployctl(service, "providers", "create", "main", "--url", "http://ci/job/shop")
    assert ended.code == 4
    assert "Set base_url to http://ci/. [PROVIDER_SETTINGS_WRONG]" in ended.err
