"""What the answer to a trigger proves: one table for every status. Pure: no I/O.

Two questions decide. Did Jenkins itself answer (`jenkins_authors`)? Does the answer prove that nothing was done?
Any 4xx does, from whichever party: it refused the request. It is final where the same request would be refused
again; what only the moment is to blame for is waited out.
"""

from __future__ import annotations

from deployment_service.cicd.jenkins.authors import Author, author_of
from deployment_service.cicd.jenkins.http import HttpReply, TransportFailure
from deployment_service.cicd.jenkins.replies import (
    NOT_REACHED,
    described_author,
    leads_to,
    queue_id_of,
    queue_item_in,
    refusal,
    required_permission,
    retry_after_s,
    session_of,
)
from deployment_service.cicd.port import TriggerOutcome, TriggerReply

# Said of the moment, or by something that says nothing about Jenkins.
_WAITED_OUT = (407, 408, 421, 423, 425, 429, 499, 511)
# Final only if Jenkins says it about its own objects or our rights.
_ABOUT_JENKINS = (403, 404, 409)
_TOO_LARGE = (413, 414, 431)


def trigger_reply(reply: HttpReply, job_path: str, account: str) -> TriggerReply:
    """Read the answer to a trigger."""
    outcome = outcome_of(reply, job_path)
    refused = outcome is TriggerOutcome.PROVIDER_FAULT
    return TriggerReply(
        outcome=outcome,
        http_status=reply.status,
        queue_id=queue_id_of(reply) if outcome is TriggerOutcome.ACCEPTED else None,
        message=_message(outcome, reply, account),
        required_permission=required_permission(reply) if refused else None,
        session=session_of(reply),
        retry_after_s=retry_after_s(reply) if outcome is TriggerOutcome.NOT_DONE else None,
    )


def failed_trigger(failure: TransportFailure) -> TriggerReply:
    """Say what having got no answer to a trigger means."""
    if not failure.sent:
        return TriggerReply(TriggerOutcome.NOT_SENT, message=NOT_REACHED, detail=failure.reason)
    return TriggerReply(
        TriggerOutcome.UNCLEAR,
        message="Jenkins was asked to start the job, but its answer was lost.",
        detail=failure.reason,
    )


def outcome_of(reply: HttpReply, job_path: str) -> TriggerOutcome:
    """Return what an answer proves."""
    status, author = reply.status, author_of(reply)
    if status == 201 or (status == 303 and queue_item_in(reply) is not None):
        return TriggerOutcome.ACCEPTED
    if status == 302 and leads_to(reply, job_path):
        return TriggerOutcome.REFUSED
    if author is Author.STARTING or status in _WAITED_OUT:
        return TriggerOutcome.NOT_DONE
    if 400 <= status < 500:
        return _refusal_of(status, author)
    if status == 503 and retry_after_s(reply) is not None:
        return TriggerOutcome.NOT_DONE
    if status == 500 and (author is Author.JENKINS or not reply.mark_expected):
        return TriggerOutcome.SERVER_ERROR
    return TriggerOutcome.UNCLEAR


def _refusal_of(status: int, author: Author) -> TriggerOutcome:
    """Return what a 4xx means: it proves in any case that nothing was done."""
    if status in _ABOUT_JENKINS and author is Author.FRONT:
        return TriggerOutcome.NOT_DONE
    if status in (401, 403) and author is not Author.FRONT:
        return TriggerOutcome.PROVIDER_FAULT
    return TriggerOutcome.REJECTED


_REJECTIONS = {
    400: "the job defines parameters now, or none any more. Run it again",
    404: "there is no such job, or the provider's account can't see it. Restore it, then run again",
    409: "it is disabled. Enable it, then run again",
}


def _message(outcome: TriggerOutcome, reply: HttpReply, account: str) -> str:
    author, who = author_of(reply), described_author(reply)
    match outcome:
        case TriggerOutcome.ACCEPTED:
            return ""
        case TriggerOutcome.REFUSED:
            return (
                "Jenkins refused to queue the job: one of its plugins or settings forbids it now. "
                "Look into Jenkins, then run again."
            )
        case TriggerOutcome.REJECTED:
            return _rejection(reply, author, who)
        case TriggerOutcome.PROVIDER_FAULT:
            return refusal(reply.status, account, required_permission(reply), author)
        case TriggerOutcome.NOT_DONE:
            return f"{who}. Nothing was started."
        case TriggerOutcome.SERVER_ERROR:
            return (
                f"{who}: it failed to start the job. Often a parameter is at fault: a value "
                "that isn't among the choices, or a job that defines no parameters any more."
            )
        case _:
            return f"{who}, which doesn't say whether the job was started."


def _rejection(reply: HttpReply, author: Author, who: str) -> str:
    status = reply.status
    if status in _REJECTIONS and (author is Author.JENKINS or status != 400):
        return f"Jenkins refused to start the job: {_REJECTIONS[status]}."
    if status in _TOO_LARGE:
        return (
            f"{who}: the request is too large. Nothing was started, and it would be refused again. Shorten the "
            "parameters, or raise the limit there (nginx: client_max_body_size), then run again."
        )
    if status == 401:
        return (
            f"{who}: it wants a login of its own. Nothing was started. Let the service pass there without one, then "
            "run again."
        )
    return (
        f"{who}: it refuses such a request. Nothing was started, and it would be refused again. Look into its log and "
        "check the provider's base_url, then run again."
    )
