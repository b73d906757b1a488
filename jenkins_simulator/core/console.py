"""A build's console: raw text with Jenkins' hidden notes, and the plain text without them."""

from __future__ import annotations

import re

_NOTE = re.compile(r"\x1b\[8mha:.*?\x1b\[0m", re.S)
# A note is an encoded object that only Jenkins can read; clients see that the raw log is larger
# than the text, and `loglines` sends it as it is.
_USER_LINK_NOTE = "\x1b[8mha:////" + "A" * 243 + "==\x1b[0m"


class Console:
    """The log of one build."""

    def __init__(self) -> None:
        self._parts: list[str] = []

    def line(self, text: str) -> None:
        """Append one line."""
        self._parts.append(text + "\n")

    def write(self, text: str) -> None:
        """Append text as it is."""
        self._parts.append(text)

    def started_by(self, text: str, user: str | None) -> None:
        """Append a cause; the user's name is a link, which is what the note is for."""
        if user is not None and text.endswith(user):
            text = text[: -len(user)] + _USER_LINK_NOTE + user
        self.line(text)

    @property
    def raw(self) -> str:
        """The log as it lies on disk."""
        if len(self._parts) > 1:
            self._parts = ["".join(self._parts)]
        return self._parts[0] if self._parts else ""

    @property
    def raw_bytes(self) -> bytes:
        """The log as it lies on disk, which offsets and sizes count."""
        return self.raw.encode(errors="surrogateescape")

    @property
    def plain(self) -> str:
        """The log as people see it."""
        return _NOTE.sub("", self.raw)

    def plain_from(self, offset: int) -> str:
        """Plain text from an offset into the raw log."""
        return _NOTE.sub("", self.raw_bytes[offset:].decode(errors="replace"))
