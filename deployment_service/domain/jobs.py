"""The states of a CICD job, and the reasons for which it cannot be provisioned. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from deployment_service.domain.errors import (
    AlreadyExists,
    FailedPrecondition,
    NotFound,
    ServiceError,
)


class JobState(StrEnum):
    """The values of ``cicd_jobs.state``. A job in state DELETING belongs to no deployment any longer."""

    CREATING = "CREATING"
    READY = "READY"
    FAILED = "FAILED"
    DELETING = "DELETING"


class JobOrigin(StrEnum):
    """The origin of a job: created by the service, which also deletes it, or adopted."""

    CREATED = "CREATED"
    ADOPTED = "ADOPTED"


class Correlation(StrEnum):
    """The method that correlates runs with builds: see ``Correlation`` in the API."""

    RUN_ID = "RUN_ID"
    QUEUE_ITEM = "QUEUE_ITEM"


class JobFault(StrEnum):
    """Permanent errors of provisioning a job. They are the reasons in the errors of CreateDeployment."""

    JOB_EXISTS = "JOB_EXISTS"
    JOB_NOT_FOUND = "JOB_NOT_FOUND"
    FOLDER_NOT_FOUND = "FOLDER_NOT_FOUND"
    PROVIDER_REFUSED = "PROVIDER_REFUSED"


@dataclass(frozen=True, slots=True)
class JobFailure:
    """The error of a job in state FAILED: the columns ``state_fault`` and ``state_message``."""

    fault: JobFault
    message: str

    def __str__(self) -> str:
        return f"{self.fault}: {self.message}"

    def error(self, full_name: str) -> ServiceError:
        """Return the error that CreateDeployment raises if the job fails before the answer."""
        match self.fault:
            case JobFault.JOB_EXISTS:
                return AlreadyExists("job", full_name, message=self.message)
            case JobFault.JOB_NOT_FOUND:
                return NotFound("job", full_name, message=self.message)
            case JobFault.FOLDER_NOT_FOUND:
                return NotFound("folder", full_name.rpartition("/")[0], message=self.message)
            case JobFault.PROVIDER_REFUSED:
                return FailedPrecondition(
                    "PROVIDER_REFUSED", self.message, metadata={"job": full_name}
                )
