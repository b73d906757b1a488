"""Findings of a provider check: what was found, what it means, what to do next. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """The subject of a finding. The values of ``ProviderFinding.Kind`` in the API."""

    UNREACHABLE = "UNREACHABLE"
    UNAVAILABLE = "UNAVAILABLE"
    CERTIFICATE = "CERTIFICATE"
    REDIRECT = "REDIRECT"
    NOT_JENKINS = "NOT_JENKINS"
    NOT_ROOT = "NOT_ROOT"
    JENKINS = "JENKINS"
    JENKINS_URL = "JENKINS_URL"
    ACCOUNT = "ACCOUNT"
    PERMISSION = "PERMISSION"
    FOLDER = "FOLDER"
    READING = "READING"
    PLUGIN = "PLUGIN"
    SECRETS = "SECRETS"
    CLOCK = "CLOCK"
    WEBHOOKS = "WEBHOOKS"
    INCOMPLETE = "INCOMPLETE"


class Severity(StrEnum):
    """The severity of a finding."""

    ERROR = "ERROR"
    """A function of the provider does not work."""
    WARNING = "WARNING"
    """A function may not work, or works worse than it could."""
    INFO = "INFO"
    """In order, or impossible to determine."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One finding. ``field``: the setting that it concerns, such as ``base_url``; may be empty."""

    kind: Kind
    severity: Severity
    message: str
    field: str = ""
    settings_wrong: bool = False
    """Whether the finding proves the settings wrong, so that no change in Jenkins can help."""
