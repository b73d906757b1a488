"""What views take from Jenkins' JSON is bounded: numbers, texts, parameters."""

import pytest

from deployment_service.cicd.errors import ProtocolError
from deployment_service.cicd.jenkins import views
from deployment_service.cicd.names import parse_build_path
from deployment_service.cicd.port import RUN_ID_PARAMETER

BUILD = {"number": 7, "building": False, "result": "SUCCESS"}
TOO_HIGH = [2**31, 2**63 - 1, 10**400, -1, 0]


def with_parameters(*parameters):
    return {**BUILD, "actions": [{"parameters": list(parameters)}]}


@pytest.mark.parametrize("number", TOO_HIGH)
def test_a_build_number_beyond_32_bits_is_no_answer(number):
    with pytest.raises(ProtocolError):
        views.build_view({**BUILD, "number": number}, "j", None)
    with pytest.raises(ProtocolError):
        views.job_builds({"nextBuildNumber": number, "builds": []}, "j", None)


@pytest.mark.parametrize("number", [2**31, 2**63 - 1, 10**400])
def test_other_numbers_of_builds_beyond_32_bits_are_unknown(number):
    job = {"url": "u", "nextBuildNumber": number, "lastBuild": {"number": number}}
    view = views.job_view(job, "j", None)
    assert (view.next_build_number, view.last_build_number) == (0, None)
    item = {"id": 1, "task": {"url": "job/j/"}, "executable": {"number": number}}
    assert views.queue_item_view(item, None).build_number is None
    assert parse_build_path(f"job/j/{number}/") is None


def test_a_value_of_megabytes_is_cut():
    build = views.build_view(with_parameters({"name": "A", "value": "x" * 12_000_000}), "j", None)
    assert build.parameters == {"A": "x" * 32 * 1024}


def test_thousands_of_parameters_are_cut_but_the_runs_id_is_kept():
    many = [{"name": f"P{n}", "value": "x"} for n in range(5000)]
    run_id = {"name": RUN_ID_PARAMETER, "value": "5b1c7c0e-2f43-4f0c-9d5e-0d4a8f7b6a11"}
    build = views.build_view(with_parameters(*many, run_id), "j", None)
    assert len(build.parameters) == 201
    assert RUN_ID_PARAMETER in build.parameters


def test_a_name_of_kilobytes_is_left_out():
    build = views.build_view(with_parameters({"name": "N" * 1000, "value": "x"}), "j", None)
    assert build.parameters == {}


def test_a_jobs_definitions_and_choices_are_bounded():
    choices = [{"name": f"C{n}", "choices": ["x"] * 2000} for n in range(600)]
    job = {"url": "u", "property": [{"parameterDefinitions": choices}]}
    view = views.job_view(job, "j", None)
    assert len(view.parameters) == 500
    assert {len(one.choices) for one in view.parameters} == {1000}
