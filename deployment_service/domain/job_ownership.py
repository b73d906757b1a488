"""Ownership: whether a job in Jenkins is the one that the service created for a deployment. Pure.

A job is deleted or rewritten only if it has our full name and two of three signs: the mark in its description,
the description of our parameter, our webhook endpoint. Two, because people edit descriptions and Jenkinsfiles rewrite
parameters. One sign alone is not enough, because it can be copied as text.
"""

from __future__ import annotations

from dataclasses import dataclass

REQUIRED_SIGNS = 2


@dataclass(frozen=True, slots=True)
class Signs:
    """The signs of ownership that a job has. ``endpoint`` is None if it could not be read."""

    mark: bool
    parameter: bool
    endpoint: bool | None = None

    @property
    def count(self) -> int:
        """Return how many signs the job has."""
        return self.mark + self.parameter + (self.endpoint is True)

    @property
    def is_ours(self) -> bool:
        """Return whether the job may be deleted or rewritten."""
        return self.count >= REQUIRED_SIGNS

    @property
    def endpoint_decides(self) -> bool:
        """Return whether reading the endpoint can change the answer. It needs more permissions than the other signs."""
        return self.endpoint is None and self.count == REQUIRED_SIGNS - 1
