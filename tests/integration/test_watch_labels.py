"""A watch can be filtered by label; what it leaves out and lets pass, over gRPC (promise P5)."""

from __future__ import annotations

from collections.abc import AsyncIterator

import grpc
import pytest
import pytest_asyncio

from deployment_service.v1 import admin_service_pb2 as admin
from deployment_service.v1 import deployment_service_pb2 as pb
from deployment_service.watch.ring import Entry
from tests.support.api import Api, refused, running_api, seed_deployment

DEMO = "tenants/demo"
PAYMENTS = {"team": "payments"}


@pytest_asyncio.fixture
async def api(database_url: str) -> AsyncIterator[Api]:
    async with running_api(database_url) as running:
        request = admin.CreateTenantRequest(tenant_id="demo")
        await running.admin.CreateTenant(request, metadata=running.as_admin)
        await seed_deployment(running, "demo", "a", labels={**PAYMENTS, "tier": "1"})
        await seed_deployment(running, "demo", "b", labels={"team": "shop"})
        await seed_deployment(running, "demo", "c")
        yield running


async def rename(api: Api, slug: str) -> None:
    await update(api, slug, "display_name", display_name=f"{slug}!")


async def relabel(api: Api, slug: str, **labels: str) -> None:
    await update(api, slug, "labels", labels=labels)


async def update(api: Api, slug: str, path: str, **fields: object) -> None:
    request = pb.UpdateDeploymentRequest(
        deployment=pb.Deployment(name=f"{DEMO}/deployments/{slug}", **fields)  # type: ignore[arg-type]
    )
    request.update_mask.paths.append(path)
    await api.deployments.UpdateDeployment(request, metadata=api.as_admin)


class Stream:
    """A watch that checks that nothing is lost between what passes."""

    def __init__(self, api: Api, **fields: object) -> None:
        request = pb.WatchDeploymentsRequest(parent=DEMO, **fields)  # type: ignore[arg-type]
        self.call = api.deployments.WatchDeployments(request, metadata=api.as_admin)
        self.token = ""
        self.sequence: int | None = None

    async def snapshot(self) -> list[str]:
        slugs = []
        while True:
            message = await self.call.read()
            self.token = message.resume_token
            match message.WhichOneof("response"):
                case "deployment":
                    slugs.append(message.deployment.name.rpartition("/")[2])
                case "snapshot_complete":
                    self.sequence = message.snapshot_complete.sequence
                    return slugs

    async def events(self, count: int) -> list[str]:
        """The next so many events: of which deployment and what kind, each following the one before."""
        found: list[str] = []
        while len(found) < count:
            message = await self.call.read()
            kind = message.WhichOneof("response")
            if kind == "start":
                self.sequence = message.start.sequence
                continue
            assert message.prev_sequence == self.sequence
            self.sequence = getattr(message, kind).sequence
            self.token = message.resume_token
            if kind == "event":
                slug = message.event.deployment.rpartition("/")[2]
                name = pb.DeploymentEvent.Type.Name(message.event.type)
                found.append(f"{slug} {name.removeprefix('DEPLOYMENT_')}")
        return found


async def test_what_passes_a_filter_by_label_and_where_it_ends(api: Api):
    stream = Stream(api, labels=PAYMENTS)
    assert await stream.snapshot() == ["a"]
    token = stream.token
    await rename(api, "b")
    await rename(api, "a")
    await relabel(api, "b", **PAYMENTS)  # begins to pass
    await rename(api, "b")
    await relabel(api, "b", team="shop")  # the last that passes
    await rename(api, "b")
    await relabel(api, "c", tier="1")
    await relabel(api, "a", **PAYMENTS)  # another label goes
    request = pb.DeleteDeploymentRequest(name=f"{DEMO}/deployments/a", force=True)
    await api.deployments.DeleteDeployment(request, metadata=api.as_admin)
    passing = ["a UPDATED", "b UPDATED", "b UPDATED", "b UPDATED", "a UPDATED", "a DELETED"]
    assert await stream.events(len(passing)) == passing
    again = Stream(api, labels=PAYMENTS, resume_token=token)
    assert await again.events(len(passing)) == passing
    stream.call.cancel()
    again.call.cancel()


async def test_all_labels_must_be_there_and_other_filters_as_well(api: Api):
    for fields, slugs in (
        ({"labels": {**PAYMENTS, "tier": "1"}}, ["a"]),
        ({"labels": {**PAYMENTS, "tier": "2"}}, []),
        ({"labels": {"team": ""}}, []),
        ({"labels": PAYMENTS, "names": [f"{DEMO}/deployments/b"]}, []),
        ({"labels": PAYMENTS, "names": [f"{DEMO}/deployments/a"]}, ["a"]),
    ):
        stream = Stream(api, **fields)
        assert await stream.snapshot() == slugs
        stream.call.cancel()
    typed = Stream(api, labels=PAYMENTS, types=[pb.DeploymentEvent.DEPLOYMENT_DELETED])
    await typed.snapshot()
    await rename(api, "a")
    request = pb.DeleteDeploymentRequest(name=f"{DEMO}/deployments/a", force=True)
    await api.deployments.DeleteDeployment(request, metadata=api.as_admin)
    assert await typed.events(1) == ["a DELETED"]
    typed.call.cancel()


async def test_events_of_before_labels_were_recorded_pass(api: Api):
    """An older replica, during a rolling upgrade, does not record them: a watcher must not miss what happened."""
    stream = Stream(api, labels=PAYMENTS)
    await stream.snapshot()
    async with api.database.acquire() as connection:
        await connection.execute(
            """
            INSERT INTO deployment_events (tenant_id, sequence, deployment_id, deployment_slug, revision, type,
                old_status, status, deployment_status, source)
            SELECT tenant_id, (SELECT coalesce(max(sequence), 0) + 1 FROM deployment_events), deployment_id, slug,
                revision + 1, 'DEPLOYMENT_JOB_UPDATE', 'PENDING', 'PENDING', 'PENDING', 'API'
            FROM deployments WHERE slug = 'b'
            """
        )
    assert await stream.events(1) == ["b JOB_UPDATE"]
    stream.call.cancel()


@pytest.mark.parametrize(
    "labels",
    [{str(n): "" for n in range(65)}, {"k" * 64: ""}, {"": "v"}, {"k": "v" * 64}, {"k": "a\nb"}],
)
async def test_labels_that_no_deployment_can_have_are_refused(api: Api, labels: dict[str, str]):
    async with refused() as refusals:
        await Stream(api, labels=labels).call.read()
    assert refusals[0].code is grpc.StatusCode.INVALID_ARGUMENT


def test_an_entry_matches_by_what_its_deployment_has_or_had():
    payments, both, none = ({("team", "p")}, {("team", "p"), ("tier", "1")}, set[tuple[str, str]]())
    wanted = frozenset(payments)
    for labels, passes in (
        ((), True),
        ((payments,), True),
        ((both,), True),
        ((none,), False),
        ((none, payments), True),
        ((payments, none), True),
        (({("team", "q")}, none), False),
    ):
        entry = Entry(1, "a", "T", b"", tuple(map(frozenset, labels)))
        assert entry.has(wanted) is passes, labels
        assert entry.has(frozenset())
