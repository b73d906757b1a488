"""All answers except success: one table, from which the responses and the table in the docs are generated."""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import StrEnum

from aiohttp import web

from deployment_service.v1 import gateway_service_pb2 as pb

# Hides the names and versions of the libraries.
SERVER = "webhook-gateway"


class Reason(StrEnum):
    """Why a request was not answered with success; part of the interface, so never renamed."""

    EMPTY_BODY = "EMPTY_BODY"
    MALFORMED_BODY = "MALFORMED_BODY"
    UNKNOWN_BODY = "UNKNOWN_BODY"
    INVALID_FIELD = "INVALID_FIELD"
    INCOMPLETE_BODY = "INCOMPLETE_BODY"
    MALFORMED_REQUEST = "MALFORMED_REQUEST"
    REPORT_INVALID = "REPORT_INVALID"
    WRONG_JOB = "WRONG_JOB"
    UNAUTHENTICATED = "UNAUTHENTICATED"
    SIGNATURE_OUT_OF_TIME = "SIGNATURE_OUT_OF_TIME"
    NO_SUCH_PATH = "NO_SUCH_PATH"
    NO_MAPPING = "NO_MAPPING"
    METHOD_NOT_ALLOWED = "METHOD_NOT_ALLOWED"
    BODY_TIMEOUT = "BODY_TIMEOUT"
    BODY_TOO_LARGE = "BODY_TOO_LARGE"
    UNSUPPORTED_MEDIA_TYPE = "UNSUPPORTED_MEDIA_TYPE"
    UNSUPPORTED_ENCODING = "UNSUPPORTED_ENCODING"
    TOO_MANY_FAILED_PROOFS = "TOO_MANY_FAILED_PROOFS"
    TOO_MANY_REPORTS = "TOO_MANY_REPORTS"
    INTERNAL = "INTERNAL"
    SERVICE_UNAVAILABLE = "SERVICE_UNAVAILABLE"
    NOT_DURABLE_YET = "NOT_DURABLE_YET"
    KEYS_UNAVAILABLE = "KEYS_UNAVAILABLE"
    OVERLOADED = "OVERLOADED"
    HTTP_VERSION_NOT_SUPPORTED = "HTTP_VERSION_NOT_SUPPORTED"


@dataclass(frozen=True, slots=True)
class Answer:
    """The HTTP answer of a reason."""

    status: int
    title: str
    advice: str


ANSWERS: dict[Reason, Answer] = {
    Reason.EMPTY_BODY: Answer(
        400, "The body is empty.", "Send the report as JSON in the request's body."
    ),
    Reason.MALFORMED_BODY: Answer(
        400,
        "The body isn't valid JSON in UTF-8.",
        "Correct the JSON; with curl, send it with --data-binary.",
    ),
    Reason.UNKNOWN_BODY: Answer(
        400,
        "The body is JSON, but not a report.",
        "Send {jobId, status, buildNumber, timestamp}, or let the Notification plugin send.",
    ),
    Reason.INVALID_FIELD: Answer(
        400, "A field of the report is invalid.", "Correct the field that `detail` names."
    ),
    Reason.INCOMPLETE_BODY: Answer(
        400, "The connection ended before the body did.", "Send it again."
    ),
    Reason.MALFORMED_REQUEST: Answer(
        400, "This isn't a well-formed HTTP request.", "Shorten the headers, or correct the sender."
    ),
    Reason.REPORT_INVALID: Answer(
        400, "The deployment service finds the report invalid.", "See `detail`."
    ),
    Reason.WRONG_JOB: Answer(
        400,
        "The token belongs to another job than the report.",
        "Give this job a webhook URL of its own: a copied job still has the URL of the original.",
    ),
    Reason.UNAUTHENTICATED: Answer(
        401,
        "There is neither a valid token nor a valid signature.",
        "Use the job's webhook URL as the deployment service made it, with ?token=…, "
        "or the token as the password in https://jenkins:TOKEN@…. To sign: name the job with ?job=…, sign the "
        "body's very bytes with the job's own secret, send webhook-id (no full stop in it), webhook-timestamp "
        "(whole seconds) and webhook-signature once each.",
    ),
    Reason.SIGNATURE_OUT_OF_TIME: Answer(
        401,
        "The signature is right, but its time is more than five minutes off.",
        "Sign at the time of sending, and correct the sender's clock. The job will be read from Jenkins.",
    ),
    Reason.NO_SUCH_PATH: Answer(
        404,
        "There is nothing at this path.",
        "The path is /{locale}/{tenant}/deployment/webhooks/jenkins, locale as in `en` or `pt-BR`. "
        "If there is a valid token in the URL, its job will be read from Jenkins.",
    ),
    Reason.NO_MAPPING: Answer(
        404,
        "The job isn't mapped to any deployment.",
        "Create a deployment that adopts the job, or remove the webhook from it.",
    ),
    Reason.METHOD_NOT_ALLOWED: Answer(
        405, "Only POST (and GET to check the URL) is allowed here.", "Use POST."
    ),
    Reason.BODY_TIMEOUT: Answer(
        408,
        "The body took too long to arrive.",
        "Send less log (loglines 0), or check the network.",
    ),
    Reason.BODY_TOO_LARGE: Answer(
        413, "The body is too large.", "Send less log: set the endpoint's loglines to 0."
    ),
    Reason.UNSUPPORTED_MEDIA_TYPE: Answer(
        415,
        "Only JSON is supported.",
        "Send Content-Type: application/json; in the Notification plugin choose the format JSON.",
    ),
    Reason.UNSUPPORTED_ENCODING: Answer(
        415,
        "Compressed bodies are not supported.",
        "Send the body uncompressed, without Content-Encoding.",
    ),
    Reason.TOO_MANY_FAILED_PROOFS: Answer(
        429,
        "Too many requests without a valid token came from this address.",
        "Correct the token, then wait for the time in Retry-After.",
    ),
    Reason.TOO_MANY_REPORTS: Answer(
        429,
        "The tenant exceeds its rate of reports.",
        "Nothing: the job will be read from Jenkins. If it happens often, raise WEBHOOK_GATEWAY_TENANT_CEILING.",
    ),
    Reason.INTERNAL: Answer(
        500, "The gateway failed.", "Report it to its operators; the job will be read from Jenkins."
    ),
    Reason.SERVICE_UNAVAILABLE: Answer(
        503,
        "The deployment service is unavailable.",
        "Nothing: the report is kept and delivered later. Sending it again does no harm.",
    ),
    Reason.NOT_DURABLE_YET: Answer(
        503,
        "The report wasn't stored in time.",
        "Nothing: the report is kept and delivered later. Sending it again does no harm.",
    ),
    Reason.KEYS_UNAVAILABLE: Answer(
        503,
        "The token cannot be verified at present.",
        "Nothing: the report is not kept, but if the token is right its job will be read from Jenkins.",
    ),
    Reason.OVERLOADED: Answer(
        503,
        "The gateway has no room for the report.",
        "Nothing: the job will be read from Jenkins. Sending it again later does no harm.",
    ),
    Reason.HTTP_VERSION_NOT_SUPPORTED: Answer(
        505,
        "Only HTTP/1.1 and HTTP/1.0 are supported.",
        "Send HTTP/1.1; a proxy in front may support other versions for its clients.",
    ),
}


class RefusedError(Exception):
    """Ends the handling of a request with one of ``ANSWERS``."""

    def __init__(
        self,
        reason: Reason,
        detail: str = "",
        *,
        retry_after: float | None = None,
        verdict: str | None = None,
    ) -> None:
        super().__init__(reason.value)
        self.reason = reason
        self.detail = detail
        self.retry_after = retry_after
        self.verdict = verdict
        self.allow = ""


# The HTTP answer of a verdict. AMBIGUOUS and DEFERRED are 202: accepted, but not stored; a read from Jenkins finds the
# result of the build. The forwarder retries RETRY until the answer timeout.
VERDICTS: dict[int, int | Reason] = {
    pb.REPORT_VERDICT_APPLIED: 200,
    pb.REPORT_VERDICT_DUPLICATE: 200,
    pb.REPORT_VERDICT_STALE: 200,
    pb.REPORT_VERDICT_PENDING_ATTRIBUTION: 202,
    pb.REPORT_VERDICT_TESTED: 200,
    pb.REPORT_VERDICT_AMBIGUOUS: 202,
    pb.REPORT_VERDICT_DEFERRED: 202,
    pb.REPORT_VERDICT_NO_SUCH_BUILD: 202,
    pb.REPORT_VERDICT_DISPROVED: 202,
    pb.REPORT_VERDICT_NO_MAPPING: Reason.NO_MAPPING,
    pb.REPORT_VERDICT_WRONG_JOB: Reason.WRONG_JOB,
    pb.REPORT_VERDICT_INVALID: Reason.REPORT_INVALID,
    pb.REPORT_VERDICT_RETRY: Reason.NOT_DURABLE_YET,
    pb.REPORT_VERDICT_UNSPECIFIED: Reason.NOT_DURABLE_YET,
}


def problem(refusal: RefusedError) -> web.Response:
    """Return the answer as problem+json (RFC 9457)."""
    answer = ANSWERS[refusal.reason]
    body: dict[str, object] = {
        "type": f"urn:deployment-service:webhook:{refusal.reason}",
        "title": answer.title,
        "status": answer.status,
        "detail": " ".join(filter(None, (refusal.detail, answer.advice))),
        "reason": refusal.reason.value,
    }
    if refusal.verdict is not None:
        body["verdict"] = refusal.verdict
    response = web.Response(
        status=answer.status,
        body=json.dumps(body).encode(),
        content_type="application/problem+json",
        headers={
            "Server": SERVER,
            "Cache-Control": "no-store",
            "X-Content-Type-Options": "nosniff",
        },
    )
    if refusal.retry_after is not None:
        response.headers["Retry-After"] = str(max(1, round(refusal.retry_after)))
    if refusal.allow:
        response.headers["Allow"] = refusal.allow
    if refusal.reason is Reason.UNAUTHENTICATED:
        response.headers["WWW-Authenticate"] = 'Basic realm="webhook", charset="UTF-8"'
    return response


def table() -> str:
    """Return the table for the docs."""
    rows = [
        f"| {answer.status} | `{reason}` | {answer.title} | {answer.advice} |"
        for reason, answer in ANSWERS.items()
    ]
    return "\n".join(
        ["| status | reason | what it means | what to do |", "|---|---|---|---|", *rows]
    )
