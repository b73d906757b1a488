"""A watch that survives what happens to connections and replicas, and proves that it is complete.

It reconnects by itself and resumes after the last message that was handed over. Every event and
bookmark says which sequence the stream had accounted for before it; the watch compares that with
what it has handed over itself, so a loss anywhere on the way (in the service, in a proxy, in this
very file) raises ``WatchGapError`` instead of passing unseen (promise P5).
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Self

import grpc
import grpc.aio

from deployment_service.client.channel import Caller
from deployment_service.client.errors import (
    DeploymentServiceError,
    HistoryLost,
    Unavailable,
    WatchGapError,
    from_rpc,
)
from deployment_service.v1.deployment_service_pb2 import (
    DeploymentEvent,
    Reset,
    WatchDeploymentsRequest,
    WatchDeploymentsResponse,
)
from deployment_service.v1.deployment_service_pb2_grpc import DeploymentServiceStub

if TYPE_CHECKING:
    # exists for type checkers only
    from deployment_service.v1.deployment_service_pb2_grpc import DeploymentServiceAsyncStub

_log = logging.getLogger(__name__)

# How long a stream may take to say its first word, `start`.
_START_WITHIN_S = 15.0
# Silence beyond the promised one that still isn't taken for a broken connection.
_PATIENCE = 1.5

# What a connection, a proxy or a stopping replica does to a stream: connect again.
_TRANSIENT = frozenset(
    {
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.CANCELLED,
        grpc.StatusCode.INTERNAL,
        grpc.StatusCode.UNKNOWN,
    }
)
# Also after the first success: the server may still be counting the stream that we lost.
_TRANSIENT_LATER = _TRANSIENT | {grpc.StatusCode.RESOURCE_EXHAUSTED}

Call = grpc.aio.UnaryStreamCall[WatchDeploymentsRequest, WatchDeploymentsResponse]


class Completeness:
    """Checks that nothing is lost, doubled or swapped between one message and the next.

    ``position`` is the last sequence accounted for, or None while it isn't known. After a resume token, ``start``
    names it; where it names none, the first message sets it.
    """

    def __init__(self, *, filtered: bool) -> None:
        self._filtered = filtered
        self.position: int | None = None

    def accept(self, message: WatchDeploymentsResponse) -> None:
        """Take the next message into account; raise WatchGapError if it doesn't follow."""
        kind = message.WhichOneof("response")
        if kind == "start":
            if self.position is None and message.start.sequence:
                self.position = message.start.sequence
        elif kind == "snapshot_complete":
            self.position = message.snapshot_complete.sequence
        elif kind == "reset":
            self.position = None
        elif kind == "event":
            self._follow(message, message.event.sequence)
            if message.event.sequence <= message.prev_sequence:
                raise WatchGapError(f"event {message.event.sequence} came twice or out of order")
            if not self._filtered and message.event.sequence != message.prev_sequence + 1:
                raise WatchGapError(
                    f"event {message.event.sequence} follows {message.prev_sequence}, "
                    "but nothing is filtered out of this stream"
                )
        elif kind == "bookmark":
            self._follow(message, message.bookmark.sequence)
            if message.bookmark.sequence < message.prev_sequence:
                raise WatchGapError(f"the stream went back to {message.bookmark.sequence}")

    def _follow(self, message: WatchDeploymentsResponse, sequence: int) -> None:
        if self.position is not None and message.prev_sequence != self.position:
            raise WatchGapError(
                f"the stream goes on after sequence {message.prev_sequence}, "
                f"but this watch has seen it up to {self.position}"
            )
        self.position = sequence


class _Closable:
    """Used in ``async with``, it is closed at the end."""

    async def aclose(self) -> None:
        raise NotImplementedError

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()


class WatchMessages(_Closable):
    """An ``async for`` over the messages of ``WatchDeployments``; ``start`` and bookmarks stay inside.

    First, unless a resume token was given, the present: ``deployment`` messages and one
    ``snapshot_complete``, handed over only once it is whole. Then each ``event``, once and in order.
    After a ``reset`` drop what you hold: a snapshot follows. It has no end, unless the request's
    ``until`` asks for one.

    ``resume_token`` always stands for what was handed over so far. Close the watch, or use it in
    ``async with``, to free its stream at once.
    """

    def __init__(
        self,
        caller: Caller,
        request: WatchDeploymentsRequest,
        *,
        on_disconnect: Callable[[DeploymentServiceError, float], None] | None = None,
    ) -> None:
        self._caller = caller
        self._stub: DeploymentServiceAsyncStub = DeploymentServiceStub(caller.channel)
        self._request = WatchDeploymentsRequest()
        self._request.CopyFrom(request)
        self._on_disconnect = on_disconnect
        self._completeness = Completeness(
            filtered=bool(request.names or request.types or request.labels)
        )
        self._pauses = caller.backoff.pauses()
        self._ready: deque[WatchDeploymentsResponse] = deque()
        self._snapshot: list[WatchDeploymentsResponse] = []
        self._call: Call | None = None
        self._silence_s = _START_WITHIN_S
        self._ends_well = False
        self._ever_started = False
        self._closed = False

    @property
    def resume_token(self) -> str:
        """Where to go on after what was handed over so far; empty: from a snapshot."""
        return self._request.resume_token

    @property
    def position(self) -> int | None:
        """The last sequence accounted for; None until the stream has named one."""
        return self._completeness.position

    async def aclose(self) -> None:
        """End the watch; ``async for`` over it ends."""
        self._closed = True
        self._drop_call()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> WatchDeploymentsResponse:
        while not self._has_ended():
            if self._ready:
                return self._hand_over(self._ready.popleft())
            try:
                message = await self._read()
                if message is None:
                    await self.aclose()
                    break
                self._sort(message)
            except WatchGapError:
                await self.aclose()
                raise
            except DeploymentServiceError as failure:
                if not self._has_ended():
                    await self._after(failure)
        raise StopAsyncIteration

    def _has_ended(self) -> bool:
        return self._closed or self._caller.closed

    def _hand_over(self, message: WatchDeploymentsResponse) -> WatchDeploymentsResponse:
        self._request.resume_token = message.resume_token
        return message

    def _sort(self, message: WatchDeploymentsResponse) -> None:
        kind = message.WhichOneof("response")
        # The service says how far it has come before it ends a stream: a proxy that ends one doesn't.
        self._ends_well = bool(self._request.until) and kind == "bookmark"
        if kind == "start":
            self._ever_started = True
            self._completeness.accept(message)
            self._silence_s = message.start.max_silence.ToTimedelta().total_seconds() * _PATIENCE
            return
        self._pauses = self._caller.backoff.pauses()  # the stream works: start the pauses anew
        self._completeness.accept(message)
        if kind == "deployment":
            self._snapshot.append(message)
        elif kind == "snapshot_complete":
            self._ready.extend((*self._snapshot, message))
            self._snapshot.clear()
        elif kind == "bookmark":
            self._request.resume_token = message.resume_token
        elif kind is not None:  # None: a kind of message that is newer than this client
            self._ready.append(message)

    async def _read(self) -> WatchDeploymentsResponse | None:
        """The next message; None at the end that ``until`` asked for."""
        if self._call is None:
            self._silence_s = _START_WITHIN_S
            self._ends_well = False
            self._snapshot.clear()  # the server starts it again
            self._call = self._stub.WatchDeployments(self._request, metadata=self._caller.metadata)
        try:
            async with asyncio.timeout(self._silence_s):
                message = await self._call.read()
        except TimeoutError:
            raise Unavailable(
                f"nothing heard for {self._silence_s:g} s",
                reason="WATCH_SILENT",
                code=grpc.StatusCode.UNAVAILABLE,
            ) from None
        except grpc.aio.AioRpcError as error:
            raise from_rpc(error) from None
        except asyncio.CancelledError:
            if not _is_cancelled():
                raise Unavailable(
                    "the stream was cancelled", code=grpc.StatusCode.CANCELLED
                ) from None
            self._drop_call()
            raise
        if isinstance(message, WatchDeploymentsResponse):
            return message
        if self._ends_well:
            return None
        raise Unavailable("the server ended the stream", code=grpc.StatusCode.UNAVAILABLE)

    async def _after(self, failure: DeploymentServiceError) -> None:
        """Wait for the time to connect again, or raise what no reconnection mends."""
        self._drop_call()
        transient = _TRANSIENT_LATER if self._ever_started else _TRANSIENT
        if failure.code not in transient:
            self._closed = True
            raise failure
        pause = max(next(self._pauses), failure.retry_after_s or 0.0)
        _log.info("watch interrupted (%s), again in %.1f s", failure.message, pause)
        if self._on_disconnect is not None:
            self._on_disconnect(failure, pause)
        await asyncio.sleep(pause)

    def _drop_call(self) -> None:
        call, self._call = self._call, None
        if call is not None:
            call.cancel()


class Watch(_Closable):
    """An ``async for`` over the events of ``WatchDeployments``, each once and in order.

    It begins at the token that was given, or now. Where the history can't be continued (the token is older than what
    is kept, the store was restored) it ends with ``HistoryLost``: read the present, then watch from there. What the
    stream says besides (the present at first, resets) is in ``WatchMessages``.

    ``resume_token`` always stands for what was handed over so far: keep it once an event is dealt with. Close the
    watch, or use it in ``async with``, to free its stream at once.
    """

    def __init__(self, messages: WatchMessages) -> None:
        self._messages = messages

    @property
    def resume_token(self) -> str:
        """Where to go on after what was handed over so far; empty: from now on."""
        return self._messages.resume_token

    @property
    def position(self) -> int | None:
        """The last sequence accounted for; None until the stream has named one."""
        return self._messages.position

    async def aclose(self) -> None:
        """End the watch; ``async for`` over it ends."""
        await self._messages.aclose()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> DeploymentEvent:
        async for message in self._messages:
            match message.WhichOneof("response"):
                case "event":
                    return message.event
                case "reset":
                    await self.aclose()
                    reason = Reset.Reason.Name(message.reset.reason)
                    raise HistoryLost(f"the history can't be continued: {reason}")
        raise StopAsyncIteration


def _is_cancelled() -> bool:
    """Whether the running task was cancelled. grpc.aio raises CancelledError for cancelled *calls* as well."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
