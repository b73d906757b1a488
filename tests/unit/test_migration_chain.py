"""Revisions form one chain: two that landed at the same time would leave the database with two heads."""

from __future__ import annotations

import re
from pathlib import Path

VERSIONS = Path(__file__).parents[2] / "migrations" / "versions"


def test_each_revision_follows_the_one_before():
    chain = []
    for path in sorted(VERSIONS.glob("[0-9]*.py")):
        text = path.read_text()
        (revision,) = re.findall(r'^revision = "(\d+)"$', text, re.MULTILINE)
        (before,) = re.findall(r'^down_revision = (?:"(\d+)"|None)$', text, re.MULTILINE)
        assert path.name.startswith(f"{revision}_")
        chain.append((revision, before))
    expected = [(f"{n:04}", f"{n - 1:04}" if n > 1 else "") for n in range(1, len(chain) + 1)]
    assert chain == expected
