"""The service behind PgBouncer in transaction mode: the session state of one transaction is gone in the next."""

import asyncpg

from devstack.postgres import EmbeddedPostgres
from tests.platform.pgbouncer import pgbouncer


async def test_debians_pgbouncer_leads_to_the_server(postgres: EmbeddedPostgres, database_url: str):
    async with pgbouncer(postgres) as pooler:
        connection = await asyncpg.connect(
            pooler.url(database_url.rpartition("/")[2]), statement_cache_size=0
        )
        try:
            assert (
                await connection.fetchval("SELECT current_setting('server_version_num')::int")
                >= 160000
            )
            assert (
                await connection.fetchval("SELECT pg_backend_pid()") != connection.get_server_pid()
            )
        finally:
            await connection.close()
