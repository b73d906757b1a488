"""Jenkins' JSON as it was recorded, and as it should not be. Defends P3, P4: we see what there is, or an error."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployment_service.cicd.errors import ProtocolError
from deployment_service.cicd.jenkins import views
from deployment_service.cicd.port import BuildCause

PARAMETERS = {
    "_class": "hudson.model.ParametersAction",
    "parameters": [
        {"_class": "hudson.model.StringParameterValue", "name": "MSG", "value": "a b&c"},
        {"_class": "hudson.model.BooleanParameterValue", "name": "FLAG", "value": False},
        {"_class": "hudson.model.PasswordParameterValue", "name": "SECRETP"},
    ],
}
CAUSES = {
    "_class": "hudson.model.CauseAction",
    "causes": [
        {
            "_class": "hudson.model.Cause$UserIdCause",
            "shortDescription": "Started by user admin",
            "userId": "admin",
        },
        {"_class": "hudson.triggers.TimerTrigger$TimerTriggerCause"},
    ],
}
STARTED_BY = (BuildCause(True, "admin", "Started by user admin"), BuildCause(False))


def item(**more):
    return {
        "_class": "hudson.model.Queue$WaitingItem",
        "actions": [PARAMETERS, CAUSES, {}],
        "blocked": False,
        "id": 3,
        "stuck": False,
        "task": {"url": "http://ci/job/fold/job/web%20prod/"},
        "why": "In the quiet period. Expires in 4.9 sec",
        **more,
    }


def left(**more):
    return item(_class="hudson.model.Queue$LeftItem", why=None, **more)


def build(**more):
    return {
        "_class": "hudson.model.FreeStyleBuild",
        "actions": [PARAMETERS, CAUSES, {}],
        "building": False,
        "duration": 12,
        "inProgress": False,
        "number": 7,
        "queueId": 38,
        "result": "SUCCESS",
        "timestamp": 1795477934936,
        **more,
    }


def test_a_waiting_item():
    view = views.queue_item_view(item(), "s")
    assert view.job_full_name == "fold/web prod"
    assert view.parameters == {"MSG": "a b&c", "FLAG": "false"}
    assert (view.left, view.cancelled, view.build_number, view.session) == (False, False, None, "s")


def test_an_item_that_left_is_not_cancelled_just_because_it_has_no_build_yet():
    fresh = views.queue_item_view(left(cancelled=False, executable=None), None)
    assert (fresh.left, fresh.cancelled, fresh.build_number) == (True, False, None)
    cancelled = views.queue_item_view(left(cancelled=True, executable=None), None)
    assert (cancelled.left, cancelled.cancelled) == (True, True)
    built = views.queue_item_view(left(cancelled=False, executable={"number": 4, "url": "u"}), None)
    assert (built.build_number, built.build_url) == (4, "u")


def test_an_extra_item_of_a_pipeline_belongs_to_no_job():
    for url in ("http://ci/job/pipe/7/", "", "http://ci/computer/a/"):
        assert views.queue_item_view(item(task={"url": url}), None).job_full_name is None
    assert views.queue_item_view(item(task={}), None).job_full_name is None


def test_a_build():
    view = views.build_view(build(), "j", "s")
    assert (view.number, view.queue_id, view.result, view.finished) == (7, "38", "SUCCESS", True)
    assert view.causes == STARTED_BY
    assert view.parameters == {"MSG": "a b&c", "FLAG": "false"}


def test_why_it_was_interrupted_is_no_cause_of_a_build():
    interruption = {
        "_class": "jenkins.model.InterruptedBuildAction",
        "causes": [
            {"_class": "jenkins.model.CauseOfInterruption$UserInterruption", "userId": "bob"}
        ],
    }
    view = views.build_view(build(actions=[interruption, CAUSES]), "j", "s")
    assert view.causes == STARTED_BY


@pytest.mark.parametrize(
    ("told", "finished"),
    [
        ({"building": False, "inProgress": False}, True),
        ({"building": False, "inProgress": None}, True),
        ({"building": False, "inProgress": True}, False),
        ({"building": True, "inProgress": True, "result": "UNSTABLE"}, False),
        ({"building": None}, False),
    ],
)
def test_a_build_is_finished_only_when_jenkins_says_so(told, finished):
    assert views.build_view(build(**told), "j", None).finished is finished


def test_what_old_versions_leave_out_is_none():
    view = views.build_view({"number": 1, "building": False, "queueId": -1}, "j", None)
    assert (view.queue_id, view.in_progress, view.timestamp_ms, view.result) == (None,) * 4


def test_a_pipeline_waits_for_input():
    action = {"_class": "org.jenkinsci…InputAction", "waitingForInput": True}
    assert views.build_view(build(actions=[action]), "j", None).waiting_for_input


def test_a_job():
    view = views.job_view(
        {
            "_class": "hudson.model.FreeStyleProject",
            "fullName": "fold/j",
            "url": "http://ci/job/fold/job/j/",
            "buildable": True,
            "nextBuildNumber": 8,
            "inQueue": False,
            "concurrentBuild": False,
            "description": "x Managed by the deployment service; do not edit. owner=abc-1",
            "lastBuild": {"number": 7},
            "property": [
                {"_class": views.NOTIFICATION_PROPERTY},
                {
                    "parameterDefinitions": [
                        {
                            "name": "E",
                            "type": "ChoiceParameterDefinition",
                            "choices": ["a", "b"],
                            "defaultParameterValue": {"value": "a"},
                        },
                        {
                            "_class": "hudson.model.BooleanParameterDefinition",
                            "name": "F",
                            "defaultParameterValue": {"value": True},
                        },
                        {
                            "_class": "x.PasswordParameterDefinition",
                            "name": "P",
                            "defaultParameterValue": {},
                        },
                    ]
                },
            ],
        },
        "j",
        "s",
    )
    assert view.full_name == "fold/j"
    assert view.owner == "abc-1"
    assert view.has_notification_property
    assert (view.next_build_number, view.last_build_number) == (8, 7)
    assert [(p.name, p.kind, p.default, p.choices) for p in view.parameters] == [
        ("E", "ChoiceParameterDefinition", "a", ("a", "b")),
        ("F", "BooleanParameterDefinition", "true", ()),
        ("P", "PasswordParameterDefinition", None, ()),
    ]


def test_a_folder_is_a_job_that_cannot_be_built():
    view = views.job_view({"_class": "…Folder", "fullName": "f", "url": "u"}, "f", None)
    assert (view.buildable, view.next_build_number, view.concurrent) == (False, 0, None)


def test_builds_come_highest_number_first():
    data = {"nextBuildNumber": 9, "builds": [build(number=n) for n in (3, 8, 5)]}
    assert [b.number for b in views.job_builds(data, "j", None).builds] == [8, 5, 3]


def test_running_builds_of_all_folders_once_each():
    run = {"url": "http://ci/job/f/job/pipe/7/", "number": 7, "queueId": 2, "actions": [PARAMETERS]}
    placeholder = {"_class": "x.PlaceholderTask$PlaceholderExecutable", "url": "job/f/job/pipe/7/"}
    other = {"url": "http://ci/job/app/1/", "number": 1, "queueId": 5, "actions": []}
    matrix = {"url": "http://ci/job/m/AXIS=a/7/", "number": 7}
    data = {
        "computer": [
            {
                "executors": [{"currentExecutable": e} for e in (placeholder, other, None, matrix)],
                "oneOffExecutors": [{"currentExecutable": run}, {}],
            },
            {"executors": [{"currentExecutable": placeholder}]},
        ]
    }
    found = {(b.job_full_name, b.number): b for b in views.running_view(data, "s").builds}
    assert set(found) == {("f/pipe", 7), ("app", 1)}
    assert found["f/pipe", 7].parameters["MSG"] == "a b&c"
    assert found["app", 1].building


def test_a_placeholder_that_is_seen_first_gives_way_to_its_pipeline():
    run = {"url": "job/pipe/7/", "queueId": 2, "actions": [PARAMETERS]}
    data = {
        "computer": [
            {"executors": [{"currentExecutable": {"url": "job/pipe/7/"}}]},
            {"oneOffExecutors": [{"currentExecutable": run}]},
        ]
    }
    (view,) = views.running_view(data, None).builds
    assert view.queue_id == "2"


def test_text_that_no_database_stores_is_mended():
    view = views.queue_item_view(item(why="a\0b\ud800c"), None)
    assert view.why == "a\ufffdb?c"


@pytest.mark.parametrize("number", [None, 0, -1, "7", 7.0, True, 2**64])
def test_a_number_that_makes_no_sense_is_an_error_not_a_build(number):
    with pytest.raises(ProtocolError):
        views.build_view(build(number=number), "j", None)
    with pytest.raises(ProtocolError):
        views.job_builds({"nextBuildNumber": number, "builds": []}, "j", None)


def test_an_answer_without_its_list_is_never_an_empty_one():
    """ "Nothing found" lets the dispatcher post again: it must have been said."""
    for read in (views.queue_view, views.running_view):
        with pytest.raises(ProtocolError):
            read({"error": "log in first"}, None)
    with pytest.raises(ProtocolError):
        views.job_builds({"nextBuildNumber": 3}, "j", None)
    with pytest.raises(ProtocolError):
        views.job_view({"error": "log in first"}, "j", None)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "id",
                    "url",
                    "task",
                    "actions",
                    "parameters",
                    "name",
                    "value",
                    "number",
                    "builds",
                    "computer",
                    "executors",
                    "currentExecutable",
                    "items",
                    "nextBuildNumber",
                    "property",
                    "parameterDefinitions",
                    "choices",
                    "causes",
                    "userId",
                    "lastBuild",
                    "executable",
                ]
            ),
            inner,
            max_size=5,
        )
    ),
    max_leaves=20,
)


@given(
    st.dictionaries(
        st.sampled_from(
            [
                "id",
                "number",
                "url",
                "items",
                "computer",
                "builds",
                "nextBuildNumber",
                "actions",
                "task",
                "property",
            ]
        ),
        JSON,
    )
)
def test_no_json_whatever_breaks_a_reading(data):
    for read in (
        lambda: views.queue_item_view(data, None),
        lambda: views.queue_view(data, None),
        lambda: views.running_view(data, None),
        lambda: views.build_view(data, "j", None),
        lambda: views.job_builds(data, "j", None),
        lambda: views.job_view(data, "j", None),
    ):
        with suppress(ProtocolError):
            read()
