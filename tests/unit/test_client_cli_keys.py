"""deployctl keys, where the answer with the secret was lost."""

from __future__ import annotations

from deployment_service.v1 import admin_service_pb2 as admin_pb
from tests.unit.test_client_cli import deployctl, service

__all__ = ["service"]  # the fixture


async def test_a_lost_secret_is_an_error_that_names_the_key_to_revoke(service):
    answer = admin_pb.CreateApiKeyResponse(api_key=admin_pb.ApiKey(name="apiKeys/1"))
    service.will("CreateApiKey", answer)
    ended = await deployctl(service, "keys", "create", "--role", "viewer")
    assert (ended.code, ended.out) == (2, "")
    assert "deployctl keys revoke 1" in ended.err
