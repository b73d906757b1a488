"""Reports as the gateway forwards them, and their validation. Pure."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from deployment_service.domain.attribution import BuildRef, Observation, Verdict
from deployment_service.domain.names import TenantName
from deployment_service.domain.queue_ids import parse_queue_id
from deployment_service.domain.status import (
    Authority,
    DeploymentStatus,
    from_phase,
    from_status_text,
)

MAX_REPORTS = 1000
MAX_DELIVERY_ID = 64
_MAX_NUMBER = 2**31 - 1


class Phase(StrEnum):
    UNSPECIFIED = ""
    QUEUED = "QUEUED"
    STARTED = "STARTED"
    COMPLETED = "COMPLETED"
    FINALIZED = "FINALIZED"


class ReportSource(StrEnum):
    UNSPECIFIED = ""
    GUIDE = "GUIDE"
    NOTIFICATION_PLUGIN = "NOTIFICATION_PLUGIN"


class Proof(StrEnum):
    """How the gateway authenticated the sender of a report."""

    TOKEN = "TOKEN"  # noqa: S105 - an enum value, not a token
    SIGNATURE = "SIGNATURE"


@dataclass(frozen=True, slots=True)
class BuildReport:
    """A report about a build, as the gateway sent it. Nothing in it is validated yet."""

    tenant: str
    cicd_job_id: str
    build_number: int
    status: str
    phase: Phase
    source: ReportSource
    run_id: str = ""
    parameters_known: bool = False
    queue_id: str = ""
    job_path: str = ""
    sender_timestamp_ms: int = 0
    receive_time: datetime | None = None
    parameters: Mapping[str, str] = field(default_factory=dict)
    proof: Proof = Proof.TOKEN
    key_id: str = ""
    delivery_id: str = ""
    test: bool = False
    gateway_key_id: uuid.UUID | None = None
    """The API key of the gateway that verified the sender."""

    def is_trusted(self, observation: Observation, *, token_exposed: bool) -> bool:
        """Return whether the report may be applied without a read from Jenkins.

        An end that is authenticated by an exposed token is not trusted: every reader of Jenkins' console has the token.
        """
        return self.proof is Proof.SIGNATURE or not (token_exposed and observation.state.final)


@dataclass(frozen=True, slots=True)
class RefreshRequest:
    """A request to read a job soon."""

    tenant: str
    cicd_job_id: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class ReportResult:
    """The result of a report. ``deployment`` is a resource name; empty if the report concerns no deployment."""

    verdict: Verdict
    deployment: str = ""
    old_status: DeploymentStatus | None = None
    status: DeploymentStatus | None = None
    message: str = ""


class InvalidReport(ValueError):
    """A report is invalid. The text is the reason."""


def checked(report: BuildReport) -> tuple[TenantName, Observation]:
    """Validate a report; return its tenant and observation.

    Raises:
        InvalidReport: a field is missing or malformed.
    """
    try:
        tenant = TenantName.parse(report.tenant, field="tenant")
    except Exception as error:
        raise InvalidReport(str(error)) from None
    run_id = _uuid(report.run_id)
    if report.run_id and run_id is None:
        raise InvalidReport("run_id is not a UUID")
    if not 1 <= report.build_number <= _MAX_NUMBER and not report.test:
        raise InvalidReport("build_number must be between 1 and 2147483647")
    if len(report.delivery_id) > MAX_DELIVERY_ID:
        raise InvalidReport(f"delivery_id has more than {MAX_DELIVERY_ID} characters")
    if report.source is ReportSource.UNSPECIFIED:
        raise InvalidReport("source is required")
    texts = (
        report.status,
        report.job_path,
        report.key_id,
        report.delivery_id,
        *report.parameters,
        *report.parameters.values(),
    )
    if any("\0" in text for text in texts):
        raise InvalidReport("a text contains a NUL character")
    build_ref = BuildRef(
        report.build_number,
        run_id,
        report.parameters_known,
        parse_queue_id(report.queue_id),
        report.parameters if report.parameters_known else None,
        by_token=report.proof is Proof.TOKEN,
    )
    if report.source is ReportSource.GUIDE:
        state = from_status_text(report.status, Authority.STEP)
    else:
        state = from_phase(report.phase, report.status)
    status_text = report.status or report.phase
    return tenant, Observation(
        job_id(report.cicd_job_id), build_ref, state, status_text[:200], job_path=report.job_path
    )


def job_id(text: str) -> uuid.UUID:
    """Return the id of a job.

    Raises:
        InvalidReport: the text is not a UUID.
    """
    value = _uuid(text)
    if value is None:
        raise InvalidReport("cicd_job_id is not a UUID")
    return value


def _uuid(text: str) -> uuid.UUID | None:
    try:
        value = uuid.UUID(text)
    except ValueError:
        return None
    return value if str(value) == text.lower() else None
