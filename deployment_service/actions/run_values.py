"""What a run is started with: values of an earlier run, of the caller and of the definitions; which are secret."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Mapping

from deployment_service.domain.definition import JobKind
from deployment_service.domain.errors import InvalidArgument, NotFound
from deployment_service.domain.names import DeploymentName, RunName
from deployment_service.domain.parameter_definitions import secret_names, values_of_run
from deployment_service.domain.parameters import RUN_ID_PARAMETER
from deployment_service.domain.secret_values import SplitValues, split
from deployment_service.storage.database.pool import Connection
from deployment_service.storage.runs import intents
from deployment_service.storage.runs.intents import Runnable

_OWNER_DECLARES = (JobKind.EXISTING, JobKind.CONFIG_XML)


async def run_values(
    connection: Connection,
    tenant_id: uuid.UUID,
    deployment: Runnable,
    given: Mapping[str, str],
    earlier: RunName | None,
) -> SplitValues:
    """Return the parameters of a new run. Raises ``InvalidArgument``, and ``NotFound`` for the ``earlier`` run."""
    if earlier is not None:
        started_with = await intents.read_values(
            connection, tenant_id, deployment.deployment_id, earlier.number
        )
        if started_with is None:
            raise NotFound("run", str(earlier))
        given = _again(deployment, started_with, given)
    values = values_of_run(
        deployment.parameter_definitions,
        deployment.fixed_parameters,
        given,
        field="parameters",
        owner_declares=deployment.job_kind in _OWNER_DECLARES,
    )
    return split(values, _secret(deployment, values))


def earlier_run(name: DeploymentName, from_run: str) -> RunName | None:
    """Return the run to be repeated; None if ``from_run`` is empty. Raises InvalidArgument."""
    if not from_run:
        return None
    run = RunName.parse(from_run, field="from_run")
    if (run.tenant, run.deployment) != (name.tenant, name.deployment):
        raise InvalidArgument("from_run", f"must be a run of '{name}'", reason="WRONG_PARENT")
    return run


def _again(
    deployment: Runnable, earlier: intents.RunValues, given: Mapping[str, str]
) -> dict[str, str]:
    """Return the given parameters, with the earlier run's for the others. Raises ``InvalidArgument``."""
    left_out = {RUN_ID_PARAMETER, *deployment.fixed_parameters}
    inherited = {name: value for name, value in earlier.parameters.items() if name not in left_out}
    secret_before = set(earlier.secret_parameters) - left_out
    _check_still_defined(deployment, inherited.keys() | secret_before)
    secret_now = secret_names(deployment.parameter_definitions) | set(deployment.job_secrets or ())
    needed = secret_before | (secret_now & inherited.keys())
    if earlier.source == "EXTERNAL":
        # Jenkins doesn't show which secrets a build had.
        needed |= secret_now
    missing = sorted(needed - given.keys() - deployment.fixed_parameters.keys())
    if missing:
        raise InvalidArgument(
            "parameters",
            f"{', '.join(missing)} must be given again: secrets of a run are not kept once it has settled",
            reason="SECRET_REQUIRED",
        )
    return {**inherited, **given}


def _check_still_defined(deployment: Runnable, names: Collection[str]) -> None:
    if deployment.job_kind in _OWNER_DECLARES:
        return  # The job in Jenkins decides: it is read before the trigger.
    undefined = sorted(set(names) - {one.name for one in deployment.parameter_definitions})
    if undefined:
        raise InvalidArgument(
            "from_run",
            f"was given {', '.join(undefined)}, which the deployment no longer defines. Run without from_run and give "
            "the parameters, or let a caller with role definer add it with UpdateDeployment (parameter_definitions)",
            reason="PARAMETER_NOT_DEFINED",
        )


def _secret(deployment: Runnable, values: Mapping[str, str]) -> frozenset[str]:
    """Return the names of the values that may not be shown."""
    defined = secret_names(deployment.parameter_definitions)
    if deployment.job_kind not in _OWNER_DECLARES:
        return defined
    if deployment.job_secrets is None:
        # Until the job was read, every parameter that its owner may define as a password is treated as one.
        plain = {one.name for one in deployment.parameter_definitions}
        return defined | (values.keys() - plain)
    return defined | frozenset(deployment.job_secrets)
