"""Findings of a check: what happened, what it means, what to do next. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """What a finding is about. The words of ``ProviderFinding.Kind`` in the API."""

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
    """How much a finding matters."""

    ERROR = "ERROR"
    """Something that the provider is for does not work."""
    WARNING = "WARNING"
    """Something may not work, or works worse than it could."""
    INFO = "INFO"
    """As it should be, or could not be found out."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One finding. ``field`` is the setting that it is about: `base_url`; may be empty."""

    kind: Kind
    severity: Severity
    message: str
    field: str = ""
    settings_wrong: bool = False
    """Whether it proves that the settings can't work, whatever changes in Jenkins."""
