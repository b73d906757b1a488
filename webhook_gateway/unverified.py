"""Requests that could not be checked while the service was away: what is kept of them, until it can be."""

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
    """Whose word a request claims to be. ``token_sha256`` None: it was signed, and the body is not kept."""

    tenant: str
    job_id: str
    token_sha256: bytes | None


class UnverifiedRequests:
    """Keeps of each request the job and the hash of its token, bounded, in all and by address; never a report."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._kept: dict[Unverified, str] = {}
        self._by_address: Counter[str] = Counter()

    def __len__(self) -> int:
        """How many are kept."""
        return len(self._kept)

    def add(self, one: Unverified, address: str) -> bool:
        """Keep one; False if it is kept already, or there is no room."""
        full = len(self._kept) >= MAX_REQUESTS or self._by_address[address] >= MAX_PER_ADDRESS
        if full or one in self._kept:
            return False
        self._kept[one] = address
        self._by_address[address] += 1
        self._metrics.unverified.inc()
        return True

    def take_right(self, verifiers: VerifierList) -> list[Unverified]:
        """Forget all; return those that a current list confirms.

        Of a signed request all that can be said is that its job signs: what it asks for is a read, which harms nothing.
        """
        kept, self._kept = self._kept, {}
        self._by_address.clear()
        return [one for one in kept if _is_right(one, verifiers)]


def _is_right(one: Unverified, verifiers: VerifierList) -> bool:
    found = verifiers.find(one.tenant, one.job_id)
    if one.token_sha256 is None:
        return any(verifier.signing_secret for verifier in found)
    return any(hmac.compare_digest(one.token_sha256, verifier.token_sha256) for verifier in found)
