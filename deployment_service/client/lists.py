"""The lists of ``DeploymentService``, page by page or as a whole."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Mapping
from typing import TYPE_CHECKING

from google.protobuf.timestamp_pb2 import Timestamp

from deployment_service.client.channel import Caller
from deployment_service.client.names import Names
from deployment_service.v1 import deployment_service_pb2 as pb

if TYPE_CHECKING:
    # exists for type checkers only
    from deployment_service.v1.deployment_service_pb2_grpc import DeploymentServiceAsyncStub


class Lists:
    """The part of ``DeploymentClient`` that lists."""

    _caller: Caller
    _stub: DeploymentServiceAsyncStub
    names: Names

    async def list_deployments(
        self,
        *,
        statuses: Iterable[pb.DeploymentStatus] = (),
        labels: Mapping[str, str] | None = None,
        provider: str = "",
        since: Timestamp | None = None,
        until: Timestamp | None = None,
        order_by: str = "",
        show_deleted: bool = False,
        view: pb.View = pb.VIEW_BASIC,
        page_size: int = 0,
        page_token: str = "",
    ) -> pb.ListDeploymentsResponse:
        """Return one page; ``deployments()`` goes through all of them.

        ``since`` and ``until`` bound ``create_time``, the second excluded; ``order_by``: as in
        ``ListDeploymentsRequest``.
        """
        request = pb.ListDeploymentsRequest(
            parent=self.names.parent,
            page_size=page_size,
            page_token=page_token,
            statuses=statuses,
            labels=labels,
            provider=self.names.provider(provider) if provider else "",
            create_time_from=since,
            create_time_until=until,
            order_by=order_by,
            show_deleted=show_deleted,
            view=view,
        )
        return await self._caller.call(self._stub.ListDeployments, request)

    async def deployments(
        self,
        *,
        statuses: Iterable[pb.DeploymentStatus] = (),
        labels: Mapping[str, str] | None = None,
        provider: str = "",
        since: Timestamp | None = None,
        until: Timestamp | None = None,
        order_by: str = "",
        show_deleted: bool = False,
        view: pb.View = pb.VIEW_BASIC,
    ) -> AsyncIterator[pb.Deployment]:
        """Go through all deployments that match, page by page."""
        statuses, token = list(statuses), ""
        while True:
            page = await self.list_deployments(
                statuses=statuses,
                labels=labels,
                provider=provider,
                since=since,
                until=until,
                order_by=order_by,
                show_deleted=show_deleted,
                view=view,
                page_token=token,
            )
            for deployment in page.deployments:
                yield deployment
            token = page.next_page_token
            if not token:
                return

    async def batch_get_deployments(
        self, names: Iterable[str], *, tenant: str | None = None, view: pb.View = pb.VIEW_BASIC
    ) -> list[pb.Deployment]:
        """Return at most 100 deployments of one tenant, in the order of their names.

        Raises NotFound for the first that does not exist.
        """
        request = pb.BatchGetDeploymentsRequest(
            parent=self.names.tenant(tenant),
            names=[self.names.deployment(name) for name in names],
            view=view,
        )
        answer = await self._caller.call(self._stub.BatchGetDeployments, request)
        return list(answer.deployments)

    async def batch_get_runs(
        self, names: Iterable[str], *, tenant: str | None = None, view: pb.View = pb.VIEW_BASIC
    ) -> list[pb.Run]:
        """Return at most 100 runs of one tenant, in the order of their names. Raises NotFound."""
        request = pb.BatchGetRunsRequest(
            parent=self.names.tenant(tenant),
            names=[self.names.run(name) for name in names],
            view=view,
        )
        return list((await self._caller.call(self._stub.BatchGetRuns, request)).runs)

    async def list_runs(
        self,
        deployment: str = "-",
        *,
        statuses: Iterable[pb.DeploymentStatus] = (),
        sources: Iterable[pb.RunSource] = (),
        since: Timestamp | None = None,
        until: Timestamp | None = None,
        order_by: str = "",
        view: pb.View = pb.VIEW_BASIC,
        page_size: int = 0,
        page_token: str = "",
    ) -> pb.ListRunsResponse:
        """Return one page of a deployment's runs (or of all deployments'), newest first.

        ``since`` and ``until`` bound ``create_time``, the second excluded; ``order_by``: as in ``ListRunsRequest``.
        """
        request = pb.ListRunsRequest(
            parent=self.names.deployment(deployment),
            statuses=statuses,
            sources=sources,
            create_time_from=since,
            create_time_until=until,
            order_by=order_by,
            view=view,
            page_size=page_size,
            page_token=page_token,
        )
        return await self._caller.call(self._stub.ListRuns, request)

    async def list_reports(
        self,
        deployment: str = "",
        *,
        job_id: str = "",
        page_size: int = 0,
        page_token: str = "",
    ) -> pb.ListReportsResponse:
        """Return one page of reports that belong to no run, newest first: of a deployment's job, or of ``job_id``."""
        request = pb.ListReportsRequest(
            parent=self.names.deployment(deployment or "-"),
            cicd_job_id=job_id,
            page_size=page_size,
            page_token=page_token,
        )
        return await self._caller.call(self._stub.ListReports, request)

    async def list_events(
        self,
        deployment: str = "-",
        *,
        types: Iterable[pb.DeploymentEvent.Type] = (),
        run: str = "",
        since: Timestamp | None = None,
        until: Timestamp | None = None,
        order_by: str = "",
        page_size: int = 0,
        page_token: str = "",
    ) -> pb.ListEventsResponse:
        """Return one page of committed events, oldest first; ``history()`` goes through all of them.

        ``run``: only of this run. ``since`` and ``until`` bound ``create_time``, the second excluded; ``order_by``: as
        in ``ListEventsRequest``.
        """
        request = pb.ListEventsRequest(
            parent=self.names.deployment(deployment),
            types=types,
            run=self.names.run(run) if run else "",
            create_time_from=since,
            create_time_until=until,
            order_by=order_by,
            page_size=page_size,
            page_token=page_token,
        )
        return await self._caller.call(self._stub.ListEvents, request)

    async def history(
        self,
        deployment: str = "-",
        *,
        types: Iterable[pb.DeploymentEvent.Type] = (),
        since: Timestamp | None = None,
        order_by: str = "",
    ) -> AsyncGenerator[pb.DeploymentEvent, None]:
        """Go through the committed events of one deployment or of all, oldest first unless ``order_by`` differs."""
        types, token = list(types), ""
        while True:
            page = await self.list_events(
                deployment, types=types, since=since, order_by=order_by, page_token=token
            )
            for event in page.events:
                yield event
            token = page.next_page_token
            if not token:
                return
