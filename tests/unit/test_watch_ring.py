"""The ring and its cursors, history's pages, and the bytes that streams share (P5)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployment_service.v1 import deployment_service_pb2 as pb
from deployment_service.watch import frames
from deployment_service.watch.frames import ResetReason
from deployment_service.watch.ring import Entry, HistoryGap, Page, Ring


def entry(sequence: int, weight: int = 10) -> Entry:
    return Entry(sequence, "web", "DEPLOYMENT_STATUS_UPDATE", b"x" * weight)


def ring(head: int = 0, *, events: int = 100, size: int = 10**6) -> Ring:
    return Ring(b"12345678", head, max_events=events, max_bytes=lambda: size)


steps = st.lists(
    st.one_of(
        st.tuples(st.just("append"), st.lists(st.integers(0, 400), max_size=12)),
        st.tuples(st.just("read"), st.integers(0, 2)),
    ),
    max_size=60,
)


@given(steps, st.integers(0, 50), st.integers(1, 20), st.integers(300, 5000))
def test_each_cursor_sees_every_event_once_in_order_or_is_told_that_it_is_behind(
    script, head, max_events, max_bytes
):
    """P5: whatever the bounds and however readers and the writer take turns."""
    one = ring(head, events=max_events, size=max_bytes)
    cursors = [head, head, head]
    last = head
    for what, argument in script:
        if what == "append":
            one.append(
                entry(last + place, weight) for place, weight in enumerate(argument, start=1)
            )
            last += len(argument)
            assert one.last == last
            assert len(one) <= max_events
            assert one.size <= max_bytes or len(one) == 1
        else:
            position = cursors[argument]
            batch = one.read(position, max_events=7, max_bytes=1500)
            if batch is None:
                assert position < one.base
                cursors[argument] = one.base
                continue
            assert [each.sequence for each in batch] == list(
                range(position + 1, position + 1 + len(batch))
            )
            assert bool(batch) == (position < last)
            cursors[argument] = position + len(batch)


def test_a_cursor_ahead_of_the_ring_waits():
    """P5: a token made by a replica that knows more than this one."""
    one = ring(5)
    assert one.read(9, max_events=5, max_bytes=1000) == []
    one.append([entry(6), entry(7)])
    assert one.read(9, max_events=5, max_bytes=1000) == []


@pytest.mark.parametrize("sequences", [[7], [5], [6, 8], [6, 6], [6, 5]])
def test_what_does_not_follow_is_never_taken(sequences):
    """P5: lost, doubled and swapped events are noticed where they are read."""
    one = ring(5)
    with pytest.raises(HistoryGap):
        one.append(entry(sequence) for sequence in sequences)
    assert one.last == 5 + len(sequences) - 1


def test_an_ended_ring_keeps_its_first_reason():
    one = ring()
    one.append([entry(1)])
    one.end(ResetReason.STORE_CHANGED)
    one.end(ResetReason.HISTORY_TRIMMED)
    assert one.ended is ResetReason.STORE_CHANGED
    assert one.size == 0


@given(st.sets(st.integers(101, 150)), st.integers(100, 150), st.integers(1, 60))
def test_a_page_is_read_up_to_its_first_hole(kept, position, most):
    """P5: trimming keeps each deployment's newest event, so what is kept of history may have holes."""
    page = Page(100, 150, [entry(sequence) for sequence in sorted(kept)])
    expected: list[int] = []
    while position + len(expected) + 1 in kept and len(expected) < most:
        expected.append(position + len(expected) + 1)
    batch = page.read(position, max_events=most, max_bytes=10**6)
    assert [one.sequence for one in batch] == expected


def test_batches_are_bounded_in_bytes_but_never_empty():
    """P6: what a stuck client keeps in memory is bounded."""
    page = Page(0, 3, [entry(1, 5000), entry(2, 10), entry(3, 10)])
    one = ring()
    one.append(page.entries)
    for source in (page, one):
        assert [e.sequence for e in source.read(0, max_events=9, max_bytes=100) or ()] == [1]
        assert [e.sequence for e in source.read(1, max_events=9, max_bytes=600) or ()] == [2, 3]


@given(st.integers(0, 2**63 - 1), st.text(max_size=300), st.text(max_size=60))
def test_shared_bytes_and_a_streams_own_make_the_message_of_the_contract(sequence, text, token):
    event = pb.DeploymentEvent(sequence=sequence, message=text)
    expected = pb.WatchDeploymentsResponse(event=event, resume_token=token, prev_sequence=sequence)
    made = frames.with_prev_sequence(
        frames.shared_event(event.SerializeToString(), token), sequence
    )
    assert pb.WatchDeploymentsResponse.FromString(made) == expected


def test_a_snapshot_item_is_the_message_of_the_contract():
    deployment = pb.Deployment(name="tenants/demo/deployments/web", revision=3)
    made = frames.snapshot_item(deployment.SerializeToString(), "token")
    assert pb.WatchDeploymentsResponse.FromString(made) == pb.WatchDeploymentsResponse(
        deployment=deployment, resume_token="token"
    )
