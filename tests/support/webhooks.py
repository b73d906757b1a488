"""Deployments on a real stack whose jobs nobody builds: what reports do to them, and what their tables hold."""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
import uuid
from dataclasses import dataclass
from typing import Any

import asyncpg

from deployment_service.client import DeploymentClient
from deployment_service.v1 import admin_service_pb2 as admin_pb
from deployment_service.v1 import deployment_service_pb2 as pb
from deployment_service.webhook_auth import signatures
from devstack.stack import DevStack

JSON = {"Content-Type": "application/json"}
# What changes by itself: when a job or an end is read next, and what was read of it.
_VOLATILE = {
    "refresh_request_time",
    "next_sweep_time",
    "next_build_number",
    "confirm_due_time",
    "probe_count",
}
_VOLATILE |= {"probe_time"}
# Reads of them find nothing, so they are made rarely.
NO_READS = {"READ_INTERVAL_S": "600", "POLLING_INTERVAL_S": "600"}
_SHOWN_BUILDS = """
    INSERT INTO deployment_runs (tenant_id, deployment_id, number, job_id, source, trigger_state, generation,
        build_number, shown)
    SELECT m.tenant_id, m.deployment_id, n, m.job_id, 'EXTERNAL', 'ENDED', 1, n, true
    FROM deployment_cicd_mappings AS m, generate_series(1, $2::int) AS n WHERE m.job_id = $1
"""
_OF_JOB = ("cicd_jobs", "deployment_runs", "deployment_events", "webhook_deliveries")
_OF_TENANT = ("deployment_cicd_mappings", "cicd_providers", "webhook_keys")
_DEPLOYMENTS = """
    SELECT d.* FROM deployments AS d JOIN deployment_cicd_mappings USING (tenant_id, deployment_id)
    WHERE tenant_id = $1 AND job_id = $2
"""


@dataclass(frozen=True)
class Hook:
    """A job that may report."""

    tenant: str
    job_id: str
    url: str
    secret: bytes

    @property
    def signed_url(self) -> str:
        return f"{self.url.partition('?')[0]}?job={self.job_id}"

    def signed(self, body: bytes, *, age: int = 0, delivery_id: str = "") -> dict[str, str]:
        """Headers that prove that the job sends this body."""
        name = delivery_id or uuid.uuid4().hex
        stamp = int(time.time()) - age
        return JSON | signatures.signed_headers(self.secret, name, stamp, body)

    def body(self, number: int, status: str = "running", **fields: object) -> bytes:
        """The guide's body."""
        content = {"jobId": self.job_id, "status": status, "buildNumber": number} | fields
        return json.dumps(content).encode()


async def hook_of(client: DeploymentClient, stack: DevStack, slug: str) -> Hook:
    """Create a deployment and return how its job reports."""
    definition = pb.Deployment(
        provider=stack.provider, job=pb.DeploymentJob(freestyle_shell="true")
    )
    job = await create_ready(client, slug, definition)
    tenant = client.names.tenant(None).removeprefix("tenants/")
    return Hook(tenant, job.id, job.webhook_url, signatures.from_text(job.signing_secret))


async def create_ready(
    client: DeploymentClient, slug: str, definition: pb.Deployment
) -> pb.CicdJob:
    """Create a deployment; return its job once that is in Jenkins, however slow the machine is."""
    await client.create_deployment(slug, definition)
    deadline = time.monotonic() + 20
    while True:
        job = (await client.get_deployment(slug, show_signing_secret=True)).cicd_job
        if job.state == pb.CICD_JOB_STATE_READY:
            return job
        assert time.monotonic() < deadline, job
        await asyncio.sleep(0.05)


async def show_builds(stack: DevStack, hook: Hook, count: int) -> None:
    """Add builds 1 to ``count`` as if Jenkins had shown them: reports about other builds decide nothing."""
    connection = await asyncpg.connect(stack.database_url)
    try:
        await connection.execute(_SHOWN_BUILDS, uuid.UUID(hook.job_id), count)
    finally:
        await connection.close()


async def add_tenant(client: DeploymentClient, stack: DevStack, tenant: str) -> DeploymentClient:
    """Create a tenant on the same Jenkins; return a client for it."""
    await client.admin.create_tenant(tenant)
    other = DeploymentClient(stack.target, api_key=stack.api_key, tenant=tenant)
    await other.admin.create_provider(
        stack.provider,
        admin_pb.Provider(
            base_url=stack.jenkins.url,
            username=stack.jenkins.user,
            api_token=stack.jenkins.token,
            webhook_base_url=stack.gateway_url,
        ),
    )
    return other


async def fingerprint(stack: DevStack, hook: Hook) -> dict[str, str]:
    """A hash of each table's rows that belong to a job or its tenant."""
    connection = await asyncpg.connect(stack.database_url)
    try:
        tenant = await connection.fetchval(
            "SELECT tenant_id FROM tenants WHERE slug = $1", hook.tenant
        )
        rows = {
            table: await connection.fetch(
                f"SELECT * FROM {table} WHERE tenant_id = $1 AND job_id = $2", tenant, hook.job_id
            )
            for table in _OF_JOB
        }
        rows["deployments"] = await connection.fetch(_DEPLOYMENTS, tenant, hook.job_id)
        for table in _OF_TENANT:
            rows[table] = await connection.fetch(
                f"SELECT * FROM {table} WHERE tenant_id = $1", tenant
            )
    finally:
        await connection.close()
    return {table: _hash(found) for table, found in rows.items()}


def _hash(rows: list[Any]) -> str:
    texts = sorted(
        repr({name: value for name, value in row.items() if name not in _VOLATILE}) for row in rows
    )
    return f"{len(texts)} rows {hashlib.sha256(''.join(texts).encode()).hexdigest()[:12]}"
