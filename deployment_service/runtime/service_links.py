"""Environment variables that Kubernetes sets for each Service, and Docker for each link.

A Service called ``webhook-gateway`` sets ``WEBHOOK_GATEWAY_PORT=tcp://10.0.0.7:8080`` in every container of its
namespace (Kubernetes, "Discovering services", environment variables): the name of one of our settings.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

SERVICE_LINK = "its value is the address of a Kubernetes Service of that name, not a setting"

_LINK = re.compile(r"\s*(?:tcp|udp|sctp)://[^\s/]+:[0-9]{1,5}\s*", re.ASCII)


def is_service_link(value: str) -> bool:
    """Return whether the platform set this value; no setting of this project has this form."""
    return _LINK.fullmatch(value) is not None


def ignored_settings(names: Iterable[str], environ: Mapping[str, str]) -> list[str]:
    """Return the names of settings that have such a value, and are therefore ignored."""
    wanted = {name.upper() for name in names}
    return sorted(
        name for name, value in environ.items() if name.upper() in wanted and is_service_link(value)
    )
