"""The port to a CI/CD provider, in the terms of Jenkins but without its protocol.

All results are frozen values, each read at one moment. `session` is a mark that changes whenever the controller
restarts (`X-Jenkins-Session`), or None where it sent none. Reads raise `errors.ProviderError`s; they return `None` or
False only if the provider itself answered that the object does not exist.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol

from deployment_service.domain.parameter_definitions import DeclaredParameter
from deployment_service.domain.provider_facts import ControllerFacts

RUN_ID_PARAMETER = "DEPLOYMENT_RUN_ID"
"""The parameter that names the run of a build, a queue item or a webhook."""


class TriggerOutcome(Enum):
    """What a reply to a trigger proves. The value is what logs and the database show."""

    ACCEPTED = "ACCEPTED"
    """201, 303: the build is queued as `queue_id`; None if the Location has no usable id.
    """
    REFUSED = "REFUSED"
    """302 back to the job: a decision handler of Jenkins refused the build. Nothing was queued."""
    REJECTED = "REJECTED"
    """Another 4xx: no such job, disabled, too large. Nothing was queued, and the same request would be refused again.
    """
    PROVIDER_FAULT = "PROVIDER_FAULT"
    """401, 403: our account lacks the right. Nothing was queued; an administrator must act."""
    NOT_DONE = "NOT_DONE"
    """Nothing was queued, and the same request may be taken later: a Jenkins that is starting, a limit of requests,
    or a refusal by something in front of Jenkins. `retry_after_s`: when, if the answer names a time."""
    SERVER_ERROR = "SERVER_ERROR"
    """500: a permanent failure (bad parameters) or a passing one; the status alone does not show which."""
    UNCLEAR = "UNCLEAR"
    """The request may or may not have been carried out."""
    NOT_SENT = "NOT_SENT"
    """No byte of the request was sent: it is safe to retry at once."""


class CancelOutcome(Enum):
    """The effect of a request to cancel a queue item."""

    CANCELLED = "CANCELLED"
    ALREADY_LEFT = "ALREADY_LEFT"
    """It became a build, or was cancelled before: read the item to find out which."""
    UNKNOWN = "UNKNOWN"
    """The provider has no such item, or no longer."""
    REFUSED = "REFUSED"
    """Our account may see the item but not cancel it."""


@dataclass(frozen=True, slots=True)
class TriggerReply:
    """How a trigger was answered."""

    outcome: TriggerOutcome
    http_status: int | None = None
    queue_id: str | None = None
    message: str = ""
    """What happened and what to do, for people."""
    detail: str = ""
    """What the network did instead of an answer. Only for operators' logs: it would show tenants which hosts exist."""
    required_permission: str | None = None
    """The permission that our account lacks, as Jenkins names it: `hudson.model.Item.Build`."""
    session: str | None = None
    retry_after_s: float | None = None


@dataclass(frozen=True, slots=True)
class ControllerInfo:
    """Which controller answers, and the account that it sees."""

    version: str | None
    account: str
    """`anonymous` if the controller does not recognise our account."""
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
    """Whether it runs several builds at a time; None where the class of job does not show it."""
    parameters: tuple[ParameterDefinition, ...]
    description: str
    owner: str | None
    """The owner mark in the description (see `job_xml`), None if there is none."""
    has_notification_property: bool
    discards_builds: bool
    """Whether it discards old builds: one may be deleted as soon as a newer one ends."""
    last_build_number: int | None
    session: str | None = None


@dataclass(frozen=True, slots=True)
class QueueItemView:
    """An item of the queue. It stays readable for five minutes after it left the queue."""

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
    """Also None right after it left, with `cancelled` False: read it again."""
    build_url: str | None = None
    stuck: bool = False
    blocked: bool = False
    session: str | None = None


@dataclass(frozen=True, slots=True)
class QueueView:
    """All waiting items, without those that have left."""

    items: tuple[QueueItemView, ...]
    session: str | None = None


@dataclass(frozen=True, slots=True)
class BuildCause:
    """One cause of a build's start. ``by_user``: a named account; ``user_id`` is empty otherwise.

    ``description``: the controller's text: `Started by timer`.
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
    """None where the controller does not show it; never -1 or 0."""
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
    """Also False right after its start, when the provider does not show it yet."""
    causes: tuple[BuildCause, ...] = ()
    """Why it was started, not why it was interrupted. Plugins copy them when they start a build again."""
    interruption: str = ""
    """The controller's reason for an interruption: `Superseded by #2`. Empty if there was none."""
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
    """The URL that a created job must call. ``secret_id``: of the secret text with the URL, if it is not in the job."""

    job_id: str
    key_id: str
    """The key that signed the token in the URL."""
    url: str = field(repr=False)
    secret_id: str = ""


@dataclass(frozen=True, slots=True)
class OwnState:
    """What a created job must contain.

    ``parameters``: those to declare again; None: none is missing. ``replace``: as in
    `declare_parameters`. ``webhook``: None if the job needs none.
    """

    owner: str
    parameters: Sequence[DeclaredParameter] | None
    replace: bool
    webhook: WebhookEndpoint | None


class CicdProvider(Protocol):
    """One controller, used with one account. Safe to use from many tasks of one event loop.

    Full names are as Jenkins shows them: folders separated by `/`, a branch by its encoded name
    (`shop/feature%2Flogin`). Every method raises `ProviderUnreachable`, `ProviderRefused` or `ProtocolError`, and ends
    within the implementation's timeout, unless its docstring differs.
    """

    async def ping(self) -> ControllerInfo:
        """Return which controller answers; proves that address, certificate and credentials are right."""
        ...

    async def survey(self, folders: Sequence[str], *, limit_s: float) -> ControllerFacts:
        """Find out what answers, and what our account may do in these folders (empty: the root).

        Changes nothing, and raises nothing for failures of the provider or the network. Returns within `limit_s`
        seconds, with the findings until then.
        """
        ...

    async def read_job(self, full_name: str) -> JobView | None:
        """Read a job; None: there is none, or our account cannot see it."""
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
        """Add our own parameter and these to the definitions of a job of ours.

        ``replace``: existing definitions of them get this kind, default and choices. Also raises `DefinitionInvalid`.
        Two changes of a job at the same time may lose one of them: read it again.
        """
        ...

    async def trimmed_parameters(self, full_name: str) -> Collection[str] | None:
        """Return the string parameters whose values Jenkins trims; None: our account may not read them.

        Only the job's configuration shows it, and reading that takes more rights than building.
        """
        ...

    async def set_webhook(self, full_name: str, endpoint: WebhookEndpoint) -> bool:
        """Rewrite the webhook of a job that we created. False: the job has none of ours."""
        ...

    async def has_webhook(self, full_name: str, job_id: str) -> bool | None:
        """Return whether a job has the webhook of a job of ours; None: our account may not read it."""
        ...

    async def lost_state(self, full_name: str, wanted: OwnState) -> Collection[str] | None:
        """Return the missing parts of ``wanted``, as text for people; None: our account may not read the job."""
        ...

    async def restore_state(self, full_name: str, wanted: OwnState) -> None:
        """Write the missing parts of ``wanted`` into a job of ours. Of two changes at once one may be lost."""
        ...

    async def has_secret(self, secret_id: str) -> bool | None:
        """Return whether a secret text has that id; None: our account may not read that. The text is never shown."""
        ...

    async def put_secret(self, secret_id: str, text: str) -> bool:
        """Store a secret text that jobs can use by its id; replaces one of that id.

        False: Jenkins has no store for it, or our account may not write there.
        """
        ...

    async def delete_secret(self, secret_id: str) -> None:
        """Delete a secret text, if it exists and our account may delete it."""
        ...

    async def delete_job(self, full_name: str) -> bool:
        """Delete a job with all its builds. False: there was none. Also raises `BuildsWontStop`.

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
        """Request one build, once. Raises nothing for failures of the provider or the network.

        `parameterised`: whether the job defines parameters; if not, `parameters` must be empty.
        When `timeout_s` seconds have passed the reply is UNCLEAR (NOT_SENT if nothing was sent).
        """
        ...

    async def read_queue_item(self, queue_id: str) -> QueueItemView | None:
        """Read a queue item; None: there is none, or it left more than five minutes ago."""
        ...

    async def list_queue(self) -> QueueView:
        """Read all waiting items."""
        ...

    async def list_running(self) -> RunningView:
        """Read the builds on all executors, in one call."""
        ...

    async def read_build(self, full_name: str, number: int) -> BuildView | None:
        """Read a build; None: there is no such build, or no such job."""
        ...

    async def list_builds(self, full_name: str, *, limit: int = 50) -> JobBuilds | None:
        """Read a job's newest builds, at most 100; None: there is no such job."""
        ...

    async def cancel_queue_item(self, queue_id: str) -> CancelOutcome:
        """Cancel a queue item."""
        ...

    async def stop_build(self, full_name: str, number: int) -> bool:
        """Request the stop of a build. False: there is no such build; True: requested, read it to confirm."""
        ...

    async def close(self) -> None:
        """Release threads, connections and files. Calls under way end with an error."""
        ...
