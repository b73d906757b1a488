"""Secret values reach Jenkins and nothing else, and are erased once the run is settled (P6, P7)."""

from __future__ import annotations

import json
import uuid
from xml.etree import ElementTree

import asyncpg
import pytest

from deployment_service.cicd.jenkins.provider import JenkinsProvider
from deployment_service.domain.errors import InvalidArgument, NotFound
from deployment_service.domain.parameter_definitions import DeclaredParameter, ParameterKind
from deployment_service.runtime.secret_box import SecretBox, generate_key
from jenkins_simulator import DEFAULT_API_TOKEN, JenkinsSimulator, RequestFault
from tests.fixtures_stack import Databases
from tests.integration.jobs_harness import adopt, eventually, jobs_of, shell
from tests.integration.runs_harness import Runs, runs_of
from tests.support.parameters import strings

TOKEN = DeclaredParameter("TOKEN", ParameterKind.SECRET)
VALUE = 's3cret <&> "täxt"'


def job_with(kind: str, name: str = "PW") -> str:
    return (
        "<project><properties><hudson.model.ParametersDefinitionProperty><parameterDefinitions>"
        f"<hudson.model.{kind}ParameterDefinition><name>{name}</name>"
        f"</hudson.model.{kind}ParameterDefinition>"
        "<hudson.model.StringParameterDefinition><name>PLAIN</name>"
        "</hudson.model.StringParameterDefinition>"
        "</parameterDefinitions></hudson.model.ParametersDefinitionProperty></properties></project>"
    )


async def build_by_hand(jenkins: JenkinsSimulator, **parameters: str) -> None:
    client = JenkinsProvider(jenkins.url, "admin", DEFAULT_API_TOKEN, timeout_s=5)
    try:
        await client.trigger("owned", parameters, parameterised=True, timeout_s=5)
    finally:
        await client.close()


def built_with(jenkins: JenkinsSimulator, full_name: str, number: int = 1) -> dict[str, str]:
    """What a build was started with, passwords included."""
    return {one.name: one.text for one in jenkins.job(full_name).builds[number].parameters or ()}


async def everything(runs: Runs) -> str:
    """All that the database holds, as text."""
    tables = await runs.jobs.sql(
        "SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"
    )
    rows = [await runs.jobs.sql(f"SELECT t::text FROM {table[0]} AS t") for table in tables]
    return "\n".join(row[0] for table in rows for row in table)


async def test_a_secret_reaches_the_build_and_is_erased_when_the_run_is_settled(
    runs: Runs, jenkins: JenkinsSimulator
) -> None:
    jenkins.hold("demo.web")
    await runs.jobs.create("web", shell(), parameter_definitions=(TOKEN, *strings(V="1")))
    started = await runs.start("web", parameters={"TOKEN": VALUE})
    row = await runs.until(started.run_id, build_number=1)
    assert (json.loads(row["parameters"]), row["secret_parameters"]) == ({"V": "1"}, ["TOKEN"])
    assert runs.jobs.box.decrypt(row["secret_values"])
    assert "s3cret" not in await everything(runs)
    (declared,) = (p for p in jenkins.job("demo.web").config.parameters or () if p.name == "TOKEN")
    assert (declared.kind.name, declared.default) == ("PASSWORD", "")
    jenkins.release("demo.web", 1)
    row = await runs.until(started.run_id, status="COMPLETED", certainty="CONFIRMED")
    assert (row["secret_values"], row["secret_parameters"]) == (None, ["TOKEN"])
    assert built_with(jenkins, "demo.web")["TOKEN"] == VALUE


@pytest.mark.parametrize("known", [True, False])
async def test_passwords_of_an_adopted_job_are_secret_by_themselves(
    runs: Runs, jenkins: JenkinsSimulator, known: bool
) -> None:
    """Also where the job got them since it was last read."""
    jenkins.create_job("owned", job_with("Password") if known else job_with("String"))
    await runs.jobs.create("web", adopt("owned"))
    if not known:
        job = jenkins.job("owned")
        job.update(ElementTree.fromstring(job_with("Password")), "1.1")
    started = await runs.start("web", parameters={"PW": VALUE, "PLAIN": "x"})
    row = await runs.until(started.run_id, status="COMPLETED", certainty="CONFIRMED")
    assert (json.loads(row["parameters"]), row["secret_parameters"]) == ({"PLAIN": "x"}, ["PW"])
    assert row["secret_values"] is None
    assert "s3cret" not in await everything(runs)
    built = built_with(jenkins, "owned")
    assert (built["PW"], built["PLAIN"]) == (VALUE, "x")


async def test_what_an_unread_job_may_define_as_a_password_counts_as_one(
    databases: Databases, jenkins: JenkinsSimulator
) -> None:
    """A job of before the upgrade: until it is read nothing of its owner's parameters is shown."""
    jenkins.create_job("owned", job_with("Password"))
    async with jobs_of(databases, jenkins.url) as jobs:
        await jobs.create("web", adopt("owned"), parameter_definitions=strings(DEFINED="1"))
        await jobs.sql("UPDATE cicd_jobs SET secret_parameters = NULL")
        async with runs_of(jobs, dispatch=False) as runs:
            started = await runs.start("web", parameters={"PW": VALUE, "PLAIN": "x"})
            row = await runs.run(started.run_id)
            assert json.loads(row["parameters"]) == {"DEFINED": "1"}
            assert row["secret_parameters"] == ["PLAIN", "PW"]


async def test_secrets_are_erased_with_a_run_that_never_gets_a_build(
    runs: Runs, jenkins: JenkinsSimulator
) -> None:
    await runs.jobs.create("web", shell(), parameter_definitions=(TOKEN,))
    jenkins.faults.add(RequestFault("POST", "buildWithParameters", count=1, jenkins_status=409))
    started = await runs.start("web", parameters={"TOKEN": VALUE})
    row = await runs.until(started.run_id, status="FAILED", certainty="CONFIRMED")
    assert row["secret_values"] is None
    with pytest.raises(asyncpg.CheckViolationError, match="secrets_erased"):
        await runs.jobs.sql("UPDATE deployment_runs SET secret_values = 'x'::bytea")


@pytest.mark.parametrize("kind", ["String", "Text", "Choice"])
async def test_a_secret_that_jenkins_would_show_isnt_sent(
    runs: Runs, jenkins: JenkinsSimulator, kind: str
) -> None:
    jenkins.create_job("owned", job_with(kind, "TOKEN"))
    await runs.jobs.create("web", adopt("owned"), parameter_definitions=(TOKEN,))
    started = await runs.start("web", parameters={"TOKEN": VALUE})
    row = await runs.until(started.run_id, status="FAILED", certainty="CONFIRMED")
    assert row["failure_cause"] == "JOB_PARAMETERS_MISMATCH"
    assert "TOKEN" in row["failure_message"]
    assert "s3cret" not in await everything(runs)
    assert jenkins.ledger.builds() == []


async def test_a_build_by_hand_shows_no_value_that_is_secret_here(
    runs: Runs, jenkins: JenkinsSimulator
) -> None:
    """An external run: Jenkins shows the value, as the job defines a text."""
    jenkins.create_job("owned", job_with("String", "TOKEN"))
    await runs.jobs.create("web", adopt("owned"), parameter_definitions=(TOKEN,))
    await build_by_hand(jenkins, TOKEN=VALUE, PLAIN="x")

    async def listed() -> bool:
        return bool(await runs.runs())

    await eventually(listed, "the external run is known")
    (row,) = await runs.runs()
    assert (row["source"], json.loads(row["parameters"])) == ("EXTERNAL", {"PLAIN": "x"})


async def test_secrets_that_cant_be_decrypted_end_the_run(
    runs: Runs, jenkins: JenkinsSimulator
) -> None:
    await runs.jobs.create("web", shell(), parameter_definitions=(TOKEN,))
    runs.starter._box = SecretBox([generate_key()])
    started = await runs.start("web", parameters={"TOKEN": VALUE})
    row = await runs.until(started.run_id, status="FAILED", certainty="CONFIRMED")
    assert "decrypted" in row["failure_message"]
    assert jenkins.ledger.builds() == []


async def test_running_again_takes_the_parameters_but_needs_the_secrets(
    runs: Runs, jenkins: JenkinsSimulator
) -> None:
    await runs.jobs.create("web", shell(), parameter_definitions=(TOKEN, *strings(V="1", W="1")))
    first = await runs.start("web", parameters={"TOKEN": VALUE, "V": "2"})
    await runs.until(first.run_id, status="COMPLETED", certainty="CONFIRMED")
    again = {"from_run": "tenants/demo/deployments/web/runs/1"}
    with pytest.raises(InvalidArgument) as refused:
        await runs.start("web", **again, parameters={"V": "3"})
    assert refused.value.reason == "SECRET_REQUIRED"
    second = await runs.start("web", **again, parameters={"TOKEN": "other", "W": "3"})
    await runs.until(second.run_id, status="COMPLETED", certainty="CONFIRMED")
    built = built_with(jenkins, "demo.web", 2)
    assert built.pop("DEPLOYMENT_RUN_ID") == str(second.run_id)
    assert built == {"TOKEN": "other", "V": "2", "W": "3"}
    with pytest.raises(NotFound):
        await runs.start("web", from_run="tenants/demo/deployments/web/runs/9")
    for wrong in ("tenants/demo/deployments/other/runs/1", "tenants/x/deployments/web/runs/1"):
        with pytest.raises(InvalidArgument):
            await runs.start("web", from_run=wrong)


async def test_running_a_build_by_hand_again_needs_the_secrets(
    runs: Runs, jenkins: JenkinsSimulator
) -> None:
    """Jenkins doesn't say which secrets a build had."""
    jenkins.create_job("owned", job_with("Password"))
    await runs.jobs.create("web", adopt("owned"))
    await build_by_hand(jenkins, PW=VALUE, PLAIN="x")

    async def ended() -> bool:
        return any(row["status"] == "COMPLETED" for row in await runs.runs())

    await eventually(ended, "the external run is known")
    again = {"from_run": "tenants/demo/deployments/web/runs/1"}
    with pytest.raises(InvalidArgument) as refused:
        await runs.start("web", **again)
    assert refused.value.reason == "SECRET_REQUIRED"
    started: uuid.UUID = (await runs.start("web", **again, parameters={"PW": "new"})).run_id
    row = await runs.until(started, status="COMPLETED", certainty="CONFIRMED")
    assert json.loads(row["parameters"]) == {"PLAIN": "x"}
