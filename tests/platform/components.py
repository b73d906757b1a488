"""Starts the real components from Debian in the foreground, each with a configuration in a folder of its own."""

from __future__ import annotations

import asyncio
import contextlib
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from devstack.leash import leashed

_SEARCH_PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"


def program(name: str) -> str:
    """Return the path of a component's program; fail if it is not installed."""
    path = shutil.which(name, path=_SEARCH_PATH)
    if path is None:
        pytest.fail(f"{name} is not installed: run `make test-platform`, which installs it")
    return path


def free_port() -> int:
    """Return a TCP port of 127.0.0.1 that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextlib.asynccontextmanager
async def folder() -> AsyncIterator[Path]:
    """Yield a temporary folder that the component's own user can read."""
    path = Path(tempfile.mkdtemp(prefix="platform-", dir="/tmp"))
    path.chmod(0o777)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


@contextlib.asynccontextmanager
async def component(
    command: Sequence[str | os.PathLike[str]], *, port: int, log: Path, user: str | None = None
) -> AsyncIterator[subprocess.Popen[bytes]]:
    """Run ``command`` until the block ends; it is ready once it accepts connections on ``port``.

    ``user``: as whom to run it if we are root.
    """
    process = _spawn(command, log, user)
    try:
        await _accepts(process, port, log)
        yield process
    finally:
        process.terminate()
        try:
            await asyncio.to_thread(process.wait, 5)
        except subprocess.TimeoutExpired:
            process.kill()
            await asyncio.to_thread(process.wait)


def _spawn(
    command: Sequence[str | os.PathLike[str]], log: Path, user: str | None
) -> subprocess.Popen[bytes]:
    account = pwd.getpwnam(user) if user and os.geteuid() == 0 else None
    with log.open("ab") as output:
        return subprocess.Popen(
            leashed(command, user=account),
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )


async def _accepts(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = asyncio.get_running_loop().time() + 10
    while asyncio.get_running_loop().time() < deadline and process.poll() is None:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            await asyncio.sleep(0.02)
        else:
            writer.close()
            await writer.wait_closed()
            return
    pytest.fail(f"{process.args!r} does not listen on {port}:\n{log.read_text(errors='replace')}")
