"""A running service with keys of every kind, for tests over real gRPC and a real database."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc.aio
import pytest
from google.protobuf import any_pb2
from google.rpc import error_details_pb2, status_pb2  # type: ignore[import-untyped]

from deployment_service.actions.api_keys import create_api_key
from deployment_service.config import Settings
from deployment_service.domain.access import Role, TenantRef
from deployment_service.domain.egress import origin_of
from deployment_service.runtime.secret_box import generate_key
from deployment_service.server import Service
from deployment_service.storage import egress, tenants
from deployment_service.storage.database.pool import API_ROLE, Database
from deployment_service.v1.admin_service_pb2_grpc import AdminServiceStub
from deployment_service.v1.deployment_service_pb2_grpc import DeploymentServiceStub
from deployment_service.v1.gateway_service_pb2_grpc import GatewayServiceStub

SECRET_KEY = generate_key()
NOBODY = "http://127.0.0.1:9/"
"""A Jenkins that doesn't answer."""


def settings_for(database_url: str, **overrides: Any) -> Settings:
    values: dict[str, Any] = {
        "database_url": database_url,
        "listen": "127.0.0.1:0",
        "secret_keys": SECRET_KEY,
        "trigger_wait_s": 0.05,
        "drain_grace_s": 2,
        "key_cache_s": 0,
        "failed_key_delay_s": 0,
    }
    return Settings(**(values | overrides))


@dataclass
class Api:
    """Stubs, and the database beneath. ``key`` makes a key's metadata, ``call`` adds the admin's."""

    channel: grpc.aio.Channel
    database: Database
    service: Service
    admin_secret: str = ""
    tenants: dict[str, TenantRef] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.deployments: Any = DeploymentServiceStub(self.channel)
        self.gateway: Any = GatewayServiceStub(self.channel)
        self.admin: Any = AdminServiceStub(self.channel)

    @property
    def as_admin(self) -> tuple[tuple[str, str], ...]:
        return bearer(self.admin_secret)

    async def key(self, role: Role, tenant: str | None = None) -> tuple[tuple[str, str], ...]:
        owner = await self.tenant(tenant) if tenant else None
        _, secret = await create_api_key(self.database, role=role, tenant=owner, display_name="")
        return bearer(secret)

    async def tenant(self, slug: str) -> TenantRef:
        async with self.database.acquire() as connection:
            row = await tenants.by_slug(connection, slug)
        assert row is not None
        return TenantRef(row.tenant_id, row.slug)


def bearer(secret: str) -> tuple[tuple[str, str], ...]:
    return (("authorization", f"Bearer {secret}"),)


@asynccontextmanager
async def running_api(database_url: str, **overrides: Any) -> AsyncIterator[Api]:
    """A replica on a free port, and a key for all tenants with role admin."""
    service = await Service.open(settings_for(database_url, **overrides))
    database = await Database.open(database_url, role=API_ROLE, max_connections=5)
    try:
        await service.start()
        async with grpc.aio.insecure_channel(service.target) as channel:
            api = Api(channel, database, service)
            _, api.admin_secret = await create_api_key(
                database, role=Role.ADMIN, tenant=None, display_name="test"
            )
            yield api
    finally:
        await service.stop()
        await database.close()


@dataclass(frozen=True)
class Refusal:
    """An error as a client sees it."""

    code: grpc.StatusCode
    reason: str
    message: str
    metadata: Mapping[str, str]
    details: dict[str, Any]


@asynccontextmanager
async def refused() -> AsyncIterator[list[Refusal]]:
    """Expect the calls inside to be refused; the list then holds the refusal."""
    seen: list[Refusal] = []
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        yield seen
    seen.append(refusal(caught.value))


def refusal(error: grpc.aio.AioRpcError) -> Refusal:
    """What an error says; fails unless it has the form that every error has."""
    trailing = dict(error.trailing_metadata() or ())
    assert "grpc-status-details-bin" in trailing, f"{error.code()}: {error.details()}"
    status = status_pb2.Status.FromString(trailing["grpc-status-details-bin"])
    assert status.code == error.code().value[0]
    assert status.message == error.details()
    details = {detail.TypeName().rpartition(".")[2]: _unpack(detail) for detail in status.details}
    info = details["ErrorInfo"]
    assert info.domain == "deployment-service"
    assert info.reason == trailing["error-reason"]
    return Refusal(error.code(), info.reason, status.message, dict(info.metadata), details)


def _unpack(detail: any_pb2.Any) -> Any:
    message = getattr(error_details_pb2, detail.TypeName().rpartition(".")[2])()
    assert detail.Unpack(message)
    return message


def request_id() -> str:
    return str(uuid.uuid4())


async def seed_deployment(api: Api, tenant: str, slug: str = "web", **columns: Any) -> uuid.UUID:
    """A deployment with a READY job and one finished run, without any Jenkins."""
    owner = await api.tenant(tenant)
    async with api.database.acquire() as connection:
        await egress.add(connection, origin_of(NOBODY))
        provider_id = await connection.fetchval(
            """
            INSERT INTO cicd_providers (tenant_id, slug, base_url) VALUES ($1, 'main', $2)
            ON CONFLICT (tenant_id, slug) DO UPDATE SET base_url = $2 RETURNING provider_id
            """,
            owner.tenant_id,
            NOBODY,
        )
        job_id = await connection.fetchval(
            """
            INSERT INTO cicd_jobs (tenant_id, provider_id, full_name, origin, state, next_try_time,
                next_build_number, next_sweep_time)
            VALUES ($1, $2, 'shop/' || $3, 'ADOPTED', 'READY', NULL, 1, now() + interval '1 day')
            RETURNING job_id
            """,
            owner.tenant_id,
            provider_id,
            slug,
        )
        deployment_id = await connection.fetchval(
            """
            INSERT INTO deployments (tenant_id, slug, provider_id, job_kind, job_spec, labels)
            VALUES ($1, $2, $3, 'EXISTING', $4, $5) RETURNING deployment_id
            """,
            owner.tenant_id,
            slug,
            provider_id,
            {"full_name": f"shop/{slug}", "fixed_parameters": {}},
            columns.get("labels", {}),
        )
        await connection.execute(
            "INSERT INTO deployment_cicd_mappings (tenant_id, deployment_id, job_id) VALUES ($1, $2, $3)",
            owner.tenant_id,
            deployment_id,
            job_id,
        )
        await connection.execute(
            """
            INSERT INTO deployment_runs (tenant_id, deployment_id, number, job_id, source, trigger_state, status,
                rank, result, certainty, settle_time, shown, generation, build_number, end_time)
            VALUES ($1, $2, 1, $3, 'SERVICE', 'ENDED', 'COMPLETED', 351, 'SUCCESS', 'CONFIRMED', now(), true,
                1, 7, now())
            """,
            owner.tenant_id,
            deployment_id,
            job_id,
        )
    assert isinstance(deployment_id, uuid.UUID)
    return deployment_id
