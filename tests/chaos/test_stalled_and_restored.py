"""P3 at its limits, with real processes: stalls past every lease, two replicas, a store older than Jenkins."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import uuid
from typing import Any

import pytest

from devstack.postgres import EmbeddedPostgres
from jenkins_simulator import Result
from tests.chaos.telling import JOB, configure, start_by_hand
from tests.chaos.world import World, world
from tests.fixtures_stack import fresh_database, run_sql

NEVER_DISPATCHES = "statement.dispatcher.Dispatcher._claim.before=sleep:3600"

pytestmark = pytest.mark.timeout(150)


async def heard(w: World, point: str) -> None:
    async def check() -> int:
        return w.reached[point]

    await w.until(f"{point} is reached", check)


async def stalled_run(w: World, replica_pid: int, point: str) -> str:
    """A run that the replica has taken when it is stopped at ``point``."""
    run = asyncio.create_task(w.run())
    await heard(w, point)
    os.kill(replica_pid, signal.SIGSTOP)
    return await run


async def test_a_replica_stalled_past_its_lease_does_not_send(database_url: str) -> None:
    """P3: it had announced its request; another took over, looked, and sent it."""
    point = "commit.steps.TriggerSteps.begin_send.after"
    async with world(database_url, failpoints=NEVER_DISPATCHES) as w:
        await w.create()
        async with w.replica(f"{point}=sleep:0.8 once") as replica:
            assert replica.pid is not None
            uid = await stalled_run(w, replica.pid, point)
            await w.restart()
            await w.until_run(uid, status="COMPLETED", certainty="CONFIRMED")
            assert w.jenkins.requests.count("POST", "buildWithParameters") == 1
            os.kill(replica.pid, signal.SIGCONT)
            await sends_nothing_more(w)
        assert w.builds(uid) == 1


async def test_a_request_that_arrives_after_everything_is_stopped_and_recorded(
    database_url: str,
) -> None:
    """P3, the one exception: stopped between its last check and its request, for longer than the quarantine."""
    point = "provider.trigger.before"
    async with world(database_url, failpoints=NEVER_DISPATCHES) as w:
        await w.create()
        w.jenkins.hold(JOB)
        configure(w, concurrent=True)
        async with w.replica(f"{point}=sleep:0.8 once") as replica:
            assert replica.pid is not None
            uid = await stalled_run(w, replica.pid, point)
            await w.restart()
            await w.until_run(uid, build_number=1)
            os.kill(replica.pid, signal.SIGCONT)

            async def ended() -> Any:
                builds = w.jenkins.ledger.builds(run_id=uid)
                return len(builds) == 2 and builds[1].ended_at

            await w.until("the second build is stopped", ended)
        (second,) = await w.sql("SELECT * FROM deployment_runs WHERE source = 'EXTERNAL'")
        await w.until_run(str(second["run_id"]), status="CANCELLED", build_number=2)
        w.jenkins.release(JOB, 1)
        await w.until_run(uid, status="COMPLETED", build_number=1, certainty="CONFIRMED")
        messages = [row["message"] for row in await w.sql("SELECT message FROM deployment_events")]
        assert [m for m in messages if m.startswith("A second build of run 1, which has #1")]


async def test_a_persons_rebuild_is_not_stopped(database_url: str) -> None:
    """P3: Rebuild and Replay repeat all parameters; who started the build tells them from a request of ours."""
    async with world(database_url) as w:
        w.jenkins.hold(JOB)
        await w.create()
        configure(w, concurrent=True)
        uid = await w.run()
        await w.until_run(uid, build_number=1)
        parameters = w.jenkins.job(JOB).builds[1].parameters
        start_by_hand(w, parameters, user="alice")

        async def found() -> Any:
            return await w.sql("SELECT * FROM deployment_runs WHERE build_number = 2")

        (rebuild,) = await w.until("the rebuild is a run", found)
        w.jenkins.release(JOB, 1)
        await w.until_run(uid, status="COMPLETED", certainty="CONFIRMED")
        w.jenkins.release(JOB, 2, Result.FAILURE)
        row = await w.until_run(str(rebuild["run_id"]), status="FAILED", source="EXTERNAL")
        assert row["cancel_request_time"] is None


async def test_two_replicas_one_of_which_is_killed(database_url: str) -> None:
    """P3: they share the work, and one takes over from the other: never two triggers for one run."""
    slowly = "statement.dispatcher.Dispatcher._claim.before=sleep:0.5"
    async with world(database_url, failpoints=slowly) as w, w.replica() as replica:
        for number in range(4):
            await w.create(f"d{number}")
        uids = [await w.run(f"d{n % 4}", allow_concurrent=True) for n in range(24)]
        await replica.kill()
        for uid in uids:
            await w.until_run(uid, status="COMPLETED", certainty="CONFIRMED")
            assert w.builds(uid) == 1
        attempts = await w.sql("SELECT DISTINCT owner FROM run_attempts WHERE send_by IS NOT NULL")
        assert len(attempts) == 2


async def test_only_runs_from_before_a_restore_are_looked_for(database_url: str) -> None:
    """P3, P10: one that was created since, before any replica noticed, cannot have been sent and does not wait."""
    async with world(database_url) as w:
        await w.create("before")
        await w.create("since")
        await w.restart(NEVER_DISPATCHES)
        before = await w.run("before")
        await w.sql("UPDATE store_epoch SET marker = gen_random_uuid()")
        since = await w.run("since")
        await w.restart()
        for uid in (since, before):
            await w.until_run(uid, status="COMPLETED", certainty="CONFIRMED")
            assert w.builds(uid) == 1
        attempts = await w.sql("SELECT run_id::text, attempt FROM deployment_runs ORDER BY number")
        assert {row["run_id"]: row["attempt"] > 1 for row in attempts} == {
            before: True,
            since: False,
        }


async def test_runs_of_a_restored_dump_are_not_built_again(
    postgres: EmbeddedPostgres, database_url: str
) -> None:
    """P3: the dump was taken before 50 runs were triggered; Jenkins keeps its builds."""
    async with world(database_url) as w:
        for number in range(5):
            await w.create(f"d{number}")
        await w.restart(NEVER_DISPATCHES)
        runs = [w.run(f"d{number % 5}", allow_concurrent=True) for number in range(50)]
        uids = await asyncio.gather(*runs)
        dump = await program(postgres, "pg_dump", "--format=custom", database_url)
        await w.restart()
        for uid in uids:
            await w.until_run(uid, status="COMPLETED", certainty="CONFIRMED")
        await w.stop()
        async with fresh_database(postgres, template="template0") as restored:
            await program(postgres, "pg_restore", f"--dbname={restored}", stdin=dump)
            await run_sql(restored, "UPDATE store_epoch SET marker = gen_random_uuid()")
            await w.restart(database_url=restored)
            for uid in uids:
                await w.until_run(uid, status="COMPLETED", certainty="CONFIRMED")
            last = await w.run("d0")
            await w.until_run(last, status="COMPLETED", certainty="CONFIRMED")
            assert [w.builds(uid) for uid in (*uids, last)] == [1] * 51
            assert len(w.jenkins.ledger.builds()) == 51
            await w.stop()
            await w._sql.close()


async def program(
    postgres: EmbeddedPostgres, name: str, *arguments: str, stdin: bytes = b""
) -> bytes:
    done = await asyncio.to_thread(
        subprocess.run,
        [str(postgres.program(name)), *arguments],
        input=stdin,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


async def sends_nothing_more(w: World) -> None:
    """The replica that woke up has found out that it is too late, and goes on with other work."""
    uid = await w.run()
    await w.until_run(uid, status="COMPLETED", certainty="CONFIRMED")
    (attempt,) = await w.sql(
        "SELECT count(*) FROM run_attempts WHERE outcome = 'ACCEPTED' AND run_id <> $1",
        uuid.UUID(uid),
    )
    assert attempt["count"] == 1
