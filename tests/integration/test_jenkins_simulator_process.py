"""The simulated Jenkins as a process of its own."""

from __future__ import annotations

import asyncio
import signal
import sys
from asyncio.subprocess import PIPE, Process

import aiohttp
import psutil

from tests.conformance.client import freestyle
from tests.support.waiting import until

COMMAND = [sys.executable, "-m", "jenkins_simulator"]


async def _start(*arguments: str) -> tuple[Process, dict[str, str]]:
    process = await asyncio.create_subprocess_exec(*COMMAND, *arguments, stdout=PIPE)
    assert process.stdout is not None
    line = (await process.stdout.readline()).decode()
    return process, dict(word.split("=", 1) for word in line.split())


async def test_it_says_where_it_is_and_ends_its_builds_on_sigterm():
    conditions = '{"first_queue_id": 7213489120345678901}'
    options = ("--quiet-period", "0", "--token", "secret", "--conditions", conditions)
    process, told = await _start("--port", "0", *options)
    headers = {"Authorization": aiohttp.encode_basic_auth(told["user"], told["token"])}
    async with aiohttp.ClientSession(headers=headers) as http:
        async with http.post(
            f"{told['url']}/createItem?name=j",
            data=freestyle("sleep 1234"),
            headers={"Content-Type": "application/xml"},
        ) as response:
            assert response.status == 200
        async with http.post(f"{told['url']}/job/j/build") as response:
            assert response.status == 201
            assert response.headers["Location"].endswith("/queue/item/7213489120345678901/")
        parent = psutil.Process(process.pid)
        await until(
            lambda: any("1234" in " ".join(c.cmdline()) for c in parent.children(recursive=True))
        )
        children = parent.children(recursive=True)
        async with http.get(f"{told['url']}/_simulator/ledger") as response:
            assert len((await response.json())["builds"]) == 1
    process.send_signal(signal.SIGTERM)
    await process.communicate()
    assert process.returncode == 0
    assert [child for child in children if is_alive(child)] == []


def is_alive(process: psutil.Process) -> bool:
    """Whether a process still does something; where nobody reaps orphans, a zombie is left."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


async def test_help_names_every_option():
    process = await asyncio.create_subprocess_exec(*COMMAND, "--help", stdout=PIPE)
    output, _ = await process.communicate()
    assert process.returncode == 0
    for option in (
        "--port",
        "--quiet-period",
        "--executors",
        "--notification-plugin",
        "--conditions",
    ):
        assert option in output.decode()
