"""``make run``: a stack in the foreground, its settings in ``.dev/env``, until Ctrl-C."""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path

from rich.console import Console
from rich.text import Text

from devstack.children import StackError
from devstack.options import (
    JENKINS_VARIABLES,
    SIMULATOR_VARIABLES,
    means_a_simulator,
    options_for_run,
)
from devstack.postgres import PostgresFailed
from devstack.stack import DevStack

_ENV_FILE = Path(".dev/env")
_COLOURS = {"service": "cyan", "gateway": "magenta"}
_HELP = f"""Runs PostgreSQL, a simulated Jenkins, the service and the webhook gateway until Ctrl-C.

The data is fresh with each start. Where everything is, is written to {_ENV_FILE} while it runs.

Environment:
  {", ".join(JENKINS_VARIABLES)}
      use this Jenkins instead of the simulator; set all three or none
  DEV_WEBHOOK_BASE_URL
      where that Jenkins reaches the gateway, if it isn't on this machine: http://my-laptop:8081
      (the gateway then listens on all addresses); without it, that Jenkins is polled
  DEV_DATABASE_URL
      use this database instead of an embedded one: postgresql://user:password@host/name
  DEV_LOG_LEVEL
      debug, info, warning or error"""


def main() -> None:
    """Run a stack until a signal to stop."""
    parser = argparse.ArgumentParser(
        prog="python -m devstack.stack",
        description=_HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--env-file", type=Path, default=_ENV_FILE, help="where to write settings")
    arguments = parser.parse_args()
    console = Console(highlight=False, soft_wrap=True)
    try:
        sys.exit(asyncio.run(_main(arguments.env_file, console)))
    except (StackError, PostgresFailed) as error:
        console.print(Text(f"\n{error}", style="red"))
        sys.exit(1)


async def _main(env_file: Path, console: Console) -> int:
    """Run until a signal comes (exit code 0) or a part dies (1)."""
    options = options_for_run(env_file.parent)
    if means_a_simulator(os.environ):
        console.print(
            f"{JENKINS_VARIABLES[0]} is an earlier run's simulator, from its {env_file}: ignored."
        )
    stop = asyncio.Event()
    _on_signals(stop)
    running = asyncio.create_task(
        _run(
            DevStack(
                options,
                sink=lambda name, line: console.print(_prefixed(name, line)),
                progress=lambda what: console.print(Text(f"{what} …", style="bold")),
            ),
            env_file,
            console,
        )
    )
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait((running, stopping), return_when=asyncio.FIRST_COMPLETED)
    if not running.done():
        console.print(Text("Stopping …", style="bold"))
        running.cancel()
        await asyncio.wait((running,))
        console.print(Text("Stopped; all processes have ended.", style="bold"))
    stopping.cancel()
    if running.cancelled():
        return 0
    raise StackError(running.result())


async def _run(stack: DevStack, env_file: Path, console: Console) -> str:
    """Run a stack until a part ends; return a message for the user."""
    async with stack:
        content = "".join(f"{key}={value}\n" for key, value in settings_of(stack).items())
        write_private(env_file, content)
        try:
            console.print(_what_next(stack, env_file))
            return await stack.failure()
        finally:
            if env_file.exists() and env_file.read_text() == content:
                env_file.unlink()  # its settings are no longer valid


def settings_of(stack: DevStack) -> Mapping[str, str]:
    """Return the settings for clients of a stack.

    In a shell that has taken them up, the next `make run` must not take our simulator for a real Jenkins.
    """
    jenkins = (stack.jenkins.url, stack.jenkins.user, stack.jenkins.token)
    names = SIMULATOR_VARIABLES if stack.simulator else JENKINS_VARIABLES
    return {
        "DEPLOYMENT_SERVICE_TARGET": stack.target,
        "WEBHOOK_GATEWAY_URL": stack.gateway_url,
        JENKINS_VARIABLES[0]: stack.jenkins.url,
        **dict(zip(names, jenkins, strict=True)),
        "DATABASE_URL": stack.database_url,
        "DEPLOYMENT_TENANT": stack.tenant,
        "DEPLOYMENT_PROVIDER": stack.provider,
        "DEPLOYMENT_API_KEY": stack.api_key,
    }


def write_private(path: Path, content: str) -> None:
    """Write a file that only we may read, at once: no reader sees half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f"{path.name}.{os.getpid()}")
    new.unlink(missing_ok=True)
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(content)
    new.replace(path)


def _on_signals(stop: asyncio.Event) -> None:
    def handle() -> None:
        if stop.is_set():
            os._exit(130)  # second signal: exit at once; the kernel signals the child processes
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, handle)


def _prefixed(name: str, line: str) -> Text:
    prefix = Text(f"{name:>8} │ ", style=_COLOURS.get(name, ""))
    style = "red" if " ERROR " in line else "yellow" if " WARNING " in line else ""
    return prefix.append(line, style=style)


def _what_next(stack: DevStack, env_file: Path) -> Text:
    program = Path(sys.executable).with_name("deployctl")
    shown = os.path.relpath(program) if program.exists() else "deployctl"
    command = f"{shown} --env-file {env_file}"
    kind = "simulated Jenkins" if stack.simulator else "Jenkins"
    return Text.assemble(
        ("\nReady. ", "bold green"),
        f"Service {stack.target}, gateway {stack.gateway_url}, {kind} {stack.jenkins.url}\n"
        f"Settings are in {env_file}. In another terminal try:\n\n"
        f"  {command} deployments create hello --shell 'echo hello; sleep 5'\n"
        f"  {command} run hello --wait\n"
        f"  {command} watch\n\n"
        "Ctrl-C stops everything.\n",
    )
