"""Conditions around a Jenkins that last until they are changed: plugins, replicas, seed jobs."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from jenkins_simulator.core.model import Result


@dataclass(frozen=True)
class SeedJob:
    """A seed job that writes this `config_xml` over `job` every `every_s` seconds.

    It creates the job if it is missing, as Job DSL does.
    """

    job: str
    config_xml: str
    every_s: float = 2.0


@dataclass(frozen=True)
class Conditions:
    """What happens around this Jenkins; the defaults are a single controller with nothing unusual.

    `retry_times`: a retry plugin starts a build again, at most so often, when it ends with one of
    `retry_results`: with the same parameters and the same causes, `retry_after_s` later.
    `first_queue_id`: the lowest queue id. Controllers of some vendors hand out 64-bit ids.
    `sessions`: the number of replicas behind one address; their answers alternate in X-Jenkins-Session.
    `seed_jobs`: jobs that a seed job overwrites.
    `resume_with_new_queue_id`: a Pipeline that resumes after a restart gets another queue id, as it
    does on every Jenkins that was recorded.
    `record_gone_at`: the phase (COMPLETED or FINALIZED) at which the record of an ended build is
    deleted, before the notification of that phase is sent. None leaves it to the job's discarder.
    """

    retry_times: int = 0
    retry_after_s: float = 0.0
    retry_results: frozenset[Result] = frozenset({Result.FAILURE})
    first_queue_id: int = 1
    sessions: int = 1
    seed_jobs: tuple[SeedJob, ...] = ()
    resume_with_new_queue_id: bool = True
    record_gone_at: str | None = None

    def __post_init__(self) -> None:
        if self.record_gone_at not in (None, "COMPLETED", "FINALIZED"):
            raise ValueError(f"record_gone_at: {self.record_gone_at!r}")
        if self.sessions < 1 or self.first_queue_id < 1:
            raise ValueError("sessions and first_queue_id start at 1")

    def changed(self, changes: Mapping[str, Any]) -> Conditions:
        """Return these conditions with changes, whose values may be of JSON's types."""
        values = dict(changes)
        if "retry_results" in values:
            values["retry_results"] = frozenset(
                one if isinstance(one, Result) else Result[one] for one in values["retry_results"]
            )
        if "seed_jobs" in values:
            values["seed_jobs"] = tuple(
                one if isinstance(one, SeedJob) else SeedJob(**one) for one in values["seed_jobs"]
            )
        return dataclasses.replace(self, **values)

    def as_json(self) -> dict[str, Any]:
        """Return the conditions as JSON types."""
        shown = dataclasses.asdict(self)
        shown["retry_results"] = sorted(result.name for result in self.retry_results)
        return shown
