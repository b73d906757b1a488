"""The metadata of a run request: reason, requester, on-behalf-of claim, annotations. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from deployment_service.domain.actors import Actor
from deployment_service.domain.errors import InvalidArgument
from deployment_service.domain.parameters import UNSTORABLE

MAX_REASON_CHARS = 500
MAX_ANNOTATIONS = 16
MAX_ANNOTATION_VALUE_CHARS = 256
_ANNOTATION_KEY = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._/-]{0,61}[A-Za-z0-9])?", re.ASCII)


@dataclass(frozen=True, slots=True)
class RunRequest:
    """The requester of a run, and its reason and annotations. Create it from caller input with ``of``."""

    requested_by: Actor | None = None
    reason: str = ""
    annotations: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, requested_by: Actor, reason: str, annotations: Mapping[str, str]) -> RunRequest:
        """Return validated metadata.

        Raises:
            InvalidArgument: a text is too long or has a character that cannot be stored.
        """
        reason = reason.strip()
        if len(reason) > MAX_REASON_CHARS:
            raise InvalidArgument("reason", f"must have at most {MAX_REASON_CHARS} characters")
        _check_storable(reason, "reason")
        return cls(requested_by, reason, check_annotations(annotations, field="annotations"))


def check_annotations(annotations: Mapping[str, str], *, field: str) -> dict[str, str]:
    """Return annotations, sorted by key.

    Raises:
        InvalidArgument: the annotations exceed a limit.
    """
    if len(annotations) > MAX_ANNOTATIONS:
        raise InvalidArgument(field, f"has more than {MAX_ANNOTATIONS} entries")
    for key, value in annotations.items():
        if not _ANNOTATION_KEY.fullmatch(key):
            raise InvalidArgument(
                field,
                f"the key {key[:80]!r} must have 1 to 63 letters, digits, '-', '_', '.' and '/', "
                "with a letter or digit at both ends",
            )
        if len(value) > MAX_ANNOTATION_VALUE_CHARS:
            raise InvalidArgument(
                f"{field}[{key}]", f"must have at most {MAX_ANNOTATION_VALUE_CHARS} characters"
            )
        _check_storable(value, f"{field}[{key}]")
    return dict(sorted(annotations.items()))


def _check_storable(text: str, field: str) -> None:
    found = UNSTORABLE.search(text)
    if found:
        raise InvalidArgument(field, f"has the character U+{ord(found.group()):04X}")
