"""Read and write config.xml: the supported elements, kept beside the original document."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from xml.etree import ElementTree
from xml.etree.ElementTree import Element
from xml.sax.saxutils import escape

from jenkins_simulator.core.parameters import ParameterDefinition, ParameterKind
from jenkins_simulator.core.saved_xml import decrypt

NOTIFICATION_PROPERTY = "com.tikal.hudson.plugins.notification.HudsonNotificationProperty"
_ENDPOINT = "com.tikal.hudson.plugins.notification.Endpoint"
_PARAMETERS_PROPERTY = "hudson.model.ParametersDefinitionProperty"
_DECLARATION = re.compile(r"^\s*<\?xml\b(.*?)\?>", re.S)
_DEFAULT_TIMEOUT_MS = 30_000


class BadXml(Exception):
    """Jenkins answers these with 500."""


class JobKind(Enum):
    """Kinds of item, by the root element of their config.xml."""

    FREESTYLE = "project"
    PIPELINE = "flow-definition"
    FOLDER = "com.cloudbees.hudson.plugins.folder.Folder"
    MULTIBRANCH = "org.jenkinsci.plugins.workflow.multibranch.WorkflowMultiBranchProject"


@dataclass(frozen=True)
class Endpoint:
    """One receiver of notifications; what config.xml leaves out is null, not the form's default."""

    protocol: str
    format: str
    url_or_id: str
    url_type: str
    event: str | None
    timeout_ms: int
    loglines: int
    notes: str | None
    retries: int
    branch: str | None


@dataclass(frozen=True)
class Builder:
    """A shell build step."""

    command: str
    unstable_return: int | None = None


@dataclass(frozen=True)
class JobConfig:
    """The content of a config.xml that the simulator uses."""

    kind: JobKind
    description: str | None = None
    display_name: str | None = None
    disabled: bool = False
    concurrent: bool = False
    abort_previous: bool = False
    """A newer build interrupts the older ones, and does not wait for them."""
    downstream: tuple[str, ...] = ()
    quiet_period_s: float | None = None
    auth_token: str | None = None
    parameters: tuple[ParameterDefinition, ...] | None = None
    endpoints: tuple[Endpoint, ...] | None = None
    properties: tuple[str, ...] = ()
    builders: tuple[Builder, ...] = ()
    artifacts: str | None = None
    junit: str | None = None
    script: str = ""
    builds_to_keep: int | None = None


def parse_xml(body: str) -> tuple[Element, str]:
    """The document and its declared XML version; raises BadXml."""
    declaration = _DECLARATION.match(body.lstrip("\ufeff"))
    version = "1.0"
    if declaration is not None:
        # XML 1.1, which Jenkins writes, is more than the parser of the standard library reads.
        version = "1.1" if "1.1" in declaration.group(1) else "1.0"
        body = body.lstrip("\ufeff")[declaration.end() :]
    try:
        root = ElementTree.fromstring(body)
    except ElementTree.ParseError as error:
        raise BadXml(f"Failed to persist config.xml: {error}") from error
    if root.tag not in {kind.value for kind in JobKind}:
        raise BadXml(f"Unable to read config.xml: {root.tag}")
    return root, version


def write_xml(root: Element, version: str) -> str:
    """The document as Jenkins gives it back."""
    return f'<?xml version="{version}" encoding="UTF-8"?>{_write(root)}'


def _write(element: Element) -> str:
    attributes = "".join(
        f' {name}="{escape(value, {chr(34): "&quot;"})}"' for name, value in element.items()
    )
    inner = escape(element.text or "") + "".join(_write(child) for child in element)
    tag = f"{element.tag}{attributes}"
    whole = f"<{tag}>{inner}</{element.tag}>" if inner else f"<{tag}/>"
    return whole + escape(element.tail or "")


def set_text(root: Element, name: str, text: str) -> None:
    """Set the text of a child, adding the child if need be."""
    child = root.find(name)
    if child is None:
        child = ElementTree.SubElement(root, name)
    child.text = text


def parse_config(root: Element) -> JobConfig:
    """Return the content of the document; unknown elements are kept in it and have no effect."""
    kind = JobKind(root.tag)
    properties = root.find("properties")
    found = [] if properties is None else list(properties)
    definition = root.find("definition")
    quiet_period = _number(root, "quietPeriod")
    one_at_a_time = [p for p in found if p.tag.endswith("DisableConcurrentBuildsJobProperty")]
    abort_previous = any(p.findtext("abortPrevious") == "true" for p in one_at_a_time)
    concurrent = (
        not one_at_a_time
        if kind is JobKind.PIPELINE
        else root.findtext("concurrentBuild") == "true"
    )
    return JobConfig(
        kind=kind,
        description=root.findtext("description"),
        display_name=root.findtext("displayName") or None,
        disabled=root.findtext("disabled") == "true",
        concurrent=concurrent,
        abort_previous=abort_previous,
        downstream=_downstream(root),
        quiet_period_s=None if quiet_period is None else float(quiet_period),
        auth_token=root.findtext("authToken") or None,
        parameters=_parameters(found),
        endpoints=_endpoints(found),
        properties=tuple(p.tag for p in found),
        builders=tuple(_builders(root)),
        artifacts=root.findtext("publishers/hudson.tasks.ArtifactArchiver/artifacts"),
        junit=root.findtext("publishers/hudson.tasks.junit.JUnitResultArchiver/testResults"),
        script="" if definition is None else definition.findtext("script") or "",
        builds_to_keep=_builds_to_keep(root, found),
    )


def _number(parent: Element, name: str) -> int | None:
    text = parent.findtext(name)
    return int(text) if text and re.fullmatch(r"-?\d+", text.strip()) else None


def _builds_to_keep(root: Element, properties: list[Element]) -> int | None:
    strategies = [root.find("logRotator")]
    strategies += [
        p.find("strategy") for p in properties if p.tag.endswith("BuildDiscarderProperty")
    ]
    for strategy in strategies:
        number = None if strategy is None else _number(strategy, "numToKeep")
        if number is not None and number > 0:
            return number
    return None


def _builders(root: Element) -> list[Builder]:
    return [
        Builder(shell.findtext("command") or "", _number(shell, "unstableReturn"))
        for shell in root.iterfind("builders/hudson.tasks.Shell")
    ]


def _downstream(root: Element) -> tuple[str, ...]:
    """The jobs that a freestyle job starts when it has succeeded."""
    names = root.findtext("publishers/hudson.tasks.BuildTrigger/childProjects") or ""
    return tuple(name.strip() for name in names.split(",") if name.strip())


def _parameters(properties: list[Element]) -> tuple[ParameterDefinition, ...] | None:
    for found in properties:
        if found.tag == _PARAMETERS_PROPERTY:
            listed = found.find("parameterDefinitions")
            definitions = [] if listed is None else [_definition(d) for d in listed]
            return tuple(d for d in definitions if d is not None)
    return None


def _definition(element: Element) -> ParameterDefinition | None:
    for kind in ParameterKind:
        if element.tag == kind.definition_class:
            choices = element.find("choices")
            listed = [] if choices is None else choices.iter("string")
            return ParameterDefinition(
                kind,
                name=element.findtext("name") or "",
                default=_default(kind, element),
                description=element.findtext("description"),
                choices=tuple(choice.text or "" for choice in listed),
                trim=element.findtext("trim") == "true",
                project=element.findtext("projectName") or "",
            )
    return None


def _default(kind: ParameterKind, element: Element) -> str:
    default = element.findtext("defaultValue") or ""
    return decrypt(default) if kind is ParameterKind.PASSWORD else default


def _endpoints(properties: list[Element]) -> tuple[Endpoint, ...] | None:
    for found in properties:
        if found.tag == NOTIFICATION_PROPERTY:
            return tuple(_endpoint(e) for e in found.iterfind(f"endpoints/{_ENDPOINT}"))
    return None


def _endpoint(element: Element) -> Endpoint:
    timeout_ms = _number(element, "timeout")
    return Endpoint(
        protocol=element.findtext("protocol") or "HTTP",
        format=element.findtext("format") or "JSON",
        url_or_id=element.findtext("urlInfo/urlOrId") or element.findtext("url") or "",
        url_type=element.findtext("urlInfo/urlType") or "PUBLIC",
        event=element.findtext("event"),
        timeout_ms=_DEFAULT_TIMEOUT_MS if timeout_ms is None else timeout_ms,
        loglines=_number(element, "loglines") or 0,
        notes=element.findtext("buildNotes"),
        retries=_number(element, "retries") or 0,
        branch=element.findtext("branch"),
    )


def replace_parameters(root: Element, definitions: tuple[ParameterDefinition, ...]) -> None:
    """Write the job's parameters anew, as a Jenkinsfile's `properties` step does."""
    properties = root.find("properties")
    if properties is None:
        properties = ElementTree.SubElement(root, "properties")
    for found in properties.findall(_PARAMETERS_PROPERTY):
        properties.remove(found)
    if not definitions:
        return
    parent = ElementTree.SubElement(properties, _PARAMETERS_PROPERTY)
    listed = ElementTree.SubElement(parent, "parameterDefinitions")
    for definition in definitions:
        element = ElementTree.SubElement(listed, definition.kind.definition_class)
        set_text(element, "name", definition.name)
        if definition.description is not None:
            set_text(element, "description", definition.description)
        if definition.kind is ParameterKind.CHOICE:
            choices = ElementTree.SubElement(
                element, "choices", {"class": "java.util.Arrays$ArrayList"}
            )
            array = ElementTree.SubElement(choices, "a", {"class": "string-array"})
            for choice in definition.choices:
                ElementTree.SubElement(array, "string").text = choice
        else:
            set_text(element, "defaultValue", definition.default)
