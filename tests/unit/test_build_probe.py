"""What the reconciler concludes of one run, where only timing could produce the case on real parts."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

from deployment_service.cicd.port import BuildView
from deployment_service.workers.reconciler.probe import BuildProbe

BUILD = BuildView(
    job_full_name="web",
    number=3,
    queue_id=None,
    building=False,
    in_progress=False,
    result="SUCCESS",
    timestamp_ms=1,
    duration_ms=1,
)


class Steps:
    """Of a job that has been deleted: there is nothing to merge into."""

    async def observe(self, _tenant_id: uuid.UUID, _seen: object) -> list[object]:
        return []


class Controller:
    @asynccontextmanager
    async def slot(self) -> AsyncIterator[None]:
        yield


async def test_a_job_deleted_while_its_build_is_read_is_no_error() -> None:
    steps, unused = Steps(), SimpleNamespace()
    made: Any = BuildProbe
    probe = made(steps, unused, unused, lost_after_s=30, probe_interval_s=10)

    async def find_build(*_: object, **__: object) -> BuildView:
        return BUILD

    probe._find_build = find_build
    job = SimpleNamespace(
        job_id=uuid.uuid4(), tenant_id=uuid.uuid4(), generation=1, asked_time=datetime.now(UTC)
    )
    run = SimpleNamespace(build=None, run_id=uuid.uuid4(), active=True)
    item = SimpleNamespace(job=job, run=run, to_cancel=True, to_stop=False)
    assert await probe.probe(item, Controller(), None) is True
