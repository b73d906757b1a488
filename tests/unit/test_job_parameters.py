"""Values that Jenkins would change or drop without a word are refused, with kind and choices."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from deployment_service.cicd.port import ParameterDefinition
from deployment_service.domain.job_parameters import (
    mismatch,
    referenced_builds,
    secret_names,
)


def defined(name: str, kind: str, *choices: str) -> ParameterDefinition:
    return ParameterDefinition(name, f"{kind}ParameterDefinition", choices=choices)


JOB = (
    defined("S", "String"),
    defined("T", "Text"),
    defined("FLAG", "Boolean"),
    defined("C", "Choice", "a ", " b ", ""),
    defined("NONE", "Choice"),
    defined("PW", "Password"),
    defined("CRED", "Credentials"),
    defined("F", "File"),
    defined("R", "Run"),
    defined("X", "ExtendedChoice"),
    defined("delay", "String"),
)


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"S": " blanks ", "T": "a\r\n\tb\u2028", "FLAG": "true", "C": " b "},
        {"FLAG": "false", "C": ""},
        {"PW": "TRUE", "CRED": "some-id"},
        {"R": "shop/web#7"},
    ],
)
def test_what_arrives_as_it_is_is_taken(values: Mapping[str, str]) -> None:
    assert mismatch(JOB, values) is None


@pytest.mark.parametrize("value", ["yes", "1", "on", " TRUE ", "", "True", "FALSE", "false\n"])
def test_booleans_other_than_true_and_false_are_refused(value: str) -> None:
    message = mismatch(JOB, {"FLAG": value})
    assert message is not None
    assert "FLAG is of the kind BOOLEAN" in message
    assert repr(value) in message
    assert "'true' and 'false'" in message


@pytest.mark.parametrize("value", ["b", "a", "A ", " b", "\xa0b "])
def test_choices_must_match_exactly_and_blanks_are_visible(value: str) -> None:
    message = mismatch(JOB, {"C": value})
    assert message is not None
    assert "kind CHOICE" in message
    assert repr(value) in message
    assert "'a ', ' b ', ''" in message


@pytest.mark.parametrize("value", ["", "x"])
def test_a_choice_without_choices_takes_nothing(value: str) -> None:
    assert "no choices" in (mismatch(JOB, {"NONE": value}) or "")


def test_many_choices_are_cut_off() -> None:
    many = defined("M", "Choice", *(f"c{i}" for i in range(500)))
    message = mismatch((many,), {"M": "z" * 10_000})
    assert message is not None
    assert "'c19' and 480 more" in message
    assert len(message) < 500


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"F": "text"}, "kind FILE"),
        ({"R": "web"}, "kind RUN"),
        ({"R": "web#0"}, "kind RUN"),
        ({"R": "web#"}, "'shop/web#7'"),
        ({"X": "a"}, "kind EXTENDEDCHOICE"),
        ({"delay": "3sec"}, "quiet period"),
        ({"UNKNOWN": "1", "S": "1"}, "doesn't define UNKNOWN"),
        ({"flag": "true"}, "flag (but FLAG)"),
    ],
)
def test_what_jenkins_drops_or_changes_is_refused(values: Mapping[str, str], said: str) -> None:
    assert said in (mismatch(JOB, values) or "")


def test_a_name_that_is_defined_twice_must_fit_both() -> None:
    twice = (defined("A", "String"), defined("A", "Boolean"))
    assert mismatch(twice, {"A": "yes"})
    assert mismatch(twice, {"A": "true"}) is None


@pytest.mark.parametrize("kind", ["Password", "NonStoredPassword", "Credentials", "VaultSecret"])
def test_passwords_and_their_like_are_secret(kind: str) -> None:
    assert secret_names((defined("P", kind), defined("S", "String"))) == {"P"}


def test_the_builds_that_run_parameters_name() -> None:
    values = {"R": "shop/web#7", "S": "shop/web#8"}
    assert referenced_builds(JOB, values) == {"R": ("shop/web", 7)}
    assert referenced_builds(JOB, {"R": "web#x"}) == {}
