"""Pipelines and notifications of the simulated Jenkins, beyond what was recorded."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import pytest

from jenkins_simulator import Result, SimulatorConfig
from tests.conformance.client import Client, endpoint, freestyle, parameters, pipeline, running
from tests.conformance.receiver import Receiver
from tests.support.waiting import until

DECLARATIVE = """
pipeline {
    agent any
    parameters { booleanParam(name: 'DRY', defaultValue: true, description: '') }
    environment { GREETING = "hello ${params.WHO}" }
    stages {
        stage('Build') {
            steps {
                sh 'echo "$GREETING from $BUILD_NUMBER"'
                script {
                    def out = sh(script: 'echo answer', returnStdout: true).trim()
                    if (out != 'answer') { error "got ${out}" }
                }
            }
        }
        stage('Never') {
            when { expression { return params.WHO == 'nobody' } }
            steps { error 'skipped' }
        }
    }
    post {
        always { echo 'always' }
        success { echo 'well' }
        failure { echo 'badly' }
    }
}
"""
FAILING_STAGE = """
pipeline {
    agent none
    stages { stage('x') { steps { error 'no' } } }
    post { failure { echo 'badly' } success { echo 'well' } }
}
"""


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    async with running() as client:
        yield client


@pytest.mark.parametrize(
    ("script", "result", "shown"),
    [
        ("node { stage('a') { sh 'echo from the shell' } }", "SUCCESS", "from the shell"),
        ("node { sh 'exit 3' }", "FAILURE", "script returned exit code 3"),
        (
            "def code = sh(script: 'exit 3', returnStatus: true)\necho \"code ${code}\"",
            "SUCCESS",
            "code 3",
        ),
        ("error 'boom'", "FAILURE", "ERROR: boom"),
        ("unstable 'meh'\necho currentBuild.currentResult", "UNSTABLE", "UNSTABLE"),
        ("currentBuild.result = 'NOT_BUILT'", "NOT_BUILT", ""),
        ("currentBuild.result = 'FAILURE'\ncurrentBuild.result = 'SUCCESS'", "FAILURE", ""),
        (
            "try { error 'a' } catch (e) { echo \"caught ${e.message}\" } finally { echo 'end' }",
            "SUCCESS",
            "caught a",
        ),
        ("try { error 'a' } catch (Exception e) { throw e }", "FAILURE", "ERROR: a"),
        ("catchError(buildResult: 'UNSTABLE') { error 'z' }\necho 'on'", "UNSTABLE", "\non\n"),
        ("retry(3) { sh 'test -e f || { touch f; exit 1; }' }", "SUCCESS", "Retrying"),
        ("parallel a: { echo 'in a' }, b: { error 'in b' }", "FAILURE", "in a"),
        ("def twice(x) { return x + x }\necho twice('ab')", "SUCCESS", "abab"),
        (
            "for (x in ['p', 'q']) { echo \"<$x>\" }\n[1, 2].each { echo \"it $it\" }",
            "SUCCESS",
            "it 2",
        ),
        ("withEnv(['A=b=c']) { sh 'echo $A' }", "SUCCESS", "b=c"),
        ("timeout(time: 20, unit: 'MILLISECONDS') { sh 'sleep 60' }", "ABORTED", "due to timeout"),
        ('echo "${params.WHO} $WHO ${env.WHO} ${env.JOB_NAME}"', "SUCCESS", "me me me j"),
        ("nosuch 'x'", "FAILURE", "No such DSL method 'nosuch'"),
        ("echo nosuch", "FAILURE", "No such property: nosuch"),
        ("node {", "FAILURE", "expecting '}'"),
        (DECLARATIVE, "SUCCESS", "hello me from 1"),
        (FAILING_STAGE, "FAILURE", "badly"),
    ],
)
async def test_scripts_decide_the_result(client: Client, script: str, result: str, shown: str):
    client.jenkins.create_job("j", pipeline(script, properties=parameters(WHO="me")))
    build = await client.run("j")
    assert build.result is not None
    assert build.result.name == result, build.console.plain
    assert shown in build.console.plain
    assert "skipped" not in build.console.plain
    shown_json = await client.json("job/j/1/api/json")
    assert (shown_json["building"], shown_json["result"]) == (False, result)


async def test_a_properties_step_drops_what_others_added_from_its_second_run_on(client: Client):
    script = "properties([parameters([string(name: 'OWN', defaultValue: '')])])\necho 'x'"
    client.jenkins.create_job("j", pipeline(script, properties=parameters(DEPLOYMENT_RUN_ID="")))
    remaining = []
    for run in ("r1", "r2", "r3"):
        await client.run("j", DEPLOYMENT_RUN_ID=run)
        remaining.append({d.name for d in client.jenkins.job("j").config.parameters or ()})
    assert remaining == [{"OWN", "DEPLOYMENT_RUN_ID"}, {"OWN"}, {"OWN"}]
    builds = client.jenkins.ledger.builds(job="j")
    assert [b.parameters.get("DEPLOYMENT_RUN_ID") for b in builds] == ["r1", "r2", None]


async def test_declarative_parameters_keep_what_others_added(client: Client):
    client.jenkins.create_job("j", pipeline(DECLARATIVE, properties=parameters(WHO="me", ID="")))
    for _ in range(3):
        await client.run("j")
    names = {d.name for d in client.jenkins.job("j").config.parameters or ()}
    assert names == {"DRY", "WHO", "ID"}


@pytest.mark.parametrize(
    ("action", "result"), [("proceedEmpty", Result.SUCCESS), ("abort", Result.ABORTED)]
)
async def test_an_input_waits_for_somebody(client: Client, action: str, result: Result):
    client.jenkins.create_job("j", pipeline("input id: 'go', message: 'Deploy?'"))
    await client.trigger("j")
    build = await client.build("j")
    await until(lambda: build.waiting_for_input is not None)
    shown = await client.json("job/j/1/api/json", tree="actions[waitingForInput,executions[id]]")
    assert next(a for a in shown["actions"] if a.get("waitingForInput"))["executions"] == [
        {
            "_class": "org.jenkinsci.plugins.workflow.support.steps.input.InputStepExecution",
            "id": "Go",
        }
    ]
    assert (await client.post(f"job/j/1/input/Go/{action}")).status == 200
    assert await client.jenkins.wait_for(build) is result


async def test_a_result_may_be_set_while_the_build_goes_on(client: Client):
    client.jenkins.create_job("j", pipeline("unstable 'meh'\ninput 'go?'"))
    await client.trigger("j")
    build = await client.build("j")
    await until(lambda: build.waiting_for_input is not None)
    shown = await client.json("job/j/1/api/json", tree="result,building,inProgress")
    assert (shown["result"], shown["building"], shown["inProgress"]) == ("UNSTABLE", True, True)
    await client.post("job/j/1/stop")
    assert await client.jenkins.wait_for(build) is Result.ABORTED


async def test_a_node_block_queues_for_an_executor():
    async with running(SimulatorConfig(quiet_period_s=0, executors=1)) as client:
        client.jenkins.create_job("busy", freestyle("# simulator: hold"))
        client.jenkins.create_job("pipe", pipeline("node { sh 'echo got it; sleep 60' }"))
        await client.trigger("busy")
        await client.build("busy")
        await client.trigger("pipe")
        pipe = await client.build("pipe")
        await until(lambda: client.jenkins.controller.queue.items())
        (item,) = (await client.json("queue/api/json"))["items"]
        assert item["task"]["_class"].endswith("ExecutorStepExecution$PlaceholderTask")
        client.jenkins.release("busy")
        await until(lambda: "got it\n" in pipe.console.plain.replace("+ echo got it\n", ""))
        tree = "computer[executors[currentExecutable[number,url]],oneOffExecutors[currentExecutable[number,url]]]"
        (computer,) = (await client.json("computer/api/json", tree=tree))["computer"]
        assert computer["executors"][0]["currentExecutable"]["_class"].endswith(
            "$PlaceholderExecutable"
        )
        assert computer["oneOffExecutors"][0]["currentExecutable"]["number"] == 1
        await client.post("job/pipe/1/stop")
        await client.jenkins.wait_for(pipe)
        assert client.jenkins.controller.executors.free() > 0


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    receiver = Receiver()
    async with await receiver.serve():
        yield receiver
        await receiver.finish()


def sent(receiver: Receiver) -> list[tuple[str, str, str | None]]:
    """Path, phase and status of each notification."""
    found = []
    for line, _, body in receiver.requests:
        build = json.loads(body)["build"]
        found.append((line.split()[1], build["phase"], build.get("status")))
    return found


async def test_urls_are_expanded_and_may_be_secrets(receiver: Receiver):
    url = f"http://127.0.0.1:{receiver.port}/hook/${{DEPLOYMENT_RUN_ID}}?b=$BUILD_NUMBER"
    config = SimulatorConfig(quiet_period_s=0, credentials={"our-hook": url})
    async with running(config) as client:
        for number, (value, kind) in enumerate([(url, "PUBLIC"), ("our-hook", "SECRET")]):
            properties = parameters(DEPLOYMENT_RUN_ID="") + endpoint(
                value, url_type=kind, event="started"
            )
            client.jenkins.create_job(f"j{number}", freestyle(properties=properties))
            build = await client.run(f"j{number}", DEPLOYMENT_RUN_ID="r7")
            assert sent(receiver)[number][0] == "/hook/r7?b=1"
            assert ("/hook/r7" in build.console.plain) is (kind == "PUBLIC")


@pytest.mark.parametrize(("plugin", "count"), [("1.16", 4), ("1.17", 0), (None, 0)])
async def test_an_endpoint_without_a_branch(receiver: Receiver, plugin: str | None, count: int):
    async with running(SimulatorConfig(quiet_period_s=0, notification_plugin=plugin)) as client:
        properties = endpoint(f"http://127.0.0.1:{receiver.port}/", branch=None)
        client.jenkins.create_job("j", freestyle(properties=properties))
        await client.run("j")
        assert len(receiver.requests) == count


async def test_the_events_that_an_endpoint_wants(client: Client, receiver: Receiver):
    url = f"http://127.0.0.1:{receiver.port}/"
    for event in ("manual", "failedAndFirstSuccess"):
        client.jenkins.create_job(event, freestyle(properties=endpoint(url, event=event)))
    await client.run("manual")
    client.jenkins.hold("failedAndFirstSuccess")
    for number, result in enumerate(
        [Result.SUCCESS, Result.FAILURE, Result.SUCCESS, Result.SUCCESS], 1
    ):
        await client.trigger("failedAndFirstSuccess")
        build = await client.build("failedAndFirstSuccess", number)
        client.jenkins.release("failedAndFirstSuccess", result=result)
        await client.jenkins.wait_for(build)
    assert sent(receiver) == [("/", "FINALIZED", "FAILURE"), ("/", "FINALIZED", "SUCCESS")]


async def test_a_step_may_send_any_phase_at_any_time(client: Client, receiver: Receiver):
    script = (
        "notifyEndpoints phase: 'COMPLETED', notes: 'half-way'\nunstable 'x'\nnotifyEndpoints()"
    )
    properties = endpoint(f"http://127.0.0.1:{receiver.port}/", event="manual", branch=None)
    client.jenkins.create_job("j", pipeline(script, properties=properties))
    await client.run("j")
    assert sent(receiver) == [("/", "COMPLETED", None), ("/", "STARTED", "UNSTABLE")]
