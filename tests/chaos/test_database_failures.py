"""P3, P4, P5, P10: switchover, silent connections and rotated passwords with runs, webhooks and watches under way."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import pytest

from deployment_service.storage.schema.migrate import migrate
from devstack.options import StackOptions
from devstack.postgres import EmbeddedPostgres
from devstack.stack import DevStack
from tests.chaos.chaos import SETTINGS
from tests.chaos.database_traffic import RECOVERED_S, Traffic, traffic
from tests.fixtures_stack import run_sql
from tests.support.replication import caught_up, promote, standby_of
from tests.support.tcp_proxy import TcpProxy, tcp_proxy

# They measure how long a recovery takes.
pytestmark = pytest.mark.alone
ROUNDS = [
    pytest.param(1, id="once"),
    pytest.param(4, id="again and again", marks=pytest.mark.full),
]


# A worker or a pool logs each outage once; there are eleven of them.
LINES_PER_OUTAGE = 20


@asynccontextmanager
async def stack_at(url: str, outages: int) -> AsyncIterator[tuple[DevStack, Traffic]]:
    """A stack with traffic, whose database is unavailable so many times."""
    options = StackOptions(database_url=url, service_settings=SETTINGS)
    lines: list[str] = []

    def note(name: str, line: str) -> None:
        lines.append(line)
        print(f"{name:>8} | {line}")

    async with DevStack(options, sink=note) as stack:
        async with traffic(stack) as under_way:
            yield stack, under_way
    tracebacks = [line for line in lines if "Traceback" in line]
    assert not tracebacks, tracebacks[0]
    unavailable = [line for line in lines if "database.unavailable" in line]
    assert len(unavailable) < LINES_PER_OUTAGE * outages


async def recovers(under_way: Traffic) -> None:
    """Runs that begin from now on end, and the health is right, within ten seconds."""
    serving, runs = await asyncio.gather(
        under_way.until_serving(serving=True), under_way.until_runs_end(4, RECOVERED_S)
    )
    print(f"recovered: serving after {serving:.1f} s, runs end after {runs:.1f} s")


@pytest.mark.timeout(240)
@pytest.mark.parametrize("rounds", ROUNDS)
async def test_connections_that_fall_silent(
    postgres: EmbeddedPostgres, database_url: str, rounds: int
) -> None:
    """New connections work: NAT or a firewall has forgotten those that exist, and still acknowledges."""
    async with tcp_proxy(postgres.port) as proxy:
        async with stack_at(proxy.url(database_url), rounds) as (_, under_way):
            for _ in range(rounds):
                proxy.silence()
                await recovers(under_way)


@pytest.mark.timeout(240)
@pytest.mark.parametrize("rounds", ROUNDS)
async def test_a_database_that_accepts_connections_and_never_answers(
    postgres: EmbeddedPostgres, database_url: str, rounds: int
) -> None:
    async with tcp_proxy(postgres.port) as proxy:
        async with stack_at(proxy.url(database_url), rounds) as (_, under_way):
            for _ in range(rounds):
                proxy.silence()
                proxy.silent_from_start = True
                await under_way.until_serving(serving=False)
                proxy.silent_from_start = False
                await recovers(under_way)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("rounds", ROUNDS)
async def test_switchover_to_a_standby_and_back(rounds: int) -> None:
    """The same address leads to a standby for a while, then to the standby that has become the primary."""
    async with AsyncExitStack() as servers, tcp_proxy(None) as proxy:
        primary = await servers.enter_async_context(EmbeddedPostgres(durable=False))
        await migrate(primary.url())
        proxy.target = primary.port
        async with stack_at(proxy.url(primary.url()), 3 * rounds) as (_, under_way):
            for _ in range(rounds):
                other = await servers.enter_async_context(standby_of(primary))
                await lead_to_standby_for_a_while(proxy, primary, other, under_way)
                await switch_over(proxy, primary, other, under_way)
                # And back, to a server that has become a copy of the other.
                primary = await servers.enter_async_context(standby_of(other))
                await switch_over(proxy, other, primary, under_way)
            assert under_way.resets


async def lead_to_standby_for_a_while(
    proxy: TcpProxy, primary: EmbeddedPostgres, standby: EmbeddedPostgres, under_way: Traffic
) -> None:
    proxy.target = standby.port
    proxy.cut()
    await under_way.until_serving(serving=False)
    proxy.target = primary.port
    # Nothing is cut: connections that lead to the standby must be given up by themselves.
    await recovers(under_way)


async def switch_over(
    proxy: TcpProxy, primary: EmbeddedPostgres, standby: EmbeddedPostgres, under_way: Traffic
) -> None:
    await caught_up(primary)
    await primary.stop()
    await under_way.until_serving(serving=False)
    await promote(standby)
    proxy.target = standby.port
    await recovers(under_way)


@pytest.mark.timeout(240)
@pytest.mark.parametrize("rounds", ROUNDS)
async def test_a_password_is_rotated(
    postgres: EmbeddedPostgres, database_url: str, rounds: int
) -> None:
    """Connections that exist go on; once they are gone, none is made until the password fits again."""
    login = f"rotated_{database_url[-8:]}"
    await run_sql(postgres.url(), f"CREATE ROLE {login} LOGIN SUPERUSER PASSWORD 'first'")
    url = f"postgresql://{login}:first@{database_url.partition('@')[2]}"
    async with tcp_proxy(postgres.port) as proxy:
        async with stack_at(proxy.url(url), rounds) as (_, under_way):
            for _ in range(rounds):
                await run_sql(postgres.url(), f"ALTER ROLE {login} PASSWORD 'second'")
                await under_way.until_runs_end(4, RECOVERED_S)
                proxy.cut()
                await under_way.until_serving(serving=False)
                await run_sql(postgres.url(), f"ALTER ROLE {login} PASSWORD 'first'")
                await recovers(under_way)
