"""Who sent a request: proven by token or signature, within the limits of its address."""

from __future__ import annotations

import asyncio
import time

from aiohttp import web
from limits import parse

from webhook_gateway import signatures, unmatched
from webhook_gateway.config import Settings
from webhook_gateway.errors import Reason, RefusedError
from webhook_gateway.limits import RateLimit, client_address
from webhook_gateway.verify import KeyCache, Proof, Verifier, basic_password

# For tenants that aren't known yet, by one address with too many failed proofs.
_ASKS_OF_BLOCKED = parse("10/second")


class Senders:
    """Proves senders, and counts the failed proofs of each address."""

    def __init__(self, keys: KeyCache, settings: Settings) -> None:
        self._keys = keys
        self._verifier = Verifier(keys)
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

        An address with too many failed proofs is still let in with a token that the keys confirm, though
        it may ask but seldom for tenants that aren't known yet: others may stand behind the same address,
        and a refused report is a lost one.
        """
        address = self.address(request)
        blocked = not self._failed_proofs.allows(address)

        def may_ask() -> bool:
            return not blocked or self._asks_of_blocked.hit(address)

        tenant = request.match_info["tenant"]
        try:
            deadline = start + self._settings.answer_timeout
            if signed_body is None:
                return await self._verifier.verify(
                    tenant, _tokens(request), may_ask=may_ask, deadline=deadline
                )
            signed = signatures.parse(request)
            if signed is None:
                raise RefusedError(Reason.UNAUTHENTICATED)
            return await self._verifier.verify_signed(
                tenant, signed, signed_body, may_ask=may_ask, deadline=deadline
            )
        except RefusedError as failure:
            refusal = failure
            # Also what made us ask in vain for a tenant that may be invented: it costs more than a wrong token.
            if failure.reason is Reason.UNAUTHENTICATED or not self._keys.knows(tenant):
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
        texts = unmatched.tokens(request, password)
        if not texts:
            return None
        address = self.address(request)
        start = time.monotonic()
        blocked = not self._failed_proofs.allows(address)
        deadline = start + self._settings.answer_timeout
        refuted = False
        for tenant in unmatched.tenants(request):
            try:
                return await self._verifier.verify(
                    tenant,
                    texts,
                    may_ask=lambda: not blocked or self._asks_of_blocked.hit(address),
                    deadline=deadline,
                )
            except RefusedError as failure:
                refuted |= failure.reason is Reason.UNAUTHENTICATED or not self._keys.knows(tenant)
        if refuted:
            self._failed_proofs.hit(address)
        await self._delay_failure(start)
        return None

    async def _delay_failure(self, start: float) -> None:
        rest = start + self._settings.failed_proof_delay - time.monotonic()
        await asyncio.sleep(max(0.0, rest))


def _tokens(request: web.Request) -> list[str]:
    """Return what might be the proof: the query's token, the path's, the Basic password."""
    texts = request.query.getall("token", [])[:1]
    texts.append(request.match_info.get("token", ""))
    texts.append(basic_password(request.headers.get("Authorization")) or "")
    return [text for text in texts if text]
