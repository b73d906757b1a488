"""The survey against whatever may answer: it never raises, changes nothing, and proves only what it saw."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from requests.structures import CaseInsensitiveDict

from deployment_service.cicd.errors import ProtocolError
from deployment_service.cicd.jenkins.http import (
    TOO_LARGE,
    UNTRUSTED,
    HttpReply,
    HttpRequest,
    TransportFailure,
)
from deployment_service.cicd.jenkins.survey import MAX_FOLDERS, Survey
from deployment_service.domain.provider_facts import Access, ControllerFacts, Place

BASE = "https://ci.internal/ci/"
ROOT = {"_class": "hudson.model.Hudson", "useSecurity": True, "url": BASE}
WHO = {"name": "deployer", "anonymous": False}
SAFE_POSTS = ("createItem", "createCredentials")

Answer = HttpReply | Exception


def reply(status: int, body: Any = None, *, marked: bool = True, **headers: str) -> HttpReply:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    own = {"X-Jenkins": "2.440"} if marked else {}
    text = json.dumps(body).encode() if body is not None else b""
    return HttpReply(status, CaseInsensitiveDict(own | named), text)


def xml(text: str) -> HttpReply:
    """An answer without any header of Jenkins, as with a configuration."""
    return HttpReply(200, CaseInsensitiveDict({}), text.encode())


def survey(
    answer: Callable[[HttpRequest], Answer], folders: tuple[str, ...] = ("",)
) -> tuple[ControllerFacts, list[HttpRequest]]:
    asked: list[HttpRequest] = []

    async def perform(request: HttpRequest, timeout_s: float) -> HttpReply:
        asked.append(request)
        given = answer(request)
        if isinstance(given, Exception):
            raise given
        return given

    async def decode(given: HttpReply) -> dict[str, Any]:
        try:
            data = json.loads(given.body)
        except ValueError:
            raise ProtocolError("no JSON") from None
        if given.status != 200 or not isinstance(data, dict):
            raise ProtocolError("no object")
        return data

    facts = asyncio.run(Survey(perform, decode, BASE, 5.0).run(folders, 5.0))
    return facts, asked


def jenkins(**answers: Answer) -> Callable[[HttpRequest], Answer]:
    """A Jenkins where everything is as it should be but ``answers``: by the last part of the path, or `root`."""
    usual: dict[str, Answer] = {
        "whoAmI": reply(200, WHO),
        "createItem": reply(400),
        "createCredentials": reply(400),
        "buildWithParameters": reply(405),
        "config.xml": xml("<?xml version='1.1' encoding='UTF-8'?>\n<project/>"),
        "queue": reply(200, {"items": []}),
        "computer": reply(200, {"computer": []}),
        "pluginManager": reply(200, {"plugins": []}),
        "_": reply(200, {"urlName": "_"}),
        "jobs": reply(200, {**ROOT, "jobs": [{"name": "app", "buildable": True}]}),
        "root": reply(200, ROOT),
    }
    known = usual | {name.replace("config_xml", "config.xml"): one for name, one in answers.items()}

    def answer(request: HttpRequest) -> Answer:
        path = request.path.removesuffix("/api/json")
        if path.endswith("api/json") and not path.removesuffix("api/json"):
            return known["jobs" if "jobs[" in request.params["tree"] else "root"]
        return known[path.rpartition("/")[2]]

    return answer


def test_all_is_granted_where_all_is_as_it_should_be():
    facts, asked = survey(jenkins())
    assert (facts.place, facts.account, facts.complete) == (Place.ROOT, "deployer", True)
    (folder,) = facts.folders
    assert {folder.create, folder.build, folder.configure} == {Access.GRANTED}
    assert {facts.secrets_view, facts.secrets_create} == {Access.GRANTED}
    posts = [one for one in asked if one.method == "POST"]
    assert all(one.path.endswith(SAFE_POSTS) for one in posts)
    assert all((one.body, one.content_type, dict(one.params)) == (None, None, {}) for one in posts)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["jobs", "name", "buildable", "property", "_class", "plugins", "url", "anonymous"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=8,
)
any_answer = st.one_of(
    st.builds(
        reply,
        st.sampled_from([200, 201, 302, 400, 401, 403, 404, 405, 429, 500, 503]),
        json_values,
        marked=st.booleans(),
        Location=st.sampled_from(["", "//[", "/ci/api/json", "http://[::1/api/json", "\x00"]),
        Date=st.sampled_from(["", "soon", "Thu, 01 Jan 2026 00:00:00 GMT", "Thu, 01 Jan 0000"]),
    ),
    st.sampled_from(
        [
            TransportFailure("no answer in time", sent=False),
            TransportFailure(f"{TOO_LARGE} 1024 KiB", sent=True),
            TransportFailure(f"{UNTRUSTED}: expired", sent=False),
        ]
    ),
)


@given(
    answers=st.dictionaries(
        st.sampled_from(
            [
                *("root", "jobs", "whoAmI", "createItem", "createCredentials", "queue", "computer"),
                *("pluginManager", "_", "buildWithParameters", "config_xml"),
            ]
        ),
        any_answer,
    )
)
def test_whatever_answers_the_survey_ends_and_sends_nothing_that_acts(answers):
    facts, asked = survey(jenkins(**answers))
    assert isinstance(facts, ControllerFacts)
    for one in asked:
        assert one.method == "GET" or one.path.endswith(SAFE_POSTS)
        assert one.body is None


@pytest.mark.parametrize(
    ("what", "answered"),
    [
        ("buildWithParameters", reply(404)),
        ("buildWithParameters", reply(403)),
        ("buildWithParameters", reply(403, marked=False)),
        ("buildWithParameters", reply(500)),
        ("buildWithParameters", TransportFailure("no answer in time", sent=True)),
        ("createItem", reply(404)),
        ("createItem", reply(200)),
        ("createItem", reply(403, "No valid crumb was included in the request", marked=False)),
        ("config_xml", reply(403, marked=False)),
        ("config_xml", xml("<!DOCTYPE html><html>Log in</html>")),
        ("config_xml", xml("<HTML>Log in</HTML>")),
        ("config_xml", xml("<?xml version='1.0'?><!DOCTYPE html><html/>")),
        ("config_xml", xml("Log in")),
        ("config_xml", xml("")),
    ],
)
def test_no_answer_that_may_have_other_causes_counts_as_a_missing_permission(what, answered):
    facts, _ = survey(jenkins(**{what: answered}))
    (folder,) = facts.folders
    found = {"buildWithParameters": folder.build, "createItem": folder.create}
    assert found.get(what, folder.configure) is Access.UNKNOWN


@pytest.mark.parametrize("security", [False, None, "yes", 1])
def test_get_of_a_trigger_is_sent_only_where_permissions_are_checked(security):
    """Old versions take it for a start if their security is off."""
    root = reply(200, ROOT | {"useSecurity": security})
    _, asked = survey(jenkins(root=root))
    assert not any("buildWithParameters" in one.path for one in asked)


def test_an_answer_that_is_too_large_is_not_jenkins():
    failure = TransportFailure(f"{TOO_LARGE} 1024 KiB", sent=True)
    facts, asked = survey(jenkins(root=failure))
    assert facts.place is Place.NOT_JENKINS
    assert len(asked) == 1


def test_an_account_with_characters_that_do_not_show_is_not_repeated():
    facts, _ = survey(jenkins(whoAmI=reply(200, {"name": "ad\u202emin"})))
    assert facts.account == ""


def test_at_most_so_many_folders_are_tried():
    names = tuple(f"f{number}" for number in range(MAX_FOLDERS + 3))

    def answer(request: HttpRequest) -> Answer:
        if request.path.startswith("job/") and request.path.endswith("api/json"):
            return reply(200, {"_class": "com.cloudbees.hudson.plugins.folder.Folder", "jobs": []})
        return jenkins()(request)

    facts, asked = survey(answer, names)
    assert sum(1 for one in asked if one.path.endswith("createItem")) == MAX_FOLDERS
    assert not facts.complete
