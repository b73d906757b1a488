"""deployctl prints text of the service as text, whatever it holds."""

import grpc
import pytest

from deployment_service.client.cli.output import clean
from deployment_service.v1 import deployment_service_pb2 as pb
from tests.support.scripted_service import Fail, scripted_service
from tests.unit.test_client_cli import deployctl

MARKUP = ["[/foo]", "[bold]x[/bold]", "[link=http://evil]y[/link]", ":skull:", "a\\[b]"]
UNSAFE = [
    "\x1b[2J",
    "\x07",
    "\r",
    "\x9b31m",
    "\u202e",
    "\u2066",
    "\u200b",
    "\u2028",
    "\ufeff",
    "\x7f",
]


@pytest.fixture
async def service():
    async with scripted_service() as service:
        yield service


@pytest.mark.parametrize("text", MARKUP)
@pytest.mark.parametrize("command", ["get", "list"])
async def test_markup_is_shown_and_not_obeyed(service, text, command):
    one = pb.Deployment(name="tenants/demo/deployments/web", display_name=text)
    one.cicd_job.name = text
    service.will("GetDeployment", pb.GetDeploymentResponse(deployment=one))
    service.will("ListDeployments", pb.ListDeploymentsResponse(deployments=[one]))
    ended = await deployctl(service, "deployments", command, *(["web"] if command == "get" else []))
    assert (ended.code, ended.err) == (0, "")
    assert text in ended.out


@pytest.mark.parametrize("text", UNSAFE)
async def test_what_a_terminal_obeys_is_replaced(service, text):
    one = pb.Deployment(name="tenants/demo/deployments/web", display_name=f"a{text}b")
    service.will("GetDeployment", pb.GetDeploymentResponse(deployment=one))
    ended = await deployctl(service, "deployments", "get", "web")
    assert ended.code == 0
    assert "a\ufffd" in ended.out
    assert text[0] not in ended.out


@pytest.mark.parametrize("text", UNSAFE)
def test_errors_are_cleaned_too(text):
    assert clean(f"no{text}").startswith("no\ufffd")


async def test_an_error_of_the_service_is_cleaned(service):
    service.will("GetDeployment", Fail(grpc.StatusCode.NOT_FOUND, "no \u202e'x' [/foo]"))
    ended = await deployctl(service, "deployments", "get", "x")
    assert ended.code == 4
    assert "no \ufffd'x' [/foo]" in ended.err


@pytest.mark.parametrize("command", [("get", "web"), ("list",)])
@pytest.mark.parametrize("json", [(), ("--json",)])
async def test_webhook_secrets_are_shown_by_webhook_show_only(service, command, json):
    job = pb.CicdJob(
        name="demo.web", webhook_url="http://gateway/x?token=t", signing_secret="whsec_x"
    )
    one = pb.Deployment(name="tenants/demo/deployments/web", cicd_job=job)
    service.will("GetDeployment", pb.GetDeploymentResponse(deployment=one))
    service.will("ListDeployments", pb.ListDeploymentsResponse(deployments=[one]))
    ended = await deployctl(service, *json, "deployments", *command)
    assert ended.code == 0
    assert "demo.web" in ended.out
    assert "token=t" not in ended.out
    assert "whsec_x" not in ended.out
