"""Every RPC × role × tenant × state of the key, generated from the contract: 0 differences (P6)."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import grpc
import pytest
from google.protobuf.descriptor import MethodDescriptor

from deployment_service.actions.api_keys import revoke_api_key
from deployment_service.domain.access import Caller as KeyHolder
from deployment_service.domain.access import Role
from tests.acceptance.test_nonsense import Caller, api, contents, rename
from tests.support.api import Api, Refusal, bearer
from tests.support.nonsense import METHODS, SOUND

__all__ = ["api"]  # the fixture

# Written down apart from api/policy.py, which this tests.
LADDER = ("VIEWER", "DEPLOYER", "DEFINER", "ADMIN")
NEEDED: dict[str, str] = {
    name: role
    for role, names in {
        "VIEWER": (
            "GetDeployment BatchGetDeployments BatchGetRuns ListDeployments GetRun ExplainRun "
            "ListRuns ListReports ListEvents WatchDeployments"
        ),
        "DEPLOYER": "RunDeployment CancelRun",
        "DEFINER": "CreateDeployment UpdateDeployment DeleteDeployment",
        "GATEWAY": "ReportBuilds ListWebhookVerifiers",
        "ADMIN": (
            "ResolveRun CreateTenant GetTenant ListTenants UpdateTenant DeleteTenant "
            "RotateWebhookSecret RetireWebhookKey CreateProvider GetProvider CheckProvider "
            "ListProviders UpdateProvider DeleteProvider CreateApiKey ListApiKeys "
            "RevokeApiKey"
        ),
    }.items()
    for name in names.split()
}
FOR_ALL_TENANTS = {"CreateTenant", "GetTenant", "ListTenants", "UpdateTenant", "DeleteTenant"}
NAMES_NO_TENANT = {"RevokeApiKey", "ListWebhookVerifiers"}
INVALID_STATES = ("missing", "malformed", "wrong", "other scheme", "sent twice", "revoked")


@dataclass(frozen=True)
class Case:
    """``scope``: the tenant of the key, None for all. ``tenant``: the one that the request names."""

    method: MethodDescriptor
    role: Role
    scope: str | None
    tenant: str
    state: str = "valid"

    @property
    def expected(self) -> str:
        """The reason with which it is refused; empty if it may be made."""
        name = self.method.name
        if self.state != "valid":
            return "API_KEY_MISSING" if self.state == "missing" else "API_KEY_INVALID"
        if not includes(self.role.value, NEEDED[name]):
            return "ROLE_INSUFFICIENT"
        if self.scope is None or name in NAMES_NO_TENANT:
            return ""
        foreign = name in FOR_ALL_TENANTS or self.tenant != self.scope
        return "SCOPE_INSUFFICIENT" if foreign else ""


def includes(role: str, needed: str) -> bool:
    if "GATEWAY" in (role, needed):
        return role == needed
    return LADDER.index(role) >= LADDER.index(needed)


def cases() -> Iterator[Case]:
    for method, role, scope in itertools.product(METHODS, Role, ("demo", None)):
        for tenant in ("demo", "other", "unknown"):
            yield Case(method, role, scope, tenant)
        yield Case(method, role, scope, "demo", "revoked")
    for method, tenant in itertools.product(METHODS, ("demo", "other", "unknown")):
        for state in INVALID_STATES[:-1]:
            yield Case(method, Role.ADMIN, None, tenant, state)


class Keys:
    """One key for each role, scope and state."""

    def __init__(self, running: Api) -> None:
        self._api = running
        self._made: dict[Any, Any] = {}

    async def of(self, case: Case) -> Any:
        made = (case.role, case.scope, case.state)
        if made not in self._made:
            self._made[made] = await self._make(case)
        return self._made[made]

    async def _make(self, case: Case) -> Any:
        key = await self._api.key(case.role, case.scope)
        secret = key[0][1].removeprefix("Bearer ")
        match case.state:
            case "missing":
                return ()
            case "malformed":
                return bearer(secret[:-1])
            case "wrong":
                return bearer("dsk_" + secret[4:][::-1])
            case "other scheme":
                return (("authorization", f"Basic {secret}"),)
            case "sent twice":
                return (*key, *key)
            case "revoked":
                await self._revoke_newest()
        return key

    async def _revoke_newest(self) -> None:
        async with self._api.database.acquire() as connection:
            key_id = await connection.fetchval(
                "SELECT key_id FROM api_keys ORDER BY create_time DESC LIMIT 1"
            )
        holder = KeyHolder(key_id, Role.ADMIN, None)
        await revoke_api_key(self._api.database, holder, key_id)


def test_every_rpc_of_the_contract_is_in_the_matrix():
    assert {method.name for method in METHODS} == set(NEEDED)


@pytest.mark.timeout(240)
async def test_the_matrix_has_no_difference(api, database_url):
    """First what must be refused, which changes nothing; then what may be done."""
    call, keys = Caller(api), Keys(api)
    all_cases = list(cases())
    for case in all_cases:
        await keys.of(case)
    refused = [case for case in all_cases if case.expected]
    before = await contents(database_url)
    differences = [found for case in refused if (found := await difference(call, keys, case))]
    assert await contents(database_url) == before
    allowed = [case for case in all_cases if not case.expected]
    differences += [found for case in allowed if (found := await difference(call, keys, case))]
    print(f"{len(all_cases)} calls, {len(refused)} to be refused")
    assert differences == []


async def difference(call: Caller, keys: Keys, case: Case) -> str:
    """How the answer differs from what is expected; empty if it doesn't."""
    request = SOUND[case.method.name]()
    rename(request, "demo", case.tenant)
    answer = await call(case.method, request, await keys.of(case))
    reason, code = "", None
    if isinstance(answer, Refusal):
        reason, code = answer.reason, answer.code
    what = (
        f"{case.method.name} {case.role} {case.scope} {case.tenant} {case.state}: {code} {reason}"
    )
    if case.expected:
        denied = "API_KEY" in case.expected
        wanted = grpc.StatusCode.UNAUTHENTICATED if denied else grpc.StatusCode.PERMISSION_DENIED
        return "" if (reason, code) == (case.expected, wanted) else what
    wrong = {"UNAUTHENTICATED", "PERMISSION_DENIED", "INTERNAL", "UNKNOWN", "UNAVAILABLE"}
    return what if code is not None and code.name in wrong else ""
