"""The rule from facts to findings: every place is judged, every finding says what to do, only proofs refuse."""

from __future__ import annotations

from dataclasses import fields
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployment_service.actions.provider_settings import ProviderInput
from deployment_service.cicd.jenkins.survey import clock_offset_s, root_above
from deployment_service.domain.findings import Finding, Kind, Severity
from deployment_service.domain.provider_facts import (
    Access,
    ControllerFacts,
    FolderFacts,
    Place,
    PluginFacts,
)
from deployment_service.domain.provider_findings import findings_of, folders_of
from deployment_service.v1 import admin_service_pb2 as pb

MOST_BYTES = 800
SETTINGS = ProviderInput("https://ci.internal/", username="deployer", reporting="AUTO")
PROOFS = {Place.UNTRUSTED, Place.REDIRECT, Place.NOT_JENKINS, Place.INSIDE, Place.NO_SUCH_PAGE}
PROOFS |= {Place.REFUSED}


def judged(facts: ControllerFacts, settings: ProviderInput = SETTINGS, coarse: bool = False):
    return findings_of(settings, facts, webhook_path="en/demo/hook", coarse=coarse)


@pytest.mark.parametrize("place", Place)
def test_each_place_is_judged_and_only_proofs_refuse(place):
    findings = judged(ControllerFacts(place, "detail", status=301))
    assert any(one.settings_wrong for one in findings) == (place in PROOFS)
    assert len([one for one in findings if one.kind is not Kind.WEBHOOKS]) >= 1


def test_what_proves_settings_wrong_is_an_error_and_names_the_setting():
    for place in PROOFS:
        for one in judged(ControllerFacts(place)):
            if one.settings_wrong:
                assert one.severity is Severity.ERROR
                assert one.field in {f.name for f in fields(ProviderInput)}


@given(
    facts=st.builds(
        ControllerFacts,
        place=st.sampled_from(Place),
        detail=st.just("detail"),
        network_detail=st.booleans(),
        status=st.sampled_from([301, 401, 404]),
        version=st.sampled_from(["", "2.440", "1.600", "2.9999.1-rc", "x"]),
        account=st.sampled_from(["", "deployer"]),
        anonymous=st.booleans(),
        own_url=st.sampled_from([None, "", "https://other/"]),
        security=st.sampled_from([None, True, False]),
        overall_read=st.sampled_from(Access),
        clock_offset_s=st.sampled_from([None, 0.0, 61.0, -1e9]),
        queue_problem=st.sampled_from([None, "", "broken."]),
        executors_problem=st.sampled_from([None, "", "broken."]),
        plugin=st.builds(
            PluginFacts, st.sampled_from([None, True, False]), st.sampled_from(["", "1.19"])
        ),
        secrets_view=st.sampled_from(Access),
        secrets_create=st.sampled_from(Access),
        folders=st.lists(
            st.builds(
                FolderFacts,
                st.sampled_from(["", "shop"]),
                st.sampled_from(Access),
                is_folder=st.booleans(),
                create=st.sampled_from(Access),
                sample_job=st.sampled_from(["", "shop/web"]),
                build=st.sampled_from(Access),
                configure=st.sampled_from(Access),
                problem=st.sampled_from(["", "broken."]),
            ),
            max_size=2,
        ).map(tuple),
        complete=st.booleans(),
    ),
    settings=st.builds(
        ProviderInput,
        st.sampled_from(["https://ci.internal/", f"https://ci/{'x' * 1900}/"]),
        username=st.sampled_from(["", "deployer"]),
        reporting=st.sampled_from(["AUTO", "WEBHOOK", "POLLING"]),
        webhook_base_url=st.sampled_from(["", "http://h", "https://h", "http://127.0.0.1:1"]),
        job_folder=st.sampled_from(["", "shop"]),
        allowed_folders=st.sampled_from([(), ("shop",)]),
        allowed_job_kinds=st.sampled_from([(), ("EXISTING",), ("FREESTYLE_SHELL",)]),
        private_console=st.booleans(),
    ),
    coarse=st.booleans(),
)
def test_whatever_is_found_gives_sentences_that_are_whole(facts, settings, coarse):
    findings = judged(facts, settings, coarse)
    order = list(Severity)
    assert [order.index(one.severity) for one in findings] == sorted(
        order.index(one.severity) for one in findings
    )
    for one in findings:
        assert one.message.endswith("."), one.message
        assert ".." not in one.message
        assert "  " not in one.message
        assert "None" not in one.message
        assert len(one.message.encode()) <= MOST_BYTES, "an error would show it cut off"
        assert not one.settings_wrong or one.severity is Severity.ERROR
    if coarse and facts.network_detail and facts.place is Place.UNREACHABLE:
        assert not any("detail" in one.message for one in findings)


def test_kinds_and_severities_are_those_of_the_contract():
    kinds = {
        name.removeprefix("KIND_") for name in pb.ProviderFinding.Kind.DESCRIPTOR.values_by_name
    }
    assert kinds - {"UNSPECIFIED"} == set(Kind)
    severities = {
        name.removeprefix("SEVERITY_")
        for name in pb.ProviderFinding.Severity.DESCRIPTOR.values_by_name
    }
    assert severities - {"UNSPECIFIED"} == set(Severity)


@pytest.mark.parametrize(
    ("job_folder", "allowed", "expected"),
    [
        ("", (), ("",)),
        ("a", (), ("a",)),
        ("a", ("b", "a"), ("a", "b")),
        ("", ("b",), ("b",)),
    ],
)
def test_the_folders_of_the_settings(job_folder, allowed, expected):
    settings = ProviderInput("https://ci/", job_folder=job_folder, allowed_folders=allowed)
    assert folders_of(settings) == expected


def test_no_permission_that_is_missing_refuses_settings():
    """Rights can be granted after the provider was made."""
    for access, folder in product(Access, ("", "shop")):
        facts = ControllerFacts(
            Place.ROOT,
            overall_read=Access.GRANTED,
            folders=(
                FolderFacts(folder, access, create=access, sample_job="x", build=access),
                FolderFacts(folder, Access.GRANTED, create=access, sample_job="x", build=access),
            ),
        )
        assert not any(one.settings_wrong for one in judged(facts))


@pytest.mark.parametrize(
    ("url", "root"),
    [
        ("http://ci/job/shop/", "http://ci/"),
        ("http://ci/prefix/job/shop/job/web/", "http://ci/prefix/"),
        ("http://ci:8080/view/all/job/x/", "http://ci:8080/"),
        ("http://ci/jobs/", ""),
        ("http://ci/", ""),
        ("http://ci/job/", "http://ci/"),
    ],
)
def test_the_root_above_an_object(url, root):
    assert root_above(url) == root


@pytest.mark.parametrize(
    ("date", "offset"),
    [
        ("Thu, 01 Jan 2026 00:00:00 GMT", 0.0),
        ("Thu, 01 Jan 2026 00:00:01 GMT", 0.0),
        ("Thu, 01 Jan 2026 00:05:01 GMT", 300.0),
        ("Wed, 31 Dec 2025 23:54:59 GMT", -300.0),
        ("Thu, 01 Jan 2026 01:00:01 +0100", 0.0),
        ("", None),
        ("soon", None),
        ("Thu, 99 Jan 2026 00:00:00 GMT", None),
        ("Thu, 01 Jan 99999 00:00:00 GMT", None),
    ],
)
def test_the_clock_of_an_answer(date, offset):
    midnight = 1767225600.0
    assert clock_offset_s(date, midnight, midnight + 1.0) == offset


def test_a_finding_without_a_setting():
    assert Finding(Kind.CLOCK, Severity.INFO, "x.").field == ""
