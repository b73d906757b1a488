"""Code that other languages generate from the protos gets the names that those languages expect."""

from __future__ import annotations

import re

import pytest
from google.protobuf.descriptor_pb2 import FileOptions

from deployment_service.v1 import admin_service_pb2, deployment_service_pb2, gateway_service_pb2

FILES = {
    "AdminServiceProto": admin_service_pb2.DESCRIPTOR,
    "DeploymentServiceProto": deployment_service_pb2.DESCRIPTOR,
    "GatewayServiceProto": gateway_service_pb2.DESCRIPTOR,
}


def options_of(outer_class: str) -> FileOptions:
    options = FILES[outer_class].GetOptions()
    assert isinstance(options, FileOptions)
    return options


@pytest.mark.parametrize("outer_class", FILES)
def test_java_classes_get_a_reverse_dns_package(outer_class: str):
    options = options_of(outer_class)
    # Java's own rule (JLS 6.1): a domain first, then lower-case letters and digits without underscores.
    assert re.fullmatch(r"(com|org|net|io)(\.[a-z][a-z0-9]*)+\.v1", options.java_package)
    assert options.java_multiple_files
    assert options.java_outer_classname == outer_class


@pytest.mark.parametrize("outer_class", FILES)
def test_every_language_has_one_namespace_with_the_version(outer_class: str):
    options = options_of(outer_class)
    assert options.csharp_namespace == "DeploymentService.V1"
    assert options.php_namespace == "DeploymentService\\V1"
    assert options.ruby_package == "DeploymentService::V1"
    assert options.go_package.endswith("/v1;deploymentservicev1")


@pytest.mark.parametrize("outer_class", FILES)
def test_protos_import_nothing_but_what_every_protobuf_runtime_has(outer_class: str):
    file = FILES[outer_class]
    foreign = [
        one.name
        for one in file.dependencies
        if not one.name.startswith(("google/protobuf/", "deployment_service/v1/"))
    ]
    assert foreign == []
