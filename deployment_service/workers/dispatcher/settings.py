"""The numbers of the dispatcher."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class DispatcherSettings:
    """All times are in seconds.

    ``quarantine_s``: how long a request may linger in the network before it reaches Jenkins. ``per_provider`` (about)
    keeps one slow Jenkins from taking all of ``at_once``; ``per_tenant`` keeps several of one tenant from that.
    """

    request_timeout_s: float = 10.0
    send_within_s: float = 5.0
    quarantine_s: float = 30.0
    probe_interval_s: float = 10.0
    lease_s: float = 60.0
    first_retry_s: float = 1.0
    longest_retry_s: float = 10.0
    at_once: int = 128
    per_tenant: int = 64
    per_provider: int = 16

    @property
    def slot_wait_s(self) -> float:
        """How long an attempt waits for a slot of its controller: it must end before its lease does."""
        return min(5.0, self.lease_s / 3)

    @property
    def unclear_s(self) -> float:
        """For how long after its announcement a request may still reach Jenkins."""
        return self.send_within_s + self.request_timeout_s + self.quarantine_s
