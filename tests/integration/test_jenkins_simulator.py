"""The simulated Jenkins as clients and tests use it. Everything that defends P3 and P4 stands on it."""

from __future__ import annotations

import asyncio
import dataclasses
import time

import aiohttp
import jenkins as python_jenkins

from jenkins_simulator import (
    DEFAULT_API_TOKEN,
    DEFAULT_PASSWORD,
    READ_ONLY,
    JenkinsSimulator,
    Result,
    SimulatedUser,
    SimulatorConfig,
)
from tests.conformance.client import (
    Client,
    endpoint,
    freestyle,
    parameters,
    pipeline,
    running,
)
from tests.support.waiting import until

HELD = "# simulator: hold"
RUN_ID = parameters(DEPLOYMENT_RUN_ID="")


async def test_python_jenkins_cannot_tell_it_from_a_real_one():
    config = SimulatorConfig(quiet_period_s=0, anonymous_permissions=READ_ONLY)
    async with JenkinsSimulator(config) as simulator:
        await asyncio.to_thread(_use_python_jenkins, simulator.url)
        first, second = simulator.ledger.builds(job="team/job é")
        assert (first.result, first.parameters, first.user) == ("SUCCESS", {"MSG": "yo"}, "admin")
        assert second.result == "ABORTED"


def _use_python_jenkins(url: str) -> None:
    server = python_jenkins.Jenkins(url, "admin", DEFAULT_API_TOKEN, timeout=10)
    assert server.get_version() == "2.440"
    assert server.get_whoami()["fullName"] == "admin"
    server.create_folder("team")
    server.create_job(
        "team/job é", freestyle("echo $MSG; sleep 0.2", properties=parameters(MSG="hi"))
    )
    assert server.get_job_info("team/job é")["fullName"] == "team/job é"
    queue_id = server.build_job("team/job é", {"MSG": "yo"})
    while "executable" not in (item := server.get_queue_item(queue_id)):
        time.sleep(0.01)
    number = item["executable"]["number"]
    assert [build["number"] for build in server.get_running_builds()] == [number]
    while server.get_build_info("team/job é", number)["building"]:
        time.sleep(0.01)
    assert "\nyo\n" in server.get_build_console_output("team/job é", number)
    server.reconfig_job("team/job é", freestyle("sleep 60"))
    server.build_job("team/job é")
    while server.get_job_info("team/job é")["lastBuild"]["number"] == number:
        time.sleep(0.01)
    server.stop_build("team/job é", number + 1)
    while server.get_build_info("team/job é", number + 1)["building"]:
        time.sleep(0.01)
    assert server.get_build_info("team/job é", number + 1)["result"] == "ABORTED"
    server.disable_job("team/job é")
    server.enable_job("team/job é")
    server.rename_job("team/job é", "team/other")
    assert not server.job_exists("team/job é")
    server.copy_job("team/other", "team/copy")
    server.quiet_down()
    server.delete_job("team/other")
    server.delete_job("team")
    assert server.get_all_jobs() == []


async def test_the_ledger_never_forgets():
    async with running() as client:
        jenkins = client.jenkins
        rotator = "<logRotator><numToKeep>1</numToKeep></logRotator>"
        jenkins.create_job("f/j", freestyle(properties=RUN_ID, extra=rotator))
        for run in ("r1", "r2", "r3"):
            await client.run("f/j", DEPLOYMENT_RUN_ID=run)
        assert list(jenkins.job("f/j").builds) == [3]
        await jenkins.restart(hard=True)
        await client.post("job/f/doDelete")
        assert (await client.get("job/f/api/json")).status == 404
        assert [build.number for build in jenkins.ledger.builds(job="f/j")] == [1, 2, 3]
        assert [build.result for build in jenkins.ledger.builds(run_id="r2")] == ["SUCCESS"]
        assert len(jenkins.ledger.items(run_id="r2")) == 1
        served = await client.json("_simulator/ledger")
        assert [build["number"] for build in served["builds"]] == [1, 2, 3]


async def test_a_trigger_is_folded_into_an_equal_one_that_waits():
    async with running(SimulatorConfig()) as client:
        client.jenkins.create_job("j", freestyle(properties=RUN_ID))
        answers = [
            (await client.post("job/j/buildWithParameters", data={"DEPLOYMENT_RUN_ID": run})).status
            for run in ("a", "b", "a")
        ]
        assert answers == [201, 201, 303]
        assert [item.folded for item in client.jenkins.ledger.items()] == [1, 0]


async def test_builds_can_be_held_and_released_with_any_result():
    async with running() as client:
        client.jenkins.create_job("marked", freestyle(HELD))
        client.jenkins.create_job("told", pipeline("echo 'never'"))
        client.jenkins.hold("told")
        for job, result in (("marked", Result.UNSTABLE), ("told", Result.NOT_BUILT)):
            await client.trigger(job)
            build = await client.build(job)
            assert (await client.json(f"job/{job}/1/api/json"))["building"] is True
            client.jenkins.release(job, result=result)
            assert await client.jenkins.wait_for(build) is result
        await client.trigger("marked")
        build = await client.build("marked", 2)
        await client.post("job/marked/2/stop")
        assert await client.jenkins.wait_for(build) is Result.ABORTED


async def test_the_same_job_is_blocked_and_the_node_is_full():
    async with running(SimulatorConfig(quiet_period_s=0, executors=2)) as client:
        for job in ("a", "b", "c"):
            client.jenkins.create_job(job, freestyle(HELD))
        for job in ("a", "b"):
            await client.trigger(job)
            await client.build(job)
        blocked, waiting = await client.trigger("a"), await client.trigger("c")
        assert await _class_and_why(client, blocked) == (
            "hudson.model.Queue$BlockedItem",
            "Build #1 is already in progress (ETA: N/A)",
        )
        assert await _class_and_why(client, waiting) == (
            "hudson.model.Queue$BuildableItem",
            "Waiting for next available executor",
        )
        client.jenkins.release("a")
        await client.build("a", 2)


async def _class_and_why(client: Client, item_id: int) -> tuple[str, str]:
    item = await client.json(f"queue/item/{item_id}/api/json")
    return item["_class"], item["why"]


async def test_passwords_need_crumbs_that_a_restart_makes_stale():
    async with running() as client:
        client.jenkins.create_job("j", freestyle())
        headers = {"Authorization": aiohttp.encode_basic_auth("admin", DEFAULT_PASSWORD)}
        async with aiohttp.ClientSession(
            headers=headers, cookie_jar=aiohttp.CookieJar(unsafe=True)
        ) as http:
            by_password = Client(client.jenkins, http)
            assert (await by_password.post("job/j/build")).status == 403
            crumb = await by_password.json("crumbIssuer/api/json")
            fields = {crumb["crumbRequestField"]: crumb["crumb"]}
            assert (await by_password.post("job/j/build", headers=fields)).status == 201
            assert (await by_password.post("job/j/build", data=fields)).status == 201
            before = (await client.get("api/json")).headers["X-Jenkins-Session"]
            await client.jenkins.restart()
            assert (await by_password.post("job/j/build", headers=fields)).status == 403
            assert (await client.get("api/json")).headers["X-Jenkins-Session"] != before


async def test_without_the_plugin_the_endpoint_is_kept_and_not_listed():
    for plugin, listed in (("1.19", True), (None, False)):
        config = SimulatorConfig(quiet_period_s=0, notification_plugin=plugin)
        async with running(config) as client:
            xml = freestyle(properties=endpoint("http://127.0.0.1:1/"))
            assert (
                await client.post(
                    "createItem?name=j", data=xml, headers={"Content-Type": "application/xml"}
                )
            ).status == 200
            assert "127.0.0.1:1/" in await (await client.get("job/j/config.xml")).text()
            shown = await client.json("job/j/api/json", tree="property[_class]")
            assert bool(shown["property"]) is listed


async def test_a_branch_is_encoded_twice_and_can_not_be_configured():
    async with running() as client:
        project = "<org.jenkinsci.plugins.workflow.multibranch.WorkflowMultiBranchProject/>"
        client.jenkins.create_job("multi", project)
        job = client.jenkins.add_branch("multi", "feature/foo", 'echo "on $BRANCH_NAME"')
        shown = await client.json("job/multi/job/feature%252Ffoo/api/json")
        assert (shown["fullName"], shown["displayName"]) == ("multi/feature%2Ffoo", "feature/foo")
        assert shown["url"].endswith("/job/multi/job/feature%252Ffoo/")
        build = await client.run("multi/feature%2Ffoo")
        assert "on feature/foo" in build.console.plain
        assert job.url == "job/multi/job/feature%252Ffoo/"
        path = "job/multi/job/feature%252Ffoo/config.xml"
        refused = await client.post(path, data=pipeline("x"))
        assert refused.headers["X-Required-Permission"] == "hudson.model.Item.Configure"


async def test_quiet_paths_and_other_verbs():
    async with running() as client:
        client.jenkins.create_job("j", freestyle(properties=parameters(A="1")))
        redirected = await client.get("job/j")
        assert (redirected.status, redirected.headers["Location"]) == (
            302,
            f"{client.jenkins.url}/job/j/",
        )
        assert (await client.get("//job//j/api/json/")).status == 200
        # Case does not tell names apart, and the answer shows the name as it was given.
        assert (await client.json("job/J/api/json"))["name"] == "j"
        for verb in ("HEAD", "PUT"):
            response = await client.http.request(
                verb, f"{client.jenkins.url}/job/j/buildWithParameters"
            )
            assert (response.status, response.headers["Allow"]) == (405, "POST")
        for path in (
            "job/j/build",
            "job/j/doDelete",
            "createItem",
            "quietDown",
            "queue/cancelItem?id=1",
        ):
            response = await client.get(path)
            assert (response.status, "Allow" in response.headers) == (405, False), path
        head = await client.http.head(f"{client.jenkins.url}/job/j/api/json")
        assert (head.status, head.headers["X-Jenkins"]) == (200, "2.440")


async def test_requests_are_counted():
    async with running() as client:
        client.jenkins.create_job("f/j", freestyle())
        client.jenkins.requests.clear()
        for _ in range(3):
            await client.json("job/f/job/j/api/json")
        await client.run("f/j")
        assert client.jenkins.requests.counts()["GET", "/job/{name}/job/{name}/api/json"] == 3
        assert client.jenkins.requests.count("POST", r"/build\?delay") == 1


async def test_a_thousand_active_builds_in_two_hundred_folders():
    config = SimulatorConfig(quiet_period_s=0, executors=2000)
    async with running(config) as client:
        for number in range(1000):
            xml = freestyle(HELD, properties=RUN_ID)
            client.jenkins.create_job(f"f{number % 200}/j{number}", xml)
        for number in range(1000):
            await client.trigger(f"f{number % 200}/j{number}", DEPLOYMENT_RUN_ID=f"r{number}")
        await until(lambda: len(client.jenkins.ledger.builds()) == 1000)
        executable = "currentExecutable[url,number,queueId,actions[parameters[name,value]]]"
        tree = f"computer[oneOffExecutors[{executable}],executors[{executable}]]"
        started = time.perf_counter()
        (computer,) = (await client.json("computer/api/json", tree=tree))["computer"]
        assert time.perf_counter() - started < 1.0
        busy = [e["currentExecutable"] for e in computer["executors"] if e["currentExecutable"]]
        assert len({build["url"] for build in busy}) == 1000
        assert (await client.json("queue/api/json"))["items"] == []


async def test_users_see_only_what_they_may():
    user = SimulatedUser(password=None, api_token="t", permissions=frozenset())
    config = dataclasses.replace(SimulatorConfig(), users={"nobody": user})
    async with JenkinsSimulator(config) as simulator:
        headers = {"Authorization": aiohttp.encode_basic_auth("nobody", "t")}
        async with aiohttp.ClientSession(headers=headers) as http:
            client = Client(simulator, http)
            refused = await client.get("api/json")
            assert refused.headers["X-Required-Permission"] == "hudson.model.Hudson.Read"
            simulator.set_permissions("nobody", READ_ONLY)
            simulator.create_job("j", freestyle())
            assert (await client.json("api/json", tree="jobs[name]"))["jobs"][0]["name"] == "j"
            refused = await client.get("job/j/config.xml")
            assert refused.headers["X-Required-Permission"] == "hudson.model.Item.Configure"
