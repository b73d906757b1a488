"""Running the shell scripts of builds as real processes."""

from __future__ import annotations

import asyncio
import codecs
import contextlib
import os
import shutil
import signal
import tempfile
from collections.abc import Callable, Coroutine, Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil

from jenkins_simulator.core.console import Console
from jenkins_simulator.core.model import Build

_PATIENCE_S = 5.0
_LEAVES_FIRST_S = 0.25
_INHERITED = ("PATH", "HOME", "LANG", "TMPDIR")


class Workspaces:
    """Directories for builds, and every process that is running in them."""

    def __init__(self) -> None:
        self._made: Path | None = None
        self._running: dict[int, asyncio.subprocess.Process] = {}

    @property
    def _home(self) -> Path:
        if self._made is None:
            self._made = Path(tempfile.mkdtemp(prefix="simulated-jenkins-"))
        return self._made

    def path(self, full_name: str) -> Path:
        """The workspace of a job."""
        path = self._home / "workspace" / full_name.replace("%", "_")
        path.mkdir(parents=True, exist_ok=True)
        return path

    async def run(
        self,
        build: Build,
        command: str,
        environment: Mapping[str, str],
        captured: Console | None = None,
        on_abort: Callable[[], None] = lambda: None,
    ) -> int:
        """Run a script and return its exit code; a build's `abort` ends it with SIGTERM.

        Its output goes to the build's console; `captured` takes the standard output instead.
        """
        workspace = self.path(build.job.full_name)
        script = self._home / f"script-{id(build)}-{build.number}.sh"
        script.write_text(command, errors="replace")
        arguments = _interpreter(command, script)
        inherited = {name: os.environ[name] for name in _INHERITED if name in os.environ}
        process = await _whole(
            asyncio.create_subprocess_exec(
                *arguments,
                cwd=workspace,
                env={**inherited, **environment, "WORKSPACE": str(workspace)},
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE if captured else asyncio.subprocess.STDOUT,
                start_new_session=True,
            )
        )
        self._running[process.pid] = process
        watcher = asyncio.create_task(_end_on_abort(build, process, on_abort))
        try:
            await asyncio.gather(
                _copy(process.stdout, captured or build.console),
                _copy(process.stderr, build.console),
            )
            return await process.wait()
        finally:
            watcher.cancel()
            _signal_group(process, signal.SIGKILL)
            await process.wait()
            self._running.pop(process.pid, None)
            script.unlink(missing_ok=True)

    def kill_all(self) -> None:
        """Kill what is still running, process group by process group."""
        for process in list(self._running.values()):
            _signal_group(process, signal.SIGKILL)

    def close(self) -> None:
        """Kill everything and remove the directories."""
        self.kill_all()
        if self._made is not None:
            shutil.rmtree(self._made, ignore_errors=True)


def describe(command: str) -> str:
    """The command line as the console shows it."""
    return " ".join(_interpreter(command, Path("/tmp/jenkins.sh")))


def _interpreter(command: str, script: Path) -> Sequence[str]:
    first_line = command.split("\n", 1)[0]
    if first_line.startswith("#!"):
        return [*first_line[2:].split(), str(script)]
    return ["/bin/sh", "-xe", str(script)]


async def _whole(
    starting: Coroutine[Any, Any, asyncio.subprocess.Process],
) -> asyncio.subprocess.Process:
    """Start a process; if that is cancelled half-way, end it, or it would be orphaned."""
    task = asyncio.ensure_future(starting)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        process = await task
        _signal_group(process, signal.SIGKILL)
        await process.communicate()
        raise


async def _copy(stream: asyncio.StreamReader | None, console: Console) -> None:
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    while stream is not None and (chunk := await stream.read(65_536)):
        console.write(decoder.decode(chunk))


async def _end_on_abort(
    build: Build, process: asyncio.subprocess.Process, on_abort: Callable[[], None]
) -> None:
    await build.abort.wait()
    on_abort()
    # As Jenkins does, from the leaves to the root: so the shell still prints `Terminated`.
    with contextlib.suppress(psutil.NoSuchProcess):
        for child in reversed(psutil.Process(process.pid).children(recursive=True)):
            child.terminate()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_LEAVES_FIRST_S):
            await process.wait()
    _signal_group(process, signal.SIGTERM)
    await asyncio.sleep(_PATIENCE_S)
    _signal_group(process, signal.SIGKILL)


def _signal_group(process: asyncio.subprocess.Process, number: signal.Signals) -> None:
    # The group is the process's own (new session), so no other process is signalled.
    try:
        os.killpg(process.pid, number)
    except ProcessLookupError:
        pass
