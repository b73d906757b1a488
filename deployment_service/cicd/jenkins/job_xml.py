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
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from deployment_service.cicd.errors import DefinitionInvalid
from deployment_service.cicd.jenkins.config_xml import child, filled, legal, parse, text, texts
from deployment_service.cicd.jenkins.job_xml_parameters import STRING_PARAMETER, declare
from deployment_service.cicd.port import RUN_ID_PARAMETER, OwnState, WebhookEndpoint
from deployment_service.domain.parameter_definitions import DeclaredParameter

_OWNER_MARK = "Managed by the deployment service; do not edit. owner="
_OWNER = re.compile(
    re.escape(_OWNER_MARK) + r"([0-9A-Za-z-]{1,64})(?: webhook=(SECRET|PUBLIC):([a-z0-9]{1,32}))?"
)
_IN_JENKINS = "The job's config.xml in Jenkins"
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
    spec: JobSpec,
    *,
    owner: str,
    parameters: Sequence[DeclaredParameter],
    webhook: WebhookEndpoint | None,
) -> str:
    """Return the config.xml of a job.

    `owner` is what `parse_owner` will find again: letters, digits and dashes, such as a UUID.
    `parameters` are declared beside our own; what a given config.xml declares keeps its kind. Without
    a `webhook` the job gets no endpoint. Raises `DefinitionInvalid`, whose message names the field at fault.
    """
    if not re.fullmatch(r"[0-9A-Za-z-]{1,64}", owner):
        raise ValueError("owner must be 1-64 letters, digits or dashes")
    if any(one.name == RUN_ID_PARAMETER for one in parameters):
        raise DefinitionInvalid(f"The parameter {RUN_ID_PARAMETER} is reserved; leave it out.")
    root = _ROOTS[spec.kind](spec)
    _mark(root, owner, webhook)
    properties = child(root, "properties")
    declare(properties, owner, parameters, replace=False)
    if webhook:
        legal("webhook_base_url", webhook.url)
        _notify(properties, webhook)
    return text(root)


def with_webhook(config_xml: str, webhook: WebhookEndpoint) -> str | None:
    """Return a job's config.xml with our endpoint as it now must be; None if it isn't there any more."""
    root = parse(config_xml, _IN_JENKINS)
    ours = [one for one in root.iter(_ENDPOINT) if _is_of_job(one, webhook.job_id)]
    if not ours:
        return None
    owner = parse_owner(root.findtext("description"))
    if owner is not None:
        _mark(root, owner, webhook)
    for endpoint in ours:
        _address(child(endpoint, "urlInfo"), webhook)
    return text(root)


def restored(config_xml: str, wanted: OwnState) -> tuple[str, tuple[str, ...]]:
    """Return a job's config.xml as it must be for us, and what it had lost of that, in words for people.

    All else stays as it is. Raises DefinitionInvalid.
    """
    root = parse(config_xml, _IN_JENKINS)
    properties, lost = child(root, "properties"), []
    if parse_owner(root.findtext("description")) != wanted.owner:
        _mark(root, wanted.owner, wanted.webhook)
        lost.append("the mark in its description")
    if wanted.parameters is not None:
        declare(properties, wanted.owner, wanted.parameters, replace=wanted.replace)
        lost.append("its parameters")
    if wanted.webhook is not None and not _reports(root, wanted.webhook):
        _notify(properties, wanted.webhook)
        for endpoint in root.iter(_ENDPOINT):
            if _is_of_job(endpoint, wanted.webhook.job_id):
                _address(child(endpoint, "urlInfo"), wanted.webhook)
                for name, value in _NEEDED.items():
                    child(endpoint, name).text = value
        lost.append("its webhook endpoint")
    return text(root), tuple(lost)


def _reports(root: ET.Element, webhook: WebhookEndpoint) -> bool:
    """Whether our endpoint is there and sends all phases. Log lines, timeout and retries are the owner's affair."""
    kind = "SECRET" if webhook.secret_id else "PUBLIC"
    return any(
        _is_of_job(one, webhook.job_id)
        and one.findtext("urlInfo/urlType") == kind
        and all(one.findtext(name) == value for name, value in _NEEDED.items())
        for one in root.iter(_ENDPOINT)
    )


def has_webhook(config_xml: str, job_id: str) -> bool:
    """Return whether a job's config.xml has the endpoint that we wrote into it. Raises DefinitionInvalid."""
    root = parse(config_xml, _IN_JENKINS)
    return any(_is_of_job(one, job_id) for one in root.iter(_ENDPOINT))


def with_parameters(
    config_xml: str, owner: str, parameters: Sequence[DeclaredParameter], *, replace: bool
) -> str:
    """Return a job's config.xml with our own parameter and these; what else it declares stays as it is.

    ``replace``: of those that it has already, kind, default and choices become these.
    """
    root = parse(config_xml, _IN_JENKINS)
    declare(child(root, "properties"), owner, parameters, replace=replace)
    return text(root)


def trimmed_names(config_xml: str) -> frozenset[str]:
    """Return the names of the string parameters whose values Jenkins trims. Raises DefinitionInvalid."""
    root = parse(config_xml, _IN_JENKINS)
    return frozenset(
        one.findtext("name") or ""
        for one in root.iter(STRING_PARAMETER)
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
    """Return the id of the secret text with a job's webhook URL."""
    return f"deployment-webhook-{job_id}"


def _freestyle(spec: JobSpec) -> ET.Element:
    root = _skeleton("project")
    ET.SubElement(root, "scm", {"class": "hudson.scm.NullSCM"})
    texts(root, {"quietPeriod": "0", "canRoam": "true", "disabled": "false"})
    texts(root, {"blockBuildWhenDownstreamBuilding": "false"})
    texts(root, {"blockBuildWhenUpstreamBuilding": "false", "triggers": ""})
    texts(root, {"concurrentBuild": "false"})
    shell = ET.SubElement(ET.SubElement(root, "builders"), "hudson.tasks.Shell")
    texts(shell, {"command": filled("freestyle_shell", spec.freestyle_shell)})
    texts(root, {"publishers": "", "buildWrappers": ""})
    return root


def _pipeline_script(spec: JobSpec) -> ET.Element:
    root = _pipeline()
    definition = ET.SubElement(root, "definition", {"class": _CPS + "CpsFlowDefinition"})
    # Outside the sandbox a script has the controller's own rights.
    texts(definition, {"script": filled("pipeline_script", spec.pipeline_script)})
    texts(definition, {"sandbox": "true"})
    return root


def _pipeline_scm(spec: JobSpec) -> ET.Element:
    scm = spec.scm or ScmSource("")
    branch = legal("pipeline_scm.branch", scm.branch) or "main"
    if not branch.startswith("refs/"):
        # The short form would also match a tag, or a branch of another remote, of that name.
        branch = "refs/heads/" + branch
    root = _pipeline()
    definition = ET.SubElement(root, "definition", {"class": _CPS + "CpsScmFlowDefinition"})
    git = ET.SubElement(definition, "scm", {"class": "hudson.plugins.git.GitSCM"})
    texts(git, {"configVersion": "2"})
    remotes = ET.SubElement(git, "userRemoteConfigs")
    remote = ET.SubElement(remotes, "hudson.plugins.git.UserRemoteConfig")
    texts(remote, {"url": filled("pipeline_scm.url", scm.url)})
    if scm.credentials_id:
        texts(remote, {"credentialsId": legal("pipeline_scm.credentials_id", scm.credentials_id)})
    branches = ET.SubElement(git, "branches")
    texts(ET.SubElement(branches, "hudson.plugins.git.BranchSpec"), {"name": branch})
    texts(git, {"doGenerateSubmoduleConfigurations": "false"})
    ET.SubElement(git, "submoduleCfg", {"class": "empty-list"})
    texts(git, {"extensions": ""})
    path = legal("pipeline_scm.script_path", scm.script_path) or "Jenkinsfile"
    texts(definition, {"scriptPath": path, "lightweight": "true"})
    return root


def _given(spec: JobSpec) -> ET.Element:
    return parse(spec.config_xml, "config_xml")


_CPS = "org.jenkinsci.plugins.workflow.cps."
_ROOTS = {
    JobKind.FREESTYLE_SHELL: _freestyle,
    JobKind.PIPELINE_SCRIPT: _pipeline_script,
    JobKind.PIPELINE_SCM: _pipeline_scm,
    JobKind.CONFIG_XML: _given,
}


def _skeleton(tag: str) -> ET.Element:
    root = ET.Element(tag)
    texts(root, {"actions": "", "description": "", "keepDependencies": "false", "properties": ""})
    return root


def _pipeline() -> ET.Element:
    root = _skeleton("flow-definition")
    texts(root, {"quietPeriod": "0", "triggers": "", "disabled": "false"})
    # One build at a time, as freestyle jobs have it by default.
    property_ = ET.SubElement(child(root, "properties"), _NO_CONCURRENT)
    texts(property_, {"abortPrevious": "false"})
    return root


def _mark(root: ET.Element, owner: str, webhook: WebhookEndpoint | None) -> None:
    description = child(root, "description")
    text = _OWNER.sub("", description.text or "").strip()
    kind = "SECRET" if webhook and webhook.secret_id else "PUBLIC"
    mark = f" webhook={kind}:{webhook.key_id}" if webhook else ""
    description.text = f"{text}\n\n{_OWNER_MARK}{owner}{mark}".lstrip()


def _notify(properties: ET.Element, webhook: WebhookEndpoint) -> None:
    endpoints = child(child(properties, _NOTIFICATION), "endpoints")
    if any(_is_of_job(endpoint, webhook.job_id) for endpoint in endpoints):
        return
    endpoint = ET.SubElement(endpoints, _ENDPOINT)
    # Every element is needed: the plugin takes a missing one for null, not for its default, and
    # without `branch` sends nothing at all. The timeout (ms) is time that a build stands still.
    texts(endpoint, {"protocol": "HTTP", "format": "JSON"})
    _address(ET.SubElement(endpoint, "urlInfo"), webhook)
    texts(endpoint, {"event": "all", "timeout": "2000", "loglines": "0", "buildNotes": ""})
    texts(endpoint, {"retries": "0", "branch": ".*"})


# What an endpoint needs so that each phase of each build is reported.
_NEEDED = {"protocol": "HTTP", "format": "JSON", "event": "all", "branch": ".*"}


def _address(info: ET.Element, webhook: WebhookEndpoint) -> None:
    secret = bool(webhook.secret_id)
    child(info, "urlOrId").text = webhook.secret_id if secret else webhook.url
    child(info, "urlType").text = "SECRET" if secret else "PUBLIC"


def _is_of_job(endpoint: ET.Element, job_id: str) -> bool:
    """Whether an endpoint is the one that we wrote into this job, with whichever key."""
    address = endpoint.findtext("urlInfo/urlOrId") or ""
    return address == secret_id_of(job_id) or f"token=v1.{job_id}." in address
