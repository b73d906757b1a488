"""A run goes through Jenkins and its end becomes known, with webhooks and without."""

from __future__ import annotations

import asyncio
import uuid

import pytest

from deployment_service.actions.update_deployment import UpdateDeployment, update_deployment
from deployment_service.cicd.jenkins.provider import JenkinsProvider
from deployment_service.domain.attribution import Verdict
from deployment_service.domain.definition import JobDefinition, JobKind
from deployment_service.domain.deployment_settings import DeploymentSettings
from deployment_service.domain.errors import FailedPrecondition, InvalidArgument
from deployment_service.domain.parameter_definitions import DeclaredParameter, ParameterKind
from deployment_service.domain.status import UnstablePolicy
from jenkins_simulator import DEFAULT_API_TOKEN, JenkinsSimulator, Result
from tests.integration.jobs_harness import Jobs, adopt, eventually, shell
from tests.integration.runs_harness import Runs, guide, plugin, runs_of
from tests.support.parameters import strings

STARTED = ("RUN_START", "PENDING", "RUNNING")
REQUESTED = ("STATUS_UPDATE", "PENDING", "PENDING")


async def test_a_run_that_succeeds(runs: Runs, jenkins: JenkinsSimulator) -> None:
    """P3, P4: one build, and its end is known without any webhook."""
    await runs.jobs.create("web", shell())
    started = await runs.start("web")
    row = await runs.until(started.run_id, status="COMPLETED", certainty="CONFIRMED")
    assert row["build_number"] == 1
    assert len(jenkins.ledger.builds(run_id=str(started.run_id))) == 1
    assert await runs.history() == [
        REQUESTED,
        STARTED,
        ("STATUS_UPDATE", "RUNNING", "COMPLETED"),
    ]
    assert (await runs.deployment())["last_completed_run_id"] == started.run_id


@pytest.mark.parametrize(
    ("script", "status", "cause"),
    [("exit 1", "FAILED", "BUILD_FAILED"), ("exit 0", "COMPLETED", None)],
)
async def test_the_result_decides(runs: Runs, script: str, status: str, cause: str | None) -> None:
    """P4"""
    await runs.jobs.create("web", JobDefinition(JobKind.FREESTYLE_SHELL, text=script))
    started = await runs.start("web")
    row = await runs.until(started.run_id, status=status, certainty="CONFIRMED")
    assert row["failure_cause"] == cause


async def test_parameters_reach_the_build(runs: Runs, jenkins: JenkinsSimulator) -> None:
    await runs.jobs.create("web", shell(), parameter_definitions=strings(VERSION="1", PLACE="here"))
    started = await runs.start("web", parameters={"VERSION": "2 & ü"})
    await runs.until(started.run_id, status="COMPLETED")
    (build,) = jenkins.ledger.builds(run_id=str(started.run_id))
    assert build.parameters["VERSION"] == "2 & ü"
    assert build.parameters["PLACE"] == "here"


async def test_a_parameter_that_an_adopted_job_does_not_define_is_refused(
    runs: Runs, jenkins: JenkinsSimulator
) -> None:
    """P3: none only together with a DEPLOYMENT_RUN_FAILURE that says why."""
    jenkins.create_job("plain", "<project><builders/></project>")
    await runs.jobs.create("web", adopt("plain"))
    started = await runs.start("web", parameters={"UNKNOWN": "x"})
    row = await runs.until(started.run_id, status="FAILED", certainty="CONFIRMED")
    assert row["failure_cause"] == "JOB_PARAMETERS_MISMATCH"
    assert "UNKNOWN" in row["failure_message"]
    assert await runs.history() == [REQUESTED, ("RUN_FAILURE", "PENDING", "FAILED")]
    assert jenkins.ledger.builds() == []


DEFINED = (
    "<project><properties><hudson.model.ParametersDefinitionProperty><parameterDefinitions>"
    "<hudson.model.BooleanParameterDefinition><name>FLAG</name>"
    "</hudson.model.BooleanParameterDefinition>"
    "<hudson.model.ChoiceParameterDefinition><name>WHERE</name>"
    '<choices class="java.util.Arrays$ArrayList"><a class="string-array">'
    "<string> b </string><string></string></a></choices></hudson.model.ChoiceParameterDefinition>"
    "</parameterDefinitions></hudson.model.ParametersDefinitionProperty></properties></project>"
)


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({"FLAG": "yes"}, "FLAG is of the kind BOOLEAN: 'yes'"),
        ({"FLAG": "TRUE"}, "'true' and 'false'"),
        ({"WHERE": "b"}, "must match exactly: ' b ', ''"),
        ({"flag": "true"}, "doesn't define flag (but FLAG)"),
    ],
)
async def test_a_value_that_jenkins_would_change_is_refused_before_anything_is_sent(
    runs: Runs, jenkins: JenkinsSimulator, parameters: dict[str, str], said: str
) -> None:
    jenkins.create_job("typed", DEFINED)
    await runs.jobs.create("web", adopt("typed"))
    started = await runs.start("web", parameters=parameters)
    row = await runs.until(started.run_id, status="FAILED", certainty="CONFIRMED")
    assert row["failure_cause"] == "JOB_PARAMETERS_MISMATCH"
    assert said in row["failure_message"]
    assert jenkins.ledger.builds() == []


TRIMS = (
    "<project><properties><hudson.model.ParametersDefinitionProperty><parameterDefinitions>"
    "<hudson.model.StringParameterDefinition><name>CUT</name><trim>true</trim>"
    "</hudson.model.StringParameterDefinition>"
    "<hudson.model.StringParameterDefinition><name>KEPT</name><trim>false</trim>"
    "</hudson.model.StringParameterDefinition>"
    "</parameterDefinitions></hudson.model.ParametersDefinitionProperty></properties></project>"
)


@pytest.mark.parametrize("value", [" x", "x\n", "\t x "])
async def test_a_value_that_its_definition_would_trim_is_refused_before_anything_is_sent(
    runs: Runs, jenkins: JenkinsSimulator, value: str
) -> None:
    jenkins.create_job("trims", TRIMS)
    await runs.jobs.create("web", adopt("trims"))
    started = await runs.start("web", parameters={"CUT": value})
    row = await runs.until(started.run_id, status="FAILED", certainty="CONFIRMED")
    assert row["failure_cause"] == "JOB_PARAMETERS_MISMATCH"
    assert repr(value) in row["failure_message"]
    kept = await runs.start("web", parameters={"CUT": "x", "KEPT": value})
    await runs.until(kept.run_id, status="COMPLETED")
    (build,) = jenkins.ledger.builds()
    assert (build.parameters["CUT"], build.parameters["KEPT"]) == ("x", value)


async def test_a_value_that_a_typed_parameter_takes_reaches_the_build(
    runs: Runs, jenkins: JenkinsSimulator
) -> None:
    jenkins.create_job("typed", DEFINED)
    await runs.jobs.create("web", adopt("typed"))
    started = await runs.start("web", parameters={"FLAG": "true", "WHERE": ""})
    await runs.until(started.run_id, status="COMPLETED")
    (build,) = jenkins.ledger.builds()
    assert (build.parameters["FLAG"], build.parameters["WHERE"]) == ("true", "")


async def update(runs: Runs, *definitions: DeclaredParameter) -> None:
    await update_deployment(
        runs.jobs.databases.api,
        UpdateDeployment(
            runs.jobs.tenant,
            "web",
            frozenset({"parameter_definitions"}),
            DeploymentSettings(parameter_definitions=definitions),
        ),
    )


async def test_a_job_of_ours_learns_what_its_deployment_defines(
    runs: Runs, jenkins: JenkinsSimulator
) -> None:
    """Jenkins drops undeclared parameters silently: those of an updated deployment are declared first."""
    await runs.jobs.create("web", shell(), parameter_definitions=strings(OLD="1"))
    flag = DeclaredParameter("FLAG", ParameterKind.BOOLEAN, "true")
    where = DeclaredParameter("OLD", ParameterKind.CHOICE, " b ", ("a", " b "))
    await update(runs, flag, where, *strings(VERSION="1.4.1"))
    started = await runs.start("web", parameters={"VERSION": "1.4.2"})
    await runs.until(started.run_id, status="COMPLETED", certainty="CONFIRMED")
    (build,) = jenkins.ledger.builds(run_id=str(started.run_id))
    assert build.parameters["VERSION"] == "1.4.2"
    assert (build.parameters["FLAG"], build.parameters["OLD"]) == ("true", " b ")
    declared = jenkins.job("demo.web").config.parameters or ()
    assert {one.name: one.kind.name for one in declared} == {
        "DEPLOYMENT_RUN_ID": "STRING",
        "FLAG": "BOOLEAN",
        "OLD": "CHOICE",
        "VERSION": "STRING",
    }


@pytest.mark.parametrize("name", ["PS4", "UNKNOWN", "LD_PRELOAD"])
async def test_a_run_adds_no_parameter_to_the_job(
    runs: Runs, jenkins: JenkinsSimulator, name: str
) -> None:
    """P7: a deployer could otherwise have the build's shell evaluate a text."""
    await runs.jobs.create("web", shell(), parameter_definitions=strings(VERSION="1"))
    with pytest.raises(InvalidArgument) as refused:
        await runs.start("web", parameters={name: "$(id)"})
    assert refused.value.reason == "PARAMETER_NOT_DEFINED"
    assert await runs.runs() == []
    names = [one.name for one in jenkins.job("demo.web").config.parameters or ()]
    assert names == ["DEPLOYMENT_RUN_ID", "VERSION"]


async def test_what_the_owner_of_an_adopted_job_declares_may_be_given(
    runs: Runs, jenkins: JenkinsSimulator
) -> None:
    """Whatever its name: the owner decides what the job acts on."""
    jenkins.create_job("owned", TRIMS.replace("KEPT", "ENV"))
    await runs.jobs.create("web", adopt("owned"))
    started = await runs.start("web", parameters={"ENV": "prod"})
    await runs.until(started.run_id, status="COMPLETED")
    (build,) = jenkins.ledger.builds()
    assert build.parameters["ENV"] == "prod"


async def test_a_second_run_is_refused_while_one_is_active(
    runs: Runs, jenkins: JenkinsSimulator
) -> None:
    await runs.jobs.create("web", shell())
    jenkins.hold("demo.web")
    await runs.start("web")
    with pytest.raises(FailedPrecondition) as refusal:
        await runs.start("web")
    assert refusal.value.reason == "RUN_ACTIVE"
    await runs.start("web", allow_concurrent=True)


async def test_a_request_id_runs_once(runs: Runs, jenkins: JenkinsSimulator) -> None:
    """P3: a trigger that timed out and is repeated runs nothing twice."""
    await runs.jobs.create("web", shell())
    request = runs.jobs.request("RunDeployment")
    answers = await asyncio.gather(*(runs.start("web", request=request) for _ in range(5)))
    assert len({answer.run_id for answer in answers}) == 1
    assert len({answer.sequence for answer in answers}) == 1
    await runs.until(answers[0].run_id, status="COMPLETED")
    assert len(jenkins.ledger.builds()) == 1


async def test_no_request_id_no_run(runs: Runs) -> None:
    await runs.jobs.create("web", shell())
    with pytest.raises(InvalidArgument):
        await runs.start("web", request=None)


async def test_a_webhook_is_faster_and_reading_confirms(
    jobs: Jobs, jenkins: JenkinsSimulator
) -> None:
    """P2: an early word from a step is corrected by what Jenkins says in the end."""
    async with runs_of(jobs, reconcile=False) as runs:
        await jobs.create("web", shell())
        jenkins.hold("demo.web")
        started = await runs.start("web")
        job_id = (await jobs.row())["job_id"]
        (result,) = await runs.tell(
            plugin(job_id, 1, "STARTED", run_id=str(started.run_id), parameters_known=True)
        )
        assert (result.verdict, result.deployment) == (
            Verdict.APPLIED,
            "tenants/demo/deployments/web",
        )
        await runs.show(job_id, 1, run_id=started.run_id)
        (result,) = await runs.tell(guide(job_id, 1, "success"))
        assert (result.old_status, result.status) == ("RUNNING", "COMPLETED")
        assert (await runs.run(started.run_id))["certainty"] == "REPORTED"
        (result,) = await runs.tell(plugin(job_id, 1, "FINALIZED", "FAILURE"))
        assert (result.old_status, result.status) == ("COMPLETED", "FAILED")
        assert (await runs.run(started.run_id))["certainty"] == "REPORTED", "no report is certain"
        (result,) = await runs.tell(plugin(job_id, 1, "FINALIZED", "FAILURE"))
        assert result.verdict is Verdict.DUPLICATE
        (result,) = await runs.tell(plugin(job_id, 1, "STARTED"))
        assert result.verdict is Verdict.STALE


async def test_a_report_without_run_id_is_kept_until_jenkins_says_whose_it_is(
    jobs: Jobs, jenkins: JenkinsSimulator
) -> None:
    """P2: the guide's body names no run; the run has no number yet."""
    async with runs_of(jobs, reconcile=False) as runs:
        await jobs.create("web", shell())
        jenkins.hold("demo.web")
        started = await runs.start("web")
        job_id = (await jobs.row())["job_id"]
        (result,) = await runs.tell(guide(job_id, 1, "failure"))
        assert result.verdict is Verdict.PENDING_ATTRIBUTION
        assert (await runs.run(started.run_id))["status"] == "RUNNING"
    # The build has ended, or a read that shows it running would withdraw the report.
    (build,) = jenkins.release("demo.web", result=Result.FAILURE)
    await jenkins.wait_for(build)
    async with runs_of(jobs, dispatch=False) as runs:
        row = await runs.until(started.run_id, status="FAILED", certainty="CONFIRMED")
        assert row["build_number"] == 1
        (delivery,) = await jobs.sql("SELECT verdict, run_id FROM webhook_deliveries")
        assert tuple(delivery) == ("APPLIED", started.run_id)


async def test_a_build_that_somebody_else_starts(runs: Runs, jenkins: JenkinsSimulator) -> None:
    """It becomes an EXTERNAL run, whether a webhook or reading tells of it first."""
    await runs.jobs.create("web", shell())
    job_id = (await runs.jobs.row())["job_id"]
    await runs.show(job_id, 1)
    (result,) = await runs.tell(plugin(job_id, 1, "FINALIZED", "SUCCESS", parameters_known=True))
    assert result.verdict is Verdict.APPLIED
    (row,) = await runs.runs()
    assert (row["source"], row["status"]) == ("EXTERNAL", "COMPLETED")
    assert (await runs.deployment())["status"] == "COMPLETED"


async def test_adopted_jobs_shared_by_two_deployments(
    runs: Runs, jenkins: JenkinsSimulator
) -> None:
    """Fixed parameters tell whose an external build is."""
    client = JenkinsProvider(jenkins.url, "admin", DEFAULT_API_TOKEN, timeout_s=5)
    try:
        await client.create_job(
            "shared",
            "<project><properties><hudson.model.ParametersDefinitionProperty><parameterDefinitions>"
            "<hudson.model.StringParameterDefinition><name>PLACE</name><defaultValue/>"
            "</hudson.model.StringParameterDefinition></parameterDefinitions>"
            "</hudson.model.ParametersDefinitionProperty></properties><builders/></project>",
        )
    finally:
        await client.close()
    await runs.jobs.create("north", adopt("shared", PLACE="north"))
    await runs.jobs.create("south", adopt("shared", PLACE="south"))
    started = await runs.start("north")
    row = await runs.until(started.run_id, status="COMPLETED", certainty="CONFIRMED")
    assert row["build_number"] == 1
    assert (await runs.deployment("south"))["status"] == "PENDING"
    job_id = (await runs.jobs.row())["job_id"]
    await runs.show(job_id, 2, parameters={"PLACE": "south"})
    (result,) = await runs.tell(
        plugin(
            job_id, 2, "FINALIZED", "FAILURE", parameters_known=True, parameters={"PLACE": "south"}
        )
    )
    assert result.deployment == "tenants/demo/deployments/south"
    assert (await runs.deployment("south"))["status"] == "FAILED"
    (result,) = await runs.tell(plugin(job_id, 3, "FINALIZED", "FAILURE"))
    assert result.verdict is Verdict.PENDING_ATTRIBUTION


async def test_unstable_may_count_as_completed(runs: Runs) -> None:
    await runs.jobs.create("web", shell(), unstable_policy=UnstablePolicy.COMPLETED)
    job_id = (await runs.jobs.row())["job_id"]
    await runs.show(job_id, 1)
    await runs.tell(plugin(job_id, 1, "FINALIZED", "UNSTABLE", parameters_known=True))
    assert (await runs.deployment())["status"] == "COMPLETED"


async def test_jenkins_down_then_back(runs: Runs, jenkins: JenkinsSimulator) -> None:
    """P3: the run waits, visibly, and is triggered once when Jenkins is back."""
    await runs.jobs.create("web", shell())
    await jenkins.stop()
    started = await runs.start("web", remaining_s=0.5)
    row = await runs.run(started.run_id)
    assert (row["status"], row["waiting_for"]) == ("PENDING", "TRIGGER")

    async def said_why() -> bool:
        return "Jenkins" in (await runs.run(started.run_id))["waiting_reason"]

    await eventually(said_why, "the run says what it waits for")
    await jenkins.start(port=int(jenkins.url.rstrip("/").rpartition(":")[2]))
    await runs.until(started.run_id, status="COMPLETED")
    assert len(jenkins.ledger.builds(run_id=str(started.run_id))) == 1


async def test_reports_of_unknown_jobs_and_nonsense_change_nothing(runs: Runs) -> None:
    """P7"""
    await runs.jobs.create("web", shell())
    job_id = (await runs.jobs.row())["job_id"]
    results = await runs.tell(
        guide(uuid.uuid4(), 1, "success"),
        guide(job_id, 0, "success"),
        plugin(job_id, 1, "FINALIZED", "SUCCESS", job_path="job/other/"),
    )
    assert [r.verdict for r in results] == [
        Verdict.NO_MAPPING,
        Verdict.INVALID,
        Verdict.WRONG_JOB,
    ]
    assert await runs.runs() == []
