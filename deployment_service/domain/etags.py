"""Etags: versions of resources for optimistic concurrency control."""

from __future__ import annotations

import uuid

from deployment_service.domain.errors import Aborted


def etag(uid: uuid.UUID, version: int) -> str:
    """Return the etag of a version.

    It contains the uid, so that a later resource with the same name has other etags.
    """
    return f"{uid.hex[:12]}-{version}"


def check_etag(given: str, uid: uuid.UUID, version: int, *, name: str) -> None:
    """Check an etag of a caller; an empty one passes.

    Raises:
        Aborted: the etag is not the current one.
    """
    if given and given != etag(uid, version):
        raise Aborted(
            "ETAG_MISMATCH",
            f"'{name}' has changed since it was read: read it again, then repeat the change.",
            metadata={"name": name},
        )
