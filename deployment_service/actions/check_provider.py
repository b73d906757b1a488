"""CheckProvider: test a provider's settings against its Jenkins. Stores nothing and changes nothing."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from weakref import WeakValueDictionary

from deployment_service.cicd.address import ControllerAddress
from deployment_service.cicd.port import CicdProvider
from deployment_service.domain.access import TenantRef
from deployment_service.domain.errors import (
    FailedPrecondition,
    InvalidArgument,
    PreconditionViolation,
)
from deployment_service.domain.findings import Finding, Kind, Severity
from deployment_service.domain.provider_facts import ControllerFacts
from deployment_service.domain.provider_findings import (
    CheckedSettings,
    findings_of,
    first_wrong,
    folders_of,
)
from deployment_service.runtime.logs import log
from deployment_service.webhook_auth import paths

CHECK_LIMIT_S = 10.0
"""Time limit of one check, in seconds; the deadline of the call may shorten it."""
_AT_ONCE = 16
_AT_ONCE_PER_TENANT = 2


@dataclass(frozen=True, slots=True)
class CheckResult:
    """The result of a check."""

    findings: tuple[Finding, ...] = ()
    version: str = ""
    account: str = ""


NOT_CHECKED = CheckResult()
"""The result of a repeated call, whose effect happened in an earlier call."""


class ProviderChecker:
    """Checks providers, with limits of concurrent checks in total and for each tenant, to isolate slow controllers."""

    def __init__(
        self,
        make_client: Callable[[ControllerAddress], CicdProvider],
        *,
        locale: str = "en",
        limit_s: float = CHECK_LIMIT_S,
    ) -> None:
        """Take ``make_client``, which raises ``ValueError`` for unusable settings."""
        self._make_client = make_client
        self._locale = locale
        self._limit_s = limit_s
        self._all = asyncio.Semaphore(_AT_ONCE)
        self._of_tenants: WeakValueDictionary[uuid.UUID, asyncio.Semaphore] = WeakValueDictionary()

    async def check(
        self,
        tenant: TenantRef,
        settings: CheckedSettings,
        address: ControllerAddress,
        *,
        coarse: bool,
        within_s: float,
    ) -> CheckResult:
        """Return the findings within ``within_s`` seconds, at most ten.

        ``coarse``: hide details of the network from the caller.
        """
        limit_s = min(self._limit_s, within_s)
        facts = await self._facts(tenant, settings, address, limit_s)
        if facts is None:
            return _NO_TURN
        path = paths.webhook_path(self._locale, tenant.slug)
        findings = findings_of(settings, facts, webhook_path=path, coarse=coarse)
        log.info(
            "provider.checked",
            tenant=tenant.slug,
            base_url=settings.base_url,
            place=str(facts.place),
            detail=facts.detail,
            errors=[str(one.kind) for one in findings if one.severity is Severity.ERROR],
        )
        return CheckResult(findings, facts.version, facts.account)

    async def _facts(
        self,
        tenant: TenantRef,
        settings: CheckedSettings,
        address: ControllerAddress,
        limit_s: float,
    ) -> ControllerFacts | None:
        """Return the facts; None if too many other checks were running until the time limit."""
        clock = asyncio.get_running_loop().time
        until = clock() + limit_s
        of_tenant = self._of_tenants.setdefault(
            tenant.tenant_id, asyncio.Semaphore(_AT_ONCE_PER_TENANT)
        )
        try:
            async with asyncio.timeout(limit_s):
                await of_tenant.acquire()
        except TimeoutError:
            return None
        try:
            try:
                async with asyncio.timeout(until - clock()):
                    await self._all.acquire()
            except TimeoutError:
                return None
            try:
                return await self._survey(address, folders_of(settings), until - clock())
            finally:
                self._all.release()
        finally:
            of_tenant.release()

    async def _survey(
        self, address: ControllerAddress, folders: Sequence[str], limit_s: float
    ) -> ControllerFacts:
        try:
            client = self._make_client(address)
        except ValueError as error:
            raise InvalidArgument(
                "provider.ca_certificate_pem", f"can't be used: {error}"
            ) from None
        try:
            return await client.survey(folders, limit_s=max(limit_s, 0.0))
        finally:
            await client.close()


def refuse_wrong(result: CheckResult, name: str) -> None:
    """Raise FailedPrecondition, with all findings of that kind, if the settings are proven wrong."""
    wrong = first_wrong(result.findings)
    if wrong is None:
        return
    every = [one for one in result.findings if one.settings_wrong]
    raise FailedPrecondition(
        "PROVIDER_SETTINGS_WRONG",
        wrong.message,
        metadata={
            "name": name,
            "field": wrong.field,
            "findings": ",".join(dict.fromkeys(str(one.kind) for one in every)),
        },
        violations=[PreconditionViolation(one.kind, one.field, one.message) for one in every],
    )


def unreadable_token() -> CheckResult:
    """Return the result for a stored token that no configured key decrypts: Jenkins was not contacted."""
    return CheckResult(
        (
            Finding(
                Kind.ACCOUNT,
                Severity.ERROR,
                "The stored API token cannot be decrypted with any of the configured secret keys, so Jenkins can't be "
                "used. Give api_token anew, or the service the key with which it was stored.",
                "api_token",
            ),
        )
    )


_NO_TURN = CheckResult(
    (
        Finding(
            Kind.INCOMPLETE,
            Severity.WARNING,
            "Jenkins was not contacted, because too many providers are being checked at present: nothing is known "
            "of the settings. Check the provider again.",
        ),
    )
)
