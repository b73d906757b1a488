"""Verification of senders by token or signature, within the rate limits of their address."""

from __future__ import annotations

import asyncio
import contextlib
import time

from aiohttp import web
from limits import parse

from webhook_gateway import signatures, unmatched
from webhook_gateway.config import Settings
from webhook_gateway.errors import Reason, RefusedError
from webhook_gateway.limits import RateLimit, client_address
from webhook_gateway.verify import Attempt, Proof, Verifier, basic_password

# Rate of reads of changed verifiers that one address with too many failed proofs may cause.
_READS_OF_BLOCKED = parse("10/second")


class Senders:
    """Verifies senders, and counts the failed proofs of each address."""

    def __init__(self, verifier: Verifier, settings: Settings) -> None:
        self._verifier = verifier
        self._settings = settings
        self._failed_proofs = RateLimit(settings.failed_proofs)
        self._reads_of_blocked = RateLimit(_READS_OF_BLOCKED)

    def address(self, request: web.Request) -> str:
        """Return the client address by which limits count a request."""
        forwarded = request.headers.getall("X-Forwarded-For", [])
        return client_address(request.remote, forwarded, self._settings.trusted_proxies)

    async def prove(
        self, request: web.Request, start: float, signed_body: bytes | None = None
    ) -> Proof:
        """Return the verified sender of a request, by its signature if it has one, else by its token.

        A valid proof is accepted also from an address with too many failed proofs: other senders may share the
        address, and a refused report is lost. Only the reads of changed verifiers are limited for such an address.

        Raises: ``RefusedError``.
        """
        address = self.address(request)
        blocked = not self._failed_proofs.allows(address)
        attempt = self._attempt(request.match_info["tenant"], address, blocked, start)
        try:
            if signed_body is None:
                return await self._verifier.verify(attempt, _tokens(request))
            signed = signatures.parse(request)
            if signed is None:
                raise RefusedError(Reason.UNAUTHENTICATED)
            return await self._verifier.verify_signed(attempt, signed, signed_body)
        except RefusedError as failure:
            refusal = failure
            # Count it also if the verifiers were unavailable: unknown jobs share the limit of failed proofs.
            self._failed_proofs.hit(address)
            if blocked:
                refusal = RefusedError(
                    Reason.TOO_MANY_FAILED_PROOFS,
                    retry_after=self._failed_proofs.retry_after(address),
                )
            await self._delay_failure(start)
            raise refusal from None

    async def prove_unmatched(self, request: web.Request) -> Proof | None:
        """Return the sender of a request without a route, if the request contains a valid token."""
        password = basic_password(request.headers.get("Authorization"))
        texts = unmatched.candidate_tokens(request, password)
        if not texts:
            return None
        address = self.address(request)
        start = time.monotonic()
        blocked = not self._failed_proofs.allows(address)
        tenants = unmatched.tenants(request)
        for tenant in tenants:
            attempt = self._attempt(tenant, address, blocked, start)
            with contextlib.suppress(RefusedError):
                return await self._verifier.verify(attempt, texts)
        if tenants:
            self._failed_proofs.hit(address)
        await self._delay_failure(start)
        return None

    def _attempt(self, tenant: str, address: str, blocked: bool, start: float) -> Attempt:
        def may_read() -> bool:
            return not blocked or self._reads_of_blocked.hit(address)

        return Attempt(tenant, address, may_read, start, start + self._settings.answer_timeout)

    async def _delay_failure(self, start: float) -> None:
        rest = start + self._settings.failed_proof_delay - time.monotonic()
        await asyncio.sleep(max(0.0, rest))


def _tokens(request: web.Request) -> list[str]:
    """Return the candidates for the token: from the query, the path and the Basic password."""
    texts = request.query.getall("token", [])[:1]
    texts.append(request.match_info.get("token", ""))
    texts.append(basic_password(request.headers.get("Authorization")) or "")
    return [text for text in texts if text]
