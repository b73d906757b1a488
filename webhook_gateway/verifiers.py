"""The verifiers of webhooks, read in advance from the service: all of them once, then their changes.

The gateway never queries one job or one tenant. So an attacker, whose requests may name any job, cannot cause lookups
in the service: failed proofs only cause the next read of changes to start earlier, one for all of them.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass

from deployment_service.v1 import gateway_service_pb2 as pb
from webhook_gateway.channel import CallFailedError, ServiceCalls
from webhook_gateway.logs import Throttle, log
from webhook_gateway.metrics import Metrics

# Minimum seconds between the starts of two reads, independent of the number of failed proofs.
GAP_S = 0.1
# Seconds. The service removes its record of deleted jobs after some days: an older list is read from the start.
MAX_AGE_S = 86_400.0


@dataclass(frozen=True, slots=True)
class Verifier:
    """The verifier of a job under one key. ``signing_secret``: empty if the job does not sign."""

    key_id: str
    token_sha256: bytes
    signing_secret: bytes


JobVerifiers = tuple[Verifier, ...]
# By tenant, then by job (16 bytes: there may be 100,000).
_Jobs = dict[str, dict[bytes, JobVerifiers]]


class VerifierList:
    """The verifiers of all jobs in the scope of the gateway's key, and their age.

    ``updated()`` is called after each completed read.
    """

    def __init__(
        self,
        calls: ServiceCalls,
        metrics: Metrics,
        *,
        interval_s: float,
        stale_for_s: float,
        timeout_s: float,
        updated: Callable[[], None] = lambda: None,
    ) -> None:
        self._calls = calls
        self._metrics = metrics
        self._interval_s = interval_s
        self._stale_for_s = stale_for_s
        self._timeout_s = timeout_s
        self._updated = updated
        self._jobs: _Jobs = {}
        # After a reset, the new list replaces the old one when it is complete.
        self._fresh: _Jobs | None = None
        self._cursor = ""
        self._key_ids: dict[str, str] = {}
        # Start of the last completed read (monotonic); None before the first.
        self._read_s: float | None = None
        self._began_s = float("-inf")
        self._failed = False
        self._wanted = asyncio.Event()
        self._ended = asyncio.Condition()
        self._task: asyncio.Task[None] | None = None
        self._failures = Throttle(1)

    async def start(self, timeout_s: float) -> None:
        """Start reading; return when the first read has ended, also with a failure, or after ``timeout_s``."""
        self._task = asyncio.create_task(self._run())
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s), self._ended:
                await self._ended.wait_for(lambda: self.is_read or self._failed)

    async def close(self) -> None:
        """Stop reading."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    @property
    def is_read(self) -> bool:
        """Return whether the whole list was read at least once."""
        return self._read_s is not None

    @property
    def is_current(self) -> bool:
        """Return whether the last read succeeded."""
        return not self._failed

    def find(self, tenant: str, job_id: str) -> JobVerifiers:
        """Return the verifiers of a job; empty if the job is unknown or the list is too old."""
        if self._read_s is None or time.monotonic() - self._read_s > self._limit_s:
            return ()
        return self._jobs.get(tenant, {}).get(uuid.UUID(job_id).bytes, ())

    def count(self) -> int:
        """Return the number of jobs in the list."""
        return sum(map(len, self._jobs.values()))

    async def refresh(self, since: float, timeout_s: float) -> bool:
        """Wait for the end of a read that began after ``since`` (monotonic); return whether it succeeded.

        False also after ``timeout_s``: then the list may be out of date.
        """
        if self._read_s is not None and self._read_s >= since:
            return True
        self._wanted.set()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, timeout_s)), self._ended:
                await self._ended.wait_for(lambda: self._began_s >= since and self._is_over)
        return self._read_s is not None and self._read_s >= since

    @property
    def _limit_s(self) -> float:
        # At least somewhat longer than the interval of reads, even with ``stale_for_s`` 0.
        return max(self._stale_for_s, 2 * self._interval_s + self._timeout_s)

    _is_over = True

    async def _run(self) -> None:
        while True:
            self._wanted.clear()
            self._began_s, self._is_over = time.monotonic(), False
            self._failed = not await self._read()
            self._is_over = True
            if not self._failed:
                self._read_s = self._began_s
                self._updated()
            async with self._ended:
                self._ended.notify_all()
            await asyncio.sleep(max(0.0, self._began_s + GAP_S - time.monotonic()))
            # Retry soon after a failure, as all unverified requests wait for it.
            rest_s = 0.0 if self._failed else self._interval_s
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(rest_s):
                    await self._wanted.wait()

    async def _read(self) -> bool:
        """Read all pages of changes; return whether that succeeded."""
        if self._read_s is not None and time.monotonic() - self._read_s > MAX_AGE_S:
            self._cursor = ""
        try:
            while await self._read_page():
                pass
        except CallFailedError as error:
            self._metrics.verifier_reads.labels(error.name).inc()
            if (more := self._failures.allow()) is not None:
                log.warning("verifiers.unavailable", code=error.name, jobs=self.count(), **more)
            return False
        except Exception as error:
            # A malformed answer. Do not log its text: it may contain secrets.
            self._metrics.verifier_reads.labels("MALFORMED_RESPONSE").inc()
            self._cursor, self._fresh = "", None
            log.error("verifiers.malformed", error=type(error).__name__)
            return False
        return True

    async def _read_page(self) -> bool:
        request = pb.ListWebhookVerifiersRequest(cursor=self._cursor)
        page = await self._calls.list_verifiers(request, timeout=self._timeout_s)
        self._metrics.verifier_reads.labels("OK").inc()
        if page.reset:
            self._fresh = {}
        for verifier in page.verifiers:
            self._apply(verifier, self._jobs if self._fresh is None else self._fresh)
        self._cursor = page.next_cursor
        if page.more:
            return True
        if self._fresh is not None:
            self._jobs, self._fresh = self._fresh, None
            log.info("verifiers.read", jobs=self.count(), tenants=len(self._jobs))
        return False

    def _apply(self, verifier: pb.WebhookVerifier, jobs: _Jobs) -> None:
        tenant = verifier.tenant.removeprefix("tenants/")
        job = uuid.UUID(verifier.cicd_job_id).bytes
        if verifier.deleted:
            of_tenant = jobs.get(tenant, {})
            of_tenant.pop(job, None)
            if not of_tenant:
                jobs.pop(tenant, None)
            return
        keys = tuple(
            Verifier(
                # Share the text of a key's id between its many jobs.
                self._key_ids.setdefault(key.key_id, key.key_id),
                key.token_sha256,
                key.signing_secret,
            )
            for key in verifier.keys
            if len(key.token_sha256) == 32
        )
        jobs.setdefault(tenant, {})[job] = keys
