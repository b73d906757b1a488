"""Post-build steps: archived artifacts and JUnit results."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

from jenkins_simulator.core.model import Build, Result


def publish(build: Build, workspace: Path) -> Result:
    """Collect what the job's configuration names; failed tests make the build unstable."""
    config = build.job.config
    if config.artifacts:
        found = _glob(workspace, config.artifacts)
        build.artifacts = [str(path.relative_to(workspace)) for path in found]
        build.console.line("Archiving artifacts")
    if not config.junit:
        return Result.SUCCESS
    build.console.line("Recording test results")
    counts = {"total": 0, "failed": 0, "passed": 0, "skipped": 0}
    failed_tests: list[str] = []
    for path in _glob(workspace, config.junit):
        for case in ElementTree.parse(path).iter("testcase"):
            outcome = _outcome(case)
            counts["total"] += 1
            counts[outcome] += 1
            if outcome == "failed":
                failed_tests.append(f"{case.get('classname')}.{case.get('name')}")
    build.test_summary = {**counts, "failed_tests": failed_tests}
    return Result.UNSTABLE if failed_tests else Result.SUCCESS


def _glob(workspace: Path, patterns: str) -> list[Path]:
    found = {p for one in patterns.split(",") for p in workspace.glob(one.strip()) if p.is_file()}
    return sorted(found)


def _outcome(case: ElementTree.Element) -> str:
    if case.find("failure") is not None or case.find("error") is not None:
        return "failed"
    return "skipped" if case.find("skipped") is not None else "passed"
