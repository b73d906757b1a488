"""Every check of docs/models names a model and rules that exist; the page shows all traces."""

from __future__ import annotations

import re
from pathlib import Path

MODELS = Path(__file__).parents[2] / "docs" / "models"
CHECKS = [
    [cell.strip() for cell in line.split("|")]
    for line in (MODELS / "checks.txt").read_text().splitlines()
    if line and not line.startswith("#")
]


def removed(model: str) -> set[str]:
    return {name for row in CHECKS if row[0] == model for name in row[2].split()}


def test_every_define_of_a_check_stands_in_its_model_and_every_removable_rule_is_checked() -> None:
    assert CHECKS
    for model in {row[0] for row in CHECKS}:
        source = (MODELS / f"{model}.pml").read_text()
        asked = set(re.findall(r"#(?:ifn?def|elif defined)\W+(\w+)", source))
        assert removed(model) <= asked
        assert {name for name in asked if name.startswith("WITHOUT_")} <= removed(model)


def test_the_page_shows_a_trace_of_every_removed_rule() -> None:
    page = (MODELS / "README.md").read_text()
    traces = dict(re.findall(r"<!-- trace: (\w+) -->\n```text\n(.*?)```", page, re.DOTALL))
    rules = {name for row in CHECKS for name in row[2].split() if name.startswith("WITHOUT_")}
    assert set(traces) == rules
    assert all(text.count("\n") >= 3 for text in traces.values())


def test_each_check_says_in_words_what_it_is_about() -> None:
    for row in CHECKS:
        assert len(row) == 4, row
        assert row[3], row
