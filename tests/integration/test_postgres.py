"""The embedded PostgreSQL itself: what tests of faults rely on."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import tempfile
import textwrap
from pathlib import Path

import asyncpg
import psutil
import pytest

from devstack.postgres import EmbeddedPostgres
from tests.fixtures_stack import run_sql
from tests.support.waiting import until


async def _count(url: str) -> int:
    connection = await asyncpg.connect(url)
    try:
        return int(await connection.fetchval("SELECT count(*) FROM kept"))
    finally:
        await connection.close()


async def test_committed_rows_survive_stop_restart_and_kill_at_the_same_url():
    async with EmbeddedPostgres(durable=False) as server:
        url = server.url()
        connection = await asyncpg.connect(url)
        await connection.execute("CREATE TABLE kept AS SELECT 1 AS a")
        await server.restart()
        assert connection.is_closed()
        assert await _count(url) == 1
        await server.kill()
        with pytest.raises(OSError):
            await asyncpg.connect(url)
        await server.start()
        assert await _count(url) == 1
        await server.stop()
        with pytest.raises(OSError):
            await asyncpg.connect(url)
        await server.start()
        assert await _count(server.url()) == 1


async def test_nothing_is_left_behind():
    async with EmbeddedPostgres(durable=False) as server:
        assert server.pid is not None
        process = psutil.Process(server.pid)
        processes = [process, *process.children(recursive=True)]
        folder = Path(process.cmdline()[process.cmdline().index("-D") + 1])
        assert folder.is_dir()
    assert not any(psutil.pid_exists(one.pid) for one in processes)
    assert not folder.parent.exists()


async def test_a_given_data_folder_is_kept_and_used_again():
    # Not pytest's tmp_path, which is closed to the user that the server runs as under root.
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o711)
        async with EmbeddedPostgres(Path(folder) / "pg", durable=False) as server:
            await run_sql(server.url(), "CREATE TABLE kept AS SELECT 1 AS a")
        async with EmbeddedPostgres(Path(folder) / "pg", durable=False) as server:
            assert await _count(server.url()) == 1


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux signals orphans")
async def test_the_server_does_not_outlive_a_parent_that_is_killed():
    program = """
        import asyncio
        from devstack.postgres import EmbeddedPostgres

        async def main():
            async with EmbeddedPostgres(durable=False) as server:
                print(server.pid, flush=True)
                await asyncio.sleep(60)

        asyncio.run(main())
    """
    command = [sys.executable, "-c", textwrap.dedent(program)]
    parent = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE)
    assert parent.stdout is not None
    server = psutil.Process(int(await parent.stdout.readline()))
    parent.kill()
    await parent.wait()
    await until(lambda: gone(server))


def gone(process: psutil.Process) -> bool:
    """Whoever adopts orphans may be slow to bury them: a zombie is gone enough."""
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
