"""Nothing may fail unseen: what a framework merely logs fails the test that provoked it.

A task whose exception nobody fetches, a callback that raises, a gRPC or HTTP handler that dies: none of them
reaches a test by itself, the framework logs an error and goes on. (Coroutines never awaited and exceptions in
threads or finalizers are warnings, and `filterwarnings = error` fails on those.)
"""

import asyncio
import gc
import logging
from collections.abc import Iterator

import pytest

# asyncio (and uvloop) report here by default; grpc.aio and aiohttp what their handlers did not catch.
LOGGERS = ("asyncio", "concurrent.futures", "grpc", "aiohttp.server")


class Collector(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.texts: list[str] = []
        self.setFormatter(logging.Formatter("%(name)s: %(message)s"))

    def emit(self, record: logging.LogRecord) -> None:
        if not (_is_cancelled_call(record) or _is_for_an_ended_loop(record)):
            self.texts.append(self.format(record))


def _is_cancelled_call(record: logging.LogRecord) -> bool:
    """Whether it is grpc.aio's word that a call was cut off, by its client or by a server that stops.

    It tells that as an unhandled exception if the call's task had not begun or had just ended.
    """
    cause = record.exc_info[1] if record.exc_info else None
    return record.name.startswith("grpc") and isinstance(cause, asyncio.CancelledError)


def _is_for_an_ended_loop(record: logging.LogRecord) -> bool:
    """Whether gRPC completed a call of an earlier test, whose event loop is closed.

    Its one poller per process hands completions of all loops on, so the error appears in the test that runs then
    (grpcio 1.85, completion_queue.pyx.pxi).
    """
    cause = record.exc_info[1] if record.exc_info else None
    return (
        record.name == "asyncio"
        and "PollerCompletionQueue._handle_events" in record.getMessage()
        and isinstance(cause, RuntimeError)
        and str(cause) == "Event loop is closed"
    )


def pytest_collection_finish() -> None:
    # What is imported by now stays: out of the collector's sight, so that a full collection takes a millisecond.
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def no_unseen_errors(request: pytest.FixtureRequest) -> Iterator[None]:
    """Set up first and torn down last, so that it also sees what other fixtures leave behind."""
    collector = Collector()
    loggers = [logging.getLogger(name) for name in LOGGERS]
    for logger in loggers:
        logger.addHandler(collector)
    try:
        yield
        gc.collect()  # an unfetched exception is reported when its task is collected
    finally:
        for logger in loggers:
            logger.removeHandler(collector)
    if collector.texts and not request.node.get_closest_marker("expects_logged_errors"):
        pytest.fail("errors that were only logged:\n" + "\n".join(collector.texts), pytrace=False)
