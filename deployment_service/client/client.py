"""The typed, asynchronous client of ``DeploymentService``."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Self

import grpc
from google.protobuf.field_mask_pb2 import FieldMask

from deployment_service.client.admin import AdminCalls
from deployment_service.client.channel import Caller, open_channel
from deployment_service.client.errors import DeploymentServiceError
from deployment_service.client.lists import Lists
from deployment_service.client.names import Names
from deployment_service.client.waiting import wait_for_run
from deployment_service.client.watch import Watch, WatchMessages
from deployment_service.runtime.backoff import Backoff
from deployment_service.runtime.secret_text import clean_secret
from deployment_service.v1 import deployment_service_pb2 as pb
from deployment_service.v1.deployment_service_pb2_grpc import DeploymentServiceStub

if TYPE_CHECKING:
    # exists for type checkers only
    from deployment_service.v1.deployment_service_pb2_grpc import DeploymentServiceAsyncStub


class DeploymentClient(Lists):
    """Creates, runs and watches deployments.

    Names may be short (``web`` for ``tenants/demo/deployments/web``) once ``tenant`` is set. Every
    call has a deadline of ``timeout_s`` and is repeated within it while the service is UNAVAILABLE.
    Mutations carry a request id (idempotency key), so a repeated call has one effect. Each call of a method generates a
    new one: pass your own if the intent must survive a restart of your process.

    ::

        async with DeploymentClient("127.0.0.1:50051", api_key=key, tenant="demo") as client:
            run = await client.run_and_wait("web-prod", parameters={"VERSION": "1.4.2"})
    """

    def __init__(
        self,
        target: str,
        *,
        api_key: str,
        tenant: str | None = None,
        timeout_s: float = 30.0,
        credentials: grpc.ChannelCredentials | None = None,
        use_proxy: bool = False,
        backoff: Backoff | None = None,
    ) -> None:
        """``use_proxy``: whether ``http_proxy`` in the environment counts.

        Raises ValueError if ``api_key`` holds a character that no key has.
        """
        key = clean_secret(api_key)
        self._caller = Caller(
            open_channel(target, credentials=credentials, use_proxy=use_proxy),
            api_key=key,
            timeout_s=timeout_s,
            backoff=backoff or Backoff(),
        )
        self._stub: DeploymentServiceAsyncStub = DeploymentServiceStub(self._caller.channel)
        self.names = Names(tenant)
        self.admin = AdminCalls(self._caller, self.names)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connection: calls under way are cancelled, watches end."""
        await self._caller.close()

    async def create_deployment(
        self,
        deployment_id: str,
        deployment: pb.Deployment,
        *,
        tenant: str | None = None,
        request_id: str | None = None,
    ) -> pb.CreateDeploymentResponse:
        """Create a deployment, and its job in Jenkins.

        ``deployment.provider`` may be a short name: one of ``tenant``, like the deployment.
        """
        definition = pb.Deployment()
        definition.CopyFrom(deployment)
        if definition.provider:
            definition.provider = self.names.provider(definition.provider, tenant=tenant)
        request = pb.CreateDeploymentRequest(
            parent=self.names.tenant(tenant),
            deployment_id=deployment_id,
            deployment=definition,
            request_id=request_id or new_request_id(),
        )
        return await self._caller.call(self._stub.CreateDeployment, request)

    async def get_deployment(
        self, name: str, *, show_signing_secret: bool = False
    ) -> pb.Deployment:
        """Return the current state of a deployment, with its job's signing secret only if requested."""
        request = pb.GetDeploymentRequest(
            name=self.names.deployment(name), show_signing_secret=show_signing_secret
        )
        return (await self._caller.call(self._stub.GetDeployment, request)).deployment

    async def update_deployment(
        self,
        deployment: pb.Deployment,
        *,
        fields: Iterable[str] = (),
        request_id: str | None = None,
    ) -> pb.UpdateDeploymentResponse:
        """Change the named ``fields``; if none is named, those that are set in ``deployment``.

        Name a field to empty it. ``fields=["*"]`` replaces all that can be changed.
        """
        definition = pb.Deployment()
        definition.CopyFrom(deployment)
        definition.name = self.names.deployment(deployment.name)
        request = pb.UpdateDeploymentRequest(
            deployment=definition,
            update_mask=FieldMask(paths=list(fields)),
            request_id=request_id or new_request_id(),
        )
        return await self._caller.call(self._stub.UpdateDeployment, request)

    async def delete_deployment(
        self,
        name: str,
        *,
        force: bool = False,
        cancel_builds: bool = False,
        etag: str = "",
        request_id: str | None = None,
    ) -> pb.DeleteDeploymentResponse:
        """Delete a deployment, with its job if the service created it.

        ``force``: even while a run is active; ``cancel_builds``: then stop its builds in Jenkins.
        """
        request = pb.DeleteDeploymentRequest(
            name=self.names.deployment(name),
            force=force,
            cancel_builds=cancel_builds,
            etag=etag,
            request_id=request_id or new_request_id(),
        )
        return await self._caller.call(self._stub.DeleteDeployment, request)

    async def run_deployment(
        self,
        name: str,
        *,
        parameters: Mapping[str, str] | None = None,
        allow_concurrent: bool = False,
        from_run: str = "",
        on_behalf_of: str = "",
        reason: str = "",
        annotations: Mapping[str, str] | None = None,
        request_id: str | None = None,
    ) -> pb.RunDeploymentResponse:
        """Run a deployment: exactly one build, however often the call must be repeated.

        ``from_run``: an earlier run, whose parameters it gets; its secrets must be given again. ``on_behalf_of``,
        ``reason`` and ``annotations`` (at most 16) are kept with the run and shown, the first as your claim.
        """
        request = pb.RunDeploymentRequest(
            name=self.names.deployment(name),
            parameters=parameters,
            allow_concurrent=allow_concurrent,
            from_run=self.names.run(from_run) if from_run else "",
            on_behalf_of=on_behalf_of,
            reason=reason,
            annotations=annotations,
            request_id=request_id or new_request_id(),
        )
        return await self._caller.call(self._stub.RunDeployment, request)

    async def run_and_wait(
        self,
        name: str,
        *,
        parameters: Mapping[str, str] | None = None,
        timeout_s: float | None = None,
        allow_concurrent: bool = False,
        from_run: str = "",
        on_behalf_of: str = "",
        reason: str = "",
        annotations: Mapping[str, str] | None = None,
        request_id: str | None = None,
    ) -> pb.Run:
        """Run a deployment and return its run once that is settled.

        A run that FAILED or was CANCELLED is returned as well: check ``status``. If Jenkins cannot be read for a
        minute after the end was reported, ``certainty`` is still REPORTED. After the run is accepted, the method
        retries through restarts and outages of the service.

        Raises: ``RunNotFinished`` after ``timeout_s``; the run continues. Exceptions after its start have ``run_name``,
        for ``wait_for_run``.
        """
        answer = await self.run_deployment(
            name,
            parameters=parameters,
            allow_concurrent=allow_concurrent,
            from_run=from_run,
            on_behalf_of=on_behalf_of,
            reason=reason,
            annotations=annotations,
            request_id=request_id,
        )
        return await self.wait_for_run(
            answer.run.name, timeout_s=timeout_s, resume_token=answer.resume_token
        )

    async def wait_for_run(
        self, name: str, *, timeout_s: float | None = None, resume_token: str = ""
    ) -> pb.Run:
        """Return the run once it is settled. Raises ``RunNotFinished`` after ``timeout_s``."""
        return await wait_for_run(self, self.names.run(name), timeout_s, resume_token)

    async def get_run(self, name: str) -> pb.Run:
        """Return the current state of a run; the short name is ``web/runs/7``."""
        request = pb.GetRunRequest(name=self.names.run(name))
        return (await self._caller.call(self._stub.GetRun, request)).run

    async def cancel_run(self, name: str, *, request_id: str | None = None) -> pb.CancelRunResponse:
        """Cancel a run. It ends with the result of its build: a build that finished first stays COMPLETED."""
        request = pb.CancelRunRequest(
            name=self.names.run(name), request_id=request_id or new_request_id()
        )
        return await self._caller.call(self._stub.CancelRun, request)

    async def resolve_run(
        self,
        name: str,
        status: pb.DeploymentStatus,
        reason: str,
        *,
        request_id: str | None = None,
    ) -> pb.ResolveRunResponse:
        """Set the end of a run that can no longer be read from Jenkins. Needs role admin."""
        request = pb.ResolveRunRequest(
            name=self.names.run(name),
            status=status,
            reason=reason,
            request_id=request_id or new_request_id(),
        )
        return await self._caller.call(self._stub.ResolveRun, request)

    async def explain_run(self, name: str) -> pb.ExplainRunResponse:
        """Return the history of a run: its attempts, reports and events."""
        request = pb.ExplainRunRequest(name=self.names.run(name))
        return await self._caller.call(self._stub.ExplainRun, request)

    def watch(
        self,
        *names: str,
        types: Iterable[pb.DeploymentEvent.Type] = (),
        labels: Mapping[str, str] | None = None,
        resume_token: str = "",
        until: pb.WatchUntil = pb.WATCH_UNTIL_UNSPECIFIED,
        on_disconnect: Callable[[DeploymentServiceError, float], None] | None = None,
    ) -> Watch:
        """Return a watch over the events of deployments (all, if none is named), each once and in order.

        ``labels``: only of deployments that have all of them, or had them until the event.

        They begin after ``resume_token``, from an answer, a list or a watch; without one, now. The watch reconnects
        and resumes by itself. It calls ``on_disconnect`` with the cause and the seconds until the next attempt. With
        ``until`` it ends once the current runs of all named deployments have ended (WATCH_UNTIL_REPORTED) or are
        settled (WATCH_UNTIL_SETTLED); else it has no end.

        Raises: ``WatchGapError`` instead of missing an event; ``HistoryLost`` if retention removed the events after
        the token.

        ::

            async with client.watch("web-prod", resume_token=token) as watch:
                async for event in watch:
                    print(event.sequence, event.run, event.run_status)
                    token = watch.resume_token  # to resume from here, on any replica
        """
        return Watch(
            self.watch_messages(
                *names,
                types=types,
                labels=labels,
                resume_token=resume_token,
                until=until,
                on_disconnect=on_disconnect,
            )
        )

    def watch_messages(
        self,
        *names: str,
        types: Iterable[pb.DeploymentEvent.Type] = (),
        labels: Mapping[str, str] | None = None,
        resume_token: str = "",
        until: pb.WatchUntil = pb.WATCH_UNTIL_UNSPECIFIED,
        on_disconnect: Callable[[DeploymentServiceError, float], None] | None = None,
    ) -> WatchMessages:
        """Return a watch over all messages of the stream, of which ``message.event`` is one kind.

        For clients that mirror the current state: without a token it begins with ``deployment`` messages and
        ``snapshot_complete``. Where ``watch`` raises ``HistoryLost``, it yields ``reset`` and a new snapshot.
        """
        full_names = [self.names.deployment(name) for name in names]
        request = pb.WatchDeploymentsRequest(
            # The names' own tenant: a run of another than the default one must be waited for as well.
            parent=self.names.parent_of(full_names),
            names=full_names,
            types=types,
            labels=labels,
            resume_token=resume_token,
            until=until,
        )
        return WatchMessages(self._caller, request, on_disconnect=on_disconnect)


def new_request_id() -> str:
    """Return a new request id, for one intent."""
    return str(uuid.uuid4())
