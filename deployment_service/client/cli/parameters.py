"""How the command line writes the parameters that a deployment defines: `NAME:KIND`, with what belongs to the kind."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping

from deployment_service.client.cli.settings import CliError
from deployment_service.v1 import deployment_service_pb2 as pb

DEFINE_HELP = (
    "A parameter of its runs, NAME:KIND with `!` (required) or `=` (default) behind it: `VERSION:string!`, "
    "`DRY_RUN:boolean=true`, `REGION:choice=eu|us` (all choices, the default first), `NOTES:text`, `TOKEN:secret`."
)
_DEFINITION = re.compile(
    r"(?P<name>[^:=!]+):(?P<kind>[a-z]+)(?P<required>!?)(?:=(?P<value>.*))?", re.DOTALL
)


def definitions(
    defaults: Mapping[str, str], written: Iterable[str]
) -> list[pb.ParameterDefinition]:
    """Return definitions: a string with its default for each of ``defaults``, then those that are ``written``."""
    plain = [
        pb.ParameterDefinition(name=name, kind=pb.PARAMETER_KIND_STRING, default_value=value)
        for name, value in defaults.items()
    ]
    return plain + [_parse(text) for text in written]


def from_environment(names: Iterable[str]) -> dict[str, str]:
    """Return values that the command line must not show: of the environment variables of these names."""
    missing = [name for name in names if name not in os.environ]
    if missing:
        raise CliError(f"--secret: the environment variable {missing[0]} is not set.")
    return {name: os.environ[name] for name in names}


def described(one: pb.ParameterDefinition) -> str:
    """Return a definition as the command line would write it."""
    kind = pb.ParameterKind.Name(one.kind).removeprefix("PARAMETER_KIND_").lower()
    required = "!" if one.required else ""
    if one.kind == pb.PARAMETER_KIND_CHOICE:
        others = [choice for choice in one.choices if choice != one.default_value or one.required]
        value = "|".join(others if one.required else [one.default_value, *others])
    else:
        value = one.default_value
    return f"{one.name}:{kind}{required}" + (f"={value}" if value else "")


def _parse(text: str) -> pb.ParameterDefinition:
    match = _DEFINITION.fullmatch(text)
    kinds = [name.removeprefix("PARAMETER_KIND_").lower() for name in pb.ParameterKind.keys()[1:]]
    if match is None or match["kind"] not in kinds:
        raise CliError(
            f"--define: expected NAME:KIND with one of the kinds {', '.join(kinds)}, not '{text}'."
        )
    kind = f"PARAMETER_KIND_{match['kind'].upper()}"
    value = match["value"]
    one = pb.ParameterDefinition(name=match["name"], kind=kind, required=bool(match["required"]))
    if one.kind != pb.PARAMETER_KIND_CHOICE:
        one.default_value = value or ""
    elif value is not None:
        one.choices.extend(value.split("|"))
        one.default_value = "" if one.required else one.choices[0]
    return one
