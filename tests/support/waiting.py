"""Waiting for what must become true, instead of sleeping and hoping."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


async def until(
    condition: Callable[[], object], *, timeout_s: float = 20.0, what: str = ""
) -> None:
    """Return as soon as ``condition`` is true; fail with ``what`` was awaited if it never is."""
    try:
        async with asyncio.timeout(timeout_s):
            while not condition():  # noqa: ASYNC110  anything may change it, nothing tells us
                await asyncio.sleep(0.01)
    except TimeoutError:
        raise AssertionError(f"not true within {timeout_s:g} s: {what or condition}") from None
