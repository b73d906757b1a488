"""What the statuses of answers to reads and changes mean. Defends P3, P4: a proxy's answer is not Jenkins'."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from requests.structures import CaseInsensitiveDict

from deployment_service.cicd.errors import (
    ProtocolError,
    ProviderRefused,
    ProviderUnreachable,
)
from deployment_service.cicd.jenkins import replies
from deployment_service.cicd.jenkins import trigger_replies as triggers
from deployment_service.cicd.jenkins.http import HttpReply

MARK = {"X-Jenkins": "2.440", "X-Jenkins-Session": "abc"}


def reply(status, **headers):
    return HttpReply(
        status, CaseInsensitiveDict({k.replace("_", "-"): v for k, v in headers.items()})
    )


@pytest.mark.parametrize(
    "status", [200, 302, 307, 404, 405, 408, 422, 429, 500, 502, 503, 504, 511]
)
def test_what_may_pass_is_unreachable(status):
    assert type(replies.error_of(reply(status), "a")) is ProviderUnreachable


@pytest.mark.parametrize("status", [401, 403])
def test_what_an_administrator_must_change_is_refused(status):
    error = replies.error_of(reply(status, X_Required_Permission="hudson.model.Hudson.Read"), "a")
    assert isinstance(error, ProviderRefused)
    assert error.account == "a"
    assert error.required_permission == "hudson.model.Hudson.Read"


@pytest.mark.parametrize("status", [201, 400, 414, 418])
def test_what_jenkins_never_says_is_a_protocol_error(status):
    assert type(replies.error_of(reply(status), "a")) is ProtocolError


@given(st.integers(200, 599), st.text(max_size=300))
def test_no_message_holds_markup_or_what_a_stranger_put_into_headers(status, text):
    text = f"<b>{text}"
    answer = reply(status, Location=text, X_Error=text, X_Required_Permission=text)
    told = triggers.trigger_reply(answer, "job/web", "deployer").message
    for message in (told, replies.error_of(answer, "a").message):
        assert "<" not in message
        assert message == "" or text not in message
    assert "<" not in replies.quoted_error(reply(400, X_Error="<p>no</p> <script>x</script>"))


def test_what_jenkins_says_is_quoted_in_one_short_line():
    answer = reply(400, X_Error="A job already\r\n exists \x00 with the name ‘x’" + "y" * 500)
    quoted = replies.quoted_error(answer)
    assert quoted.startswith("A job already exists with the name ‘x’")
    assert len(quoted) == 200
