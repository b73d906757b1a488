"""What a survey of a controller found, without judging it. Pure: ``provider_findings`` judges.

A survey reads, and sends requests that Jenkins must refuse. It changes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Place(StrEnum):
    """What answers at a provider's URL."""

    ROOT = "ROOT"
    """The root of a Jenkins."""
    INSIDE = "INSIDE"
    """An object inside a Jenkins: a folder, a job, a view."""
    NO_SUCH_PAGE = "NO_SUCH_PAGE"
    """Jenkins itself answers that it has no such page, or hides it from the account."""
    NOT_JENKINS = "NOT_JENKINS"
    """A page, a login or an error that Jenkins doesn't send."""
    REDIRECT = "REDIRECT"
    """A redirect. None is ever followed."""
    UNTRUSTED = "UNTRUSTED"
    """A server whose certificate isn't trusted: nothing was sent to it."""
    REFUSED = "REFUSED"
    """Jenkins doesn't accept the credentials."""
    UNAVAILABLE = "UNAVAILABLE"
    """An answer of the moment: Jenkins is starting, overloaded or broken, or a firewall refuses."""
    UNREACHABLE = "UNREACHABLE"
    """No answer."""


class Access(StrEnum):
    """Whether the account may do something, as far as it can be found out without doing it."""

    GRANTED = "GRANTED"
    MISSING = "MISSING"
    UNKNOWN = "UNKNOWN"


@dataclass(frozen=True, slots=True)
class FolderFacts:
    """A folder as the account sees it; ``full_name`` is empty for the root."""

    full_name: str
    shown: Access = Access.UNKNOWN
    is_folder: bool = True
    """False: there is a job of that name."""
    create: Access = Access.UNKNOWN
    sample_job: str = ""
    """The job at which `build` and `configure` were tried; empty: the folder shows none."""
    build: Access = Access.UNKNOWN
    configure: Access = Access.UNKNOWN
    problem: str = ""
    """Why the folder could not be read, if it couldn't."""


@dataclass(frozen=True, slots=True)
class PluginFacts:
    """The Notification plugin. ``installed`` None: neither the plugins nor a job's property show it."""

    installed: bool | None = None
    version: str = ""


@dataclass(frozen=True, slots=True)
class ControllerFacts:
    """What a survey found at one URL with one account."""

    place: Place
    detail: str = ""
    """One sentence: what was answered, and how its author is known."""
    network_detail: bool = False
    """Whether `detail` describes the network, which not every caller may see."""
    status: int | None = None
    suggested_url: str = ""
    """Where the root seems to be, if the answer shows it."""
    object_kind: str = "page"
    """What an INSIDE answer is: `folder`, `view`, `job`, or another page."""
    by_front: bool = False
    """Whether something in front of Jenkins answered."""
    version: str = ""
    account: str = ""
    """The account as Jenkins names it; empty if the answer lacks it."""
    anonymous: bool = False
    own_url: str | None = None
    """The URL that Jenkins is configured with; None if it has none or the answer lacks it."""
    security: bool | None = None
    """Whether Jenkins checks permissions at all; None if the answer lacks it."""
    overall_read: Access = Access.UNKNOWN
    clock_offset_s: float | None = None
    """By how much the answer's clock is ahead of ours."""
    queue_problem: str | None = None
    """Why the queue can't be read; empty: it can; None: not tried."""
    executors_problem: str | None = None
    plugin: PluginFacts = PluginFacts()
    secrets_view: Access = Access.UNKNOWN
    secrets_create: Access = Access.UNKNOWN
    folders: tuple[FolderFacts, ...] = ()
    complete: bool = True
    """False: the time was up before everything was tried."""
