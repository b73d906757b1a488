"""UpdateDeployment: change a deployment's definition, for later runs; active runs are not affected."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from deployment_service.actions.idempotency import RequestKey, begin_request, remember
from deployment_service.domain.access import TenantRef
from deployment_service.domain.actors import Actor
from deployment_service.domain.definition import JobKind
from deployment_service.domain.deployment_settings import DeploymentSettings
from deployment_service.domain.errors import InvalidArgument, NotFound
from deployment_service.domain.etags import check_etag
from deployment_service.domain.events import EventSource, EventType, NewEvent
from deployment_service.domain.names import DeploymentName
from deployment_service.domain.parameter_definitions import DeclaredParameter
from deployment_service.domain.status import DeploymentStatus
from deployment_service.storage import locks
from deployment_service.storage.database.pool import Connection, Database
from deployment_service.storage.deployments import deployments
from deployment_service.storage.deployments.deployments import DeploymentRecord
from deployment_service.storage.events import events


@dataclass(frozen=True, slots=True)
class UpdateDeployment:
    """The arguments of UpdateDeployment: the fields in ``paths``, of ``SETTINGS``, get the values in ``settings``."""

    tenant: TenantRef
    deployment_id: str
    paths: frozenset[str]
    settings: DeploymentSettings = field(default_factory=DeploymentSettings)
    etag: str = ""
    actor: Actor | None = None
    request: RequestKey | None = None


@dataclass(frozen=True, slots=True)
class Updated:
    """What was changed, now or by an earlier call with the same request_id."""

    deployment_uid: uuid.UUID
    sequence: int


async def update_deployment(database: Database, command: UpdateDeployment) -> Updated:
    """Change a deployment and append its event. Raises InvalidArgument, NotFound, Aborted (etag)."""

    async def work(connection: Connection) -> Updated:
        known = await begin_request(connection, command.request)
        if known is not None:
            assert known.resource_id is not None
            return Updated(known.resource_id, known.sequence)
        record = await _lock(connection, command)
        name = str(DeploymentName(command.tenant.slug, record.slug))
        check_etag(command.etag, record.deployment_id, record.version, name=name)
        settings = record.settings.changed(
            command.settings, command.paths, declares=record.job_kind != JobKind.EXISTING
        )
        _check_fixed(settings.parameter_definitions, record.fixed_parameters)
        await deployments.update(
            connection, command.tenant.tenant_id, record.deployment_id, settings
        )
        old = record.settings.labels
        old_labels = old if old != settings.labels else None
        event = replace(_event(record, command.paths), actor=command.actor, old_labels=old_labels)
        sequence = await events.append(connection, command.tenant.tenant_id, [event])
        await remember(connection, command.request, record.deployment_id, sequence)
        return Updated(record.deployment_id, sequence)

    return await database.transaction(work)


async def _lock(connection: Connection, command: UpdateDeployment) -> DeploymentRecord:
    tenant = command.tenant
    deployment_id = await locks.lock_deployment_by_slug(
        connection, tenant.tenant_id, command.deployment_id
    )
    record = None
    if deployment_id is not None:
        record = await deployments.by_id(connection, tenant.tenant_id, deployment_id)
    if record is None:
        raise NotFound("deployment", str(DeploymentName(tenant.slug, command.deployment_id)))
    return record


def _check_fixed(definitions: Iterable[DeclaredParameter], fixed: Mapping[str, str]) -> None:
    both = sorted(fixed.keys() & {one.name for one in definitions})
    if both:
        raise InvalidArgument(
            f"deployment.parameter_definitions[{both[0]}]",
            "is fixed by the deployment's existing_job.fixed_parameters. Leave it out",
            reason="PARAMETER_FIXED",
        )


def _event(record: DeploymentRecord, paths: frozenset[str]) -> NewEvent:
    status = DeploymentStatus(record.status)
    return NewEvent(
        deployment_id=record.deployment_id,
        deployment_slug=record.slug,
        revision=record.revision + 1,
        type=EventType.DEPLOYMENT_UPDATED,
        source=EventSource.API,
        old_status=status,
        status=status,
        deployment_status=status,
        job_id=record.job_id,
        message=f"Changed: {', '.join(sorted(paths))}.",
    )
