"""deployctl watch of names that do not exist."""

from typing import Any

import grpc
import pytest

from deployment_service.v1 import deployment_service_pb2 as pb
from tests.support.scripted_service import Fail, Hang, Stream, scripted_service
from tests.unit.test_client_cli import deployctl


@pytest.fixture
async def service():
    async with scripted_service() as service:
        yield service


@pytest.mark.parametrize("names", [["typo"], ["web", "typo"], ["tenants/demo/deployments/typo"]])
async def test_watch_of_an_unknown_name_says_so(service, names):
    def find(request: pb.GetDeploymentRequest) -> Any:
        if request.name.endswith("/typo"):
            return Fail(grpc.StatusCode.NOT_FOUND, "There is no deployment 'typo'.")
        return pb.GetDeploymentResponse(deployment=pb.Deployment(name=request.name))

    service.will("GetDeployment", find)
    service.will("WatchDeployments", [Stream().start(), Hang])
    ended = await deployctl(service, "watch", *names)
    assert (ended.code, ended.out) == (4, "")
    assert "There is no deployment 'typo'." in ended.err


async def test_watch_by_label_asks_the_service_to_filter(service):
    service.will("WatchDeployments", Fail(grpc.StatusCode.INVALID_ARGUMENT, "Enough seen."))
    labels = ("--label", "team=payments", "--label", "tier=1")
    ended = await deployctl(service, "watch", *labels)
    assert (ended.code, "Enough seen." in ended.err) == (2, True)
    (request,) = service.requests["WatchDeployments"]
    assert dict(request.labels) == {"team": "payments", "tier": "1"}
    ended = await deployctl(service, "watch", "--label", "team")
    assert (ended.code, "--label" in ended.err) == (2, True)
