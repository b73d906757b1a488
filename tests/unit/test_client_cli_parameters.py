"""deployctl defines parameters, and gives secrets without showing them."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from deployment_service.v1 import deployment_service_pb2 as pb
from tests.support.scripted_service import ScriptedService, scripted_service
from tests.unit.test_client_cli import deployctl


@pytest_asyncio.fixture
async def service() -> AsyncIterator[ScriptedService]:
    async with scripted_service() as service:
        yield service


async def test_a_secret_comes_from_the_environment_and_a_run_from_an_earlier_one(service):
    service.will("RunDeployment", pb.RunDeploymentResponse())
    arguments = ("run", "web", "--from-run", "7", "--secret", "TOKEN")
    ended = await deployctl(service, *arguments, TOKEN="s3cret")
    assert (ended.code, ended.err) == (0, "")
    (request,) = service.requests["RunDeployment"]
    assert request.from_run == "tenants/demo/deployments/web/runs/7"
    assert dict(request.parameters) == {"TOKEN": "s3cret"}
    assert "s3cret" not in ended.out


async def test_an_update_changes_what_is_given_and_nothing_else(service):
    service.will("UpdateDeployment", pb.UpdateDeploymentResponse())
    ended = await deployctl(service, "deployments", "update", "web", "--define", "DRY:boolean=true")
    assert (ended.code, ended.err) == (0, "")
    (request,) = service.requests["UpdateDeployment"]
    assert list(request.update_mask.paths) == ["parameter_definitions"]
    assert [one.default_value for one in request.deployment.parameter_definitions] == ["true"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("deployments", "update", "x", "--define", "A:file"), "expected NAME:KIND"),
        (("deployments", "update", "x", "--define", "A"), "expected NAME:KIND"),
        (("deployments", "update", "x"), "what is to change"),
        (("run", "x", "--secret", "NOT_SET_ANYWHERE"), "NOT_SET_ANYWHERE is not set"),
    ],
)
async def test_mistakes_name_what_is_wrong(service, arguments, said):
    ended = await deployctl(service, *arguments)
    assert ended.code == 2
    assert said in ended.err
    assert not service.requests
