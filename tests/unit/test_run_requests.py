"""What a caller says about a run, and who asked for it: bounds and characters."""

from __future__ import annotations

import uuid

import pytest

from deployment_service.domain.actors import (
    MAX_ACTOR_CHARS,
    ActorKind,
    check_on_behalf_of,
    clean,
    jenkins_actor,
    key_actor,
)
from deployment_service.domain.errors import InvalidArgument
from deployment_service.domain.run_requests import RunRequest

KEY = key_actor(uuid.UUID(int=7), "ci")


def of(reason: str = "", **annotations: str) -> RunRequest:
    return RunRequest.of(KEY, reason, annotations)


def test_a_key_is_named_by_its_resource() -> None:
    assert KEY.subject == "apiKeys/00000000-0000-0000-0000-000000000007"
    assert key_actor(uuid.UUID(int=7), "ci", "alice").on_behalf_of == "alice"


def test_what_fits_is_kept() -> None:
    about = RunRequest.of(KEY, f"  {'r' * 500} ", {"b/c": "v" * 256, "a.b-c_d": "", "A": "ü"})
    assert about.reason == "r" * 500
    assert list(about.annotations) == ["A", "a.b-c_d", "b/c"]


@pytest.mark.parametrize(
    "key", ["", "-a", "a-", ".a", "a/", "a b", "ä", "a\n", "a" * 64, "a:b", "a=b", "\u202ea"]
)
def test_keys_of_annotations_have_a_grammar(key: str) -> None:
    with pytest.raises(InvalidArgument) as refused:
        RunRequest.of(KEY, "", {key: "x"})
    assert refused.value.field == "annotations"


def test_annotations_and_reason_are_bounded() -> None:
    with pytest.raises(InvalidArgument, match="500"):
        of("r" * 501)
    with pytest.raises(InvalidArgument, match="256"):
        of(a="v" * 257)
    RunRequest.of(KEY, "", {f"k{index}": "v" for index in range(16)})
    with pytest.raises(InvalidArgument, match="16"):
        RunRequest.of(KEY, "", {f"k{index}": "v" for index in range(17)})


@pytest.mark.parametrize("text", ["a\ud800", "a\uffff", "a\x00"])
def test_what_no_store_holds_is_refused(text: str) -> None:
    with pytest.raises(InvalidArgument):
        of(text)
    with pytest.raises(InvalidArgument):
        of(a=text)


@pytest.mark.parametrize(
    "text", ["a\u202eb", "a\u200bb", "a\nb", "a\x1b[2Jb", "a\u2066b", "x" * 201]
)
def test_a_claim_must_look_like_itself(text: str) -> None:
    with pytest.raises(InvalidArgument) as refused:
        check_on_behalf_of(text, field="on_behalf_of")
    assert refused.value.field == "on_behalf_of"


def test_a_claim_may_have_any_letters() -> None:
    assert check_on_behalf_of("  Zoë Łukasz 王 <z@x.org> ", field="f") == "Zoë Łukasz 王 <z@x.org>"
    assert check_on_behalf_of("", field="f") == ""


def test_texts_of_jenkins_are_cleaned_and_bounded() -> None:
    actor = jenkins_actor("al\x00ice", "Started by\n user \u202eecilA " + "x" * 500)
    assert (actor.kind, actor.subject) == (ActorKind.JENKINS, "al ice")
    assert actor.display_name.startswith("Started by user ecilA xxx")
    assert len(actor.display_name) == MAX_ACTOR_CHARS
    assert clean("a\ud800b\u2028c") == "a b c"
