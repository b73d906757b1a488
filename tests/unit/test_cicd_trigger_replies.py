"""What each answer to a trigger proves. Defends P3: the table that decides whether anything is posted again."""

import pytest
from requests.structures import CaseInsensitiveDict

from deployment_service.cicd.jenkins import trigger_replies as triggers
from deployment_service.cicd.jenkins.authors import Author, Marks, author_of
from deployment_service.cicd.jenkins.http import HttpReply, TransportFailure
from deployment_service.cicd.jenkins.replies import error_of, retry_after_s
from deployment_service.cicd.port import TriggerOutcome
from deployment_service.domain.problems import ProblemReason

ITEM = "http://other:1/ci/queue/item/38/"
JOB = "job/shop/job/web%20prod"
MARK = {"X-Jenkins": "2.440", "X-Jenkins-Session": "abc"}
BASIC = 'Basic realm="Jenkins"'
CRUMB = b"<html>HTTP ERROR 403 No valid crumb was included in the request</html>"
WAIT = b"<html>Please wait while Jenkins is getting ready to work</html>"
BROKEN_START = b"Exception: class hudson.security.csrf.DefaultCrumbIssuer is missing its descriptor"
PAGE = b"<html><h1>Forbidden</h1><p>Your support ID is 4711</p></html>"


def reply(status, body=b"", *, stripped=False, **headers):
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    return HttpReply(status, CaseInsensitiveDict(headers), body, mark_expected=not stripped)


def read(answer):
    return triggers.trigger_reply(answer, JOB, "deployer")


T = TriggerOutcome
JENKINS = [
    (reply(201, Location=ITEM), T.ACCEPTED),
    (reply(201), T.ACCEPTED),
    (reply(201, Location="http://[broken/queue/item/38/"), T.ACCEPTED),
    (reply(303, Location=ITEM), T.ACCEPTED),
    (reply(302, Location="http://ci/job/shop/job/web%20prod/"), T.REFUSED),
    (reply(302, Location="/ci/job/shop/job/web%20prod"), T.REFUSED),
    (reply(302, Location="."), T.REFUSED),
    (reply(400, **MARK), T.REJECTED),
    (reply(404, **MARK), T.REJECTED),
    (reply(405, **MARK), T.REJECTED),
    (reply(409, **MARK), T.REJECTED),
    (reply(422, **MARK), T.REJECTED),
    (reply(401, WWW_Authenticate=BASIC), T.PROVIDER_FAULT),
    (reply(401), T.PROVIDER_FAULT),
    (reply(403, **MARK), T.PROVIDER_FAULT),
    (reply(403, X_Required_Permission="hudson.model.Item.Build"), T.PROVIDER_FAULT),
    (reply(500, **MARK), T.SERVER_ERROR),
]
STARTING = [
    (reply(403, CRUMB), T.NOT_DONE),
    (reply(503, WAIT), T.NOT_DONE),
    (reply(500, BROKEN_START), T.NOT_DONE),
]
FRONT = [
    (reply(303, Location="https://sso/login?to=/queue/item/38/"), T.UNCLEAR),
    (reply(303), T.UNCLEAR),
    (reply(302, Location="https://sso/login"), T.UNCLEAR),
    (reply(302, Location=f"https://sso/login?from=/{JOB}"), T.UNCLEAR),
    (reply(302, Location="http://[broken"), T.UNCLEAR),
    (reply(302), T.UNCLEAR),
    *((reply(status, Location=f"https://ci/{JOB}/"), T.UNCLEAR) for status in (301, 307, 308)),
    *((reply(status), T.UNCLEAR) for status in (200, 202, 204, 500, 502, 503, 504, 599)),
    (reply(401, WWW_Authenticate='Basic realm="proxy"'), T.REJECTED),
    (reply(401, WWW_Authenticate="Negotiate"), T.REJECTED),
    *((reply(status, PAGE), T.NOT_DONE) for status in (403, 404, 407, 408, 409)),
    *((reply(status, PAGE), T.NOT_DONE) for status in (421, 423, 425, 429, 499, 511)),
    *((reply(status, PAGE), T.REJECTED) for status in (400, 405, 406, 410, 411, 413, 414, 415)),
    *((reply(status, PAGE), T.REJECTED) for status in (417, 418, 422, 426, 428, 431, 451, 460)),
    (reply(503, Retry_After="7"), T.NOT_DONE),
    (reply(503, Retry_After="soon"), T.UNCLEAR),
]
STRIPPED = [
    (reply(404, stripped=True), T.REJECTED),
    (reply(409, stripped=True), T.REJECTED),
    (reply(403, stripped=True), T.PROVIDER_FAULT),
    (reply(500, stripped=True), T.SERVER_ERROR),
]


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [*JENKINS, *STARTING, *FRONT, *STRIPPED],
    ids=lambda value: value.name if isinstance(value, TriggerOutcome) else str(value.status),
)
def test_the_reply_table(answer, outcome):
    result = read(answer)
    assert result.outcome is outcome
    assert result.http_status == answer.status
    assert bool(result.message) == (outcome is not TriggerOutcome.ACCEPTED)
    assert (
        outcome in (T.ACCEPTED, T.REFUSED)
        or answer.status in (400, 404, 409, 401, 403)
        or (f"HTTP {answer.status}" in result.message)
    )


@pytest.mark.parametrize("author", ["X-Jenkins", "none", "stripped"])
@pytest.mark.parametrize("status", range(400, 500))
def test_a_4xx_proves_that_nothing_was_done_whoever_sent_it(status, author):
    answer = reply(status, stripped=author == "stripped", **(MARK if author == "X-Jenkins" else {}))
    assert read(answer).outcome in (T.REJECTED, T.PROVIDER_FAULT, T.NOT_DONE)


@pytest.mark.parametrize("status", [status for status in range(500, 600) if status != 511])
def test_a_5xx_of_something_in_front_proves_nothing(status):
    assert read(reply(status, PAGE)).outcome is T.UNCLEAR


@pytest.mark.parametrize(("answer", "_"), STARTING)
def test_a_starting_jenkins_says_nothing_about_rights(answer, _):
    assert author_of(answer) is Author.STARTING
    message = read(answer).message
    assert "starting" in message
    assert "token" not in message or "never needs" in message
    assert error_of(answer, "deployer").reason is ProblemReason.STARTING


@pytest.mark.parametrize("status", [403, 404, 405, 409, 422])
@pytest.mark.parametrize("server", ["nginx/1.25.3", "awselb/2.0", "<b>evil</b>", ""])
def test_a_page_of_something_in_front_is_named_as_such(status, server):
    answer = reply(status, PAGE, Server=server)
    error = error_of(answer, "deployer")
    assert error.reason is ProblemReason.NOT_JENKINS
    for message in (error.message, read(answer).message):
        assert message.startswith("Something in front of Jenkins answered with HTTP")
        assert "X-Jenkins" in message
        assert "Check its permissions" not in message
        assert (server in message) == (server != "<b>evil</b>")


def test_what_is_too_large_says_so_and_what_to_do():
    for status in (413, 414, 431):
        message = read(reply(status, Server="nginx")).message
        assert "too large" in message
        assert "client_max_body_size" in message
        assert "Nothing was started" in message


def test_a_refusal_names_account_permission_and_cure():
    result = read(reply(403, X_Required_Permission="hudson.model.Item.Build"))
    assert result.required_permission == "hudson.model.Item.Build"
    assert "'deployer'" in result.message
    assert "Job/Build" in result.message
    assert "API token" in read(reply(401, WWW_Authenticate=BASIC)).message
    assert "API token" not in read(reply(401, WWW_Authenticate="Negotiate")).message


def test_only_what_left_can_be_unclear():
    assert triggers.failed_trigger(TransportFailure("x", sent=False)).outcome is T.NOT_SENT
    assert triggers.failed_trigger(TransportFailure("x", sent=True)).outcome is T.UNCLEAR


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry-After": "7"}, 7.0),
        ({"Retry-After": " 120 "}, 120.0),
        ({"Retry-After": "999999999"}, 3600.0),
        (
            {
                "Retry-After": "Sat, 28 Nov 2026 01:00:30 GMT",
                "Date": "Sat, 28 Nov 2026 01:00:00 GMT",
            },
            30.0,
        ),
        ({"Retry-After": "Sat, 28 Nov 1998 01:00:00 GMT"}, 0.0),
        *(({"Retry-After": text}, None) for text in ("", "soon", "-5", "1.5", "Sat, 99 Nov 2026")),
        ({}, None),
    ],
)
def test_retry_after(headers, seconds):
    assert retry_after_s(HttpReply(429, CaseInsensitiveDict(headers))) == seconds
    told = read(HttpReply(429, CaseInsensitiveDict(headers)))
    assert (told.outcome, told.retry_after_s) == (T.NOT_DONE, seconds)


def test_the_header_is_expected_until_json_comes_without_it():
    now = [0.0]
    marks = Marks(lambda: now[0])
    bare, marked = reply(200), reply(200, **MARK)
    shown = [(marks.is_from_jenkins(bare), marks.expected)]
    marks.note(marked)
    shown.append((marks.is_from_jenkins(marked), marks.expected))
    shown.append((marks.is_from_jenkins(bare), marks.expected))
    now[0] = 3600.0
    shown.append((marks.is_from_jenkins(bare), marks.expected))
    assert shown == [(True, False), (True, True), (False, True), (True, False)]
    assert Marks().expected
