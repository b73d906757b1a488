"""What the HTTP statuses of answers mean, and how to say it to people. Pure: no I/O.

The statuses are those recorded from a real Jenkins. `jenkins_authors` says who answered: what a proxy or a
login page answers says nothing about Jenkins' objects or our rights.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from urllib.parse import unquote, urljoin, urlsplit

from deployment_service.cicd.errors import (
    CreationFailed,
    DefinitionInvalid,
    ProtocolError,
    ProviderError,
    ProviderRefused,
    ProviderUnreachable,
)
from deployment_service.cicd.jenkins.authors import Author, author_of, evidence_of
from deployment_service.cicd.jenkins.http import (
    NO_ANSWER_IN_TIME,
    TOO_LARGE,
    HttpReply,
    TransportFailure,
)
from deployment_service.domain.problems import ProblemReason
from deployment_service.domain.queue_ids import parse_queue_id

MAX_RETRY_AFTER_S = 3600.0
"""Longer waits that an answer asks for are cut to this."""
_QUEUE_ITEM = re.compile(r"/queue/item(?:/([^/]*))?/?$")
_PERMISSION = re.compile(r"[\w.$-]{1,200}", re.ASCII)
_GROUPS = {"hudson.model.Item": "Job", "hudson.model.Hudson": "Overall", "hudson.model.Run": "Run"}
_MAX_QUOTED_CHARS = 200


def session_of(reply: HttpReply) -> str | None:
    """Return the mark that changes with each start of Jenkins; most answers carry it, not all."""
    return reply.headers.get("X-Jenkins-Session")


def from_jenkins(reply: HttpReply) -> bool:
    """Say whether an answer bears Jenkins' own header. All its API answers and its 404s do."""
    return "X-Jenkins" in reply.headers


def required_permission(reply: HttpReply) -> str | None:
    """Return the permission that a 403 says we lack: `hudson.model.Item.Build`."""
    match = _PERMISSION.fullmatch(reply.headers.get("X-Required-Permission", ""))
    return match.group() if match else None


def quoted_error(reply: HttpReply) -> str:
    """Return what Jenkins itself says is wrong (`X-Error`), fit to be shown; may be empty."""
    text = re.sub(r"<[^>]*>|[^\x20-\x7e\xa0-\uffff]", " ", reply.headers.get("X-Error", ""))
    return " ".join(text.split())[:_MAX_QUOTED_CHARS]


def leads_to(reply: HttpReply, path: str) -> bool:
    """Say whether a redirect leads to a page of Jenkins, rather than to somebody's login page.

    Only the end of the target is compared: host and context path are what Jenkins believes them to
    be.
    """
    location = reply.headers.get("Location")
    if not location:
        return False
    try:
        target = urlsplit(urljoin(f"http://jenkins/{path}/", location))
    except ValueError:
        return False
    return not target.query and unquote(target.path.rstrip("/")).endswith("/" + unquote(path))


def queue_id_of(reply: HttpReply) -> str | None:
    """Return the id of the queue item that the Location names; None if it names none that can be used."""
    item = queue_item_in(reply)
    return parse_queue_id(unquote(item.group(1) or "")) if item else None


def queue_item_in(reply: HttpReply) -> re.Match[str] | None:
    """Return where the Location names a queue item. Jenkins builds all but its end from our request's headers."""
    try:
        path = urlsplit(reply.headers.get("Location", "")).path
    except ValueError:
        return None
    return _QUEUE_ITEM.search(path)


def retry_after_s(reply: HttpReply) -> float | None:
    """Return for how many seconds the answer asks to be left alone (RFC 9110, 10.2.3); None if it doesn't.

    A date counts from the answer's own Date, so that our clock does not matter where it is given.
    """
    text = reply.headers.get("Retry-After", "").strip()
    if re.fullmatch("[0-9]{1,9}", text):
        return min(float(text), MAX_RETRY_AFTER_S)
    until, since = _http_date(text), _http_date(reply.headers.get("Date", ""))
    if until is None:
        return None
    wait = (until - (since or datetime.now(UTC))).total_seconds()
    return min(max(wait, 0.0), MAX_RETRY_AFTER_S)


def _http_date(text: str) -> datetime | None:
    try:
        moment = parsedate_to_datetime(text)
        return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (ValueError, OverflowError, TypeError, IndexError):
        return None


def error_of(reply: HttpReply, account: str) -> ProviderError:
    """Return the error that a failed call stands for. 404 is the caller's to interpret, before."""
    status, author = reply.status, author_of(reply)
    if status in (401, 403) and author in (Author.JENKINS, Author.UNKNOWN):
        permission = required_permission(reply)
        return ProviderRefused(
            refusal(status, account, permission, author),
            http_status=status,
            account=account,
            required_permission=permission,
            reason=ProblemReason.REFUSED if status == 401 else ProblemReason.PERMISSION_MISSING,
        )
    reason, text = _problem(reply, author)
    if reason is ProblemReason.MALFORMED_ANSWER:
        return ProtocolError(text, http_status=status, reason=reason)
    return ProviderUnreachable(
        text, http_status=status, reason=reason, retry_after_s=retry_after_s(reply)
    )


def _problem(reply: HttpReply, author: Author) -> tuple[ProblemReason, str]:
    status, who = reply.status, described_author(reply)
    if author is Author.STARTING:
        return ProblemReason.STARTING, f"{who}. Wait until it is up."
    if status == 200:
        return ProblemReason.NOT_JENKINS, not_data()
    if status in (429, 503):
        return ProblemReason.OVERLOADED, f"{who}: it is overloaded, or not up. Wait."
    if 300 <= status < 400:
        return ProblemReason.NOT_JENKINS, (
            f"{who}: the address redirects elsewhere. Check the provider's base_url, and that no login page stands in "
            "front of its API."
        )
    if author is Author.FRONT:
        return ProblemReason.NOT_JENKINS, (
            f"{who}. That says nothing about Jenkins' jobs or the account's rights. "
            "Check the provider's base_url, the proxy and the firewall."
        )
    if status == 404:
        return ProblemReason.NOT_JENKINS, f"{who}: no such page. Check the provider's base_url."
    if status >= 500:
        return ProblemReason.SERVER_ERROR, f"{who}: an internal failure. Look into its log."
    return (
        ProblemReason.MALFORMED_ANSWER,
        f"{who}, which it isn't known to do here. Check the provider's base_url.",
    )


def described_author(reply: HttpReply) -> str:
    """Say who answered with which status, and how that is known."""
    evidence = evidence_of(reply)
    known = f" ({evidence})" if evidence else ""
    return f"{author_of(reply).value} answered with HTTP {reply.status}{known}"


def creation_error(reply: HttpReply, full_name: str) -> ProviderError:
    """Return what a job's creation failed of, given 400 or 500 and that no such job is there."""
    said = quoted_error(reply)
    if reply.status == 400:
        reason = said or "HTTP 400"
    else:
        reason = "HTTP 500; often a plugin that the job needs isn't installed"
    text = f"Jenkins refuses the job {full_name!r} ({reason}). Mend its name or definition."
    explained = reply.status == 400 and said
    return (DefinitionInvalid if explained else CreationFailed)(text, http_status=reply.status)


def too_large(reply: HttpReply, full_name: str) -> DefinitionInvalid:
    """Return the error for a definition that something on the way does not take: a 4xx proves that nothing was made."""
    return DefinitionInvalid(
        f"{described_author(reply)}: the definition of the job {full_name!r} is too large. Shorten it, or raise the "
        "limit there (nginx: client_max_body_size).",
        http_status=reply.status,
    )


def not_data() -> str:
    """Return what to say about a page where data was expected."""
    return (
        "Jenkins' address answered with a page instead of data. Check the provider's base_url, and "
        "that no login page stands in front of its API."
    )


# The same for every network error: a tenant chooses the address, and details would show it what is where.
NOT_REACHED = "Jenkins can't be reached."


def unreachable(failure: TransportFailure) -> ProviderUnreachable:
    """Return the error that stands for having got no answer."""
    slow = failure.reason == NO_ANSWER_IN_TIME
    if failure.reason.startswith(TOO_LARGE):
        return ProviderUnreachable(
            f"Jenkins' answer can't be used: {failure.reason}, which is the most that is read.",
            reason=ProblemReason.MALFORMED_ANSWER,
        )
    return ProviderUnreachable(
        NOT_REACHED,
        detail=f"Jenkins can't be reached ({failure.reason}).",
        reason=ProblemReason.SLOW if slow else ProblemReason.UNREACHABLE,
    )


def refusal(status: int, account: str, permission: str | None, author: Author) -> str:
    """Say what a 401 or 403 of ``author`` means and who can change it."""
    who = author.value
    if status == 401:
        return (
            f"{who} doesn't accept the credentials of the account {account!r} (HTTP 401). "
            "Give the provider a valid API token."
        )
    if permission is None:
        return (
            f"{who} refuses the account {account!r} (HTTP 403). Check its permissions and that "
            "the provider has its API token."
        )
    group, _, name = permission.rpartition(".")
    shown = f"{_GROUPS[group]}/{name}" if group in _GROUPS else permission
    return (
        f"{who} refuses the account {account!r} (HTTP 403): it lacks the permission {shown}. "
        "Grant it in Jenkins."
    )
