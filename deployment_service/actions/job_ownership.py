"""Asks Jenkins whether a job is the one that a deployment had made; the rule is in ``domain.job_ownership``."""

from __future__ import annotations

import uuid
from dataclasses import replace

from deployment_service.cicd.job_xml_parameters import is_run_id_description
from deployment_service.cicd.port import RUN_ID_PARAMETER, CicdProvider, JobView
from deployment_service.domain.job_ownership import Signs


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
