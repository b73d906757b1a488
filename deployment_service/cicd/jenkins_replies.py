"""What Jenkins' HTTP statuses mean, and how to say it to people. Pure: no I/O.

The statuses are those recorded from a real Jenkins. An answer with a status of Jenkins' may still
come from a proxy or a login page in front of it; where that would make a difference, headers
decide.
"""

from __future__ import annotations

import re
from urllib.parse import unquote, urljoin, urlsplit

from deployment_service.domain.queue_ids import parse_queue_id

from .errors import (
    CreationFailed,
    DefinitionInvalid,
    ProtocolError,
    ProviderError,
    ProviderRefused,
    ProviderUnreachable,
)
from .jenkins_http import HttpReply, TransportFailure
from .port import TriggerOutcome, TriggerReply

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
    item = _queue_item(reply)
    return parse_queue_id(unquote(item.group(1) or "")) if item else None


def _queue_item(reply: HttpReply) -> re.Match[str] | None:
    """Only the end counts: Jenkins builds the rest from the headers of our request."""
    try:
        path = urlsplit(reply.headers.get("Location", "")).path
    except ValueError:
        return None
    return _QUEUE_ITEM.search(path)


def error_of(reply: HttpReply, account: str) -> ProviderError:
    """Return the error that a failed call stands for. 404 is the caller's to interpret, before."""
    status = reply.status
    if status in (401, 403):
        permission = required_permission(reply)
        return ProviderRefused(
            refusal(status, account, permission),
            http_status=status,
            account=account,
            required_permission=permission,
        )
    if status == 503:
        text = "Jenkins is starting, or overloaded (HTTP 503). Wait until it is up."
    elif status == 404:
        text = (
            "Something in front of Jenkins answered that it knows no such page (HTTP 404). "
            "Check the provider's base_url and the proxy."
        )
    elif status >= 500:
        text = f"Jenkins, or a proxy in front of it, failed (HTTP {status}). Look into its log."
    elif 300 <= status < 400:
        text = (
            f"Jenkins' address redirects elsewhere (HTTP {status}). Check the provider's base_url, "
            "and that no login page stands in front of its API."
        )
    elif status in (408, 429):
        text = f"Jenkins, or a proxy in front of it, is overloaded (HTTP {status}). Wait."
    elif status == 200:
        text = not_data()
    else:
        return ProtocolError(
            f"Jenkins answered in a way that it isn't known to (HTTP {status}). "
            "Check the provider's base_url.",
            http_status=status,
        )
    return ProviderUnreachable(text, http_status=status)


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


def not_data() -> str:
    """Return what to say about a page where data was expected."""
    return (
        "Jenkins' address answered with a page instead of data. Check the provider's base_url, and "
        "that no login page stands in front of its API."
    )


def unreachable(failure: TransportFailure) -> ProviderUnreachable:
    """Return the error that stands for having got no answer."""
    return ProviderUnreachable(f"Jenkins can't be reached ({failure.reason}).")


def refusal(status: int, account: str, permission: str | None) -> str:
    """Say what a 401 or 403 means and who can mend it."""
    if status == 401:
        return (
            f"Jenkins doesn't accept the credentials of the account {account!r} (HTTP 401). "
            "Give the provider a valid API token."
        )
    if permission is None:
        return (
            f"Jenkins refuses the account {account!r} (HTTP 403). Check its permissions and that "
            "the provider has its API token."
        )
    group, _, name = permission.rpartition(".")
    shown = f"{_GROUPS[group]}/{name}" if group in _GROUPS else permission
    return (
        f"Jenkins refuses the account {account!r} (HTTP 403): it lacks the permission {shown}. "
        "Grant it in Jenkins."
    )


def trigger_reply(
    reply: HttpReply, job_path: str, account: str, *, knows_mark: bool
) -> TriggerReply:
    """Read the answer to a trigger.

    `knows_mark` says whether this Jenkins is known to put its own header on a 404.
    """
    status = reply.status
    outcome = _outcome(reply, job_path, knows_mark)
    permission = required_permission(reply) if outcome is TriggerOutcome.PROVIDER_FAULT else None
    return TriggerReply(
        outcome=outcome,
        http_status=status,
        queue_id=queue_id_of(reply) if outcome is TriggerOutcome.ACCEPTED else None,
        message=_trigger_message(outcome, status, account, permission),
        required_permission=permission,
        session=session_of(reply),
    )


def failed_trigger(failure: TransportFailure) -> TriggerReply:
    """Say what having got no answer to a trigger means."""
    if not failure.sent:
        return TriggerReply(
            TriggerOutcome.NOT_SENT, message=f"Jenkins can't be reached ({failure.reason})."
        )
    return TriggerReply(
        TriggerOutcome.UNCLEAR,
        message=f"Jenkins was asked to start the job, but its answer was lost ({failure.reason}).",
    )


def _outcome(reply: HttpReply, job_path: str, knows_mark: bool) -> TriggerOutcome:
    status = reply.status
    has_item = _queue_item(reply) is not None
    if status == 201 or (status == 303 and has_item):
        return TriggerOutcome.ACCEPTED
    if status == 302 and leads_to(reply, job_path):
        return TriggerOutcome.REFUSED
    if status in (400, 409) or (status == 404 and (from_jenkins(reply) or not knows_mark)):
        return TriggerOutcome.REJECTED
    if status in (401, 403):
        return TriggerOutcome.PROVIDER_FAULT
    return TriggerOutcome.SERVER_ERROR if status == 500 else TriggerOutcome.UNCLEAR


_REJECTIONS = {
    400: "the job defines parameters now, or none any more. Run it again",
    404: "there is no such job, or the provider's account can't see it. Restore it, then run again",
    409: "it is disabled. Enable it, then run again",
}


def _trigger_message(
    outcome: TriggerOutcome, status: int, account: str, permission: str | None
) -> str:
    match outcome:
        case TriggerOutcome.ACCEPTED:
            return ""
        case TriggerOutcome.REFUSED:
            return (
                "Jenkins refused to queue the job: one of its plugins or settings forbids it now. "
                "Look into Jenkins, then run again."
            )
        case TriggerOutcome.REJECTED:
            return f"Jenkins refused to start the job: {_REJECTIONS[status]}."
        case TriggerOutcome.PROVIDER_FAULT:
            return refusal(status, account, permission)
        case TriggerOutcome.SERVER_ERROR:
            return (
                "Jenkins failed to start the job (HTTP 500). Often a parameter is at fault: a value "
                "that isn't among the choices, or a job that defines no parameters any more."
            )
        case _:
            return (
                f"Jenkins was asked to start the job, but HTTP {status} doesn't say whether it did."
            )
