"""Waiting for the end of a run."""

from __future__ import annotations

import asyncio
from typing import Protocol

from deployment_service.client.errors import (
    DeadlineExceeded,
    DeploymentServiceError,
    ResourceExhausted,
    RunNotFinished,
    Unavailable,
)
from deployment_service.client.watch import WatchMessages
from deployment_service.v1 import deployment_service_pb2 as pb

# While a final status is only reported.
_POLL_REPORTED_S = 0.3
# Longer than the service takes to settle an end while Jenkins answers.
_SETTLED_WITHIN_S = 60.0
# Slow polling besides the watch, so that a defect of the stream cannot make a caller wait for ever.
_POLL_WATCHED_S = 15.0
# While the service is unavailable; the client retries each call as well.
_POLL_UNAVAILABLE_S = 1.0
# Without a watch.
_POLL_UNWATCHED_S = 2.0

FINAL = frozenset(
    {
        pb.DEPLOYMENT_STATUS_COMPLETED,
        pb.DEPLOYMENT_STATUS_FAILED,
        pb.DEPLOYMENT_STATUS_CANCELLED,
    }
)

SETTLED = frozenset({pb.CERTAINTY_CONFIRMED, pb.CERTAINTY_UNVERIFIABLE})


class Reader(Protocol):
    """The part of the client that waiting needs."""

    async def get_run(self, name: str) -> pb.Run:
        """Return a run."""

    def watch_messages(self, *names: str, resume_token: str = "") -> WatchMessages:
        """Watch deployments."""


async def wait_for_run(
    reader: Reader, name: str, timeout_s: float | None, resume_token: str
) -> pb.Run:
    """Return the run ``name`` once it is settled, or has been final for a minute.

    Raises: ``RunNotFinished`` after ``timeout_s``, ``DeploymentServiceError``; both with ``run_name``.
    """
    deployment = name.rpartition("/runs/")[0]
    watch = reader.watch_messages(deployment, resume_token=resume_token)
    changed = asyncio.Event()
    listener = asyncio.create_task(_listen(watch, name, changed))
    try:
        async with asyncio.timeout(timeout_s):
            return await _until_settled(reader, name, changed, listener)
    except TimeoutError:
        failure = RunNotFinished(f"{name} has not ended within {timeout_s:g} s")
        failure.run_name = name
        raise failure from None
    except DeploymentServiceError as error:
        error.run_name = name
        raise
    finally:
        listener.cancel()
        await asyncio.gather(listener, return_exceptions=True)
        await watch.aclose()


async def _listen(watch: WatchMessages, name: str, changed: asyncio.Event) -> None:
    """Set ``changed`` at each event of the run; poll instead if the tenant has too many watches."""
    try:
        async for message in watch:
            kind = message.WhichOneof("response")
            if kind != "event" or message.event.run == name:
                changed.set()
    except ResourceExhausted:
        while True:
            changed.set()
            await asyncio.sleep(_POLL_UNWATCHED_S)


async def _until_settled(
    reader: Reader, name: str, changed: asyncio.Event, listener: asyncio.Task[None]
) -> pb.Run:
    clock = asyncio.get_running_loop().time
    final_since: float | None = None
    while True:
        changed.clear()
        try:
            run = await reader.get_run(name)
        except (Unavailable, DeadlineExceeded):
            # Unavailable for longer than the timeout of a call. The run continues, so keep waiting for it.
            poll_s = _POLL_UNAVAILABLE_S
        else:
            final = run.status in FINAL
            final_since = (final_since or clock()) if final else None
            if final_since is not None and (
                run.certainty in SETTLED or clock() - final_since >= _SETTLED_WITHIN_S
            ):
                return run
            poll_s = _POLL_REPORTED_S if final else _POLL_WATCHED_S
        waiting = asyncio.create_task(changed.wait())
        try:
            await asyncio.wait(
                (waiting, listener), timeout=poll_s, return_when=asyncio.FIRST_COMPLETED
            )
        finally:
            waiting.cancel()
        if listener.done():
            listener.result()  # raises the error that ended it
            raise DeploymentServiceError("the watch ended before the run did")
