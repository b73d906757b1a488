"""Rules about a job as Jenkins shows it: is it ours, does it define our parameters, what do we create it from."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import replace

from deployment_service.cicd.jenkins import job_xml
from deployment_service.cicd.jenkins.job_xml_parameters import is_run_id_description
from deployment_service.cicd.port import CicdProvider, JobView, WebhookEndpoint
from deployment_service.domain.definition import JobDefinition, JobKind
from deployment_service.domain.job_ownership import Signs
from deployment_service.domain.jobs import Correlation
from deployment_service.domain.parameter_definitions import DeclaredParameter, is_defined
from deployment_service.domain.parameters import RUN_ID_PARAMETER

# Kinds of parameter that pass their value to the build unchanged.
_TEXT_PARAMETERS = {"StringParameterDefinition", "TextParameterDefinition"}


def correlation_of(view: JobView) -> Correlation:
    """How surely runs can be tied to the builds of a job that is defined like this."""
    kinds = {one.kind for one in view.parameters if one.name == RUN_ID_PARAMETER}
    # Defined twice, each definition must hand the value on.
    if kinds and kinds <= _TEXT_PARAMETERS:
        return Correlation.RUN_ID
    return Correlation.QUEUE_ITEM


def lacks_parameters(
    definitions: Sequence[DeclaredParameter], view: JobView, *, keeps_kinds: bool
) -> bool:
    """Return whether a job lacks one of these parameters, or our own.

    ``keeps_kinds``: made from a given config.xml, whose parameters keep their kinds.
    """
    if correlation_of(view) is not Correlation.RUN_ID:
        return True
    if keeps_kinds:
        names = {parameter.name for parameter in view.parameters}
        return any(one.name not in names for one in definitions)
    return not all(is_defined(one, view.parameters) for one in definitions)


def render(
    definition: JobDefinition,
    *,
    owner: uuid.UUID,
    parameters: Sequence[DeclaredParameter],
    webhook: WebhookEndpoint | None,
) -> str:
    """The config.xml of a job that we create. Raises DefinitionInvalid."""
    scm = definition.scm
    spec = job_xml.JobSpec(
        kind=job_xml.JobKind(definition.kind.value),
        freestyle_shell=definition.text if definition.kind is JobKind.FREESTYLE_SHELL else "",
        pipeline_script=definition.text if definition.kind is JobKind.PIPELINE_SCRIPT else "",
        config_xml=definition.text if definition.kind is JobKind.CONFIG_XML else "",
        scm=None
        if scm is None
        else job_xml.ScmSource(scm.url, scm.branch, scm.script_path, scm.credentials_id),
    )
    return job_xml.render_job_xml(spec, owner=str(owner), parameters=parameters, webhook=webhook)


async def is_owned(
    client: CicdProvider, view: JobView, owner: uuid.UUID | None, job_id: uuid.UUID
) -> bool:
    """Return whether the job may be deleted or rewritten. Raises ProviderError."""
    signs = signs_of(view, owner)
    if signs.endpoint_decides:
        endpoint = await client.has_webhook(view.full_name, str(job_id))
        signs = replace(signs, endpoint=endpoint)
    return signs.is_ours


def signs_of(view: JobView, owner: uuid.UUID | None) -> Signs:
    """Return the signs that a job shows to those who may read it."""
    if owner is None:
        return Signs(mark=False, parameter=False, endpoint=False)
    ours = [one for one in view.parameters if one.name == RUN_ID_PARAMETER]
    parameter = len(ours) == 1 and is_run_id_description(ours[0].description, str(owner))
    return Signs(mark=view.owner == str(owner), parameter=parameter)
