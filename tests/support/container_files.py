"""Reads container files and finds in them what breaks our rules; hadolint finds what breaks everybody's."""

from __future__ import annotations

import fnmatch
import json
import re
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.deploy_files import command_problem, unknown_settings

HADOLINT = Path(sys.executable).with_name("hadolint")
_SECRET = re.compile(r"(?i)(password|secret|token|api_?key)\w*=")
_PIP = re.compile(r"pip(?: --python \S+)? (?:install|wheel)\b[^&|;]*")


@dataclass
class Stage:
    """One stage with what it inherits from the stage that it begins with."""

    name: str
    base: str
    instructions: list[tuple[str, str]] = field(default_factory=list)

    def last(self, instruction: str) -> str | None:
        """Return the value of the last such instruction, None if there is none."""
        values = [value for name, value in self.instructions if name == instruction]
        return values[-1] if values else None

    def environment(self) -> dict[str, str]:
        """Return what ENV sets."""
        values = [value for name, value in self.instructions if name == "ENV"]
        return dict(pair.split("=", 1) for value in values for pair in value.split())


def instructions(text: str) -> list[tuple[str, str]]:
    """Return instructions with their values, continued lines joined, comments left out."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", " ", "\n".join(lines))
    split = [line.split(None, 1) for line in joined.splitlines() if line.strip()]
    return [(name.upper(), value.strip()) for name, value in split]


def stages(text: str) -> dict[str, Stage]:
    """Return the stages by name; a stage without one is called by its number."""
    found: dict[str, Stage] = {}
    stage: Stage | None = None
    for name, value in instructions(text):
        if name == "FROM":
            base, _, alias = value.partition(" AS ")
            inherited = found[base].instructions if base in found else []
            stage = Stage(alias or str(len(found)), base, list(inherited))
            found[stage.name] = stage
        elif stage is not None:
            stage.instructions.append((name, value))
    return found


def findings(text: str, targets: list[str]) -> list[str]:
    """Return what breaks our rules in a container file whose images are ``targets``."""
    found = _of_the_file(text)
    all_stages = stages(text)
    for target in targets:
        found += [f"{target}: {one}" for one in _of_an_image(all_stages[target])]
    return found


def _of_the_file(text: str) -> list[str]:
    found = []
    for name, value in instructions(text):
        if name == "ARG" and re.match(r"\w+_IMAGE=", value):
            image = value.partition("=")[2]
            if re.search(r"[.:]\S*/", image):
                found.append(f"a base image that names its registry: {image}")
            if not re.search(r":(?!latest)[\w.-]+$|@sha256:", image):
                found.append(f"a base image without a tag: {image}")
        if name in ("ARG", "ENV") and _SECRET.search(value):
            found.append(f"a secret in the image: {value}")
        if name == "RUN":
            found += [one for command in _PIP.findall(value) for one in _of_pip(command.strip())]
        addresses = re.findall(r"\w+://([\w.{}]+)", value)
        if set(addresses) - {"127.0.0.1", "{hostname}"}:
            found.append(f"an address: {value}")
    return found


def _of_pip(command: str) -> list[str]:
    found = []
    if not re.search(r"--require-hashes|--no-index", command):
        found.append(f"pip without hashes: {command}")
    if "--no-cache-dir" not in command:
        # DL3042, which hadolint looks for only where pip is called without its path.
        found.append(f"pip keeps its cache: {command}")
    return found


def _of_an_image(stage: Stage) -> list[str]:
    found = []
    user = stage.last("USER") or "root"
    if not re.fullmatch(r"[1-9][0-9]*:[1-9][0-9]*", user):
        found.append(f"the user is {user}, not a number other than 0")
    health = stage.last("HEALTHCHECK")
    if health is None or "CMD [" not in health:
        found.append("no health check in exec form")
    elif _exec_form(health.partition("CMD ")[2])[0] not in ("python", "curl"):
        found.append("a health check by a program that the image lacks")
    found += [f"no such setting: {name}" for name in unknown_settings(stage.environment())]
    entrypoint = _exec_form(stage.last("ENTRYPOINT"))
    if entrypoint and entrypoint[0] != "python":
        problem = command_problem([*entrypoint, *_exec_form(stage.last("CMD"))])
        found += [problem] if problem else []
    exposed = set((stage.last("EXPOSE") or "").split())
    for name, value in stage.environment().items():
        port = value.rpartition(":")[2]
        if name.endswith(("_LISTEN", "_PORT")) and port not in exposed:
            found.append(f"{name} listens on {port}, which is not exposed")
    return found


def _exec_form(value: str | None) -> list[str]:
    parsed = json.loads(value) if value else []
    assert isinstance(parsed, list)
    return [str(part) for part in parsed]


def hadolint(text: str, ignored: tuple[str, ...] = ()) -> list[str]:
    """Return what hadolint finds, as ``line code message``."""
    options = [option for code in ignored for option in ("--ignore", code)]
    ended = subprocess.run(
        [HADOLINT, "--no-fail", "--format", "json", *options, "-"],
        input=text,
        capture_output=True,
        text=True,
        check=True,
        timeout=50,
    )
    return [f"{one['line']} {one['code']} {one['message']}" for one in json.loads(ended.stdout)]


def context_problems(text: str, ignore_text: str, tracked: list[str]) -> list[str]:
    """Return what COPY needs and .dockerignore hides, and what it lets through that no COPY needs."""
    sources = [
        source
        for name, value in instructions(text)
        if name == "COPY" and not value.startswith("--from=")
        for source in value.split()[:-1]
    ]
    problems = []
    for source in sources:
        files = [path for path in tracked if path == source or path.startswith(source + "/")]
        if not files:
            problems.append(f"copied, but not in the repository: {source}")
        problems += [f"copied, but hidden: {path}" for path in files if _hides(ignore_text, path)]
    let_through = [path for path in tracked if not _hides(ignore_text, path)]
    problems += [
        f"sent, but not copied: {path}"
        for path in let_through
        if not any(path == source or path.startswith(source + "/") for source in sources)
    ]
    return problems


def _hides(ignore_text: str, path: str) -> bool:
    """Return whether .dockerignore leaves the path out: the last pattern that matches it or a folder of it decides."""
    parts = path.split("/")
    prefixes = ["/".join(parts[:count]) for count in range(1, len(parts) + 1)]
    hidden = False
    for line in ignore_text.splitlines():
        pattern = line.strip().removeprefix("!")
        if not pattern or pattern.startswith("#"):
            continue
        if any(_matches(pattern, prefix) for prefix in prefixes):
            hidden = not line.startswith("!")
    return hidden


def _matches(pattern: str, path: str) -> bool:
    if pattern.startswith("**/"):
        return fnmatch.fnmatchcase(path.rpartition("/")[2], pattern.removeprefix("**/"))
    return path.count("/") == pattern.count("/") and fnmatch.fnmatchcase(path, pattern)
