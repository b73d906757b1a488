"""What a run is started with: values of an earlier run, of the caller and of the definitions; which are secret."""

from __future__ import annotations

import uuid
from collections.abc import Mapping

from deployment_service.domain.definition import JobKind
from deployment_service.domain.errors import InvalidArgument, NotFound
from deployment_service.domain.names import DeploymentName, RunName
from deployment_service.domain.parameter_definitions import secret_names, values_of_run
from deployment_service.domain.parameters import RUN_ID_PARAMETER
from deployment_service.domain.secret_values import SplitValues, split
from deployment_service.storage import intents
from deployment_service.storage.database import Connection
from deployment_service.storage.intents import Runnable

_OWNER_DECLARES = (JobKind.EXISTING, JobKind.CONFIG_XML)


async def run_values(
    connection: Connection,
    tenant_id: uuid.UUID,
    name: DeploymentName,
    deployment: Runnable,
    given: Mapping[str, str],
    from_run: str,
) -> SplitValues:
    """Return what a run is started with. Raises InvalidArgument, and NotFound for ``from_run``."""
    if from_run:
        earlier = await _earlier(connection, tenant_id, name, deployment, from_run)
        given = _again(deployment, earlier, given)
    values = values_of_run(
        deployment.parameter_definitions,
        deployment.fixed_parameters,
        given,
        field="parameters",
        owner_declares=deployment.job_kind in _OWNER_DECLARES,
    )
    return split(values, _secret(deployment, values))


async def _earlier(
    connection: Connection,
    tenant_id: uuid.UUID,
    name: DeploymentName,
    deployment: Runnable,
    from_run: str,
) -> intents.RunValues:
    run = RunName.parse(from_run, field="from_run")
    if (run.tenant, run.deployment) != (name.tenant, name.deployment):
        raise InvalidArgument("from_run", f"must be a run of '{name}'", reason="WRONG_PARENT")
    earlier = await intents.read_values(connection, tenant_id, deployment.deployment_id, run.number)
    if earlier is None:
        raise NotFound("run", from_run)
    return earlier


def _again(
    deployment: Runnable, earlier: intents.RunValues, given: Mapping[str, str]
) -> dict[str, str]:
    needed = set(earlier.secret_parameters)
    if earlier.source == "EXTERNAL":
        # Jenkins doesn't show which secrets a build had.
        needed |= secret_names(deployment.parameter_definitions) | set(deployment.job_secrets or ())
    missing = sorted(needed - given.keys() - deployment.fixed_parameters.keys())
    if missing:
        raise InvalidArgument(
            "parameters",
            f"{', '.join(missing)} must be given again: secrets of a run are not kept once it has settled",
            reason="SECRET_REQUIRED",
        )
    left_out = {RUN_ID_PARAMETER, *deployment.fixed_parameters}
    kept = {name: value for name, value in earlier.parameters.items() if name not in left_out}
    return {**kept, **given}


def _secret(deployment: Runnable, values: Mapping[str, str]) -> frozenset[str]:
    """Return the names of the values that may not be shown."""
    defined = secret_names(deployment.parameter_definitions)
    if deployment.job_kind not in _OWNER_DECLARES:
        return defined
    if deployment.job_secrets is None:
        # Until the job has been read, what its owner may define as a password counts as one.
        plain = {one.name for one in deployment.parameter_definitions}
        return defined | (values.keys() - plain)
    return defined | frozenset(deployment.job_secrets)
