"""Translate between the messages of GatewayService and actions."""

from __future__ import annotations

from datetime import UTC

from deployment_service.actions.report import ReportBuilds
from deployment_service.actions.webhook_keys import WebhookKeys
from deployment_service.actions.webhook_verifiers import JobVerifier, list_verifiers
from deployment_service.api import calls, validation
from deployment_service.api.interceptors import Context
from deployment_service.domain.attribution import Verdict
from deployment_service.domain.errors import InvalidArgument
from deployment_service.domain.names import TenantName
from deployment_service.domain.reports import (
    MAX_REPORTS,
    BuildReport,
    Phase,
    Proof,
    RefreshRequest,
    ReportResult,
    ReportSource,
)
from deployment_service.storage.database.pool import Database
from deployment_service.v1 import gateway_service_pb2 as pb
from deployment_service.v1 import gateway_service_pb2_grpc as pb_grpc

# Unknown and unset values map to the weakest proof, TOKEN.
_PROOFS = {pb.REPORT_PROOF_SIGNATURE: Proof.SIGNATURE}


class GatewayService(pb_grpc.GatewayServiceServicer):
    """Serves the webhook gateway. ``policy.py`` has the permissions."""

    def __init__(
        self, database: Database, webhook_keys: WebhookKeys, report_builds: ReportBuilds
    ) -> None:
        self._database = database
        self._webhook_keys = webhook_keys
        self._report_builds = report_builds

    async def ReportBuilds(
        self, request: pb.ReportBuildsRequest, context: Context
    ) -> pb.ReportBuildsResponse:
        for field in ("reports", "refresh_requests"):
            if len(getattr(request, field)) > MAX_REPORTS:
                raise InvalidArgument(field, f"at most {MAX_REPORTS} in one call")
        # A report that no text column can store is answered alone, and does not fail the others of the batch.
        problems = [_problem(report) for report in request.reports]
        valid = [
            _report(report)
            for report, problem in zip(request.reports, problems, strict=True)
            if not problem
        ]
        refresh_requests = [
            RefreshRequest(one.tenant, one.cicd_job_id, one.reason)
            for one in request.refresh_requests
            if not _problem(one)
        ]
        results = iter(await self._report_builds(valid, refresh_requests))
        return pb.ReportBuildsResponse(
            results=[
                pb.ReportResult(verdict=pb.REPORT_VERDICT_INVALID, message=problem)
                if problem
                else _result(next(results))
                for problem in problems
            ]
        )

    async def ListWebhookVerifiers(
        self, request: pb.ListWebhookVerifiersRequest, context: Context
    ) -> pb.ListWebhookVerifiersResponse:
        page = await list_verifiers(
            self._database,
            self._webhook_keys,
            calls.current().caller.tenant,
            cursor=request.cursor,
            page_size=request.page_size,
        )
        return pb.ListWebhookVerifiersResponse(
            verifiers=[_verifier(one) for one in page.verifiers],
            next_cursor=page.next_cursor,
            more=page.more,
            reset=page.reset,
        )


def _verifier(one: JobVerifier) -> pb.WebhookVerifier:
    return pb.WebhookVerifier(
        tenant=str(TenantName(one.tenant_slug)),
        cicd_job_id=str(one.job_id),
        deleted=one.deleted,
        keys=[
            pb.KeyVerifier(
                key_id=key.key_id, token_sha256=key.token_sha256, signing_secret=key.signing_secret
            )
            for key in one.keys
        ],
    )


def _problem(item: pb.BuildReport | pb.RefreshRequest) -> str:
    try:
        validation.check(item)
    except InvalidArgument as error:
        return error.message
    return ""


def _report(message: pb.BuildReport) -> BuildReport:
    phase = pb.BuildPhase.Name(message.phase).removeprefix("BUILD_PHASE_")
    source = pb.ReportSource.Name(message.source).removeprefix("REPORT_SOURCE_")
    return BuildReport(
        tenant=message.tenant,
        cicd_job_id=message.cicd_job_id,
        build_number=message.build_number,
        status=message.status,
        phase=Phase[phase],
        source=ReportSource[source],
        run_id=message.run_id,
        parameters_known=message.parameters_known,
        queue_id=message.queue_id,
        job_path=message.job_path,
        sender_timestamp_ms=message.sender_timestamp_ms,
        receive_time=message.receive_time.ToDatetime(UTC)
        if message.HasField("receive_time")
        else None,
        parameters=dict(message.parameters),
        proof=_PROOFS.get(message.proof, Proof.TOKEN),
        key_id=message.key_id,
        delivery_id=message.delivery_id,
        test=message.test,
        gateway_key_id=calls.current().caller.key_id,
    )


def _result(result: ReportResult) -> pb.ReportResult:
    return pb.ReportResult(
        verdict=f"REPORT_VERDICT_{Verdict(result.verdict).value}",
        deployment=result.deployment,
        old_status=f"DEPLOYMENT_STATUS_{result.old_status or 'UNSPECIFIED'}",
        status=f"DEPLOYMENT_STATUS_{result.status or 'UNSPECIFIED'}",
        message=result.message,
    )
