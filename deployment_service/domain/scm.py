"""Validation of the source of a Pipeline: repository URL, branch and path of the Jenkinsfile. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass

from deployment_service.domain.egress import check_git_url, check_visible
from deployment_service.domain.errors import InvalidArgument

_MAX_CHARS = 1000
# The rules of git-check-ref-format(1), except that '$' and braces are allowed: they reference a parameter.
_NOT_IN_BRANCH = re.compile(r"\.\.|@\{|//|[\s~^:?*\[\\]")


@dataclass(frozen=True, slots=True)
class PipelineScm:
    """A Pipeline whose Jenkinsfile is in a Git repository. Empty fields mean the defaults."""

    url: str
    branch: str = ""
    script_path: str = ""
    credentials_id: str = ""


def check_scm(
    scm: PipelineScm, *, field: str, allowed_origins: Collection[str] | None = None
) -> PipelineScm:
    """Return the source in normal form.

    Raises:
        InvalidArgument: git or Jenkins could misread a field.
    """
    url = check_git_url(scm.url, field=f"{field}.url", allowed_origins=allowed_origins)
    rest = []
    for name in ("branch", "script_path", "credentials_id"):
        text = check_visible(getattr(scm, name).strip(), field=f"{field}.{name}")
        if len(text) > _MAX_CHARS:
            raise InvalidArgument(f"{field}.{name}", f"has more than {_MAX_CHARS} characters")
        # git would parse it as an option.
        if text.startswith("-"):
            raise InvalidArgument(f"{field}.{name}", "must not start with '-'")
        rest.append(text)
    branch, script_path, credentials_id = rest
    _check_branch(branch, f"{field}.branch")
    _check_path(script_path, f"{field}.script_path")
    return PipelineScm(url, branch, script_path, credentials_id)


def _check_branch(branch: str, field: str) -> None:
    found = _NOT_IN_BRANCH.search(branch)
    if found:
        raise InvalidArgument(field, f"no branch of git has {found.group()!r} in its name")
    pieces = branch.split("/") if branch else []
    if any(not p or p.startswith((".", "-")) or p.endswith((".", ".lock")) for p in pieces):
        raise InvalidArgument(
            field,
            "must be names joined with single '/', none of which starts with '.' or '-' or ends with '.' or '.lock'",
        )


def _check_path(path: str, field: str) -> None:
    pieces = path.split("/") if path else []
    if any(p in ("", ".", "..") or p.startswith("-") for p in pieces) or "\\" in path:
        raise InvalidArgument(
            field,
            "must be a path inside the repository: names joined with single '/', none of them '.' or '..', none "
            "with a leading '-'",
        )
