"""Names of Jenkins' endpoints, so that a fault can strike one of them alone."""

from __future__ import annotations

import re

_JOB = r"^(/job/[^/?]+)+"
_END = r"/?(\?|$)"
_PATTERNS = {
    "root": ("GET", r"^/api/"),
    "who_am_i": ("GET", r"^/(whoAmI|me)/api/"),
    "crumb": ("GET", r"^/crumbIssuer/"),
    "queue": ("GET", r"^/queue/api/"),
    "queue_item": ("GET", r"^/queue/item/[^/?]+/api/"),
    "cancel_item": ("POST", r"^/queue/cancelItem" + _END),
    "executors": ("GET", r"^/computer/"),
    "job": ("GET", _JOB + r"/api/"),
    "build": ("GET", _JOB + r"/(\d+|last[A-Za-z]+)/api/"),
    "console": ("GET", _JOB + r"/\d+/(consoleText|logText/\w+)" + _END),
    "trigger": ("POST", _JOB + r"/build(WithParameters)?" + _END),
    "stop": ("POST", _JOB + r"/\d+/(stop|term|kill)" + _END),
    "create_item": ("POST", r"^(/job/[^/?]+)*/createItem" + _END),
    "read_config": ("GET", _JOB + r"/config\.xml" + _END),
    "write_config": ("POST", _JOB + r"/config\.xml" + _END),
    "delete": ("POST", _JOB + r"/doDelete" + _END),
    "credentials": (".*", r"^(/job/[^/?]+)*/credentials/"),
    "plugins": ("GET", r"^/pluginManager/"),
}
_COMPILED = {
    name: (re.compile(method), re.compile(path)) for name, (method, path) in _PATTERNS.items()
}
ENDPOINTS = frozenset(_PATTERNS)


def is_endpoint(name: str, method: str, raw_path: str) -> bool:
    """Return whether a request belongs to this endpoint. Raises ValueError for an unknown name."""
    if name not in _COMPILED:
        raise ValueError(f"unknown endpoint {name!r}; known: {sorted(ENDPOINTS)}")
    method_pattern, path_pattern = _COMPILED[name]
    return bool(method_pattern.fullmatch(method) and path_pattern.search(raw_path))
