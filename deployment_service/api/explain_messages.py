"""The trail of a run as messages."""

from __future__ import annotations

import asyncpg

from deployment_service.api import event_messages
from deployment_service.api.actor_messages import actor_message
from deployment_service.api.conversions import timestamp
from deployment_service.api.deployment_messages import run_message
from deployment_service.api.enums import certainty_value, status_value
from deployment_service.api.problem_messages import optional_problem
from deployment_service.domain.access import TenantRef
from deployment_service.storage.actors import actor_in
from deployment_service.storage.runs.explain import Trail
from deployment_service.storage.runs.run_records import RunRecord
from deployment_service.v1 import deployment_service_pb2 as pb


def explain_message(
    tenant: TenantRef, run: RunRecord, trail: Trail, *, in_full: bool
) -> pb.ExplainRunResponse:
    """All that is known of a run. ``in_full``: with details of the network, for operators."""
    return pb.ExplainRunResponse(
        run=run_message(tenant, run, in_full=in_full),
        job_problem=optional_problem(run.job_problem, in_full=in_full),
        attempts=[_attempt(row) for row in trail.attempts],
        reports=[report_message(row) for row in trail.reports],
        events=[event_messages.to_message(tenant.slug, event) for event in trail.events],
        resolutions=[_resolution(row) for row in trail.resolutions],
    )


def _attempt(row: asyncpg.Record) -> pb.RunAttempt:
    return pb.RunAttempt(
        attempt=row["attempt"],
        owner=str(row["owner"]),
        claim_time=timestamp(row["claim_time"]),
        send_by=timestamp(row["send_by"]),
        next_build_number=row["next_build_number"] or 0,
        jenkins_session=row["jenkins_session"] or "",
        outcome=row["outcome"],
        http_status=row["http_status"] or 0,
        queue_id=row["queue_id"] or "",
        message=row["message"],
        end_time=timestamp(row["end_time"]),
    )


def report_message(row: asyncpg.Record) -> pb.RunReport:
    """Return a report, without its internal fields: the signature and the gateway's key."""
    return pb.RunReport(
        receive_time=timestamp(row["receive_time"]),
        source=row["source"],
        phase=row["phase"],
        status=row["status"],
        build_number=row["build_number"],
        queue_id=row["queue_id"] or "",
        verdict=row["verdict"],
        message=row["message"],
        named_run_uid=str(row["named_run_id"] or ""),
    )


def _resolution(row: asyncpg.Record) -> pb.RunResolution:
    return pb.RunResolution(
        status=status_value(row["status"]),
        reason=row["reason"],
        actor=actor_message(actor_in(row, "actor")),
        create_time=timestamp(row["create_time"]),
        old_status=status_value(row["old_status"]),
        old_certainty=certainty_value(row["old_certainty"]),
    )
