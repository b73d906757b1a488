"""Check the Promela models of docs/models/ with spin: the rules hold, and each removed rule is missed.

    python tools/model.py [--large] [--write] [NAME ...]

docs/models/checks.txt lists the checks. A removed rule must make the checker find a trace, and the
page must show the shortest one; --write puts today's traces into the page. NAME selects checks by a part of what
they define.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

MODELS = Path(__file__).parents[1] / "docs" / "models"
PAGE = MODELS / "README.md"
WORKERS = 2
CHECK_TIMEOUT_S = 170
MEMORY_MB = 3000
# A block of the page: <!-- trace: NAME --> and the fenced text after it.
TRACE = re.compile(r"(<!-- trace: (\w+) -->\n```text\n)(.*?)(```)", re.DOTALL)


@dataclass(frozen=True)
class Check:
    """One line of checks.txt. ``rule`` is the WITHOUT_ name; empty if nothing is removed."""

    model: str
    outcome: str
    defines: tuple[str, ...]
    text: str

    @property
    def rule(self) -> str:
        return next((name for name in self.defines if name.startswith("WITHOUT_")), "")


@dataclass(frozen=True)
class CheckResult:
    """``error`` is empty if the check came out as it must."""

    check: Check
    states: str
    seconds: float
    trace: str = ""
    error: str = ""


def read_checks() -> list[Check]:
    """Return the lines of checks.txt."""
    lines = (MODELS / "checks.txt").read_text().splitlines()
    cells = [
        [cell.strip() for cell in line.split("|")]
        for line in lines
        if "|" in line and line[0] != "#"
    ]
    return [
        Check(model, outcome, tuple(names.split()), text) for model, outcome, names, text in cells
    ]


def run(check: Check) -> CheckResult:
    """Build the checker of one model and run it."""
    began = time.monotonic()
    defines = [f"-D{name}" for name in check.defines]
    # Breadth first finds the shortest trace.
    options = ["-DBFS"] if check.rule else []
    with tempfile.TemporaryDirectory() as folder:
        source = str(MODELS / f"{check.model}.pml")

        def call(*command: str) -> str:
            done = subprocess.run(
                command,
                cwd=folder,
                capture_output=True,
                text=True,
                timeout=CHECK_TIMEOUT_S,
                check=False,
            )
            return done.stdout + done.stderr

        output = call("spin", *defines, "-a", source)
        output += call(
            "gcc",
            "-w",
            "-O2",
            "-DSAFETY",
            "-DCOLLAPSE",
            f"-DMEMLIM={MEMORY_MB}",
            *options,
            "-o",
            "pan",
            "pan.c",
        )
        if not (Path(folder) / "pan").exists():
            return CheckResult(check, "", 0.0, error=f"not built:\n{output}")
        # -E: the model has assertions of its own for end states.
        output = call("./pan", "-E", "-m1000000")
        trails = list(Path(folder).glob("*.trail"))
        trace = ""
        if trails:
            trails[0].rename(Path(folder) / "pan.trail")
            trace = story(call("spin", "-k", "pan.trail", "-T", *defines, source))
    found = re.search(r"(\d+) states, stored", output)
    states = found.group(1) if found else ""
    return CheckResult(check, states, time.monotonic() - began, trace, _error(check, output, trace))


def _error(check: Check, output: str, trace: str) -> str:
    if check.rule:
        if "assertion violated" not in output or not trace:
            return f"the checker does not miss the rule:\n{output}"
        return ""
    complete = (
        "errors: 0" in output
        and "Search not completed" not in output
        and "max search depth too small" not in output
    )
    return "" if complete else f"{output}\n{trace}"


def story(replay: str) -> str:
    """Return the lines that the model prints while the trace is replayed."""
    lines = []
    for line in replay.splitlines():
        if line.startswith(("spin:", "#processes", "\t")) or not line.strip():
            continue
        if re.match(r"\s*\d+:\s+proc|\s*\d+ process", line):
            break
        lines.append(line.strip())
    return "\n".join(lines) + "\n"


def compare(results: list[CheckResult], *, write: bool) -> list[str]:
    """Return the rules whose trace in the page is not the checker's; ``write`` puts it there."""
    page = PAGE.read_text()
    traces = {
        result.check.rule: result.trace
        for result in results
        if result.check.rule and not result.error
    }
    stored = {name: text for _, name, text, _ in TRACE.findall(page)}
    different = [name for name, text in traces.items() if stored.get(name) != text]
    if write:
        PAGE.write_text(TRACE.sub(lambda m: m[1] + traces.get(m[2], m[3]) + m[4], page))
        different = [name for name in different if name not in stored]
    return different


def main() -> int:
    """Run the checks; return the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument(
        "--large", action="store_true", help="also check the large combinations (minutes)"
    )
    parser.add_argument("--write", action="store_true", help="write the traces into the page")
    parser.add_argument("names", nargs="*")
    arguments = parser.parse_args()
    checks = [c for c in read_checks() if arguments.large or c.outcome != "large"]
    if arguments.names:
        checks = [
            c
            for c in checks
            if any(name in f"{c.model} {' '.join(c.defines)}" for name in arguments.names)
        ]
    with ThreadPoolExecutor(WORKERS) as pool:
        results = []
        for result in pool.map(run, checks):
            results.append(result)
            check = result.check
            what = f"without {check.rule[8:]}: {check.outcome} breaks" if check.rule else "holds"
            print(
                f"  {check.model:9} {what:60} {result.states:>9} states  {result.seconds:5.1f} s",
                flush=True,
            )
            if result.error:
                print(
                    f"{check.model} {' '.join(check.defines)}: {check.text}: {result.error}",
                    file=sys.stderr,
                )
    different = compare(results, write=arguments.write)
    # Another release of spin may find another trace of the same length.
    version = subprocess.run(
        ["spin", "-V"], capture_output=True, text=True, check=False
    ).stdout.strip()
    if different and version in PAGE.read_text():
        print(
            f"docs/models/README.md shows other traces: {' '.join(different)}; "
            "to write them: make model ARGS=--write"
        )
    else:
        different = []
    failed = bool(different) or any(result.error for result in results)
    print("make model: FAILED, see above." if failed else "make model: everything passed.")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
