"""An answer that proves that nothing was done is no doubt, and its author is named (promise P3)."""

from __future__ import annotations

import time
from typing import Any

import pytest

from jenkins_simulator import JenkinsSimulator
from tests.fixtures_stack import Databases
from tests.integration.jobs_harness import eventually, jobs_of, shell
from tests.integration.runs_harness import Runs, runs_of
from tests.support.front_proxy import FrontProxy, Passing

TRIGGER = "/buildWithParameters"
READ = "/job/demo.web/api/json"
PAGE = "<html><h1>Request blocked</h1><p>Your support ID is 4711</p></html>"
CRUMB = "<html>HTTP ERROR 403 No valid crumb was included in the request</html>"
WAIT = "<html>Please wait while Jenkins is getting ready to work</html>"
BROKEN_START = "class hudson.security.csrf.DefaultCrumbIssuer is missing its descriptor"


async def attempts(runs: Runs) -> list[str]:
    rows = await runs.jobs.sql("SELECT outcome FROM run_attempts ORDER BY attempt")
    return [row["outcome"] for row in rows]


@pytest.mark.parametrize("status", [400, 405, 406, 411, 413, 414, 415, 417, 422, 431, 451, 460])
async def test_a_refusal_that_would_come_again_ends_the_run_at_once(
    behind: Runs, jenkins: JenkinsSimulator, proxy: FrontProxy, status: int
) -> None:
    """One request, and a certain end that names the answer, whichever 4xx of this kind it is."""
    await behind.jobs.create("web", shell())
    proxy.answer("POST", TRIGGER, status, PAGE, headers={"Server": "nginx"})
    started = await behind.start("web")
    row = await behind.until(started.run_id, status="FAILED", certainty="CONFIRMED")
    assert row["failure_cause"] == "TRIGGER_REJECTED"
    assert f"HTTP {status}" in row["failure_message"]
    assert "Nothing was started" in row["failure_message"]
    assert proxy.count("POST", TRIGGER) == 1
    assert jenkins.ledger.builds() == []
    assert await attempts(behind) == ["REJECTED"]


@pytest.mark.parametrize(
    ("status", "text", "headers"),
    [
        pytest.param(403, PAGE, {}, id="firewall page"),
        pytest.param(404, PAGE, {}, id="a proxy without a route"),
        pytest.param(409, PAGE, {}, id="a proxy that is being changed"),
        pytest.param(403, CRUMB, {}, id="starting: no valid crumb"),
        pytest.param(500, BROKEN_START, {}, id="starting: no crumb issuer"),
        pytest.param(503, WAIT, {}, id="starting: please wait"),
        pytest.param(429, PAGE, {}, id="limit of requests"),
        pytest.param(503, PAGE, {"Retry-After": "0"}, id="overloaded, says when"),
        pytest.param(511, PAGE, {}, id="captive portal"),
        pytest.param(408, PAGE, {}, id="request timeout"),
    ],
)
async def test_a_refusal_of_the_moment_is_waited_out_without_doubt(
    behind: Runs,
    jenkins: JenkinsSimulator,
    proxy: FrontProxy,
    status: int,
    text: str,
    headers: dict[str, str],
) -> None:
    """The request is sent again, though nothing is looked for, and makes one build."""
    await behind.jobs.create("web", shell())
    proxy.answer("POST", TRIGGER, status, text, count=2, headers=headers)
    started = await behind.start("web")
    await behind.until(started.run_id, status="COMPLETED", certainty="CONFIRMED")
    assert len(jenkins.ledger.builds(run_id=str(started.run_id))) == 1

    async def answered() -> bool:
        return (await attempts(behind))[-1] == "ACCEPTED"

    await eventually(answered, "the answer is noted, also if a read has shown the build before")
    outcomes = await attempts(behind)
    assert outcomes[0] == "NOT_DONE"
    assert "LOOKED" not in outcomes


@pytest.mark.parametrize(("method", "path"), [("POST", TRIGGER), ("GET", READ)])
@pytest.mark.parametrize("status", [429, 503])
async def test_retry_after_is_honoured(
    behind: Runs, jenkins: JenkinsSimulator, proxy: FrontProxy, method: str, path: str, status: int
) -> None:
    """Nothing like it is sent before the time that the answer names."""
    await behind.jobs.create("web", shell())
    times: list[float] = []

    async def note(passing: Passing) -> None:
        if passing.method == method and path in passing.path:
            times.append(time.monotonic())

    proxy.before.append(note)
    proxy.answer(method, path, status, PAGE, count=1, headers={"Retry-After": "2"})
    await behind.reconciler.stop()
    started = await behind.start("web")
    await behind.until(started.run_id, trigger_state="ACCEPTED")
    assert times[1] - times[0] >= 2.0
    assert len(jenkins.ledger.items(run_id=str(started.run_id))) == 1


@pytest.mark.parametrize(
    ("status", "text", "headers", "told"),
    [
        (403, PAGE, {"Server": "bigip"}, "Something in front of Jenkins answered with HTTP 403"),
        (404, PAGE, {}, "Something in front of Jenkins answered with HTTP 404"),
        (403, CRUMB, {}, "A Jenkins that is starting answered with HTTP 403"),
        (429, PAGE, {"Retry-After": "3600"}, "HTTP 429"),
    ],
)
@pytest.mark.parametrize(("method", "path"), [("POST", TRIGGER), ("GET", READ)])
async def test_the_last_answer_is_in_the_message(
    databases: Databases,
    jenkins: JenkinsSimulator,
    proxy: FrontProxy,
    method: str,
    path: str,
    status: int,
    text: str,
    headers: dict[str, str],
    told: str,
) -> None:
    """At the deadline, which also ends a wait of an hour; nothing blames the account."""
    async with (
        jobs_of(databases, proxy.url, webhook_base_url="") as jobs,
        runs_of(jobs, trigger_deadline_s=3.0) as runs,
    ):
        await jobs.create("web", shell())
        # A read that gets the answer first would pause the controller, and the run would only wait.
        await runs.reconciler.stop()
        proxy.answer(method, path, status, text, headers=headers)
        started = await runs.start("web", remaining_s=0.1)

        async def says_why() -> Any:
            return told in (await runs.run(started.run_id))["waiting_reason"]

        await eventually(says_why, "the run says what it waits for")
        row = await runs.until(started.run_id, status="FAILED", certainty="CONFIRMED")
        assert row["failure_cause"] == "TRIGGER_DEADLINE"
        assert told in row["failure_message"]
        assert "Nothing was started" in row["failure_message"]
        for blame in ("permission", "valid API token", "refuses the account"):
            assert blame not in row["failure_message"]
    assert jenkins.ledger.builds() == []


async def test_a_lost_request_names_its_last_answer(
    databases: Databases, jenkins: JenkinsSimulator, proxy: FrontProxy
) -> None:
    async with (
        jobs_of(databases, proxy.url, webhook_base_url="") as jobs,
        runs_of(jobs, trigger_deadline_s=2.0) as runs,
    ):
        await jobs.create("web", shell())
        proxy.answer("POST", TRIGGER, 502, PAGE)
        started = await runs.start("web", remaining_s=0.1)
        row = await runs.until(started.run_id, status="FAILED")
        assert "The last answer: Something in front of Jenkins" in row["failure_message"]
        assert "HTTP 502" in row["failure_message"]
