"""Errors of calls to a CI/CD provider.

Tenants read the messages: they name the remedy, and contain no HTML, no secret and nothing about our network. That is
in ``detail``, for operators, which is also the exception's text. Handlers decide by the class alone; ``reason`` is
shown to people.
"""

from __future__ import annotations

from deployment_service.domain.problems import ProblemReason


class ProviderError(Exception):
    """The provider did not answer a call, or did not do what it requested."""

    def __init__(
        self,
        message: str,
        *,
        http_status: int | None = None,
        reason: ProblemReason = ProblemReason.MALFORMED_ANSWER,
        detail: str = "",
    ) -> None:
        super().__init__(detail or message)
        self.message = message
        self.detail = detail or message
        self.http_status = http_status
        self.reason = reason


class ProviderUnreachable(ProviderError):
    """No answer of the provider: network, timeout, 5xx, a page of a proxy or of a login. Retry later.

    It never means that the object does not exist. ``retry_after_s``: the pause that the answer asks for, if any.
    """

    def __init__(
        self,
        message: str,
        *,
        http_status: int | None = None,
        reason: ProblemReason = ProblemReason.UNREACHABLE,
        retry_after_s: float | None = None,
        detail: str = "",
    ) -> None:
        super().__init__(message, http_status=http_status, reason=reason, detail=detail)
        self.retry_after_s = retry_after_s


class ProviderRefused(ProviderError):
    """401 or 403: our account lacks the right. The message names account and permission."""

    def __init__(
        self,
        message: str,
        *,
        http_status: int | None = None,
        account: str | None = None,
        required_permission: str | None = None,
        reason: ProblemReason = ProblemReason.REFUSED,
    ) -> None:
        super().__init__(message, http_status=http_status, reason=reason)
        self.account = account
        self.required_permission = required_permission


class JobExists(ProviderError):
    """A job of that name exists already; names that differ only in case are the same."""


class FolderMissing(ProviderError):
    """The folder of a job to create does not exist, or our account cannot see it."""


class DefinitionInvalid(ProviderError):
    """A job's definition is invalid. Nothing was created; the same definition will fail again."""


class CreationFailed(ProviderError):
    """A job was not created, without a reason: the definition may be invalid, or the failure may pass.

    Retry once; a second failure means that the definition is invalid.
    """


class BuildsWontStop(ProviderError):
    """A job was not deleted, because its builds do not end. Retry later."""


class ProtocolError(ProviderError):
    """The provider answered 2xx with content that we cannot parse. It is probably not Jenkins."""
