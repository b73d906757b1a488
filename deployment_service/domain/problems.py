"""Why Jenkins could not be observed, or could not carry out a request. Pure."""

from __future__ import annotations

from enum import StrEnum


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
