"""DeploymentService: translates between messages and actions."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass

from deployment_service.actions.cancel_run import CancelRun, RunCanceller
from deployment_service.actions.create_deployment import CreateDeployment, DeploymentCreator
from deployment_service.actions.delete_deployment import DeleteDeployment, DeploymentRemover
from deployment_service.actions.egress import AllowedOrigins
from deployment_service.actions.read_deployments import PageRequest, Reader
from deployment_service.actions.resolve_run import ResolveRun, resolve_run
from deployment_service.actions.run_deployment import RunDeployment, RunStarter
from deployment_service.actions.update_deployment import (
    UpdateDeployment,
    update_deployment,
)
from deployment_service.actions.webhook_keys import WebhookKey, WebhookKeys
from deployment_service.api import arguments, calls, event_messages, list_arguments
from deployment_service.api import deployment_messages as messages
from deployment_service.api.calls import Call
from deployment_service.api.conversions import paths
from deployment_service.api.explain_messages import explain_message, report_message
from deployment_service.api.interceptors import Context
from deployment_service.api.watch_streams import serve_watch
from deployment_service.domain.access import Role
from deployment_service.domain.definition import JobDefinition, JobKind
from deployment_service.domain.deployment_settings import SETTINGS
from deployment_service.domain.errors import FailedPrecondition
from deployment_service.domain.lists import View
from deployment_service.domain.names import ALL, DeploymentName, RunName
from deployment_service.domain.resolution import Resolution
from deployment_service.domain.run_requests import RunRequest
from deployment_service.storage.database.pool import Database
from deployment_service.storage.deployments.deployments import DeploymentRecord
from deployment_service.storage.row_signals import RowSignals
from deployment_service.v1 import deployment_service_pb2 as pb
from deployment_service.v1 import deployment_service_pb2_grpc as pb_grpc
from deployment_service.watch.hub import WatchHub


@dataclass(frozen=True, slots=True)
class Dependencies:
    """What the servicer works with."""

    database: Database
    hub: WatchHub
    signals: RowSignals
    webhook_keys: WebhookKeys
    run_starter: RunStarter
    run_canceller: RunCanceller
    wake_provisioner: Callable[[], None]
    allowed_origins: AllowedOrigins
    locale: str
    wait_s: float
    keep_deleted_s: float
    allow_config_xml: bool


class DeploymentService(pb_grpc.DeploymentServiceServicer):
    """Serves internal services and people. ``policy.py`` has the permissions."""

    def __init__(self, parts: Dependencies) -> None:
        self._parts = parts
        self._reader = Reader(parts.database, parts.hub.epoch, parts.webhook_keys)

    async def CreateDeployment(
        self, request: pb.CreateDeploymentRequest, context: Context
    ) -> pb.CreateDeploymentResponse:
        call = calls.current()
        given = request.deployment
        job = messages.job_definition(given.job)
        self._check_config_xml(job)
        command = CreateDeployment(
            tenant=call.tenant,
            deployment_id=request.deployment_id,
            provider_id=arguments.provider_id(given.provider, call.tenant, "deployment.provider"),
            job=job,
            settings=messages.settings(given),
            caller_is_admin=call.caller.role is Role.ADMIN,
            allowed_origins=await self._allowed_origins(call, job),
            actor=call.caller.actor(),
            request=call.request_key(request),
        )
        creator = DeploymentCreator(
            self._parts.database,
            self._parts.signals,
            committed=self._parts.hub.notify,
            wake_provisioner=self._parts.wake_provisioner,
            wait_s=self._parts.wait_s,
        )
        epoch = await self._parts.hub.epoch.current()
        created = await creator.create(command, remaining_s=call.remaining_s(self._parts.wait_s))
        return pb.CreateDeploymentResponse(
            deployment=await self._read(call, request.deployment_id, created.deployment_uid),
            resume_token=self._position(call, epoch, created.sequence),
        )

    async def _allowed_origins(self, call: Call, job: JobDefinition) -> frozenset[str] | None:
        """Those of repositories in private ranges; None: any, as an admin of all tenants decides."""
        if job.scm is None or (call.caller.role is Role.ADMIN and call.caller.tenant is None):
            return None
        async with self._parts.database.acquire() as connection:
            return await self._parts.allowed_origins.read(connection)

    async def GetDeployment(
        self, request: pb.GetDeploymentRequest, context: Context
    ) -> pb.GetDeploymentResponse:
        name = DeploymentName.parse(request.name, field="name", allow_deleted=True)
        return pb.GetDeploymentResponse(
            deployment=await self._read(
                calls.current(), name.deployment, signing=request.show_signing_secret
            )
        )

    async def BatchGetDeployments(
        self, request: pb.BatchGetDeploymentsRequest, context: Context
    ) -> pb.BatchGetDeploymentsResponse:
        call = calls.current()
        view = list_arguments.view(request.view)
        names = list_arguments.names_of(DeploymentName, request.names, call.tenant)
        rows, key = await self._reader.batch_deployments(
            call.tenant, names, view, with_key=_with_key(call, view)
        )
        return pb.BatchGetDeploymentsResponse(
            deployments=[self._message(call, row, key, view) for row in rows]
        )

    async def ListDeployments(
        self, request: pb.ListDeploymentsRequest, context: Context
    ) -> pb.ListDeploymentsResponse:
        call = calls.current()
        wanted = list_arguments.deployment_filter(request, call.tenant)
        view = list_arguments.view(request.view)
        listed, key = await self._reader.deployments(
            call.tenant,
            wanted,
            PageRequest(request.page_size, request.page_token),
            view,
            with_key=_with_key(call, view),
        )
        return pb.ListDeploymentsResponse(
            deployments=[self._message(call, row, key, view) for row in listed.rows],
            next_page_token=listed.next_page_token,
            resume_token=listed.resume_token,
        )

    async def UpdateDeployment(
        self, request: pb.UpdateDeploymentRequest, context: Context
    ) -> pb.UpdateDeploymentResponse:
        call = calls.current()
        given = request.deployment
        name = DeploymentName.parse(given.name, field="deployment.name")
        command = UpdateDeployment(
            tenant=call.tenant,
            deployment_id=name.deployment,
            paths=paths(request.update_mask, given, frozenset(SETTINGS)),
            settings=messages.settings(given),
            etag=given.etag,
            actor=call.caller.actor(),
            request=call.request_key(request),
        )
        epoch = await self._parts.hub.epoch.current()
        updated = await update_deployment(self._parts.database, command)
        self._parts.hub.notify(call.tenant.tenant_id)
        return pb.UpdateDeploymentResponse(
            deployment=await self._read(call, name.deployment, updated.deployment_uid),
            resume_token=self._position(call, epoch, updated.sequence),
        )

    async def DeleteDeployment(
        self, request: pb.DeleteDeploymentRequest, context: Context
    ) -> pb.DeleteDeploymentResponse:
        call = calls.current()
        name = DeploymentName.parse(request.name, field="name")
        command = DeleteDeployment(
            tenant=call.tenant,
            deployment_id=name.deployment,
            force=request.force,
            cancel_builds=request.cancel_builds,
            etag=request.etag,
            actor=call.caller.actor(),
            request=call.request_key(request),
        )
        remover = DeploymentRemover(
            self._parts.database,
            committed=self._parts.hub.notify,
            wake_provisioner=self._parts.wake_provisioner,
            keep_s=self._parts.keep_deleted_s,
        )
        epoch = await self._parts.hub.epoch.current()
        sequence = await remover.delete(command)
        return pb.DeleteDeploymentResponse(resume_token=self._position(call, epoch, sequence))

    async def RunDeployment(
        self, request: pb.RunDeploymentRequest, context: Context
    ) -> pb.RunDeploymentResponse:
        call = calls.current()
        name = DeploymentName.parse(request.name, field="name")
        command = RunDeployment(
            tenant=call.tenant,
            deployment_id=name.deployment,
            parameters=dict(request.parameters),
            from_run=request.from_run,
            allow_concurrent=request.allow_concurrent,
            about=RunRequest.of(
                call.caller.actor(request.on_behalf_of), request.reason, dict(request.annotations)
            ),
            request=call.request_key(request),
        )
        epoch = await self._parts.hub.epoch.current()
        started = await self._parts.run_starter.start(
            command, remaining_s=call.remaining_s(self._parts.wait_s)
        )
        row = await self._reader.run_by_id(call.tenant, started.run_id)
        return pb.RunDeploymentResponse(
            run=messages.run_message(call.tenant, row, in_full=call.sees_network),
            resume_token=self._position(call, epoch, started.sequence),
        )

    async def GetRun(self, request: pb.GetRunRequest, context: Context) -> pb.GetRunResponse:
        call = calls.current()
        name = RunName.parse(request.name, field="name", allow_deleted=True)
        row = await self._reader.run(call.tenant, name)
        return pb.GetRunResponse(
            run=messages.run_message(call.tenant, row, in_full=call.sees_network)
        )

    async def BatchGetRuns(
        self, request: pb.BatchGetRunsRequest, context: Context
    ) -> pb.BatchGetRunsResponse:
        call = calls.current()
        names = list_arguments.names_of(RunName, request.names, call.tenant)
        rows = await self._reader.batch_runs(call.tenant, names, list_arguments.view(request.view))
        return pb.BatchGetRunsResponse(
            runs=[messages.run_message(call.tenant, row, in_full=call.sees_network) for row in rows]
        )

    async def CancelRun(
        self, request: pb.CancelRunRequest, context: Context
    ) -> pb.CancelRunResponse:
        call = calls.current()
        name = RunName.parse(request.name, field="name")
        command = CancelRun(call.tenant, name, call.caller.actor(), call.request_key(request))
        epoch = await self._parts.hub.epoch.current()
        cancelled = await self._parts.run_canceller.cancel(
            command, remaining_s=call.remaining_s(self._parts.wait_s)
        )
        row = await self._reader.run_by_id(call.tenant, cancelled.run_id)
        return pb.CancelRunResponse(
            run=messages.run_message(call.tenant, row, in_full=call.sees_network),
            resume_token=self._position(call, epoch, cancelled.sequence),
        )

    async def ResolveRun(
        self, request: pb.ResolveRunRequest, context: Context
    ) -> pb.ResolveRunResponse:
        call = calls.current()
        name = RunName.parse(request.name, field="name")
        status = pb.DeploymentStatus.Name(request.status).removeprefix("DEPLOYMENT_STATUS_")
        command = ResolveRun(
            tenant=call.tenant,
            name=name,
            resolution=Resolution.of(status, request.reason),
            actor=call.caller.actor(),
            request=call.request_key(request),
        )
        epoch = await self._parts.hub.epoch.current()
        resolved = await resolve_run(self._parts.database, command)
        self._parts.hub.notify(call.tenant.tenant_id)
        row = await self._reader.run_by_id(call.tenant, resolved.run_id)
        return pb.ResolveRunResponse(
            run=messages.run_message(call.tenant, row),
            resume_token=self._position(call, epoch, resolved.sequence),
        )

    async def ExplainRun(
        self, request: pb.ExplainRunRequest, context: Context
    ) -> pb.ExplainRunResponse:
        call = calls.current()
        name = RunName.parse(request.name, field="name", allow_deleted=True)
        run, trail = await self._reader.explain(call.tenant, name)
        return explain_message(call.tenant, run, trail, in_full=call.sees_network)

    async def ListRuns(self, request: pb.ListRunsRequest, context: Context) -> pb.ListRunsResponse:
        call = calls.current()
        tenant = call.tenant
        deployment = arguments.deployment_or_all(request.parent)
        page = PageRequest(request.page_size, request.page_token)
        wanted = list_arguments.run_filter(request)
        view = list_arguments.view(request.view)
        if deployment == ALL:
            listed = await self._reader.runs_of_all(tenant, page, wanted, view)
        else:
            listed = await self._reader.runs(tenant, deployment, page, wanted, view)
        return pb.ListRunsResponse(
            runs=[
                messages.run_message(tenant, row, in_full=call.sees_network) for row in listed.rows
            ],
            next_page_token=listed.next_page_token,
            resume_token=listed.resume_token,
        )

    async def ListReports(
        self, request: pb.ListReportsRequest, context: Context
    ) -> pb.ListReportsResponse:
        tenant = calls.current().tenant
        name = DeploymentName.parse(request.parent, field="parent", allow_all=True)
        job_id = arguments.job_id(request.cicd_job_id, name)
        page = PageRequest(request.page_size, request.page_token)
        rows, token = await self._reader.reports_without_run(
            tenant, name.deployment if job_id is None else job_id, page
        )
        return pb.ListReportsResponse(
            reports=[report_message(row) for row in rows], next_page_token=token
        )

    async def ListEvents(
        self, request: pb.ListEventsRequest, context: Context
    ) -> pb.ListEventsResponse:
        tenant = calls.current().tenant
        listed = await self._reader.events(
            tenant,
            list_arguments.events_of(request, tenant),
            PageRequest(request.page_size, request.page_token),
            list_arguments.event_filter(request),
        )
        return pb.ListEventsResponse(
            events=[event_messages.to_message(tenant.slug, row) for row in listed.rows],
            next_page_token=listed.next_page_token,
            resume_token=listed.resume_token,
        )

    async def WatchDeployments(  # type: ignore[override]  # it writes by itself, see serve_watch
        self, request: pb.WatchDeploymentsRequest, context: Context
    ) -> None:
        await serve_watch(self._parts.hub, calls.current().tenant, request, context)

    async def _read(
        self,
        call: Call,
        resource_id: str,
        uid: uuid.UUID | None = None,
        *,
        signing: bool = False,
    ) -> pb.Deployment:
        allowed = arguments.may_see_webhooks(call)
        signing = signing and allowed
        row, key = await self._reader.deployment(
            call.tenant, resource_id, uid=uid, with_key=allowed, signing=signing
        )
        message = self._message(call, row, key, View.FULL)
        webhook = messages.webhook_of(call.tenant, row, key, self._parts.locale)
        if signing and webhook is not None:
            message.cicd_job.signing_secret = webhook.signing_secret
        return message

    def _message(
        self, call: Call, row: DeploymentRecord, key: WebhookKey | None, view: View
    ) -> pb.Deployment:
        return messages.deployment_message(
            call.tenant,
            row,
            view=view,
            webhook=messages.webhook_of(call.tenant, row, key, self._parts.locale),
            in_full=call.sees_network,
        )

    def _position(self, call: Call, epoch: bytes, sequence: int) -> str:
        return self._parts.hub.tokens.position(call.tenant.tenant_id, epoch, sequence)

    def _check_config_xml(self, job: JobDefinition) -> None:
        if job.kind is JobKind.CONFIG_XML and not self._parts.allow_config_xml:
            raise FailedPrecondition(
                "JOB_KIND_NOT_ALLOWED",
                "This installation doesn't allow config_xml. Its operators can change that.",
                metadata={"kind": str(job.kind)},
            )


def _with_key(call: Call, view: View) -> bool:
    return view is View.FULL and arguments.may_see_webhooks(call)
