"""The replica's dedicated connection that receives hints (LISTEN)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import asyncpg
import structlog

from deployment_service.runtime.backoff import Backoff
from deployment_service.watch.notifier import CHANNEL
from deployment_service.watch.settings import WatchSettings

_log = structlog.get_logger(__name__)
_FIRST_DELAY_S = 0.05


class _ProbeLost(Exception):
    """The connection works, but our own notification did not arrive."""


Connect = Callable[[], Awaitable[asyncpg.Connection]]


class Listener:
    """Receives notifications, and probes the connection by notifications to itself.

    Hints only reduce latency, so no error here is fatal: a lost connection is replaced, and polling continues.
    ``connect`` must connect to the server directly or through a session pooler. A transaction pooler gives the
    listening connection to other clients.
    """

    def __init__(
        self,
        connect: Connect,
        sender: str,
        settings: WatchSettings,
        *,
        on_hint: Callable[[str], None],
        on_listening: Callable[[], None],
    ) -> None:
        self._connect = connect
        self._sender = sender
        self._settings = settings
        self._on_hint = on_hint
        self._on_listening = on_listening
        self._probe = 0
        self._probe_received = asyncio.Event()
        self._backoff = Backoff(_FIRST_DELAY_S, settings.reconnect_max_s)
        self._pauses = self._backoff.pauses()
        self._failing = False
        self.listener_connected = asyncio.Event()
        """Set while the latest probe was received."""

    async def run(self) -> None:
        """Listen for ever."""
        while True:
            try:
                await self._listen()
            except Exception as error:
                if not self._failing:
                    # The text of another exception may contain the URL with its password.
                    reason = str(error) if isinstance(error, _ProbeLost) else type(error).__name__
                    _log.warning("watch.listener_lost", reason=reason, effect="polling only")
                self._failing = True
            finally:
                self.listener_connected.clear()
            await asyncio.sleep(next(self._pauses))

    async def _listen(self) -> None:
        """Connect and listen until the connection fails."""
        connection = await self._connect()
        try:
            lost = asyncio.Event()
            connection.add_termination_listener(lambda _: lost.set())
            await connection.add_listener(CHANNEL, self._received)
            # Read after LISTEN: earlier commits are found by the read, later ones send a notification.
            self._on_listening()
            while not lost.is_set():
                await self._probe_connection(connection)
                try:
                    async with asyncio.timeout(self._settings.probe_interval_s):
                        await lost.wait()
                except TimeoutError:
                    continue
            raise ConnectionError("the server closed the connection")
        finally:
            connection.terminate()

    async def _probe_connection(self, connection: asyncpg.Connection) -> None:
        """Send a notification to this connection and wait for it."""
        self._probe += 1
        self._probe_received.clear()
        await connection.execute("SELECT pg_notify($1, $2)", CHANNEL, self._probe_payload)
        try:
            async with asyncio.timeout(self._settings.probe_timeout_s):
                await self._probe_received.wait()
        except TimeoutError:
            raise _ProbeLost(
                "a notification to ourselves didn't arrive; is there a transaction pooler in between?"
            ) from None
        if self._failing:
            _log.info("watch.listener_recovered")
        self._failing = False
        self._pauses = self._backoff.pauses()
        self.listener_connected.set()

    @property
    def _probe_payload(self) -> str:
        return f"probe {self._sender} {self._probe}"

    def _received(self, _connection: object, _pid: int, _channel: str, payload: object) -> None:
        text = str(payload)
        if text == self._probe_payload:
            self._probe_received.set()
        elif not text.startswith("probe "):
            self._on_hint(text)
