"""What a Jenkins keeps: folders, jobs, builds and queue items."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from urllib.parse import quote
from xml.etree.ElementTree import Element

from jenkins_simulator.core.causes import Cause as Cause
from jenkins_simulator.core.causes import Upstream as Upstream
from jenkins_simulator.core.console import Console
from jenkins_simulator.core.jobxml import JobConfig, JobKind, parse_config, parse_xml
from jenkins_simulator.core.parameters import ParameterValue
from jenkins_simulator.core.saved_xml import rewrite


class Result(Enum):
    """Final results, worst last: a build's result only ever gets worse."""

    SUCCESS = 0
    UNSTABLE = 1
    FAILURE = 2
    NOT_BUILT = 3
    ABORTED = 4

    def worst(self, other: Result | None) -> Result:
        """The worse of the two."""
        return self if other is None or self.value >= other.value else other


class SecretTexts(dict[str, str]):
    """A store of secret texts by id, with their descriptions beside them."""

    def __init__(self, secrets: Mapping[str, str] | None = None) -> None:
        super().__init__(secrets or {})
        self.descriptions: dict[str, str] = {}


def encode_segment(name: str) -> str:
    """Percent-encode one path segment as Jenkins does in the URLs that it shows."""
    return quote(name, safe="!$&'()*+,=@").replace("~", "%7E")


@dataclass(eq=False)
class Item:
    """A folder or a job."""

    name: str
    parent: Folder | None
    xml: Element
    xml_version: str = "1.1"
    is_written_by_jenkins: bool = False
    """Whether Jenkins has written config.xml anew since it was posted."""
    config: JobConfig = field(init=False)

    def __post_init__(self) -> None:
        self.config = parse_config(self.xml)

    def update(self, xml: Element, xml_version: str) -> None:
        """Take a new config.xml; refused configurations never get here."""
        self.config = parse_config(xml)
        self.xml, self.xml_version = xml, xml_version
        self.is_written_by_jenkins = False

    def save(self) -> None:
        """Write config.xml anew as Jenkins does when anything but a posted file changes an item."""
        self.xml = rewrite(self.xml)
        self.config = parse_config(self.xml)
        self.is_written_by_jenkins = True

    @property
    def full_name(self) -> str:
        """Names from the root, joined with `/`."""
        above = self.parent.full_name if self.parent else ""
        return f"{above}/{self.name}" if above else self.name

    @property
    def display_name(self) -> str:
        """Free text for people; by default the name."""
        return self.config.display_name or self.name

    @property
    def full_display_name(self) -> str:
        """Display names from the root, joined with a guillemet."""
        above = self.parent.full_display_name if self.parent else ""
        return f"{above} » {self.display_name}" if above else self.display_name

    @property
    def url(self) -> str:
        """Relative to the root, with a trailing slash: `job/F/job/J/`."""
        if self.parent is None:
            return ""
        return f"{self.parent.url}job/{encode_segment(self.name)}/"


@dataclass(eq=False)
class Folder(Item):
    """A folder, a multibranch project (a folder that makes its own jobs), or the root."""

    items: dict[str, Item] = field(default_factory=dict)
    credentials: SecretTexts = field(default_factory=SecretTexts)
    """The folder's own store: jobs below it find these."""

    @classmethod
    def root(cls) -> Folder:
        """The invisible folder that contains everything."""
        return cls("", None, Element(JobKind.FOLDER.value))

    def find(self, name: str) -> Item | None:
        """The child of that name; names differing only in case are the same to Jenkins."""
        exact = self.items.get(name)
        if exact is not None:
            return exact
        return next((i for n, i in self.items.items() if n.lower() == name.lower()), None)

    def sorted_items(self) -> list[Item]:
        """Children in the order Jenkins lists them."""
        return [self.items[name] for name in sorted(self.items, key=lambda n: (n.lower(), n))]

    def jobs(self) -> Iterator[Job]:
        """Every job below, at any depth."""
        for item in self.items.values():
            if isinstance(item, Folder):
                yield from item.jobs()
            elif isinstance(item, Job):
                yield item


@dataclass(eq=False)
class Job(Item):
    """Something that can be built."""

    builds: dict[int, Build] = field(default_factory=dict)
    next_build_number: int = 1
    deleted: bool = False
    held_off_until_saved: bool = False
    """A copied job is not buildable before its configuration has been saved once."""
    branch: str | None = None
    """Set on the jobs of a multibranch project."""
    declared_parameters: frozenset[str] | None = None
    """What the Jenkinsfile declared when it last ran; None before it first did."""
    weather: tuple[int, tuple[int, int]] | None = None
    """How many recent builds failed, of how many, as it was when build N was the last that had ended."""

    @property
    def is_pipeline(self) -> bool:
        """Whether this runs on a flyweight executor."""
        return self.config.kind is JobKind.PIPELINE

    @property
    def is_buildable(self) -> bool:
        """Whether a trigger is accepted."""
        return not (self.config.disabled or self.deleted or self.held_off_until_saved)

    @property
    def display_name(self) -> str:
        """A branch job is shown by its branch."""
        return self.config.display_name or self.branch or self.name

    def builds_newest_first(self) -> list[Build]:
        """All builds that still exist."""
        return [self.builds[number] for number in sorted(self.builds, reverse=True)]

    def last_build(self) -> Build | None:
        """The newest build, running or not."""
        return self.builds[max(self.builds)] if self.builds else None

    def is_building(self) -> bool:
        """Whether a build is on an executor now."""
        return any(build.in_progress for build in self.builds.values())


def add_item(parent: Folder, name: str, xml: str) -> Item:
    """Make a folder or job of this config.xml. Raises BadXml."""
    root, version = parse_xml(xml)
    is_folder = root.tag in (JobKind.FOLDER.value, JobKind.MULTIBRANCH.value)
    item: Item = (Folder if is_folder else Job)(name, parent, root, version)
    parent.items[name] = item
    return item


class ItemState(Enum):
    """Where a queue item is; the value is Jenkins' class name."""

    WAITING = "hudson.model.Queue$WaitingItem"
    BLOCKED = "hudson.model.Queue$BlockedItem"
    BUILDABLE = "hudson.model.Queue$BuildableItem"
    LEFT = "hudson.model.Queue$LeftItem"


class Origin(Enum):
    """How a queue item came to be, for the ledger; Jenkins itself does not show it."""

    TRIGGER = "trigger"
    RETRY_PLUGIN = "retry plugin"
    REBUILD = "rebuild"


@dataclass(eq=False)
class QueueItem:
    """A request to build, from the trigger until five minutes after it left the queue."""

    id: int
    job: Job
    parameters: tuple[ParameterValue, ...] | None
    causes: list[Cause]
    entered_at: float
    due_at: float
    state: ItemState = ItemState.WAITING
    why: str | None = None
    blocked_by: Build | None = None
    buildable_since: float = 0.0
    left_at: float = 0.0
    cancelled: bool = False
    build: Build | None = None
    placeholder_of: Build | None = None
    """Set on the extra items that a Pipeline's `node` step puts in the queue."""
    granted: asyncio.Event = field(default_factory=asyncio.Event)
    has_build: asyncio.Event = field(default_factory=asyncio.Event)
    origin: Origin = Origin.TRIGGER
    retry_of: Build | None = None

    async def started(self) -> Build:
        """Wait for the build of this item."""
        await self.has_build.wait()
        assert self.build is not None
        return self.build


INPUT_PACKAGE = "org.jenkinsci.plugins.workflow.support.steps.input."


@dataclass(frozen=True)
class Interruption:
    """Why a build was interrupted."""

    text: str
    java_class: str
    details: tuple[tuple[str, object], ...] = ()
    result: Result = Result.ABORTED
    is_announced: bool = False
    """Whether the console has shown it already."""

    @classmethod
    def superseded(cls, by: str) -> Interruption:
        """Return the interruption by a newer build of a job that keeps only the newest."""
        java_class = (
            "org.jenkinsci.plugins.workflow.job.properties."
            "DisableConcurrentBuildsJobProperty$CancelledCause"
        )
        text = f"Superseded by {by}"
        return cls(text, java_class, result=Result.NOT_BUILT, is_announced=True)

    @classmethod
    def by(cls, user: str) -> Interruption:
        """Return the interruption by a user who stopped the build."""
        return cls(f"Aborted by {user}", "jenkins.model.CauseOfInterruption$UserInterruption")

    @classmethod
    def rejection(cls, user: str, at_ms: int) -> Interruption:
        """Return the interruption by a user who aborted at an `input` step."""
        details = (("timestamp", at_ms), ("user", user))
        return cls(f"Rejected by {user}", INPUT_PACKAGE + "Rejection", details)


@dataclass(frozen=True)
class Decision:
    """The answer of a user at an `input` step."""

    user: str
    proceeds: bool


@dataclass(eq=False)
class PendingInput:
    """An `input` step that waits."""

    id: str
    message: str
    ok: str
    decision: asyncio.Future[Decision]


@dataclass(eq=False)
class Build:
    """One execution of a job."""

    job: Job
    number: int
    queue_id: int
    parameters: tuple[ParameterValue, ...] | None
    causes: list[Cause]
    entered_queue_at: float
    started_at: float
    console: Console
    result: Result | None = None
    building: bool = True
    in_progress: bool = True
    flow_runs: bool = False
    """Whether a Pipeline's script runs: what Jenkins shows as `inProgress` of it."""
    on_executor: bool = True
    """A Pipeline that has ended still occupies its executor for a moment."""
    duration_ms: int = 0
    description: str | None = None
    keep_forever: bool = False
    estimated_ms: int = -1
    """How long it was expected to take when it began."""
    interruption: Interruption | None = None
    stopped_at: float | None = None
    waiting_for_input: PendingInput | None = None
    asked_for_input: bool = False
    read_environment: bool = False
    """Return whether a Pipeline's script has read `env`, which leaves an action."""
    sleeps_until: float | None = None
    approvers: list[str] = field(default_factory=list)
    artifacts: list[str] = field(default_factory=list)
    test_summary: dict[str, object] | None = None
    executor_number: int = 0
    origin: Origin = Origin.TRIGGER
    retry_of: Build | None = None
    task: asyncio.Task[None] | None = None
    abort: asyncio.Event = field(default_factory=asyncio.Event)
    killed: asyncio.Event = field(default_factory=asyncio.Event)
    released: asyncio.Future[Result] | None = None

    @property
    def display_name(self) -> str:
        """`#7`."""
        return f"#{self.number}"

    @property
    def url(self) -> str:
        """Relative to the root: `job/J/7/`."""
        return f"{self.job.url}{self.number}/"

    @property
    def is_first(self) -> bool:
        """Whether it is the first build of its job."""
        return self.number == 1

    @property
    def timestamp_ms(self) -> int:
        """When it began."""
        return int(self.started_at * 1000)

    def worsen(self, result: Result) -> None:
        """Set the result unless it is worse already."""
        self.result = result.worst(self.result)

    def parameter(self, name: str) -> str | None:
        """The value of one parameter as text, or None if the build has none of that name."""
        return next((p.text for p in self.parameters or () if p.name == name), None)


def upstream_of(build: Build, *, by_build_step: bool) -> Upstream:
    """Return the build as the cause of those that it starts."""
    job = build.job
    return Upstream(job.full_name, build.number, job.url, tuple(build.causes), by_build_step)
