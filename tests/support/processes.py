"""Real processes, and the proof that they leave none behind."""

from __future__ import annotations

import asyncio
import os
import sys
import uuid
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

import psutil

from tests.support.waiting import until

_MARK = "TEST_PROCESS_MARK"


@dataclass
class Running:
    """A process of ours; every process that it starts, however deep, inherits its mark."""

    process: asyncio.subprocess.Process
    mark: str
    lines: list[str] = field(default_factory=list)
    reader: asyncio.Task[None] | None = None

    @property
    def text(self) -> str:
        return "\n".join(self.lines)

    async def says(self, words: str, *, timeout_s: float = 60.0) -> None:
        """Wait until it has said ``words``; fail if it ends without."""

        def said_or_ended() -> bool:
            return words in self.text or self.process.returncode is not None

        await until(said_or_ended, timeout_s=timeout_s, what=f"{words!r} in:\n{self.text}")
        assert words in self.text, f"ended without {words!r}:\n{self.text}"

    async def ends(self, *, timeout_s: float = 60.0) -> int:
        """Wait for its end and return its exit code."""
        async with asyncio.timeout(timeout_s):
            code = await self.process.wait()
        assert self.reader is not None
        await self.reader
        return code

    def left(self) -> list[psutil.Process]:
        """What is still alive of the process and all that it started."""
        return [one for one in _alive(self.mark) if one.pid != self.process.pid]


@asynccontextmanager
async def running(*arguments: str, env: Mapping[str, str] | None = None) -> AsyncIterator[Running]:
    """Run ``python arguments…``; at the end it and all that it started is killed."""
    mark = uuid.uuid4().hex
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *arguments,
        env={**os.environ, **(env or {}), _MARK: mark},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        limit=2**20,
    )
    one = Running(process, mark)
    one.reader = asyncio.create_task(_read(one))
    try:
        yield one
    finally:
        if process.returncode is None:
            process.kill()
        for left in _alive(mark):
            with suppress(psutil.NoSuchProcess):
                left.kill()
        await process.wait()
        await one.reader


async def _read(one: Running) -> None:
    assert one.process.stdout is not None
    while line := await one.process.stdout.readline():
        one.lines.append(line.decode(errors="replace").rstrip())
        print(one.lines[-1])  # pytest shows it if the test fails


def _alive(mark: str) -> Iterator[psutil.Process]:
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            if process.status() != psutil.STATUS_ZOMBIE and process.environ().get(_MARK) == mark:
                yield process
