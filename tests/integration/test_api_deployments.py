"""DeploymentService over real gRPC, a real database and a Jenkins that speaks HTTP."""

import asyncio
import uuid

import grpc
import pytest
import pytest_asyncio

from deployment_service.domain.access import Role
from deployment_service.v1 import admin_service_pb2 as admin
from deployment_service.v1 import deployment_service_pb2 as pb
from jenkins_simulator import DEFAULT_API_TOKEN, JenkinsSimulator
from tests.support.api import NOBODY, refused, request_id, running_api, seed_deployment

DEMO = "tenants/demo"


@pytest_asyncio.fixture
async def api(database_url):
    async with running_api(database_url, trigger_wait_s=5) as running:
        await running.admin.CreateTenant(
            admin.CreateTenantRequest(tenant_id="demo"), metadata=running.as_admin
        )
        yield running


@pytest_asyncio.fixture
async def jenkins(api):
    async with JenkinsSimulator() as simulator:
        await api.admin.CreateProvider(
            admin.CreateProviderRequest(
                parent=DEMO,
                provider_id="main",
                provider=admin.Provider(
                    base_url=simulator.url,
                    username="admin",
                    api_token=DEFAULT_API_TOKEN,
                    webhook_base_url="http://hooks.internal",
                    reporting=admin.REPORTING_POLLING,
                ),
            ),
            metadata=api.as_admin,
        )
        yield simulator


async def create(api, slug="web", provider=f"{DEMO}/providers/main", **fields):
    request = pb.CreateDeploymentRequest(
        parent=DEMO,
        deployment_id=slug,
        deployment=pb.Deployment(
            provider=provider,
            job=pb.DeploymentJob(freestyle_shell='echo "$GREETING"'),
            parameter_definitions=[pb.ParameterDefinition(name="GREETING", default_value="hello")],
            labels={"team": "payments"},
        ),
        request_id=fields.pop("request_id", request_id()),
    )
    return await api.deployments.CreateDeployment(request, metadata=api.as_admin)


async def watch_until(api, token, status):
    """The events after a token, up to the one that brings the deployment to a status."""
    stream = api.deployments.WatchDeployments(
        pb.WatchDeploymentsRequest(parent=DEMO, resume_token=token), metadata=api.as_admin
    )
    events = []
    async with asyncio.timeout(30):
        async for message in stream:
            if message.WhichOneof("response") == "event":
                events.append(message.event)
                if message.event.deployment_status == status:
                    break
    stream.cancel()
    return events


async def test_create_run_watch_update_delete(api, jenkins):
    """The main path: what each answer promises is what the next call finds."""
    same = request_id()
    created = await create(api, request_id=same)
    deployment = created.deployment
    assert deployment.name == f"{DEMO}/deployments/web"
    assert deployment.cicd_job.state == pb.CICD_JOB_STATE_READY
    assert deployment.cicd_job.correlation == pb.CORRELATION_RUN_ID
    assert deployment.cicd_job.url == f"{jenkins.url.rstrip('/')}/job/demo.web/"
    assert deployment.job.freestyle_shell == 'echo "$GREETING"'
    again = await create(api, request_id=same)
    assert again.deployment.uid == deployment.uid
    assert again.resume_token == created.resume_token

    run_request = pb.RunDeploymentRequest(name=deployment.name, request_id=request_id())
    ran = await api.deployments.RunDeployment(run_request, metadata=api.as_admin)
    assert ran.run.name == f"{DEMO}/deployments/web/runs/1"
    assert dict(ran.run.parameters) == {"GREETING": "hello"}
    repeated = await api.deployments.RunDeployment(run_request, metadata=api.as_admin)
    assert (repeated.run.uid, repeated.resume_token) == (ran.run.uid, ran.resume_token)
    events = await watch_until(api, ran.resume_token, pb.DEPLOYMENT_STATUS_COMPLETED)
    assert [event.sequence for event in events] == list(
        range(events[0].sequence, events[0].sequence + len(events))
    )
    run = (
        await api.deployments.GetRun(pb.GetRunRequest(name=ran.run.name), metadata=api.as_admin)
    ).run
    assert run.status == pb.DEPLOYMENT_STATUS_COMPLETED
    assert run.build_url == f"{deployment.cicd_job.url}{run.build_number}/"

    update = pb.UpdateDeploymentRequest(
        deployment=pb.Deployment(
            name=deployment.name, etag=deployment.etag, display_name="Web", labels={"x": "y"}
        ),
        request_id=request_id(),
    )
    update.update_mask.paths.append("display_name")
    updated = await api.deployments.UpdateDeployment(update, metadata=api.as_admin)
    now = updated.deployment
    assert (now.display_name, dict(now.labels)) == ("Web", {"team": "payments"})
    assert now.current_run == now.last_completed_run == ran.run.name
    once = await api.deployments.UpdateDeployment(update, metadata=api.as_admin)
    assert once.resume_token == updated.resume_token
    assert once.deployment.revision == now.revision
    update.request_id = request_id()
    async with refused() as refusals:
        await api.deployments.UpdateDeployment(update, metadata=api.as_admin)
    assert refusals[0].reason == "ETAG_MISMATCH"

    deletion = pb.DeleteDeploymentRequest(
        name=deployment.name, etag=now.etag, request_id=request_id()
    )
    deleted = await api.deployments.DeleteDeployment(deletion, metadata=api.as_admin)
    twice = await api.deployments.DeleteDeployment(deletion, metadata=api.as_admin)
    assert twice == deleted
    async with refused() as refusals:
        await api.deployments.GetDeployment(
            pb.GetDeploymentRequest(name=deployment.name), metadata=api.as_admin
        )
    assert refusals[0].reason == "DEPLOYMENT_NOT_FOUND"
    history = await api.deployments.ListEvents(
        pb.ListEventsRequest(parent=deployment.name), metadata=api.as_admin
    )
    assert [event.revision for event in history.events] == list(range(1, len(history.events) + 1))
    assert history.events[-1].type == pb.DeploymentEvent.DEPLOYMENT_DELETED


async def test_a_provider_may_be_named_by_its_id_alone(api, jenkins):
    created = await create(api, provider="main")
    assert created.deployment.provider == f"{DEMO}/providers/main"
    request = pb.ListDeploymentsRequest(parent=DEMO, provider="main")
    listed = await api.deployments.ListDeployments(request, metadata=api.as_admin)
    assert len(listed.deployments) == 1
    for wrong, reason in (
        ("none", "PROVIDER_NOT_FOUND"),
        ("Main!", "INVALID_NAME"),
        ("", "INVALID_NAME"),
        ("tenants/other/providers/main", "WRONG_PARENT"),
    ):
        async with refused() as refusals:
            await create(api, "other", provider=wrong)
        assert refusals[0].reason == reason


async def test_only_definers_see_webhook_urls(api, jenkins):
    """P7: the token in the URL lets its holder report builds."""
    name = (await create(api)).deployment.name
    urls = {}
    for role in (Role.VIEWER, Role.DEPLOYER, Role.DEFINER, Role.ADMIN):
        metadata = await api.key(role, "demo")
        got = await api.deployments.GetDeployment(
            pb.GetDeploymentRequest(name=name), metadata=metadata
        )
        listed = await api.deployments.ListDeployments(
            pb.ListDeploymentsRequest(parent=DEMO, view=pb.VIEW_FULL), metadata=metadata
        )
        assert listed.deployments[0] == got.deployment
        urls[role] = got.deployment.cicd_job.webhook_url
    assert urls[Role.VIEWER] == urls[Role.DEPLOYER] == ""
    start = "http://hooks.internal/en/demo/deployment/webhooks/jenkins?token=v1."
    assert urls[Role.DEFINER] == urls[Role.ADMIN]
    assert urls[Role.ADMIN].startswith(start)


async def test_config_xml_needs_a_setting_and_an_admin(api, jenkins):
    request = pb.CreateDeploymentRequest(
        parent=DEMO,
        deployment_id="raw",
        deployment=pb.Deployment(
            provider=f"{DEMO}/providers/main", job=pb.DeploymentJob(config_xml="<project/>")
        ),
    )
    async with refused() as refusals:
        await api.deployments.CreateDeployment(request, metadata=api.as_admin)
    assert refusals[0].reason == "JOB_KIND_NOT_ALLOWED"


async def test_lists_filter_page_and_lead_to_a_watch_without_a_gap(api):
    """P5: list, then watch from the list's token."""
    for number in range(5):
        team = "a" if number % 2 else "b"
        await seed_deployment(api, "demo", f"d{number}", labels={"team": team, "n": str(number)})
    request = pb.ListDeploymentsRequest(parent=DEMO, page_size=2)
    seen, tokens = [], set()
    while True:
        page = await api.deployments.ListDeployments(request, metadata=api.as_admin)
        seen += [deployment.name.rpartition("/")[2] for deployment in page.deployments]
        tokens.add(page.resume_token)
        if not page.next_page_token:
            break
        request.page_token = page.next_page_token
    assert seen == ["d0", "d1", "d2", "d3", "d4"]
    assert len(tokens) == 1
    stale = request.page_token
    for changed in (
        pb.ListDeploymentsRequest(parent=DEMO, page_token=stale, labels={"team": "a"}),
        pb.ListDeploymentsRequest(
            parent=DEMO, page_token=stale, statuses=[pb.DEPLOYMENT_STATUS_FAILED]
        ),
    ):
        async with refused() as refusals:
            await api.deployments.ListDeployments(changed, metadata=api.as_admin)
        assert refusals[0].reason == "PAGE_TOKEN_INVALID"
    filtered = await api.deployments.ListDeployments(
        pb.ListDeploymentsRequest(
            parent=DEMO,
            labels={"team": "a"},
            statuses=[pb.DEPLOYMENT_STATUS_PENDING],
            provider=f"{DEMO}/providers/main",
        ),
        metadata=api.as_admin,
    )
    assert [one.name.rpartition("/")[2] for one in filtered.deployments] == ["d1", "d3"]
    none = await api.deployments.ListDeployments(
        pb.ListDeploymentsRequest(parent=DEMO, provider=f"{DEMO}/providers/other"),
        metadata=api.as_admin,
    )
    assert not none.deployments
    await api.deployments.UpdateDeployment(
        pb.UpdateDeploymentRequest(
            deployment=pb.Deployment(name=f"{DEMO}/deployments/d0", display_name="x")
        ),
        metadata=api.as_admin,
    )
    events = await watch_until(api, tokens.pop(), pb.DEPLOYMENT_STATUS_PENDING)
    assert [(event.sequence, event.type) for event in events] == [
        (1, pb.DeploymentEvent.DEPLOYMENT_UPDATED)
    ]


async def test_runs_are_listed_newest_first_of_one_and_of_all(api):
    uid = await seed_deployment(api, "demo", "one")
    await seed_deployment(api, "demo", "two")
    async with api.database.acquire() as connection:
        await connection.execute(
            """
            INSERT INTO deployment_runs (tenant_id, deployment_id, number, job_id, source, trigger_state, status,
                rank, failure_cause, certainty, settle_time, shown, generation, build_number, end_time, create_time)
            SELECT tenant_id, deployment_id, n, job_id, 'EXTERNAL', 'ENDED', 'FAILED', 353, 'BUILD_FAILED',
                'CONFIRMED', now(), true, 1, n + 100, now(), now() + n * interval '1 second'
            FROM deployment_runs, generate_series(2, 6) AS n WHERE deployment_id = $1
            """,
            uid,
        )

    async def listed(parent, **filters):
        request = pb.ListRunsRequest(parent=parent, page_size=2, **filters)
        names, tokens = [], set()
        while True:
            page = await api.deployments.ListRuns(request, metadata=api.as_admin)
            names += [run.name.removeprefix(f"{DEMO}/deployments/") for run in page.runs]
            tokens.add(page.resume_token)
            if not page.next_page_token:
                assert len(tokens) == 1
                return names
            request.page_token = page.next_page_token

    six = [f"one/runs/{number}" for number in (6, 5, 4, 3, 2)]
    assert await listed(f"{DEMO}/deployments/one") == [*six, "one/runs/1"]
    everything = await listed(f"{DEMO}/deployments/-")
    assert everything[:5] == six
    assert sorted(everything[5:]) == ["one/runs/1", "two/runs/1"]
    failed = [pb.DEPLOYMENT_STATUS_FAILED]
    assert await listed(f"{DEMO}/deployments/one", statuses=failed) == six
    async with refused() as refusals:
        await listed(f"{DEMO}/deployments/none")
    assert refusals[0].reason == "DEPLOYMENT_NOT_FOUND"


async def test_jenkins_away_leaves_the_job_creating_and_says_why(api):
    await api.admin.CreateProvider(
        admin.CreateProviderRequest(
            parent=DEMO, provider_id="main", provider=admin.Provider(base_url=NOBODY)
        ),
        metadata=api.as_admin,
    )
    request = pb.CreateDeploymentRequest(
        parent=DEMO,
        deployment_id="web",
        deployment=pb.Deployment(
            provider=f"{DEMO}/providers/main", job=pb.DeploymentJob(freestyle_shell="true")
        ),
    )
    created = await api.deployments.CreateDeployment(request, metadata=api.as_admin, timeout=2)
    assert created.deployment.cicd_job.state == pb.CICD_JOB_STATE_CREATING
    async with refused() as refusals:
        await api.deployments.RunDeployment(
            pb.RunDeploymentRequest(name=created.deployment.name, request_id=str(uuid.uuid4())),
            metadata=api.as_admin,
        )
    assert (refusals[0].code, refusals[0].reason) == (
        grpc.StatusCode.FAILED_PRECONDITION,
        "JOB_NOT_READY",
    )


@pytest.mark.parametrize("script", ["x" * 500_000, "💥" * 250_000, "ü" * 900_000])
async def test_a_page_of_large_definitions_ends_before_it_gets_too_large(api, script):
    """Most clients take no more than 4 MiB, which are bytes and not characters."""
    for number in range(12):
        await seed_deployment(api, "demo", f"d{number:02}")
    async with api.database.acquire() as connection:
        await connection.execute(
            "UPDATE deployments SET job_kind = 'FREESTYLE_SHELL', job_spec = $1",
            {"full_name": "", "freestyle_shell": script},
        )
    request = pb.ListDeploymentsRequest(parent=DEMO, view=pb.VIEW_FULL)
    sizes = []
    while True:
        page = await api.deployments.ListDeployments(request, metadata=api.as_admin)
        assert page.ByteSize() < 4 * 2**20
        sizes.append(len(page.deployments))
        request.page_token = page.next_page_token
        if not request.page_token:
            break
    assert sum(sizes) == 12
    stream = api.deployments.WatchDeployments(
        pb.WatchDeploymentsRequest(parent=DEMO), metadata=api.as_admin
    )
    names = []
    async for message in stream:
        if message.WhichOneof("response") == "deployment":
            names.append(message.deployment.name)
        if message.WhichOneof("response") == "snapshot_complete":
            break
    assert len(set(names)) == len(names) == 12
    stream.cancel()
