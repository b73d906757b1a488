"""The current call: its caller, tenant and deadline. Set by the interceptors."""

from __future__ import annotations

import asyncio
import hashlib
import uuid
from contextvars import ContextVar
from dataclasses import dataclass

from google.protobuf.message import Message

from deployment_service.actions.idempotency import NO_TENANT, RequestKey
from deployment_service.domain.access import Caller, Role, TenantRef
from deployment_service.domain.errors import InvalidArgument


@dataclass(frozen=True, slots=True)
class Call:
    """``tenant_ref`` is the tenant that the request names (it exists and the caller may name it), if it
    names one. ``deadline`` is in the event loop's time; None for streams."""

    method: str
    caller: Caller
    tenant_ref: TenantRef | None
    deadline: float | None = None

    @property
    def tenant(self) -> TenantRef:
        """The tenant of a call that must name one."""
        assert self.tenant_ref is not None, f"the policy of {self.method} names no tenant"
        return self.tenant_ref

    @property
    def sees_network(self) -> bool:
        """Whether answers may hold details of the operators' network: for admins of all tenants."""
        return self.caller.role is Role.ADMIN and self.caller.tenant is None

    def remaining_s(self, at_most: float) -> float:
        """How long a wait may take so that the answer still arrives in time."""
        if self.deadline is None:
            return at_most
        left = self.deadline - asyncio.get_running_loop().time()
        return max(0.0, min(at_most, left * 0.8 - 0.05))

    def request_key(self, request: Message) -> RequestKey | None:
        """Return the idempotency key of ``request``; None if it has no request_id."""
        text: str = getattr(request, "request_id")  # noqa: B009 - a field of most requests, not of all
        if not text:
            return None
        return RequestKey(
            tenant_id=self.tenant_ref.tenant_id if self.tenant_ref else NO_TENANT,
            caller=str(self.caller.key_id),
            method=self.method.rpartition("/")[2],
            request_id=_uuid(text),
            body_sha256=_body_sha256(request),
        )


_CURRENT: ContextVar[Call] = ContextVar("call")


def current() -> Call:
    """The call that this task serves."""
    return _CURRENT.get()


def current_or_none() -> Call | None:
    """The same, None if the call came without a valid key."""
    return _CURRENT.get(None)


def begin(call: Call) -> None:
    """Make ``call`` the current one. Never undone: each call has a task, and so a context, of its own."""
    _CURRENT.set(call)


_DEADLINE: ContextVar[float] = ContextVar("deadline")


def set_deadline(loop_time: float) -> None:
    """Note until when the call that this task serves must be answered."""
    _DEADLINE.set(loop_time)


def deadline() -> float | None:
    """Until when; None for streams."""
    return _DEADLINE.get(None)


def _uuid(text: str) -> uuid.UUID:
    # uuid.UUID takes more spellings (braces, "urn:uuid:", no hyphens); one is enough.
    try:
        parsed = uuid.UUID(text)
    except ValueError:
        parsed = None
    if parsed is None or str(parsed) != text.lower():
        raise InvalidArgument(
            "request_id",
            "must be a UUID such as 5b1c7c0e-2f43-4f0c-9d5e-0d4a8f7b6a11",
            reason="REQUEST_ID_INVALID",
        )
    return parsed


def _body_sha256(request: Message) -> bytes:
    body = type(request)()
    body.CopyFrom(request)
    body.ClearField("request_id")
    return hashlib.sha256(body.SerializeToString(deterministic=True)).digest()
