"""Forward reports to the service in batches, and return each report's verdict to its sender.

No batching timer: reports that arrive during a call are sent with the next one. So an idle gateway sends at once, and
a busy one sends larger batches.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections import deque
from collections.abc import Coroutine, Iterable, Sequence

import grpc

from deployment_service.runtime.backoff import Backoff
from deployment_service.v1 import deployment_service_pb2 as deployment
from deployment_service.v1 import gateway_service_pb2 as pb
from webhook_gateway.backlog import REFRESH_INTERVAL_S, Backlog, Entry, RefreshRequests
from webhook_gateway.channel import CallFailedError, ServiceCalls
from webhook_gateway.config import Settings
from webhook_gateway.errors import Reason, RefusedError
from webhook_gateway.logs import FAILED, Throttle, log
from webhook_gateway.metrics import Metrics

# Below gRPC's default limit of 4 MiB for a message.
MAX_BATCH_BYTES = 2 * 2**20
# Backoff in seconds.
FIRST_PAUSE, LONGEST_PAUSE = 0.05, 0.5
BACKOFF = Backoff(FIRST_PAUSE, LONGEST_PAUSE)
REPORT_BACKOFF = Backoff(0.01, LONGEST_PAUSE, jitter=0)
# About half a minute; by then the reconciler has read the job.
MAX_RETRIES = 64
# Failures that the content of the call may have caused, not only an unavailable service.
_SUSPICIOUS = (
    None,  # not a gRPC status: the call was not sent, or its answer is malformed
    grpc.StatusCode.INTERNAL,
    grpc.StatusCode.UNKNOWN,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
)


class Forwarder:
    """Sends reports and refresh requests with ``ReportBuilds``."""

    def __init__(
        self,
        calls: ServiceCalls,
        settings: Settings,
        metrics: Metrics,
    ) -> None:
        self._service = calls
        self._settings = settings
        self._metrics = metrics
        self._backlog = Backlog(settings.queue_reports, settings.queue_bytes)
        self._refresh_requests = RefreshRequests()
        self._calls: set[asyncio.Task[None]] = set()
        # One call at a time for each tenant: concurrent calls would wait for each other's locks, and delay the other
        # tenants in them.
        self._in_calls: set[str] = set()
        # Reports that keep failing are sent one by one, in calls of their own: they neither fail nor delay the others.
        self._suspects: deque[Entry] = deque()
        self._suspect_in_flight = False
        self._timers: set[asyncio.TimerHandle] = set()
        self._scheduled = False
        self._failures_in_a_row = 0
        self._resting = False
        self._idle = asyncio.Event()
        self._idle.set()
        self._verdict_log = Throttle(500)
        self._failure_log = Throttle(5)
        metrics.queued.set_function(lambda: self._backlog.reports)

    async def submit(self, report: pb.BuildReport, timeout_s: float) -> pb.ReportResult:
        """Deliver a report and return the service's durable verdict.

        Raises: ``RefusedError`` if there is none within ``timeout_s``; the report stays queued and is delivered later.
        """
        entry = Entry(report, report.ByteSize())
        if not self._backlog.add(entry):
            raise RefusedError(Reason.OVERLOADED, retry_after=5)
        self._idle.clear()
        waiter: asyncio.Future[pb.ReportResult] = asyncio.get_running_loop().create_future()
        entry.waiter = waiter
        self._schedule()
        try:
            async with asyncio.timeout(max(0.0, timeout_s)):
                return await waiter
        except TimeoutError:
            reason = (
                Reason.SERVICE_UNAVAILABLE if self._failures_in_a_row else Reason.NOT_DURABLE_YET
            )
            raise RefusedError(reason, retry_after=5) from None
        finally:
            entry.waiter = None

    def request_refresh(self, tenant: str, job: str, why: str) -> None:
        """Request a read of a job whose report could not be used."""
        delay = self._refresh_requests.add(tenant, job, why)
        if delay is None:
            return
        self._metrics.refresh_requests.inc()
        if delay > 0:
            self._later(delay)
        else:
            self._idle.clear()
            self._schedule()

    async def reachable(self) -> str | None:
        """Return None if the service accepts our calls, else the obstacle."""
        try:
            await self._call(pb.ReportBuildsRequest(), timeout=self._settings.answer_timeout)
        except CallFailedError as error:
            if error.status is not grpc.StatusCode.INVALID_ARGUMENT:
                return error.name
        return None

    async def drain(self, timeout: float) -> int:
        """Send everything queued, within ``timeout`` seconds; return the number of dropped reports."""
        self._refresh_requests.make_all_due()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                while not self._is_idle():
                    self._idle.clear()
                    self._schedule()
                    await self._idle.wait()
        dropped = self._backlog.reports
        for timer in self._timers:
            timer.cancel()
        calls = list(self._calls)
        for call in calls:
            call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)
        self._metrics.dropped.inc(dropped)
        return dropped

    def _is_idle(self) -> bool:
        return not (self._calls or self._backlog.reports or self._refresh_requests.has_due())

    # -- sending

    def _schedule(self) -> None:
        # In the next iteration of the event loop, so that requests that arrived together share a call.
        if not self._scheduled:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._dispatch)

    def _later(self, delay: float) -> None:
        def fire() -> None:
            self._timers.discard(handle)
            self._schedule()

        handle = asyncio.get_running_loop().call_later(delay, fire)
        self._timers.add(handle)

    def _dispatch(self) -> None:
        self._scheduled = False
        # While the service is unavailable, only one call at a time probes it.
        limit = 1 if self._failures_in_a_row else self._settings.max_calls
        if self._suspects and not self._suspect_in_flight and not self._resting:
            self._suspect_in_flight = True
            self._start(self._deliver_alone(self._suspects.popleft()), set())
        while not self._resting and (calls := len(self._calls) - self._suspect_in_flight) < limit:
            entries = self._backlog.take(
                self._settings.max_batch,
                MAX_BATCH_BYTES,
                without=self._in_calls,
                # The last free call is reserved for tenants with few reports.
                heavy=calls < max(1, limit - 1),
            )
            refresh_requests = self._refresh_requests.take()
            if not entries and not refresh_requests:
                break
            self._start(
                self._deliver(entries, refresh_requests), {entry.report.tenant for entry in entries}
            )

    def _start(self, work: Coroutine[None, None, None], tenants: set[str]) -> None:
        self._in_calls |= tenants
        call = asyncio.create_task(work)
        self._calls.add(call)
        self._idle.clear()
        call.add_done_callback(functools.partial(self._finished, tenants))

    def _finished(self, tenants: set[str], call: asyncio.Task[None]) -> None:
        self._calls.discard(call)
        self._in_calls -= tenants
        if not call.cancelled() and (error := call.exception()) is not None:
            log.error("delivery.failed", error=type(error).__name__)
        if self._is_idle():
            self._idle.set()
        self._schedule()

    async def _deliver(
        self, entries: Sequence[Entry], refresh_requests: Sequence[pb.RefreshRequest]
    ) -> None:
        request = pb.ReportBuildsRequest(
            reports=[entry.report for entry in entries], refresh_requests=refresh_requests
        )
        try:
            response = await self._call(request, timeout=self._settings.call_timeout)
        except CallFailedError as error:
            if error.status is grpc.StatusCode.INVALID_ARGUMENT:
                await self._separate(entries, refresh_requests, error.details)
            elif error.status in _SUSPICIOUS:
                self._suspect(entries, refresh_requests, error.name)
            else:
                self._failed(entries, refresh_requests, error.name)
            return
        if len(response.results) != len(entries):
            self._suspect(entries, refresh_requests, "WRONG_NUMBER_OF_RESULTS")
            return
        self._failures_in_a_row = 0
        self._metrics.batch.observe(len(entries))
        for entry, result in zip(entries, response.results, strict=True):
            self._settle(entry, result)

    async def _call(
        self, request: pb.ReportBuildsRequest, *, timeout: float
    ) -> pb.ReportBuildsResponse:
        try:
            response = await self._service.report_builds(request, timeout=timeout)
        except CallFailedError as error:
            self._metrics.calls.labels(error.name).inc()
            raise
        self._metrics.calls.labels("OK").inc()
        return response

    async def _separate(
        self, entries: Sequence[Entry], refresh_requests: Sequence[pb.RefreshRequest], why: str
    ) -> None:
        """Isolate what the service rejects, by halving the batch, so that the rest is delivered."""
        if entries and refresh_requests:
            await self._deliver(entries, [])
            await self._deliver([], refresh_requests)
        elif len(entries) > 1:
            middle = len(entries) // 2
            await self._deliver(entries[:middle], [])
            await self._deliver(entries[middle:], [])
        elif entries:
            self._settle(
                entries[0], pb.ReportResult(verdict=pb.REPORT_VERDICT_INVALID, message=why)
            )
        else:
            log.error("refresh_requests.refused", jobs=len(refresh_requests), error=why)

    async def _deliver_alone(self, entry: Entry) -> None:
        failures = entry.failures
        try:
            await self._deliver([entry], [])
            if entry.failures > failures:
                # If the service itself fails, all suspects fail: pause between them.
                await asyncio.sleep(FIRST_PAUSE)
        finally:
            self._suspect_in_flight = False

    def _suspect(
        self, entries: Sequence[Entry], refresh_requests: Sequence[pb.RefreshRequest], code: str
    ) -> None:
        """Queue everything again, and count the failure of each report: one of them may have caused it."""
        for entry in entries:
            entry.failures += 1
        if refresh_requests:
            self._refresh_requests.put_back(refresh_requests, REFRESH_INTERVAL_S)
            self._later(REFRESH_INTERVAL_S)
        if len(entries) == 1 and entries[0].is_suspect:
            self._settle(entries[0], pb.ReportResult(verdict=pb.REPORT_VERDICT_RETRY, message=code))
        elif entries:
            self._failed(entries, [], code)

    def _failed(
        self, entries: Sequence[Entry], refresh_requests: Sequence[pb.RefreshRequest], code: str
    ) -> None:
        """Queue everything again, and retry after the backoff."""
        self._put_back(entries)
        self._refresh_requests.put_back(refresh_requests)
        pause = BACKOFF.pause_s(self._failures_in_a_row)
        self._failures_in_a_row += 1
        if not self._resting:
            self._resting = True
            asyncio.get_running_loop().call_later(pause, self._rested)
        if (more := self._failure_log.allow()) is not None:
            log.warning("service.unavailable", code=code, queued=self._backlog.reports, **more)

    def _put_back(self, entries: Iterable[Entry]) -> None:
        entries = list(entries)
        self._backlog.put_back(entry for entry in entries if not entry.is_suspect)
        self._suspects.extend(entry for entry in entries if entry.is_suspect)

    def _rested(self) -> None:
        self._resting = False
        self._schedule()

    # -- results

    def _settle(self, entry: Entry, result: pb.ReportResult) -> None:
        if result.verdict == pb.REPORT_VERDICT_RETRY and entry.tries < MAX_RETRIES:
            pause = REPORT_BACKOFF.pause_s(entry.tries)
            entry.tries += 1
            asyncio.get_running_loop().call_later(pause, self._again, entry)
            return
        self._backlog.release(entry)
        self._metrics.verdicts.labels(verdict_name(result.verdict)).inc()
        self._log_refusal(entry, result)
        if result.verdict == pb.REPORT_VERDICT_RETRY:
            self._metrics.dropped.inc()
            self.request_refresh(entry.report.tenant, entry.report.cicd_job_id, "dropped: RETRY")
        if entry.waiter is not None and not entry.waiter.done():
            entry.waiter.set_result(result)

    def _again(self, entry: Entry) -> None:
        self._put_back([entry])
        self._schedule()

    def _log_refusal(self, entry: Entry, result: pb.ReportResult) -> None:
        # Only refusals: the service logs the transitions.
        if result.verdict not in _REFUSED or (more := self._verdict_log.allow()) is None:
            return
        report = entry.report
        why = " ".join(filter(None, (verdict_name(result.verdict), result.message)))
        log.warning(
            FAILED.format(why=why),
            tenant=report.tenant.removeprefix("tenants/"),
            job=report.cicd_job_id,
            build=report.build_number,
            deployment=result.deployment,
            verdict=verdict_name(result.verdict),
            late=entry.waiter is None,
            **more,
        )


_REFUSED = (
    pb.REPORT_VERDICT_NO_MAPPING,
    pb.REPORT_VERDICT_WRONG_JOB,
    pb.REPORT_VERDICT_AMBIGUOUS,
    pb.REPORT_VERDICT_INVALID,
    pb.REPORT_VERDICT_RETRY,
)


def verdict_name(verdict: pb.ReportVerdict) -> str:
    """Return `APPLIED` for REPORT_VERDICT_APPLIED, and the number of an unknown value (newer service)."""
    try:
        return pb.ReportVerdict.Name(verdict).removeprefix("REPORT_VERDICT_")
    except ValueError:
        return str(verdict)


def status_name(status: deployment.DeploymentStatus) -> str:
    """Return the guide's status text, `running` for DEPLOYMENT_STATUS_RUNNING; empty if unspecified."""
    try:
        name = deployment.DeploymentStatus.Name(status)
    except ValueError:
        return str(status)
    return name.removeprefix("DEPLOYMENT_STATUS_").lower() if status else ""
