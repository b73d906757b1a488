"""Which parameters a deployment may define, and which values its runs may give."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployment_service.cicd.port import ParameterDefinition
from deployment_service.domain.errors import InvalidArgument
from deployment_service.domain.parameter_definitions import (
    DeclaredParameter,
    ParameterKind,
    check_definitions,
    defaults,
    definitions_from_json,
    definitions_to_json,
    is_defined,
    values_of_run,
)
from tests.support.parameters import strings

BOOLEAN, CHOICE, SECRET, TEXT = (
    ParameterKind.BOOLEAN,
    ParameterKind.CHOICE,
    ParameterKind.SECRET,
    ParameterKind.TEXT,
)


def refused(call: Callable[[], Any]) -> InvalidArgument:
    with pytest.raises(InvalidArgument) as caught:
        call()
    return caught.value


def checked(*definitions: DeclaredParameter, declares: bool = True) -> Sequence[DeclaredParameter]:
    return check_definitions(definitions, field="f", declares=declares)


def run(definitions: Sequence[DeclaredParameter], **given: str) -> dict[str, str]:
    return values_of_run(definitions, {}, given, field="parameters", owner_declares=False)


@pytest.mark.parametrize(
    ("one", "default"),
    [
        (DeclaredParameter("A"), ""),
        (DeclaredParameter("A", default_value=" kept \r\n"), " kept \r\n"),
        (DeclaredParameter("A", TEXT, "a\nb"), "a\nb"),
        (DeclaredParameter("A", BOOLEAN), "false"),
        (DeclaredParameter("A", BOOLEAN, "true"), "true"),
        (DeclaredParameter("A", CHOICE, choices=("b", "a")), "b"),
        (DeclaredParameter("A", CHOICE, choices=("b", "")), ""),
        (DeclaredParameter("A", CHOICE, " a ", choices=("b", " a ")), " a "),
    ],
)
def test_a_run_is_started_with_the_defaults(one: DeclaredParameter, default: str) -> None:
    definitions = checked(one)
    assert defaults(definitions) == run(definitions) == {"A": default}
    stored = json.loads(json.dumps(definitions_to_json(definitions)))
    assert definitions_from_json(stored) == definitions


@pytest.mark.parametrize(
    "one",
    [
        DeclaredParameter("A", required=True, default_value="x"),
        DeclaredParameter("A", SECRET, "s3cret"),
        DeclaredParameter("A", BOOLEAN, "yes"),
        DeclaredParameter("A", BOOLEAN, "TRUE"),
        DeclaredParameter("A", CHOICE),
        DeclaredParameter("A", CHOICE, "c", choices=("a", "b")),
        DeclaredParameter("A", CHOICE, "a", choices=(" a", "b")),
        DeclaredParameter("A", CHOICE, choices=("a", "a")),
        DeclaredParameter("A", CHOICE, choices=("a\nb",)),
        DeclaredParameter("A", CHOICE, choices=tuple(map(str, range(201)))),
        DeclaredParameter("A", BOOLEAN, choices=("true",)),
        DeclaredParameter("A", description="x" * 1001),
        DeclaredParameter("A", description="\x00"),
        DeclaredParameter("A", default_value="\x1b"),
        DeclaredParameter("A", default_value="x" * (32 * 1024 + 1)),
        DeclaredParameter("A B"),
        DeclaredParameter("DEPLOYMENT_RUN_ID"),
    ],
    ids=repr,
)
def test_definitions_that_contradict_themselves_are_refused(one: DeclaredParameter) -> None:
    refused(lambda: checked(one))


def test_a_name_is_defined_once() -> None:
    refused(lambda: checked(DeclaredParameter("A"), DeclaredParameter("A", TEXT)))
    refused(lambda: checked(*(DeclaredParameter(f"P{n}") for n in range(101))))


@pytest.mark.parametrize(
    "name",
    [
        *("PS4", "ENV", "BASH_ENV", "IFS", "PATH", "LD_PRELOAD", "LD_LIBRARY_PATH", "GIT_SSH"),
        *("GIT_SSH_COMMAND", "GIT_ASKPASS", "GIT_CONFIG_COUNT", "GIT_CONFIG_KEY_0", "GIT_CONFIG"),
        *("GIT_EXEC_PATH", "GIT_EXTERNAL_DIFF", "GIT_PROXY_COMMAND", "JAVA_TOOL_OPTIONS"),
        *("_JAVA_OPTIONS", "JDK_JAVA_OPTIONS", "MAVEN_OPTS", "Path", "ld_audit", "DYLD_X"),
        *("PROMPT_COMMAND", "PYTHONPATH", "NODE_OPTIONS", "RUBYOPT", "PERL5OPT", "BASH_FUNC_x"),
    ],
)
def test_names_with_a_meaning_to_shell_loader_jvm_or_git_are_not_declared(name: str) -> None:
    assert refused(lambda: checked(DeclaredParameter(name))).reason == "PARAMETER_RESERVED"
    # The owner of an adopted job may have declared it there.
    checked(DeclaredParameter(name), declares=False)
    # A definition that is older than the rule: its default goes on, a run can't give it.
    old = strings(**{name: "x"})
    assert run(old) == {name: "x"}
    assert refused(lambda: run(old, **{name: "$(id)"})).reason == "PARAMETER_RESERVED"


@pytest.mark.parametrize("name", ["delay", "token", "json"])
def test_names_of_jenkins_form_are_not_declared(name: str) -> None:
    for declares in (True, False):
        error = refused(partial(checked, DeclaredParameter(name), declares=declares))
        assert error.reason == "PARAMETER_RESERVED"


@pytest.mark.parametrize("name", ["VERSION", "TOKEN", "ENVIRONMENT", "GIT_BRANCH", "PATHS", "LDAP"])
def test_usual_names_are_fine(name: str) -> None:
    assert checked(DeclaredParameter(name))


@pytest.mark.parametrize("given", [{"B": ""}, {"a": "1"}, {"PS4": "$(id)"}])
def test_a_run_gives_nothing_that_isnt_defined(given: dict[str, str]) -> None:
    for defined in (strings(A="1"), ()):
        assert refused(partial(run, defined, **given)).reason == "PARAMETER_NOT_DEFINED"
    merged = values_of_run(strings(A="1"), {}, given, field="p", owner_declares=True)
    assert merged == {"A": "1"} | given


@pytest.mark.parametrize(
    ("one", "value"),
    [
        (DeclaredParameter("A", BOOLEAN), "yes"),
        (DeclaredParameter("A", BOOLEAN), " true"),
        (DeclaredParameter("A", CHOICE, choices=("a ", "b")), "a"),
        (DeclaredParameter("A", CHOICE, choices=("a ", "b")), ""),
    ],
)
def test_a_run_gives_values_of_the_kind(one: DeclaredParameter, value: str) -> None:
    for owner_declares in (True, False):
        given = {"A": value}
        error = refused(
            partial(
                values_of_run, (one,), {}, given, field="parameters", owner_declares=owner_declares
            )
        )
        assert error.field == "parameters[A]"
        assert repr(value) in error.message


@pytest.mark.parametrize("kind", [ParameterKind.STRING, SECRET, BOOLEAN])
def test_a_required_parameter_must_be_given(kind: ParameterKind) -> None:
    definitions = checked(DeclaredParameter("A", kind, required=True), DeclaredParameter("B"))
    assert refused(lambda: run(definitions, B="1")).reason == "PARAMETER_REQUIRED"
    assert run(definitions, A="true") == {"A": "true", "B": ""}


def test_a_secret_that_isnt_given_isnt_sent() -> None:
    assert run(checked(DeclaredParameter("A", SECRET))) == {}


def test_fixed_parameters_stand_above_all() -> None:
    merged = values_of_run(
        strings(A="1", B="1"),
        {"F": "1"},
        {"B": "2", "F": "1"},
        field="p",
        owner_declares=False,
    )
    assert merged == {"A": "1", "B": "2", "F": "1"}
    error = refused(
        lambda: values_of_run((), {"F": "1"}, {"F": "2"}, field="p", owner_declares=True)
    )
    assert error.reason == "PARAMETER_FIXED"


@pytest.mark.parametrize(
    ("kind", "choices", "defined"),
    [
        ("StringParameterDefinition", (), True),
        ("TextParameterDefinition", (), False),
        ("ChoiceParameterDefinition", ("1",), False),
    ],
)
def test_whether_a_job_defines_a_string(kind: str, choices: tuple[str, ...], defined: bool) -> None:
    jenkins = ParameterDefinition("A", kind, "1", choices)
    assert is_defined(DeclaredParameter("A"), [jenkins]) is defined
    assert not is_defined(DeclaredParameter("B"), [jenkins])
    assert not is_defined(DeclaredParameter("A"), [jenkins, jenkins])


@pytest.mark.parametrize(("choices", "defined"), [("ba", True), ("a", False), ("abc", False)])
def test_whether_a_job_defines_the_choices(choices: str, defined: bool) -> None:
    jenkins = ParameterDefinition("A", "ChoiceParameterDefinition", "b", tuple(choices))
    assert is_defined(DeclaredParameter("A", CHOICE, choices=("a", "b")), [jenkins]) is defined


@given(st.text(max_size=20), st.sampled_from(ParameterKind), st.lists(st.text(max_size=5)))
def test_what_is_accepted_as_default_is_accepted_of_a_run(
    value: str, kind: ParameterKind, choices: list[str]
) -> None:
    try:
        definitions = checked(DeclaredParameter("A", kind, value, tuple(choices)))
    except InvalidArgument:
        return
    assert run(definitions, **defaults(definitions)) == defaults(definitions)
