"""The config.xml of the jobs that we create.

Each declares the parameters that its runs get (Jenkins drops undeclared ones silently), carries our
owner mark in its description, and calls our webhook in every phase of its builds, so that nobody
has to set that up.

Jenkins folds a new queue item into one that waits with the same parameters. Ours never fold: each
run has a DEPLOYMENT_RUN_ID of its own. So our jobs need no quiet period, whose purpose is to let
items fold.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from xml.parsers.expat import errors as expat_errors

import defusedxml
import defusedxml.ElementTree

from .errors import DefinitionInvalid
from .port import RUN_ID_PARAMETER, WebhookEndpoint

MAX_CONFIG_XML_CHARS = 1_000_000

_OWNER_MARK = "Managed by the deployment service; do not edit. owner="
_OWNER = re.compile(
    re.escape(_OWNER_MARK) + r"([0-9A-Za-z-]{1,64})(?: webhook=(SECRET|PUBLIC):([a-z0-9]{1,32}))?"
)
# What XML 1.0 can't express, not even escaped (https://www.w3.org/TR/xml/#charsets).
_ILLEGAL = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
# Jenkins writes `version='1.1'`, which no parser in the standard library reads.
_VERSION_1_1 = re.compile(r"^(\s*<\?xml\s+version\s*=\s*)(['\"])1\.1\2")
_BAD_REFERENCE = expat_errors.codes[expat_errors.XML_ERROR_BAD_CHAR_REF]
_IN_JENKINS = "The job's config.xml in Jenkins"
_BUILDABLE_ROOTS = ("project", "flow-definition", "matrix-project", "maven2-moduleset")
_PARAMETERS = "hudson.model.ParametersDefinitionProperty"
_STRING_PARAMETER = "hudson.model.StringParameterDefinition"
_NOTIFICATION = "com.tikal.hudson.plugins.notification.HudsonNotificationProperty"
_ENDPOINT = "com.tikal.hudson.plugins.notification.Endpoint"
_NO_CONCURRENT = "org.jenkinsci.plugins.workflow.job.properties.DisableConcurrentBuildsJobProperty"


class JobKind(Enum):
    """What a job is made from."""

    FREESTYLE_SHELL = "FREESTYLE_SHELL"
    PIPELINE_SCRIPT = "PIPELINE_SCRIPT"
    PIPELINE_SCM = "PIPELINE_SCM"
    CONFIG_XML = "CONFIG_XML"


@dataclass(frozen=True, slots=True)
class ScmSource:
    """Where a Pipeline's Jenkinsfile is. Empty fields stand for the defaults."""

    url: str
    branch: str = ""
    """Default: `main`."""
    script_path: str = ""
    """Default: `Jenkinsfile`."""
    credentials_id: str = ""


@dataclass(frozen=True, slots=True)
class JobSpec:
    """What a job is to do. Of the fields after `kind`, the one that it names is used."""

    kind: JobKind
    freestyle_shell: str = ""
    pipeline_script: str = ""
    scm: ScmSource | None = None
    config_xml: str = ""


def render_job_xml(
    spec: JobSpec, *, owner: str, parameters: Mapping[str, str], webhook: WebhookEndpoint | None
) -> str:
    """Return the config.xml of a job.

    `owner` is what `parse_owner` will find again: letters, digits and dashes, such as a UUID.
    `parameters` are declared with their values as defaults. Without a `webhook` the job gets no
    endpoint. Raises `DefinitionInvalid`, whose message names the field at fault.
    """
    if not re.fullmatch(r"[0-9A-Za-z-]{1,64}", owner):
        raise ValueError("owner must be 1-64 letters, digits or dashes")
    if RUN_ID_PARAMETER in parameters:
        raise DefinitionInvalid(f"The parameter {RUN_ID_PARAMETER} is reserved; leave it out.")
    root = _ROOTS[spec.kind](spec)
    _mark(root, owner, webhook)
    properties = _child(root, "properties")
    _declare(properties, {RUN_ID_PARAMETER: "", **parameters})
    if webhook:
        _legal("webhook_base_url", webhook.url)
        _notify(properties, webhook)
    return _text(root)


def with_webhook(config_xml: str, webhook: WebhookEndpoint) -> str | None:
    """Return a job's config.xml with our endpoint as it now must be; None if it isn't there any more."""
    root = _parse(config_xml, _IN_JENKINS)
    owner = parse_owner(root.findtext("description"))
    ours = [one for one in root.iter(_ENDPOINT) if _is_of_job(one, webhook.job_id)]
    if owner is None or not ours:
        return None
    _mark(root, owner, webhook)
    for endpoint in ours:
        _address(_child(endpoint, "urlInfo"), webhook)
    return _text(root)


def with_parameters(config_xml: str, names: Iterable[str]) -> str:
    """Return a job's config.xml with these parameters declared as well; all else stays as it is."""
    root = _parse(config_xml, _IN_JENKINS)
    _declare(_child(root, "properties"), dict.fromkeys(names, ""))
    return _text(root)


def trimmed_names(config_xml: str) -> frozenset[str]:
    """Return the names of the string parameters whose values Jenkins trims. Raises DefinitionInvalid."""
    root = _parse(config_xml, _IN_JENKINS)
    return frozenset(
        one.findtext("name") or ""
        for one in root.iter(_STRING_PARAMETER)
        if one.findtext("trim") == "true"
    )


def parse_owner(description: str | None) -> str | None:
    """Return the owner that the mark in a job's description names, None if it has no mark."""
    match = _OWNER.search(description or "")
    return match.group(1) if match else None


def parse_webhook(description: str | None) -> tuple[bool, str] | None:
    """Return whether the job's endpoint hides its URL, and the key in it, as the mark says; None if it says nothing."""
    match = _OWNER.search(description or "")
    return (match.group(2) == "SECRET", match.group(3)) if match and match.group(2) else None


def secret_id_of(job_id: str) -> str:
    """The id under which a job's webhook URL is kept in Jenkins."""
    return f"deployment-webhook-{job_id}"


def _text(root: ET.Element) -> str:
    try:
        text = ET.tostring(root, encoding="unicode")
    except RecursionError:
        raise DefinitionInvalid("config_xml is nested too deeply; simplify it.") from None
    # A bare CR would be read back as LF.
    return "<?xml version='1.0' encoding='UTF-8'?>\n" + text.replace("\r", "&#13;")


def _freestyle(spec: JobSpec) -> ET.Element:
    root = _skeleton("project")
    ET.SubElement(root, "scm", {"class": "hudson.scm.NullSCM"})
    _texts(root, {"quietPeriod": "0", "canRoam": "true", "disabled": "false"})
    _texts(root, {"blockBuildWhenDownstreamBuilding": "false"})
    _texts(root, {"blockBuildWhenUpstreamBuilding": "false", "triggers": ""})
    _texts(root, {"concurrentBuild": "false"})
    shell = ET.SubElement(ET.SubElement(root, "builders"), "hudson.tasks.Shell")
    _texts(shell, {"command": _filled("freestyle_shell", spec.freestyle_shell)})
    _texts(root, {"publishers": "", "buildWrappers": ""})
    return root


def _pipeline_script(spec: JobSpec) -> ET.Element:
    root = _pipeline()
    definition = ET.SubElement(root, "definition", {"class": _CPS + "CpsFlowDefinition"})
    # Outside the sandbox a script has the controller's own rights.
    _texts(definition, {"script": _filled("pipeline_script", spec.pipeline_script)})
    _texts(definition, {"sandbox": "true"})
    return root


def _pipeline_scm(spec: JobSpec) -> ET.Element:
    scm = spec.scm or ScmSource("")
    branch = _legal("pipeline_scm.branch", scm.branch) or "main"
    if not branch.startswith("refs/"):
        # The short form would also match a tag, or a branch of another remote, of that name.
        branch = "refs/heads/" + branch
    root = _pipeline()
    definition = ET.SubElement(root, "definition", {"class": _CPS + "CpsScmFlowDefinition"})
    git = ET.SubElement(definition, "scm", {"class": "hudson.plugins.git.GitSCM"})
    _texts(git, {"configVersion": "2"})
    remotes = ET.SubElement(git, "userRemoteConfigs")
    remote = ET.SubElement(remotes, "hudson.plugins.git.UserRemoteConfig")
    _texts(remote, {"url": _filled("pipeline_scm.url", scm.url)})
    if scm.credentials_id:
        _texts(remote, {"credentialsId": _legal("pipeline_scm.credentials_id", scm.credentials_id)})
    branches = ET.SubElement(git, "branches")
    _texts(ET.SubElement(branches, "hudson.plugins.git.BranchSpec"), {"name": branch})
    _texts(git, {"doGenerateSubmoduleConfigurations": "false"})
    ET.SubElement(git, "submoduleCfg", {"class": "empty-list"})
    _texts(git, {"extensions": ""})
    path = _legal("pipeline_scm.script_path", scm.script_path) or "Jenkinsfile"
    _texts(definition, {"scriptPath": path, "lightweight": "true"})
    return root


def _given(spec: JobSpec) -> ET.Element:
    return _parse(spec.config_xml, "config_xml")


def _parse(config_xml: str, called: str) -> ET.Element:
    """Parse a config.xml that somebody wrote: no DTD, no entities, a kind of job that builds."""
    text = _filled(called, config_xml)
    if len(text) > MAX_CONFIG_XML_CHARS:
        raise DefinitionInvalid(f"{called} has more than {MAX_CONFIG_XML_CHARS} characters.")
    try:
        root: ET.Element = defusedxml.ElementTree.fromstring(
            _VERSION_1_1.sub(r"\1\g<2>1.0\2", text).lstrip("\ufeff \t\r\n"), forbid_dtd=True
        )
    except ET.ParseError as error:
        line, column = error.position
        place = f"line {line}, column {column + 1}"
        if error.code == _BAD_REFERENCE:
            raise DefinitionInvalid(
                f"{called} refers to a control character, such as &#x1b;, in {place}. Jenkins' XML 1.1 "
                "can hold it, but this service reads XML 1.0; remove it."
            ) from None
        raise DefinitionInvalid(f"{called} isn't well-formed XML: mend {place}.") from None
    except defusedxml.DefusedXmlException:
        raise DefinitionInvalid(f"{called} has a DTD or entities; remove them.") from None
    if root.tag not in _BUILDABLE_ROOTS:
        raise DefinitionInvalid(
            f"{called} isn't a job that can be built: its outermost element must be one of "
            + ", ".join(_BUILDABLE_ROOTS)
            + "."
        )
    return root


_CPS = "org.jenkinsci.plugins.workflow.cps."
_ROOTS = {
    JobKind.FREESTYLE_SHELL: _freestyle,
    JobKind.PIPELINE_SCRIPT: _pipeline_script,
    JobKind.PIPELINE_SCM: _pipeline_scm,
    JobKind.CONFIG_XML: _given,
}


def _skeleton(tag: str) -> ET.Element:
    root = ET.Element(tag)
    _texts(root, {"actions": "", "description": "", "keepDependencies": "false", "properties": ""})
    return root


def _pipeline() -> ET.Element:
    root = _skeleton("flow-definition")
    _texts(root, {"quietPeriod": "0", "triggers": "", "disabled": "false"})
    # Two deployments of one thing at a time is nobody's wish; freestyle jobs refuse it by default.
    property_ = ET.SubElement(_child(root, "properties"), _NO_CONCURRENT)
    _texts(property_, {"abortPrevious": "false"})
    return root


def _mark(root: ET.Element, owner: str, webhook: WebhookEndpoint | None) -> None:
    description = _child(root, "description")
    text = _OWNER.sub("", description.text or "").strip()
    kind = "SECRET" if webhook and webhook.secret_id else "PUBLIC"
    told = f" webhook={kind}:{webhook.key_id}" if webhook else ""
    description.text = f"{text}\n\n{_OWNER_MARK}{owner}{told}".lstrip()


def _declare(properties: ET.Element, parameters: Mapping[str, str]) -> None:
    """Declare what isn't declared yet; what a given config.xml declares keeps its kind."""
    definitions = _child(_child(properties, _PARAMETERS), "parameterDefinitions")
    declared = {definition.findtext("name"): definition.tag for definition in definitions}
    if declared.get(RUN_ID_PARAMETER, _STRING_PARAMETER) != _STRING_PARAMETER:
        raise DefinitionInvalid(
            f"config_xml declares the parameter {RUN_ID_PARAMETER}, but not as a string; "
            "remove it: it is added when the job is created."
        )
    for name, value in parameters.items():
        if name in declared:
            continue
        definition = ET.SubElement(definitions, _STRING_PARAMETER)
        purpose = (
            "Set by the deployment service; leave it empty." if name == RUN_ID_PARAMETER else ""
        )
        _texts(definition, {"name": _legal("parameters", name), "description": purpose})
        # With trim, a value that a run sends would not come back as it was sent.
        _texts(definition, {"defaultValue": _legal(f"parameters[{name}]", value), "trim": "false"})


def _notify(properties: ET.Element, webhook: WebhookEndpoint) -> None:
    endpoints = _child(_child(properties, _NOTIFICATION), "endpoints")
    if any(_is_of_job(endpoint, webhook.job_id) for endpoint in endpoints):
        return
    endpoint = ET.SubElement(endpoints, _ENDPOINT)
    # Every element is needed: the plugin takes a missing one for null, not for its default, and
    # without `branch` sends nothing at all. The timeout (ms) is time that a build stands still.
    _texts(endpoint, {"protocol": "HTTP", "format": "JSON"})
    _address(ET.SubElement(endpoint, "urlInfo"), webhook)
    _texts(endpoint, {"event": "all", "timeout": "2000", "loglines": "0", "buildNotes": ""})
    _texts(endpoint, {"retries": "0", "branch": ".*"})


def _address(info: ET.Element, webhook: WebhookEndpoint) -> None:
    secret = bool(webhook.secret_id)
    _child(info, "urlOrId").text = webhook.secret_id if secret else webhook.url
    _child(info, "urlType").text = "SECRET" if secret else "PUBLIC"


def _is_of_job(endpoint: ET.Element, job_id: str) -> bool:
    """Whether an endpoint is the one that we wrote into this job, with whichever key."""
    address = endpoint.findtext("urlInfo/urlOrId") or ""
    return address == secret_id_of(job_id) or f"token=v1.{job_id}." in address


def _child(parent: ET.Element, tag: str) -> ET.Element:
    found = parent.find(tag)
    return ET.SubElement(parent, tag) if found is None else found


def _texts(parent: ET.Element, children: Mapping[str, str]) -> None:
    for tag, text in children.items():
        ET.SubElement(parent, tag).text = text


def _filled(field: str, text: str) -> str:
    if not text.strip():
        raise DefinitionInvalid(f"{field} is empty.")
    return _legal(field, text)


def _legal(field: str, text: str) -> str:
    illegal = _ILLEGAL.search(text)
    if illegal:
        raise DefinitionInvalid(
            f"{field} has a character that XML can't hold: U+{ord(illegal.group()):04X}; remove it."
        )
    return text
