"""What can go wrong when a CI/CD provider is asked something.

The messages are for people: they say what to do, and hold no HTML, no secret and no internals. A tenant reads them, so
they say nothing of the network either: that is in ``detail``, for operators, which is the exception's text as well.
The handler decides by the class alone; ``reason`` is for those who read about it.
"""

from __future__ import annotations

from deployment_service.domain.problems import ProblemReason


class ProviderError(Exception):
    """The provider did not do, or did not answer, what it was asked."""

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
    """Nothing is known: network, timeout, 5xx, a proxy's or a login page. Ask again later.

    It never means that the thing asked for doesn't exist. ``retry_after_s``: for how long the answer asks to be left
    alone, if it does.
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
    """401 or 403: the provider doesn't let our account do this. The message names account and
    permission.
    """

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
    """The folder in which a job was to be created doesn't exist, or our account can't see it."""


class DefinitionInvalid(ProviderError):
    """A job's definition can't become a job. Nothing was created; the same definition will fail
    again.
    """


class CreationFailed(ProviderError):
    """A job was not created, for no reason that was given: its definition may be at fault, or the moment.

    Ask again. Twice in a row, it is the definition.
    """


class BuildsWontStop(ProviderError):
    """A job was not deleted, because its builds don't end. Ask again later."""


class ProtocolError(ProviderError):
    """The provider answered 2xx with something that makes no sense. Probably not the provider that
    we know.
    """
