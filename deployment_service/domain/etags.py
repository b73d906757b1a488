"""Etags: which version of a resource somebody has seen."""

from __future__ import annotations

import uuid

from deployment_service.domain.errors import Aborted


def etag(uid: uuid.UUID, version: int) -> str:
    """The etag of a version. With the uid in it, so that a successor of the same name has others."""
    return f"{uid.hex[:12]}-{version}"


def check_etag(given: str, uid: uuid.UUID, version: int, *, name: str) -> None:
    """Raise Aborted if an etag is given and isn't the current one."""
    if given and given != etag(uid, version):
        raise Aborted(
            "ETAG_MISMATCH",
            f"'{name}' has changed since it was read: read it again, then repeat the change.",
            metadata={"name": name},
        )


def version_of(given: str) -> int | None:
    """The version that an etag speaks of; None if none is given, 0 (which nothing has) if it isn't one."""
    if not given:
        return None
    _, _, version = given.partition("-")
    return int(version) if version.isascii() and version.isdigit() and len(version) < 18 else 0
