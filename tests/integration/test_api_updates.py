"""Changing deployments, and calls that are made twice, over real gRPC and a real database."""

import asyncio

import pytest
import pytest_asyncio
from google.protobuf.field_mask_pb2 import FieldMask

from deployment_service.v1 import admin_service_pb2 as admin
from deployment_service.v1 import deployment_service_pb2 as pb
from tests.support.api import refused, request_id, running_api, seed_deployment

DEMO = "tenants/demo"


@pytest_asyncio.fixture
async def api(database_url):
    async with running_api(database_url) as running:
        await running.admin.CreateTenant(
            admin.CreateTenantRequest(tenant_id="demo"), metadata=running.as_admin
        )
        yield running


async def test_calls_at_once_with_one_request_id_have_one_effect(api):
    """A retry that overtakes its predecessor waits for it and gets its answer."""
    await seed_deployment(api, "demo")
    request = pb.UpdateDeploymentRequest(
        deployment=pb.Deployment(name=f"{DEMO}/deployments/web", display_name="x"),
        request_id=request_id(),
    )
    answers = await asyncio.gather(
        *(api.deployments.UpdateDeployment(request, metadata=api.as_admin) for _ in range(10))
    )
    assert len({answer.resume_token for answer in answers}) == 1
    assert {answer.deployment.revision for answer in answers} == {1}
    request.deployment.display_name = "y"
    async with refused() as refusals:
        await api.deployments.UpdateDeployment(request, metadata=api.as_admin)
    assert refusals[0].reason == "REQUEST_ID_REUSED"


async def test_updates_at_once_all_take_effect_with_dense_revisions(api):
    await seed_deployment(api, "demo")
    await asyncio.gather(
        *(
            api.deployments.UpdateDeployment(
                pb.UpdateDeploymentRequest(
                    deployment=pb.Deployment(
                        name=f"{DEMO}/deployments/web", display_name=f"{number}"
                    )
                ),
                metadata=api.as_admin,
            )
            for number in range(20)
        )
    )
    events = await api.deployments.ListEvents(
        pb.ListEventsRequest(parent=f"{DEMO}/deployments/-"), metadata=api.as_admin
    )
    assert [event.sequence for event in events.events] == list(range(1, 21))
    assert [event.revision for event in events.events] == list(range(1, 21))


@pytest.mark.parametrize(
    ("mask", "left"),
    [
        ((), {"team": "a"}),
        (("display_name",), {"team": "a"}),
        (("labels", "display_name"), {}),
        (("*",), {}),
    ],
)
async def test_an_update_changes_what_it_names_or_sets_and_nothing_else(api, mask, left):
    await seed_deployment(api, "demo", labels={"team": "a"})
    request = pb.UpdateDeploymentRequest(
        deployment=pb.Deployment(name=f"{DEMO}/deployments/web", display_name="Web"),
        update_mask=FieldMask(paths=mask),
    )
    now = (await api.deployments.UpdateDeployment(request, metadata=api.as_admin)).deployment
    assert (now.display_name, dict(now.labels)) == ("Web", left)


async def test_an_update_that_neither_names_nor_sets_anything_is_refused(api):
    await seed_deployment(api, "demo")
    request = pb.UpdateDeploymentRequest(
        deployment=pb.Deployment(name=f"{DEMO}/deployments/web", uid="not changeable")
    )
    async with refused() as refusals:
        await api.deployments.UpdateDeployment(request, metadata=api.as_admin)
    assert refusals[0].reason == "REQUIRED_FIELD"


async def test_a_repeated_deletion_is_answered_as_before_whatever_has_the_name_now(api):
    """The etag belongs to the first call: what has been made since is neither deleted nor in the way."""
    await seed_deployment(api, "demo")
    name = f"{DEMO}/deployments/web"
    get = pb.GetDeploymentRequest(name=name)
    old = (await api.deployments.GetDeployment(get, metadata=api.as_admin)).deployment
    deletion = pb.DeleteDeploymentRequest(name=name, etag=old.etag, request_id=request_id())
    deleted = await api.deployments.DeleteDeployment(deletion, metadata=api.as_admin)
    await seed_deployment(api, "demo")
    again = await api.deployments.DeleteDeployment(deletion, metadata=api.as_admin)
    assert again == deleted
    now = (await api.deployments.GetDeployment(get, metadata=api.as_admin)).deployment
    assert now.uid != old.uid
    deletion.request_id = request_id()
    async with refused() as refusals:
        await api.deployments.DeleteDeployment(deletion, metadata=api.as_admin)
    assert refusals[0].reason == "ETAG_MISMATCH"


async def test_only_what_was_committed_is_remembered(api):
    """A refused call leaves its request_id free: mended, it may be made again."""
    await seed_deployment(api, "demo")
    request = pb.UpdateDeploymentRequest(
        deployment=pb.Deployment(name=f"{DEMO}/deployments/web", etag="old", display_name="x"),
        request_id=request_id(),
    )
    async with refused() as refusals:
        await api.deployments.UpdateDeployment(request, metadata=api.as_admin)
    assert refusals[0].reason == "ETAG_MISMATCH"
    request.deployment.etag = ""
    updated = await api.deployments.UpdateDeployment(request, metadata=api.as_admin)
    assert updated.deployment.revision == 1
