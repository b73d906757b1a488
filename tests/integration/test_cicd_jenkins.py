"""The provider against a Jenkins that speaks HTTP. Defends P3 and P4: what we ask happens, once, and what we are
told is true."""

import asyncio
import json

import pytest

from deployment_service.cicd.errors import (
    BuildsWontStop,
    CreationFailed,
    DefinitionInvalid,
    FolderMissing,
    JobExists,
    ProviderRefused,
    ProviderUnreachable,
)
from deployment_service.cicd.jenkins.job_xml import JobKind, JobSpec, render_job_xml
from deployment_service.cicd.jenkins.provider import JenkinsProvider
from deployment_service.cicd.port import (
    CancelOutcome,
    CicdProvider,
    TriggerOutcome,
    WebhookEndpoint,
)
from jenkins_simulator import READ_ONLY, Permission, RequestFault, SimulatedUser
from tests.integration.cicd_harness import (
    FOLDER,
    NAMES,
    PLAIN,
    RESET,
    answering,
    connected,
    our_xml,
    running,
    silence,
    simulated,
    trigger,
    until,
    wire,
)
from tests.support.parameters import strings


@pytest.fixture
async def jenkins():
    async with simulated() as simulator:
        yield simulator


@pytest.fixture
async def provider(jenkins):
    async with connected(jenkins) as provider:
        yield provider


async def test_it_is_a_provider(provider: JenkinsProvider):
    port: CicdProvider = provider
    info = await port.ping()
    assert (info.version, info.account) == ("2.440", "admin")
    assert info.session


@pytest.mark.parametrize("name", NAMES)
async def test_every_method_finds_a_job_by_any_name(jenkins, provider, name):
    folder = name.rpartition("/")[0]
    if folder:
        jenkins.create_job(folder, FOLDER)
    if name.startswith("a&b"):
        jenkins.create_job(name, our_xml(V="1"))  # today's Jenkins lets nobody choose such a name
    else:
        await provider.create_job(name, our_xml(V="1"))

    job = await provider.read_job(name)
    assert (job.full_name, job.owner, job.next_build_number) == (name, "ours", 1)
    assert [p.name for p in job.parameters] == ["DEPLOYMENT_RUN_ID", "V"]

    queue_id = await running(provider, name, DEPLOYMENT_RUN_ID="r1")
    item = await provider.read_queue_item(queue_id)
    assert (item.job_full_name, item.build_number) == (name, 1)
    (build,) = (await provider.list_running()).builds
    assert (build.job_full_name, build.number, build.queue_id) == (name, 1, queue_id)
    assert build.parameters == {"DEPLOYMENT_RUN_ID": "r1", "V": "1"}
    assert (await provider.read_build(name, 1)).building
    assert await provider.stop_build(name, 1)
    done = await until(lambda: provider.read_build(name, 1), lambda build: build.finished)
    assert done.result == "ABORTED"
    assert [b.number for b in (await provider.list_builds(name)).builds] == [1]
    assert await provider.delete_job(name)
    assert await provider.read_job(name) is None


async def test_a_branch_of_a_multibranch_project(jenkins, provider):
    jenkins.create_job(
        "mb", "<org.jenkinsci.plugins.workflow.multibranch.WorkflowMultiBranchProject/>"
    )
    jenkins.add_branch("mb", "feature/login", "node { }")
    name = "mb/feature%2Flogin"
    assert (await provider.read_job(name)).full_name == name
    reply = await trigger(provider, name, parameterised=False)
    item = await provider.read_queue_item(reply.queue_id)
    assert item.job_full_name == name


class TestCreating:
    async def test_an_own_job_is_recognised_and_declares_its_parameters(self, provider):
        xml = render_job_xml(
            JobSpec(JobKind.PIPELINE_SCRIPT, pipeline_script="node { echo 'é' }"),
            owner="6f1c-9",
            parameters=strings(ENV="prod\nline"),
            webhook=WebhookEndpoint("j", "k1", "http://127.0.0.1:9/hook?t=1&u=2"),
        )
        await provider.create_job("pipe", xml)
        job = await provider.read_job("pipe")
        assert job.owner == "6f1c-9"
        assert job.has_notification_property
        assert {p.name: (p.kind, p.default) for p in job.parameters} == {
            "DEPLOYMENT_RUN_ID": ("StringParameterDefinition", ""),
            "ENV": ("StringParameterDefinition", "prod\nline"),
        }
        assert job.concurrent is False

    async def test_a_job_exists_in_whatever_case(self, provider):
        await provider.create_job("app", PLAIN)
        for name in ("app", "APP"):
            with pytest.raises(JobExists):
                await provider.create_job(name, PLAIN)

    async def test_its_folder_is_missing(self, provider):
        with pytest.raises(FolderMissing, match="'gone'"):
            await provider.create_job("gone/app", PLAIN)

    @pytest.mark.parametrize(
        ("name", "xml", "error"),
        [("bad?name", PLAIN, DefinitionInvalid), ("app", "<project>", CreationFailed)],
    )
    async def test_what_jenkins_cannot_use_is_invalid_if_it_says_why(
        self, provider, name, xml, error
    ):
        with pytest.raises(error):
            await provider.create_job(name, xml)

    async def test_a_500_in_a_bad_moment_is_not_the_definitions_fault(self, jenkins, provider):
        jenkins.faults.add(RequestFault(method="POST", status=500, count=1))
        jenkins.faults.add(RequestFault(method="GET", status=503, count=1))
        with pytest.raises(ProviderUnreachable):
            await provider.create_job("app", PLAIN)
        await provider.create_job("app", PLAIN)

    async def test_a_lost_answer_leaves_the_job_to_be_found(self, jenkins, provider):
        jenkins.faults.add(RequestFault(path="createItem", status=502, do_work=True))
        with pytest.raises(ProviderUnreachable):
            await provider.create_job("app", our_xml())
        assert (await provider.read_job("app")).owner == "ours"

    async def test_the_permission_that_lacks_is_named(self, jenkins, provider):
        jenkins.set_permissions("admin", READ_ONLY)
        with pytest.raises(ProviderRefused, match=r"'admin'.*Job/Create") as refused:
            await provider.create_job("app", PLAIN)
        assert refused.value.required_permission == "hudson.model.Item.Create"


class TestDeleting:
    async def test_true_then_false(self, provider):
        await provider.create_job("app", PLAIN)
        assert await provider.delete_job("app") is True
        assert await provider.delete_job("app") is False

    async def test_a_redirect_to_a_login_page_deletes_nothing(self, jenkins, provider):
        await provider.create_job("app", PLAIN)
        jenkins.faults.add(RequestFault(path="doDelete", status=302))
        with pytest.raises(ProviderUnreachable):
            await provider.delete_job("app")

    async def test_jenkins_has_time_to_end_the_builds(self, jenkins):
        async with connected(jenkins, timeout_s=0.5) as provider:
            await provider.create_job("app", PLAIN)
            jenkins.faults.add(RequestFault(path="doDelete", delay_after_s=0.8))
            assert await provider.delete_job("app") is True

    async def test_builds_that_wont_stop_are_no_nonsense(self):
        refusal = b"HTTP/1.1 400 Bad Request\r\nX-Error: Failed to stop 1 build\r\nContent-Length: 0\r\n\r\n"
        async with wire(answering(refusal)) as server, connected(server) as provider:
            with pytest.raises(BuildsWontStop, match=r"'app'.*Failed to stop 1 build"):
                await provider.delete_job("app")


class TestQueue:
    @pytest.fixture(autouse=True)
    def jobs(self, jenkins):
        jenkins.create_job("app", our_xml())
        jenkins.create_job("slow", our_xml().replace("<quietPeriod>0", "<quietPeriod>3600"))

    async def test_what_waits_is_listed_and_can_be_cancelled(self, jenkins, provider):
        reply = await trigger(provider, "slow", DEPLOYMENT_RUN_ID="r1")
        queue = await provider.list_queue()
        (item,) = queue.items
        assert (item.queue_id, item.job_full_name) == (reply.queue_id, "slow")
        assert item.parameters == {"DEPLOYMENT_RUN_ID": "r1"}
        assert item.why
        assert queue.session == (await provider.ping()).session

        assert await provider.cancel_queue_item(reply.queue_id) is CancelOutcome.CANCELLED
        assert await provider.cancel_queue_item(reply.queue_id) is CancelOutcome.ALREADY_LEFT
        left = await provider.read_queue_item(reply.queue_id)
        assert (left.left, left.cancelled, left.build_number) == (True, True, None)
        assert (await provider.list_queue()).items == ()

    async def test_an_item_that_became_a_build_has_left(self, jenkins, provider):
        queue_id = await running(provider)
        assert await provider.cancel_queue_item(queue_id) is CancelOutcome.ALREADY_LEFT

    async def test_an_unknown_item(self, provider):
        assert await provider.cancel_queue_item("999") is CancelOutcome.UNKNOWN
        assert await provider.read_queue_item("999") is None

    async def test_a_500_about_an_item_that_still_waits_decides_nothing(self, jenkins, provider):
        reply = await trigger(provider, "slow")
        jenkins.faults.add(RequestFault(path="cancelItem", status=500, count=1))
        with pytest.raises(ProviderUnreachable):
            await provider.cancel_queue_item(reply.queue_id)

    async def test_without_permission(self, jenkins, provider):
        reply = await trigger(provider, "slow")
        jenkins.set_permissions("admin", READ_ONLY)
        assert await provider.cancel_queue_item(reply.queue_id) is CancelOutcome.REFUSED

    async def test_a_restart_shows_in_the_session(self, jenkins, provider):
        before = (await provider.list_queue()).session
        await jenkins.restart()
        after = (await provider.list_queue()).session
        assert before
        assert after
        assert before != after


class TestBuilds:
    @pytest.fixture(autouse=True)
    def jobs(self, jenkins):
        jenkins.create_job("app", our_xml(V=""))

    async def test_there_is_no_such_build_or_job(self, provider):
        assert await provider.read_build("app", 99) is None
        assert await provider.read_build("gone", 1) is None
        assert await provider.list_builds("gone") is None
        assert await provider.stop_build("app", 99) is False

    async def test_builds_are_listed_newest_first_up_to_the_limit(self, jenkins, provider):
        for number in (1, 2, 3):
            await running(provider, V=str(number), DEPLOYMENT_RUN_ID=f"r{number}")
            jenkins.release("app", number)
            await until(
                lambda number=number: provider.read_build("app", number),
                lambda build: build is not None and build.finished,
            )
        listed = await provider.list_builds("app", limit=2)
        assert [(b.number, b.parameters["DEPLOYMENT_RUN_ID"]) for b in listed.builds] == [
            (3, "r3"),
            (2, "r2"),
        ]
        assert listed.next_build_number == 4
        assert all(
            b.result == "SUCCESS" and [c.user_id for c in b.causes] == ["admin"]
            for b in listed.builds
        )
        assert (await provider.read_job("app")).last_build_number == 3

    async def test_a_finished_build_may_be_stopped_as_jenkins_sees_it(self, jenkins, provider):
        await running(provider)
        jenkins.release("app")
        await until(lambda: provider.read_build("app", 1), lambda build: build.finished)
        assert await provider.stop_build("app", 1) is True

    async def test_stopping_without_permission(self, jenkins, provider):
        await running(provider)
        jenkins.set_permissions("admin", READ_ONLY)
        with pytest.raises(ProviderRefused, match="Job/Cancel"):
            await provider.stop_build("app", 1)


class TestRefusedReads:
    async def test_wrong_token(self, jenkins):
        async with connected(jenkins, "wrong") as provider:
            with pytest.raises(ProviderRefused, match=r"'admin'.*API token"):
                await provider.list_queue()

    async def test_a_job_that_we_may_not_see_is_missing(self, jenkins, provider):
        jenkins.create_job("app", PLAIN)
        jenkins.set_permissions("admin", frozenset({Permission.OVERALL_READ}))
        assert await provider.read_job("app") is None

    async def test_an_account_of_another_name(self, jenkins):
        jenkins.set_user("üser", SimulatedUser(api_token="tökén"))
        provider = JenkinsProvider(jenkins.url + "/", "üser", "tökén")
        assert (await provider.ping()).account == "üser"
        await provider.close()

    @pytest.mark.parametrize("fault", [{"login_page": True}, RESET, {"status": 302}], ids=str)
    async def test_what_stands_in_front_of_jenkins_is_not_jenkins(self, jenkins, provider, fault):
        jenkins.faults.add(RequestFault(**fault))
        with pytest.raises(ProviderUnreachable) as caught:
            await provider.read_job("gone")
        assert "<" not in caught.value.message

    async def test_a_404_of_a_proxy_is_not_believed_once_jenkins_was_seen(self, jenkins, provider):
        await provider.ping()
        jenkins.faults.add(RequestFault(status=404))
        with pytest.raises(ProviderUnreachable):
            await provider.read_job("app")
        assert (await trigger(provider)).outcome is TriggerOutcome.NOT_DONE

    async def test_a_folder_is_no_job_that_builds(self, jenkins, provider):
        jenkins.create_job("fold", FOLDER)
        job = await provider.read_job("fold")
        assert not job.buildable


async def test_a_pipeline_that_waits_for_input_says_so(jenkins, provider):
    spec = JobSpec(JobKind.PIPELINE_SCRIPT, pipeline_script="node { input 'go on?' }")
    await provider.create_job("pipe", render_job_xml(spec, owner="o", parameters=(), webhook=None))
    await trigger(provider, "pipe")
    build = await until(
        lambda: provider.read_build("pipe", 1),
        lambda build: build is not None and (build.waiting_for_input or build.finished),
    )
    assert build.waiting_for_input
    (seen,) = (await provider.list_running()).builds
    assert (seen.job_full_name, seen.waiting_for_input) == ("pipe", True)


async def test_a_pipeline_that_is_being_resumed_holds_up_no_reading(jenkins):
    jenkins.create_job("app", our_xml())
    async with connected(jenkins, timeout_s=1) as provider:
        await running(provider)
        jenkins.faults.add(RequestFault(path="waitingForInput", delay_before_s=60))
        assert len((await provider.list_running()).builds) == 1
        begun = asyncio.get_running_loop().time()
        assert (await provider.read_build("app", 1)).building
        assert len((await provider.list_builds("app")).builds) == 1
        assert await provider.read_build("app", 2) is None
        assert asyncio.get_running_loop().time() - begun < 0.75, "it is not asked for meanwhile"


async def test_a_jenkins_that_answers_nothing_costs_one_timeout():
    async with wire(silence) as server, connected(server, timeout_s=0.4) as provider:
        loop = asyncio.get_running_loop()
        begun = loop.time()
        with pytest.raises(ProviderUnreachable, match="no answer in time"):
            await provider.list_running()
        assert 0.4 <= loop.time() - begun < 1
        assert server.connections == 2


async def test_every_read_asks_for_a_tree(jenkins, provider):
    jenkins.create_job("app", our_xml())
    await provider.read_job("app")
    await provider.list_builds("app")
    await provider.list_queue()
    await provider.list_running()
    await provider.read_build("app", 1)
    await provider.read_queue_item("1")
    paths = [entry.path for entry in jenkins.requests.entries]
    assert len(paths) == 6
    assert all("api/json?tree=" in path for path in paths), json.dumps(paths)
