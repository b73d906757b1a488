"""Build and queue numbers of a recording and of the simulator, compared relative to each other.

The absolute numbers depend on what ran before. What must be alike: equal numbers stay equal, different
ones different, and a larger number stays larger.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

_BUILD_URL = re.compile(r"((?:job/[^/]+/)+)(\d+)/")
_ITEM_URL = re.compile(r"queue/item/(\d+)/")
_QUEUE_KEYS = ("queueId", "queue_id")


@dataclass
class Numbers:
    """Pairs of recorded and simulated numbers, by what they number: the queue, or a job's builds."""

    pairs: dict[str, dict[int, int]] = field(default_factory=dict)
    _first: dict[str, int] = field(default_factory=dict)

    def simulated(self, kind: str, recorded: int) -> int | None:
        """The simulated number that stands for a recorded one, if it is known."""
        return self.pairs.get(kind, {}).get(recorded)

    def restart(self) -> None:
        """Begin a new numbering of the queue, as a hard kill does."""
        self.pairs.pop("queue", None)

    def add(self, kind: str, recorded: int, simulated: int) -> list[str]:
        """Note a pair, and return how it contradicts the others."""
        known = self.pairs.setdefault(kind, {})
        if recorded in known:
            if known[recorded] == simulated:
                return []
            return [f"{kind}: {recorded} was {known[recorded]}, now {simulated}"]
        found = [
            f"{kind}: {recorded} is {simulated}, but {other} is {known[other]}"
            for other in known
            if (other < recorded) is not (known[other] < simulated)
        ]
        known[recorded] = simulated
        return found

    def compare_json(self, recorded: Any, simulated: Any, job: str = "") -> list[str]:
        """Compare every number in two JSON values of the same shape."""
        if isinstance(recorded, list) and isinstance(simulated, list):
            pairs = zip(recorded, simulated, strict=False)
            return [line for one in pairs for line in self.compare_json(*one, job)]
        if not (isinstance(recorded, dict) and isinstance(simulated, dict)):
            return []
        job = _job_of(recorded) or job
        found = []
        for key in recorded.keys() & simulated.keys():
            first, second = recorded[key], simulated[key]
            kind = _kind(key, recorded, job)
            if kind is not None and isinstance(first, int) and isinstance(second, int):
                found += self.add(kind, first, second)
            elif isinstance(first, str) and isinstance(second, str):
                found += self.compare_text(first, second)
            else:
                found += self.compare_json(first, second, job)
        return found

    def compare_text(self, recorded: str, simulated: str) -> list[str]:
        """Compare the numbers in URLs."""
        found = []
        for pattern in (_ITEM_URL, _BUILD_URL):
            first, second = pattern.findall(recorded), pattern.findall(simulated)
            for one, other in zip(first, second, strict=False):
                if isinstance(one, str):
                    found += self.add("queue", int(one), int(other))
                else:
                    found += self.add(one[0], int(one[1]), int(other[1]))
        return found


def _kind(key: str, holder: dict[str, Any], job: str) -> str | None:
    if key in _QUEUE_KEYS:
        return "queue"
    if key == "id" and "hudson.model.Queue$" in str(holder.get("_class", "")):
        return "queue"
    if key in ("number", "nextBuildNumber") and job:
        return job
    return None


def _job_of(holder: dict[str, Any]) -> str:
    """The job that an object belongs to, as its own URL says."""
    for key in ("full_url", "url"):
        url = str(holder.get(key, ""))
        found = re.search(r"(?:job/[^/]+/)+", url)
        if found is not None:
            return found.group(0)
    return ""
