"""The gateway as a process of its own: starts, logs, stops."""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import pytest

from deployment_service.v1 import gateway_service_pb2 as pb
from tests.integration.gateway_harness import (
    API_KEY,
    JOB,
    FakeService,
    applied,
    eventually,
    guide,
    plugin,
    serving,
)

COMMAND = [sys.executable, "-m", "webhook_gateway"]


@dataclass
class Process:
    process: asyncio.subprocess.Process
    lines: list[dict[str, Any]] = field(default_factory=list)
    raw: list[str] = field(default_factory=list)
    errors: str = ""
    url: str = ""
    reader: asyncio.Task[None] | None = None

    async def read(self) -> None:
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        async for line in self.process.stdout:
            self.raw.append(line.decode())
            self.lines.append(json.loads(line))
        self.errors = (await self.process.stderr.read()).decode()

    def find(self, text: str) -> list[dict[str, Any]]:
        return [line for line in self.lines if text in line["event"]]

    async def end(self) -> int:
        assert self.reader is not None
        async with asyncio.timeout(15):
            await self.reader
            return await self.process.wait()

    def hook(self, token: str) -> str:
        return f"{self.url}/en/demo/deployment/webhooks/jenkins?token={token}"


def environment(target: str, **settings: str) -> dict[str, str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("WEBHOOK_")}
    ours = {
        "SERVICE_TARGET": target,
        "API_KEY": API_KEY,
        "PORT": "0",
        "FAILED_PROOF_DELAY": "0",
        **settings,
    }
    return clean | {f"WEBHOOK_GATEWAY_{name}": value for name, value in ours.items()}


@contextlib.asynccontextmanager
async def started(service: FakeService, **settings: str) -> AsyncIterator[Process]:
    process = Process(
        await asyncio.create_subprocess_exec(
            *COMMAND,
            env=environment(f"127.0.0.1:{service.port}", **settings),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
    )
    process.reader = asyncio.create_task(process.read())
    try:
        await eventually(
            lambda: bool(process.find("listening")) or process.process.returncode is not None
        )
        process.url = process.find("listening")[0]["url"]
        yield process
    finally:
        if process.process.returncode is None:
            process.process.kill()
        await process.end()


@pytest.fixture
async def service():
    async with serving() as service:
        yield service


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_it_starts_serves_and_stops(service: FakeService, number: signal.Signals):
    """P1: one line says where it listens; a signal ends it with 0."""
    async with started(service) as process, aiohttp.ClientSession() as client:
        async with client.post(
            process.hook(service.tenants["demo"].token()), json=guide()
        ) as answer:
            assert answer.status == 200
        process.process.send_signal(number)
        assert await process.end() == 0
    assert process.lines[-1]["event"] == "stopped"
    assert process.lines[-1]["reports_dropped"] == 0
    assert process.errors == ""


async def test_what_is_in_hand_is_finished_before_it_stops(service: FakeService):
    """P1, P4: a request that waits for its commit gets its answer, new connections don't get in."""
    gate = asyncio.Event()

    async def script(request: pb.ReportBuildsRequest) -> pb.ReportBuildsResponse:
        await gate.wait()
        return await applied(request)

    service.script = script
    async with (
        started(service, ANSWER_TIMEOUT="20", CALL_TIMEOUT="20", STOP_TIMEOUT="20") as process,
        aiohttp.ClientSession() as client,
    ):
        hook = process.hook(service.tenants["demo"].token())
        post = asyncio.create_task(client.post(hook, json=guide()))
        await service.until(lambda: bool(service.reports))
        process.process.send_signal(signal.SIGTERM)
        await eventually(lambda: bool(process.find("stopping")))
        async with aiohttp.ClientSession() as late:
            with pytest.raises(aiohttp.ClientConnectionError):
                await late.post(hook, json=guide())
        gate.set()
        async with await post as answer:
            assert answer.status == 200
            assert answer.headers["Connection"] == "close"
        assert await process.end() == 0


async def test_what_waits_is_sent_before_it_stops(service: FakeService):
    """P4: reports that were answered 503 leave with the gateway."""
    async with started(service, ANSWER_TIMEOUT="0.3") as process, aiohttp.ClientSession() as client:
        hook = process.hook(service.tenants["demo"].token())
        async with client.post(hook, json=guide(buildNumber=1)) as answer:
            assert answer.status == 200
        await service.stop()
        async with client.post(hook, json=guide(buildNumber=2)) as answer:
            assert answer.status == 503
        process.process.send_signal(signal.SIGTERM)
        await service.start()
        assert await process.end() == 0
    assert [report.build_number for report in service.reports] == [1, 2]
    assert process.lines[-1]["reports_dropped"] == 0


async def test_it_stops_in_bounded_time_without_the_service(service: FakeService):
    """P4: what it has to give up is said."""
    async with (
        started(service, ANSWER_TIMEOUT="0.2", STOP_TIMEOUT="0.5") as process,
        aiohttp.ClientSession() as client,
    ):
        hook = process.hook(service.tenants["demo"].token())
        async with client.post(hook, json=guide()) as answer:
            assert answer.status == 200
        await service.stop()
        async with client.post(hook, json=guide()) as answer:
            assert answer.status == 503
        process.process.send_signal(signal.SIGTERM)
        assert await process.end() == 0
    assert process.lines[-1]["reports_dropped"] == 1


async def test_a_second_signal_ends_it_at_once(service: FakeService):
    """P4: whoever can't wait needn't."""
    async with (
        started(service, ANSWER_TIMEOUT="0.2", STOP_TIMEOUT="60") as process,
        aiohttp.ClientSession() as client,
    ):
        hook = process.hook(service.tenants["demo"].token())
        async with client.post(hook, json=guide()) as answer:
            assert (answer.status, answer.headers["Server"]) == (200, "webhook-gateway")
        await service.stop()
        async with client.post(hook, json=guide()) as answer:
            assert answer.status == 503
        process.process.send_signal(signal.SIGINT)
        await eventually(lambda: bool(process.find("stopping")))
        process.process.send_signal(signal.SIGINT)
        assert await process.end() == 1


async def test_the_log_has_the_guides_words_and_no_secret(service: FakeService):
    """P7: every line is ours and JSON; no token, key or parameter is in any."""
    token = service.tenants["demo"].token()
    evil = plugin(
        status='x\r\n{"event": "forged"}\u2028', parameters={"PASSWORD": "s3cret-parameter"}
    )
    async with started(service) as process, aiohttp.ClientSession() as client:
        hook = process.hook(token)
        plain = hook.partition("?")[0]
        json_type = {"Content-Type": "application/json"}
        for url, data, headers in (
            (hook, json.dumps(evil), json_type),
            (hook, token, json_type),
            (hook, json.dumps(token), json_type),
            (hook, f'{{"jobId": "{token}", "buildNumber": "{token}"}}', json_type),
            (hook, "{}", {"Content-Type": f"text/{token}"}),
            (hook + "x", "{}", json_type),
            (f"{plain}/{token}", "{}", json_type),
            (f"{plain}/{token}/more", "{}", json_type),
            (hook, "{}", json_type | {"X": "a" * 9000 + token}),
            (hook + "a" * 9000, "{}", json_type),
        ):
            # A head that is too long is refused while it is still being sent.
            with contextlib.suppress(aiohttp.ClientOSError):
                async with client.post(url, data=data, headers=headers) as answer:
                    assert answer.status == 200 or 400 <= answer.status < 500
        process.process.send_signal(signal.SIGTERM)
        assert await process.end() == 0
    text = "".join(process.raw) + process.errors
    assert process.find(f"[@webhook:jenkins] Received status update for job: {JOB}")
    assert process.find("[@webhook:jenkins] Error processing webhook: UNAUTHENTICATED")
    assert not [line for line in process.lines if line["event"] == "forged"]
    for secret in (token.rpartition(".")[2], API_KEY, "s3cret-parameter", "1" * 32):
        assert secret not in text


def run(*arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *arguments],
        env=environment("127.0.0.1:1", **settings),
        capture_output=True,
        text=True,
        timeout=30,
    )


def test_help_helps():
    """P7: all settings are listed, with what they are for."""
    result = run("--help", API_KEY="")
    assert result.returncode == 0
    assert "WEBHOOK_GATEWAY_SERVICE_TARGET" in result.stdout
    assert "WEBHOOK_GATEWAY_TRUSTED_PROXIES" in result.stdout


def test_wrong_settings_are_named():
    """P7: it says which setting is wrong, not what was in it."""
    result = run(API_KEY="", PORT="many")
    assert result.returncode == 2
    assert "WEBHOOK_GATEWAY_API_KEY" in result.stderr
    assert "WEBHOOK_GATEWAY_PORT" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    "settings", [{"HOST": "192.0.2.1", "PORT": "99"}, {"METRICS_LISTEN": "192.0.2.1:99"}]
)
def test_a_port_that_is_taken(settings: dict[str, str]):
    """P1: it says which address it cannot have, and ends."""
    result = run(**settings)
    assert result.returncode == 1
    last = json.loads(result.stdout.splitlines()[-1])
    assert (last["event"], last["address"]) == ("listen.failed", "192.0.2.1:99")
    assert result.stderr == ""


def test_an_address_for_metrics_that_is_none():
    """P1: the setting is named."""
    result = run(METRICS_LISTEN="9090")
    assert result.returncode == 2
    assert "WEBHOOK_GATEWAY_METRICS_LISTEN" in result.stderr


@pytest.mark.parametrize(
    "key",
    [f"{API_KEY}\n", f"{API_KEY}\r\n", f"  {API_KEY}\t", f"\ufeff{API_KEY}", f'"{API_KEY}"\n'],
    ids=["line end", "CRLF", "spaces", "byte order mark", "quotes of an env file"],
)
async def test_a_key_with_what_files_add_works(service: FakeService, key: str):
    """P10: how the secret was put into the environment doesn't matter."""
    async with started(service, API_KEY=key) as process, aiohttp.ClientSession() as client:
        async with client.get(f"{process.url}/readyz") as answer:
            assert answer.status == 200
        hook = process.hook(service.tenants["demo"].token())
        async with client.post(hook, json=guide()) as answer:
            assert answer.status == 200


@pytest.mark.parametrize(
    ("key", "character"),
    [
        ("one\ntwo", "U+000A"),
        ("one two", "U+0020"),
        ("schlüssel", "U+00FC"),
        ("a\u200bb", "U+200B"),
    ],
)
def test_a_key_that_no_header_can_carry_is_refused_at_start(key: str, character: str):
    """P10: the setting is named, its value is not quoted."""
    ended = run(API_KEY=key)
    assert ended.returncode == 2
    assert "WEBHOOK_GATEWAY_API_KEY" in ended.stderr
    assert character in ended.stderr
    assert key not in ended.stderr
    assert "Traceback" not in ended.stderr


async def test_a_wrong_key_is_named_at_start(service: FakeService):
    """P10: without any request or probe the log names the setting and what to do."""
    async with started(service, API_KEY="dsk_wrong") as process:
        await eventually(lambda: bool(process.find("service.key_refused")))
        (line,) = process.find("service.key_refused")
        assert (line["setting"], line["code"]) == ("WEBHOOK_GATEWAY_API_KEY", "UNAUTHENTICATED")
        assert "keys create --role gateway" in line["remedy"]
    assert "dsk_wrong" not in "".join(process.raw)


async def test_a_service_that_comes_later_is_named_and_then_ready(service: FakeService):
    """P10: started in any order, the log says what is missing and when it is there."""
    port = service.port
    await service.stop()
    async with started(service) as process:
        await eventually(lambda: bool(process.find("service.not_ready")))
        assert process.find("service.not_ready")[0]["code"] == "UNAVAILABLE"
        service.port = port
        await service.start()
        await eventually(lambda: bool(process.find("service.ready")))


async def test_a_port_that_kubernetes_sets_is_ignored_with_a_line(service: FakeService):
    """P10: a Service called webhook-gateway sets WEBHOOK_GATEWAY_PORT in every container."""
    link = "tcp://10.96.0.7:8080"
    # The default port, at an address that nothing else uses.
    async with started(service, PORT=link, MAX_CALLS=link, HOST="127.7.0.7") as process:
        ignored = process.find("setting.ignored")
        assert [line["setting"] for line in ignored] == [
            "WEBHOOK_GATEWAY_MAX_CALLS",
            "WEBHOOK_GATEWAY_PORT",
        ]
        assert "Kubernetes" in ignored[0]["why"]
        assert process.url == "http://127.7.0.7:8080"
