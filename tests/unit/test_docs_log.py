"""Log events and messages that pages quote are those of the code: an operator searches the log for them."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = {
    str(page.relative_to(ROOT)): page.read_text() for page in sorted((ROOT / "docs").rglob("*.md"))
}
SOURCES = [
    path
    for package in ("deployment_service", "webhook_gateway")
    for path in (ROOT / package).rglob("*.py")
    if "v1" not in path.parts
]
LITERALS = {
    node.value
    for path in SOURCES
    for node in ast.walk(ast.parse(path.read_text()))
    if isinstance(node, ast.Constant) and isinstance(node.value, str)
}
TABLES = set(
    re.findall(
        r"CREATE (?:UNLOGGED )?TABLE (?:IF NOT EXISTS )?(\w+)",
        "".join(path.read_text() for path in (ROOT / "migrations" / "versions").glob("*.py")),
    )
)
DOTTED = re.compile(r"`([a-z_]+\.[a-z_]+)(?: [a-z_]+=[a-z_]+)?`")
MESSAGE = re.compile(r"`([A-Za-z][a-z]+(?: [\w,-]+)+)`")
FILE = re.compile(r".*\.(?:py|sh|txt|ya?ml|env|lock|json|xml|toml|pml|md|proto|mjs)")
# Of the same form, but not of the log: fields of messages, modules, names of the tutorial.
NOT_EVENTS = re.compile(
    r"(?:start|event|deployment|cicd_job|pytest|currentBuild)\.\w+|deployment_service\.client|demo\.hello"
)


def quoted_events(text: str) -> set[str]:
    """The log events that a page quotes: what else has a full stop is a file, a column or a field."""
    return {
        one
        for one in DOTTED.findall(text)
        if not FILE.fullmatch(one)
        and not NOT_EVENTS.fullmatch(one)
        and one.partition(".")[0] not in TABLES
    }


@pytest.mark.parametrize("name", PAGES)
def test_every_quoted_log_event_exists(name: str):
    assert quoted_events(PAGES[name]) <= LITERALS


def test_every_message_in_operations_exists():
    quoted = {
        one
        for one in MESSAGE.findall(PAGES["docs/operations.md"])
        if not one.startswith(("deployctl ", "deployment-service "))
    }
    assert len(quoted) > 8
    assert {one for one in quoted if not any(one in literal for literal in LITERALS)} == set()


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("`database.unavailable` names", {"database.unavailable"}),
        ("`database.connections_discarded reason=silent`", {"database.connections_discarded"}),
        ("`store_epoch.marker` and `config.xml`", set()),
        ("`domain/status.py`", set()),
    ],
)
def test_what_counts_as_a_log_event(text: str, found: set[str]):
    assert quoted_events(text) == found
