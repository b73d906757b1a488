"""`make demo`, as somebody runs it in a fresh clone."""

from __future__ import annotations

import signal
import textwrap
from typing import Any

import pytest

from devstack.demo_check import StreamResult, differences
from jenkins_simulator import LedgerBuild
from tests.support.processes import running

DEMO = ("-m", "devstack.demo")
# What a stack must not look at: a demo never touches a real Jenkins or database.
TRAPS = {
    "DEV_JENKINS_URL": "http://127.0.0.1:1/",
    "DEV_DATABASE_URL": "postgresql://nobody@127.0.0.1:1/nothing",
    "JENKINS_URL": "http://127.0.0.1:1/",
    "DEPLOYMENT_SERVICE_DATABASE_URL": "postgresql://nobody@127.0.0.1:1/nothing",
    "WEBHOOK_GATEWAY_API_KEY": "wrong",
}


@pytest.mark.timeout(120)
async def test_the_demo_shows_completed_failed_and_cancelled_and_leaves_nothing():
    """P3, P5, P8: one build for each run, and the stream has its events, in order."""
    async with running(*DEMO, env=TRAPS) as demo:
        assert await demo.ends(timeout_s=100) == 0, demo.text
        assert demo.left() == []
    for words in ("web        completed", "billing    failed", "search     cancelled"):
        assert words in demo.text
    assert "The stream matches the builds in Jenkins" in demo.text
    history = demo.text.partition("The stored history:")[2].splitlines()
    sequences = [int(line.split()[0]) for line in history if line[:6].strip().isdigit()]
    assert sequences == list(range(1, len(sequences) + 1))
    assert len(sequences) >= 16


@pytest.mark.timeout(120)
async def test_a_demo_whose_stream_differs_from_what_happened_fails():
    """P4, P5: the demo finds a difference between stream and ledger."""
    program = """
        import copy
        from devstack.demo import main, read_ledger

        def differing(stack):
            builds = copy.deepcopy(list(read_ledger(stack)))
            if builds[0].result:
                builds[0].result = "UNSTABLE"
            return builds

        main(ledger_reader=differing)
    """
    async with running("-c", textwrap.dedent(program)) as demo:
        assert await demo.ends(timeout_s=100) == 1, demo.text
        assert demo.left() == []
    assert "The stream differs from Jenkins" in demo.text
    assert "in Jenkins build 1 is result UNSTABLE" in demo.text


def build(**fields: Any) -> LedgerBuild:
    values: dict[str, Any] = {
        "job": "demo.web",
        "number": 1,
        "queue_id": 1,
        "parameters": {"DEPLOYMENT_RUN_ID": "run-1"},
        "user": None,
        "started_at": 0.0,
        "result": "SUCCESS",
    }
    return LedgerBuild(**{**values, **fields})


@pytest.mark.parametrize(
    ("builds", "says"),
    [
        ([], "Jenkins has 0 builds"),
        ([build(), build(number=2)], "Jenkins has 2 builds"),
        ([build(parameters={})], "Jenkins has 0 builds"),
        ([build(number=2)], "in Jenkins build 2 is completed"),
        ([build(result="FAILURE")], "in Jenkins build 1 is failed"),
        ([build(result=None)], "in Jenkins build 1 is result None"),
    ],
)
def test_each_kind_of_difference_is_found(builds: list[LedgerBuild], says: str):
    """P3, P4: one build for each run, with the number and the result in the stream."""
    result = StreamResult("web", "run-1", "completed", 1, expected="completed")
    assert differences([result], [build()]) == []
    (problem,) = differences([result], builds)
    assert says in problem


def test_an_unexpected_end_is_found():
    result = StreamResult("web", "run-1", "completed", 1, expected="failed")
    assert differences([result], [build()]) == ["web ended completed; expected failed"]


@pytest.mark.timeout(120)
async def test_an_interrupted_demo_leaves_nothing():
    async with running(*DEMO) as demo:
        await demo.says("running")
        demo.process.send_signal(signal.SIGINT)
        assert await demo.ends() == 130, demo.text
        assert demo.left() == []
    assert "Traceback" not in demo.text
