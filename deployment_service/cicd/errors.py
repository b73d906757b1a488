"""What can go wrong when a CI/CD provider is asked something.

The messages are for people: they say what to do, and hold no HTML, no secret and no internals.
Whoever catches one decides by its class alone.
"""

from __future__ import annotations


class ProviderError(Exception):
    """The provider did not do, or did not answer, what it was asked."""

    def __init__(self, message: str, *, http_status: int | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.http_status = http_status


class ProviderUnreachable(ProviderError):
    """Nothing is known: network, timeout, 5xx, a proxy's or a login page. Ask again later.

    It never means that the thing asked for doesn't exist.
    """


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
    ) -> None:
        super().__init__(message, http_status=http_status)
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
