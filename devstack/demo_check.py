"""The demo's check: compare the events of the stream with the simulator's record of builds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from jenkins_simulator import LedgerBuild

_STATUS_OF_RESULT = {"SUCCESS": "completed", "FAILURE": "failed", "ABORTED": "cancelled"}


@dataclass(frozen=True)
class StreamResult:
    """The last state of a deployment's only run in the stream, and its expected end."""

    slug: str
    run_id: str
    status: str
    build: int
    expected: str


def differences(results: Iterable[StreamResult], builds: Sequence[LedgerBuild]) -> list[str]:
    """Return the differences: each run must have exactly one build, with the number and result in the stream."""
    found = []
    for one in results:
        in_stream = f"{one.slug}: the stream has {one.status}, build {one.build}"
        ours = [
            build for build in builds if build.parameters.get("DEPLOYMENT_RUN_ID") == one.run_id
        ]
        if len(ours) != 1:
            found.append(f"{in_stream}; Jenkins has {len(ours)} builds of its run")
            continue
        result = ours[0].result
        happened = _STATUS_OF_RESULT.get(result or "", f"result {result}")
        if (one.status, one.build) != (happened, ours[0].number):
            found.append(f"{in_stream}; in Jenkins build {ours[0].number} is {happened}")
        elif happened != one.expected:
            found.append(f"{one.slug} ended {happened}; expected {one.expected}")
    return found
