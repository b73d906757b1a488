"""A scripted deployment service behind a real gRPC port, and gateways that run against it."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import grpc
from aiohttp import web

from deployment_service.runtime.metrics_server import MetricsServer
from deployment_service.v1 import deployment_service_pb2 as deployment
from deployment_service.v1 import gateway_service_pb2 as pb
from deployment_service.v1 import gateway_service_pb2_grpc as pb_grpc
from deployment_service.webhook_auth import signatures, tokens
from webhook_gateway.app import Gateway
from webhook_gateway.channel import connect
from webhook_gateway.config import Settings
from webhook_gateway.connections import ConnectionLimiter

PAYLOADS = Path(__file__).resolve().parents[1] / "payloads"
JOB = "7d0a4f9e-6f0e-4b0a-9a55-0d7d4e0f3c11"
OTHER_JOB = "11111111-2222-4333-8444-555555555555"
RUN = "0f8fad5b-d9cb-469f-a165-70867728950e"
API_KEY = "gateway-key"

Script = Callable[[pb.ReportBuildsRequest], Awaitable[pb.ReportBuildsResponse]]


@dataclass
class Tenant:
    """A tenant of the scripted service."""

    uid: str = field(default_factory=lambda: str(uuid.uuid4()))
    keys: dict[str, bytes] = field(default_factory=lambda: {"k1": b"1" * 32})
    jobs: set[str] = field(default_factory=lambda: {JOB, OTHER_JOB})
    signing: set[str] = field(default_factory=lambda: {JOB, OTHER_JOB})

    def token(self, job: str = JOB, key: str = "k1") -> str:
        return tokens.mint(self.uid, job, key, self.keys[key])

    def secret(self, job: str = JOB, key: str = "k1") -> bytes:
        return signatures.job_secret(self.uid, job, self.keys[key])

    def verifiers(self, job: str) -> tuple[tuple[str, bytes, bytes], ...]:
        """Key, hash of the token and signing secret, as the service makes them."""
        return tuple(
            (
                key,
                tokens.digest(self.token(job, key)),
                self.secret(job, key) if job in self.signing else b"",
            )
            for key in self.keys
        )


class FakeService(pb_grpc.GatewayServiceServicer):
    """Answers as it is told; remembers what it was asked."""

    def __init__(self) -> None:
        self.tenants = {"demo": Tenant(), "other": Tenant()}
        self.calls: list[pb.ReportBuildsRequest] = []
        self.reads: list[str] = []
        """The cursors of all calls that read verifiers."""
        self._states: list[Verifiers] = [{}]
        self.page_size = 1000
        self.fail_after: int | None = None
        """After how many calls that read verifiers all further ones fail."""
        self.questions = 0
        self.script: Script = applied
        self.keys_fail: grpc.StatusCode | None = None
        self.lookup_gate = asyncio.Event()
        self.lookup_gate.set()
        self._changed = asyncio.Condition()
        self._server: grpc.aio.Server | None = None
        self.port = 0

    @property
    def reports(self) -> list[pb.BuildReport]:
        return [report for call in self.calls for report in call.reports]

    @property
    def refresh_requests(self) -> list[pb.RefreshRequest]:
        return [request_refresh for call in self.calls for request_refresh in call.refresh_requests]

    async def start(self) -> None:
        self._server = grpc.aio.server(
            options=[
                ("grpc.so_reuseport", 0),
                ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
            ]
        )
        pb_grpc.add_GatewayServiceServicer_to_server(self, self._server)
        self.port = self._server.add_insecure_port(f"127.0.0.1:{self.port}")
        await self._server.start()

    async def stop(self) -> None:
        if self._server is not None:
            await self._server.stop(0)
            self._server = None

    async def until(self, condition: Callable[[], bool], timeout: float = 10) -> None:
        async with asyncio.timeout(timeout), self._changed:
            await self._changed.wait_for(condition)

    async def ReportBuilds(self, request: Any, context: Any) -> pb.ReportBuildsResponse:
        await self._authorize(context)
        if not request.reports and not request.refresh_requests:
            self.questions += 1
            await self.lookup_gate.wait()
            return pb.ReportBuildsResponse()
        self.calls.append(request)
        await self._tell()
        try:
            return await self.script(request)
        except FailError as failure:
            await context.abort(failure.code, "scripted")
            raise AssertionError from failure

    async def ListWebhookVerifiers(
        self, request: Any, context: Any
    ) -> pb.ListWebhookVerifiersResponse:
        await self._authorize(context)
        self.reads.append(request.cursor)
        await self._tell()
        await self.lookup_gate.wait()
        if self.keys_fail is not None:
            await context.abort(self.keys_fail, "scripted")
        if self.fail_after is not None and len(self.reads) > self.fail_after:
            await context.abort(grpc.StatusCode.UNAVAILABLE, "scripted")
        return self.changes(request.cursor)

    def changes(self, cursor: str) -> pb.ListWebhookVerifiersResponse:
        """What differs from the state that a cursor names, in pages."""
        now: Verifiers = {
            (slug, job): tenant.verifiers(job)
            for slug, tenant in self.tenants.items()
            for job in tenant.jobs
        }
        if now != self._states[-1]:
            self._states.append(now)
        known, _, place = cursor.partition("/")
        before = self._states[int(known or 0)]
        changed = [
            pb.WebhookVerifier(
                tenant=f"tenants/{slug}",
                cicd_job_id=job,
                deleted=(slug, job) not in now,
                keys=[
                    pb.KeyVerifier(key_id=key, token_sha256=digest, signing_secret=secret)
                    for key, digest, secret in now.get((slug, job), ())
                ],
            )
            for slug, job in sorted(now.keys() | before.keys())
            if now.get((slug, job)) != before.get((slug, job))
        ]
        start = int(place or 0)
        end = start + self.page_size
        more = len(changed) > end
        return pb.ListWebhookVerifiersResponse(
            verifiers=changed[start:end],
            next_cursor=f"{known or 0}/{end}" if more else str(len(self._states) - 1),
            more=more,
            reset=cursor == "",
        )

    async def _authorize(self, context: Any) -> None:
        if dict(context.invocation_metadata()).get("authorization") != f"Bearer {API_KEY}":
            await context.abort(grpc.StatusCode.UNAUTHENTICATED, "no key")

    async def _tell(self) -> None:
        async with self._changed:
            self._changed.notify_all()


Verifiers = dict[tuple[str, str], tuple[tuple[str, bytes, bytes], ...]]


class FailError(Exception):
    """Makes a scripted call fail."""

    def __init__(self, code: grpc.StatusCode = grpc.StatusCode.UNAVAILABLE) -> None:
        super().__init__(code.name)
        self.code = code


def result(verdict: pb.ReportVerdict = pb.REPORT_VERDICT_APPLIED, **fields: Any) -> pb.ReportResult:
    return pb.ReportResult(verdict=verdict, **fields)


async def applied(request: pb.ReportBuildsRequest) -> pb.ReportBuildsResponse:
    """Say that every report ended its deployment's run."""
    return pb.ReportBuildsResponse(
        results=[
            result(
                deployment=f"{report.tenant}/deployments/web-prod",
                old_status=deployment.DEPLOYMENT_STATUS_RUNNING,
                status=deployment.DEPLOYMENT_STATUS_COMPLETED,
            )
            for report in request.reports
        ]
    )


def always(verdict: pb.ReportVerdict, **fields: Any) -> Script:
    """Return a script with one verdict for everything."""

    async def script(request: pb.ReportBuildsRequest) -> pb.ReportBuildsResponse:
        return pb.ReportBuildsResponse(results=[result(verdict, **fields) for _ in request.reports])

    return script


@dataclass
class Running:
    """A gateway that listens."""

    service: FakeService
    gateway: Gateway
    url: str
    client: aiohttp.ClientSession
    metrics_port: int = 0

    def hook(
        self, token: str | None = None, tenant: str = "demo", locale: str = "en", job: str = JOB
    ) -> str:
        if token is None:
            token = self.service.tenants[tenant].token(job)
        return f"{self.url}/{locale}/{tenant}/deployment/webhooks/jenkins?token={token}"

    def signed_hook(self, tenant: str = "demo", job: str = JOB) -> str:
        return f"{self.url}/en/{tenant}/deployment/webhooks/jenkins?job={job}"

    async def refresh(self) -> None:
        """Have the gateway read what has changed until now."""
        assert await self.gateway.verifiers.refresh(time.monotonic(), 10)

    async def post(
        self, body: object = None, *, url: str | None = None, **options: Any
    ) -> tuple[int, dict[str, Any]]:
        """Send a report; bytes go as they are."""
        data = body if isinstance(body, bytes) else json.dumps(body or guide()).encode()
        headers = {"Content-Type": "application/json", **options.pop("headers", {})}
        async with self.client.post(
            url or self.hook(), data=io.BytesIO(data), headers=headers, **options
        ) as answer:
            text = await answer.text()
            if answer.status >= 400:
                assert answer.content_type == "application/problem+json", text
            return answer.status, json.loads(text)


@contextlib.asynccontextmanager
async def running(service: FakeService, **settings: Any) -> AsyncIterator[Running]:
    """Run a gateway in front of a service, as the process does."""
    values: dict[str, Any] = {
        "service_target": f"127.0.0.1:{service.port}",
        "api_key": API_KEY,
        "port": 0,
        "failed_proof_delay": 0.0,
        # Tests run beside each other: who isn't about it needn't be told 503 by a machine that is busy for a second.
        "answer_timeout": 10.0,
        # Read only when a proof fails, so that tests count readings.
        "verifier_interval": 3600.0,
        **settings,
    }
    options = Settings(**values)
    async with connect(options.service_target) as channel:
        gateway = Gateway(options, pb_grpc.GatewayServiceStub(channel))
        runner = web.AppRunner(gateway.app(), access_log=None, shutdown_timeout=1.0)
        await runner.setup()
        assert runner.server is not None
        door = ConnectionLimiter(options)
        metrics = MetricsServer(options.metrics_listen, gateway.metrics.registry)
        metrics.start()
        await gateway.start()
        url = await door.open(runner.server)
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(connector=connector) as client:
            try:
                yield Running(service, gateway, url, client, metrics.port)
            finally:
                await metrics.stop()
                door.close()
                await gateway.finish(2)
                await runner.cleanup()


@contextlib.asynccontextmanager
async def serving() -> AsyncIterator[FakeService]:
    """Run a scripted service."""
    service = FakeService()
    await service.start()
    try:
        yield service
    finally:
        service.lookup_gate.set()
        await service.stop()


async def eventually(condition: Callable[[], bool]) -> None:
    """Wait for something that nothing tells of."""
    async with asyncio.timeout(10):
        while True:
            if condition():
                return
            await asyncio.sleep(0)


def guide(**fields: object) -> dict[str, object]:
    """Return the guide's body."""
    return {
        "jobId": JOB,
        "status": "success",
        "buildNumber": 7,
        "timestamp": 1795478260797,
    } | fields


def plugin(**build: object) -> dict[str, object]:
    """Return the Notification plugin's body."""
    return {
        "name": "web-prod",
        "display_name": "web-prod",
        "url": "job/shop/job/web-prod/",
        "build": {
            "full_url": "http://ci/job/shop/job/web-prod/7/",
            "number": 7,
            "queue_id": 38,
            "timestamp": 1795478260797,
            "duration": 0,
            "phase": "FINALIZED",
            "status": "SUCCESS",
            "url": "job/shop/job/web-prod/7/",
            "scm": {"changes": [], "culprits": []},
            "parameters": {"DEPLOYMENT_RUN_ID": RUN, "FLAG": "true"},
            "log": "",
            "notes": "",
            "artifacts": {},
        }
        | build,
    }


def recorded(name: str) -> list[dict[str, Any]]:
    """Return the requests of a recording: headers and body."""
    requests: list[dict[str, Any]] = json.loads((PAYLOADS / f"{name}.json").read_text())["requests"]
    return requests
