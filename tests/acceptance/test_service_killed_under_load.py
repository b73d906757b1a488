"""kill -9 of the service while 2,000 webhooks are in the air."""

from __future__ import annotations

import asyncio
import json
from collections import Counter

import aiohttp
import asyncpg
import pytest

from devstack.options import StackOptions
from devstack.stack import DevStack
from tests.acceptance.test_hostile_requests import finalized
from tests.integration.jobs_harness import eventually
from tests.support.webhooks import NO_READS, Hook, hook_of, show_builds

pytestmark = pytest.mark.alone

WEBHOOKS = 2_000
ROOMY = StackOptions(
    gateway_settings={
        "TENANT_CEILING": "100000/second",
        "MAX_CONNECTIONS": "4000",
        "MAX_CONNECTIONS_PER_ADDRESS": "4000",
        "QUEUE_REPORTS": "10000",
        # On a busy machine all 2,000 could be told 503 before the first is stored.
        "ANSWER_TIMEOUT": "3",
    },
    service_settings=NO_READS,
)


class Answers:
    """What came back, by build number."""

    def __init__(self) -> None:
        self.verdicts: dict[int, str] = {}
        self.changed = asyncio.Event()

    def note(self, number: int, verdict: str) -> None:
        self.verdicts[number] = verdict
        self.changed.set()

    async def until(self, count: int) -> None:
        """Wait for so many successes, or for the last answer."""
        while len(self.successes()) < count and len(self.verdicts) < WEBHOOKS:
            self.changed.clear()
            await self.changed.wait()

    def successes(self) -> set[int]:
        return {number for number, verdict in self.verdicts.items() if verdict == "APPLIED"}


async def post(session: aiohttp.ClientSession, hook: Hook, number: int, answers: Answers) -> None:
    body = finalized(number)
    async with session.post(hook.signed_url, data=body, headers=hook.signed(body)) as answer:
        said = json.loads(await answer.text())
        assert answer.status in (200, 503), said
        answers.note(number, said["verdict"] if answer.status == 200 else said["reason"])


async def stored(stack: DevStack, hook: Hook) -> dict[int, list[str]]:
    """The statuses that the history tells of each build, in order."""
    connection = await asyncpg.connect(stack.database_url)
    try:
        rows = await connection.fetch(
            "SELECT build_number, status FROM deployment_events WHERE job_id = $1 AND build_number IS NOT NULL"
            " AND type <> 'DEPLOYMENT_RUN_SETTLED' ORDER BY sequence",
            hook.job_id,
        )
        sequences = await connection.fetch(
            "SELECT e.sequence FROM deployment_events AS e JOIN tenants AS t USING (tenant_id)"
            " WHERE t.slug = $1 ORDER BY 1",
            hook.tenant,
        )
    finally:
        await connection.close()
    assert [row["sequence"] for row in sequences] == list(range(1, len(sequences) + 1))
    told: dict[int, list[str]] = {}
    for row in rows:
        told.setdefault(row["build_number"], []).append(row["status"])
    return told


@pytest.mark.timeout(150)
@pytest.mark.parametrize("stack", [ROOMY], indirect=True)
async def test_what_was_answered_is_stored_and_the_rest_arrives(stack: DevStack) -> None:
    """P1, P4, P8: every 2xx is in the database, every other report arrives later, and nothing is told twice."""
    answers = Answers()
    connector = aiohttp.TCPConnector(limit=0)
    async with stack.client() as client, aiohttp.ClientSession(connector=connector) as session:
        hook = await hook_of(client, stack, "web")
        await show_builds(stack, hook, WEBHOOKS)
        posts = [
            asyncio.create_task(post(session, hook, number, answers))
            for number in range(1, WEBHOOKS + 1)
        ]
        await answers.until(1)
        await stack.kill_service()
        at_the_kill = answers.successes()
        committed = await stored(stack, hook)
        # Killed in the middle: some reports had been answered, most had not.
        assert 0 < len(at_the_kill) < WEBHOOKS
        assert at_the_kill <= committed.keys()
        assert len(committed) < WEBHOOKS
        await stack.start_service()
        await asyncio.gather(*posts)
        print(Counter(answers.verdicts.values()), f"{len(committed)} were committed at the kill")
        assert answers.successes() <= (await stored(stack, hook)).keys()
        told: dict[int, list[str]] = {}

        async def all_are_there() -> bool:
            told.update(await stored(stack, hook))
            return told.keys() == set(range(1, WEBHOOKS + 1))

        await eventually(all_are_there, "every report is in the database")
        assert {tuple(statuses) for statuses in told.values()} == {("RUNNING", "COMPLETED")}
