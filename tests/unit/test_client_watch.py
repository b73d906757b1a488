"""P5: a watcher sees every event once, in order, and can prove it; it resumes after any interruption."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import grpc
import pytest
import pytest_asyncio
from hypothesis import given
from hypothesis import strategies as st

from deployment_service.client import DeploymentClient, WatchGapError
from deployment_service.client.errors import (
    HistoryLost,
    InvalidArgument,
    PermissionDenied,
    ResourceExhausted,
)
from deployment_service.client.watch import Completeness
from deployment_service.runtime.backoff import Backoff
from deployment_service.v1 import deployment_service_pb2 as pb
from deployment_service.v1.deployment_service_pb2 import WatchDeploymentsResponse
from tests.support.scripted_service import (
    Fail,
    Hang,
    ScriptedService,
    Stream,
    retry_info,
    scripted_service,
)

WATCH = "WatchDeployments"
LOST = Fail(grpc.StatusCode.UNAVAILABLE, "the replica stops")


@pytest_asyncio.fixture
async def service() -> AsyncIterator[ScriptedService]:
    async with scripted_service() as service:
        yield service


@pytest_asyncio.fixture
async def client(service: ScriptedService) -> AsyncIterator[DeploymentClient]:
    backoff = Backoff(first_s=0.001, longest_s=0.01)
    async with DeploymentClient(
        service.target, api_key="key", tenant="demo", backoff=backoff
    ) as client:
        yield client


async def take(watch, count: int) -> list[str]:
    """The next messages, each in a word or two."""
    words = []
    async for message in watch:
        kind = message.WhichOneof("response")
        match kind:
            case "event":
                words.append(f"event {message.event.sequence}")
            case "deployment":
                words.append(message.deployment.name.rpartition("/")[2])
            case _:
                words.append(kind)
        if len(words) == count:
            return words
    return [*words, "end"]


def tokens(service: ScriptedService) -> list[str]:
    return [request.resume_token for request in service.requests[WATCH]]


async def test_first_the_present_then_events_and_bookmarks_stay_inside(service, client):
    stream = Stream()
    service.will(
        WATCH,
        [
            stream.start(),
            stream.item("a"),
            stream.item("b"),
            stream.complete(7),
            stream.bookmark(),
            stream.event(),
            stream.bookmark(),
            stream.event(),
            Hang,
        ],
    )
    async with client.watch_messages() as watch:
        assert await take(watch, 5) == ["a", "b", "snapshot_complete", "event 8", "event 9"]
        assert (watch.resume_token, watch.position) == ("at-9", 9)
    assert service.requests[WATCH][0].parent == "tenants/demo"
    assert service.metadata[0]["authorization"] == "Bearer key"


@pytest.mark.parametrize("default", [None, "demo", "other"])
async def test_a_watch_is_of_the_tenant_that_its_names_are_of(service, default):
    service.will(WATCH, [Stream().start(), Stream().complete(1), Hang])
    name = "tenants/demo/deployments/web"
    async with DeploymentClient(service.target, api_key="key", tenant=default) as client:
        async with client.watch_messages(name) as watch:
            await take(watch, 1)
    (request,) = service.requests[WATCH]
    assert (request.parent, list(request.names)) == ("tenants/demo", [name])


async def test_without_tenant_and_names_a_watch_says_what_it_lacks(service):
    async with DeploymentClient(service.target, api_key="key") as client:
        with pytest.raises(InvalidArgument, match="No tenant"):
            client.watch_messages()


async def test_it_resumes_after_the_last_message_that_was_handed_over(service, client):
    """P5: nothing twice, nothing missing, over any number of interruptions."""
    stream = Stream(position=4)
    service.will(
        WATCH,
        [stream.start(), stream.event(), stream.event(), LOST],
        LOST,
        [stream.start(), stream.bookmark(9), LOST],
        [stream.start(), stream.event(), Hang],
    )
    told: list[str] = []
    watch = client.watch_messages(
        "web",
        resume_token="at-4",
        on_disconnect=lambda failure, _pause: told.append(failure.message),
    )
    async with watch:
        assert await take(watch, 3) == ["event 5", "event 6", "event 10"]
    assert tokens(service) == ["at-4", "at-6", "at-6", "at-9"]
    assert told == ["the replica stops"] * 3
    assert list(service.requests[WATCH][0].names) == ["tenants/demo/deployments/web"]


async def test_a_message_that_was_not_handed_over_is_not_resumed_after(service, client):
    """P5: a client that stops between two messages goes on exactly there."""
    stream = Stream(position=4)
    service.will(WATCH, [stream.start(), stream.event(), stream.event(), Hang])
    async with client.watch_messages(resume_token="at-4") as watch:
        await take(watch, 1)
        assert watch.resume_token == "at-5"


async def test_a_stream_that_breaks_in_its_snapshot_starts_it_again(service, client):
    stream = Stream()
    service.will(
        WATCH,
        [stream.start(), stream.item("gone"), stream.item("b"), LOST],
        [stream.start(), stream.item("b"), stream.complete(3), Hang],
    )
    async with client.watch_messages() as watch:
        assert await take(watch, 2) == ["b", "snapshot_complete"]
    assert tokens(service) == ["", ""]


async def test_a_reset_is_handed_over_and_a_snapshot_follows(service, client):
    stream = Stream()
    service.will(
        WATCH,
        [stream.start(), stream.reset(), stream.item("a"), LOST],
        [stream.start(), stream.item("a"), stream.complete(70), stream.event(), Hang],
    )
    async with client.watch_messages(resume_token="old") as watch:
        assert await take(watch, 4) == ["reset", "a", "snapshot_complete", "event 71"]
    assert tokens(service) == ["old", "snapshot"]


async def test_a_watch_yields_events_and_says_after_each_where_to_go_on(service, client):
    """P5: the present at first, bookmarks and interruptions stay inside."""
    stream = Stream()
    service.will(
        WATCH,
        [stream.start(), stream.item("a"), stream.complete(7), stream.event(), LOST],
        [stream.start(), stream.event(), stream.bookmark(), Hang],
    )
    seen = []
    async with client.watch("a", types=[pb.DeploymentEvent.DEPLOYMENT_RUN_START]) as watch:
        async for event in watch:
            seen.append((event.sequence, watch.resume_token))
            if event.sequence == 9:
                break
    assert seen == [(8, "at-8"), (9, "at-9")]
    assert tokens(service) == ["", "at-8"]
    (asked, again) = service.requests[WATCH]
    assert list(asked.types) == list(again.types) == [pb.DeploymentEvent.DEPLOYMENT_RUN_START]
    assert [event async for event in watch] == []


async def test_a_watch_until_ends(service, client):
    stream = Stream(position=4)
    service.will(WATCH, [stream.start(), stream.event(), stream.bookmark(9)])
    watch = client.watch("web", resume_token="at-4", until=pb.WATCH_UNTIL_SETTLED)
    assert [event.sequence async for event in watch] == [5]
    assert watch.resume_token == "at-9"


async def test_a_watch_raises_when_the_history_is_lost(service, client):
    service.will(WATCH, [Stream().start(), Stream().reset(), Hang])
    watch = client.watch(resume_token="old")
    with pytest.raises(HistoryLost, match="REASON_HISTORY_TRIMMED"):
        await anext(watch)
    assert watch.resume_token == "snapshot", "whoever goes on begins with the present"
    assert [event async for event in watch] == []


async def test_silence_longer_than_promised_is_a_broken_connection(service, client):
    stream = Stream(position=4, max_silence_s=0.05)
    service.will(
        WATCH,
        [stream.start(), stream.event(), Hang],
        [Stream().start(), stream.event(), Hang],
    )
    async with client.watch_messages(resume_token="at-4") as watch:
        assert await take(watch, 2) == ["event 5", "event 6"]
    assert tokens(service) == ["at-4", "at-5"]


@pytest.mark.parametrize("code", ["UNAVAILABLE", "INTERNAL", "UNKNOWN", "CANCELLED"])
async def test_what_connections_and_proxies_do_to_streams_is_survived(service, client, code):
    stream = Stream(position=4)
    service.will(
        WATCH,
        [stream.start(), stream.event(), Fail(grpc.StatusCode[code])],
        [stream.start(), stream.event()],  # then ends without an error
        [stream.start(), stream.event(), Hang],
    )
    async with client.watch_messages(resume_token="at-4") as watch:
        assert await take(watch, 3) == ["event 5", "event 6", "event 7"]


@pytest.mark.parametrize(
    ("code", "error"),
    [
        ("PERMISSION_DENIED", PermissionDenied),
        ("INVALID_ARGUMENT", InvalidArgument),
        ("RESOURCE_EXHAUSTED", ResourceExhausted),
    ],
)
async def test_what_no_reconnection_mends_is_raised(service, client, code, error):
    service.will(WATCH, Fail(grpc.StatusCode[code], reason="WHY"))
    watch = client.watch_messages()
    with pytest.raises(error) as caught:
        await anext(watch)
    assert caught.value.reason == "WHY"
    assert await take(watch, 1) == ["end"]


async def test_too_many_watches_is_waited_out_once_the_watch_had_begun(service, client):
    """The server may still count the stream that we lost."""
    stream = Stream(position=4)
    limit = Fail(grpc.StatusCode.RESOURCE_EXHAUSTED, details=(retry_info(0.05),))
    service.will(
        WATCH,
        [stream.start(), stream.event(), LOST],
        limit,
        [stream.start(), stream.event(), Hang],
    )
    pauses: list[float] = []
    watch = client.watch_messages(
        resume_token="at-4", on_disconnect=lambda _, pause: pauses.append(pause)
    )
    async with watch:
        assert await take(watch, 2) == ["event 5", "event 6"]
    assert pauses[1] == pytest.approx(0.05)


@pytest.mark.parametrize("names", [(), ("web",)])
@pytest.mark.parametrize("reconnect", [False, True])
async def test_a_lost_event_is_never_passed_over(service, client, names, reconnect):
    """P5: whoever loses an event on the way, the watch says so."""
    stream = Stream(position=4)
    first, _lost, third = stream.event(), stream.event(), stream.event()
    script = [stream.start(), first, third, Hang]
    if reconnect:
        service.will(WATCH, [stream.start(), first, LOST], [stream.start(), third, Hang])
    else:
        service.will(WATCH, script)
    watch = client.watch_messages(*names, resume_token="at-4")
    assert await take(watch, 1) == ["event 5"]
    with pytest.raises(WatchGapError, match="received it up to 5"):
        await anext(watch)
    assert await take(watch, 1) == ["end"]


async def test_until_ends_where_the_service_ends_it(service, client):
    """P5: with OK, after its bookmark; what a proxy ends with OK is gone on with."""
    stream = Stream(position=4)
    service.will(
        WATCH,
        [stream.start(), stream.event()],
        [stream.start()],
        [stream.start(), stream.event(), stream.bookmark(9)],
    )
    async with client.watch_messages(
        "web", resume_token="at-4", until=pb.WATCH_UNTIL_SETTLED
    ) as watch:
        assert await take(watch, 9) == ["event 5", "event 6", "end"]
        assert (watch.resume_token, watch.position) == ("at-9", 9)
    assert tokens(service) == ["at-4", "at-5", "at-5"]
    assert all(request.until == pb.WATCH_UNTIL_SETTLED for request in service.requests[WATCH])


async def test_close_ends_the_loop_of_another_task(service, client):
    service.will(WATCH, [Stream().start(), Hang])
    watch = client.watch_messages()
    loop = asyncio.create_task(take(watch, 1))
    while not service.requests[WATCH]:  # noqa: ASYNC110
        await asyncio.sleep(0.005)
    await watch.aclose()
    assert await loop == ["end"]


async def test_closing_the_client_ends_its_watches(service, client):
    service.will(WATCH, [Stream().start(), Hang])
    loop = asyncio.create_task(take(client.watch_messages(), 1))
    while not service.requests[WATCH]:  # noqa: ASYNC110
        await asyncio.sleep(0.005)
    await client.close()
    assert await loop == ["end"]


async def test_a_cancelled_reader_is_cancelled(service, client):
    service.will(WATCH, [Stream().start(), Hang])
    loop = asyncio.create_task(take(client.watch_messages(), 1))
    while not service.requests[WATCH]:  # noqa: ASYNC110
        await asyncio.sleep(0.005)
    loop.cancel()
    with pytest.raises(asyncio.CancelledError):
        await loop


@st.composite
def histories(draw: st.DrawFn) -> tuple[bool, list[WatchDeploymentsResponse]]:
    """What a right stream may send, filtered or not: at least two messages."""
    filtered = draw(st.booleans())
    stream = Stream(position=draw(st.integers(0, 50)))
    messages = []
    for bookmark, skip in draw(
        st.lists(st.tuples(st.booleans(), st.integers(0, 3)), min_size=2, max_size=12)
    ):
        jump = skip if filtered or bookmark else 0
        at = stream.position + jump
        messages.append(stream.bookmark(at or None) if bookmark else stream.event(at + 1))
    return filtered, messages


def sequence_of(message: WatchDeploymentsResponse) -> int:
    is_event = message.WhichOneof("response") == "event"
    return message.event.sequence if is_event else message.bookmark.sequence


@given(histories())
def test_a_complete_stream_is_accepted(history):
    filtered, messages = history
    check = Completeness(filtered=filtered)
    for message in messages:
        check.accept(message)
    assert check.position == sequence_of(messages[-1])


@given(histories(), st.data())
def test_a_single_lost_doubled_or_swapped_event_is_found(history, data):
    """P5: the validator itself. What follows the damage reveals it."""
    filtered, messages = history
    events = [n for n, one in enumerate(messages) if one.WhichOneof("response") == "event"]
    events = [n for n in events if 0 < n < len(messages) - 1]
    if not events:
        return
    place = data.draw(st.sampled_from(events))
    damaged = list(messages)
    match data.draw(st.sampled_from(["lost", "doubled", "swapped"])):
        case "lost":
            del damaged[place]
        case "doubled":
            damaged.insert(place, damaged[place])
        case _:
            damaged[place], damaged[place - 1] = damaged[place - 1], damaged[place]
    check = Completeness(filtered=filtered)

    def accept_all() -> None:
        for message in damaged:
            check.accept(message)

    with pytest.raises(WatchGapError):
        accept_all()
