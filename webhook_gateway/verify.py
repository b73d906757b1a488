"""Who sent a webhook: checks tokens and signatures with the tenants' keys, which the service lends for a while."""

from __future__ import annotations

import asyncio
import base64
import binascii
import secrets
import time
import uuid
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import grpc

from deployment_service.client import webhook_signatures, webhook_tokens
from deployment_service.v1 import gateway_service_pb2 as pb
from webhook_gateway.channel import CallFailedError, ServiceCalls
from webhook_gateway.errors import Reason, RefusedError
from webhook_gateway.logs import log
from webhook_gateway.metrics import Metrics
from webhook_gateway.signatures import Finding, Signed

MAX_TOKEN = 200
# An unknown tenant, and a known tenant's unknown key, are asked for equally often: neither shows.
ASK_AGAIN_AFTER = 5.0
REST_AFTER_FAILURE = 0.2
STALE_PATIENCE = 0.25
MIN_AGE, MAX_AGE = 1.0, 600.0
MAX_TENANTS = 10_000
STRANGERS_AT_ONCE = 8

_UNKNOWN_TENANT = (grpc.StatusCode.NOT_FOUND, grpc.StatusCode.INVALID_ARGUMENT)
# Failures that are every tenant's. Others, slowness above all, may be one's alone, and anyone can invent that one.
_AWAY = (
    None,  # not a gRPC status: the call could not be made, or its answer not be read
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.UNAUTHENTICATED,
    grpc.StatusCode.PERMISSION_DENIED,
)

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


@dataclass(slots=True)
class _Tenant:
    """What the service said of a tenant; without keys if there is no such tenant."""

    expires: float
    asked: float
    fetched: float
    uid: str = ""
    secrets: dict[str, bytes] = field(default_factory=dict)


class KeyCache:
    """Tenants' keys, fetched when needed, once for all who wait for them."""

    def __init__(
        self,
        calls: ServiceCalls,
        metrics: Metrics,
        *,
        stale_for: float,
        timeout: float,
    ) -> None:
        self._calls = calls
        self._metrics = metrics
        self._stale_for = stale_for
        self._timeout = timeout
        # Apart, so that made-up tenants can't push real ones out.
        self._known: OrderedDict[str, _Tenant] = OrderedDict()
        self._unknown: OrderedDict[str, _Tenant] = OrderedDict()
        self._flights: dict[str, asyncio.Task[None]] = {}
        self._strangers = asyncio.Semaphore(STRANGERS_AT_ONCE)
        self._away = False
        self._away_until = 0.0
        # Tenants for whom the last question wasn't answered, and until when they aren't asked for again.
        self._unanswered: OrderedDict[str, float] = OrderedDict()

    def knows(self, tenant: str) -> bool:
        """Whether there is such a tenant for all we know."""
        return tenant in self._known

    def is_unsure(self, tenant: str) -> bool:
        """Whether what is known of a tenant may be out of date, because nobody could be asked."""
        return self._away or tenant in self._unanswered

    async def find(
        self, tenant: str, key_id: str | None, *, may_ask: MayAsk, deadline: float
    ) -> _Tenant | None:
        """Return what is known of a tenant, None if nothing, asking the service where that helps.

        ``key_id`` None: any keys will do that are known.
        ``may_ask`` is called before anybody asks for a tenant that isn't known. Raises RefusedError if
        it can't be found out.
        """
        while True:
            now = time.monotonic()
            entry = self._known.get(tenant) or self._unknown.get(tenant)
            if entry is not None and self._is_enough(entry, key_id, now):
                self._touch(tenant)
                return entry if entry.uid else None
            if (entry is None or not entry.uid) and not may_ask():
                return None
            usable = entry is not None and self._is_usable(entry, now)
            patience = min(deadline - now, STALE_PATIENCE) if usable else deadline - now
            if usable and now < self._rest_until(tenant):
                return entry
            if patience <= 0:
                raise RefusedError(Reason.KEYS_UNAVAILABLE, retry_after=2)
            await self._ask(tenant, patience)
            if usable and self.is_unsure(tenant):
                return entry

    def _is_enough(self, entry: _Tenant, key_id: str | None, now: float) -> bool:
        if now >= entry.expires:
            return False
        known = key_id is None or key_id in entry.secrets
        return not entry.uid or known or now - entry.asked < ASK_AGAIN_AFTER

    def _is_usable(self, entry: _Tenant, now: float) -> bool:
        return bool(entry.uid) and now - entry.fetched < self._stale_for

    def _touch(self, tenant: str) -> None:
        if tenant in self._known:
            self._known.move_to_end(tenant)

    async def _ask(self, tenant: str, patience: float) -> None:
        rest = self._rest_until(tenant) - time.monotonic()
        if rest > 0:
            await asyncio.sleep(min(rest, patience))
            return
        flight = self._flights.get(tenant)
        if flight is None:
            flight = asyncio.create_task(self._fetch(tenant))
            self._flights[tenant] = flight
            flight.add_done_callback(lambda _: self._flights.pop(tenant, None))
        await asyncio.wait([flight], timeout=patience)
        if not flight.done():
            self._note_unanswered(tenant, 0.0)

    def _rest_until(self, tenant: str) -> float:
        return max(self._away_until, self._unanswered.get(tenant, 0.0))

    def _note_unanswered(self, tenant: str, until: float) -> None:
        self._unanswered[tenant] = until
        self._unanswered.move_to_end(tenant)
        if len(self._unanswered) > MAX_TENANTS:
            self._unanswered.popitem(last=False)

    async def _fetch(self, tenant: str) -> None:
        request = pb.GetWebhookKeysRequest(tenant=f"tenants/{tenant}")
        try:
            if tenant in self._known:
                response = await self._call(request)
            else:
                async with self._strangers:
                    response = await self._call(request)
        except CallFailedError as error:
            if error.status in _UNKNOWN_TENANT:
                self._store(tenant, None)
                return
            until = time.monotonic() + REST_AFTER_FAILURE
            self._note_unanswered(tenant, until)
            if error.status in _AWAY:
                self._away, self._away_until = True, until
            log.warning("webhook keys unavailable", tenant=tenant, code=error.name)
        else:
            self._store(tenant, response)

    async def _call(self, request: pb.GetWebhookKeysRequest) -> pb.GetWebhookKeysResponse:
        try:
            response = await self._calls.webhook_keys(request, timeout=self._timeout)
        except CallFailedError as error:
            self._metrics.lookups.labels(error.name).inc()
            raise
        self._metrics.lookups.labels("OK").inc()
        return response

    def _store(self, tenant: str, response: pb.GetWebhookKeysResponse | None) -> None:
        now = time.monotonic()
        self._away = False
        self._unanswered.pop(tenant, None)
        self._known.pop(tenant, None)
        self._unknown.pop(tenant, None)
        if response is None:
            self._unknown[tenant] = _Tenant(now + ASK_AGAIN_AFTER, now, now)
        else:
            age = response.max_age.seconds + response.max_age.nanos / 1e9
            keys = {key.key_id: key.secret for key in response.keys if key.secret}
            expires = now + min(max(age, MIN_AGE), MAX_AGE)
            self._known[tenant] = _Tenant(expires, now, now, response.tenant_uid, keys)
        for cache in (self._known, self._unknown):
            if len(cache) > MAX_TENANTS:
                cache.popitem(last=False)

    async def close(self) -> None:
        """Give up what is still being asked for."""
        flights = list(self._flights.values())
        for flight in flights:
            flight.cancel()
        await asyncio.gather(*flights, return_exceptions=True)


class Verifier:
    """Says whose webhook a request is."""

    def __init__(self, keys: KeyCache) -> None:
        self._keys = keys
        # Stands in for keys that don't exist, so that their lack takes no less work than a wrong token.
        self._dummy_uid = str(uuid.uuid4())
        self._dummy_secret = secrets.token_bytes(32)

    async def verify(
        self, tenant: str, texts: Iterable[str], *, may_ask: MayAsk, deadline: float
    ) -> Proof:
        """Return the proof, or raise RefusedError: the same for a wrong token and an unknown tenant."""
        for text in texts:
            token = webhook_tokens.parse(text) if len(text) <= MAX_TOKEN else None
            if token is None:
                continue
            entry = await self._keys.find(tenant, token.key_id, may_ask=may_ask, deadline=deadline)
            secret = entry.secrets.get(token.key_id) if entry else None
            uid = entry.uid if entry else self._dummy_uid
            proven = webhook_tokens.matches(token, uid, secret or self._dummy_secret)
            if proven and secret is not None:
                return Proof(tenant, token.job_id, token.key_id)
        raise self._not_proven(tenant)

    async def verify_signed(
        self, tenant: str, signed: Signed, body: bytes, *, may_ask: MayAsk, deadline: float
    ) -> Proof:
        """Return the proof, or raise RefusedError, likewise. A signature names no key: each is tried.

        The proof may be ``out_of_time``: then it is the job's word, but not of now.
        """
        # First with the keys that are known; then, now and then, with those that are new.
        for key_id in (None, ""):
            entry = await self._keys.find(tenant, key_id, may_ask=may_ask, deadline=deadline)
            proof = self._check(tenant, entry, signed, body)
            if proof is not None:
                return proof
        raise self._not_proven(tenant)

    def _check(
        self, tenant: str, entry: _Tenant | None, signed: Signed, body: bytes
    ) -> Proof | None:
        uid = entry.uid if entry else self._dummy_uid
        keys = entry.secrets if entry and entry.secrets else {"": self._dummy_secret}
        for key_id, key in keys.items():
            found = signed.check(webhook_signatures.job_secret(uid, signed.job_id, key), body)
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

    def _not_proven(self, tenant: str) -> RefusedError:
        if self._keys.is_unsure(tenant):
            # What is known may be out of date, and saying so only of some tenants would name them.
            return RefusedError(Reason.KEYS_UNAVAILABLE, retry_after=2)
        return RefusedError(Reason.UNAUTHENTICATED)


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
