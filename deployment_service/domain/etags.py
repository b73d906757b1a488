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
