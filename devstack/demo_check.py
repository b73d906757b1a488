"""The demo's verdict: what the stream said against what Jenkins' ledger says happened."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from jenkins_simulator import LedgerBuild

_STATUS_OF_RESULT = {"SUCCESS": "completed", "FAILURE": "failed", "ABORTED": "cancelled"}


@dataclass(frozen=True)
class Told:
    """The stream's last word on a deployment's only run, and how the run was meant to end."""

    slug: str
    run_id: str
    status: str
    build: int
    meant: str


def differences(told: Iterable[Told], builds: Sequence[LedgerBuild]) -> list[str]:
    """For each run there must be exactly one build, and its number and result must be as told."""
    found = []
    for one in told:
        said = f"{one.slug}: the stream says {one.status}, build {one.build}"
        ours = [
            build for build in builds if build.parameters.get("DEPLOYMENT_RUN_ID") == one.run_id
        ]
        if len(ours) != 1:
            found.append(f"{said}; Jenkins made {len(ours)} builds of its run")
            continue
        result = ours[0].result
        happened = _STATUS_OF_RESULT.get(result or "", f"result {result}")
        if (one.status, one.build) != (happened, ours[0].number):
            found.append(f"{said}; in Jenkins build {ours[0].number} is {happened}")
        elif happened != one.meant:
            found.append(f"{one.slug} ended {happened}; it was meant to end {one.meant}")
    return found
