"""Creating deployments really creates their jobs in Jenkins, ready to be run and to report."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from urllib.parse import parse_qs, urlsplit

import pytest
import pytest_asyncio

from deployment_service.actions.webhook_keys import WebhookKeys
from deployment_service.cicd.jenkins.job_xml import parse_owner
from deployment_service.domain.definition import JobDefinition, JobKind
from deployment_service.domain.errors import (
    AlreadyExists,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    PermissionDenied,
    ServiceError,
)
from deployment_service.domain.scm import PipelineScm
from deployment_service.webhook_auth import tokens
from jenkins_simulator import (
    ALL_PERMISSIONS,
    JenkinsSimulator,
    Permission,
    RequestFault,
    SimulatorConfig,
)
from jenkins_simulator.core.jobxml import JobKind as SimulatedKind
from tests.fixtures_stack import Databases
from tests.integration.jobs_harness import Jobs, jobs_of, shell
from tests.support.parameters import strings

CONFIG_XML = (
    "<project><description>Kept by hand</description>"
    "<builders><hudson.tasks.Shell><command>exit 0</command></hudson.tasks.Shell></builders></project>"
)
FOLDER = "<com.cloudbees.hudson.plugins.folder.Folder/>"
VARIANTS = {
    JobKind.FREESTYLE_SHELL: JobDefinition(JobKind.FREESTYLE_SHELL, text='echo "$ENVIRONMENT" <&>'),
    JobKind.PIPELINE_SCRIPT: JobDefinition(JobKind.PIPELINE_SCRIPT, text="node { sh 'exit 0' }"),
    JobKind.PIPELINE_SCM: JobDefinition(
        JobKind.PIPELINE_SCM, scm=PipelineScm("https://git.invalid/shop.git", credentials_id="key")
    ),
    JobKind.CONFIG_XML: JobDefinition(JobKind.CONFIG_XML, text=CONFIG_XML),
}


@pytest_asyncio.fixture
async def jenkins() -> AsyncIterator[JenkinsSimulator]:
    async with JenkinsSimulator() as simulator:
        yield simulator


@pytest_asyncio.fixture
async def jobs(databases: Databases, jenkins: JenkinsSimulator) -> AsyncIterator[Jobs]:
    async with jobs_of(databases, jenkins.url) as process:
        yield process


def _parameters(jenkins: JenkinsSimulator, full_name: str) -> dict[str, str | None]:
    return {p.name: p.default for p in jenkins.job(full_name).config.parameters or ()}


@pytest.mark.parametrize("kind", list(VARIANTS))
async def test_every_variant_is_created_with_parameters_run_id_mark_and_endpoint(
    databases: Databases, jenkins: JenkinsSimulator, kind: JobKind
) -> None:
    kinds = [str(kind) for kind in JobKind]
    async with jobs_of(databases, jenkins.url, allowed_job_kinds=kinds) as jobs:
        created = await jobs.create(
            "web",
            VARIANTS[kind],
            parameter_definitions=strings(ENVIRONMENT="prod ä"),
            caller_is_admin=True,
        )
        row = await jobs.row()
        job = jenkins.job("demo.web")
        assert (row["state"], row["correlation"]) == ("READY", "RUN_ID")
        assert row["sends_webhooks"]
        assert row["full_name"] == "demo.web"
        assert (row["lease_owner"], row["next_try_time"]) == (None, None)
        parameters = _parameters(jenkins, "demo.web")
        assert parameters == {"DEPLOYMENT_RUN_ID": "", "ENVIRONMENT": "prod ä"}
        assert parse_owner(job.config.description) == str(created.deployment_uid)
        pipeline = kind in (JobKind.PIPELINE_SCRIPT, JobKind.PIPELINE_SCM)
        assert job.config.kind is (SimulatedKind.PIPELINE if pipeline else SimulatedKind.FREESTYLE)
        (endpoint,) = job.config.endpoints or ()
        url = jenkins.controller.credentials[endpoint.url_or_id]
        await _proves_the_job(jobs, url, row["job_id"])
        mapping = await jobs.mapping("web")
        assert (mapping["first_generation"], mapping["first_build_number"]) == (1, 1)
        assert await jobs.events() == [("web", "CREATED", 1), ("web", "JOB_UPDATE", 2)]
        assert created.sequence == 1
        assert jobs.commits, "watchers were not told"


async def _proves_the_job(jobs: Jobs, url: str, job_id: uuid.UUID) -> None:
    parts = urlsplit(url)
    assert parts.path == "/en/demo/deployment/webhooks/jenkins"
    token = tokens.parse(parse_qs(parts.query)["token"][0])
    assert token is not None
    assert token.job_id == str(job_id)
    async with jobs.databases.api.acquire() as connection:
        key = await WebhookKeys(jobs.box).newest(connection, jobs.tenant.tenant_id)
    assert key is not None
    assert tokens.matches(token, str(jobs.tenant.tenant_id), key.secret)


@pytest.mark.parametrize("name", ["web prod", "Größe – 部署 🚀", "a+b~c'd(e)"])
async def test_names_with_spaces_and_unicode_in_folders_work(
    jobs: Jobs, jenkins: JenkinsSimulator, name: str
) -> None:
    jenkins.create_job(f"Ordner Ü/{name}", FOLDER)
    await jobs.create("web", shell(f"Ordner Ü/{name}/{name}"))
    assert (await jobs.row())["state"] == "READY"
    assert jenkins.job(f"Ordner Ü/{name}/{name}").config.endpoints


async def test_a_job_without_a_name_gets_one_in_the_providers_folder(
    databases: Databases, jenkins: JenkinsSimulator
) -> None:
    jenkins.create_job("managed", FOLDER)
    async with jobs_of(
        databases, jenkins.url, job_folder="managed", allowed_folders=["shop"]
    ) as jobs:
        await jobs.create("web")
        assert jenkins.job("managed/demo.web")
        with pytest.raises(FailedPrecondition) as refused:
            await jobs.create("other", shell("shopping/other"))
        assert refused.value.reason == "FOLDER_NOT_ALLOWED"


@pytest.mark.parametrize("plugin", ["1.19", None])
async def test_what_jenkins_kept_tells_whether_it_sends_webhooks(
    databases: Databases, plugin: str | None
) -> None:
    async with JenkinsSimulator(SimulatorConfig(notification_plugin=plugin)) as jenkins:
        async with jobs_of(databases, jenkins.url) as jobs:
            await jobs.create()
            assert (await jobs.row())["sends_webhooks"] is (plugin is not None)


async def test_without_a_webhook_base_url_a_job_gets_no_endpoint(
    databases: Databases, jenkins: JenkinsSimulator
) -> None:
    async with jobs_of(databases, jenkins.url, webhook_base_url="") as jobs:
        await jobs.create()
        assert (await jobs.row())["sends_webhooks"] is False
        assert not jenkins.job("demo.web").config.endpoints


@pytest.mark.parametrize("taken", ["demo.web", "DEMO.Web"])
async def test_a_name_that_a_stranger_has_is_refused_and_nothing_is_left(
    jobs: Jobs, jenkins: JenkinsSimulator, taken: str
) -> None:
    theirs = jenkins.create_job(taken, CONFIG_XML)
    request = jobs.request()
    with pytest.raises(AlreadyExists) as refused:
        await jobs.create(request=request)
    assert refused.value.reason == "JOB_EXISTS"
    assert await jobs.rows() == []
    assert await jobs.sql("SELECT FROM deployments") == []
    assert jenkins.job(taken) is theirs
    assert [event[1] for event in await jobs.events()] == ["CREATED", "JOB_UPDATE", "DELETED"]
    # The intent was not carried out: the same call may be made again once the cause is mended.
    jenkins.controller.delete(theirs)
    await jobs.create(request=request)
    assert (await jobs.row())["state"] == "READY"


async def test_a_missing_folder_is_named(jobs: Jobs) -> None:
    with pytest.raises(NotFound) as refused:
        await jobs.create("web", shell("nowhere/web"))
    assert refused.value.reason == "FOLDER_NOT_FOUND"
    assert "'nowhere'" in refused.value.message
    assert await jobs.rows() == []


async def test_one_500_is_a_bad_moment_two_are_the_definition(
    jobs: Jobs, jenkins: JenkinsSimulator
) -> None:
    jenkins.faults.add(RequestFault(method="POST", path="createItem", count=1, oops=True))
    await jobs.create("moment")
    assert (await jobs.row())["state"] == "READY"
    jenkins.faults.add(RequestFault(method="POST", path="createItem", oops=True))
    with pytest.raises(FailedPrecondition) as refused:
        await jobs.create("bad")
    assert refused.value.reason == "PROVIDER_REFUSED"
    assert "HTTP 500" in refused.value.message
    assert jenkins.requests.count("POST", "createItem") == 4


async def test_an_account_that_may_not_create_is_named_with_what_it_lacks(
    jobs: Jobs, jenkins: JenkinsSimulator
) -> None:
    jenkins.set_permissions(
        "admin", ALL_PERMISSIONS - {Permission.ITEM_CREATE, Permission.ADMINISTER}
    )
    with pytest.raises(FailedPrecondition) as refused:
        await jobs.create()
    assert refused.value.reason == "PROVIDER_REFUSED"
    assert "Job/Create" in refused.value.message
    assert await jobs.rows() == []


async def test_wrong_credentials_are_the_providers_fault(
    databases: Databases, jenkins: JenkinsSimulator
) -> None:
    async with jobs_of(databases, jenkins.url, token="wrong") as jobs:
        with pytest.raises(FailedPrecondition) as refused:
            await jobs.create()
        assert refused.value.reason == "PROVIDER_REFUSED"
        assert "wrong" not in refused.value.message


async def test_a_repeated_call_makes_one_deployment(jobs: Jobs, jenkins: JenkinsSimulator) -> None:
    request = jobs.request()
    first = await jobs.create(request=request)
    assert await jobs.create(request=request) == first
    assert jenkins.requests.count("POST", "createItem") == 1
    assert len(await jobs.events()) == 2


async def test_a_deployment_of_that_name_comes_before_its_job(jobs: Jobs) -> None:
    await jobs.create()
    with pytest.raises(AlreadyExists) as refused:
        await jobs.create()
    assert refused.value.reason == "DEPLOYMENT_EXISTS"


async def test_a_job_belongs_to_one_deployment_only(jobs: Jobs) -> None:
    await jobs.create("web", shell("both"))
    with pytest.raises(AlreadyExists) as refused:
        await jobs.create("other", shell("both"))
    assert refused.value.reason == "JOB_EXISTS"


@pytest.mark.parametrize(
    ("job", "admin", "error", "reason"),
    [
        (VARIANTS[JobKind.CONFIG_XML], False, PermissionDenied, "CONFIG_XML_NEEDS_ADMIN"),
        (VARIANTS[JobKind.PIPELINE_SCM], True, FailedPrecondition, "JOB_KIND_NOT_ALLOWED"),
        (
            JobDefinition(JobKind.CONFIG_XML, text="<project>"),
            True,
            InvalidArgument,
            "INVALID_FIELD",
        ),
        (
            JobDefinition(JobKind.CONFIG_XML, text="<folder/>"),
            True,
            InvalidArgument,
            "INVALID_FIELD",
        ),
    ],
)
async def test_what_the_provider_or_the_role_forbids_never_reaches_jenkins(
    databases: Databases,
    jenkins: JenkinsSimulator,
    job: JobDefinition,
    admin: bool,
    error: type[ServiceError],
    reason: str,
) -> None:
    kinds = ["CONFIG_XML", "FREESTYLE_SHELL"]
    async with jobs_of(databases, jenkins.url, allowed_job_kinds=kinds) as jobs:
        with pytest.raises(error) as refused:
            await jobs.create(job=job, caller_is_admin=admin)
        assert refused.value.reason == reason
        assert await jobs.sql("SELECT FROM deployments") == []
        assert not jenkins.requests.entries


async def test_an_unknown_provider_is_not_found(jobs: Jobs) -> None:
    await jobs.sql("UPDATE cicd_providers SET slug = 'other'")
    with pytest.raises(NotFound) as refused:
        await jobs.create()
    assert refused.value.reason == "PROVIDER_NOT_FOUND"
