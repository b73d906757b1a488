"""Requests without a route: the part of their path that may be logged, and the tokens that may identify their job."""

from __future__ import annotations

import itertools
import re
from urllib.parse import unquote

from aiohttp import web

from deployment_service.webhook_auth import paths, tokens

_MAX_SEGMENTS = 12
_MAX_TENANTS = 3
_MAX_TOKENS = 2
# Shorter than any secret of the service, and than a useful part of one.
_PLAIN = re.compile(r"[A-Za-z0-9._~-]{0,24}", re.ASCII)
_HIDDEN = "…"
_SECRET_PREFIXES = ("whsec", "dsk_", "v1.", "v1,")


def shown_path(request: web.Request) -> str:
    """Return a path for the log, on one line and without secrets."""
    path = _raw_path(request)
    if any(prefix in unquote(path).lower() for prefix in _SECRET_PREFIXES):
        before, tail, _ = path.partition(paths.TAIL)
        path = f"{before}{tail}/{_HIDDEN}" if tail else _HIDDEN
    segments = [segment if _PLAIN.fullmatch(segment) else _HIDDEN for segment in path.split("/")]
    return "/".join(segments[:_MAX_SEGMENTS] + [_HIDDEN] * (len(segments) > _MAX_SEGMENTS))


def candidate_tokens(request: web.Request, password: str | None) -> list[str]:
    """Return the well-formed tokens in query, path and password."""
    texts = [*request.query.getall("token", [])[:_MAX_TOKENS], *_segments(request), password or ""]
    found = dict.fromkeys(text.strip() for text in texts)
    return [text for text in found if tokens.parse(text)][:_MAX_TOKENS]


def tenants(request: web.Request) -> list[str]:
    """Return the path segments that may be the tenant, the most likely first."""
    segments = _segments(request)
    tail = paths.TAIL.split("/")
    before_tail = [
        segment for segment, after in itertools.pairwise(segments) if after.lower() == tail[0]
    ]
    others = [segment for segment in segments if segment.lower() not in tail]
    others.sort(key=paths.is_locale)
    likely = dict.fromkeys(before_tail + others)
    return [segment for segment in likely if paths.is_tenant(segment)][:_MAX_TENANTS]


def _raw_path(request: web.Request) -> str:
    """Return the path as sent: parsed as a URL, ``//en/demo`` would lose its first segment to the host."""
    path = request.raw_path.partition("?")[0].partition("#")[0]
    if "://" in path:
        path = "/" + path.partition("://")[2].partition("/")[2]
    return path


def _segments(request: web.Request) -> list[str]:
    parts = _raw_path(request).split("/")[: 2 * _MAX_SEGMENTS]
    return [text for part in parts if (text := unquote(part).strip())]
