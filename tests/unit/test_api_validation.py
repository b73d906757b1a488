"""What no request may hold, whatever it asks for. The walk over every RPC is tests/acceptance/test_nonsense.py."""

from typing import Any

import pytest
from google.protobuf import timestamp_pb2

from deployment_service.api import validation
from deployment_service.domain.errors import InvalidArgument
from deployment_service.v1 import admin_service_pb2 as admin
from deployment_service.v1 import deployment_service_pb2 as pb
from deployment_service.v1 import gateway_service_pb2 as gateway

ListDeployments: Any = pb.ListDeploymentsRequest
ReportBuilds: Any = gateway.ReportBuildsRequest


def test_lines_are_allowed_where_texts_have_them():
    job = pb.DeploymentJob(pipeline_script="node {\n\techo 'ü💥'\r\n}")
    validation.check(
        pb.CreateDeploymentRequest(
            parent="tenants/demo",
            deployment=pb.Deployment(
                job=job,
                parameter_definitions=[pb.ParameterDefinition(name="A", default_value="1\n2")],
            ),
        )
    )


@pytest.mark.parametrize(
    ("message", "field"),
    [
        (pb.GetDeploymentRequest(name="a\nb"), "name"),
        (pb.ListDeploymentsRequest(labels={"a": "b\0"}), "labels[a]"),
        (pb.ListDeploymentsRequest(labels={"a\0": "b"}), "labels (key)"),
        (ListDeployments(statuses=[1, 77]), "statuses[1]"),
        (ListDeployments(statuses=[0]), "statuses[0]"),
        (
            pb.CreateDeploymentRequest(
                deployment=pb.Deployment(job=pb.DeploymentJob(pipeline_script="\x1b"))
            ),
            "deployment.job.pipeline_script",
        ),
        (admin.CreateApiKeyRequest(api_key=admin.ApiKey(role=99)), "api_key.role"),  # type: ignore[arg-type]
        (pb.WatchDeploymentsRequest(names=["x"] * 1001), "names"),
        (
            gateway.BuildReport(receive_time=timestamp_pb2.Timestamp(seconds=1, nanos=-1)),
            "receive_time",
        ),
    ],
)
def test_the_field_is_named(message, field):
    with pytest.raises(InvalidArgument) as caught:
        validation.check(message)
    assert caught.value.field == field


def test_what_the_service_itself_sets_may_be_handed_back():
    job = pb.CicdJob(state_message="two\nlines", state=99)  # type: ignore[arg-type]
    validation.check(pb.UpdateDeploymentRequest(deployment=pb.Deployment(cicd_job=job)))


def test_a_bad_report_is_not_the_whole_batchs_fault():
    validation.check(gateway.ReportBuildsRequest(reports=[gateway.BuildReport(status="\0")]))


@pytest.mark.parametrize("text", ["a\0b", "a\nb", "x" * 100_000])
@pytest.mark.parametrize("field", ["reports", "refresh_requests"])
def test_an_invalid_item_of_a_batch_does_not_fail_the_batch(field: str, text: str):
    item = {
        "reports": gateway.BuildReport(status=text),
        "refresh_requests": gateway.RefreshRequest(reason=text),
    }[field]
    with pytest.raises(InvalidArgument):
        validation.check(item)
    validation.check(ReportBuilds(**{field: [item]}))


def test_every_field_that_a_rule_names_exists():
    names = {
        f"{message.name}.{field.name}"
        for file in (pb.DESCRIPTOR, admin.DESCRIPTOR, gateway.DESCRIPTOR)
        for message in file.message_types_by_name.values()
        for field in message.fields
    }
    rules = {
        *validation._ANSWERED_ONE_BY_ONE,
        *validation._IGNORED,
        *validation._SEVERAL_LINES,
        *validation._MAX_CHARS,
    }
    assert rules - names == set()
