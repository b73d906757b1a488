"""Who sent a webhook: checks tokens and signatures with the verifiers of its job."""

from __future__ import annotations

import base64
import binascii
import hmac
import secrets
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from deployment_service.v1 import gateway_service_pb2 as pb
from deployment_service.webhook_auth import tokens
from webhook_gateway.errors import Reason, RefusedError
from webhook_gateway.signatures import Finding, Signed
from webhook_gateway.unverified import Unverified, UnverifiedRequests
from webhook_gateway.verifiers import VerifierList

MAX_TOKEN = 200
# Two in the query of a URL, one in its path, one as password.
_MAX_TOKENS = 4

MayAsk = Callable[[], bool]


@dataclass(frozen=True, slots=True)
class Proof:
    """A sender who has been verified: what it says is this job's word."""

    tenant: str
    job_id: str
    key_id: str
    kind: pb.ReportProof = pb.REPORT_PROOF_TOKEN
    delivery_id: str = ""
    out_of_time: bool = False

    @property
    def tenant_name(self) -> str:
        """The tenant's name in the API."""
        return f"tenants/{self.tenant}"


@dataclass(frozen=True, slots=True)
class Attempt:
    """A request whose sender is to be verified.

    ``may_ask`` is called before anything is waited for: False refuses what is not known already. ``start`` and
    ``deadline`` are monotonic times.
    """

    tenant: str
    address: str
    may_ask: MayAsk
    start: float
    deadline: float


class Verifier:
    """Says whose webhook a request is."""

    def __init__(self, verifiers: VerifierList, unverified: UnverifiedRequests) -> None:
        self._verifiers = verifiers
        self._unverified = unverified
        # Stands in for what does not exist, so that its lack takes no less work than a wrong proof.
        self._dummy = secrets.token_bytes(32)

    async def verify(self, attempt: Attempt, texts: Iterable[str]) -> Proof:
        """Return the proof by token, or raise RefusedError: the same for a wrong one, an unknown job, no tenant."""
        short = [text for text in texts if len(text) <= MAX_TOKEN][:_MAX_TOKENS]
        given = [
            (token, tokens.digest(text))
            for text in short
            if (token := tokens.parse(text)) is not None
        ]

        def check() -> Proof | None:
            for token, digest in given:
                if self._is_right(attempt.tenant, token, digest):
                    return Proof(attempt.tenant, token.job_id, token.key_id)
            return None

        kept = [Unverified(attempt.tenant, token.job_id, digest) for token, digest in given]
        return await self._prove(attempt, check, kept)

    async def verify_signed(self, attempt: Attempt, signed: Signed, body: bytes) -> Proof:
        """Return the proof by signature, or raise RefusedError, likewise. A signature names no key: each is tried.

        The proof may be ``out_of_time``: then it is the job's word, but not of now.
        """
        kept = [Unverified(attempt.tenant, signed.job_id, None)]
        return await self._prove(attempt, lambda: self._check(attempt.tenant, signed, body), kept)

    async def _prove(
        self, attempt: Attempt, check: Callable[[], Proof | None], kept: Sequence[Unverified]
    ) -> Proof:
        """Check, and if that fails once more with all changes until now: the job or its key may be new."""
        if (proof := check()) is not None:
            return proof
        is_current = self._verifiers.is_current
        if kept and attempt.may_ask():
            rest_s = attempt.deadline - time.monotonic()
            is_current = await self._verifiers.refresh(attempt.start, rest_s)
            if (proof := check()) is not None:
                return proof
        if is_current:
            raise RefusedError(Reason.UNAUTHENTICATED)
        for one in kept:
            self._unverified.add(one, attempt.address)
        raise RefusedError(Reason.KEYS_UNAVAILABLE, retry_after=2)

    def _is_right(self, tenant: str, token: tokens.WebhookToken, digest: bytes) -> bool:
        expected = self._dummy
        for verifier in self._verifiers.find(tenant, token.job_id):
            if verifier.key_id == token.key_id:
                expected = verifier.token_sha256
        return hmac.compare_digest(digest, expected)

    def _check(self, tenant: str, signed: Signed, body: bytes) -> Proof | None:
        known = [
            (one.key_id, one.signing_secret)
            for one in self._verifiers.find(tenant, signed.job_id)
            if one.signing_secret
        ]
        for key_id, secret in known or [("", self._dummy)]:
            found = signed.check(secret, body)
            if key_id and found is not Finding.WRONG:
                return Proof(
                    tenant,
                    signed.job_id,
                    key_id,
                    pb.REPORT_PROOF_SIGNATURE,
                    signed.name(body),
                    out_of_time=found is Finding.OUT_OF_TIME,
                )
        return None


def basic_password(header: str | None) -> str | None:
    """Return the password of an Authorization header, as from https://user:password@host/."""
    scheme, _, encoded = (header or "").partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        text = base64.b64decode(encoded.strip(), validate=True).decode()
    except (binascii.Error, ValueError):
        return None
    _, colon, password = text.partition(":")
    return password if colon else None
