"""The one place where a key is checked and a request is let through, by the table in ``policy.py``."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import uuid
from collections import OrderedDict
from collections.abc import AsyncIterator
from typing import Any

from google.protobuf.message import Message

from deployment_service.actions import api_keys
from deployment_service.api import calls, validation
from deployment_service.api.calls import Call
from deployment_service.api.intake import Slots, decode, is_large, receive
from deployment_service.api.interceptors import Context, Parse
from deployment_service.api.peers import PeerLimits, peer_address
from deployment_service.api.policy import (
    POLICIES,
    AllTenants,
    ManyTenants,
    OneTenant,
    OptionalTenant,
    OwnThings,
    Policy,
    Scope,
)
from deployment_service.api.rates import CallRates
from deployment_service.domain.access import Caller, Role, TenantRef
from deployment_service.domain.errors import (
    NotFound,
    PermissionDenied,
    Unauthenticated,
)
from deployment_service.runtime.logs import log
from deployment_service.runtime.single_flight import SingleFlight
from deployment_service.storage import api_keys as api_key_rows
from deployment_service.storage import tenants
from deployment_service.storage.database.pool import Database

_MAX_CACHED = 10_000


class Keys:
    """Authenticates callers by API key. Caches valid keys for a short time, and ends the streams of revoked keys."""

    def __init__(
        self, database: Database, peers: PeerLimits, cache_s: float, *, recheck_s: float = 2.0
    ) -> None:
        self._database = database
        self._peers = peers
        self._cache_s = cache_s
        self._recheck_s = recheck_s
        self._cache: OrderedDict[bytes, tuple[Caller, float]] = OrderedDict()
        self._flights: SingleFlight[bytes, Caller | None] = SingleFlight()
        self._streams: dict[uuid.UUID, set[asyncio.Timeout]] = {}
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Start checking the keys of open streams."""
        self._task = asyncio.create_task(self._recheck())

    async def stop(self) -> None:
        """Stop checking them."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def caller(self, context: Context, address: str) -> Caller:
        """Return the caller from the metadata ``authorization``.

        Raises: ``Unauthenticated``, after a delay; ``ResourceExhausted`` for too many invalid keys from the address.
        """
        try:
            secret = _bearer(context)
            digest = hashlib.sha256(secret.encode()).digest()
            cached = self._cache.get(digest)
            if cached is not None and asyncio.get_running_loop().time() < cached[1]:
                return cached[0]
            return await self._look_up(secret, digest, address)
        except Unauthenticated:
            await self._peers.delay_refusal(address)
            raise

    async def _look_up(self, secret: str, digest: bytes, address: str) -> Caller:
        """Return the key's caller. Single flight for each key; known keys do not wait for lookups of unknown ones."""
        flight = self._flights.task(digest, lambda: self._fetch(secret, digest, address))
        # Shielded: the call that started it may be cancelled while others share it.
        caller = await asyncio.shield(flight)
        if caller is None:
            raise _invalid_key()
        return caller

    async def _fetch(self, secret: str, digest: bytes, address: str) -> Caller | None:
        if digest in self._cache:
            caller = await api_keys.find_caller(self._database, secret)
        else:
            async with self._peers.unproven(address):
                caller = await api_keys.find_caller(self._database, secret)
        self._cache.pop(digest, None)
        if caller is not None:
            until = asyncio.get_running_loop().time() + self._cache_s
            self._cache[digest] = (caller, until)
            if len(self._cache) > _MAX_CACHED:
                self._cache.popitem(last=False)
        return caller

    @contextlib.asynccontextmanager
    async def while_valid(self, caller: Caller) -> AsyncIterator[None]:
        """Raise ``Unauthenticated`` inside the block once the caller's key is found to be revoked."""
        timeout = asyncio.timeout(None)
        streams = self._streams.setdefault(caller.key_id, set())
        streams.add(timeout)
        try:
            async with timeout:
                yield
        except TimeoutError:
            if timeout.expired():
                raise _invalid_key() from None
            raise
        finally:
            streams.discard(timeout)
            if not streams and self._streams.get(caller.key_id) is streams:
                del self._streams[caller.key_id]

    async def _recheck(self) -> None:
        """Check the keys of all open streams of the replica periodically, with one query."""
        while True:
            await asyncio.sleep(self._recheck_s)
            key_ids = set(self._streams)
            if not key_ids:
                continue
            try:
                async with self._database.acquire() as connection:
                    valid = await api_key_rows.valid_of(connection, key_ids)
            except Exception as error:
                # Streams continue while the database is unavailable: a watch must survive that.
                log.info("api_keys.not_rechecked", error=type(error).__name__)
                continue
            now = asyncio.get_running_loop().time()
            for key_id in key_ids - valid:
                for timeout in self._streams.get(key_id, ()):
                    timeout.reschedule(now)


def _bearer(context: Context) -> str:
    values = [
        value
        for key, value in context.invocation_metadata() or ()
        if key == "authorization" and isinstance(value, str)
    ]
    if not values:
        raise Unauthenticated(
            "API_KEY_MISSING", "Send the metadata 'authorization: Bearer <api key>'."
        )
    scheme, _, secret = values[0].partition(" ")
    if len(values) > 1 or scheme.lower() != "bearer":
        raise _invalid_key()
    return secret.strip()


def _invalid_key() -> Unauthenticated:
    return Unauthenticated(
        "API_KEY_INVALID", "The API key is not valid: mistyped, revoked or of another installation."
    )


class Auth:
    """Lets a call through if its key may make it, and its request is one.

    What the key alone decides comes first: until then not a byte of the message is received.
    """

    def __init__(self, keys: Keys, database: Database, peers: PeerLimits, rates: CallRates) -> None:
        self._keys = keys
        self._database = database
        self._peers = peers
        self._rates = rates
        self._receiving = Slots(total=32, per_owner=4)
        self._large = Slots(total=64, per_owner=8)

    @contextlib.asynccontextmanager
    async def admit(
        self, method: str, parse: Parse, context: Context, *, streaming: bool
    ) -> AsyncIterator[Message]:
        """Surround one call; raises ServiceError for one that is not let through."""
        policy = POLICIES[method]
        address = peer_address(context.peer())
        with self._peers.call(address):
            caller = await self._keys.caller(context, address)
            calls.begin(Call(method, caller, caller.tenant))
            _check_role(policy, caller)
            if caller.tenant is not None:
                self._rates.take(caller.tenant.tenant_id)
            owner = caller.tenant.tenant_id if caller.tenant else caller.key_id
            async with contextlib.AsyncExitStack() as held:
                async with self._receiving.slot(owner):
                    data = await receive(context, max_bytes=policy.max_bytes)
                    if is_large(data):
                        await held.enter_async_context(self._large.slot(owner))
                    request = decode(data, parse)
                    del data
                validation.check(request)
                tenant = await self._tenant(policy.scope, request, caller)
                if caller.tenant is None and tenant is not None and caller.role is not Role.GATEWAY:
                    # Counted separately, so that a tenant cannot use up the quota of the operator that helps it.
                    self._rates.take((caller.key_id, tenant.tenant_id))
                calls.begin(Call(method, caller, tenant, calls.deadline()))
                if not streaming:
                    yield request
                    return
            async with self._keys.while_valid(caller):
                yield request

    async def _tenant(self, scope: Scope, request: Any, caller: Caller) -> TenantRef | None:
        match scope:
            case OneTenant():
                return await self._resolve(scope.find(request), caller)
            case OptionalTenant():
                slug = scope.find(request)
                return await self._resolve(slug, caller) if slug is not None else None
            case ManyTenants():
                if caller.tenant is not None:
                    for slug in scope.find(request):
                        _check_scope(slug, caller)
                return None
            case AllTenants() | OwnThings():
                return None

    async def _resolve(self, slug: str, caller: Caller) -> TenantRef:
        _check_scope(slug, caller)
        if caller.tenant is not None:
            return caller.tenant
        async with self._database.acquire() as connection:
            tenant = await tenants.by_slug(connection, slug)
        if tenant is None:
            raise NotFound("tenant", f"tenants/{slug}")
        return TenantRef(tenant.tenant_id, tenant.slug)


def _check_role(policy: Policy, caller: Caller) -> None:
    """Check the permissions that depend on the key only."""
    if not caller.role.includes(policy.role):
        raise PermissionDenied(
            "ROLE_INSUFFICIENT",
            f"This needs role {policy.role.lower()}; the key has role {caller.role.lower()}.",
            metadata={"needed": policy.role.lower(), "has": caller.role.lower()},
        )
    if isinstance(policy.scope, AllTenants) and caller.tenant is not None:
        raise PermissionDenied("SCOPE_INSUFFICIENT", "This needs a key for all tenants.")


def _check_scope(slug: str, caller: Caller) -> None:
    """The same answer for tenants that exist and for those that don't."""
    if caller.tenant is not None and slug != caller.tenant.slug:
        raise PermissionDenied(
            "SCOPE_INSUFFICIENT",
            f"The key is for the tenant '{caller.tenant.slug}', not for '{slug}'.",
        )
