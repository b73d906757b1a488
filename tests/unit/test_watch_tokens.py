"""Resume tokens: never silently accepted when damaged, foreign or of an unknown kind (P5)."""

from __future__ import annotations

import base64
import string
import uuid
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployment_service.domain.errors import InvalidArgument
from deployment_service.watch.tokens import (
    MAX_SEQUENCE,
    ResumeToken,
    ResumeTokens,
    TokenKind,
    encode,
)

TOKENS = ResumeTokens()
TENANT = uuid.UUID("11111111-2222-4333-8444-555555555555")
ALPHABET = string.ascii_letters + string.digits + "-_"

positions = st.builds(
    TOKENS.position,
    st.just(TENANT),
    st.binary(min_size=8, max_size=8),
    st.integers(0, MAX_SEQUENCE),
)


def assert_refused(text: str, tenant: uuid.UUID = TENANT) -> None:
    with pytest.raises(InvalidArgument) as caught:
        TOKENS.decode(text, tenant)
    assert caught.value.reason == "RESUME_TOKEN_INVALID"
    assert caught.value.field == "resume_token"


@given(st.uuids(), st.binary(min_size=8, max_size=8), st.integers(0, MAX_SEQUENCE))
def test_what_is_written_is_read(tenant, epoch, sequence):
    text = TOKENS.position(tenant, epoch, sequence)
    assert TOKENS.decode(text, tenant) == ResumeToken(tenant, epoch, sequence)
    assert not set(text) - set(ALPHABET)
    assert TOKENS.decode(TOKENS.snapshot(tenant), tenant).kind is TokenKind.SNAPSHOT


@given(positions, st.uuids().filter(lambda one: one != TENANT))
def test_another_tenants_token_is_refused(text, other):
    """P5, P6: also that of a tenant since deleted whose name is used again, for it has another uid."""
    assert_refused(text, other)


@given(positions, st.data())
def test_every_change_of_a_character_is_noticed(text, data):
    """P5: a CRC notices every change of up to 32 bits in a row; the spare bits of the last character too."""
    place = data.draw(st.integers(0, len(text) - 1))
    other = data.draw(st.sampled_from(ALPHABET + "+/=é\x00").filter(lambda one: one != text[place]))
    assert_refused(text[:place] + other + text[place + 1 :])


@given(positions, st.data())
def test_truncated_extended_and_swapped_texts_are_refused(text, data):
    """P5."""
    assert_refused(text[: data.draw(st.integers(0, len(text) - 1))])
    assert_refused(text + data.draw(st.text(min_size=1)))
    place = data.draw(st.integers(0, len(text) - 2))
    swapped = text[:place] + text[place + 1] + text[place] + text[place + 2 :]
    if swapped != text:
        assert_refused(swapped)


@given(st.text())
def test_any_text_is_refused(text):
    """P5."""
    assert_refused(text)


@pytest.mark.parametrize(("version", "kind"), [(0, 0), (2, 0), (1, 2), (1, 255)])
def test_versions_and_kinds_to_come_are_refused(version, kind):
    """P5: after a downgrade, too, a token is refused rather than misread."""
    good = base64.urlsafe_b64decode(TOKENS.position(TENANT, b"12345678", 7) + "=")
    body = bytes([version, kind]) + good[2:-4]
    text = base64.urlsafe_b64encode(body + zlib.crc32(body).to_bytes(4, "big")).rstrip(b"=")
    assert_refused(text.decode())


def test_a_sequence_that_no_database_can_hold_is_refused():
    """P5."""
    assert_refused(encode(ResumeToken(TENANT, bytes(8), MAX_SEQUENCE + 1)))
