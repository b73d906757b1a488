"""The controllers: one client, one bulkhead and one breaker for each provider of a tenant.

Two providers share nothing, though they name the same URL and account: no tenant reads with another one's
credential, fills its slots or opens its breaker.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from typing import Protocol

import structlog

from deployment_service.cicd.address import ControllerAddress
from deployment_service.cicd.errors import ProviderError, ProviderUnreachable
from deployment_service.cicd.port import CicdProvider
from deployment_service.cicd.request_count import counted
from deployment_service.domain.egress import ALLOWED_ORIGINS_SETTING, origin_of
from deployment_service.domain.problems import ProblemReason
from deployment_service.workers.controllers.breaker import Breaker, ControllerLimits
from deployment_service.workers.controllers.origin_budget import Allowance, OriginBudget

_log = structlog.get_logger(__name__)

# A Jenkins that asks for a longer pause is called again after this one: otherwise its runs would not be read.
_LONGEST_PAUSE_S = 300.0


class ProviderAccess(Protocol):
    """The columns of ``cicd_providers`` that lead to a controller."""

    @property
    def tenant_id(self) -> uuid.UUID: ...
    @property
    def provider_id(self) -> uuid.UUID: ...
    @property
    def version(self) -> int: ...
    @property
    def base_url(self) -> str: ...
    @property
    def username(self) -> str: ...
    @property
    def api_token_encrypted(self) -> bytes | None: ...
    @property
    def ca_certificate_pem(self) -> str: ...


ClientFactory = Callable[[ControllerAddress], CicdProvider]


class ControllerUnavailable(ProviderUnreachable):
    """Nothing was sent: the controller has been failing, or is as busy as we allow."""

    def __init__(
        self,
        message: str,
        *,
        retry_after_s: float,
        reason: ProblemReason = ProblemReason.UNREACHABLE,
        detail: str = "",
    ) -> None:
        super().__init__(message, reason=reason, detail=detail)
        self.wait_s = retry_after_s


class RequestsHeldBack(ControllerUnavailable):
    """Nothing was sent: the budget of the origin is used up for the moment. This is no problem of Jenkins."""


class Controller:
    """A controller: ``client`` to call it, in a slot. ``version``: the provider's, when its row was read last."""

    def __init__(
        self,
        provider: ProviderAccess,
        address: ControllerAddress,
        client: CicdProvider,
        limits: ControllerLimits,
        budget: OriginBudget | None = None,
    ) -> None:
        self.provider_id = provider.provider_id
        self.version = provider.version
        self.address = address
        self.account = address.username
        self.client = client
        self.breaker = Breaker(limits)
        self._bulkhead = asyncio.Semaphore(limits.concurrency)
        # Triggers leave some slots to reads, however many runs wait.
        self._for_triggers = asyncio.Semaphore(max(1, limits.concurrency - limits.kept_for_reading))
        self._in_use = 0
        self._retired = False
        self._last_used = time.monotonic()
        self._paused_until = self._triggers_paused_until = 0.0
        self._last_failure: ProviderUnreachable | None = None
        self._allowance = Allowance(budget, provider.tenant_id, origin_of(provider.base_url))

    def available(self) -> bool:
        """Return whether a call may be made now. A hint: ``slot`` decides."""
        return not self._retired and self._wait_s(for_trigger=False) == 0

    async def allow(self, requests: int) -> int:
        """Take requests that can wait from the origin's budget at once; return how many may be sent now."""
        return (await self._allowance.take(requests)).granted

    async def allow_all(self, requests: int) -> None:
        """As ``allow``, for what is of use only as a whole. Raises RequestsHeldBack."""
        taken = await self._allowance.take(requests)
        if taken.granted < requests:
            raise _held_back(taken.wait_s)

    def pause_triggers(self, seconds: float) -> None:
        """Send no trigger for so many seconds, as the answer to one asked. Reads go on."""
        self._triggers_paused_until = time.monotonic() + seconds

    def answered(self) -> None:
        """Note that Jenkins answered a call which does not raise, such as ``trigger``."""
        self.breaker.answered()

    def failed(self) -> None:
        """Note that Jenkins did not answer a call which does not raise, such as ``trigger``."""
        self.breaker.failed()

    @contextlib.asynccontextmanager
    async def slot(
        self, wait_s: float = 5.0, *, for_trigger: bool = False, ahead: bool = False
    ) -> AsyncIterator[CicdProvider]:
        """Hold one of the controller's slots around calls; their errors count for the breaker.

        ``ahead``: the requests go before those of cycles, as all for triggers do. Raises ControllerUnavailable,
        before anything is sent, if the breaker is open, no slot gets free within ``wait_s``, the provider's
        credentials have changed meanwhile, or the budget of its origin is used up.
        """
        self._check(for_trigger)
        async with contextlib.AsyncExitStack() as held:
            held.push_async_callback(self._close_if_unused)
            try:
                async with asyncio.timeout(wait_s):
                    if for_trigger:
                        await held.enter_async_context(self._for_triggers)
                    await held.enter_async_context(self._bulkhead)
            except TimeoutError:
                raise ControllerUnavailable(
                    "Jenkins is busy with other calls of ours.",
                    retry_after_s=1.0,
                    reason=ProblemReason.SLOW,
                ) from None
            self._check(for_trigger)
            self._in_use += 1
            try:
                async with self._within_budget(ahead=ahead or for_trigger), self._watched():
                    yield self.client
            finally:
                self._in_use -= 1
                self._last_used = time.monotonic()

    async def retire(self) -> None:
        """Refuse further calls; close the client when the last call has ended."""
        self._retired = True
        await self._close_if_unused()

    def idle_s(self) -> float:
        """Return for how many seconds no call was made."""
        return 0.0 if self._in_use else time.monotonic() - self._last_used

    def _check(self, for_trigger: bool) -> None:
        if self._retired:
            raise ControllerUnavailable("The provider has just been changed", retry_after_s=0.0)
        wait = self._wait_s(for_trigger=for_trigger)
        if wait > 0:
            failure = self._last_failure
            raise ControllerUnavailable(
                failure.message if failure else "Jenkins has not been answering.",
                retry_after_s=wait,
                reason=failure.reason if failure else ProblemReason.UNREACHABLE,
                detail=failure.detail if failure else "",
            )

    def _wait_s(self, *, for_trigger: bool) -> float:
        now, until = time.monotonic(), self._paused_until
        if for_trigger:
            until = max(until, self._triggers_paused_until)
        return max(self.breaker.retry_in_s(), until - now, 0.0)

    @contextlib.asynccontextmanager
    async def _within_budget(self, *, ahead: bool) -> AsyncIterator[None]:
        held_back_s = await self._allowance.spend(ahead=ahead)
        if held_back_s:
            raise _held_back(held_back_s)
        with counted() as requests:
            try:
                yield
            finally:
                self._allowance.settle(requests.sent)

    @contextlib.asynccontextmanager
    async def _watched(self) -> AsyncIterator[None]:
        probe = self.breaker.enter()
        failures_before = self.breaker.failures_seen
        try:
            yield
        except ProviderUnreachable as error:
            self.failed()
            self._last_failure = error
            if error.retry_after_s:
                pause_s = min(error.retry_after_s, _LONGEST_PAUSE_S)
                self._paused_until = time.monotonic() + pause_s
            raise
        except ProviderError:
            self.answered()
            raise
        else:
            # The caller may have called ``failed`` already.
            if self.breaker.failures_seen == failures_before:
                self.answered()
        finally:
            if probe:
                self.breaker.leave()

    async def _close_if_unused(self) -> None:
        if self._retired and not self._in_use:
            await self.client.close()


def _held_back(wait_s: float) -> RequestsHeldBack:
    return RequestsHeldBack(
        "The requests that the service may send to this Jenkins in a second are used up; it is asked a little later.",
        retry_after_s=wait_s,
        reason=ProblemReason.OVERLOADED,
    )


class Controllers:
    """Has one controller for each provider, and replaces it when the provider has changed."""

    def __init__(
        self,
        make_client: ClientFactory,
        decrypt: Callable[[bytes], bytes],
        limits: ControllerLimits | None = None,
        *,
        idle_s: float = 900.0,
        allows: Callable[[str], Awaitable[bool]] | None = None,
        budget: OriginBudget | None = None,
    ) -> None:
        """``allows(base_url)``: whether it may lead into a private range; None: each may.

        ``budget``: of the requests to one origin; None: no limit.
        """
        self._budget = budget
        self._allows = allows
        self._make_client = make_client
        self._decrypt = decrypt
        self._limits = limits or ControllerLimits()
        self._idle_s = idle_s
        self._by_provider: dict[tuple[uuid.UUID, uuid.UUID], Controller] = {}

    async def get(self, provider: ProviderAccess) -> Controller:
        """Return the provider's controller. Do not keep it for longer than one task.

        Raises ProviderUnreachable if the stored provider cannot be used.
        """
        identity = (provider.tenant_id, provider.provider_id)
        allowed = self._allows is None or await self._allows(provider.base_url)
        controller = self._by_provider.get(identity)
        if controller is not None and (controller.version, controller.address.private_allowed) == (
            provider.version,
            allowed,
        ):
            return controller
        address = replace(self._address(provider), private_allowed=allowed)
        if controller is not None and controller.address == address:
            controller.version = provider.version
            return controller
        if not allowed:
            _log.info(
                "controller.limited_to_public_addresses",
                origin=origin_of(provider.base_url),
                to_allow=f"{ALLOWED_ORIGINS_SETTING}={origin_of(provider.base_url)}",
            )
        new = self._by_provider[identity] = self._new(provider, address)
        if controller is not None:
            await controller.retire()
        await self._retire_unused()
        return new

    async def close(self) -> None:
        """Close every client; calls under way end with an error."""
        controllers = list(self._by_provider.values())
        self._by_provider.clear()
        for controller in controllers:
            await controller.retire()
            await controller.client.close()

    def _address(self, provider: ProviderAccess) -> ControllerAddress:
        encrypted = provider.api_token_encrypted
        try:
            token = self._decrypt(encrypted).decode() if encrypted else ""
        except Exception as error:
            _log.exception("provider.secret_unreadable", provider_id=str(provider.provider_id))
            raise ProviderUnreachable(
                "The provider's stored API token can't be read. Set it anew."
            ) from error
        return ControllerAddress(
            provider.base_url,
            provider.username,
            token,
            provider.ca_certificate_pem,
            tenant_id=provider.tenant_id,
        )

    def _new(self, provider: ProviderAccess, address: ControllerAddress) -> Controller:
        try:
            client = self._make_client(address)
        except ValueError as error:
            raise ProviderUnreachable(f"The provider can't be used: {error}.") from error
        return Controller(provider, address, client, self._limits, self._budget)

    async def _retire_unused(self) -> None:
        """Close controllers that were not used for long, such as those of deleted providers."""
        for identity, controller in list(self._by_provider.items()):
            if controller.idle_s() > self._idle_s:
                del self._by_provider[identity]
                await controller.retire()
