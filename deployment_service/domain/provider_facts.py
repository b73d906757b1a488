"""The facts that a survey of a controller collected. Pure. ``provider_findings`` evaluates them.

A survey reads, and sends requests that Jenkins must reject. It changes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Place(StrEnum):
    """The kind of server or page that answers at a provider's URL."""

    ROOT = "ROOT"
    """The root of a Jenkins."""
    INSIDE = "INSIDE"
    """An object inside a Jenkins: a folder, a job, a view."""
    NO_SUCH_PAGE = "NO_SUCH_PAGE"
    """Jenkins answers that it has no such page, or hides it from the account."""
    NOT_JENKINS = "NOT_JENKINS"
    """A page, a login form or an error that does not come from Jenkins."""
    REDIRECT = "REDIRECT"
    """A redirect. The survey follows none."""
    UNTRUSTED = "UNTRUSTED"
    """A server with an untrusted certificate: nothing was sent to it."""
    REFUSED = "REFUSED"
    """Jenkins doesn't accept the credentials."""
    UNAVAILABLE = "UNAVAILABLE"
    """A temporary answer: Jenkins is starting, overloaded or broken, or a firewall rejects the request."""
    UNREACHABLE = "UNREACHABLE"
    """No answer."""


class Access(StrEnum):
    """Whether the account has a permission, as far as the survey can determine without using it."""

    GRANTED = "GRANTED"
    MISSING = "MISSING"
    UNKNOWN = "UNKNOWN"


@dataclass(frozen=True, slots=True)
class FolderFacts:
    """A folder as the account sees it. ``full_name`` is empty for the root."""

    full_name: str
    shown: Access = Access.UNKNOWN
    is_folder: bool = True
    """False if the name belongs to a job."""
    create: Access = Access.UNKNOWN
    sample_job: str = ""
    """The job on which ``build`` and ``configure`` were tested; empty if the folder shows none."""
    build: Access = Access.UNKNOWN
    configure: Access = Access.UNKNOWN
    problem: str = ""
    """Why the folder could not be read; empty if it could."""


@dataclass(frozen=True, slots=True)
class PluginFacts:
    """The Notification plugin. ``installed`` is None if neither the list of plugins nor a job's property shows it."""

    installed: bool | None = None
    version: str = ""


@dataclass(frozen=True, slots=True)
class ControllerFacts:
    """What a survey found at one URL with one account."""

    place: Place
    detail: str = ""
    """One sentence: the answer, and how its sender was identified."""
    network_detail: bool = False
    """Whether ``detail`` describes the network, which not every caller may see."""
    status: int | None = None
    suggested_url: str = ""
    """The probable URL of the root, if the answer shows it."""
    object_kind: str = "page"
    """The kind of an INSIDE answer: ``folder``, ``view``, ``job``, or another page."""
    by_front: bool = False
    """Whether a proxy or firewall in front of Jenkins answered."""
    version: str = ""
    account: str = ""
    """The account name in Jenkins' answer; empty if the answer has none."""
    anonymous: bool = False
    own_url: str | None = None
    """The URL in Jenkins' configuration; None if it has none, or the answer does not contain it."""
    security: bool | None = None
    """Whether Jenkins checks permissions; None if the answer does not contain it."""
    overall_read: Access = Access.UNKNOWN
    clock_offset_s: float | None = None
    """How many seconds Jenkins' clock is ahead of ours."""
    queue_problem: str | None = None
    """Why the queue cannot be read; empty if it can, None if it was not tested."""
    executors_problem: str | None = None
    plugin: PluginFacts = PluginFacts()
    secrets_view: Access = Access.UNKNOWN
    secrets_create: Access = Access.UNKNOWN
    folders: tuple[FolderFacts, ...] = ()
    complete: bool = True
    """False if the timeout expired before everything was tested."""
