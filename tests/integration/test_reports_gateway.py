"""Which gateway vouched for a report is stored with it (P7)."""

from __future__ import annotations

import uuid
from typing import Any

import asyncpg
import pytest

from deployment_service.domain.access import Role
from deployment_service.v1 import gateway_service_pb2 as gateway
from tests.integration.test_api_admission import two_tenants
from tests.support.api import Api


async def key_ids(api: Api) -> set[uuid.UUID]:
    async with api.database.acquire() as connection:
        return {row[0] for row in await connection.fetch("SELECT key_id FROM api_keys")}


@pytest.mark.parametrize("proof", ["TOKEN", "SIGNATURE"])
@pytest.mark.parametrize("scope", [None, "demo"])
async def test_each_report_is_stored_with_the_key_of_its_gateway(database_url, scope, proof):
    """Two gateways, for all tenants or for one: each one's reports name its own key."""
    async with two_tenants(database_url) as api:
        connection: Any = await asyncpg.connect(database_url)
        try:
            job_id = await connection.fetchval(
                "SELECT job_id FROM cicd_jobs JOIN tenants USING (tenant_id) WHERE slug = 'demo'"
            )
            expected = {}
            for number in (8, 9):
                known = await key_ids(api)
                key = await api.key(Role.GATEWAY, scope)
                (expected[number],) = await key_ids(api) - known
                report = gateway.BuildReport(
                    tenant="tenants/demo",
                    cicd_job_id=str(job_id),
                    build_number=number,
                    status="SUCCESS",
                    source=gateway.REPORT_SOURCE_GUIDE,
                    proof=f"REPORT_PROOF_{proof}",
                )
                await api.gateway.ReportBuilds(
                    gateway.ReportBuildsRequest(reports=[report]), metadata=key
                )
            rows = await connection.fetch(
                "SELECT build_number, gateway_key_id FROM webhook_deliveries"
            )
            assert dict(map(tuple, rows)) == expected
        finally:
            await connection.close()
