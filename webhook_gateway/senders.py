"""Who sent a request: proven by token or signature, within the limits of its address."""

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

# Readings of changes that one address with too many failed proofs may cause.
_ASKS_OF_BLOCKED = parse("10/second")


class Senders:
    """Proves senders, and counts the failed proofs of each address."""

    def __init__(self, verifier: Verifier, settings: Settings) -> None:
        self._verifier = verifier
        self._settings = settings
        self._failed_proofs = RateLimit(settings.failed_proofs)
        self._asks_of_blocked = RateLimit(_ASKS_OF_BLOCKED)

    def address(self, request: web.Request) -> str:
        """Return the address that limits count a request by."""
        forwarded = request.headers.getall("X-Forwarded-For", [])
        return client_address(request.remote, forwarded, self._settings.trusted_proxies)

    async def prove(
        self, request: web.Request, start: float, signed_body: bytes | None = None
    ) -> Proof:
        """Return who sent the request: proven by its signature if it has one, else by its token.

        An address with too many failed proofs is still let in with a proof that the list of verifiers confirms, though
        it may but seldom have changes read for one that isn't in the list yet: others may stand behind the same
        address, and a refused report is a lost one.
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
            # Also what could not be checked: jobs that are not known share the strangers' limits.
            self._failed_proofs.hit(address)
            if blocked:
                refusal = RefusedError(
                    Reason.TOO_MANY_FAILED_PROOFS,
                    retry_after=self._failed_proofs.retry_after(address),
                )
            await self._delay_failure(start)
            raise refusal from None

    async def prove_unmatched(self, request: web.Request) -> Proof | None:
        """Return whose valid token is in a request that no route takes."""
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
        def may_ask() -> bool:
            return not blocked or self._asks_of_blocked.hit(address)

        return Attempt(tenant, address, may_ask, start, start + self._settings.answer_timeout)

    async def _delay_failure(self, start: float) -> None:
        rest = start + self._settings.failed_proof_delay - time.monotonic()
        await asyncio.sleep(max(0.0, rest))


def _tokens(request: web.Request) -> list[str]:
    """Return what might be the proof: the query's token, the path's, the Basic password."""
    texts = request.query.getall("token", [])[:1]
    texts.append(request.match_info.get("token", ""))
    texts.append(basic_password(request.headers.get("Authorization")) or "")
    return [text for text in texts if text]
