"""Texts are freed of secret values in each form in which they may be quoted."""

from __future__ import annotations

import html
import json
from collections.abc import Callable
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployment_service.domain.secret_values import pack, redact, split, unpack


@pytest.mark.parametrize(
    "form",
    [str, repr, json.dumps, html.escape, quote, quote_plus, str.strip],
    ids=lambda f: f.__name__,
)
@pytest.mark.parametrize("secret", ["s3cret", " a <b> & 'c' \"d\" ", "ä/ö+ü", "line\nline"])
def test_a_quoted_secret_is_redacted(form: Callable[[str], str], secret: str) -> None:
    text = redact(f"Illegal choice for parameter P: {form(secret)} .", [secret, "", "other"])
    assert "[redacted]" in text
    assert form(secret).strip("\"'") not in text


def test_a_secret_inside_another_leaves_no_rest() -> None:
    assert redact("abcdef", ["abc", "abcdef"]) == "[redacted]"


@given(st.dictionaries(st.text(), st.text()), st.sets(st.text()))
def test_values_survive_and_are_told_apart(values: dict[str, str], names: set[str]) -> None:
    apart = split(values, names)
    assert {**apart.shown, **unpack(pack(apart.secret))} == values
    assert apart.secret.keys() == values.keys() & names
