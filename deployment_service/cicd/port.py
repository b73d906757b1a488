"""What we need from a CI/CD provider, in the terms of Jenkins but without a line of its protocol.

Everything that a provider tells us is a frozen value; all of it is one moment's reading. `session`
is a mark that changes whenever the controller restarts (`X-Jenkins-Session`), or None where it
didn't send one. Reads raise `errors.ProviderError`s; `None` or False are returned only if the
provider itself said that the thing doesn't exist.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol

from deployment_service.domain.parameter_definitions import DeclaredParameter
from deployment_service.domain.provider_facts import ControllerFacts

RUN_ID_PARAMETER = "DEPLOYMENT_RUN_ID"
"""The parameter by which a build, a queue item or a webhook says which run it belongs to."""


class TriggerOutcome(Enum):
    """What a reply to a trigger proves. The value is what logs and the database show."""

    ACCEPTED = "ACCEPTED"
    """201, 303: the work is queued; `queue_id` says where, unless the Location holds none that can be used.
    """
    REFUSED = "REFUSED"
    """302 back to the job: a decision handler of Jenkins doesn't want it. Nothing was queued."""
    REJECTED = "REJECTED"
    """Another 4xx: no such job, disabled, too large. Nothing was queued, and the same request would be refused again.
    """
    PROVIDER_FAULT = "PROVIDER_FAULT"
    """401, 403: our account may not. Nothing was queued; an administrator must act."""
    NOT_DONE = "NOT_DONE"
    """Nothing was queued, and the same request may be taken later: a Jenkins that is starting, a limit of requests,
    or a refusal by something in front of Jenkins. `retry_after_s` says when, if the answer does."""
    SERVER_ERROR = "SERVER_ERROR"
    """500: permanent (bad parameters) or a passing failure; the status alone doesn't tell."""
    UNCLEAR = "UNCLEAR"
    """The request may or may not have been carried out."""
    NOT_SENT = "NOT_SENT"
    """No byte of the request left this machine: it is safe to try again at once."""


class CancelOutcome(Enum):
    """What became of the wish to take an item out of the queue."""

    CANCELLED = "CANCELLED"
    ALREADY_LEFT = "ALREADY_LEFT"
    """It became a build, or was cancelled before. Read the item to learn which."""
    UNKNOWN = "UNKNOWN"
    """The provider knows no such item (any more)."""
    REFUSED = "REFUSED"
    """Our account may see the item but not cancel it."""


@dataclass(frozen=True, slots=True)
class TriggerReply:
    """How a trigger was answered."""

    outcome: TriggerOutcome
    http_status: int | None = None
    queue_id: str | None = None
    message: str = ""
    """For people: what happened and what to do."""
    detail: str = ""
    """What the network did instead of an answer: for operators' logs, as tenants could learn from it what is where."""
    required_permission: str | None = None
    """The permission that our account lacks, as Jenkins names it: `hudson.model.Item.Build`."""
    session: str | None = None
    retry_after_s: float | None = None


@dataclass(frozen=True, slots=True)
class ControllerInfo:
    """Who answers, and as whom we are known there."""

    version: str | None
    account: str
    """`anonymous` if the controller doesn't know us."""
    session: str | None = None


@dataclass(frozen=True, slots=True)
class ParameterDefinition:
    """A parameter that a job defines."""

    name: str
    kind: str
    """The definition's class without its package: `StringParameterDefinition`."""
    default: str | None = None
    choices: tuple[str, ...] = ()
    description: str = ""


@dataclass(frozen=True, slots=True)
class JobView:
    """A job as it is now."""

    full_name: str
    url: str
    job_class: str
    """With its package: `hudson.model.FreeStyleProject`."""
    buildable: bool
    next_build_number: int
    in_queue: bool
    concurrent: bool | None
    """Whether it builds several at a time; None where the class of job doesn't say."""
    parameters: tuple[ParameterDefinition, ...]
    description: str
    owner: str | None
    """The owner mark in the description (see `job_xml`), None if there is none."""
    has_notification_property: bool
    discards_builds: bool
    """Whether it discards old builds: one may be gone as soon as a newer one ends."""
    last_build_number: int | None
    session: str | None = None


@dataclass(frozen=True, slots=True)
class QueueItemView:
    """An item of the queue, or what is left of it: readable for five minutes after it left."""

    queue_id: str
    task_url: str
    job_full_name: str | None
    """Derived from `task_url`; None if that isn't a job's (a Pipeline puts extra items in the
    queue).
    """
    parameters: Mapping[str, str] = field(default_factory=dict)
    why: str | None = None
    """For people, in the controller's language."""
    left: bool = False
    cancelled: bool = False
    build_number: int | None = None
    """None right after leaving, too, with `cancelled` False: ask again."""
    build_url: str | None = None
    stuck: bool = False
    blocked: bool = False
    session: str | None = None


@dataclass(frozen=True, slots=True)
class QueueView:
    """All items that wait; those that left are not in it."""

    items: tuple[QueueItemView, ...]
    session: str | None = None


@dataclass(frozen=True, slots=True)
class BuildCause:
    """One cause of a build's start. ``by_user``: a named account; ``user_id`` is empty otherwise.

    ``description``: the cause in the controller's words: `Started by timer`.
    """

    by_user: bool
    user_id: str = ""
    description: str = ""


@dataclass(frozen=True, slots=True)
class BuildView:
    """A build as it is now."""

    job_full_name: str
    number: int
    queue_id: str | None
    """None where the controller doesn't say; never -1 or 0."""
    building: bool
    in_progress: bool | None
    """None in old versions. True after `building` fell: the build isn't saved yet and its result
    may worsen.
    """
    result: str | None
    """`SUCCESS`, `UNSTABLE`, … A Pipeline may have one while it is building."""
    timestamp_ms: int | None
    """When it started: ms since 1970 by the controller's clock, which is not ours."""
    duration_ms: int | None
    """0 while it is building."""
    parameters: Mapping[str, str] = field(default_factory=dict)
    parameters_shown: bool = True
    """False if the answer had to be read without them, as they are too large."""
    waiting_for_input: bool = False
    """Also False while the provider can't say: right after its start."""
    causes: tuple[BuildCause, ...] = ()
    """Why it was started, not why it was interrupted. Plugins copy them when they start a build again."""
    interruption: str = ""
    """Why it was interrupted, as the controller words it: `Superseded by #2`. Empty if it was not."""
    session: str | None = None

    @property
    def finished(self) -> bool:
        """Whether `result` is final: not building, and not known to be still in progress."""
        return not self.building and self.in_progress is not True


@dataclass(frozen=True, slots=True)
class RunningView:
    """All builds that occupy an executor, of all folders; at most once each."""

    builds: tuple[BuildView, ...]
    """From the executors' point of view: `building` is true, and result, times and causes may be
    missing.
    """
    session: str | None = None


@dataclass(frozen=True, slots=True)
class JobBuilds:
    """The newest builds of a job, highest number first."""

    job_full_name: str
    next_build_number: int
    builds: tuple[BuildView, ...]
    session: str | None = None


@dataclass(frozen=True, slots=True)
class WebhookEndpoint:
    """What a job that we create must call. ``secret_id``: where the URL is kept, if it isn't in the job itself."""

    job_id: str
    key_id: str
    """With which of our keys the token in the URL was made."""
    url: str = field(repr=False)
    secret_id: str = ""


@dataclass(frozen=True, slots=True)
class OwnState:
    """What we keep in a job that we created.

    ``parameters``: to be declared again, as they are missing; None: they are there. ``replace``: as in
    `declare_parameters`. ``webhook``: None if the job needs none.
    """

    owner: str
    parameters: Sequence[DeclaredParameter] | None
    replace: bool
    webhook: WebhookEndpoint | None


class CicdProvider(Protocol):
    """One controller, seen through one account. Safe to use from many tasks of one event loop.

    Full names are as Jenkins shows them: folders separated by `/`, a branch by its encoded name
    (`shop/feature%2Flogin`). Unless a method says otherwise it raises `ProviderUnreachable`,
    `ProviderRefused` or `ProtocolError`, and ends within the implementation's timeout.
    """

    async def ping(self) -> ControllerInfo:
        """Say who answers; proves that address, certificate and credentials are right."""
        ...

    async def survey(self, folders: Sequence[str], *, limit_s: float) -> ControllerFacts:
        """Find out what answers, and what our account may do in these folders (empty: the root).

        Changes nothing there, and never raises for anything that the provider or the network does. Ends within
        `limit_s` seconds, with what was found until then.
        """
        ...

    async def read_job(self, full_name: str) -> JobView | None:
        """Read a job; None: there is none, or our account can't see it."""
        ...

    async def create_job(self, full_name: str, config_xml: str) -> None:
        """Create a job. Also raises `JobExists`, `FolderMissing`, `DefinitionInvalid` and `CreationFailed`.

        After `ProviderUnreachable` the job may exist: read it before trying again.
        """
        ...

    async def declare_parameters(
        self,
        full_name: str,
        owner: str,
        parameters: Sequence[DeclaredParameter],
        *,
        replace: bool,
    ) -> None:
        """Let a job of ours define our own parameter and these as well, beside those that it has.

        ``replace``: what it has of them gets this kind, default and choices. Also raises `DefinitionInvalid`.
        Two changes of a job at the same time may lose one of them: read it again.
        """
        ...

    async def trimmed_parameters(self, full_name: str) -> Collection[str] | None:
        """Return the names of the string parameters whose values Jenkins trims; None: we may not know.

        Only a job's configuration says so, which takes more rights than building it.
        """
        ...

    async def set_webhook(self, full_name: str, endpoint: WebhookEndpoint) -> bool:
        """Rewrite the webhook of a job that we created. False: it has none of ours (any more)."""
        ...

    async def has_webhook(self, full_name: str, job_id: str) -> bool | None:
        """Return whether a job has the webhook of a job of ours; None: we may not know."""
        ...

    async def lost_state(self, full_name: str, wanted: OwnState) -> Collection[str] | None:
        """Return what a job of ours has lost of it, in words for people; None: we may not know."""
        ...

    async def restore_state(self, full_name: str, wanted: OwnState) -> None:
        """Write into a job of ours what it has lost. Two changes at the same time may lose one of them."""
        ...

    async def has_secret(self, secret_id: str) -> bool | None:
        """Return whether a text is kept under that id; None: we may not know. What it is, is never shown."""
        ...

    async def put_secret(self, secret_id: str, text: str) -> bool:
        """Keep a text where jobs can use it by its id and nobody reads it; replaces one of that id.

        False: there is no such place, or our account may not put anything there.
        """
        ...

    async def delete_secret(self, secret_id: str) -> None:
        """Remove such a text, if it is there and we may."""
        ...

    async def delete_job(self, full_name: str) -> bool:
        """Delete a job with all its builds. False: it was gone already. Also raises `BuildsWontStop`.

        Takes up to half a minute while builds of it end.
        """
        ...

    async def trigger(
        self,
        full_name: str,
        parameters: Mapping[str, str],
        *,
        parameterised: bool,
        timeout_s: float,
    ) -> TriggerReply:
        """Ask for one build, once. Never raises for anything that the provider or the network does.

        `parameterised` says whether the job defines parameters; if not, `parameters` must be empty.
        When `timeout_s` seconds have passed the reply is UNCLEAR (NOT_SENT if nothing was sent).
        """
        ...

    async def read_queue_item(self, queue_id: str) -> QueueItemView | None:
        """Read an item; None: unknown, or it left more than five minutes ago."""
        ...

    async def list_queue(self) -> QueueView:
        """Read all that waits."""
        ...

    async def list_running(self) -> RunningView:
        """Read what every executor does, in one call."""
        ...

    async def read_build(self, full_name: str, number: int) -> BuildView | None:
        """Read a build; None: there is no such build, or no such job."""
        ...

    async def list_builds(self, full_name: str, *, limit: int = 50) -> JobBuilds | None:
        """Read a job's newest builds, at most 100; None: there is no such job."""
        ...

    async def cancel_queue_item(self, queue_id: str) -> CancelOutcome:
        """Take an item out of the queue."""
        ...

    async def stop_build(self, full_name: str, number: int) -> bool:
        """Ask for a build to be stopped. False: there is none; True: asked, confirm by reading."""
        ...

    async def close(self) -> None:
        """Let go of threads, connections and files. Calls still under way end with an error."""
        ...
