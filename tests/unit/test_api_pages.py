"""Page tokens: read back what was written, and nothing else."""

import uuid
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployment_service.domain.errors import InvalidArgument
from deployment_service.storage.pages import Paging

PAGING = Paging(("runs", uuid.UUID(int=1), "-"), (str, int, uuid.UUID, datetime))
cells = st.tuples(
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=63),
    st.integers(0, 2**63 - 1),
    st.uuids(),
    st.datetimes(timezones=st.just(UTC)),
)


@given(cells)
def test_a_token_gives_its_cells_back(row):
    assert PAGING.cursor(PAGING.token(row)) == row


@given(cells, st.data())
def test_a_changed_token_is_refused(row, data):
    token = PAGING.token(row)
    place = data.draw(st.integers(0, len(token) - 1))
    other = data.draw(st.sampled_from("ABCabc012-_=\0é"))
    changed = token[:place] + other + token[place + 1 :]
    if changed != token:
        with pytest.raises(InvalidArgument) as caught:
            PAGING.cursor(changed)
        assert caught.value.reason == "PAGE_TOKEN_INVALID"


@given(cells)
def test_a_token_of_another_list_is_refused(row):
    other = Paging(("runs", uuid.UUID(int=2), "-"), PAGING.kinds)
    with pytest.raises(InvalidArgument):
        other.cursor(PAGING.token(row))


@given(st.text(max_size=200))
def test_any_other_text_is_refused(text):
    if text:
        with pytest.raises(InvalidArgument):
            PAGING.cursor(text)


def test_cells_of_other_kinds_are_refused():
    """Whoever builds a token by hand, with the right checksum, still hands nothing unfit to the database."""
    now = datetime.now(UTC)
    good = ("a", 1, uuid.UUID(int=0), now)
    for bad in (
        ("a\0", 1, uuid.UUID(int=0), now),
        (1, 1, uuid.UUID(int=0), now),
        ("a", -1, uuid.UUID(int=0), now),
        ("a", 2**63, uuid.UUID(int=0), now),
        ("a", "1", uuid.UUID(int=0), now),
        ("a", 1, "x", now),
        ("a", 1, uuid.UUID(int=0), datetime(2026, 1, 1)),  # noqa: DTZ001
        ("a", 1, uuid.UUID(int=0), "yesterday"),
        good[:3],
        (*good, "more"),
    ):
        with pytest.raises(InvalidArgument):
            PAGING.cursor(PAGING.token(bad))
    assert PAGING.cursor(PAGING.token(good)) == good


def test_sizes():
    assert [PAGING.size(n) for n in (0, 1, 500, 501, 2**31 - 1)] == [50, 1, 500, 500, 500]
    with pytest.raises(InvalidArgument):
        PAGING.size(-1)
