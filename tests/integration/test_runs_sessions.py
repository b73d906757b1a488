"""Replicas of Jenkins that answer by turns behind one address are no restart (promises P3, P4)."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator

import pytest

from jenkins_simulator import JenkinsSimulator
from tests.integration.jobs_harness import adopt, eventually, shell
from tests.integration.runs_harness import Runs
from tests.support.front_proxy import FrontProxy, Passing

TRIGGER = "/buildWithParameters"
Sessions = Callable[[], Iterator[str]]
BY_TURNS = [
    pytest.param(lambda: itertools.cycle(["aa", "bb"]), id="two replicas"),
    pytest.param(lambda: itertools.cycle(["aa", "aa", "bb", "cc"]), id="three replicas"),
    pytest.param(lambda: (f"s{n}" for n in itertools.count()), id="another one each time"),
    pytest.param(lambda: itertools.repeat(""), id="none"),
]


def answer_in(proxy: FrontProxy, sessions: Iterator[str]) -> None:
    def change(passing: Passing) -> None:
        if "X-Jenkins-Session" in passing.headers:
            passing.headers["X-Jenkins-Session"] = next(sessions)
            if not passing.headers["X-Jenkins-Session"]:
                del passing.headers["X-Jenkins-Session"]

    proxy.rewrite_answer.append(change)


@pytest.mark.parametrize("sessions", BY_TURNS)
async def test_a_lost_request_is_sent_again_though_sessions_alternate(
    behind: Runs, jenkins: JenkinsSimulator, proxy: FrontProxy, sessions: Sessions
) -> None:
    """Two probes with time between them prove that nothing came of it."""
    answer_in(proxy, sessions())
    await behind.jobs.create("web", shell())
    proxy.answer("POST", TRIGGER, 502, count=1)
    started = await behind.start("web", remaining_s=0.1)
    await behind.until(started.run_id, status="COMPLETED", certainty="CONFIRMED")
    assert proxy.count("POST", TRIGGER) == 2
    assert len(jenkins.ledger.builds(run_id=str(started.run_id))) == 1
    rows = await behind.jobs.sql("SELECT outcome, count(*) FROM run_attempts GROUP BY 1")
    assert {row["outcome"]: row["count"] for row in rows} == {
        "UNCLEAR": 1,
        "LOOKED": 1,
        "NOT_FOUND": 1,
        "ACCEPTED": 1,
    }


@pytest.mark.parametrize("sessions", BY_TURNS)
async def test_a_build_that_is_missing_once_is_not_lost(
    behind: Runs, jenkins: JenkinsSimulator, proxy: FrontProxy, sessions: Sessions
) -> None:
    """A replica that does not know the build yet: one 404, and no executor shows it."""
    answer_in(proxy, sessions())
    await behind.jobs.create("web", shell())
    jenkins.hold("demo.web")
    started = await behind.start("web")
    await behind.until(started.run_id, build_number=1)
    missing = [0]

    def hide(passing: Passing) -> None:
        if passing.path.startswith("/computer/") and missing[0] == 0:
            passing.answer = json.dumps({"computer": []}).encode()
        if "/job/demo.web/1/api" in passing.path and missing[0] == 0:
            passing.status, missing[0] = 404, 1

    proxy.rewrite_answer.append(hide)

    async def missed() -> bool:
        return missing[0] == 1

    async def seen_again() -> bool:
        row = await behind.run(started.run_id)
        return bool(row["probe_time"]) and row["probe_count"] == 0

    await eventually(missed, "the build was missing once")
    await eventually(seen_again, "the build was seen again")
    assert (await behind.run(started.run_id))["status"] == "RUNNING"
    jenkins.release("demo.web")
    await behind.until(started.run_id, status="COMPLETED", certainty="CONFIRMED")
    assert "FAILED" not in {new for _, _, new in await behind.history()}


async def test_a_folded_request_is_recognised_though_sessions_alternate(
    behind: Runs, jenkins: JenkinsSimulator, proxy: FrontProxy
) -> None:
    """A job without our parameter: the second run has the first one's queue item and gets no build."""
    answer_in(proxy, itertools.cycle(["aa", "bb", "bb"]))
    jenkins.create_job("legacy", "<project><builders/></project>")
    await behind.jobs.create("web", adopt("legacy"))
    jenkins.hold("legacy")
    first = await behind.start("web")
    await behind.until(first.run_id, build_number=1)

    async def by_turns() -> bool:
        rows = await behind.jobs.sql("SELECT sessions_alternate FROM cicd_controllers")
        return any(row["sessions_alternate"] for row in rows)

    await eventually(by_turns, "replicas are known to answer by turns")
    second = await behind.start("web", allow_concurrent=True)
    await behind.until(second.run_id, trigger_state="ACCEPTED")
    third = await behind.start("web", allow_concurrent=True)
    row = await behind.until(third.run_id, status="FAILED", certainty="CONFIRMED")
    assert row["failure_cause"] == "TRIGGER_REJECTED"
    assert "folded" in row["failure_message"]
