"""The rules of the house: whatever else changes, these hold."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
GENERATED = ROOT / "deployment_service" / "v1"
# Only from the root: "…/jenkins_home/workspace/…" of a simulated Jenkins is nobody's machine.
MACHINE_PATHS = re.compile(r"(?<![\w./-])/(?:home|Users|root|work|workspace|builds)/[\w.-]+")
REGISTRIES = re.compile(
    r"pypi\.org|pythonhosted\.org|registry\.npmjs|registry\.yarnpkg|deb\.debian\.org|buf\.build|ghcr\.io|docker\.io"
)
# What may carry such a name without meaning a machine: recordings are evidence, kept as they were.
RECORDED = "tests/conformance/"


def tracked() -> list[Path]:
    """Files that are committed or about to be: all but the ignored ones."""
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    if listing.returncode != 0:
        pytest.skip("not a git checkout")
    return [path for name in listing.stdout.split("\0") if name and (path := ROOT / name).is_file()]


def test_no_module_is_over_400_lines():
    lengths = {
        str(path.relative_to(ROOT)): len(path.read_text().splitlines())
        for path in tracked()
        if path.suffix == ".py" and GENERATED not in path.parents
    }
    assert {name: length for name, length in lengths.items() if length > 400} == {}


def test_no_file_names_a_machines_path_or_a_registry():
    found = []
    for path in tracked():
        name = str(path.relative_to(ROOT))
        if name.startswith(RECORDED) or path == Path(__file__):
            continue
        try:
            text = path.read_text()
        except UnicodeDecodeError:
            continue
        for number, line in enumerate(text.splitlines(), 1):
            if MACHINE_PATHS.search(line) or REGISTRIES.search(line):
                found.append(f"{name}:{number}: {line.strip()[:100]}")
    assert found == []


LOCKS = (
    "requirements.lock",
    "requirements-production.lock",
    "requirements-build.lock",
    "requirements-simulator.lock",
    "requirements-protos.lock",
)


def test_lock_files_pin_with_hashes_and_without_addresses():
    for name in LOCKS:
        text = (ROOT / name).read_text()
        assert "://" not in text
        for requirement in re.split(r"\n(?=\S)", text.strip()):
            assert re.match(r"[a-z0-9.-]+(\[[a-z,]+\])?==\S+", requirement), requirement[:80]
            assert "--hash=sha256:" in requirement, requirement[:80]


def _pins(name: str) -> set[str]:
    return set(re.findall(r"^[a-z].*==.*", (ROOT / name).read_text(), re.MULTILINE))


def test_the_container_images_hold_releases_that_are_tested():
    """The images install what `make test` ran with, and nothing that only checks and tests need."""
    production, tested = _pins("requirements-production.lock"), _pins("requirements.lock")
    assert production <= tested
    assert _pins("requirements-build.lock") | _pins("requirements-simulator.lock") <= tested
    assert not [pin for pin in production if pin.startswith(("pytest", "mypy", "embedded"))]


# The first releases above published advisories. A floor never falls below them, nor does a pinned version.
SAFE = {"aiohttp": (3, 14, 3), "urllib3": (2, 7), "protobuf": (6, 33, 5), "grpcio": (1, 72)}


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"[0-9]+", text)[:3])


@pytest.mark.parametrize("name", sorted(SAFE))
def test_floors_and_pins_are_above_known_advisories(name: str):
    declared = re.findall(
        rf'^ *"{name}[>=]=([0-9.]+)', (ROOT / "pyproject.toml").read_text(), re.MULTILINE
    )
    assert declared
    pinned = [
        found
        for lock in LOCKS
        for found in re.findall(rf"^{name}==([0-9.]+)", (ROOT / lock).read_text(), re.MULTILINE)
    ]
    assert pinned
    assert [one for one in declared + pinned if _version(one) < SAFE[name]] == []


def test_generated_code_asks_for_no_more_than_the_floors():
    """A client with the oldest protobuf and grpcio that we allow can import it."""
    floors = dict(
        re.findall(
            r'^    "(protobuf|grpcio)>=([0-9.]+)',
            (ROOT / "pyproject.toml").read_text(),
            re.MULTILINE,
        )
    )
    for path in GENERATED.glob("*_pb2.py"):
        version = re.search(r"Protobuf Python Version: ([0-9.]+)", path.read_text())
        assert version, path.name
        assert _version(version[1]) <= _version(floors["protobuf"]), path.name
    for path in GENERATED.glob("*_pb2_grpc.py"):
        version = re.search(r"GRPC_GENERATED_VERSION = '([0-9.]+)'", path.read_text())
        assert version, path.name
        assert _version(version[1]) <= _version(floors["grpcio"]), path.name


def test_the_gateway_imports_only_the_contract_and_the_client():
    # Beside the contract of import-linter, which can only forbid modules by name, and only those that exist.
    imported = {
        match
        for path in (ROOT / "webhook_gateway").rglob("*.py")
        for match in re.findall(
            r"^\s*(?:from|import) deployment_service\.?(\w*)", path.read_text(), re.MULTILINE
        )
    }
    assert imported <= {"v1", "client", "runtime", "webhook_auth"}


def test_make_help_lists_every_target():
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"^([a-z][a-z-]*):(?!=)", makefile, re.MULTILINE))
    assert {"demo", "run", "test", "lint", "typecheck", "protos", "clean"} <= targets
    help_text = subprocess.run(
        ["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert {
        line.split()[1] for line in help_text.stdout.splitlines() if "  make " in line
    } == targets


UNSEEN = {
    "an exception in a task nobody waits for": """
        async def test():
            async def fail(): raise ValueError("unseen")
            asyncio.create_task(fail())
            await asyncio.sleep(0)
    """,
    "an exception in a task nobody waits for, on uvloop": """
        def test():
            async def fail(): raise ValueError("unseen")
            async def main():
                asyncio.create_task(fail())
                await asyncio.sleep(0.01)
            uvloop.run(main())
    """,
    "an exception in a callback": """
        async def test():
            def fail(): raise ValueError("unseen")
            asyncio.get_running_loop().call_soon(fail)
            await asyncio.sleep(0)
    """,
    "a coroutine that is never awaited": """
        async def test():
            asyncio.sleep(0)
    """,
    "an exception in a thread": """
        def test():
            def fail(): raise ValueError("unseen")
            thread = threading.Thread(target=fail)
            thread.start()
            thread.join()
    """,
    "an exception in a finalizer": """
        def test():
            class Fails:
                def __del__(self): raise ValueError("unseen")
            Fails()
    """,
    "an exception in a gRPC handler": """
        async def test():
            async def fail(request, context): raise ValueError("unseen")
            server = grpc.aio.server()
            handlers = {"Call": grpc.unary_unary_rpc_method_handler(fail)}
            server.add_registered_method_handlers("test.Service", handlers)
            server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("test.Service", handlers)])
            port = server.add_insecure_port("127.0.0.1:0")
            await server.start()
            async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
                with pytest.raises(grpc.aio.AioRpcError):
                    await channel.unary_unary("/test.Service/Call")(b"")
            await server.stop(None)
    """,
    "a warning": """
        def test():
            import warnings
            warnings.warn("unseen", DeprecationWarning)
    """,
}
SEEN = """
    async def test():
        async def fail(): raise ValueError("seen")
        with pytest.raises(ValueError):
            await asyncio.create_task(fail())
"""


def run_pytest(directory: Path, body: str) -> subprocess.CompletedProcess[str]:
    lines = body.strip("\n").splitlines()
    indent = len(lines[0]) - len(lines[0].lstrip())
    test = directory / "test_sample.py"
    imports = "import asyncio, threading\nimport grpc, pytest, uvloop\n"
    test.write_text(imports + "\n".join(line[indent:] for line in lines) + "\n")
    options = ["-p", "no:cacheprovider", "-p", "no:hypothesispytest", "-q"]
    return subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-c",
            ROOT / "pyproject.toml",
            "--rootdir",
            directory,
            *options,
            test,
        ],
        cwd=directory,
        capture_output=True,
        text=True,
    )


@pytest.mark.parametrize("body", UNSEEN.values(), ids=UNSEEN.keys())
def test_nothing_fails_unseen(body: str, tmp_path: Path):
    result = run_pytest(tmp_path, body)
    assert result.returncode == 1, result.stdout + result.stderr
    assert re.search("unseen|never awaited", result.stdout), result.stdout + result.stderr


def test_what_is_seen_passes(tmp_path: Path):
    result = run_pytest(tmp_path, SEEN)
    assert result.returncode == 0, result.stdout + result.stderr
