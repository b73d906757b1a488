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
_ASK_EVERY_S = 0.3
# Longer than the service takes to settle an end while Jenkins answers.
_SETTLED_WITHIN_S = 60.0
# Asked now and then even if nothing is heard, so that no defect of the stream makes a caller wait for ever.
_ASK_ANYWAY_S = 15.0
# While the service is away; each question is repeated for a while by itself.
_ASK_AGAIN_S = 1.0
# Without a watch.
_ASK_UNTOLD_S = 2.0

FINAL = frozenset(
    {
        pb.DEPLOYMENT_STATUS_COMPLETED,
        pb.DEPLOYMENT_STATUS_FAILED,
        pb.DEPLOYMENT_STATUS_CANCELLED,
    }
)

SETTLED = frozenset({pb.CERTAINTY_CONFIRMED, pb.CERTAINTY_UNVERIFIABLE})


class Reader(Protocol):
    """What waiting needs of the client."""

    async def get_run(self, name: str) -> pb.Run:
        """Return a run."""

    def watch_messages(self, *names: str, resume_token: str = "") -> WatchMessages:
        """Watch deployments."""


async def wait_for_run(
    reader: Reader, name: str, timeout_s: float | None, resume_token: str
) -> pb.Run:
    """Return the run ``name`` once it is settled, or has been final for a minute.

    What it raises carries that name.
    """
    deployment = name.rpartition("/runs/")[0]
    watch = reader.watch_messages(deployment, resume_token=resume_token)
    heard = asyncio.Event()
    listener = asyncio.create_task(_listen(watch, name, heard))
    try:
        async with asyncio.timeout(timeout_s):
            return await _until_settled(reader, name, heard, listener)
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


async def _listen(watch: WatchMessages, name: str, heard: asyncio.Event) -> None:
    """Say when to ask. The watch only spares questions: where there are too many already, the clock must do."""
    try:
        async for message in watch:
            kind = message.WhichOneof("response")
            if kind != "event" or message.event.run == name:
                heard.set()
    except ResourceExhausted:
        while True:
            heard.set()
            await asyncio.sleep(_ASK_UNTOLD_S)


async def _until_settled(
    reader: Reader, name: str, heard: asyncio.Event, listener: asyncio.Task[None]
) -> pb.Run:
    clock = asyncio.get_running_loop().time
    final_since: float | None = None
    while True:
        heard.clear()
        try:
            run = await reader.get_run(name)
        except (Unavailable, DeadlineExceeded):
            # Away for longer than a call may take. The run goes on, and so does the wait for it.
            patience = _ASK_AGAIN_S
        else:
            final = run.status in FINAL
            final_since = (final_since or clock()) if final else None
            if final_since is not None and (
                run.certainty in SETTLED or clock() - final_since >= _SETTLED_WITHIN_S
            ):
                return run
            patience = _ASK_EVERY_S if final else _ASK_ANYWAY_S
        waiting = asyncio.create_task(heard.wait())
        try:
            await asyncio.wait(
                (waiting, listener), timeout=patience, return_when=asyncio.FIRST_COMPLETED
            )
        finally:
            waiting.cancel()
        if listener.done():
            listener.result()  # raises what ended it
            raise DeploymentServiceError("the watch ended before the run did")
