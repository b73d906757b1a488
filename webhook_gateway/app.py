"""The gateway's HTTP interface: routes, and the steps from a request to its answer."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from aiohttp import web

from deployment_service.v1 import gateway_service_pb2 as pb
from deployment_service.webhook_auth import paths
from webhook_gateway import payloads, signatures, unmatched
from webhook_gateway.channel import ServiceCalls
from webhook_gateway.config import Settings
from webhook_gateway.connections import check_version
from webhook_gateway.errors import SERVER, VERDICTS, Reason, RefusedError, problem
from webhook_gateway.forwarder import Forwarder, status_name, verdict_name
from webhook_gateway.limits import BodyMemory, FairGate, RateLimit
from webhook_gateway.logs import FAILED, RECEIVED, Throttle, log
from webhook_gateway.metrics import Metrics
from webhook_gateway.readiness import Readiness
from webhook_gateway.senders import Senders
from webhook_gateway.unverified import UnverifiedRequests
from webhook_gateway.verifiers import VerifierList
from webhook_gateway.verify import Proof, Verifier

if TYPE_CHECKING:
    from deployment_service.v1.gateway_service_pb2_grpc import GatewayServiceAsyncStub

PATH = f"/{{locale:{paths.LOCALE}}}/{{tenant:{paths.TENANT}}}/{paths.TAIL}"
_JSON_TYPES = ("application/json", "text/json")

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Gateway:
    """One gateway: its limits, keys and forwarder."""

    def __init__(self, settings: Settings, stub: GatewayServiceAsyncStub) -> None:
        calls = ServiceCalls(stub, settings.api_key.get_secret_value())
        self._settings = settings
        self.metrics = Metrics()
        self.forwarder = Forwarder(calls, settings, self.metrics)
        self.verifiers = VerifierList(
            calls,
            self.metrics,
            interval_s=settings.verifier_interval,
            stale_for_s=settings.stale_keys,
            timeout_s=settings.call_timeout,
            updated=self._refresh_unverified,
        )
        self._unverified = UnverifiedRequests(self.metrics)
        self._senders = Senders(Verifier(self.verifiers, self._unverified), settings)
        self._ceiling = RateLimit(settings.tenant_ceiling)
        self._over_ceiling = FairGate()
        self._bodies = BodyMemory(settings.max_bodies_bytes)
        self._unverified_bodies = BodyMemory(settings.max_bodies_bytes // 4)
        self._received_log = Throttle(500)
        self._refusal_log = Throttle(20)
        self._unmatched_log = Throttle(5)
        self.readiness = Readiness(self.forwarder.reachable)
        self._open_requests = 0
        self._no_open_request = asyncio.Event()
        self._no_open_request.set()
        self.stopping = False

    def app(self) -> web.Application:
        """Return the routes."""
        app = web.Application(middlewares=[self._answer])
        for path in (PATH, PATH + "/{token}"):
            app.router.add_post(path, self._webhook)
            app.router.add_get(path, self._check_url, allow_head=False)
        app.router.add_get("/healthz", self._healthz)
        app.router.add_get("/readyz", self._readyz)
        return app

    async def start(self) -> None:
        """Read the verifiers before the first webhook; wait for the service at most the call timeout."""
        await self.verifiers.start(self._settings.call_timeout)

    async def finish(self, timeout: float) -> int:
        """Finish open requests, send queued reports; return the number of dropped ones. ``timeout`` in seconds."""
        deadline = time.monotonic() + timeout
        self.stopping = True
        try:
            await asyncio.wait_for(self._no_open_request.wait(), timeout * 0.6)
        except TimeoutError:
            log.warning("requests.cut_off", requests=self._open_requests)
        dropped = await self.forwarder.drain(max(0.1, deadline - time.monotonic()))
        await self.verifiers.close()
        return dropped

    # -- every request

    @web.middleware
    async def _answer(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        self._open_requests += 1
        self._no_open_request.clear()
        reason = ""
        try:
            check_version(request)
            response = await self._route(request, handler)
        except RefusedError as refusal:
            reason = refusal.reason
            response = problem(refusal)
        except Exception as error:
            # Do not log the error's text: it may quote the request.
            log.error(
                FAILED.format(why="internal error"), error=type(error).__name__, exc_info=error
            )
            reason = Reason.INTERNAL
            response = problem(RefusedError(reason))
        finally:
            self._open_requests -= 1
            if not self._open_requests:
                self._no_open_request.set()
        response.headers["Server"] = SERVER
        if self.stopping:
            response.force_close()
        self.metrics.requests.labels(str(response.status), reason).inc()
        return response

    async def _route(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            return await handler(request)
        except web.HTTPMethodNotAllowed as error:
            refusal = RefusedError(Reason.METHOD_NOT_ALLOWED)
            refusal.allow = ", ".join(sorted(error.allowed_methods))
        except web.HTTPException:
            refusal = RefusedError(Reason.NO_SUCH_PATH)
        await self._refresh_unmatched(request, refusal.reason)
        raise refusal

    # -- webhooks

    async def _webhook(self, request: web.Request) -> web.Response:
        if not self._ceiling.allows(request.match_info["tenant"]):
            await self._over_ceiling.wait_turn()
        if not signatures.is_signed(request):
            start = time.monotonic()
            return await self._accept(request, await self._prove(request, start), start, None)
        # A signed body must be read before its sender is known. So it is limited, and has a memory budget of its own.
        with self._unverified_bodies.lease(self._senders.address(request)) as lease:
            try:
                _check_encoding(request)
                body = await self._read_body(request, lease.grow, signatures.MAX_BODY)
            except RefusedError as refusal:
                self._log_refusal(refusal, request, None)
                raise
            start = time.monotonic()
            proof = await self._prove(request, start, body)
            return await self._accept(request, proof, start, body)

    async def _accept(
        self, request: web.Request, proof: Proof, start: float, body: bytes | None
    ) -> web.Response:
        """Answer a request whose sender is verified. ``body``: the body, if it was read already."""
        waited_s = time.monotonic() - start
        try:
            report = await self._read_report(request, proof, body)
            result = await self.forwarder.submit(report, self._settings.answer_timeout - waited_s)
        except RefusedError as refusal:
            self._log_refusal(refusal, request, proof)
            if refusal.reason not in (Reason.SERVICE_UNAVAILABLE, Reason.NOT_DURABLE_YET):
                self._request_refresh(proof, refusal.reason)
            raise
        except Exception:
            self._request_refresh(proof, Reason.INTERNAL)
            raise
        self.metrics.seconds.observe(time.monotonic() - start)
        return _answer_result(result)

    async def _refresh_unmatched(self, request: web.Request, reason: Reason) -> None:
        """Log a request without a route; request a read of the job if its URL contains a valid token."""
        proof = await self._senders.prove_unmatched(request)
        if proof is not None:
            self._request_refresh(proof, reason)
        if (more := self._unmatched_log.allow()) is not None:
            log.warning(
                FAILED.format(why=reason),
                method=request.method,
                path=unmatched.shown_path(request),
                tenant=proof.tenant if proof else None,
                job=proof.job_id if proof else None,
                address=self._senders.address(request),
                refresh_requested=proof is not None,
                **more,
            )

    async def _check_url(self, request: web.Request) -> web.Response:
        proof = await self._prove(request, time.monotonic())
        return web.json_response(
            {
                "tenant": proof.tenant,
                "job": proof.job_id,
                "detail": "This URL works: it accepts reports of this job with POST.",
            },
            headers={"Cache-Control": "no-store"},
        )

    async def _prove(
        self, request: web.Request, start: float, signed_body: bytes | None = None
    ) -> Proof:
        try:
            return await self._senders.prove(request, start, signed_body)
        except RefusedError as refusal:
            self._log_refusal(refusal, request, None)
            raise

    async def _read_report(
        self, request: web.Request, proof: Proof, body: bytes | None
    ) -> pb.BuildReport:
        if proof.out_of_time:
            raise RefusedError(Reason.SIGNATURE_OUT_OF_TIME)
        if not self._ceiling.hit(proof.tenant):
            raise RefusedError(
                Reason.TOO_MANY_REPORTS, retry_after=self._ceiling.retry_after(proof.tenant)
            )
        _check_headers(request, self._settings.max_body_bytes)
        with self._bodies.lease(proof.tenant) as lease:
            if body is None:
                body = await self._read_body(request, lease.grow, self._settings.max_body_bytes)
            received = time.time_ns()
            update = payloads.parse(body)
        if (more := self._received_log.allow()) is not None:
            log.info(
                RECEIVED.format(job=proof.job_id),
                tenant=proof.tenant,
                build=update.build_number,
                phase=pb.BuildPhase.Name(update.phase).removeprefix("BUILD_PHASE_"),
                status=update.status,
                **more,
            )
        if update.job_id and update.job_id.lower() != proof.job_id:
            raise RefusedError(
                Reason.WRONG_JOB, "`jobId` is not the token's job.", verdict="WRONG_JOB"
            )
        return _report(proof, update, received)

    async def _read_body(
        self, request: web.Request, grow: Callable[[int], None], limit: int
    ) -> bytes:
        body = bytearray()
        try:
            async with asyncio.timeout(self._settings.body_timeout):
                while chunk := await request.content.readany():
                    grow(len(chunk))
                    body += chunk
                    if len(body) > limit:
                        raise RefusedError(Reason.BODY_TOO_LARGE, f"At most {limit} bytes.")
        except TimeoutError:
            raise RefusedError(Reason.BODY_TIMEOUT) from None
        except (web.RequestPayloadError, ConnectionError, asyncio.IncompleteReadError):
            raise RefusedError(Reason.INCOMPLETE_BODY) from None
        return bytes(body)

    def _request_refresh(self, proof: Proof, reason: Reason) -> None:
        self.forwarder.request_refresh(proof.tenant_name, proof.job_id, f"refused: {reason}")

    def _refresh_unverified(self) -> None:
        """Request reads of the jobs whose requests could not be verified before this read of the verifiers."""
        for request in self._unverified.take_verified(self.verifiers):
            self.forwarder.request_refresh(
                f"tenants/{request.tenant}", request.job_id, f"refused: {Reason.KEYS_UNAVAILABLE}"
            )

    def _log_refusal(
        self, refusal: RefusedError, request: web.Request, proof: Proof | None
    ) -> None:
        if (more := self._refusal_log.allow()) is not None:
            log.warning(
                FAILED.format(why=refusal.reason),
                detail=refusal.detail,
                tenant=request.match_info["tenant"],
                job=proof.job_id if proof else None,
                address=self._senders.address(request),
                **more,
            )

    # -- for operators

    async def _healthz(self, request: web.Request) -> web.Response:
        _check_plain_path(request, "/healthz")
        return web.json_response({"status": "ok"})

    async def _readyz(self, request: web.Request) -> web.Response:
        _check_plain_path(request, "/readyz")
        obstacle = "STOPPING" if self.stopping else await self.readiness.obstacle()
        if obstacle is None and not self.verifiers.is_read:
            obstacle = "VERIFIERS_NOT_READ"
        body = {"status": "not ready", "why": obstacle} if obstacle else {"status": "ready"}
        return web.json_response(body, status=503 if obstacle else 200)


def _check_plain_path(request: web.Request, path: str) -> None:
    """Refuse encoded and absolute spellings: a proxy that hides a path may not match them."""
    if request.raw_path.partition("?")[0] != path:
        raise web.HTTPNotFound


def _check_encoding(request: web.Request) -> None:
    """Refuse an encoded body. All copies of the header count, as a proxy may read another copy than this server."""
    encodings = request.headers.getall("Content-Encoding", [])
    if any(encoding.lower() != "identity" for encoding in encodings):
        raise RefusedError(Reason.UNSUPPORTED_ENCODING)


def _check_headers(request: web.Request, max_body: int) -> None:
    if request.content_type not in _JSON_TYPES or (request.charset or "utf-8").lower() not in (
        "utf-8",
        "utf8",
        "us-ascii",
    ):
        named = payloads.clean(request.headers.get("Content-Type", "none"), 40)
        raise RefusedError(Reason.UNSUPPORTED_MEDIA_TYPE, f"The Content-Type is {named}.")
    _check_encoding(request)
    if (request.content_length or 0) > max_body:
        raise RefusedError(Reason.BODY_TOO_LARGE, f"At most {max_body} bytes.")


def _report(proof: Proof, update: payloads.StatusUpdate, received_ns: int) -> pb.BuildReport:
    report = pb.BuildReport(
        tenant=proof.tenant_name,
        cicd_job_id=proof.job_id,
        build_number=update.build_number,
        status=update.status,
        phase=update.phase,
        source=update.source,
        run_id=update.run_id,
        parameters_known=update.parameters_known,
        queue_id=update.queue_id,
        job_path=update.job_path,
        sender_timestamp_ms=update.timestamp_ms,
        parameters=update.parameters,
        proof=proof.kind,
        key_id=proof.key_id,
        delivery_id=proof.delivery_id,
        test=update.test,
    )
    report.receive_time.FromNanoseconds(received_ns)
    return report


def _answer_result(result: pb.ReportResult) -> web.Response:
    verdict = verdict_name(result.verdict)
    # Unknown verdict (the service is newer than this gateway): 202 makes no claim about it.
    outcome = VERDICTS.get(result.verdict, 202)
    if isinstance(outcome, Reason):
        wait = 5 if outcome is Reason.NOT_DURABLE_YET else None
        raise RefusedError(outcome, result.message, verdict=verdict, retry_after=wait)
    body = {
        "verdict": verdict,
        "deployment": result.deployment,
        "old_status": status_name(result.old_status),
        "status": status_name(result.status),
    }
    if result.message:
        body["message"] = result.message
    return web.json_response(body, status=outcome)
