"""Hostile answers are refused before they cost anything."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployment_service.cicd.jenkins_json import (
    MAX_CONTAINERS,
    MAX_DEPTH,
    AnswerBudget,
    AnswerTooLarge,
    decode,
)

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=20,
)


@given(VALUES)
def test_an_ordinary_answer_is_decoded(value):
    assert decode(json.dumps(value).encode()) == value


@pytest.mark.parametrize(
    "body",
    [
        b"[" + b"{}," * MAX_CONTAINERS + b"{}]",
        b"[" + b"[]," * MAX_CONTAINERS + b"[]]",
        b"[" * (MAX_DEPTH + 1) + b"]" * (MAX_DEPTH + 1),
        b'{"a":' * (MAX_DEPTH + 1) + b"1" + b"}" * (MAX_DEPTH + 1),
        b"[" * 40_000 + b"]" * 40_000,
    ],
    ids=["objects", "lists", "nested lists", "nested objects", "beyond the recursion limit"],
)
def test_structure_beyond_the_bounds_is_refused(body):
    with pytest.raises(AnswerTooLarge):
        decode(body)


@pytest.mark.parametrize("body", [b"", b"<html>", b"\xff\xfe", b"1" * 5000, b'{"a":1'])
def test_what_is_no_json_is_a_value_error(body):
    with pytest.raises(ValueError):
        decode(body)


def test_a_budget_is_spent_by_bytes_and_by_time_and_is_new_each_minute():
    now = 0.0
    budget = AnswerBudget(bytes_per_minute=100, decoding_s_per_minute=1.0, clock=lambda: now)
    budget.spend(99, 0.5)
    assert not budget.exhausted()
    budget.spend(1, 0.0)
    assert budget.exhausted()
    now = 60.0
    assert not budget.exhausted()
    budget.spend(0, 1.0)
    assert budget.exhausted()
