"""What a caller says about a run, and running an earlier one again."""

from __future__ import annotations

import json
import uuid

import asyncpg
import pytest

from deployment_service.actions.update_deployment import UpdateDeployment, update_deployment
from deployment_service.cicd.jenkins.provider import JenkinsProvider
from deployment_service.domain.actors import key_actor
from deployment_service.domain.deployment_settings import DeploymentSettings
from deployment_service.domain.errors import InvalidArgument
from deployment_service.domain.parameter_definitions import DeclaredParameter, ParameterKind
from deployment_service.domain.run_requests import RunRequest
from deployment_service.storage.actors import PARTS
from jenkins_simulator import DEFAULT_API_TOKEN, JenkinsSimulator
from tests.integration.jobs_harness import eventually, shell
from tests.integration.runs_harness import Runs
from tests.support.parameters import strings

AGAIN = {"from_run": "tenants/demo/deployments/web/runs/1"}
TOKEN = DeclaredParameter("TOKEN", ParameterKind.SECRET)
REGION = DeclaredParameter("REGION", ParameterKind.CHOICE, choices=("eu", "us"))


async def redefine(runs: Runs, *definitions: DeclaredParameter) -> None:
    jobs = runs.jobs
    command = UpdateDeployment(
        tenant=jobs.tenant,
        deployment_id="web",
        paths=frozenset({"parameter_definitions"}),
        settings=DeploymentSettings(parameter_definitions=definitions),
    )
    await update_deployment(jobs.databases.api, command)


async def first_run(runs: Runs, *definitions: DeclaredParameter, **values: str) -> None:
    await runs.jobs.create("web", shell(), parameter_definitions=definitions)
    first = await runs.start("web", parameters=values)
    await runs.until(first.run_id, status="COMPLETED", certainty="CONFIRMED")


async def refusal(runs: Runs, **values: str) -> InvalidArgument:
    with pytest.raises(InvalidArgument) as refused:
        await runs.start("web", **AGAIN, parameters=values)
    assert len(await runs.runs()) == 1
    return refused.value


async def test_an_earlier_run_is_run_again_and_named(runs: Runs, jenkins: JenkinsSimulator) -> None:
    await first_run(runs, *strings(V="1", W="1"), V="2")
    second = await runs.start("web", **AGAIN, parameters={"W": "3"})
    row = await runs.until(second.run_id, status="COMPLETED", certainty="CONFIRMED")
    assert (row["retry_of"], json.loads(row["parameters"])) == (1, {"V": "2", "W": "3"})
    third = await runs.start("web", from_run="tenants/demo/deployments/web/runs/2")
    row = await runs.run(third.run_id)
    assert (row["retry_of"], json.loads(row["parameters"])) == (2, {"V": "2", "W": "3"})


async def test_what_is_no_longer_defined_is_named(runs: Runs) -> None:
    await first_run(runs, *strings(OLD="1", KEPT="1"))
    await redefine(runs, *strings(KEPT="1", NEW="1"))
    error = await refusal(runs)
    assert (error.reason, error.field) == ("PARAMETER_NOT_DEFINED", "from_run")
    assert "given OLD, which" in error.description
    assert (await refusal(runs, OLD="2")).field == "from_run"


async def test_a_secret_that_is_no_longer_defined_is_not_asked_for(runs: Runs) -> None:
    await first_run(runs, TOKEN, TOKEN="s3cret")
    await redefine(runs)
    assert (await refusal(runs)).reason == "PARAMETER_NOT_DEFINED"


async def test_a_value_that_became_secret_must_be_given_again(runs: Runs) -> None:
    await first_run(runs, *strings(TOKEN="plain"))
    await redefine(runs, TOKEN)
    assert (await refusal(runs)).reason == "SECRET_REQUIRED"
    await runs.start("web", **AGAIN, parameters={"TOKEN": "s3cret"})


async def test_a_value_that_no_longer_fits_is_refused_unless_overridden(runs: Runs) -> None:
    await first_run(runs, *strings(REGION="asia"))
    await redefine(runs, REGION, DeclaredParameter("VERSION", required=True))
    error = await refusal(runs, VERSION="1")
    assert error.field == "parameters[REGION]"
    assert (await refusal(runs, REGION="us")).reason == "PARAMETER_REQUIRED"
    await runs.start("web", **AGAIN, parameters={"REGION": "us", "VERSION": "1"})


@pytest.mark.parametrize(
    "wrong",
    [
        "reason = repeat('x', 501)",
        "annotations = '[]'",
        "annotations = jsonb_build_object('a', repeat('x', 20000))",
        "retry_of = 1",
        "retry_of = 0",
        "requested_by_kind = 'KEY'",
        "requested_by_kind = 'X', requested_by_subject = '', requested_by_display_name = '',"
        " requested_by_on_behalf_of = ''",
        "requested_by_kind = 'JENKINS', requested_by_subject = '', requested_by_display_name = '',"
        " requested_by_on_behalf_of = ''",
        "requested_by_kind = 'KEY', requested_by_subject = '', requested_by_display_name = '',"
        " requested_by_on_behalf_of = repeat('x', 201)",
    ],
)
async def test_the_store_refuses_what_no_request_says(runs: Runs, wrong: str) -> None:
    await first_run(runs)
    with pytest.raises(asyncpg.CheckViolationError):
        await runs.jobs.sql(f"UPDATE deployment_runs SET {wrong}")


async def by_hand(jenkins: JenkinsSimulator, job: str = "demo.web") -> None:
    client = JenkinsProvider(jenkins.url, "admin", DEFAULT_API_TOKEN, timeout_s=5)
    try:
        await client.trigger(job, {}, parameterised=True, timeout_s=5)
    finally:
        await client.close()


def actor_in(row: asyncpg.Record, prefix: str) -> tuple[str, ...]:
    return tuple(row[f"{prefix}_{part}"] for part in PARTS)


async def test_a_build_by_hand_names_its_account(runs: Runs, jenkins: JenkinsSimulator) -> None:
    await runs.jobs.create("web", shell())
    await by_hand(jenkins)

    async def ended() -> bool:
        return [row["status"] for row in await runs.runs()] == ["COMPLETED"]

    await eventually(ended, "the build by hand is known and has ended")
    (row,) = await runs.runs()
    admin = ("JENKINS", "admin", "Started by user admin", "")
    assert actor_in(row, "requested_by") == admin
    events = await runs.jobs.sql(
        "SELECT * FROM deployment_events WHERE run_number = 1 ORDER BY sequence"
    )
    assert actor_in(events[0], "actor") == admin
    assert actor_in(events[-1], "actor") == ("JENKINS", "", "", "")


async def test_each_event_of_a_run_has_an_actor(runs: Runs) -> None:
    await runs.jobs.create("web", shell())
    key = key_actor(uuid.UUID(int=7), "ci", "alice")
    started = await runs.start("web", about=RunRequest(key, "Why."))
    await runs.until(started.run_id, status="COMPLETED", certainty="CONFIRMED")
    events = await runs.jobs.sql("SELECT * FROM deployment_events ORDER BY sequence")
    assert all(event["actor_kind"] for event in events)
    of_run = [event for event in events if event["run_number"]]
    assert actor_in(of_run[0], "actor") == ("KEY", key.subject, "ci", "alice")
    assert {event["actor_kind"] for event in of_run[1:]} <= {"SERVICE", "JENKINS"}
    assert of_run[-1]["actor_kind"] == "JENKINS"
    row = await runs.run(started.run_id)
    assert actor_in(row, "requested_by") == ("KEY", key.subject, "ci", "alice")
