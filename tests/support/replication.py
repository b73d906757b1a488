"""A standby of an embedded PostgreSQL, by streaming replication."""

from __future__ import annotations

import asyncio
import contextlib
import os
import pwd
import shutil
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg

from devstack.postgres import EmbeddedPostgres


@contextlib.asynccontextmanager
async def standby_of(primary: EmbeddedPostgres) -> AsyncIterator[EmbeddedPostgres]:
    """Run a server that follows ``primary`` until it is promoted."""
    folder = Path(tempfile.mkdtemp(prefix="standby-", dir="/tmp"))
    try:
        folder.chmod(0o755)
        data = folder / "data"
        data.mkdir(mode=0o700)
        user = primary._user
        if user is not None:
            os.chown(data, user.pw_uid, user.pw_gid)
        command: list[str | os.PathLike[str]] = [
            primary.program("pg_basebackup"),
            "--pgdata",
            data,
            "--dbname",
            primary.url(),
            "--write-recovery-conf",
            "--checkpoint=fast",
            "--wal-method=stream",
        ]
        done = await asyncio.to_thread(
            subprocess.run, _as(command, user), cwd="/", capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        async with EmbeddedPostgres(data, durable=False) as server:
            yield server
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _as(command: list[str | os.PathLike[str]], user: pwd.struct_passwd | None) -> list[str]:
    """Not leashed: the kernel watches the thread that starts it."""
    if user is None:
        return [os.fspath(part) for part in command]
    change = (
        "import os, sys; os.setgroups([]); os.setgid(int(sys.argv[1])); os.setuid(int(sys.argv[2]))"
    )
    become = f"{change}; os.execv(sys.argv[3], sys.argv[3:])"
    prefix = [sys.executable, "-I", "-S", "-c", become, str(user.pw_gid), str(user.pw_uid)]
    return prefix + [os.fspath(part) for part in command]


async def promote(standby: EmbeddedPostgres) -> None:
    """Make the standby a primary."""
    connection = await asyncpg.connect(standby.url())
    try:
        assert await connection.fetchval("SELECT pg_promote()")
    finally:
        await connection.close()


async def caught_up(primary: EmbeddedPostgres) -> None:
    """Wait until the standby of ``primary`` has all that is committed."""
    connection = await asyncpg.connect(primary.url())
    try:
        async with asyncio.timeout(20):
            while not await connection.fetchval(  # noqa: ASYNC110
                "SELECT bool_and(replay_lsn >= pg_current_wal_lsn()) FROM pg_stat_replication"
            ):
                await asyncio.sleep(0.05)
    finally:
        await connection.close()
