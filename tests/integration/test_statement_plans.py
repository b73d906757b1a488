"""Statements of every transaction that appends events stay on their indexes as a tenant grows."""

from __future__ import annotations

from datetime import UTC, datetime

from deployment_service.domain.events import EventSource, EventType, NewEvent
from deployment_service.domain.status import DeploymentStatus
from deployment_service.storage.events import events
from deployment_service.storage.reports import reports
from tests.integration.test_api_deployment_lists import plan_of, read_of
from tests.integration.test_api_queries import analyze, connection

__all__ = ["connection"]  # the fixture


async def test_an_event_finds_the_labels_of_its_deployment_by_key(connection, databases):
    await analyze(databases)
    row = await connection.fetchrow(
        "SELECT tenant_id, deployment_id, slug FROM deployments WHERE slug = 'd7' LIMIT 1"
    )
    event = NewEvent(
        deployment_id=row["deployment_id"],
        deployment_slug=row["slug"],
        revision=2,
        type=EventType.DEPLOYMENT_UPDATED,
        source=EventSource.API,
        old_status=DeploymentStatus.PENDING,
        status=DeploymentStatus.PENDING,
        deployment_status=DeploymentStatus.PENDING,
        old_labels={"n": "6"},
    )
    values = events._values(event)
    columns = [[values[name]] for name in events._COLUMNS]
    plan = await plan_of(connection, events._APPEND, row["tenant_id"], *columns)
    assert read_of(plan, "deployments") == 1
    stored = await connection.fetchrow("SELECT labels, old_labels FROM deployment_events")
    assert (stored["labels"], stored["old_labels"]) == ({"n": "7"}, {"n": "6"})


async def test_disproving_the_reports_of_a_run_reads_those_of_its_build(connection, databases):
    """A job with 5,000 reports, five of which are of the build that a read shows running."""
    run = await connection.fetchrow(
        """
        SELECT r.tenant_id, r.run_id, r.job_id FROM deployment_runs AS r
        JOIN deployments AS d USING (tenant_id, deployment_id) WHERE d.slug = 'd7' AND r.number = 3 LIMIT 1
        """
    )
    async with databases.worker.acquire() as worker:
        await worker.execute(
            """
            INSERT INTO webhook_deliveries (tenant_id, job_id, build_number, run_id, source, phase, rank, verdict,
                receive_time, create_time)
            SELECT $1, $2, 1 + n % 1000, CASE WHEN n % 1000 = 2 THEN $3::uuid END, 'NOTIFICATION_PLUGIN', 'FINALIZED',
                341, 'APPLIED', now(), now() - interval '1 minute'
            FROM generate_series(1, 5000) AS n
            """,
            run["tenant_id"],
            run["job_id"],
            run["run_id"],
        )
        await analyze(databases)
        times = [datetime.now(UTC)]
        plan = await plan_of(worker, reports._DISPROVE, run["tenant_id"], [run["run_id"]], times)
        assert read_of(plan, "webhook_deliveries") == 5
        count = "SELECT count(*) FROM webhook_deliveries WHERE verdict = 'DISPROVED'"
        assert await worker.fetchval(count) == 5
