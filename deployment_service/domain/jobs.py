"""How far a CICD job has come, and why one can't be had. Pure."""

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
    """The column ``cicd_jobs.state``. DELETING belongs to no deployment any more."""

    CREATING = "CREATING"
    READY = "READY"
    FAILED = "FAILED"
    DELETING = "DELETING"


class JobOrigin(StrEnum):
    """Whether the job in Jenkins is ours (made, and to be deleted, by us) or was there before."""

    CREATED = "CREATED"
    ADOPTED = "ADOPTED"


class Correlation(StrEnum):
    """How surely runs are tied to builds: see ``Correlation`` in the API."""

    RUN_ID = "RUN_ID"
    QUEUE_ITEM = "QUEUE_ITEM"


class JobFault(StrEnum):
    """Why a job can't be had, for good: the reasons that CreateDeployment's errors give."""

    JOB_EXISTS = "JOB_EXISTS"
    JOB_NOT_FOUND = "JOB_NOT_FOUND"
    FOLDER_NOT_FOUND = "FOLDER_NOT_FOUND"
    PROVIDER_REFUSED = "PROVIDER_REFUSED"


@dataclass(frozen=True, slots=True)
class JobFailure:
    """Why a job is FAILED: the columns ``state_fault`` and ``state_message``."""

    fault: JobFault
    message: str

    def __str__(self) -> str:
        return f"{self.fault}: {self.message}"

    def error(self, full_name: str) -> ServiceError:
        """What the caller of CreateDeployment gets if it is known before the answer."""
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
