"""Fixtures for all tests live in plugins, by theme."""

from __future__ import annotations

import pytest

pytest_plugins = ["tests.fixtures_network", "tests.fixtures_stack"]

# A worker that begins a slow file last is waited for by all: files in which few tests take long go first.
_SLOW_FIRST = (
    "tests/chaos/",
    "tests/acceptance/",
    "tests/upgrade/",
    "tests/integration/test_runs_",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put slow files first; within a file, and among the rest, the order stays."""

    def place(item: pytest.Item) -> int:
        return next((n for n, start in enumerate(_SLOW_FIRST) if item.nodeid.startswith(start)), 9)

    items.sort(key=place)
