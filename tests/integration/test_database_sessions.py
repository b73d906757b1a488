"""P10: session state is ensured for each transaction, and unusable connections are replaced."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import asyncpg
import pytest

from deployment_service.storage.database.failures import UNAVAILABLE_ERRORS, SessionMismatch
from deployment_service.storage.database.pool import API_ROLE, WORKER_ROLE, Connection, Database
from deployment_service.storage.database.sessions import ServiceConnection, connect_listener
from devstack.postgres import EmbeddedPostgres
from tests.fixtures_stack import run_sql
from tests.support.tcp_proxy import TcpProxy, tcp_proxy
from tests.support.waiting import until

STATE = """
    SELECT current_user, current_setting('transaction_isolation'), current_setting('statement_timeout'),
        current_setting('idle_in_transaction_session_timeout'), current_setting('timezone')
"""
ENSURED = (API_ROLE, "read committed", "20s", "5s", "UTC")


@asynccontextmanager
async def opened(url: str, role: str = API_ROLE, size: int = 3) -> AsyncIterator[Database]:
    database = await Database.open(url, role=role, max_connections=size)
    try:
        yield database
    finally:
        await database.close()


async def state(connection: Connection) -> tuple[object, ...]:
    row = await connection.fetchrow(STATE)
    assert row is not None
    return tuple(row)


async def pid(connection: Connection) -> int:
    return int(await connection.fetchval("SELECT pg_backend_pid()"))


@pytest.mark.parametrize(
    "changed",
    [
        "default_transaction_isolation = 'serializable'",
        "default_transaction_isolation = 'repeatable read'",
        "statement_timeout = '100ms'",
        "idle_in_transaction_session_timeout = '100ms'",
        "timezone = 'Asia/Tokyo'",
    ],
)
async def test_defaults_of_the_database_change_nothing(database_url: str, changed: str) -> None:
    name = database_url.rpartition("/")[2]
    server = f"{database_url.rpartition('/')[0]}/postgres"
    await run_sql(server, f"ALTER DATABASE {name} SET {changed}")
    async with opened(database_url) as database:
        assert await database.transaction(state) == ENSURED
        async with database.acquire() as connection:
            assert await state(connection) == ENSURED


@pytest.mark.parametrize(
    "left", ["SET ROLE deployment_worker", "SET default_transaction_isolation TO serializable"]
)
async def test_state_that_a_unit_of_work_leaves_is_not_the_next_ones(
    database_url: str, left: str
) -> None:
    async with opened(database_url, size=1) as database:

        async def work(connection: Connection) -> None:
            await connection.execute(left)

        await database.transaction(work)
        assert await database.transaction(state) == ENSURED


async def test_a_session_that_became_read_only_is_replaced(database_url: str) -> None:
    async with opened(database_url, size=1) as database:
        before = await database.transaction(pid)
        async with database.acquire() as connection:
            await connection.execute("SET default_transaction_read_only TO on")
        assert await database.transaction(pid) != before


async def test_a_database_that_takes_no_writes_is_named(database_url: str) -> None:
    name = database_url.rpartition("/")[2]
    server = f"{database_url.rpartition('/')[0]}/postgres"
    url = f"{database_url}?target_session_attrs=any"
    await run_sql(server, f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    async with opened(url) as database:
        with pytest.raises(SessionMismatch, match="read-only"):
            await database.transaction(pid)
        with pytest.raises(SessionMismatch, match="read-only"):
            await database.check()
        await run_sql(server, f"ALTER DATABASE {name} RESET default_transaction_read_only")
        await database.check()


@pytest.mark.parametrize("how", ["transaction", "single statements"])
async def test_a_connection_that_fell_silent_while_idle_costs_no_error(
    database_url: str, postgres: EmbeddedPostgres, how: str
) -> None:
    async with tcp_proxy(postgres.port) as proxy, opened(proxy.url(database_url)) as database:
        await database.transaction(pid)
        async with database.acquire() as connection:
            raw: ServiceConnection = connection._con  # type: ignore[union-attr]
        proxy.silence()
        raw.used_at -= 60
        async with asyncio.timeout(6):
            if how == "transaction":
                await database.transaction(pid)
            else:
                async with database.acquire() as connection:
                    await pid(connection)


async def before_a_statement(connection: Connection, proxy: TcpProxy) -> None:
    """The server sees a transaction that is idle."""
    proxy.silence()
    await connection.execute("SELECT 1")


async def between_prepare_and_execute(connection: Connection, proxy: TcpProxy) -> None:
    """The server sees an active statement whose next message it waits for."""
    # Its description names the column; executing it follows.
    proxy.silence_after = b"silent_from_here"
    await connection.fetch("SELECT 1 AS silent_from_here")


async def during_a_statement(connection: Connection, proxy: TcpProxy) -> None:
    """The statement ends on the server, and its answer is lost."""
    running = asyncio.ensure_future(connection.execute("SELECT pg_sleep(0.3)"))
    asyncio.get_running_loop().call_later(0.1, proxy.silence)
    await running


@pytest.mark.parametrize("role", [API_ROLE, WORKER_ROLE])
@pytest.mark.parametrize(
    "silence", [before_a_statement, between_prepare_and_execute, during_a_statement]
)
async def test_a_connection_that_falls_silent_in_use_is_found_by_the_check(
    database_url: str,
    postgres: EmbeddedPostgres,
    role: str,
    silence: Callable[[Connection, TcpProxy], Awaitable[None]],
) -> None:
    """It would hold its locks and its place in the pool; the statement fails long before its own limit."""
    async with tcp_proxy(postgres.port) as proxy:
        async with opened(proxy.url(database_url), role, size=1) as database:

            async def work(connection: Connection) -> None:
                await connection.execute("SELECT pg_advisory_xact_lock(1)")
                await silence(connection, proxy)

            stuck = asyncio.create_task(database.transaction(work))
            await until(lambda: proxy.silenced)
            async with asyncio.timeout(10):
                while not stuck.done():
                    await database.check()
                    await asyncio.sleep(0.2)
            with pytest.raises(UNAVAILABLE_ERRORS):
                await stuck
            async with asyncio.timeout(3):
                await database.transaction(
                    lambda connection: connection.execute("SELECT pg_advisory_xact_lock(1)")
                )


async def test_a_statement_that_waits_for_a_lock_is_not_taken_for_silent(database_url: str) -> None:
    async with opened(database_url, size=1) as database:
        holder = await asyncpg.connect(database_url)
        try:
            await holder.execute("SELECT pg_advisory_lock(1)")
            waiting = asyncio.create_task(
                database.transaction(lambda c: c.execute("SELECT pg_advisory_xact_lock(1)"))
            )
            await until(lambda: any(one.waiting_since for one in database._in_use))
            loop = asyncio.get_running_loop()
            begun = loop.time()
            while loop.time() - begun < 6:
                await database.check()
                await asyncio.sleep(0.2)
            assert not waiting.done()
            await holder.execute("SELECT pg_advisory_unlock(1)")
            await waiting
        finally:
            await holder.close()


async def test_every_statement_has_a_bound_of_the_client(
    database_url: str, postgres: EmbeddedPostgres
) -> None:
    async with tcp_proxy(postgres.port) as proxy:
        database = await Database.open(
            proxy.url(database_url), role=API_ROLE, max_connections=1, statement_timeout_s=0.5
        )
        try:

            async def work(connection: Connection) -> None:
                proxy.silence()
                await connection.execute("SELECT 1")

            async with asyncio.timeout(8):
                with pytest.raises(TimeoutError):
                    await database.transaction(work)
                assert await database.transaction(pid)
        finally:
            await database.close()


async def test_a_server_that_accepts_and_never_answers_is_given_up(database_url: str) -> None:
    async with tcp_proxy(None) as proxy, opened(proxy.url(database_url)) as database:
        proxy.silent_from_start = True
        async with asyncio.timeout(9):
            with pytest.raises(UNAVAILABLE_ERRORS):
                await database.check()


@pytest.mark.parametrize("hosts", ["{silent},{good}", "{closed},{silent},{good}"])
async def test_each_host_of_the_url_has_a_time_of_its_own(
    database_url: str, postgres: EmbeddedPostgres, hosts: str
) -> None:
    """A host that never answers takes nothing from the next; once found, the one that answers comes first."""
    async with (
        tcp_proxy(None) as silent,
        tcp_proxy(None) as closed,
        tcp_proxy(postgres.port) as good,
    ):
        silent.silent_from_start = True
        ports = {"silent": silent.port, "closed": closed.port, "good": good.port}
        places = {name: f"127.0.0.1:{port}" for name, port in ports.items()}
        url = database_url.replace(f"127.0.0.1:{postgres.port}", hosts.format(**places))
        async with opened(url) as database:
            async with asyncio.timeout(9):
                await database.transaction(pid)
            good.cut()
            async with asyncio.timeout(2):
                await database.transaction(pid)
        async with asyncio.timeout(9):
            listener = await connect_listener(url)()
        try:
            await listener.execute("LISTEN anything")
        finally:
            await listener.close()


async def test_the_kernel_gives_up_a_peer_that_does_not_acknowledge(database_url: str) -> None:
    import socket

    async with opened(database_url) as database, database.acquire() as connection:
        peer = connection._con._transport.get_extra_info("socket")  # type: ignore[union-attr]
        assert peer.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        assert peer.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 8000
        for setting, value in [("tcp_keepalives_idle", "5"), ("tcp_user_timeout", "8000")]:
            assert await connection.fetchval(f"SHOW {setting}") == value, "on the server's side"


async def test_tables_are_found_in_the_schema_of_the_login_user(
    database_url: str, postgres: EmbeddedPostgres
) -> None:
    """``"$user"`` in the search path means the login user, also once the role is set."""
    await run_sql(database_url, "CREATE SCHEMA postgres; CREATE TABLE postgres.mine (a int)")
    await run_sql(database_url, "GRANT USAGE ON SCHEMA postgres TO deployment_api")
    await run_sql(database_url, "GRANT SELECT ON postgres.mine TO deployment_api")
    async with opened(database_url) as database:
        async with database.acquire() as connection:
            assert await connection.fetch("SELECT * FROM mine") == []


@pytest.mark.parametrize("cancelled", [2, 3])
async def test_a_caller_that_is_cancelled_again_while_its_connection_falls_silent(
    postgres: EmbeddedPostgres, database_url: str, cancelled: int
) -> None:
    """The release times out with no caller left to tell; that is not an unexpected error of the process."""
    async with (
        tcp_proxy(postgres.port) as proxy,
        opened(proxy.url(database_url), size=1) as database,
    ):
        asked = asyncio.Event()

        async def ask() -> None:
            async with database.acquire() as connection:
                asked.set()
                await connection.execute("SELECT pg_sleep(30)")

        task = asyncio.create_task(ask())
        await asked.wait()
        proxy.silence()
        proxy.silent_from_start = True
        for _ in range(cancelled):
            task.cancel()
            await asyncio.wait([task], timeout=0.1)
        with pytest.raises(asyncio.CancelledError):
            await task
        proxy.silent_from_start = False

        async with asyncio.timeout(20):
            while True:
                try:
                    async with database.acquire() as connection:
                        assert await connection.fetchval("SELECT true")
                        break
                except UNAVAILABLE_ERRORS:
                    continue
