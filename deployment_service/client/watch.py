"""A watch that survives failures of connections and replicas, and checks that it is complete.

It reconnects by itself and resumes after the last message that it returned. Every event and bookmark has the
sequence of the previous one (``prev_sequence``). The watch compares that with its own position, so a loss anywhere (in
the service, in a proxy, in this module) raises ``WatchGapError`` instead of staying undetected (promise P5).
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

# Timeout of the first message, `start`, in seconds.
_START_WITHIN_S = 15.0
# Multiple of `max_silence` without a message after which the connection counts as broken.
_SILENCE_FACTOR = 1.5

# Failures caused by a connection, a proxy or a stopping replica: reconnect.
_TRANSIENT = frozenset(
    {
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.CANCELLED,
        grpc.StatusCode.INTERNAL,
        grpc.StatusCode.UNKNOWN,
    }
)
# After the first success also RESOURCE_EXHAUSTED: the server may still count the lost stream.
_TRANSIENT_LATER = _TRANSIENT | {grpc.StatusCode.RESOURCE_EXHAUSTED}

Call = grpc.aio.UnaryStreamCall[WatchDeploymentsRequest, WatchDeploymentsResponse]


class Completeness:
    """Checks that no message is lost, duplicated or out of order.

    ``position`` is the sequence of the last message, or None while it is not known. After a resume token, ``start``
    sets it; otherwise the first message does.
    """

    def __init__(self, *, filtered: bool) -> None:
        self._filtered = filtered
        self.position: int | None = None

    def accept(self, message: WatchDeploymentsResponse) -> None:
        """Check the next message. Raises ``WatchGapError`` if it does not follow the previous one."""
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
                    "but this stream has no filter"
                )
        elif kind == "bookmark":
            self._follow(message, message.bookmark.sequence)
            if message.bookmark.sequence < message.prev_sequence:
                raise WatchGapError(f"the stream went back to {message.bookmark.sequence}")

    def _follow(self, message: WatchDeploymentsResponse, sequence: int) -> None:
        if self.position is not None and message.prev_sequence != self.position:
            raise WatchGapError(
                f"the stream continues after sequence {message.prev_sequence}, "
                f"but this watch has received it up to {self.position}"
            )
        self.position = sequence


class _Closable:
    """Base class of watches: ``async with`` closes them at the end."""

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
    """An async iterator over the messages of ``WatchDeployments``, without ``start`` and bookmarks.

    First, unless a resume token was given, a snapshot of the current state: ``deployment`` messages and one
    ``snapshot_complete``, returned only once it is complete. Then each ``event``, once and in order. After a ``reset``
    discard your state: a new snapshot follows. The stream has no end, unless the request has ``until``.

    ``resume_token`` is always the position after the last returned message. Close the watch, or use it in
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
        """Return the position after the last returned message; empty: start with a snapshot."""
        return self._request.resume_token

    @property
    def position(self) -> int | None:
        """Return the sequence of the last message; None until the stream has sent one."""
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
                return self._advance(self._ready.popleft())
            try:
                message = await self._read()
                if message is None:
                    await self.aclose()
                    break
                self._accept(message)
            except WatchGapError:
                await self.aclose()
                raise
            except DeploymentServiceError as failure:
                if not self._has_ended():
                    await self._after(failure)
        raise StopAsyncIteration

    def _has_ended(self) -> bool:
        return self._closed or self._caller.closed

    def _advance(self, message: WatchDeploymentsResponse) -> WatchDeploymentsResponse:
        self._request.resume_token = message.resume_token
        return message

    def _accept(self, message: WatchDeploymentsResponse) -> None:
        kind = message.WhichOneof("response")
        # The service sends a bookmark before it ends a stream because of `until`. A proxy that ends one does not.
        self._ends_well = bool(self._request.until) and kind == "bookmark"
        if kind == "start":
            self._ever_started = True
            self._completeness.accept(message)
            self._silence_s = (
                message.start.max_silence.ToTimedelta().total_seconds() * _SILENCE_FACTOR
            )
            return
        self._pauses = self._caller.backoff.pauses()  # the stream works: reset the backoff
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
        """Return the next message; None at the end because of ``until``."""
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
                f"no message for {self._silence_s:g} s",
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
        """Wait for the backoff, or raise an error that is not transient."""
        self._drop_call()
        transient = _TRANSIENT_LATER if self._ever_started else _TRANSIENT
        if failure.code not in transient:
            self._closed = True
            raise failure
        pause = max(next(self._pauses), failure.retry_after_s or 0.0)
        _log.info("watch interrupted (%s), reconnecting in %.1f s", failure.message, pause)
        if self._on_disconnect is not None:
            self._on_disconnect(failure, pause)
        await asyncio.sleep(pause)

    def _drop_call(self) -> None:
        call, self._call = self._call, None
        if call is not None:
            call.cancel()


class Watch(_Closable):
    """An async iterator over the events of ``WatchDeployments``, each once and in order.

    It begins at the given token, or now. If the stream cannot continue (retention removed the events after the token,
    or the database was restored), it ends with ``HistoryLost``: read the current state, then watch from there.
    ``WatchMessages`` has the other messages (snapshot, reset).

    ``resume_token`` is always the position after the last returned event: store it after you have processed the event.
    Close the watch, or use it in ``async with``, to free its stream at once.
    """

    def __init__(self, messages: WatchMessages) -> None:
        self._messages = messages

    @property
    def resume_token(self) -> str:
        """Return the position after the last returned event; empty: from now on."""
        return self._messages.resume_token

    @property
    def position(self) -> int | None:
        """Return the sequence of the last message; None until the stream has sent one."""
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
