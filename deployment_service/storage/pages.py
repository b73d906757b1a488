"""Page tokens: opaque cursors, bound to one list and its filters.

The checksum is no secret: it detects damaged tokens and tokens of other lists. A forged token gives access only to
another position in a list that its caller may read anyway.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Generic, TypeVar

from deployment_service.domain.errors import InvalidArgument

_VERSION = b"\x01"
_CHECK_BYTES = 8
_MAX_CHARS = 1000
_MAX_BIGINT = 2**63 - 1

Cell = str | int | uuid.UUID | datetime
Row = TypeVar("Row")


@dataclass(frozen=True, slots=True)
class Chunk(Generic[Row]):
    """Some rows of a query, and whether there are more."""

    rows: list[Row]
    more: bool


@dataclass(frozen=True, slots=True)
class Page(Generic[Row]):
    """Some rows of a list. ``next_token`` is empty on the last page."""

    rows: list[Row]
    next_token: str


@dataclass(frozen=True, slots=True)
class Paging:
    """The paging of one list. ``scope``: the list and its filters. ``kinds``: the types of the cursor's cells."""

    scope: Sequence[object]
    kinds: Sequence[type[Cell]]
    default_size: int = 50
    max_size: int = 500

    def size(self, page_size: int) -> int:
        """Return the number of rows of a page for the ``page_size`` of a request."""
        if page_size < 0:
            raise InvalidArgument("page_size", "must not be negative; 0 means the default")
        return min(page_size or self.default_size, self.max_size)

    def cursor(self, page_token: str) -> tuple[Cell, ...] | None:
        """Return the cells of a token; None for the first page."""
        if not page_token:
            return None
        cells = self._decode(page_token)
        if cells is None:
            raise InvalidArgument(
                "page_token",
                "must be a next_page_token of the same list with the same filters",
                reason="PAGE_TOKEN_INVALID",
            )
        return cells

    def page(
        self, rows: Sequence[Row], size: int, cells: Callable[[Row], tuple[Cell, ...]]
    ) -> Page[Row]:
        """Return a page of ``size`` rows; ``rows`` has one more if there is another page."""
        shown = list(rows[:size])
        return Page(shown, self.token(cells(shown[-1])) if len(rows) > size else "")

    def token(self, cells: tuple[Cell, ...]) -> str:
        """Return the token of the page that begins after ``cells``."""
        body = json.dumps([_write(cell) for cell in cells], separators=(",", ":")).encode()
        raw = _VERSION + self._check(body) + body
        return base64.urlsafe_b64encode(raw).rstrip(b"=").decode("ascii")

    def _decode(self, text: str) -> tuple[Cell, ...] | None:
        if len(text) > _MAX_CHARS or not text.isascii():
            return None
        try:
            raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        except binascii.Error:
            return None
        body = raw[1 + _CHECK_BYTES :]
        if raw[: 1 + _CHECK_BYTES] != _VERSION + self._check(body):
            return None
        try:
            cells = tuple(
                _read(kind, cell) for kind, cell in zip(self.kinds, json.loads(body), strict=True)
            )
        except (ValueError, TypeError, RecursionError):
            return None
        # base64 has unused bits at the end; a token with other bits there is rejected too.
        return cells if self.token(cells) == text else None

    def _check(self, body: bytes) -> bytes:
        scope = json.dumps([str(part) for part in self.scope]).encode()
        return hashlib.sha256(scope + b"\x00" + body).digest()[:_CHECK_BYTES]


def _write(cell: Cell) -> str | int:
    match cell:
        case datetime():
            return cell.isoformat()
        case uuid.UUID():
            return str(cell)
        case _:
            return cell


def _read(kind: type[Cell], cell: object) -> Cell:
    """Return a cell. Raises ValueError or TypeError for a value that the database would reject."""
    if kind is int and isinstance(cell, int) and 0 <= cell <= _MAX_BIGINT:
        return cell
    if not isinstance(cell, str) or "\x00" in cell:
        raise ValueError("not a cell")
    cell.encode()
    if kind is uuid.UUID:
        return uuid.UUID(cell)
    if kind is datetime:
        time = datetime.fromisoformat(cell)
        if time.tzinfo is None:
            raise ValueError("a time without a zone")
        return time
    if kind is str:
        return cell
    raise ValueError("not a cell")
