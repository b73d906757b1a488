"""When the posts of a build arrive, compared within bounds.

How long a build runs is the story's choice. What must be alike is the time between posts that belong
together: STARTED follows QUEUED, FINALIZED follows COMPLETED, and a retry follows its failure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

# A real Jenkins needs some milliseconds between COMPLETED and FINALIZED, even if the receiver needs none.
_SHORTEST_FINAL_S = 0.004
# What a busy machine may add.
_SLACK_S = 2.0


@dataclass(frozen=True)
class Post:
    """The arrival of one post."""

    build: str
    phase: str
    at_s: float


def timing_differences(
    recorded: Sequence[Post], simulated: Sequence[Post], *, first_build_s: float
) -> list[str]:
    """Return where gaps between posts that belong together are out of bounds, one line each."""
    if [post.phase for post in recorded] != [post.phase for post in simulated]:
        return ["other posts"]
    found = []
    pairs = zip(recorded, recorded[1:], simulated, simulated[1:], strict=False)
    for before, after, first, second in pairs:
        if not _belong_together(before, after):
            continue
        expected, actual = after.at_s - before.at_s, second.at_s - first.at_s
        name = f"{after.build} {before.phase} to {after.phase}"
        if after.phase == "FINALIZED" and before.phase == "COMPLETED":
            if actual < _SHORTEST_FINAL_S:
                found.append(f"{name}: {actual:.4f} s is too short")
            # Half a second after its start, at times: the rest of that belongs to the build.
            expected = max(expected, first_build_s)
        if actual > expected + _SLACK_S:
            found.append(f"{name}: recorded {expected:.3f} s, took {actual:.3f} s")
    return found


def _belong_together(before: Post, after: Post) -> bool:
    """Whether the build's script does not run between the two."""
    return before.build == after.build and after.phase in (before.phase, "STARTED", "FINALIZED")
