"""Which ids of queue items count. Defends P3: an acceptance keeps what ties it to its build."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployment_service.domain.queue_ids import parse_queue_id
from webhook_gateway import payloads


@pytest.mark.parametrize(
    ("value", "meaning"),
    [
        (38, "38"),
        ("38", "38"),
        (7213489120345678901, "7213489120345678901"),
        (2**64, "18446744073709551616"),
        ("q-38", "q-38"),
        ("9" * 200, "9" * 200),
        *((value, None) for value in (None, 0, -1, True, 1.5, "", "0", "000", "-1", "-38")),
        *((value, None) for value in (".", "..", "a/b", "a b", "a\n", "\0", "\ud800", "9" * 201)),
        *((value, None) for value in (10**200, [38], {"id": 38}, b"38")),
    ],
    ids=repr,
)
def test_usable_ids(value, meaning):
    assert parse_queue_id(value) == meaning


@pytest.mark.parametrize(
    ("value", "passed_on"),
    [
        *((value, str(value)) for value in (38, "38", 7213489120345678901, 2**64, "q-38")),
        *((value, "") for value in (-1, 0, None, True, 1.5, "", "0", "-1", "a\nb", [38])),
        ("9" * 201, ""),
    ],
    ids=repr,
)
def test_the_gateway_passes_on_what_a_webhook_names(value, passed_on):
    build = {"number": 7, "phase": "STARTED", "queue_id": value}
    body = json.dumps({"name": "app", "url": "job/app/", "build": build}).encode()
    assert payloads.parse(body).queue_id == passed_on


@given(st.text(min_size=1, max_size=210) | st.integers())
def test_an_id_that_counts_stays_as_it_came_and_counts_again(value):
    parsed = parse_queue_id(value)
    assert parsed is None or (parsed == str(value) and parse_queue_id(parsed) == parsed)
