"""The gateway's HTTP interface: from a request to its answer, in the order in which it is trusted."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import prometheus_client
from aiohttp import web
from limits import parse

from deployment_service.v1 import gateway_service_pb2 as pb
from webhook_gateway import payloads, signatures
from webhook_gateway.channel import ServiceCalls
from webhook_gateway.config import Settings
from webhook_gateway.errors import SERVER, VERDICTS, Reason, RefusedError, problem
from webhook_gateway.forwarder import Forwarder, status_name, verdict_name
from webhook_gateway.limits import BodyMemory, Line, RateLimit, client_address
from webhook_gateway.logs import FAILED, RECEIVED, Throttle, log
from webhook_gateway.metrics import Metrics
from webhook_gateway.readiness import Readiness
from webhook_gateway.verify import KeyCache, Proof, Verifier, basic_password

if TYPE_CHECKING:
    from deployment_service.v1.gateway_service_pb2_grpc import GatewayServiceAsyncStub

PATH = (
    r"/{locale:[a-z]{2}(?:-(?:[A-Za-z]{2}|[0-9]{3}))?}"
    r"/{tenant:[A-Za-z0-9][A-Za-z0-9._-]{0,62}}/deployment/webhooks/jenkins"
)
_JSON_TYPES = ("application/json", "text/json")
# For tenants that aren't known yet, by one address with too many failed proofs.
_ASKS_OF_BLOCKED = parse("10/second")

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Gateway:
    """One gateway: its limits, keys and forwarder."""

    def __init__(self, settings: Settings, stub: GatewayServiceAsyncStub) -> None:
        calls = ServiceCalls(stub, settings.api_key.get_secret_value())
        self._settings = settings
        self.metrics = Metrics()
        self.forwarder = Forwarder(calls, settings, self.metrics)
        self._keys = KeyCache(
            calls,
            self.metrics,
            stale_for=settings.stale_keys,
            timeout=settings.answer_timeout,
        )
        self._verifier = Verifier(self._keys)
        self._failed_proofs = RateLimit(settings.failed_proofs)
        self._asks_of_blocked = RateLimit(_ASKS_OF_BLOCKED)
        self._ceiling = RateLimit(settings.tenant_ceiling)
        self._crowded = Line()
        self._bodies = BodyMemory(settings.max_bodies_bytes)
        self._unproven = BodyMemory(settings.max_bodies_bytes // 4)
        self._lines = Throttle(500)
        self._refusals = Throttle(20)
        self.readiness = Readiness(self.forwarder.reachable)
        self._in_hand = 0
        self._no_request = asyncio.Event()
        self._no_request.set()
        self.stopping = False

    def app(self) -> web.Application:
        """Return the routes."""
        app = web.Application(middlewares=[self._answer])
        for path in (PATH, PATH + "/{token}"):
            app.router.add_post(path, self._webhook)
            app.router.add_get(path, self._try_url, allow_head=False)
        app.router.add_get("/healthz", self._healthz)
        app.router.add_get("/readyz", self._readyz)
        app.router.add_get("/metrics", self._metrics_page)
        return app

    async def finish(self, timeout: float) -> int:
        """Finish the requests in hand, then send what waits; return how many reports were given up."""
        until = time.monotonic() + timeout
        self.stopping = True
        try:
            await asyncio.wait_for(self._no_request.wait(), timeout * 0.6)
        except TimeoutError:
            log.warning("requests cut off by the stop", requests=self._in_hand)
        left = await self.forwarder.drain(max(0.1, until - time.monotonic()))
        await self._keys.close()
        return left

    # -- every request

    @web.middleware
    async def _answer(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        self._in_hand += 1
        self._no_request.clear()
        reason = ""
        try:
            response = await handler(request)
        except RefusedError as refusal:
            reason = refusal.reason
            response = problem(refusal)
        except web.HTTPMethodNotAllowed as error:
            reason = Reason.METHOD_NOT_ALLOWED
            response = problem(RefusedError(reason))
            response.headers["Allow"] = ", ".join(sorted(error.allowed_methods))
        except web.HTTPException:
            reason = Reason.NO_SUCH_PATH
            response = problem(RefusedError(reason))
        except Exception as error:
            # Not the text: it may quote the request.
            log.error(
                FAILED.format(why="internal error"), error=type(error).__name__, exc_info=error
            )
            reason = Reason.INTERNAL
            response = problem(RefusedError(reason))
        finally:
            self._in_hand -= 1
            if not self._in_hand:
                self._no_request.set()
        response.headers["Server"] = SERVER
        if self.stopping:
            response.force_close()
        self.metrics.requests.labels(str(response.status), reason).inc()
        return response

    # -- webhooks

    async def _webhook(self, request: web.Request) -> web.Response:
        if not self._ceiling.allows(request.match_info["tenant"]):
            await self._crowded.stand_in_line()
        if not signatures.is_signed(request):
            start = time.monotonic()
            return await self._take(request, await self._prove(request, start), start, None)
        # What is signed must be read before it is known who sends it: little, and out of a share of its own.
        with self._unproven.lease(self._address(request)) as lease:
            try:
                body = await self._read_body(request, lease.grow, signatures.MAX_BODY)
            except RefusedError as refusal:
                self._log_refusal(refusal, request, None)
                raise
            start = time.monotonic()
            proof = await self._prove(request, start, body)
            return await self._take(request, proof, start, body)

    async def _take(
        self, request: web.Request, proof: Proof, start: float, body: bytes | None
    ) -> web.Response:
        """Answer a request whose sender is known. ``body``: if it has been read already."""
        waited = time.monotonic() - start
        try:
            report = await self._read_report(request, proof, body)
            patience = self._settings.answer_timeout - waited
            result = await self.forwarder.submit(report, patience)
        except RefusedError as refusal:
            self._log_refusal(refusal, request, proof)
            if refusal.reason not in (Reason.SERVICE_UNAVAILABLE, Reason.NOT_DURABLE_YET):
                self._poke(proof, refusal.reason)
            raise
        except Exception:
            self._poke(proof, Reason.INTERNAL)
            raise
        self.metrics.seconds.observe(time.monotonic() - start)
        return _answer_result(result)

    async def _try_url(self, request: web.Request) -> web.Response:
        proof = await self._prove(request, time.monotonic())
        return web.json_response(
            {
                "tenant": proof.tenant,
                "job": proof.job_id,
                "detail": "This URL works: reports of this job are taken here with POST.",
            },
            headers={"Cache-Control": "no-store"},
        )

    async def _prove(
        self, request: web.Request, start: float, signed_body: bytes | None = None
    ) -> Proof:
        """Return who sent the request: proven by its signature if it has one, else by its token.

        An address with too many failed proofs is still let in with a token that the keys confirm, though
        it may ask but seldom for tenants that aren't known yet: others may stand behind the same address,
        and a refused report is a lost one.
        """
        address = self._address(request)
        blocked = not self._failed_proofs.allows(address)

        def may_ask() -> bool:
            return not blocked or self._asks_of_blocked.hit(address)

        tenant = request.match_info["tenant"]
        try:
            deadline = start + self._settings.answer_timeout
            if signed_body is None:
                return await self._verifier.verify(
                    tenant, _tokens(request), may_ask=may_ask, deadline=deadline
                )
            signed = signatures.parse(request)
            if signed is None:
                raise RefusedError(Reason.UNAUTHENTICATED)
            return await self._verifier.verify_signed(
                tenant, signed, signed_body, may_ask=may_ask, deadline=deadline
            )
        except RefusedError as failure:
            refusal = failure
            # Also what made us ask in vain for a tenant that may be invented: it costs more than a wrong token.
            if failure.reason is Reason.UNAUTHENTICATED or not self._keys.knows(tenant):
                self._failed_proofs.hit(address)
            if blocked:
                refusal = RefusedError(
                    Reason.TOO_MANY_FAILED_PROOFS,
                    retry_after=self._failed_proofs.retry_after(address),
                )
            rest = start + self._settings.failed_proof_delay - time.monotonic()
            await asyncio.sleep(max(0.0, rest))
            self._log_refusal(refusal, request, None)
            raise refusal from None

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
            claim = payloads.parse(body)
        if (more := self._lines.allow()) is not None:
            log.info(
                RECEIVED.format(job=proof.job_id),
                tenant=proof.tenant,
                build=claim.build_number,
                phase=pb.BuildPhase.Name(claim.phase).removeprefix("BUILD_PHASE_"),
                status=claim.status,
                **more,
            )
        if claim.job_id and claim.job_id.lower() != proof.job_id:
            raise RefusedError(
                Reason.WRONG_JOB, "`jobId` isn't the token's job.", verdict="WRONG_JOB"
            )
        return _report(proof, claim, received)

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

    def _poke(self, proof: Proof, reason: Reason) -> None:
        self.forwarder.poke(proof.tenant_name, proof.job_id, f"refused: {reason}")

    def _address(self, request: web.Request) -> str:
        forwarded = request.headers.getall("X-Forwarded-For", [])
        return client_address(request.remote, forwarded, self._settings.trusted_proxies)

    def _log_refusal(
        self, refusal: RefusedError, request: web.Request, proof: Proof | None
    ) -> None:
        if (more := self._refusals.allow()) is not None:
            log.warning(
                FAILED.format(why=refusal.reason),
                detail=refusal.detail,
                tenant=request.match_info["tenant"],
                job=proof.job_id if proof else None,
                address=self._address(request),
                **more,
            )

    # -- for operators

    async def _healthz(self, _request: web.Request) -> web.Response:
        return web.json_response({"status": "ok"})

    async def _readyz(self, _request: web.Request) -> web.Response:
        why = "STOPPING" if self.stopping else await self.readiness.why_not()
        body = {"status": "not ready", "why": why} if why else {"status": "ready"}
        return web.json_response(body, status=503 if why else 200)

    async def _metrics_page(self, _request: web.Request) -> web.Response:
        page = prometheus_client.generate_latest(self.metrics.registry)
        return web.Response(
            body=page, headers={"Content-Type": prometheus_client.CONTENT_TYPE_LATEST}
        )


def _tokens(request: web.Request) -> list[str]:
    """Return what might be the proof: the query's token, the path's, the Basic password."""
    texts = request.query.getall("token", [])[:1]
    texts.append(request.match_info.get("token", ""))
    texts.append(basic_password(request.headers.get("Authorization")) or "")
    return [text for text in texts if text]


def _check_headers(request: web.Request, max_body: int) -> None:
    if request.content_type not in _JSON_TYPES or (request.charset or "utf-8").lower() not in (
        "utf-8",
        "utf8",
        "us-ascii",
    ):
        named = payloads.clean(request.headers.get("Content-Type", "none"), 40)
        raise RefusedError(Reason.UNSUPPORTED_MEDIA_TYPE, f"The Content-Type is {named}.")
    if request.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise RefusedError(Reason.UNSUPPORTED_ENCODING)
    if (request.content_length or 0) > max_body:
        raise RefusedError(Reason.BODY_TOO_LARGE, f"At most {max_body} bytes.")


def _report(proof: Proof, claim: payloads.Claim, received_ns: int) -> pb.BuildReport:
    report = pb.BuildReport(
        tenant=proof.tenant_name,
        cicd_job_id=proof.job_id,
        build_number=claim.build_number,
        status=claim.status,
        phase=claim.phase,
        source=claim.source,
        run_id=claim.run_id,
        parameters_known=claim.parameters_known,
        queue_id=claim.queue_id,
        job_path=claim.job_path,
        sender_timestamp_ms=claim.timestamp_ms,
        parameters=claim.parameters,
        proof=proof.kind,
        key_id=proof.key_id,
        delivery_id=proof.delivery_id,
        test=claim.test,
    )
    report.receive_time.FromNanoseconds(received_ns)
    return report


def _answer_result(result: pb.ReportResult) -> web.Response:
    verdict = verdict_name(result.verdict)
    # A verdict that is newer than this gateway: nothing is claimed about it.
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
