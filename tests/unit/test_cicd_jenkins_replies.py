"""What Jenkins' statuses mean. Defends P3: the reply table that decides whether anything is posted again."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from requests.structures import CaseInsensitiveDict

from deployment_service.cicd import jenkins_replies as replies
from deployment_service.cicd.errors import (
    ProtocolError,
    ProviderRefused,
    ProviderUnreachable,
)
from deployment_service.cicd.jenkins_http import HttpReply, TransportFailure
from deployment_service.cicd.port import TriggerOutcome

ITEM = "http://other:1/ci/queue/item/38/"
JOB = "job/shop/job/web%20prod"
MARK = {"X-Jenkins": "2.440", "X-Jenkins-Session": "abc"}


def reply(status, **headers):
    return HttpReply(
        status, CaseInsensitiveDict({k.replace("_", "-"): v for k, v in headers.items()})
    )


def read(answer, knows_mark=True):
    return replies.trigger_reply(answer, JOB, "deployer", knows_mark=knows_mark)


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (reply(201, Location=ITEM), TriggerOutcome.ACCEPTED),
        (reply(201), TriggerOutcome.ACCEPTED),
        (reply(303, Location=ITEM), TriggerOutcome.ACCEPTED),
        (reply(303, Location="https://sso/login?to=/queue/item/38/"), TriggerOutcome.UNCLEAR),
        (reply(303), TriggerOutcome.UNCLEAR),
        (reply(302, Location="http://ci/job/shop/job/web%20prod/"), TriggerOutcome.REFUSED),
        (reply(302, Location="/ci/job/shop/job/web%20prod"), TriggerOutcome.REFUSED),
        (reply(302, Location="."), TriggerOutcome.REFUSED),
        (reply(302, Location="https://sso/login"), TriggerOutcome.UNCLEAR),
        (reply(302, Location=f"https://sso/login?from=/{JOB}"), TriggerOutcome.UNCLEAR),
        (reply(302), TriggerOutcome.UNCLEAR),
        (reply(301, Location=f"https://ci/{JOB}/"), TriggerOutcome.UNCLEAR),
        (reply(307, Location=f"https://ci/{JOB}/"), TriggerOutcome.UNCLEAR),
        (reply(308, Location=f"https://ci/{JOB}/"), TriggerOutcome.UNCLEAR),
        (reply(400), TriggerOutcome.REJECTED),
        (reply(404, **MARK), TriggerOutcome.REJECTED),
        (reply(404), TriggerOutcome.UNCLEAR),
        (reply(409), TriggerOutcome.REJECTED),
        (reply(401), TriggerOutcome.PROVIDER_FAULT),
        (reply(403), TriggerOutcome.PROVIDER_FAULT),
        (reply(500), TriggerOutcome.SERVER_ERROR),
        *((reply(status), TriggerOutcome.UNCLEAR) for status in (200, 202, 204, 405, 408, 413)),
        *((reply(status), TriggerOutcome.UNCLEAR) for status in (414, 429, 502, 503, 504, 599)),
    ],
    ids=lambda value: value.name if isinstance(value, TriggerOutcome) else str(value.status),
)
def test_the_reply_table(answer, outcome):
    result = read(answer)
    assert result.outcome is outcome
    assert result.http_status == answer.status
    has_id = outcome is TriggerOutcome.ACCEPTED and "Location" in answer.headers
    assert result.queue_id == ("38" if has_id else None)
    assert bool(result.message) == (outcome is not TriggerOutcome.ACCEPTED)


def test_a_404_without_jenkins_header_counts_where_it_is_never_sent():
    """A proxy may strip Jenkins' headers: then their absence means nothing."""
    assert read(reply(404), knows_mark=False).outcome is TriggerOutcome.REJECTED


def test_a_refusal_names_account_permission_and_cure():
    result = read(reply(403, X_Required_Permission="hudson.model.Item.Build"))
    assert result.required_permission == "hudson.model.Item.Build"
    assert "'deployer'" in result.message
    assert "Job/Build" in result.message
    assert "API token" in read(reply(401)).message


def test_only_what_left_can_be_unclear():
    assert (
        replies.failed_trigger(TransportFailure("x", sent=False)).outcome is TriggerOutcome.NOT_SENT
    )
    assert (
        replies.failed_trigger(TransportFailure("x", sent=True)).outcome is TriggerOutcome.UNCLEAR
    )


@pytest.mark.parametrize("status", [200, 302, 307, 404, 408, 429, 500, 502, 503, 504])
def test_what_may_pass_is_unreachable(status):
    assert type(replies.error_of(reply(status), "a")) is ProviderUnreachable


@pytest.mark.parametrize("status", [401, 403])
def test_what_an_administrator_must_mend_is_refused(status):
    error = replies.error_of(reply(status, X_Required_Permission="hudson.model.Hudson.Read"), "a")
    assert isinstance(error, ProviderRefused)
    assert error.account == "a"
    assert error.required_permission == "hudson.model.Hudson.Read"


@pytest.mark.parametrize("status", [201, 400, 405, 414, 418])
def test_what_jenkins_never_says_is_a_protocol_error(status):
    assert type(replies.error_of(reply(status), "a")) is ProtocolError


@given(st.integers(200, 599), st.text(max_size=300))
def test_no_message_holds_markup_or_what_a_stranger_put_into_headers(status, text):
    text = f"<b>{text}"
    answer = reply(status, Location=text, X_Error=text, X_Required_Permission=text)
    for message in (read(answer).message, replies.error_of(answer, "a").message):
        assert "<" not in message
        assert message == "" or text not in message
    assert "<" not in replies.quoted_error(reply(400, X_Error="<p>no</p> <script>x</script>"))


def test_what_jenkins_says_is_quoted_in_one_short_line():
    answer = reply(400, X_Error="A job already\r\n exists \x00 with the name ‘x’" + "y" * 500)
    quoted = replies.quoted_error(answer)
    assert quoted.startswith("A job already exists with the name ‘x’")
    assert len(quoted) == 200
