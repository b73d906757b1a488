"""Ids of Jenkins' queue items: opaque text. Pure.

Jenkins counts them with numbers, other controllers and proxies need not. An id is an attribute, not an
identity: Jenkins gives ids out again after a crash, and a resumed Pipeline has another one.
"""

from __future__ import annotations

import re

MAX_QUEUE_ID = 200
"""Characters of the longest id that is kept; a longer one counts as none."""

# A slash could not be sent back in a path: servlet containers refuse `%2F`.
_UNUSABLE = re.compile("[\x00-\x20\x7f-\xa0\u2028\u2029\ud800-\udfff/\\\\]")
_NO_ITEM = re.compile(r"-[0-9]+|0+")


def parse_queue_id(value: object) -> str | None:
    """Return the id as text; None if the sender gave none, or one that no request could name.

    Jenkins sends numbers; -1 and 0 mean that there is no item. A fraction may have lost digits on its way.
    """
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value) if 0 < value < 10**MAX_QUEUE_ID else None
    if not isinstance(value, str) or not 0 < len(value) <= MAX_QUEUE_ID:
        return None
    if value in (".", "..") or _NO_ITEM.fullmatch(value) or _UNUSABLE.search(value):
        return None
    return value
