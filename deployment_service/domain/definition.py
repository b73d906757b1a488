"""Validation of a deployment's definition: limits, normal form, and allowed kinds and places of its job. Pure.

The limits are documented in the API. Further restrictions follow from Jenkins, XML and PostgreSQL.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from deployment_service.domain.egress import check_visible
from deployment_service.domain.errors import FailedPrecondition, InvalidArgument, PermissionDenied
from deployment_service.domain.parameter_definitions import DeclaredParameter
from deployment_service.domain.parameters import UNSTORABLE, check_parameters
from deployment_service.domain.scm import PipelineScm, check_scm

MAX_DISPLAY_NAME_CHARS = 200
MAX_LABELS = 64
MAX_LABEL_CHARS = 63
MAX_SCRIPT_CHARS = 500_000
MAX_CONFIG_XML_CHARS = 1_000_000
# Error messages contain the full name, and gRPC sends them in HTTP/2 headers of at most 8 KiB.
MAX_FULL_NAME_BYTES = 800
# Each folder and job is a directory in Jenkins' home, and file systems limit the length of a name.
MAX_SEGMENT_BYTES = 200

_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff\ufffe\uffff]")
# Jenkins rejects names with these characters.
_UNSAFE_IN_NAME = re.compile(r"[?*/\\%!@#$^&|<>\[\]:;]")


class JobKind(StrEnum):
    """The kind of a job's definition. The values of ``deployments.job_kind``."""

    EXISTING = "EXISTING"
    PIPELINE_SCRIPT = "PIPELINE_SCRIPT"
    PIPELINE_SCM = "PIPELINE_SCM"
    FREESTYLE_SHELL = "FREESTYLE_SHELL"
    CONFIG_XML = "CONFIG_XML"


_USUAL_KINDS = frozenset(JobKind) - {JobKind.CONFIG_XML}
_TEXT_FIELDS = {
    JobKind.PIPELINE_SCRIPT: "pipeline_script",
    JobKind.FREESTYLE_SHELL: "freestyle_shell",
    JobKind.CONFIG_XML: "config_xml",
}


@dataclass(frozen=True, slots=True)
class JobDefinition:
    """The definition of the job of a deployment.

    ``full_name``: as the caller gave it; empty for the default name.
    ``text``: the script, shell step or config.xml of the kinds that have one.
    """

    kind: JobKind
    full_name: str = ""
    text: str = ""
    scm: PipelineScm | None = None
    fixed_parameters: Mapping[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return the value of the column ``deployments.job_spec``, with the field names of the API."""
        spec: dict[str, Any] = {"full_name": self.full_name}
        if self.kind is JobKind.EXISTING:
            spec["fixed_parameters"] = dict(self.fixed_parameters)
        elif self.scm is not None:
            spec["url"] = self.scm.url
            spec["branch"] = self.scm.branch
            spec["script_path"] = self.scm.script_path
            spec["credentials_id"] = self.scm.credentials_id
        else:
            spec[_TEXT_FIELDS[self.kind]] = self.text
        return spec

    @classmethod
    def from_json(cls, kind: str, spec: Mapping[str, Any]) -> JobDefinition:
        """Return the definition from what ``to_json`` returned."""
        job_kind = JobKind(kind)
        scm = None
        if job_kind is JobKind.PIPELINE_SCM:
            scm = PipelineScm(
                spec["url"], spec["branch"], spec["script_path"], spec["credentials_id"]
            )
        return cls(
            kind=job_kind,
            full_name=spec["full_name"],
            text=spec[_TEXT_FIELDS[job_kind]] if job_kind in _TEXT_FIELDS else "",
            scm=scm,
            fixed_parameters=spec.get("fixed_parameters", {}),
        )


@dataclass(frozen=True, slots=True)
class JobRules:
    """The jobs that a provider allows. Empty fields allow every folder, and every kind except CONFIG_XML."""

    job_folder: str = ""
    allowed_folders: tuple[str, ...] = ()
    allowed_kinds: frozenset[JobKind] = frozenset()


def check_display_name(text: str, *, field: str) -> str:
    """Return the name without surrounding whitespace.

    Raises:
        InvalidArgument: the name is too long or has a control character.
    """
    text = text.strip()
    if len(text) > MAX_DISPLAY_NAME_CHARS:
        raise InvalidArgument(field, f"has more than {MAX_DISPLAY_NAME_CHARS} characters")
    return _printable(text, field)


def check_labels(labels: Mapping[str, str], *, field: str) -> dict[str, str]:
    """Return the labels, sorted by key.

    Raises:
        InvalidArgument: the labels exceed a limit.
    """
    if len(labels) > MAX_LABELS:
        raise InvalidArgument(field, f"has more than {MAX_LABELS} entries")
    for key, value in labels.items():
        if not 1 <= len(key) <= MAX_LABEL_CHARS:
            raise InvalidArgument(
                field, f"the key {_shown(key)} must have 1-{MAX_LABEL_CHARS} characters"
            )
        _printable(key, field)
        if len(value) > MAX_LABEL_CHARS:
            raise InvalidArgument(f"{field}[{key}]", f"has more than {MAX_LABEL_CHARS} characters")
        _printable(value, f"{field}[{key}]")
    return dict(sorted(labels.items()))


def check_job(
    job: JobDefinition,
    definitions: Iterable[DeclaredParameter] = (),
    *,
    field: str = "deployment.job",
    allowed_origins: Collection[str] | None = None,
) -> JobDefinition:
    """Return the job in normal form.

    ``definitions``: the deployment's parameters; none of them may be a fixed parameter too.
    ``allowed_origins``: origins of repositories that may be in private address ranges; None allows any.

    Raises:
        InvalidArgument: Jenkins could not store such a job.
    """
    if job.kind is JobKind.EXISTING:
        return _check_existing(job, definitions, f"{field}.existing_job")
    full_name = job.full_name
    if full_name:
        full_name = check_full_name(full_name, field=f"{field}.full_name", to_create=True)
    if job.kind is JobKind.PIPELINE_SCM:
        scm = check_scm(
            job.scm or PipelineScm(""),
            field=f"{field}.pipeline_scm",
            allowed_origins=allowed_origins,
        )
        return JobDefinition(job.kind, full_name, scm=scm)
    where = f"{field}.{_TEXT_FIELDS[job.kind]}"
    limit = MAX_CONFIG_XML_CHARS if job.kind is JobKind.CONFIG_XML else MAX_SCRIPT_CHARS
    if not job.text.strip():
        raise InvalidArgument(where, "is empty", reason="REQUIRED_FIELD")
    if len(job.text) > limit:
        raise InvalidArgument(where, f"has more than {limit} characters")
    return JobDefinition(job.kind, full_name, text=_storable(job.text, where))


def check_full_name(full_name: str, *, field: str, to_create: bool) -> str:
    """Return a job's full name.

    An existing job may have a name that a new job may not have: names of branch jobs are percent-encoded.

    Raises:
        InvalidArgument: no job can have this name.
    """
    if not full_name:
        raise InvalidArgument(
            field, "is required; expected one like 'shop/web-prod'", reason="REQUIRED_FIELD"
        )
    if len(full_name.encode(errors="replace")) > MAX_FULL_NAME_BYTES:
        raise InvalidArgument(field, f"is longer than {MAX_FULL_NAME_BYTES} bytes")
    for segment in full_name.split("/"):
        if segment in ("", ".", ".."):
            raise InvalidArgument(
                field, "must be names joined with single '/', none of them '.' or '..'"
            )
        check_visible(segment, field=field)
        if segment.startswith("-"):
            raise InvalidArgument(field, "no name in it may start with '-'")
        if len(segment.encode()) > MAX_SEGMENT_BYTES:
            raise InvalidArgument(field, f"has a name longer than {MAX_SEGMENT_BYTES} bytes")
        if to_create:
            _check_new_name(segment, field)
    return full_name


def default_full_name(rules: JobRules, tenant: str, deployment_id: str) -> str:
    """Return the default full name of a job. It is unique among all tenants that share a folder."""
    name = f"{tenant}.{deployment_id}"
    folder = rules.job_folder.strip("/")
    return f"{folder}/{name}" if folder else name


def check_allowed(
    job: JobDefinition, full_name: str, rules: JobRules, *, caller_is_admin: bool
) -> None:
    """Check that the provider allows this job, and allows it to this caller.

    Raises:
        FailedPrecondition: the provider does not allow the kind or the folder.
        PermissionDenied: the kind requires an admin key.
    """
    check_rules(job.kind, full_name, rules)
    if job.kind is JobKind.CONFIG_XML and not caller_is_admin:
        raise PermissionDenied(
            "CONFIG_XML_NEEDS_ADMIN",
            "A job from config_xml can do everything that Jenkins can do: creating one needs a key with role admin.",
        )


def check_rules(kind: JobKind, full_name: str, rules: JobRules) -> None:
    """Check that the provider allows jobs of this kind in this folder.

    Raises:
        FailedPrecondition: the provider does not allow the kind or the folder.
    """
    if kind not in (rules.allowed_kinds or _USUAL_KINDS):
        raise FailedPrecondition(
            "JOB_KIND_NOT_ALLOWED",
            f"The provider doesn't allow jobs of the kind {kind}. An administrator can change that.",
            metadata={"kind": str(kind)},
        )
    allowed = [folder.strip("/") for folder in rules.allowed_folders]
    own_folder = rules.job_folder.strip("/")
    if own_folder:
        allowed.append(own_folder)
    if rules.allowed_folders and not any(_is_within(full_name, folder) for folder in allowed):
        raise FailedPrecondition(
            "FOLDER_NOT_ALLOWED",
            f"The provider doesn't allow the job '{full_name}' there, only in folders that its "
            "allowed_folders name.",
            metadata={"full_name": full_name},
        )


def _check_existing(
    job: JobDefinition, definitions: Iterable[DeclaredParameter], where: str
) -> JobDefinition:
    fixed = check_parameters(job.fixed_parameters, field=f"{where}.fixed_parameters", declared=True)
    both = sorted(fixed.keys() & {one.name for one in definitions})
    if both:
        raise InvalidArgument(
            f"{where}.fixed_parameters",
            f"{both[0]} is in deployment.parameter_definitions as well. Leave it out of one of them",
        )
    full_name = check_full_name(job.full_name, field=f"{where}.full_name", to_create=False)
    return JobDefinition(job.kind, full_name, fixed_parameters=fixed)


def _check_new_name(segment: str, field: str) -> None:
    unsafe = _UNSAFE_IN_NAME.search(segment)
    if unsafe:
        raise InvalidArgument(field, f"Jenkins allows no '{unsafe.group()}' in a name")
    # Jenkins trims the spaces, so the job would get another name than ours.
    if segment != segment.strip() or segment.endswith("."):
        raise InvalidArgument(field, "no name may start or end with a space, or end with '.'")


def _is_within(full_name: str, folder: str) -> bool:
    # Jenkins treats names that differ only in case as the same name.
    return full_name.lower().startswith(f"{folder}/".lower())


def _printable(text: str, field: str) -> str:
    found = _CONTROL.search(text)
    if found:
        raise InvalidArgument(field, f"has the control character U+{ord(found.group()):04X}")
    return text


def _storable(text: str, field: str) -> str:
    found = UNSTORABLE.search(text)
    if found:
        raise InvalidArgument(
            field, f"has a character that no job can hold: U+{ord(found.group()):04X}"
        )
    return text


def _shown(text: str) -> str:
    return repr(text if len(text) <= 60 else text[:60] + "…")
