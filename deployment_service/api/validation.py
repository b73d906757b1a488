"""Rules for every request: no text that cannot be stored, no unknown enum values, limits on sizes.

Walks the message by its descriptor, so that no field of no RPC is left out. What a value means is
checked where it is used.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from google.protobuf import duration_pb2, timestamp_pb2
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from deployment_service.domain import actors, definition, parameters, resolution, run_requests
from deployment_service.domain.errors import InvalidArgument

_MAX_TEXT_CHARS = 1000
_MAX_ITEMS = 1000
_MAX_DEPTH = 10

_CONTROL = re.compile("[\x00-\x1f\x7f]")
# What neither PostgreSQL nor XML can hold. Tabs and line ends may be in texts of several lines.
_UNSTORABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f]")

# Fields whose texts may be longer (or must be shorter) than most, by message and field.
_MAX_CHARS = {
    "Deployment.display_name": definition.MAX_DISPLAY_NAME_CHARS,
    "Tenant.display_name": definition.MAX_DISPLAY_NAME_CHARS,
    "Provider.display_name": definition.MAX_DISPLAY_NAME_CHARS,
    "ApiKey.display_name": definition.MAX_DISPLAY_NAME_CHARS,
    "ParameterDefinition.default_value": parameters.MAX_PARAMETER_VALUE_BYTES,
    "ParameterDefinition.choices": parameters.MAX_PARAMETER_VALUE_BYTES,
    "RunDeploymentRequest.parameters": parameters.MAX_PARAMETER_VALUE_BYTES,
    "ExistingJob.fixed_parameters": parameters.MAX_PARAMETER_VALUE_BYTES,
    "BuildReport.parameters": parameters.MAX_PARAMETER_VALUE_BYTES,
    "BuildReport.job_path": 4000,
    "ResolveRunRequest.reason": resolution.MAX_REASON_CHARS,
    "RunDeploymentRequest.reason": run_requests.MAX_REASON_CHARS,
    "RunDeploymentRequest.on_behalf_of": actors.MAX_ACTOR_CHARS,
    "RunDeploymentRequest.annotations": run_requests.MAX_ANNOTATION_VALUE_CHARS,
    "DeploymentJob.pipeline_script": definition.MAX_SCRIPT_CHARS,
    "DeploymentJob.freestyle_shell": definition.MAX_SCRIPT_CHARS,
    "DeploymentJob.config_xml": definition.MAX_CONFIG_XML_CHARS,
    "Provider.ca_certificate_pem": 100_000,
    "Provider.base_url": 2000,
    "Provider.webhook_base_url": 2000,
}
_SEVERAL_LINES = frozenset(
    {
        "ParameterDefinition.default_value",
        "ParameterDefinition.description",
        "RunDeploymentRequest.parameters",
        "ExistingJob.fixed_parameters",
        "BuildReport.parameters",
        "DeploymentJob.pipeline_script",
        "DeploymentJob.freestyle_shell",
        "DeploymentJob.config_xml",
        "Provider.ca_certificate_pem",
    }
)
# Output-only fields. A client may send back a resource that it received; these fields are ignored.
_IGNORED = frozenset(
    f"Deployment.{field}"
    for field in (
        "uid",
        "status",
        "cicd_job",
        "current_run",
        "current_run_summary",
        "typical_duration",
        "last_completed_run",
        "revision",
        "create_time",
        "update_time",
    )
)
# The service checks the items of these fields one by one: an invalid item must not fail the others.
_ANSWERED_ONE_BY_ONE = frozenset(
    {"ReportBuildsRequest.reports", "ReportBuildsRequest.refresh_requests"}
)


def check(message: Message) -> None:
    """Raise ``InvalidArgument``, naming the field, for values that no request may contain."""
    _message(message, "", 0)


def _message(message: Message, path: str, depth: int) -> None:
    if isinstance(message, (timestamp_pb2.Timestamp, duration_pb2.Duration)):
        _time(message, path)
        return
    if depth > _MAX_DEPTH:
        raise InvalidArgument(path, "is nested too deeply")
    prefix = f"{path}." if path else ""
    for field, value in message.ListFields():
        name = f"{message.DESCRIPTOR.name}.{field.name}"
        if name in _IGNORED:
            continue
        where = prefix + field.name
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            _map(field, value, name, where, depth)
        elif isinstance(value, (str, bytes, int, float, Message)):
            _one(field, value, name, where, depth)
        else:
            _list(field, value, name, where, depth)


def _list(field: FieldDescriptor, values: Any, name: str, where: str, depth: int) -> None:
    if len(values) > _MAX_ITEMS:
        raise InvalidArgument(where, f"has {len(values)} items; at most {_MAX_ITEMS} are allowed")
    if name in _ANSWERED_ONE_BY_ONE:
        return
    for index, value in enumerate(values):
        if field.enum_type is not None and value == 0:
            raise InvalidArgument(f"{where}[{index}]", "must not be the unspecified value")
        _one(field, value, name, f"{where}[{index}]", depth)


def _map(
    field: FieldDescriptor, entries: Mapping[Any, Any], name: str, where: str, depth: int
) -> None:
    if len(entries) > _MAX_ITEMS:
        raise InvalidArgument(where, f"has {len(entries)} entries; at most {_MAX_ITEMS}")
    assert field.message_type is not None
    value_field = field.message_type.fields_by_name["value"]
    for key, value in entries.items():
        if isinstance(key, str):
            _text(key, f"{where} (key)", _MAX_TEXT_CHARS, _CONTROL)
        _one(value_field, value, name, f"{where}[{key}]", depth)


def _one(field: FieldDescriptor, value: Any, name: str, where: str, depth: int) -> None:
    if isinstance(value, str):
        forbidden = _UNSTORABLE if name in _SEVERAL_LINES else _CONTROL
        _text(value, where, _MAX_CHARS.get(name, _MAX_TEXT_CHARS), forbidden)
    elif isinstance(value, Message):
        _message(value, where, depth + 1)
    elif field.enum_type is not None and value not in field.enum_type.values_by_number:
        raise InvalidArgument(
            where, f"{value} is no value of {field.enum_type.name}", reason="UNKNOWN_ENUM_VALUE"
        )


def _text(text: str, where: str, limit: int, forbidden: re.Pattern[str]) -> None:
    if len(text) > limit:
        raise InvalidArgument(where, f"has {len(text)} characters; at most {limit} are allowed")
    found = forbidden.search(text)
    if found:
        raise InvalidArgument(where, f"has the control character U+{ord(found.group()):04X}")


def _time(value: timestamp_pb2.Timestamp | duration_pb2.Duration, where: str) -> None:
    """Check that a time is within the years 1 to 9999, the range of the well-known types."""
    try:
        value.ToJsonString()
    except ValueError:
        raise InvalidArgument(where, "is out of range") from None
