"""Metrics of unsettled runs: how many there are, and how long the longest observation problem has lasted.

Every replica exports the same numbers of the whole database. Labels are reasons: no tenant.
"""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Gauge

from deployment_service.domain.problems import ProblemReason
from deployment_service.storage.database.pool import Database
from deployment_service.storage.runs import unsettled
from deployment_service.workers.loop import Loop

NO_PROBLEM = "NONE"
OTHER = "OTHER"
"""Reasons that a newer replica has stored."""
REASONS = (NO_PROBLEM, *ProblemReason, OTHER)


class UnsettledRuns:
    """Reads the numbers every ``every_s`` seconds. While the database is unavailable there are none."""

    def __init__(
        self, database: Database, registry: CollectorRegistry, *, every_s: float = 15.0
    ) -> None:
        self._database = database
        self._runs = Gauge(
            "unsettled_runs",
            "Runs whose end is not settled, by the reason of their observation problem; NONE: they have none.",
            ["reason"],
            registry=registry,
        )
        self._seconds = Gauge(
            "unsettled_run_seconds",
            "For how long the observation problem of an unsettled run has lasted, of the longest. NONE: since the run "
            "without a problem was last read, or since its end was reported.",
            ["reason"],
            registry=registry,
        )
        self._loop = Loop("unsettled-runs", self.read, every_s=every_s)

    async def start(self) -> None:
        self._loop.start()

    async def stop(self) -> None:
        await self._loop.stop()

    async def read(self) -> None:
        """Read the numbers once. Raises what the database raises."""
        try:
            async with self._database.acquire() as connection:
                found = await unsettled.by_reason(connection)
        except Exception:
            # Old numbers would hide that the database cannot be read.
            self._runs.clear()
            self._seconds.clear()
            raise
        totals = {str(reason): (0, 0.0) for reason in REASONS}
        for reason, (runs, seconds) in found.items():
            key = reason if reason in totals else OTHER
            totals[key] = (totals[key][0] + runs, max(totals[key][1], seconds))
        for reason, (runs, seconds) in totals.items():
            self._runs.labels(reason).set(runs)
            self._seconds.labels(reason).set(seconds)
