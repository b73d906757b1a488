"""Deployments and runs as messages. URLs are composed here, from the provider's as it now is."""

from __future__ import annotations

from deployment_service.actions.webhook_keys import JobWebhook, WebhookKey, job_webhook
from deployment_service.api.actor_messages import actor_message
from deployment_service.api.conversions import duration, time_of_ms, timestamp
from deployment_service.api.enums import (
    certainty_value,
    failure_cause_value,
    status_value,
    value_of,
    waiting_for_value,
)
from deployment_service.api.problem_messages import optional_problem
from deployment_service.api.run_summary_messages import summary_message
from deployment_service.cicd.names import build_url, job_path
from deployment_service.domain.access import TenantRef
from deployment_service.domain.definition import JobDefinition, JobKind
from deployment_service.domain.deployment_settings import DeploymentSettings
from deployment_service.domain.errors import InvalidArgument
from deployment_service.domain.etags import etag
from deployment_service.domain.lists import View
from deployment_service.domain.names import DeploymentName, ProviderName, RunName
from deployment_service.domain.parameter_definitions import DeclaredParameter, ParameterKind
from deployment_service.domain.scm import PipelineScm
from deployment_service.domain.status import UnstablePolicy
from deployment_service.storage.deployments.deployments import DeploymentRecord
from deployment_service.storage.runs.run_records import RunRecord
from deployment_service.v1 import deployment_service_pb2 as pb


def deployment_message(
    tenant: TenantRef,
    row: DeploymentRecord,
    *,
    view: View = View.FULL,
    webhook: JobWebhook | None = None,
    in_full: bool = False,
) -> pb.Deployment:
    """A deployment. ``webhook`` holds its job's secrets, which not every caller may see.

    ``in_full``: with details of the network, for operators.
    """
    name = DeploymentName(tenant.slug, row.resource_id)
    return pb.Deployment(
        name=str(name),
        uid=str(row.deployment_id),
        display_name=row.settings.display_name,
        provider=str(ProviderName(tenant.slug, row.provider_slug)) if row.provider_slug else "",
        status=status_value(row.status),
        parameter_definitions=map(_definition_message, row.settings.parameter_definitions),
        labels=row.settings.labels,
        job=_job_definition(row) if view is View.FULL else None,
        cicd_job=_cicd_job(row, webhook, in_full),
        observation_problem=optional_problem(row.problem, in_full=in_full),
        current_run=_run_name(tenant, row, row.current_run.number if row.current_run else None),
        last_completed_run=_run_name(tenant, row, row.last_completed_run_number),
        current_run_summary=summary_message(tenant, row) if row.current_run else None,
        typical_duration=duration(row.typical_duration),
        revision=row.revision,
        create_time=timestamp(row.create_time),
        update_time=timestamp(row.update_time),
        delete_time=timestamp(row.delete_time),
        purge_time=timestamp(row.purge_time),
        etag=etag(row.deployment_id, row.version),
        unstable_policy=value_of(
            pb.UNSTABLE_POLICY_UNSPECIFIED, pb.UnstablePolicy, row.settings.unstable_policy
        ),
    )


def webhook_of(
    tenant: TenantRef, row: DeploymentRecord, key: WebhookKey | None, locale: str
) -> JobWebhook | None:
    """Where and how the deployment's job must report; None without a key or where webhooks can't come."""
    if key is None or not row.webhook_base_url or row.job_id is None:
        return None
    return job_webhook(
        row.webhook_base_url,
        locale=locale,
        tenant=tenant.slug,
        tenant_id=tenant.tenant_id,
        job_id=row.job_id,
        key=key,
    )


def run_message(tenant: TenantRef, row: RunRecord, *, in_full: bool = False) -> pb.Run:
    """A run. ``in_full``: with details of the network, for operators."""
    message = pb.Run(
        name=str(RunName(tenant.slug, row.deployment_resource_id, row.number)),
        uid=str(row.run_id),
        status=status_value(row.status),
        source=value_of(pb.RUN_SOURCE_UNSPECIFIED, pb.RunSource, row.source),
        parameters=row.parameters,
        secret_parameters=row.secret_parameters,
        queue_id=row.queue_id or "",
        build_number=row.build_number or 0,
        certainty=certainty_value(row.certainty),
        reported_status=status_value(row.reported_status),
        waiting_for=waiting_for_value(row.waiting_for),
        failure_cause=failure_cause_value(row.failure_cause),
        waiting_reason=row.waiting_reason,
        create_time=timestamp(row.create_time),
        queue_time=timestamp(row.start_time),
        build_start_time=time_of_ms(row.build_timestamp_ms),
        end_time=timestamp(row.end_time),
        last_observed_time=timestamp(row.last_observed_time),
        cancel_request_time=timestamp(row.cancel_request_time),
        settle_time=timestamp(row.settle_time),
        failure_message=row.failure_message,
        requested_by=actor_message(row.requested_by),
        reason=row.reason,
        annotations=row.annotations,
        observation_problem=optional_problem(row.problem, in_full=in_full),
    )
    if row.build_number and row.job_full_name:
        message.build_url = build_url(row.base_url, row.job_full_name, row.build_number)
    if row.retry_of:
        message.retry_of = str(RunName(tenant.slug, row.deployment_resource_id, row.retry_of))
    return message


def job_definition(message: pb.DeploymentJob) -> JobDefinition:
    """The job that a caller defines; raises InvalidArgument if it is of no kind."""
    match message.WhichOneof("kind"):
        case "existing_job":
            if message.full_name:
                raise InvalidArgument(
                    "deployment.job.full_name", "is not for existing_job, which has a name itself"
                )
            existing = message.existing_job
            return JobDefinition(
                JobKind.EXISTING,
                existing.full_name,
                fixed_parameters=dict(existing.fixed_parameters),
            )
        case "pipeline_scm":
            scm = message.pipeline_scm
            return JobDefinition(
                JobKind.PIPELINE_SCM,
                message.full_name,
                scm=PipelineScm(scm.url, scm.branch, scm.script_path, scm.credentials_id),
            )
        case "pipeline_script":
            return JobDefinition(
                JobKind.PIPELINE_SCRIPT, message.full_name, message.pipeline_script
            )
        case "freestyle_shell":
            return JobDefinition(
                JobKind.FREESTYLE_SHELL, message.full_name, message.freestyle_shell
            )
        case "config_xml":
            return JobDefinition(JobKind.CONFIG_XML, message.full_name, message.config_xml)
        case _:
            raise InvalidArgument(
                "deployment.job", "is required: set one kind of job", reason="REQUIRED_FIELD"
            )


def settings(message: pb.Deployment) -> DeploymentSettings:
    """Return the settings that a caller gives, unchecked."""
    return DeploymentSettings(
        display_name=message.display_name,
        parameter_definitions=_parameter_definitions(message),
        labels=dict(message.labels),
        unstable_policy=_unstable_policy(message),
    )


def _parameter_definitions(message: pb.Deployment) -> tuple[DeclaredParameter, ...]:
    return tuple(
        DeclaredParameter(
            name=one.name,
            kind=ParameterKind(
                pb.ParameterKind.Name(one.kind or pb.PARAMETER_KIND_STRING).removeprefix(
                    "PARAMETER_KIND_"
                )
            ),
            default_value=one.default_value,
            choices=tuple(one.choices),
            required=one.required,
            description=one.description,
        )
        for one in message.parameter_definitions
    )


def _definition_message(one: DeclaredParameter) -> pb.ParameterDefinition:
    return pb.ParameterDefinition(
        name=one.name,
        kind=value_of(pb.PARAMETER_KIND_UNSPECIFIED, pb.ParameterKind, one.kind),
        default_value=one.default_value,
        choices=one.choices,
        required=one.required,
        description=one.description,
    )


def _unstable_policy(message: pb.Deployment) -> UnstablePolicy:
    value = message.unstable_policy or pb.UNSTABLE_POLICY_FAILED
    return UnstablePolicy(pb.UnstablePolicy.Name(value).removeprefix("UNSTABLE_POLICY_"))


def _job_definition(row: DeploymentRecord) -> pb.DeploymentJob:
    job = JobDefinition.from_json(row.job_kind, row.job_spec)
    match job.kind:
        case JobKind.EXISTING:
            return pb.DeploymentJob(
                existing_job=pb.ExistingJob(
                    full_name=job.full_name, fixed_parameters=job.fixed_parameters
                )
            )
        case JobKind.PIPELINE_SCM:
            assert job.scm is not None
            scm = pb.PipelineScm(
                url=job.scm.url,
                branch=job.scm.branch,
                script_path=job.scm.script_path,
                credentials_id=job.scm.credentials_id,
            )
            return pb.DeploymentJob(pipeline_scm=scm, full_name=job.full_name)
        case JobKind.PIPELINE_SCRIPT:
            return pb.DeploymentJob(pipeline_script=job.text, full_name=job.full_name)
        case JobKind.FREESTYLE_SHELL:
            return pb.DeploymentJob(freestyle_shell=job.text, full_name=job.full_name)
        case JobKind.CONFIG_XML:
            return pb.DeploymentJob(config_xml=job.text, full_name=job.full_name)


def _cicd_job(
    row: DeploymentRecord, webhook: JobWebhook | None, in_full: bool
) -> pb.CicdJob | None:
    # A deployment's job is never in state DELETING: by then the deployment is deleted and has none.
    if row.job_id is None:
        return None
    return pb.CicdJob(
        id=str(row.job_id),
        name=row.job_full_name,
        url=_job_url(row.base_url, row.job_full_name),
        status=row.job_status,
        build_number=row.job_build_number,
        correlation=value_of(
            pb.CORRELATION_UNSPECIFIED, pb.Correlation, row.job_correlation or "UNSPECIFIED"
        ),
        state=value_of(pb.CICD_JOB_STATE_UNSPECIFIED, pb.CicdJobState, row.job_state),
        state_message=row.job_state_message,
        webhook_url=webhook.url if webhook else "",
        token_exposed=row.job_token_exposed,
        observation_problem=optional_problem(row.job_problem, in_full=in_full),
    )


def _job_url(base_url: str, full_name: str) -> str:
    return f"{base_url.rstrip('/')}/{job_path(full_name)}/"


def _run_name(tenant: TenantRef, row: DeploymentRecord, number: int | None) -> str:
    return str(RunName(tenant.slug, row.resource_id, number)) if number else ""
