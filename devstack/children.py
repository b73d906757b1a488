"""Child processes of the development stack: started as in production, with their log lines, stopped, killed."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from devstack.leash import leashed

Sink = Callable[[str, str], None]
Record = Mapping[str, Any]

_STOP_WITHIN_S = 15.0
_LONGEST_LINE = 2**20
_LEVELS = {"debug": "", "info": "", "warning": "WARNING ", "error": "ERROR ", "critical": "ERROR "}


class StackError(RuntimeError):
    """The stack, or a part of it, does not start or has ended; the message has the remedy."""


class Child:
    """A process that logs the event ``listening`` on stdout when it is ready.

    It may be started again after ``stop`` or ``kill``; ``records`` and ``lines`` have its last output.
    """

    def __init__(
        self, name: str, command: Sequence[str], env: Mapping[str, str], sink: Sink
    ) -> None:
        self.name = name
        self.env = dict(env)
        self.records: deque[Record] = deque(maxlen=2000)
        self.lines: deque[str] = deque(maxlen=60)
        self._command = command
        self._sink = sink
        self._process: asyncio.subprocess.Process | None = None
        self._reader: asyncio.Task[None] | None = None
        self._ready: asyncio.Future[Record] | None = None
        self._ending = False

    @property
    def pid(self) -> int | None:
        """The process id while it runs."""
        process = self._process
        return process.pid if process and process.returncode is None else None

    async def start(self, *, timeout_s: float = 60.0) -> Record:
        """Start it and return the fields of its ``listening`` line."""
        self._ending = False
        self._ready = asyncio.get_running_loop().create_future()
        self._process = await asyncio.create_subprocess_exec(
            *leashed(self._command),
            env=self.env,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            limit=_LONGEST_LINE,
            start_new_session=True,  # Ctrl-C in a terminal is for the stack, which stops all in order
        )
        self._reader = asyncio.create_task(self._read(self._process))
        ended = asyncio.create_task(self._process.wait())
        try:
            await asyncio.wait(
                (self._ready, ended), timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED
            )
            if self._ready.done():
                return self._ready.result()
            if ended.done():
                await self._reader
                raise StackError(self._failure_text("ended while starting"))
            raise StackError(self._failure_text(f"isn't ready after {timeout_s:g} s"))
        finally:
            ended.cancel()

    async def stop(self) -> int | None:
        """SIGTERM, and SIGKILL if that doesn't help; return the exit code."""
        return await self._end(signal.SIGTERM)

    async def kill(self) -> None:
        """SIGKILL, as a crash would."""
        await self._end(signal.SIGKILL)

    async def died(self) -> str:
        """Wait until it ends unexpectedly; return a message for the user."""
        while True:
            process = self._process
            if process is not None:
                await process.wait()
                if not self._ending:
                    if self._reader:
                        await self._reader
                    return self._failure_text("has ended")
            await asyncio.sleep(0.2)  # stopped or killed on purpose: until it is started again

    async def _end(self, number: signal.Signals) -> int | None:
        process, self._ending = self._process, True
        if process is None:
            return None
        if process.returncode is None:
            process.send_signal(number)
        try:
            async with asyncio.timeout(_STOP_WITHIN_S):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()
        if self._reader is not None:
            await self._reader
        return process.returncode

    async def _read(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        while line := await process.stdout.readline():
            text = line.decode(errors="replace").rstrip()
            record = _parse(text)
            shown = text if record is None else _readable(record)
            self.lines.append(shown)
            self._sink(self.name, shown)
            if record is not None:
                self.records.append(record)
                if record.get("event") == "listening" and self._ready and not self._ready.done():
                    self._ready.set_result(record)

    def _failure_text(self, event: str) -> str:
        code = self._process.returncode if self._process else None
        exit_code = "" if code is None else f" (exit code {code})"
        output = "\n".join(f"  {line}" for line in list(self.lines)[-20:])
        return f"{self.name} {event}{exit_code}. Its last output:\n{output or '  (none)'}"


def clean_environment(*prefixes: str) -> dict[str, str]:
    """This process' environment without the settings that are decided anew for a child."""
    return {key: value for key, value in os.environ.items() if not key.startswith(prefixes)}


def _parse(text: str) -> dict[str, Any] | None:
    if not text.startswith("{"):
        return None
    try:
        record = json.loads(text)
    except ValueError:
        return None
    return record if isinstance(record, dict) else None


def _readable(record: Record) -> str:
    rest = dict(record)
    time = str(rest.pop("timestamp", ""))[11:19]
    level = _LEVELS.get(str(rest.pop("level", "")), "")
    event, exception = rest.pop("event", ""), rest.pop("exception", "")
    fields = " ".join(f"{key}={value}" for key, value in rest.items() if value not in (None, ""))
    head = f"{time} {level}{event}" + (f"  {fields}" if fields else "")
    return f"{head}\n{exception}" if exception else head
