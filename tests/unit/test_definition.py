"""What a deployment may be defined as: each limit, one step inside it and one outside."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployment_service.cicd import port
from deployment_service.cicd.jenkins import config_xml, job_xml
from deployment_service.domain import definition, parameters
from deployment_service.domain.definition import (
    JobDefinition,
    JobKind,
    JobRules,
    check_allowed,
    check_display_name,
    check_full_name,
    check_job,
    check_labels,
    default_full_name,
)
from deployment_service.domain.errors import (
    FailedPrecondition,
    InvalidArgument,
    PermissionDenied,
    ServiceError,
)
from deployment_service.domain.parameter_definitions import (
    check_definitions,
    definitions_to_json,
    values_of_run,
)
from deployment_service.domain.parameters import check_parameters
from deployment_service.domain.scm import PipelineScm
from tests.support.parameters import strings


def _short(text: str) -> str:
    return ascii(text)[:30]


SCM = PipelineScm("ssh://git@git.internal/shop/web.git")


def test_the_provider_port_means_the_same_parameter_and_kinds() -> None:
    assert parameters.RUN_ID_PARAMETER == port.RUN_ID_PARAMETER
    assert {kind.value for kind in job_xml.JobKind} == set(JobKind) - {JobKind.EXISTING}
    assert definition.MAX_CONFIG_XML_CHARS <= config_xml.MAX_CONFIG_XML_CHARS


@pytest.mark.parametrize("name", ["", "Web shop, production", "Größe 🚀", "x" * 200])
def test_display_names_that_are_fine(name: str) -> None:
    assert check_display_name(f" {name} ", field="f") == name


@pytest.mark.parametrize(
    "name", ["x" * 201, "a\nb", "a\x00b", "a\u2028b", "\x1b[31mred", "x" * 10**6], ids=_short
)
def test_display_names_that_arent(name: str) -> None:
    _refused(lambda: check_display_name(name, field="deployment.display_name"))


@pytest.mark.parametrize(
    "parameters",
    [
        {},
        {"_a": "", "A.b-c_9": "x" * 32 * 1024, "Z": "line 1\nline 2\ttab äß🚀"},
        {f"P{n}": "" for n in range(100)},
        {"P" * 200: ""},
    ],
)
def test_parameters_that_are_fine_come_sorted_by_name(parameters: dict[str, str]) -> None:
    checked = check_parameters(parameters, field="f")
    assert checked == parameters
    assert list(checked) == sorted(parameters)


@pytest.mark.parametrize(
    "parameters",
    [
        {f"P{n}": "" for n in range(101)},
        {"P" * 201: ""},
        {"": ""},
        {"9A": ""},
        {"A B": ""},
        {"A\n": ""},
        {"Ä": ""},
        {"A": "x" * (32 * 1024 + 1)},
        {"A": "ä" * (16 * 1024 + 1)},
        {"A": "nul \x00"},
        {"A": "escape \x1b"},
        {"A": "\ufffe"},
        {"A" * 10**6: ""},
        {"A": "x" * 10**6},
    ],
)
def test_parameters_that_arent(parameters: dict[str, str]) -> None:
    _refused(lambda: check_parameters(parameters, field="deployment.parameters"))


@pytest.mark.parametrize("name", ["DEPLOYMENT_RUN_ID", "deployment_run_id"])
def test_the_parameter_that_carries_the_run_is_reserved(name: str) -> None:
    error = _refused(lambda: check_parameters({name: "x"}, field="f"))
    assert error.reason == "PARAMETER_RESERVED"


@pytest.mark.parametrize(
    "name", ["delay", "token", "cause", "json", "Submit", "statusCode", "redirectTo", "crumb"]
)
def test_names_that_jenkins_form_reserves_cant_be_declared(name: str) -> None:
    for call in (
        lambda: check_parameters({"A": "", name: "x"}, field="f", declared=True),
        lambda: check_job(JobDefinition(JobKind.EXISTING, "web", fixed_parameters={name: "x"}), {}),
    ):
        assert _refused(call).reason == "PARAMETER_RESERVED"
    # The owner of an adopted job may have declared them in Jenkins; an environment variable is no field of the form.
    check_parameters({name: "x"}, field="f")
    if name.upper() != name:
        check_parameters({name.upper(): "x"}, field="f", declared=True)


@pytest.mark.parametrize(
    "parameters",
    [
        {f"P{n}": "x" * 32 * 1024 for n in range(16)},
        {f"P{n}": "ä" * 16 * 1024 for n in range(16)},
    ],
    ids=["ascii", "utf-8"],
)
def test_parameters_that_no_environment_of_a_build_holds(parameters: dict[str, str]) -> None:
    _refused(lambda: check_parameters(parameters, field="f"))
    half = dict(list(parameters.items())[:8])
    rest = dict(list(parameters.items())[8:])
    defined = strings(**dict.fromkeys(rest, ""), **half)
    _refused(lambda: values_of_run(defined, {}, rest, field="f", owner_declares=False))
    check_parameters(half, field="f")


def test_labels() -> None:
    labels = {"team": "payments", "k" * 63: "", "ä": "v" * 63}
    assert check_labels(labels, field="f") == labels
    for bad in ({"": "v"}, {"k" * 64: ""}, {"k": "v" * 64}, {"k": "\x00"}, {"\n": ""}):
        _refused(lambda bad=bad: check_labels(bad, field="f"))
    _refused(lambda: check_labels({f"k{n}": "" for n in range(65)}, field="f"))


@pytest.mark.parametrize(
    "name", ["web", "shop/web prod", "Größe/🚀", "a" * 200, "a.b/c-d_e(f)+g~h"]
)
def test_full_names_that_can_be_created(name: str) -> None:
    assert check_full_name(name, field="f", to_create=True) == name


SEGMENTS = ["", "/", "/a", "a/", "a//b", ".", "a/..", "../a"]
HIDDEN = ["a\u202eb", "a\u200bb", "\ufeffa", "a\u2066b", "a\u3164", "-a", "b/-a"]
TEXTS = ["a\x00", "a\nb", "\ud800", "é" * 101, "a/" * 400 + "a", "x" * 10**6, *HIDDEN]


@pytest.mark.parametrize("name", [*SEGMENTS, *TEXTS], ids=_short)
def test_full_names_that_no_job_has(name: str) -> None:
    _refused(lambda: check_full_name(name, field="f", to_create=False))
    _refused(lambda: check_full_name(name, field="f", to_create=True))


@pytest.mark.parametrize("name", ["shop/feature%2Flogin", " a", "a ", "a.", "a:b", "a?b", r"a\b"])
def test_full_names_that_only_an_existing_job_may_have(name: str) -> None:
    assert check_full_name(name, field="f", to_create=False) == name
    _refused(lambda: check_full_name(name, field="f", to_create=True))


JOBS = [
    JobDefinition(JobKind.EXISTING, "shop/web", fixed_parameters={"E": "prod"}),
    JobDefinition(JobKind.PIPELINE_SCRIPT, text="node {}\n"),
    JobDefinition(JobKind.FREESTYLE_SHELL, "shop/web", text="exit 0"),
    JobDefinition(JobKind.CONFIG_XML, text="<project/>"),
    JobDefinition(JobKind.PIPELINE_SCM, scm=SCM),
    JobDefinition(JobKind.PIPELINE_SCM, scm=PipelineScm("git@h:u", "b", "ci/Jenkinsfile", "key")),
]


@pytest.mark.parametrize("job", JOBS)
def test_jobs_that_are_fine_survive_the_store(job: JobDefinition) -> None:
    assert check_job(job, {}) == job
    assert JobDefinition.from_json(job.kind, json.loads(json.dumps(job.to_json()))) == job


@pytest.mark.parametrize(
    ("job", "field"),
    [
        (JobDefinition(JobKind.EXISTING), "deployment.job.existing_job.full_name"),
        (JobDefinition(JobKind.FREESTYLE_SHELL, text=" \n"), "deployment.job.freestyle_shell"),
        (JobDefinition(JobKind.PIPELINE_SCRIPT, text="\x00"), "deployment.job.pipeline_script"),
        (
            JobDefinition(JobKind.PIPELINE_SCRIPT, text="x" * 500_001),
            "deployment.job.pipeline_script",
        ),
        (JobDefinition(JobKind.CONFIG_XML, text="x" * 1_000_001), "deployment.job.config_xml"),
        (JobDefinition(JobKind.PIPELINE_SCM), "deployment.job.pipeline_scm.url"),
        (JobDefinition(JobKind.FREESTYLE_SHELL, "a?", text="x"), "deployment.job.full_name"),
    ],
)
def test_jobs_that_arent_name_the_field(job: JobDefinition, field: str) -> None:
    assert _refused(lambda: check_job(job, {})).field == field


@pytest.mark.parametrize(
    "changes",
    [
        {"url": "--upload-pack=touch /tmp/x"},
        {"branch": "-x"},
        {"script_path": "../../etc/passwd"},
        {"script_path": "/etc/passwd"},
        {"credentials_id": "a\nb"},
        {"url": "https://git.example/" + "x" * 2000},
    ],
)
def test_what_git_or_jenkins_could_misread_is_refused(changes: dict[str, str]) -> None:
    values: dict[str, Any] = {"url": "https://git.example/u", **changes}
    _refused(lambda: check_job(JobDefinition(JobKind.PIPELINE_SCM, scm=PipelineScm(**values)), {}))


def test_a_fixed_parameter_isnt_also_a_free_one() -> None:
    job = JobDefinition(JobKind.EXISTING, "web", fixed_parameters={"E": "prod"})
    _refused(lambda: check_job(job, strings(E="test")))


def test_default_names() -> None:
    assert default_full_name(JobRules(), "demo", "web") == "demo.web"
    assert default_full_name(JobRules(job_folder="a/b/"), "demo", "web") == "a/b/demo.web"


@pytest.mark.parametrize(
    ("folders", "name", "allowed"),
    [
        ((), "web", True),
        (("shop",), "shop/web", True),
        (("shop",), "Shop/team/web", True),
        (("shop",), "shopping/web", False),
        (("shop",), "shop", False),
        (("shop",), "web", False),
        (("shop", "a/b"), "a/b/c", True),
        (("shop", "a/b"), "a/c", False),
    ],
)
def test_folders(folders: tuple[str, ...], name: str, allowed: bool) -> None:
    job = JobDefinition(JobKind.FREESTYLE_SHELL, name, text="x")
    rules = JobRules(allowed_folders=folders)
    if allowed:
        check_allowed(job, name, rules, caller_is_admin=False)
        return
    with pytest.raises(FailedPrecondition) as refused:
        check_allowed(job, name, rules, caller_is_admin=True)
    assert refused.value.reason == "FOLDER_NOT_ALLOWED"


def test_the_folder_for_new_jobs_is_always_allowed() -> None:
    job = JobDefinition(JobKind.FREESTYLE_SHELL, text="x")
    rules = JobRules(job_folder="own", allowed_folders=("shop",))
    check_allowed(job, default_full_name(rules, "demo", "web"), rules, caller_is_admin=False)


@pytest.mark.parametrize(
    ("kinds", "kind", "admin", "reason"),
    [
        ([], JobKind.PIPELINE_SCRIPT, False, None),
        ([], JobKind.CONFIG_XML, True, "JOB_KIND_NOT_ALLOWED"),
        ([JobKind.CONFIG_XML], JobKind.CONFIG_XML, True, None),
        ([JobKind.CONFIG_XML], JobKind.CONFIG_XML, False, "CONFIG_XML_NEEDS_ADMIN"),
        ([JobKind.EXISTING], JobKind.FREESTYLE_SHELL, True, "JOB_KIND_NOT_ALLOWED"),
    ],
)
def test_kinds(kinds: list[JobKind], kind: JobKind, admin: bool, reason: str | None) -> None:
    rules = JobRules(allowed_kinds=frozenset(kinds))
    job = JobDefinition(kind, "web", text="x")
    if reason is None:
        check_allowed(job, "web", rules, caller_is_admin=admin)
        return
    with pytest.raises((FailedPrecondition, PermissionDenied)) as refused:
        check_allowed(job, "web", rules, caller_is_admin=admin)
    assert refused.value.reason == reason


@given(st.text(max_size=50), st.text(max_size=50), st.text(max_size=50))
def test_whatever_is_accepted_can_be_rendered_and_stored(
    name: str, value: str, script: str
) -> None:
    job = JobDefinition(JobKind.FREESTYLE_SHELL, name, text=script)
    try:
        parameters = check_definitions(strings(P=value), field="parameters", declares=True)
        job = check_job(job, parameters)
    except InvalidArgument:
        return
    spec = job_xml.JobSpec(job_xml.JobKind.FREESTYLE_SHELL, freestyle_shell=job.text)
    job_xml.render_job_xml(spec, owner="x", parameters=parameters, webhook=None)
    assert "\\u0000" not in json.dumps([job.to_json(), definitions_to_json(parameters)])


def _refused(call: Any) -> InvalidArgument:
    """Call it; it must raise InvalidArgument, with words that are short and can be shown."""
    with pytest.raises(ServiceError) as refused:
        call()
    error = refused.value
    assert isinstance(error, InvalidArgument)
    assert len(error.message.encode(errors="replace")) < 2000
    assert not re.search("[\x00-\x1f\ud800-\udfff]", error.message)
    return error
