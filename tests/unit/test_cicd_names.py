"""Jenkins' full names in URLs, both ways. Defends P7 (a report for another job is recognised as such)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployment_service.cicd.names import (
    job_path,
    job_path_matches,
    parent_and_name,
    parse_build_path,
    parse_exact_job_path,
    parse_job_path,
)

SEGMENT = st.text(
    st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="/"), min_size=1
).filter(lambda text: text not in (".", ".."))
FULL_NAME = st.lists(SEGMENT, min_size=1, max_size=4).map("/".join)
# As Jenkins lets people choose them: no percent signs.
CHOSEN_NAME = FULL_NAME.filter(lambda name: "%" not in name)


@pytest.mark.parametrize(
    ("full_name", "path"),
    [
        ("app", "job/app"),
        ("a/b c", "job/a/job/b%20c"),
        ("mb/feature%2Ffoo", "job/mb/job/feature%252Ffoo"),
        ("größe/日本", "job/gr%C3%B6%C3%9Fe/job/%E6%97%A5%E6%9C%AC"),
        ("a?b#c;d", "job/a%3Fb%23c%3Bd"),
        ("job/view", "job/job/job/view"),
    ],
)
def test_a_full_name_and_its_path(full_name, path):
    assert job_path(full_name) == path
    assert parse_job_path(path) == full_name


@pytest.mark.parametrize(
    "name", ["", "/", "a/", "/a", "a//b", ".", "..", "a/../b", "a/./b", "a\nb", "a\0", "a\ud800"]
)
def test_what_cannot_be_a_full_name_is_refused(name):
    with pytest.raises(ValueError, match="full name"):
        job_path(name)


@given(FULL_NAME)
def test_every_name_survives_the_way_there_and_back(full_name):
    path = job_path(full_name)
    assert path.isascii()
    assert not set(path) & set(" ?#\\")
    assert parse_job_path(path) == full_name
    assert parse_exact_job_path(f"https://host:8080/context/{path}/") == full_name
    assert parse_build_path(f"{path}/17/") == (full_name, 17)


@pytest.mark.parametrize(
    "path",
    [
        "job/F/job/J/",
        "/job/F/job/J",
        "job/F/job/J/7/",
        "job/F/job/J/lastBuild/",
        "job/F/job/J/7/console?a=b#c",
        "view/all/job/F/job/J/",
        "view/all/view/mine/job/F/view/x/job/J/7",
        "user/me/my-views/view/all/job/F/job/J/",
        "http://ci:8080/jenkins/job/F/job/J/7/",
        "//job//F//job/J//",
    ],
)
def test_the_job_is_found_in_whatever_path_a_sender_gives(path):
    assert parse_job_path(path) == "F/J"
    assert job_path_matches("F/J", path)


@pytest.mark.parametrize("path", ["", "/", "queue/item/7/", "computer/", "job", "job/", "http://x"])
def test_no_job_is_found_where_there_is_none(path):
    assert parse_job_path(path) is None
    assert not job_path_matches("J", path)


def test_a_part_of_a_job_is_not_the_job_and_a_permalink_is_no_build():
    assert parse_exact_job_path("http://ci/job/pipe/7/") is None
    assert parse_build_path("job/J/lastBuild/") is None
    assert parse_build_path("job/J/") is None
    assert parse_build_path("job/J/٧/") is None
    assert parse_build_path("job/matrix/AXIS=a/7/") is None


@given(CHOSEN_NAME, st.integers(0, 2))
def test_encoding_a_path_again_changes_nothing(full_name, times):
    path = job_path(full_name)
    for _ in range(times):
        path = path.replace("%", "%25")
    assert job_path_matches(full_name, path)


@given(CHOSEN_NAME, CHOSEN_NAME)
def test_different_jobs_never_match(one, other):
    assert job_path_matches(one, job_path(other)) == (one == other)


def test_a_branch_matches_however_its_path_is_encoded():
    for path in ("job/mb/job/feature%2Ffoo/", "job/mb/job/feature%252Ffoo/"):
        assert job_path_matches("mb/feature%2Ffoo", path)
    assert not job_path_matches("mb/feature%2Ffoo", "job/mb/job/feature/job/foo/")
    assert not job_path_matches("mb/feature%2Ffoo", "job/other/job/feature%252Ffoo/")


def test_the_folder_is_split_off():
    assert parent_and_name("a/b/c d") == ("a/b", "c d")
    assert parent_and_name("c") == ("", "c")
