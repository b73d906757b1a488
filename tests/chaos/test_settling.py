"""P4: how soon an end is settled, what that costs Jenkins, and that no endpoint of Jenkins is needed alone."""

from __future__ import annotations

from dataclasses import replace

import asyncpg
import pytest

from devstack.stack import DevStack
from jenkins_simulator import RequestFault
from tests.chaos.chaos import SETTINGS, Plan, play, stack_for
from tests.chaos.turmoil import CALM

# The intervals that the service has by default: a settled end within a second or two is not luck of a short cycle.
_USUAL = {**SETTINGS, "READ_INTERVAL_S": "5", "POLLING_INTERVAL_S": "2", "LEASE_S": "10"}
_SETTLED = """
    SELECT run_id::text AS uid, settle_time FROM deployment_runs
    WHERE source = 'SERVICE' AND certainty = 'CONFIRMED' AND build_number IS NOT NULL
"""


def percentile(values: list[float], part: float) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * part))]


async def settling_times(stack: DevStack) -> list[float]:
    """Return the seconds from the end of each build in Jenkins, before FINALIZED is sent, to its settled event."""
    assert stack.simulator is not None
    connection = await asyncpg.connect(stack.database_url)
    try:
        rows = await connection.fetch(_SETTLED)
    finally:
        await connection.close()
    ended = {
        uid: b.ended_at
        for row in rows
        for uid in [row["uid"]]
        for b in stack.simulator.ledger.builds(run_id=uid)
    }
    return [row["settle_time"].timestamp() - (ended[row["uid"]] or 0.0) for row in rows]


@pytest.mark.alone
@pytest.mark.timeout(240)
@pytest.mark.parametrize("runs", [60, pytest.param(240, marks=pytest.mark.full)])
async def test_ends_are_settled_within_a_second_of_finalized_and_a_run_costs_few_requests(
    runs: int,
) -> None:
    """P4, with Jenkins answering in 50 ms."""
    plan = Plan(seed=1, runs=runs, teams=12, builds_last_s=0.5, turmoil=CALM, settings=_USUAL)
    async with stack_for(plan) as stack:
        assert stack.simulator is not None
        stack.simulator.faults.add(RequestFault(delay_after_s=0.05))
        summary = await play(stack, plan)
        times = await settling_times(stack)
        requests = stack.simulator.requests
        asked = {
            "triggers": requests.count("POST", "/build"),
            "reads": requests.count("GET", ""),
        }
    assert summary.verdict.right, str(summary)
    p50, p99 = percentile(times, 0.5), percentile(times, 0.99)
    per_run = {what: count / plan.runs for what, count in asked.items()}
    print(
        f"\nsettled after FINALIZED: p50 {p50:.2f} s, p99 {p99:.2f} s; requests for each run: {per_run}"
    )
    assert len(times) == plan.runs
    assert p50 <= 0.5
    assert p99 <= 2.0
    assert per_run["triggers"] == 1
    assert per_run["reads"] <= 5


@pytest.mark.full
@pytest.mark.parametrize("endpoint", ["queue", "queue_item", "executors", "build"])
@pytest.mark.parametrize(
    "fault",
    [{"jenkins_status": 500}, {"jenkins_status": 403}, {"delay_before_s": 5.0}],
    ids=["500", "403", "slow"],
)
@pytest.mark.timeout(240)
async def test_the_bound_holds_while_one_endpoint_fails(
    endpoint: str, fault: dict[str, float]
) -> None:
    """P4: no webhook arrives, and the endpoint never works."""
    turmoil = replace(CALM, lost_webhooks=1.0)
    plan = Plan(
        seed=2,
        runs=12,
        teams=6,
        builds_last_s=1.0,
        turmoil=turmoil,
        storm_s=60.0,
        patience_s=1.0,
    )
    async with stack_for(plan) as stack:
        assert stack.simulator is not None
        stack.simulator.faults.add(RequestFault(endpoint=endpoint, **fault))  # type: ignore[arg-type]
        summary = await play(stack, plan)
    print(f"\n{summary}")
    assert summary.right, str(summary)
