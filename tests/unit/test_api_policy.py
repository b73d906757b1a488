"""Who may call what: the table is complete, and the roles are a ladder with the gateway beside it."""

import pytest

from deployment_service.api.policy import POLICIES
from deployment_service.domain.access import Role
from deployment_service.v1 import admin_service_pb2, deployment_service_pb2, gateway_service_pb2

METHODS = {
    f"/{service.full_name}/{method.name}"
    for module in (deployment_service_pb2, gateway_service_pb2, admin_service_pb2)
    for service in module.DESCRIPTOR.services_by_name.values()
    for method in service.methods
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
