"""deployctl as a person or a script uses it: real processes against a scripted service."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import grpc
import pytest
import pytest_asyncio
from google.protobuf.timestamp_pb2 import Timestamp

from deployment_service.v1 import admin_service_pb2 as admin_pb
from deployment_service.v1 import deployment_service_pb2 as pb
from tests.support.scripted_service import (
    Fail,
    Hang,
    ScriptedService,
    Stream,
    error_info,
    run,
    scripted_service,
)

FAILED, COMPLETED = pb.DEPLOYMENT_STATUS_FAILED, pb.DEPLOYMENT_STATUS_COMPLETED


@dataclass
class Ended:
    code: int | None
    out: str
    err: str


@pytest_asyncio.fixture
async def service() -> AsyncIterator[ScriptedService]:
    async with scripted_service() as service:
        yield service


async def deployctl(service: ScriptedService | None, *arguments: str, **env: str) -> Ended:
    if service:
        env = {
            "DEPLOYMENT_SERVICE_TARGET": service.target,
            "DEPLOYMENT_API_KEY": "secret-key",
            "DEPLOYMENT_TENANT": "demo",
        } | env
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "deployment_service.client.cli.main",
        *arguments,
        env=env | {"PATH": "/usr/bin:/bin"},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    return Ended(process.returncode, out.decode(), err.decode())


def at(seconds: int) -> Timestamp:
    return Timestamp(seconds=1_800_000_000 + seconds)


def event(
    sequence: int, old: pb.DeploymentStatus, status: pb.DeploymentStatus, message: str
) -> pb.DeploymentEvent:
    return pb.DeploymentEvent(
        sequence=sequence,
        type=pb.DeploymentEvent.DEPLOYMENT_STATUS_UPDATE,
        old_run_status=old,
        run_status=status,
        message=message,
        create_time=at(sequence),
    )


async def test_list_shows_a_line_for_each(service):
    job = pb.CicdJob(name="shop/web")
    one = pb.Deployment(
        name="tenants/demo/deployments/web", status=pb.DEPLOYMENT_STATUS_RUNNING, cicd_job=job
    )
    service.will("ListDeployments", pb.ListDeploymentsResponse(deployments=[one]))
    ended = await deployctl(
        service, "deployments", "list", "--status", "running", "--label", "team=a"
    )
    assert (ended.code, ended.err) == (0, "")
    assert ended.out.splitlines()[1].split() == ["web", "running", "shop/web"]
    (request,) = service.requests["ListDeployments"]
    assert list(request.statuses) == [pb.DEPLOYMENT_STATUS_RUNNING]
    assert dict(request.labels) == {"team": "a"}
    assert service.metadata[0]["authorization"] == "Bearer secret-key"


async def test_json_is_one_object_a_line(service):
    one = pb.Deployment(name="tenants/demo/deployments/web")
    service.will("ListDeployments", pb.ListDeploymentsResponse(deployments=[one, one]))
    ended = await deployctl(service, "--json", "deployments", "list")
    assert [json.loads(line)["name"] for line in ended.out.splitlines()] == [one.name, one.name]


async def test_create_says_how_to_run_it(service):
    made = pb.Deployment(
        name="tenants/demo/deployments/web",
        cicd_job=pb.CicdJob(name="demo.web", state=pb.CICD_JOB_STATE_READY),
    )
    service.will("CreateDeployment", pb.CreateDeploymentResponse(deployment=made))
    ended = await deployctl(
        service,
        *("deployments", "create", "web", "--shell", "make deploy", "-p", "A=b=c"),
        *(
            "--define",
            "VERSION:string!",
            "--define",
            "REGION:choice=eu|us|",
            "--define",
            "T:secret",
        ),
    )
    assert ended.code == 0
    assert "deployctl run web --wait" in ended.out
    (request,) = service.requests["CreateDeployment"]
    assert request.deployment.job.freestyle_shell == "make deploy"
    assert request.deployment.provider == "tenants/demo/providers/main"
    kinds = pb.ParameterKind
    assert [
        (one.name, one.kind, one.default_value, one.required, list(one.choices))
        for one in request.deployment.parameter_definitions
    ] == [
        ("A", kinds.PARAMETER_KIND_STRING, "b=c", False, []),
        ("VERSION", kinds.PARAMETER_KIND_STRING, "", True, []),
        ("REGION", kinds.PARAMETER_KIND_CHOICE, "eu", False, ["eu", "us", ""]),
        ("T", kinds.PARAMETER_KIND_SECRET, "", False, []),
    ]


@pytest.mark.parametrize(
    ("status", "code", "word"), [(COMPLETED, 0, "completed"), (FAILED, 1, "failed")]
)
async def test_run_and_wait_ends_as_the_run_does(service, status, code, word):
    service.will("RunDeployment", pb.RunDeploymentResponse(run=run(), resume_token="at-1"))
    done = run(
        status=status, certainty=pb.CERTAINTY_CONFIRMED, build_number=7, failure_message="It broke."
    )
    service.will("GetRun", pb.GetRunResponse(run=done))
    service.will("WatchDeployments", [Stream().start(), Hang])
    ended = await deployctl(service, "run", "web", "--wait", "--param", "VERSION=2")
    assert ended.code == code
    assert f"web/runs/1: {word}, build 7" in ended.out
    assert dict(service.requests["RunDeployment"][0].parameters) == {"VERSION": "2"}


@pytest.mark.parametrize("default", ["", "other"])
async def test_run_and_wait_takes_a_full_name(service, default):
    service.will("RunDeployment", pb.RunDeploymentResponse(run=run(), resume_token="at-1"))
    service.will(
        "GetRun", pb.GetRunResponse(run=run(status=COMPLETED, certainty=pb.CERTAINTY_CONFIRMED))
    )
    service.will("WatchDeployments", [Stream().start(), Hang])
    name = "tenants/demo/deployments/web"
    ended = await deployctl(service, "run", name, "--wait", DEPLOYMENT_TENANT=default)
    assert (ended.code, ended.err) == (0, "")
    assert service.requests["RunDeployment"][0].name == name


async def test_a_run_that_takes_too_long_goes_on(service):
    service.will("RunDeployment", pb.RunDeploymentResponse(run=run()))
    service.will("GetRun", pb.GetRunResponse(run=run()))
    service.will("WatchDeployments", [Stream().start(), Hang])
    ended = await deployctl(service, "run", "web", "--wait", "--wait-timeout", "0.2")
    assert ended.code == 6
    assert ended.err.splitlines()[-1] == "The run continues: deployctl runs web"
    ended = await deployctl(
        service,
        *("run", "tenants/demo/deployments/web", "--wait", "--wait-timeout", "0.2"),
        DEPLOYMENT_TENANT="other",
    )
    assert ended.err.endswith("deployctl runs tenants/demo/deployments/web\n")


@pytest.mark.parametrize("named", ["web", "web/1", "tenants/demo/deployments/web/runs/1"])
async def test_cancel_takes_a_run_or_the_current_one_of_a_deployment(service, named):
    web = pb.Deployment(name="tenants/demo/deployments/web", current_run=run().name)
    service.will("GetDeployment", pb.GetDeploymentResponse(deployment=web))
    service.will("CancelRun", pb.CancelRunResponse(run=run(waiting_reason="Being stopped.")))
    ended = await deployctl(service, "cancel", named)
    assert (ended.code, ended.err) == (0, "")
    assert "web/runs/1: pending" in ended.out
    assert "Being stopped." in ended.out
    (request,) = service.requests["CancelRun"]
    assert request.name == run().name
    assert request.request_id


async def test_cancel_of_what_never_ran_says_so(service):
    web = pb.Deployment(name="tenants/demo/deployments/web")
    service.will("GetDeployment", pb.GetDeploymentResponse(deployment=web))
    ended = await deployctl(service, "cancel", "web", "--wait")
    assert (ended.code, ended.out) == (4, "")
    assert "web hasn't been run yet" in ended.err


async def test_explain_tells_everything_in_the_order_it_happened(service):
    trail = pb.ExplainRunResponse(
        run=run(status=FAILED, failure_message="It broke."),
        attempts=[
            pb.RunAttempt(
                attempt=1, outcome="ACCEPTED", http_status=201, queue_id="38", claim_time=at(2)
            )
        ],
        reports=[
            pb.RunReport(
                receive_time=at(3),
                source="NOTIFICATION_PLUGIN",
                phase="FINALIZED",
                status="FAILURE",
                build_number=7,
                verdict="APPLIED",
            )
        ],
        events=[
            event(
                1, pb.DEPLOYMENT_STATUS_PENDING, pb.DEPLOYMENT_STATUS_PENDING, "Somebody ran it."
            ),
            event(4, pb.DEPLOYMENT_STATUS_RUNNING, FAILED, "It broke."),
        ],
    )
    service.will("ExplainRun", trail)
    ended = await deployctl(service, "explain", "web/1")
    assert (ended.code, ended.err) == (0, "")
    first, *lines = [line for line in ended.out.splitlines() if line != "It broke."]
    assert first == "web/runs/1: failed"
    assert [" ".join(line.split()[2:]) for line in lines[1:]] == [
        "event 1 status update Somebody ran it.",
        "attempt 1 ACCEPTED 201, queue item 38",
        "report of notification_plugin build 7: FINALIZED FAILURE → APPLIED",
        "event 4 status update running → failed It broke.",
    ]


async def test_watch_shows_the_present_and_each_event_and_where_to_go_on(service):
    stream = Stream()
    moved: dict[str, Any] = {
        "type": pb.DeploymentEvent.DEPLOYMENT_STATUS_UPDATE,
        "deployment": "tenants/demo/deployments/web",
        "old_run_status": pb.DEPLOYMENT_STATUS_RUNNING,
        "run_status": COMPLETED,
    }
    last = Fail(grpc.StatusCode.PERMISSION_DENIED, "revoked")  # ends the watch, for this test
    service.will(
        "WatchDeployments",
        [stream.start(), stream.item("web"), stream.complete(3), stream.event(**moved), last],
    )
    ended = await deployctl(service, "watch")
    assert "running → completed" in ended.out
    assert "To continue from here: --from at-4" in ended.err
    assert ended.code == 3


@pytest.mark.parametrize("until", ["reported", "settled"])
async def test_watch_until_ends_by_itself(service, until):
    stream = Stream()
    service.will("WatchDeployments", [stream.start(), stream.complete(3), stream.bookmark(4)])
    service.will("GetDeployment", pb.GetDeploymentResponse(deployment=pb.Deployment()))
    ended = await deployctl(service, "watch", "web", "--until", until)
    assert ended.code == 0
    (request,) = service.requests["WatchDeployments"]
    assert pb.WatchUntil.Name(request.until) == f"WATCH_UNTIL_{until.upper()}"
    assert list(request.names) == ["tenants/demo/deployments/web"]


async def test_a_new_key_is_alone_on_stdout(service):
    answer = admin_pb.CreateApiKeyResponse(
        secret="s3cret", api_key=admin_pb.ApiKey(name="apiKeys/1")
    )
    service.will("CreateApiKey", answer)
    ended = await deployctl(service, "keys", "create", "--role", "viewer")
    assert (ended.code, ended.out) == (0, "s3cret\n")
    (request,) = service.requests["CreateApiKey"]
    assert (request.api_key.role, request.api_key.tenant) == (admin_pb.ROLE_VIEWER, "tenants/demo")


async def test_rotate_tells_what_is_left_to_do(service):
    answer = admin_pb.RotateWebhookSecretResponse(
        key_id="k2",
        rewriting_jobs=["shop/web"],
        other_jobs=[
            admin_pb.WebhookJob(
                job="old/api", webhook_url="http://gateway/x", signing_secret="whsec_x"
            )
        ],
        keys=[admin_pb.WebhookKeyInfo(key_id=key, jobs_in_use=2) for key in ("k2", "k1")],
    )
    service.will("RotateWebhookSecret", answer)
    ended = await deployctl(service, "webhook", "rotate", "--progress-of", "its-request-id")
    assert (ended.code, ended.err) == (0, "")
    for word in ("shop/web", "--progress-of its-request-id", "old/api", "webhook show", "k1"):
        assert word in ended.out
    as_json = await deployctl(service, "--json", "webhook", "rotate", "--progress-of", "id")
    assert "old/api" in as_json.out
    for printed in (ended.out, as_json.out):
        assert "http://gateway/x" not in printed
        assert "whsec_x" not in printed
    request = service.requests["RotateWebhookSecret"][0]
    assert (request.tenant, request.request_id) == ("tenants/demo", "its-request-id")


async def test_retire_forces_only_if_told_to(service):
    gone = admin_pb.RetireWebhookKeyResponse(key=admin_pb.WebhookKeyInfo(key_id="k1"))
    service.will("RetireWebhookKey", gone)
    for force in ([], ["--force"]):
        ended = await deployctl(service, "webhook", "retire", "k1", *force)
        assert (ended.code, ended.out) == (0, "Retired k1.\n")
    assert [request.force for request in service.requests["RetireWebhookKey"]] == [False, True]


@pytest.mark.parametrize(
    ("failure", "code", "says"),
    [
        (Fail(grpc.StatusCode.UNAUTHENTICATED, "no"), 3, "check DEPLOYMENT_API_KEY"),
        (Fail(grpc.StatusCode.PERMISSION_DENIED, "no"), 3, "role or tenant"),
        (Fail(grpc.StatusCode.NOT_FOUND, "There is no deployment 'x'."), 4, "no deployment 'x'"),
        (Fail(grpc.StatusCode.INVALID_ARGUMENT, "name: bad"), 2, "name: bad"),
        (Fail(grpc.StatusCode.INTERNAL, "oops"), 70, "oops"),
        (
            Fail(
                grpc.StatusCode.FAILED_PRECONDITION, "active", details=(error_info("RUN_ACTIVE"),)
            ),
            4,
            "active [RUN_ACTIVE]",
        ),
    ],
)
async def test_errors_say_what_to_do_and_have_their_exit_code(service, failure, code, says):
    service.will("GetDeployment", failure)
    ended = await deployctl(service, "deployments", "get", "x")
    assert ended.code == code
    assert says in ended.err
    assert "Traceback" not in ended.err
    assert ended.out == ""


async def test_a_service_that_is_away_is_named():
    env = {"DEPLOYMENT_API_KEY": "k", "DEPLOYMENT_TENANT": "demo"}
    ended = await deployctl(
        None, "--target", "127.0.0.1:1", "--timeout", "0.5", "deployments", "list", **env
    )
    assert ended.code == 5
    assert "Can't reach 127.0.0.1:1" in ended.err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("deployments", "list"), "set DEPLOYMENT_API_KEY"),
        (("--env-file", "not-there", "runs"), "make run"),
        (("deployments", "create", "x"), "exactly one of --shell"),
        (("deployments", "list", "--status", "odd"), "pending, running, completed"),
        (("run", "x", "--param", "novalue"), "KEY=value"),
        (("keys", "create", "--role", "viewer"), "--all-tenants"),
    ],
)
async def test_wrong_use_is_explained(arguments, says):
    ended = await deployctl(None, *arguments)
    assert ended.code == 2
    assert says in ended.err


@pytest.mark.parametrize("link", ["tcp://10.96.0.7:50051", "udp://[fd00::7]:53"])
async def test_a_target_that_kubernetes_sets_is_ignored_with_a_line(link):
    ended = await deployctl(
        None, "--timeout", "0.2", "runs", DEPLOYMENT_SERVICE_TARGET=link, DEPLOYMENT_API_KEY="k"
    )
    assert "DEPLOYMENT_SERVICE_TARGET is ignored" in ended.err
    assert link not in ended.err


async def test_an_env_file_is_believed_and_the_environment_is_not(service, tmp_path):
    path = tmp_path / "env"
    path.write_text(
        f"# written by make run\nDEPLOYMENT_SERVICE_TARGET={service.target}\n"
        "DEPLOYMENT_API_KEY=from-file\nDEPLOYMENT_TENANT=demo\n"
    )
    service.will("ListRuns", pb.ListRunsResponse(runs=[run(status=COMPLETED)]))
    ended = await deployctl(
        None,
        "--env-file",
        str(path),
        "runs",
        DEPLOYMENT_SERVICE_TARGET="127.0.0.1:1",
        DEPLOYMENT_API_KEY="from-environment",
    )
    assert (ended.code, ended.err) == (0, "")
    assert "web/runs/1" in ended.out
    assert service.metadata[0]["authorization"] == "Bearer from-file"
