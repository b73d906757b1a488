"""Conformance of folders 03 (triggers), 04 (queue) and 05 (builds): one story, as it was recorded."""

from __future__ import annotations

from jenkins_simulator import JenkinsSimulator
from tests.conformance.story import Story, freestyle, item_id, until

_PACKAGE = "hudson.model."


def _definition(kind: str, name: str, inner: str) -> str:
    tag = f"{_PACKAGE}{kind}ParameterDefinition"
    return f"<{tag}><name>{name}</name>{inner}</{tag}>"


_CHOICES = "<string>dev</string><string>stage</string><string>prod</string>"
PARAMETERS = (
    f"<{_PACKAGE}ParametersDefinitionProperty><parameterDefinitions>"
    + _definition("String", "MSG", "<defaultValue>hi</defaultValue>")
    + _definition("Choice", "ENVNAME", f'<choices><a class="string-array">{_CHOICES}</a></choices>')
    + _definition("Boolean", "FLAG", "<defaultValue>false</defaultValue>")
    + _definition("Password", "SECRETP", "<defaultValue>s</defaultValue>")
    + f"</parameterDefinitions></{_PACKAGE}ParametersDefinitionProperty>"
)


class Stories:
    """One story with three folders of recordings."""

    def __init__(self, jenkins: JenkinsSimulator) -> None:
        self.trigger = Story(jenkins, "03-trigger")
        self.queue = Story(jenkins, "04-queue")
        self.build = Story(jenkins, "05-build")

    def check(self) -> None:
        failures = self.trigger.failures + self.queue.failures + self.build.failures
        assert not failures, "\n".join(failures)


def set_up_jobs(jenkins: JenkinsSimulator) -> None:
    jobs = {
        "ok": freestyle("echo hello $BUILD_NUMBER\nsleep 1\necho done"),
        "okfast": freestyle("true"),
        "failing": freestyle("echo about to fail\nexit 3"),
        "unstable": freestyle("echo meh\nexit 2", unstable=2),
        "slow": freestyle("echo start\nsleep 60"),
        "disabled": freestyle("true", disabled=True),
        "params": freestyle("echo $MSG", properties=PARAMETERS),
    }
    for name, xml in jobs.items():
        jenkins.create_job(name, xml)


async def test_jobs_without_parameters(jenkins: JenkinsSimulator):
    set_up_jobs(jenkins)
    stories = Stories(jenkins)
    trigger, queue, build = stories.trigger, stories.queue, stories.build

    await trigger.replay("build-ok")
    for name in ("item-waiting-quiet-period", "queue-list", "job-in-queue"):
        await queue.replay(name)
    await trigger.replay("build-ok-second-identical-during-quiet")
    await queue.replay("item-after-coalesce")
    jenkins.clock.advance(5)
    first = await trigger.build("ok", 1)
    await until(lambda: "sleep 1" in first.console.raw)
    for name in ("building", "building-tree", "console-progressive-running"):
        await build.replay(name)
    await queue.replay("item-left-executable-running")
    await trigger.replay("build-while-running")
    await trigger.build("ok", 2)
    await queue.replay("item-left-executable-finished")
    for name in ("success", "success-xml", "console-progressive-done"):
        await build.replay(name)
    await trigger.finished("ok", 2)
    await build.replay("job-depth1")

    item = await trigger.trigger("/job/ok/build")
    await queue.replay("cancel-item", item=item)
    for name in ("item-cancelled", "cancel-item-again"):
        await queue.replay(name, item=item)
    for name in (
        "cancel-item-already-left",
        "cancel-item-bad-id",
        "cancel-item-get",
        "cancel-item-missing",
        "cancel-item-no-id",
    ):
        await queue.replay(name)
    jenkins.clock.advance(301)
    await queue.replay("item-expired-404")
    stories.check()


async def test_results(jenkins: JenkinsSimulator):
    set_up_jobs(jenkins)
    story = Story(jenkins, "05-build")
    for job in ("failing", "unstable", "slow"):
        await story.trigger(f"/job/{job}/build?delay=0sec")
    slow = await story.build("slow", 1)
    await until(lambda: "sleep 60" in slow.console.raw)
    for name in ("stop", "stop-get", "stop-missing-build", "build-missing"):
        await story.replay(name)
    await story.finished("slow", 1)
    for name in ("stop-finished-build", "aborted"):
        await story.replay(name)
    await story.finished("failing", 1)
    await story.finished("unstable", 1)
    for name in ("failure", "failure-console", "unstable", "unstable-console", "aborted-console"):
        await story.replay(name)
    story.check()


async def test_jobs_with_parameters(jenkins: JenkinsSimulator):
    set_up_jobs(jenkins)
    stories = Stories(jenkins)
    trigger, queue, build = stories.trigger, stories.queue, stories.build
    for name in (
        "build-disabled",
        "build-missing-job",
        "build-parameterised-without-params",
        "buildWithParameters-get",
        "buildWithParameters-disabled",
        "buildWithParameters-on-parameterless",
        "buildWithParameters-wrong-choice",
        "build-parameterised-json-form",
    ):
        await trigger.replay(name)
    await trigger.trigger("/job/params/buildWithParameters?MSG=unk&UNKNOWN=x")
    await trigger.replay("buildWithParameters-defaults")
    await trigger.trigger("/job/params/buildWithParameters")
    await trigger.replay("buildWithParameters-query")
    item = item_id(await trigger.replay("buildWithParameters-form"))
    await trigger.replay("buildWithParameters-form-identical")
    await queue.replay("item-with-parameters", item=item)
    await queue.replay("queue-list-several")
    jenkins.clock.advance(3)
    await trigger.finished("params", 1)
    jenkins.clock.advance(2)
    await trigger.finished("params", 5)
    for name in ("job-builds-tree", "job-builds-tree-urlencoded", "job-full"):
        await build.replay(name)
    stories.check()
