"""The parameters that a deployment defines (kinds, defaults, choices), and their values for a run. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from typing import Any

from deployment_service.domain.errors import InvalidArgument
from deployment_service.domain.job_parameters import (
    JobParameter,
    boolean_error,
    choice_error,
)
from deployment_service.domain.parameters import (
    MAX_PARAMETERS,
    check_environment_name,
    check_form_name,
    check_name,
    check_size,
    check_value,
    is_environment_name,
)

MAX_CHOICES = 200
MAX_DESCRIPTION_CHARS = 1000
_MAX_NAMES_SHOWN = 20


class ParameterKind(StrEnum):
    """The kind of values of a parameter. The values of ``deployments.parameter_definitions``."""

    STRING = "STRING"
    TEXT = "TEXT"
    BOOLEAN = "BOOLEAN"
    CHOICE = "CHOICE"
    SECRET = "SECRET"  # noqa: S105 - an enum value, not a password


_CLASSES = {
    ParameterKind.STRING: "StringParameterDefinition",
    ParameterKind.TEXT: "TextParameterDefinition",
    ParameterKind.BOOLEAN: "BooleanParameterDefinition",
    ParameterKind.CHOICE: "ChoiceParameterDefinition",
    ParameterKind.SECRET: "PasswordParameterDefinition",
}


@dataclass(frozen=True, slots=True)
class DeclaredParameter:
    """A parameter that a deployment defines."""

    name: str
    kind: ParameterKind = ParameterKind.STRING
    default_value: str = ""
    choices: tuple[str, ...] = ()
    required: bool = False
    description: str = ""

    @property
    def has_default(self) -> bool:
        """Return whether a run without this parameter gets ``default_value``."""
        return not self.required and self.kind is not ParameterKind.SECRET


def definitions_to_json(definitions: Iterable[DeclaredParameter]) -> list[dict[str, Any]]:
    """Return the value of the column ``deployments.parameter_definitions``."""
    return [{**asdict(one), "choices": list(one.choices)} for one in definitions]


def definitions_from_json(stored: Iterable[Mapping[str, Any]]) -> tuple[DeclaredParameter, ...]:
    """Return the definitions from what ``definitions_to_json`` returned."""
    return tuple(
        DeclaredParameter(
            **{**one, "kind": ParameterKind(one["kind"]), "choices": tuple(one["choices"])}
        )
        for one in stored
    )


def check_definitions(
    definitions: Sequence[DeclaredParameter], *, field: str, declares: bool
) -> tuple[DeclaredParameter, ...]:
    """Return the definitions in normal form, in their order.

    ``declares``: the service writes them into a job that it creates. Names with a meaning to shells, loaders, JVMs and
    git are then rejected. For an adopted job its owner decides.

    Raises:
        InvalidArgument: Jenkins cannot store these definitions.
    """
    if len(definitions) > MAX_PARAMETERS:
        raise InvalidArgument(field, f"has more than {MAX_PARAMETERS} items")
    checked: dict[str, DeclaredParameter] = {}
    for index, one in enumerate(definitions):
        where = f"{field}[{index}]"
        check_name(one.name, field=f"{where}.name")
        check_form_name(one.name, field=f"{where}.name")
        if declares:
            check_environment_name(one.name, field=f"{where}.name")
        if one.name in checked:
            raise InvalidArgument(f"{where}.name", f"{one.name} is defined twice")
        checked[one.name] = _check_one(one, where)
    check_size(defaults(checked.values()), field=field)
    return tuple(checked.values())


def defaults(definitions: Iterable[DeclaredParameter]) -> dict[str, str]:
    """Return the values of a run that passes no parameters."""
    return {one.name: one.default_value for one in definitions if one.has_default}


def secret_names(definitions: Iterable[DeclaredParameter]) -> frozenset[str]:
    """Return the names of the parameters whose values must not be shown."""
    return frozenset(one.name for one in definitions if one.kind is ParameterKind.SECRET)


def values_of_run(
    definitions: Sequence[DeclaredParameter],
    fixed: Mapping[str, str],
    given: Mapping[str, str],
    *,
    field: str,
    owner_declares: bool,
) -> dict[str, str]:
    """Return the parameters of a run: given values override defaults, and fixed values override both.

    ``given``: already checked by ``check_parameters``.
    ``owner_declares``: the job's owner defines parameters in Jenkins. Values without a definition here are compared
    with those before anything is sent.

    Raises:
        InvalidArgument: the definitions do not allow a value, or a required value is missing.
    """
    by_name = {one.name: one for one in definitions}
    for name, value in given.items():
        where = f"{field}[{name}]"
        if fixed.get(name, value) != value:
            raise InvalidArgument(
                where,
                "is fixed by the deployment's existing_job.fixed_parameters. Leave it out",
                reason="PARAMETER_FIXED",
            )
        _check_allowed(name, by_name, where, owner_declares=owner_declares or name in fixed)
        _check_kind(by_name.get(name), value, where)
    missing = [one.name for one in definitions if one.required and one.name not in given]
    if missing:
        raise InvalidArgument(
            field, f"{_listed(missing)} must be given: required", reason="PARAMETER_REQUIRED"
        )
    merged = {**defaults(definitions), **given, **fixed}
    check_size(merged, field=field)
    return merged


def is_defined(one: DeclaredParameter, defined: Iterable[JobParameter]) -> bool:
    """Return whether a job in Jenkins defines a parameter in the same way as its deployment.

    Defaults are not compared: each run sends all values.
    """
    found = [parameter for parameter in defined if parameter.name == one.name]
    return len(found) == 1 and (
        found[0].kind == _CLASSES[one.kind]
        and (one.kind is not ParameterKind.CHOICE or set(found[0].choices) == set(one.choices))
    )


def _check_one(one: DeclaredParameter, where: str) -> DeclaredParameter:
    if len(one.description) > MAX_DESCRIPTION_CHARS:
        raise InvalidArgument(
            f"{where}.description", f"has more than {MAX_DESCRIPTION_CHARS} characters"
        )
    check_value(one.description, field=f"{where}.description")
    check_value(one.default_value, field=f"{where}.default_value")
    if one.default_value and not one.has_default:
        why = "is required" if one.required else "is a SECRET, which is stored for one run only"
        raise InvalidArgument(f"{where}.default_value", f"must be empty: the parameter {why}")
    _check_choices(one, where)
    if one.kind is ParameterKind.BOOLEAN and one.has_default:
        one = replace(one, default_value=one.default_value or "false")
    if one.kind is ParameterKind.CHOICE and one.has_default and one.default_value == "":
        one = replace(one, default_value="" if "" in one.choices else one.choices[0])
    if one.has_default:
        _check_kind(one, one.default_value, f"{where}.default_value")
    return one


def _check_choices(one: DeclaredParameter, where: str) -> None:
    where = f"{where}.choices"
    if one.kind is not ParameterKind.CHOICE:
        if one.choices:
            raise InvalidArgument(where, f"are for the kind CHOICE only, not for {one.kind}")
        return
    if not one.choices:
        raise InvalidArgument(where, "is required for the kind CHOICE", reason="REQUIRED_FIELD")
    if len(one.choices) > MAX_CHOICES:
        raise InvalidArgument(where, f"has more than {MAX_CHOICES} items")
    for index, choice in enumerate(one.choices):
        check_value(choice, field=f"{where}[{index}]")
        # Jenkins' form for jobs has one choice per line.
        if "\n" in choice or "\r" in choice:
            raise InvalidArgument(f"{where}[{index}]", "must be a single line")
    if len(set(one.choices)) < len(one.choices):
        raise InvalidArgument(where, "has a choice twice")


def _check_allowed(
    name: str, by_name: Mapping[str, DeclaredParameter], where: str, *, owner_declares: bool
) -> None:
    if owner_declares:
        return
    if name not in by_name:
        known = f"It defines {_listed(list(by_name))}" if by_name else "It defines none"
        raise InvalidArgument(
            where,
            f"isn't a parameter of the deployment. {known}; a caller with role definer can add it with "
            "UpdateDeployment (parameter_definitions)",
            reason="PARAMETER_NOT_DEFINED",
        )
    # Older definitions may have such names. Their defaults are allowed, because a caller with role definer set them.
    if is_environment_name(name):
        raise InvalidArgument(
            where,
            "can't be given by a run, as shells, loaders, JVMs or git act on it. Rename the parameter",
            reason="PARAMETER_RESERVED",
        )


def _check_kind(one: DeclaredParameter | None, value: str, where: str) -> None:
    error = None
    if one is not None and one.kind is ParameterKind.BOOLEAN:
        error = boolean_error(value)
    elif one is not None and one.kind is ParameterKind.CHOICE:
        error = choice_error(value, one.choices)
    if one is not None and error:
        raise InvalidArgument(where, f"{one.name} is of the kind {one.kind}: {error}")


def _listed(names: Sequence[str]) -> str:
    more = len(names) - _MAX_NAMES_SHOWN
    return ", ".join(names[:_MAX_NAMES_SHOWN]) + (f" and {more} more" if more > 0 else "")
