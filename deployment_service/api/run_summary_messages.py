"""The summary of a deployment's current run as a message."""

from __future__ import annotations

from deployment_service.api.actor_messages import actor_message
from deployment_service.api.conversions import time_of_ms, timestamp
from deployment_service.api.enums import (
    certainty_value,
    failure_cause_value,
    status_value,
    waiting_for_value,
)
from deployment_service.cicd.names import build_url
from deployment_service.domain.access import TenantRef
from deployment_service.domain.names import RunName
from deployment_service.storage.deployments.deployments import DeploymentRecord
from deployment_service.v1 import deployment_service_pb2 as pb


def summary_message(tenant: TenantRef, row: DeploymentRecord) -> pb.RunSummary:
    """Return the summary of a deployment that has a current run."""
    run = row.current_run
    assert run is not None
    url = ""
    if run.build_number and row.job_full_name:
        url = build_url(row.base_url, row.job_full_name, run.build_number)
    return pb.RunSummary(
        name=str(RunName(tenant.slug, row.resource_id, run.number)),
        number=run.number,
        status=status_value(run.status),
        reported_status=status_value(run.reported_status),
        certainty=certainty_value(run.certainty),
        waiting_for=waiting_for_value(run.waiting_for),
        waiting_reason=run.waiting_reason,
        build_number=run.build_number or 0,
        build_url=url,
        create_time=timestamp(run.create_time),
        queue_time=timestamp(run.start_time),
        build_start_time=time_of_ms(run.build_timestamp_ms),
        end_time=timestamp(run.end_time),
        settle_time=timestamp(run.settle_time),
        last_observed_time=timestamp(run.last_observed_time),
        requested_by=actor_message(run.requested_by),
        failure_cause=failure_cause_value(run.failure_cause),
    )
