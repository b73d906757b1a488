"""How long builds are expected to take."""

from __future__ import annotations

from jenkins_simulator.core.model import Job, Result

_ESTIMATED_FROM = 6


def estimated_duration_ms(job: Job) -> int:
    """Return the mean of three builds: successful ones, then failed ones; aborted builds do not count."""
    finished = [b for b in job.builds_newest_first() if not b.building]
    good = [b for b in finished if b.result in (Result.SUCCESS, Result.UNSTABLE)]
    # Jenkins loads no more than six builds, but keeps the last good one at hand.
    recent = job.builds_newest_first()[:_ESTIMATED_FROM]
    failed = [b for b in recent if not b.building and b.result is Result.FAILURE]
    candidates = [*good[:1], *(b for b in good[1:] if b in recent), *failed][:3]
    total_ms = sum(build.duration_ms for build in candidates)
    return round(total_ms / len(candidates)) if total_ms else -1
