"""Secret values of runs: decrypted for one attempt, and separated from other values as the job defines them."""

from __future__ import annotations

from dataclasses import replace

from deployment_service.cicd.port import JobView
from deployment_service.domain.job_parameters import is_secret, kind_name, secret_names
from deployment_service.domain.secret_values import pack, split, unpack
from deployment_service.domain.status import FailureCause
from deployment_service.runtime.secret_box import SecretBox
from deployment_service.storage.runs.dispatch import Claimed
from deployment_service.workers.dispatcher.steps import TriggerSteps

UNREADABLE = (
    FailureCause.TRIGGER_REJECTED,
    "The run's secret values can't be decrypted with the service's keys. Nothing was sent; run it again with them.",
)


class RunSecrets:
    """Decrypts and separates secret values. Only the returned ``Claimed`` holds them, for one attempt."""

    def __init__(self, box: SecretBox, steps: TriggerSteps) -> None:
        self._box = box
        self._steps = steps

    def decrypted(self, run: Claimed) -> Claimed:
        """Return the run with its secret values. Raises SecretUnreadableError."""
        if run.secret_values is None:
            return run
        secrets = unpack(self._box.decrypt(run.secret_values))
        return replace(run, parameters={**run.parameters, **secrets}, secrets=secrets)

    async def separated(self, run: Claimed, job: JobView) -> Claimed:
        """Return the run with all values secret that its job defines as password or credential. Raises LeaseLost.

        The job may have defined others when the run was committed: only this read counts.
        """
        of_job = secret_names(job.parameters)
        names = of_job | set(run.defined_secrets)
        values = split(run.parameters, names)
        unchanged = run.job_secrets is not None and of_job == set(run.job_secrets)
        if unchanged and set(run.secret_parameters) == values.secret.keys():
            return run
        sealed = self._box.encrypt(pack(values.secret)) if values.secret else None
        await self._steps.separate_secrets(run, values, sealed, job_secrets=of_job)
        return replace(run, secrets=values.secret, secret_parameters=sorted(values.secret))


def exposed_secret(run: Claimed, job: JobView) -> tuple[FailureCause, str] | None:
    """Refuse a run if Jenkins would show one of its secrets to every account that may read the job."""
    for parameter in job.parameters:
        if parameter.name in run.secrets and not is_secret(parameter.kind):
            return (
                FailureCause.JOB_PARAMETERS_MISMATCH,
                f"{parameter.name} is a SECRET of the deployment, but '{run.full_name}' defines it in Jenkins as "
                f"{kind_name(parameter.kind)}, whose values Jenkins shows. Make it a password parameter there.",
            )
    return None
