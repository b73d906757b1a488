"""Whether a job in Jenkins is the one that a deployment had made. Pure.

A job is only deleted or rewritten if it bears our full name and two of three signs: the mark in its description,
the description of our parameter, our webhook endpoint. People edit descriptions, and Jenkinsfiles rewrite
parameters; one sign alone can be copied with a text.
"""

from __future__ import annotations

from dataclasses import dataclass

ENOUGH = 2


@dataclass(frozen=True, slots=True)
class Signs:
    """What a job shows of its owner. None: it couldn't be read."""

    mark: bool
    parameter: bool
    endpoint: bool | None = None

    @property
    def count(self) -> int:
        """How many signs are there."""
        return self.mark + self.parameter + (self.endpoint is True)

    @property
    def is_ours(self) -> bool:
        """Whether the job may be deleted or rewritten."""
        return self.count >= ENOUGH

    @property
    def endpoint_decides(self) -> bool:
        """Whether reading the endpoint, which takes more rights than the rest, can make a difference."""
        return self.endpoint is None and self.count == ENOUGH - 1
