"""Who is calling, and whether the call may change anything: Basic auth, sessions and crumbs."""

from __future__ import annotations

import base64
import binascii
import hashlib
import secrets
from dataclasses import dataclass, field

from aiohttp import web

from jenkins_simulator.core.config import SimulatedUser
from jenkins_simulator.core.permissions import ALL_PERMISSIONS, Permission, is_granted
from jenkins_simulator.http import answers

CRUMB_FIELD = "Jenkins-Crumb"
ANONYMOUS = "anonymous"


@dataclass(frozen=True)
class Caller:
    """The user behind a request."""

    name: str
    permissions: frozenset[Permission]
    by_token: bool = False

    @property
    def is_anonymous(self) -> bool:
        """Whether the request carries no credentials."""
        return self.name == ANONYMOUS

    def may(self, permission: Permission) -> bool:
        """Whether the permission is granted."""
        return is_granted(permission, self.permissions)

    def require(self, permission: Permission) -> None:
        """Refuse the call unless the permission is granted."""
        if not self.may(permission):
            if permission is Permission.ITEM_EXTENDED_READ:
                # Not enabled on an ordinary Jenkins, which then names what implies it.
                permission = Permission.ITEM_CONFIGURE
            raise (
                answers.login_required()
                if self.is_anonymous
                else answers.access_denied(self.name, permission)
            )


@dataclass
class Sessions:
    """HTTP sessions and the crumbs bound to them; a restart loses both."""

    _known: set[str] = field(default_factory=set)
    _salt: str = field(default_factory=lambda: secrets.token_hex(16))

    def of(self, request: web.BaseRequest) -> str | None:
        """The id of the request's session, if it is one of ours."""
        cookie = request.cookies.get("JSESSIONID")
        return cookie if cookie in self._known else None

    def new(self) -> str:
        """Start a session."""
        cookie = f"node0{secrets.token_hex(13)}.node0"
        self._known.add(cookie)
        return cookie

    def crumb(self, user: str, session: str) -> str:
        """The crumb that protects this user's POSTs in this session."""
        return hashlib.sha256(f"{user};{session};{self._salt}".encode()).hexdigest()

    def forget_all(self) -> None:
        """A restart: every session and crumb is stale."""
        self._known.clear()
        self._salt = secrets.token_hex(16)


def authenticate(
    request: web.BaseRequest,
    users: dict[str, SimulatedUser],
    anonymous_permissions: frozenset[Permission],
) -> Caller:
    """The caller; wrong credentials are refused, other schemes than Basic are not looked at."""
    header = request.headers.get("Authorization", "")
    if not header.lower().startswith("basic "):
        return Caller(ANONYMOUS, anonymous_permissions)
    try:
        credentials = base64.b64decode(header[6:].strip(), validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        raise answers.unauthorized() from None
    name, _, secret = credentials.partition(":")
    # Jenkins does not care about the case of a user's name.
    name = next((known for known in users if known.lower() == name.lower()), name)
    user = users.get(name)
    if user is None or not secret or secret not in (user.password, user.api_token):
        raise answers.unauthorized()
    return Caller(name, user.permissions, by_token=secret == user.api_token)


def check_crumb(
    request: web.BaseRequest, sessions: Sessions, caller: Caller, submitted: str | None
) -> None:
    """Refuse a POST without a valid crumb; API tokens need none."""
    if request.method != "POST" or caller.by_token:
        return
    session = sessions.of(request)
    expected = "" if session is None else sessions.crumb(caller.name, session)
    if submitted and secrets.compare_digest(submitted.encode(), expected.encode()):
        return
    # Looking a crumb up starts a session; there is nothing to look up without one.
    new_session = submitted is not None
    raise answers.no_crumb(new_session=new_session)


SYSTEM = Caller("SYSTEM", ALL_PERMISSIONS)
