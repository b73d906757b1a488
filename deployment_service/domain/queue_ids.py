"""Ids of Jenkins' queue items, as opaque texts. Pure.

Jenkins uses numbers; other controllers and proxies may not. An id is an attribute, not an identity: Jenkins reuses ids
after a crash, and a resumed Pipeline has another id.
"""

from __future__ import annotations

import re

MAX_QUEUE_ID = 200
"""Maximum length of an id, in characters. A longer id is dropped."""

# An id with a slash could not be used in a URL: servlet containers reject `%2F`.
_UNUSABLE = re.compile("[\x00-\x20\x7f-\xa0\u2028\u2029\ud800-\udfff/\\\\]")
_NO_ITEM = re.compile(r"-[0-9]+|0+")


def parse_queue_id(value: object) -> str | None:
    """Return the id as text; None if there is none, or if no URL can contain it.

    Jenkins sends numbers; -1 and 0 mean that there is no item. Fractions are rejected: they may have lost digits.
    """
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value) if 0 < value < 10**MAX_QUEUE_ID else None
    if not isinstance(value, str) or not 0 < len(value) <= MAX_QUEUE_ID:
        return None
    if value in (".", "..") or _NO_ITEM.fullmatch(value) or _UNUSABLE.search(value):
        return None
    return value
