"""The lists of ``DeploymentService``, page by page or as a whole."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping
from typing import TYPE_CHECKING

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
        show_deleted: bool = False,
        page_size: int = 0,
        page_token: str = "",
    ) -> pb.ListDeploymentsResponse:
        """Return one page; ``deployments()`` goes through all of them."""
        request = pb.ListDeploymentsRequest(
            parent=self.names.parent,
            page_size=page_size,
            page_token=page_token,
            statuses=statuses,
            labels=labels,
            provider=self.names.provider(provider) if provider else "",
            show_deleted=show_deleted,
        )
        return await self._caller.call(self._stub.ListDeployments, request)

    async def deployments(
        self,
        *,
        statuses: Iterable[pb.DeploymentStatus] = (),
        labels: Mapping[str, str] | None = None,
        provider: str = "",
        show_deleted: bool = False,
    ) -> AsyncIterator[pb.Deployment]:
        """Go through all deployments that match, page by page."""
        statuses, token = list(statuses), ""
        while True:
            page = await self.list_deployments(
                statuses=statuses,
                labels=labels,
                provider=provider,
                show_deleted=show_deleted,
                page_token=token,
            )
            for deployment in page.deployments:
                yield deployment
            token = page.next_page_token
            if not token:
                return

    async def list_runs(
        self,
        deployment: str = "-",
        *,
        statuses: Iterable[pb.DeploymentStatus] = (),
        page_size: int = 0,
        page_token: str = "",
    ) -> pb.ListRunsResponse:
        """Return one page of a deployment's runs (or of all deployments'), newest first."""
        request = pb.ListRunsRequest(
            parent=self.names.deployment(deployment),
            statuses=statuses,
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
        page_size: int = 0,
        page_token: str = "",
    ) -> pb.ListEventsResponse:
        """Return one page of committed events, oldest first; ``history()`` goes through all of them."""
        request = pb.ListEventsRequest(
            parent=self.names.deployment(deployment),
            types=types,
            page_size=page_size,
            page_token=page_token,
        )
        return await self._caller.call(self._stub.ListEvents, request)

    async def history(
        self, deployment: str = "-", *, types: Iterable[pb.DeploymentEvent.Type] = ()
    ) -> AsyncIterator[pb.DeploymentEvent]:
        """Go through the committed events of one deployment or of all, oldest first."""
        types, token = list(types), ""
        while True:
            page = await self.list_events(deployment, types=types, page_token=token)
            for event in page.events:
                yield event
            token = page.next_page_token
            if not token:
                return
