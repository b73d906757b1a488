"""Jenkins' full names and the URL paths in which they appear.

A full name joins the names of folders and job with `/`. In a URL each of them follows a segment
`job` and is percent-encoded: `a/b c` is `job/a/job/b%20c`. A branch of a multibranch project is a
job whose *name* is already encoded (`feature%2Flogin`), so its path is encoded twice
(`feature%252Flogin`).
"""

from __future__ import annotations

import re
from urllib.parse import quote, unquote

_MAX_ENCODINGS = 3
# Jenkins keeps it in 32 bits.
_MAX_BUILD_NUMBER = 2**31 - 1
_UNSPEAKABLE = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_SCHEME_AND_HOST = re.compile(r"^[A-Za-z][A-Za-z0-9+.-]*://[^/?#]*")


def job_path(full_name: str) -> str:
    """Return the URL path of a job, without slashes around it: `job/shop/job/web%20prod`.

    Raises ValueError for what can't be a full name: empty or dot segments (HTTP clients would
    resolve them to another job), control characters, lone surrogates.
    """
    segments = full_name.split("/")
    for segment in segments:
        if segment in ("", ".", "..") or _UNSPEAKABLE.search(segment):
            raise ValueError(f"not the full name of a Jenkins job: {full_name!r}")
    return "/".join("job/" + quote(segment, safe="") for segment in segments)


def parent_and_name(full_name: str) -> tuple[str, str]:
    """Split off the folder, which is empty for a job in the root: `a/b/c` gives `a/b` and `c`."""
    parent, _, name = full_name.rpartition("/")
    return parent, name


def parse_job_path(path_or_url: str) -> str | None:
    """Return the full name of the job that a path or URL leads to or into, None if to none.

    Takes what Jenkins and its plugins send: with or without host, context path, slashes around it,
    views (`view/all/job/J/`), a build number or permalink behind it (`job/J/7/`,
    `job/J/lastBuild/`).
    """
    names, _ = _walk(path_or_url)
    return "/".join(names) or None


def parse_exact_job_path(path_or_url: str) -> str | None:
    """As `parse_job_path`, but None if anything follows the job: a part of a job isn't one."""
    names, rest = _walk(path_or_url)
    return None if rest else "/".join(names) or None


def parse_build_path(path_or_url: str) -> tuple[str, int] | None:
    """Return full name and number of the build that a path or URL leads to, None if it isn't a
    build's.
    """
    names, rest = _walk(path_or_url)
    if not names or len(rest) != 1 or not (rest[0].isascii() and rest[0].isdigit()):
        return None
    number = int(rest[0][:18])
    return ("/".join(names), number) if 1 <= number <= _MAX_BUILD_NUMBER else None


def build_url(base_url: str, full_name: str, number: int) -> str:
    """Return where a person finds a build. Raises ValueError as ``job_path`` does."""
    return f"{base_url.rstrip('/')}/{job_path(full_name)}/{number}/"


def job_path_matches(full_name: str, path_or_url: str) -> bool:
    """Say whether a path, as a webhook gives it, leads to or into this job.

    However often either of them is percent-encoded makes no difference: senders disagree about
    that, and Jenkins lets nobody choose a name with `%` in it. Case does make one, as the full name
    is Jenkins' own spelling.
    """
    names, _ = _walk(path_or_url)
    wanted = full_name.split("/")
    return len(names) == len(wanted) and all(
        _decoded(a) == _decoded(b) for a, b in zip(names, wanted, strict=True)
    )


def _walk(path_or_url: str) -> tuple[list[str], list[str]]:
    """Follow a path through views and jobs; return the jobs' names and the segments that remain."""
    path = re.split("[?#]", _SCHEME_AND_HOST.sub("", path_or_url), maxsplit=1)[0]
    segments = [segment for segment in path.split("/") if segment]
    start = next((i for i, segment in enumerate(segments) if segment in ("job", "view")), None)
    if start is None:
        return [], []
    names: list[str] = []
    rest = segments[start:]
    while len(rest) >= 2 and rest[0] in ("job", "view"):
        if rest[0] == "job":
            names.append(unquote(rest[1]))
        rest = rest[2:]
    return names, rest


def _decoded(name: str) -> str:
    for _ in range(_MAX_ENCODINGS):
        decoded = unquote(name)
        if decoded == name:
            break
        name = decoded
    return name
