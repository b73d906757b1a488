"""The alert rules name metrics that exist, with labels that they have, and each is described for operators."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, cast

import pytest

from deployment_service.workers.reconciler.unsettled import REASONS
from tests.support.metrics import service_registry
from tests.support.simple_yaml import load

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "deploy" / "prometheus" / "alerts.yml").read_text()
SELECTOR = re.compile(r"\b([a-z_]+)(?:\{([^}]*)\})?(?!\w|\s*\()")
WORDS = {"by", "or", "and", "unless", "without", "on", "ignoring"}


def rules() -> list[dict[str, Any]]:
    document = cast("Any", load(TEXT))
    return [rule for group in document["groups"] for rule in group["rules"]]


def selectors(expression: str) -> list[tuple[str, str]]:
    """The metrics of a PromQL expression with their label matchers."""
    without_labels_of_by = re.sub(r"\b(by|without)\s*\([^)]*\)", "", expression)
    return [
        (name, labels or "")
        for name, labels in SELECTOR.findall(without_labels_of_by)
        if name not in WORDS
    ]


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: str(rule["alert"]))
def test_each_rule_names_metrics_that_exist(rule: dict[str, Any]) -> None:
    known = {family.name for family in service_registry().collect()}
    named = selectors(rule["expr"])
    assert named
    assert {name for name, _ in named} <= known
    for _, labels in named:
        for value in re.findall(r'reason!?="([^"]*)"', labels):
            assert value in REASONS


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: str(rule["alert"]))
def test_each_rule_waits_and_says_what_to_do(rule: dict[str, Any]) -> None:
    assert re.fullmatch(r"\d+m", rule["for"])
    assert rule["labels"]["severity"] in ("warning", "critical")
    assert rule["annotations"]["summary"]
    assert "docs/operations.md" in rule["annotations"]["description"]
    assert f"`{rule['alert']}`" in (ROOT / "docs" / "operations.md").read_text()


def test_a_rule_that_names_an_unknown_metric_is_noticed() -> None:
    assert selectors('max by (reason) (no_such_metric{reason="NONE"}) > 600') == [
        ("no_such_metric", 'reason="NONE"')
    ]
    assert selectors("absent(one) or min(two) == 0") == [("one", ""), ("two", "")]


@pytest.mark.parametrize(
    "text",
    [
        "a: [1]",
        "a: {b: c}",
        "a:",
        "a: b\n  c: d",
        "- a: b\n   c: d",
        "a: b\na: c",
        "a: 'b'",
        "\ta: b",
    ],
)
def test_what_the_reader_of_rules_does_not_know_is_an_error(text: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        load(text)
