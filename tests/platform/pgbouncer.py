"""Debian's PgBouncer in front of an embedded PostgreSQL."""

from __future__ import annotations

import contextlib
import re
import subprocess
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass

from devstack.postgres import EmbeddedPostgres
from tests.platform.components import component, folder, free_port, program


@dataclass(frozen=True)
class PgBouncer:
    """A running PgBouncer. ``url`` leads through it to a database of the server behind."""

    port: int
    user: str
    password: str

    def url(self, database: str) -> str:
        return f"postgresql://{self.user}:{self.password}@127.0.0.1:{self.port}/{database}"


def prepares_statements() -> bool:
    """Return whether this PgBouncer keeps prepared statements in transaction mode: since 1.21, Debian 12 has 1.18."""
    said = subprocess.run(
        [program("pgbouncer"), "--version"], capture_output=True, text=True, check=True
    )
    version = re.search(r"PgBouncer (\d+)\.(\d+)", said.stdout)
    assert version is not None, said.stdout
    return (int(version[1]), int(version[2])) >= (1, 21)


@contextlib.asynccontextmanager
async def pgbouncer(
    server: EmbeddedPostgres,
    *,
    pool_mode: str = "transaction",
    settings: Mapping[str, object] | None = None,
) -> AsyncIterator[PgBouncer]:
    """Run PgBouncer with Debian's defaults but for ``pool_mode`` and ``settings``."""
    port = free_port()
    async with folder() as path:
        users = path / "users.txt"
        users.write_text(f'"postgres" "{server.password}"\n')
        lines = {
            "listen_addr": "127.0.0.1",
            "listen_port": port,
            "unix_socket_dir": "",
            "auth_type": "scram-sha-256",
            "auth_file": users,
            "pool_mode": pool_mode,
            "default_pool_size": 20,
            "max_client_conn": 200,
            **(settings or {}),
        }
        configuration = path / "pgbouncer.ini"
        configuration.write_text(
            f"[databases]\n* = host=127.0.0.1 port={server.port}\n[pgbouncer]\n"
            + "".join(f"{name} = {value}\n" for name, value in lines.items())
        )
        log = path / "log"
        command = [program("pgbouncer"), str(configuration)]
        async with component(command, port=port, log=log, user="nobody"):
            yield PgBouncer(port, "postgres", server.password)
