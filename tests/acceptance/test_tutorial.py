"""docs/tutorial.md as a newcomer follows it: every command and program of it runs, and prints what the page shows."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from pathlib import Path

import pytest

from devstack.foreground import settings_of, write_private
from devstack.options import StackOptions
from devstack.stack import DevStack

ROOT = Path(__file__).resolve().parents[2]
BLOCKS = re.findall(
    r"^```(sh|text|python)\n(.*?)^```",
    (ROOT / "docs" / "tutorial.md").read_text(),
    re.MULTILINE | re.DOTALL,
)
# On a slow machine Jenkins may need longer than usual: the page shows what follows.
PATIENT = StackOptions(service_settings={"TRIGGER_WAIT_S": "60", "REQUEST_TIMEOUT_S": "30"})
START, SETTINGS = [text for kind, text in BLOCKS if kind == "sh"][:2]


async def shell(script: str, folder: Path) -> tuple[int, str]:
    """Run a block as in a second terminal that has its settings."""
    process = await asyncio.create_subprocess_exec(
        "sh",
        "-e",
        "-c",
        SETTINGS + script,
        cwd=folder,
        env={**os.environ, "COLUMNS": "200"},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    return process.returncode or 0, output.decode()


def shows(output: str, expected: str) -> bool:
    """Whether a line has the parts of an expected one in their order; ``…`` stands for anything."""
    pattern = re.compile(".*".join(re.escape(part.strip()) for part in expected.split("…")))
    return any(pattern.search(line) for line in output.splitlines())


@pytest.mark.timeout(300)
@pytest.mark.parametrize("stack", [PATIENT], indirect=True)
async def test_every_command_of_the_tutorial_works(stack: DevStack, tmp_path: Path) -> None:
    (tmp_path / ".venv").symlink_to(sys.prefix)
    settings = "".join(f"{key}={value}\n" for key, value in settings_of(stack).items())
    write_private(tmp_path / ".dev" / "env", settings)
    assert START == "make run\n"
    output, programs = "", 0
    for kind, text in BLOCKS[2:]:
        if kind == "python":
            (tmp_path / "first.py").write_text(text)
            programs += 1
        elif kind == "sh":
            code, output = await shell(text, tmp_path)
            assert code == 0, f"{text}\n{output}"
        else:
            for line in text.splitlines():
                assert shows(output, line), f"not shown: {line}\n{output}"
    assert programs == 1


def test_what_counts_as_shown() -> None:
    assert shows("a\nRun 1 of hello: done", "Run 1 …: done")
    assert not shows("Run 1\n: done", "Run 1 …: done")
    assert not shows("done Run 1", "Run 1 … done")
