"""Verification of a webhook's sender: checks tokens and signatures with the verifiers of its job."""

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

MayRead = Callable[[], bool]


@dataclass(frozen=True, slots=True)
class Proof:
    """A verified sender: the request comes from this job."""

    tenant: str
    job_id: str
    key_id: str
    kind: pb.ReportProof = pb.REPORT_PROOF_TOKEN
    delivery_id: str = ""
    out_of_time: bool = False

    @property
    def tenant_name(self) -> str:
        """Return the tenant's name in the API."""
        return f"tenants/{self.tenant}"


@dataclass(frozen=True, slots=True)
class Attempt:
    """A request whose sender is to be verified.

    ``may_read`` is called before a read of changed verifiers; False refuses a sender that the current list does not
    confirm. ``start`` and ``deadline`` are monotonic times.
    """

    tenant: str
    address: str
    may_read: MayRead
    start: float
    deadline: float


class Verifier:
    """Verifies the sender of a request."""

    def __init__(self, verifiers: VerifierList, unverified: UnverifiedRequests) -> None:
        self._verifiers = verifiers
        self._unverified = unverified
        # Compared in place of a missing verifier, so that an unknown job takes as long as a wrong token.
        self._dummy = secrets.token_bytes(32)

    async def verify(self, attempt: Attempt, texts: Iterable[str]) -> Proof:
        """Return the proof by token. Raises ``RefusedError``, the same for a wrong token, an unknown job or tenant."""
        short = [text for text in texts if len(text) <= MAX_TOKEN][:_MAX_TOKENS]
        candidates = [
            (token, tokens.digest(text))
            for text in short
            if (token := tokens.parse(text)) is not None
        ]

        def check() -> Proof | None:
            for token, digest in candidates:
                if self._is_valid(attempt.tenant, token, digest):
                    return Proof(attempt.tenant, token.job_id, token.key_id)
            return None

        claims = [Unverified(attempt.tenant, token.job_id, digest) for token, digest in candidates]
        return await self._prove(attempt, check, claims)

    async def verify_signed(self, attempt: Attempt, signed: Signed, body: bytes) -> Proof:
        """Return the proof by signature. A signature names no key, so each key is tried. Raises ``RefusedError``.

        The proof may be ``out_of_time``: its signature is valid, its timestamp is not.
        """
        claims = [Unverified(attempt.tenant, signed.job_id, None)]
        return await self._prove(attempt, lambda: self._check(attempt.tenant, signed, body), claims)

    async def _prove(
        self, attempt: Attempt, check: Callable[[], Proof | None], claims: Sequence[Unverified]
    ) -> Proof:
        """Check, and if that fails, check again after a read of changes: the job or its key may be new."""
        if (proof := check()) is not None:
            return proof
        is_current = self._verifiers.is_current
        if claims and attempt.may_read():
            rest_s = attempt.deadline - time.monotonic()
            is_current = await self._verifiers.refresh(attempt.start, rest_s)
            if (proof := check()) is not None:
                return proof
        if is_current:
            raise RefusedError(Reason.UNAUTHENTICATED)
        for claim in claims:
            self._unverified.add(claim, attempt.address)
        raise RefusedError(Reason.KEYS_UNAVAILABLE, retry_after=2)

    def _is_valid(self, tenant: str, token: tokens.WebhookToken, digest: bytes) -> bool:
        expected = self._dummy
        for verifier in self._verifiers.find(tenant, token.job_id):
            if verifier.key_id == token.key_id:
                expected = verifier.token_sha256
        return hmac.compare_digest(digest, expected)

    def _check(self, tenant: str, signed: Signed, body: bytes) -> Proof | None:
        secrets_of_job = [
            (one.key_id, one.signing_secret)
            for one in self._verifiers.find(tenant, signed.job_id)
            if one.signing_secret
        ]
        for key_id, secret in secrets_of_job or [("", self._dummy)]:
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
