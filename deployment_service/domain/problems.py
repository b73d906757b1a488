"""Why Jenkins could not be observed, or could not carry out a request. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

EXTERNAL_RUNS_PER_HOUR = 1_000
"""Runs of one tenant that are made of builds which the service did not start."""

_MAX_CHARS = 500


class ProblemReason(StrEnum):
    """The class of a failure. The words of ``ObservationProblem.reason`` in the API."""

    UNREACHABLE = "UNREACHABLE"
    """No connection, or it broke before the answer."""
    SLOW = "SLOW"
    """No answer within the timeout."""
    STARTING = "STARTING"
    """A Jenkins that is starting answered: its refusals say nothing about rights."""
    OVERLOADED = "OVERLOADED"
    """429 or 503."""
    SERVER_ERROR = "SERVER_ERROR"
    """Another 5xx."""
    NOT_JENKINS = "NOT_JENKINS"
    """Something in front of Jenkins answered: a proxy, a firewall, a login page."""
    REFUSED = "REFUSED"
    """Jenkins does not accept the account's credentials."""
    PERMISSION_MISSING = "PERMISSION_MISSING"
    """Jenkins accepts the account and refuses what it asks for."""
    MALFORMED_ANSWER = "MALFORMED_ANSWER"
    """The answer is larger than allowed, or not what Jenkins sends."""
    JOB_NOT_SHOWN = "JOB_NOT_SHOWN"
    """Jenkins shows no such job: it was deleted, renamed, or hidden from the account."""


@dataclass(frozen=True, slots=True)
class Problem:
    """A failure of a call to Jenkins. ``message``: for operators, says what to do."""

    reason: ProblemReason
    message: str

    @classmethod
    def of(cls, reason: ProblemReason, message: str) -> Problem:
        """Return a problem with a message that can be stored: 1 to 500 characters."""
        text = message.replace("\x00", "").strip() or "No reason was given."
        return cls(reason, text if len(text) <= _MAX_CHARS else text[: _MAX_CHARS - 1] + "…")


@dataclass(frozen=True, slots=True)
class ObservationProblem:
    """A problem that lasts. ``reason`` is a plain text if a newer replica wrote a value that is not known here."""

    since: datetime
    reason: str
    message: str

    cancelling: bool = False
    """Whether a cancel request waits for its end."""

    def shown(self, *, in_full: bool) -> str:
        """Return the message for people. ``in_full``: for operators, with details of the network."""
        text = self.message if in_full else coarse_message(self.reason, self.message)
        return f"The run could not be cancelled yet. {text}" if self.cancelling else text


TOO_MANY_EXTERNAL_RUNS = Problem.of(
    ProblemReason.MALFORMED_ANSWER,
    f"Jenkins shows more builds that were not started by the service than it records in an hour "
    f"({EXTERNAL_RUNS_PER_HOUR:,} for all jobs of a tenant). The others become runs later, as long as they are among "
    "the last 50 builds of the job. Look for what starts so many.",
)
_COARSE = {
    ProblemReason.UNREACHABLE: "Jenkins can't be reached. Nothing is lost: its builds go on, and reading is retried. "
    "If it lasts, tell the operators of the deployment service.",
    ProblemReason.SLOW: "Reading Jenkins takes too long: it does not answer in time. It is retried. If it lasts, tell "
    "the operators of the deployment service.",
    ProblemReason.STARTING: "Jenkins is starting. Wait until it is up; reading is retried.",
    ProblemReason.OVERLOADED: "Jenkins, or a proxy in front of it, is overloaded or not up. Reading is retried.",
    ProblemReason.SERVER_ERROR: "Jenkins answers with an internal error. Its log says why; reading is retried.",
    ProblemReason.NOT_JENKINS: "Something in front of Jenkins answers in its place: a proxy, a firewall or a login "
    "page. Tell the operators of the deployment service.",
    ProblemReason.MALFORMED_ANSWER: "Jenkins' answer can't be used. Tell the operators of the deployment service.",
}


def coarse_message(reason: str, message: str) -> str:
    """Return what a tenant may read of a problem: nothing of the network between the service and Jenkins.

    A tenant chooses the address of its provider, and details would show what answers where in the operators' network.
    What Jenkins itself says of accounts, permissions and jobs stays as it is.
    """
    if message == TOO_MANY_EXTERNAL_RUNS.message:
        return message
    try:
        return _COARSE.get(ProblemReason(reason), message)
    except ValueError:
        return "Jenkins can't be observed."
