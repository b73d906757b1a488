"""Who may call what: the table is complete, and the roles are a ladder with the gateway beside it."""

import re

import pytest

from deployment_service.api.policy import POLICIES
from deployment_service.domain.access import Role
from deployment_service.v1 import admin_service_pb2, deployment_service_pb2, gateway_service_pb2

SERVICES = [
    service
    for module in (deployment_service_pb2, gateway_service_pb2, admin_service_pb2)
    for service in module.DESCRIPTOR.services_by_name.values()
]
METHODS = {
    f"/{service.full_name}/{method.name}" for service in SERVICES for method in service.methods
}


def test_every_rpc_has_a_policy_and_no_other():
    assert POLICIES.keys() == METHODS


def test_each_service_is_for_whom_the_contract_says():
    for method, policy in POLICIES.items():
        if "GatewayService" in method:
            assert policy.role is Role.GATEWAY
        elif "AdminService" in method:
            assert policy.role is Role.ADMIN
        elif method.endswith("/ResolveRun"):
            assert policy.role is Role.ADMIN  # for operators; its answer is a run
        else:
            assert policy.role in (Role.VIEWER, Role.DEPLOYER, Role.DEFINER)


@pytest.mark.parametrize(
    ("role", "included"),
    [
        (Role.VIEWER, {Role.VIEWER}),
        (Role.DEPLOYER, {Role.VIEWER, Role.DEPLOYER}),
        (Role.DEFINER, {Role.VIEWER, Role.DEPLOYER, Role.DEFINER}),
        (Role.ADMIN, {Role.VIEWER, Role.DEPLOYER, Role.DEFINER, Role.ADMIN}),
        (Role.GATEWAY, {Role.GATEWAY}),
    ],
)
def test_a_role_includes_those_before_it(role, included):
    assert {needed for needed in Role if role.includes(needed)} == included


READS = re.compile(r"Get|BatchGet|List|Watch|Explain|Check")


def test_every_mutation_takes_a_request_id():
    """Reports have no request_id: merging one twice changes nothing (P2)."""
    without = [
        method.full_name
        for service in SERVICES
        for method in service.methods
        if not READS.match(method.name) and "request_id" not in method.input_type.fields_by_name
    ]
    assert without == ["deployment_service.v1.GatewayService.ReportBuilds"]
