"""Egress rules: the addresses that the service, and the jobs that it creates, may connect to. Pure; resolves no name.

Tenants choose URLs, and the service and Jenkins run inside a private network. So an address that is not publicly
routable is denied unless an operator has allowed its origin (protection against SSRF).
"""

from __future__ import annotations

import ipaddress
import re
import unicodedata
from collections.abc import Collection
from urllib.parse import SplitResult, urlsplit

from deployment_service.domain.errors import InvalidArgument

MAX_URL_CHARS = 2000
ALLOWED_ORIGINS_SETTING = "DEPLOYMENT_SERVICE_ALLOWED_ORIGINS"

IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address

_DEFAULT_PORTS = {"http": 80, "https": 443, "ssh": 22, "git": 9418}
_HOST = re.compile(r"[a-z0-9_]([a-z0-9_.-]*[a-z0-9_])?|[0-9a-f:.]*:[0-9a-f:.]*", re.ASCII)
# `git@git.internal:shop/web.git`: git uses ssh for this form.
_SCP_LIKE = re.compile(r"(?:(?P<user>[^@:/]+)@)?(?P<host>[^@:/]+):(?P<path>[^:].*)")
_USER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", re.ASCII)
_NUMBER = re.compile(r"0x[0-9a-f]+|[0-9]+", re.ASCII)
# Letters and symbols that render as blank, and code points that are no characters (Unicode).
_BLANK_LETTERS = frozenset("\u115f\u1160\u2800\u3164\uffa0\ufffe\uffff")
_NAT64 = ipaddress.ip_network("64:ff9b::/96")


def origin_of(url: str) -> str:
    """Return scheme, host and port of a checked URL, without the scheme's default port."""
    parts = urlsplit(url)
    host, port = _host_of(parts), parts.port
    shown = f"[{host}]" if ":" in host else host
    default = port is None or port == _DEFAULT_PORTS.get(parts.scheme)
    return f"{parts.scheme}://{shown}" + ("" if default else f":{port}")


def check_http_url(text: str, *, field: str) -> str:
    """Return an http or https URL, with or without a path, that ends with ``/``.

    Raises:
        InvalidArgument: the text is not such a URL, or has credentials, a query or a fragment.
    """
    text = text.strip()
    if not text:
        raise InvalidArgument(field, "is required", reason="REQUIRED_FIELD")
    parts = _split(text, field, "https://jenkins.internal/")
    if parts.scheme not in ("http", "https"):
        raise InvalidArgument(field, "must be a URL such as https://jenkins.internal/")
    # Credentials in the URL would appear in every log line and answer that shows the URL.
    if "@" in parts.netloc:
        raise InvalidArgument(field, "must not contain a user or password")
    if "?" in text or "#" in text:
        raise InvalidArgument(field, "must have neither query nor fragment")
    if ".." in parts.path.split("/") or "\\" in parts.path:
        raise InvalidArgument(field, "must have a plain path, without '..'")
    return f"{parts.scheme}://{parts.netloc.lower()}{parts.path.rstrip('/')}/"


def check_git_url(text: str, *, field: str, allowed_origins: Collection[str] | None) -> str:
    """Return a URL that git can clone from over a network.

    Schemes: https, http, ssh, git, and ``user@host:path``. A host name is not resolved, because Jenkins connects.
    ``allowed_origins``: origins whose host may be an address in a private range; None allows any.

    Raises:
        InvalidArgument: git or Jenkins could misread the URL, or its origin is not allowed.
    """
    text = text.strip()
    if not text:
        raise InvalidArgument(field, "is empty", reason="REQUIRED_FIELD")
    if "::" in text.split("/", 1)[0].split("[", 1)[0]:
        raise InvalidArgument(field, "must not name a transport helper of git, such as ext::")
    scp = None if "://" in text else _SCP_LIKE.fullmatch(text)
    url = f"ssh://{scp['user'] or 'git'}@{scp['host']}/{scp['path']}" if scp else text
    parts = _split(url, field, "ssh://git@git.internal/shop/web.git")
    if parts.scheme not in ("https", "http", "ssh", "git"):
        raise InvalidArgument(field, "must be an https, http, ssh or git URL, or user@host:path")
    user, at, _ = parts.netloc.rpartition("@")
    if at and (parts.scheme != "ssh" or not _USER.fullmatch(user)):
        raise InvalidArgument(
            field,
            "must not contain a password, nor a user except a plain one for ssh; use credentials_id",
        )
    path = scp["path"] if scp else parts.path
    if "\\" in text:
        raise InvalidArgument(field, "must not contain a backslash")
    if path.startswith("-") or path.lstrip("/").startswith("-") or ".." in path.split("/"):
        raise InvalidArgument(field, "must have a path without '..' that doesn't start with '-'")
    if not path.strip("/"):
        raise InvalidArgument(field, "must have a path")
    if allowed_origins is not None:
        check_private(url, field=field, allowed_origins=allowed_origins)
    return text


def check_private(url: str, *, field: str, allowed_origins: Collection[str]) -> None:
    """Check that a checked URL has no private literal address, or that its origin is allowed.

    Raises:
        InvalidArgument: the host is a private literal address and the origin is not allowed.
    """
    origin = origin_of(url)
    if origin in allowed_origins or not is_private_host(_host_of(urlsplit(url))):
        return
    raise InvalidArgument(
        field,
        "its host is a loopback, link-local or private address. An operator can allow the origin: "
        f"{ALLOWED_ORIGINS_SETTING}={origin} (or an admin of all tenants sets it)",
        reason="ORIGIN_NOT_ALLOWED",
    )


def is_private_host(host: str) -> bool:
    """Return whether a host is ``localhost`` or a literal address that is not publicly routable."""
    host = host.lower().rstrip(".")
    if host == "localhost" or host.endswith(".localhost"):
        return True
    address = _literal(host)
    return address is not None and is_private(address)


def is_private(address: IpAddress) -> bool:
    """Return whether an address is not publicly routable: loopback, link-local, private, reserved, multicast."""
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour
        if inner is None and address.teredo is not None:
            inner = address.teredo[1]
        if inner is None and address in _NAT64:
            inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if inner is not None:
            return is_private(inner)
    return not address.is_global or address.is_multicast


def first_invisible(text: str) -> str | None:
    """Return the first invisible or reordering character (control, bidi, zero-width); None if there is none."""
    for character in text:
        hidden = unicodedata.category(character) in ("Cc", "Cf", "Cs", "Zl", "Zp")
        if hidden or character in _BLANK_LETTERS:
            return character
    return None


def check_visible(text: str, *, field: str) -> str:
    """Return the text unchanged.

    Raises:
        InvalidArgument: the text has a control, bidi or zero-width character.
    """
    found = first_invisible(text)
    if found is not None:
        raise InvalidArgument(field, f"has the control or invisible character U+{ord(found):04X}")
    return text


def _split(text: str, field: str, example: str) -> SplitResult:
    check_visible(text, field=field)
    if len(text) > MAX_URL_CHARS:
        raise InvalidArgument(field, f"has more than {MAX_URL_CHARS} characters")
    try:
        parts = urlsplit(text)
        host, _ = _host_of(parts), parts.port
    except ValueError:
        host, parts = "", urlsplit("")
    if not host or any(character.isspace() for character in text):
        raise InvalidArgument(field, f"must be a URL such as {example}")
    # ssh and git would parse a host with a leading '-' as an option.
    if not _HOST.fullmatch(host):
        raise InvalidArgument(
            field, "has a host with other characters than letters, digits, '.' and '-'"
        )
    return parts


def _host_of(parts: SplitResult) -> str:
    return (parts.hostname or "").lower().rstrip(".")


def _literal(host: str) -> IpAddress | None:
    """Return the address that a host denotes, in any form that the system's resolver accepts; None for a name."""
    try:
        return ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        pass
    # 127.1, 0x7f000001, 017700000001: the forms of inet_aton(3).
    pieces = host.split(".")
    if len(pieces) > 4 or not all(_NUMBER.fullmatch(piece) for piece in pieces):
        return None
    numbers = [
        int(p, 16 if p.startswith("0x") else 8 if p[0] == "0" else 10) if _base_ok(p) else -1
        for p in pieces
    ]
    *high, low = numbers
    if min(numbers) < 0 or any(number > 255 for number in high):
        return None
    width = 8 * (4 - len(high))
    if low >= 1 << width:
        return None
    value = low
    for index, number in enumerate(high):
        value |= number << (24 - 8 * index)
    return ipaddress.IPv4Address(value)


def _base_ok(piece: str) -> bool:
    """Return whether all digits fit the base: a leading zero makes a number octal."""
    return (
        piece.startswith("0x") or not piece.startswith("0") or all(c in "01234567" for c in piece)
    )
