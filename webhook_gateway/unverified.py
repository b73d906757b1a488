"""Requests that could not be verified while the service was unavailable, kept for refresh requests."""

from __future__ import annotations

import hmac
from collections import Counter
from dataclasses import dataclass

from webhook_gateway.metrics import Metrics
from webhook_gateway.verifiers import VerifierList

MAX_REQUESTS = 10_000
MAX_PER_ADDRESS = 1_000


@dataclass(frozen=True, slots=True)
class Unverified:
    """The job that a request claims to come from. ``token_sha256`` None: it was signed, and the body is not kept."""

    tenant: str
    job_id: str
    token_sha256: bytes | None


class UnverifiedRequests:
    """Stores the job and the token's hash of each request, never a report. Bounded in total and for each address."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._requests: dict[Unverified, str] = {}
        self._by_address: Counter[str] = Counter()

    def __len__(self) -> int:
        """Return the number of stored requests."""
        return len(self._requests)

    def add(self, one: Unverified, address: str) -> bool:
        """Store one; return False if it is stored already, or a limit is reached."""
        full = len(self._requests) >= MAX_REQUESTS or self._by_address[address] >= MAX_PER_ADDRESS
        if full or one in self._requests:
            return False
        self._requests[one] = address
        self._by_address[address] += 1
        self._metrics.unverified.inc()
        return True

    def take_verified(self, verifiers: VerifierList) -> list[Unverified]:
        """Remove all; return those that the current verifiers confirm.

        A signed request counts as confirmed if its job has a signing secret: its only effect is a harmless read.
        """
        requests, self._requests = self._requests, {}
        self._by_address.clear()
        return [one for one in requests if _is_verified(one, verifiers)]


def _is_verified(one: Unverified, verifiers: VerifierList) -> bool:
    found = verifiers.find(one.tenant, one.job_id)
    if one.token_sha256 is None:
        return any(verifier.signing_secret for verifier in found)
    return any(hmac.compare_digest(one.token_sha256, verifier.token_sha256) for verifier in found)
