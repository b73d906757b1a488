"""The form of a database URL, checked before a library reads it: its messages would quote parts of a password."""

from __future__ import annotations

import os
import re
from urllib.parse import parse_qs, parse_qsl, quote, urlencode, urlsplit

_SCHEME = re.compile(r"postgres(ql)?://", re.IGNORECASE)
_BAD_ESCAPE = re.compile("%(?![0-9A-Fa-f]{2})")
_ENCODE = (
    "in the user and the password the characters @ / ? # % [ ] and spaces must be percent-encoded "
    "(@ is %40, / is %2F, ? is %3F, # is %23, % is %25)"
)


def check_database_url(url: str) -> None:
    """Raise ValueError, with a text that quotes nothing, unless ``url`` is a usable URL of a PostgreSQL database."""
    if not _SCHEME.match(url):
        raise ValueError("must begin with postgresql://")
    rest = url.partition("://")[2]
    authority = re.split("[/?#]", rest, maxsplit=1)[0]
    after = rest[len(authority) :]
    if (
        re.search(r"[\s\x00-\x1f\x7f]", url)
        or "#" in url
        or authority.count("@") > 1
        or ("@" in after and "@" not in authority)
        or _BAD_ESCAPE.search(url)
        or not _is_splittable(url)
    ):
        raise ValueError(f"cannot be read as a URL; {_ENCODE}")
    hosts = authority.rpartition("@")[2]
    if hosts and not all(_is_host(one) for one in hosts.split(",")):
        raise ValueError(f"has no usable host and port; {_ENCODE}")
    path, _, query = after.partition("?")
    if path.count("/") > 1 or not _is_query(query):
        raise ValueError(
            f"must end with /name of the database, then ?parameter=value if needed; {_ENCODE}"
        )


def target_session_attrs(url: str) -> str:
    """What the URL asks for, by default a server that takes writes: an address may lead to a standby for a while."""
    asked = parse_qs(urlsplit(url).query).get("target_session_attrs")
    return asked[-1] if asked else "read-write"


def single_hosts(url: str) -> list[str]:
    """Return a URL for each host that ``url`` names, in its order, so that each can have a timeout of its own."""
    parts = urlsplit(url)
    login, at, authority = parts.netloc.rpartition("@")
    fields = dict(parse_qsl(parts.query, keep_blank_values=True))
    hosts = (authority or fields.get("host", "")).split(",")
    if len(hosts) < 2:
        return [url]
    ports = fields.pop("port", "").split(",")
    if len(ports) == 1:
        ports *= len(hosts)
    if len(ports) != len(hosts):
        raise ValueError("the number of ports is not that of hosts")
    urls = []
    for host, port in zip(hosts, ports, strict=True):
        place = host if authority else ""
        query = fields | ({"port": port} if port else {}) | ({} if authority else {"host": host})
        text = urlencode(query, safe="/", quote_via=quote)
        urls.append(f"{parts.scheme}://{login}{at}{place}{parts.path}{'?' if text else ''}{text}")
    return urls


class UnreadableFile(Exception):
    """A file that the URL or the environment names for TLS cannot be read; the message is the parameter."""


def check_files(url: str) -> None:
    """Check that the files for TLS can be read, because errors of the libraries do not name the file.

    Raises:
        UnreadableFile: a file cannot be read.
    """
    fields = parse_qs(urlsplit(url).query)
    for name in ("sslrootcert", "sslcert", "sslkey", "sslcrl"):
        path = fields.get(name, [os.environ.get(f"PG{name.upper()}", "")])[-1]
        if path:
            try:
                with open(path, "rb"):
                    pass
            except OSError:
                raise UnreadableFile(name) from None


def _is_splittable(url: str) -> bool:
    try:
        urlsplit(url)
    except ValueError:
        return False
    return True


def _is_host(text: str) -> bool:
    match = re.fullmatch(r"(\[[0-9A-Fa-f:.%]+\]|[^\[\]:@]+)(?::([0-9]{1,5}))?", text)
    return match is not None and 0 < int(match[2] or 5432) < 65536


def _is_query(query: str) -> bool:
    if not query:
        return True
    try:
        fields = parse_qs(query, strict_parsing=True)
    except ValueError:
        return False
    ports = ",".join(fields.get("port", [])).split(",")
    return all(re.fullmatch("[0-9]{0,5}", port) for port in ports)
