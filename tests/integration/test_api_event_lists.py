"""Lists of events: times, run, source and order. And where a watch from one of them starts. Over gRPC."""

import pytest
import pytest_asyncio

from deployment_service.v1 import deployment_service_pb2 as pb
from tests.integration.test_api_lists import ALL, DEMO, START, api, at, nanos_after, web
from tests.support.api import refused

__all__ = ["api", "web"]  # fixtures


EVENTS = """
    INSERT INTO deployment_events (tenant_id, sequence, deployment_id, deployment_slug, revision, type, run_number,
        old_status, status, deployment_status, old_deployment_status, source, message, create_time)
    SELECT tenant_id, n, deployment_id, slug, n + 100, 'DEPLOYMENT_STATUS_UPDATE', 1 + n % 3, 'PENDING', 'RUNNING',
        'RUNNING', 'RUNNING', CASE WHEN n % 2 = 0 THEN 'WEBHOOK' ELSE 'READ' END, '',
        $2::timestamptz + n * interval '1 hour'
    FROM deployments, generate_series(1, 9) AS n WHERE deployment_id = $1
"""


@pytest_asyncio.fixture
async def events(api, web):
    async with api.database.acquire() as connection:
        await connection.execute(EVENTS, web, START)


@pytest.mark.parametrize("parent", [f"{DEMO}/deployments/web", ALL])
async def test_events_are_listed_in_either_order_by_time_run_and_source(api, events, parent):
    async def listed(**fields):
        sequences, token = [], ""
        while True:
            request = pb.ListEventsRequest(parent=parent, page_size=2, page_token=token, **fields)
            page = await api.deployments.ListEvents(request, metadata=api.as_admin)
            sequences += [event.sequence for event in page.events]
            token = page.next_page_token
            if not token:
                return sequences

    assert await listed() == [1, 2, 3, 4, 5, 6, 7, 8, 9]
    assert await listed(order_by="sequence desc") == [9, 8, 7, 6, 5, 4, 3, 2, 1]
    assert await listed(create_time_from=at(3), create_time_until=at(6)) == [3, 4, 5]
    assert await listed(create_time_from=nanos_after(at(8)), order_by="sequence desc") == [9]
    assert await listed(create_time_until=at(1)) == []
    assert await listed(sources=[pb.EVENT_SOURCE_WEBHOOK]) == [2, 4, 6, 8]
    run = f"{DEMO}/deployments/web/runs/2"
    assert await listed(run=run) == [1, 4, 7]
    assert await listed(run=run, order_by="sequence desc", create_time_from=at(2)) == [7, 4]


@pytest.mark.parametrize(
    ("parent", "fields", "reason"),
    [
        ("web", {"run": f"{DEMO}/deployments/web/runs/77"}, "RUN_NOT_FOUND"),
        ("web", {"run": f"{DEMO}/deployments/other/runs/1"}, "WRONG_PARENT"),
        ("-", {"run": "tenants/other/deployments/web/runs/1"}, "WRONG_PARENT"),
        ("-", {"run": "web/runs/1"}, "INVALID_NAME"),
        ("-", {"order_by": "create_time desc"}, "INVALID_FIELD"),
    ],
)
async def test_events_of_what_cannot_be_are_refused(api, events, parent, fields, reason):
    request = pb.ListEventsRequest(parent=f"{DEMO}/deployments/{parent}", **fields)
    async with refused() as refusals:
        await api.deployments.ListEvents(request, metadata=api.as_admin)
    assert refusals[0].reason == reason


async def test_start_names_the_sequence_that_the_token_stands_for(api, events):
    listed = await api.deployments.ListEvents(
        pb.ListEventsRequest(parent=ALL), metadata=api.as_admin
    )
    for token, sequence in ((listed.resume_token, 9), ("", 0)):
        request = pb.WatchDeploymentsRequest(parent=DEMO, resume_token=token)
        stream = api.deployments.WatchDeployments(request, metadata=api.as_admin)
        first = await stream.read()
        assert first.start.sequence == sequence
        while first.WhichOneof("response") not in ("bookmark", "snapshot_complete"):
            first = await stream.read()
        if sequence:
            assert first.prev_sequence == sequence
        stream.cancel()
