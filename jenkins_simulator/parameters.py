"""Build parameters: what a job defines, and the values a request makes of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum


class BadParameter(Exception):
    """Jenkins answers these with 500: they are bugs of the caller, and permanent."""


class ParameterKind(Enum):
    """Class names: of the definition, and of the values that it makes."""

    STRING = ("StringParameterDefinition", "StringParameterValue")
    TEXT = ("TextParameterDefinition", "TextParameterValue")
    BOOLEAN = ("BooleanParameterDefinition", "BooleanParameterValue")
    CHOICE = ("ChoiceParameterDefinition", "StringParameterValue")
    PASSWORD = ("PasswordParameterDefinition", "PasswordParameterValue")

    @property
    def definition_class(self) -> str:
        """The Java class of the definition."""
        return "hudson.model." + self.value[0]

    @property
    def value_class(self) -> str:
        """The Java class of a value."""
        return "hudson.model." + self.value[1]


@dataclass(frozen=True)
class ParameterValue:
    """A parameter of a queue item or a build."""

    kind: ParameterKind
    name: str
    value: str | bool

    @property
    def text(self) -> str:
        """As environment variable and in notifications: always text."""
        if isinstance(self.value, bool):
            return "true" if self.value else "false"
        return self.value

    @property
    def is_sensitive(self) -> bool:
        """Whether the value must never be shown."""
        return self.kind is ParameterKind.PASSWORD


@dataclass(frozen=True)
class ParameterDefinition:
    """A parameter that a job declares."""

    kind: ParameterKind
    name: str
    default: str = ""
    description: str | None = None
    choices: tuple[str, ...] = ()
    trim: bool = False

    def default_value(self) -> ParameterValue:
        """The value of a build that was not told any."""
        if self.kind is ParameterKind.CHOICE:
            default = self.default or (self.choices[0] if self.choices else "")
            return ParameterValue(self.kind, self.name, default)
        return self.value_from(self.default)

    def value_from(self, text: str) -> ParameterValue:
        """The value that this text means; raises BadParameter for an unknown choice."""
        if self.kind is ParameterKind.CHOICE and text not in self.choices:
            raise BadParameter(f"Illegal choice for parameter {self.name}: {text}")
        if self.kind is ParameterKind.BOOLEAN:
            return ParameterValue(self.kind, self.name, text.lower() == "true")
        return ParameterValue(self.kind, self.name, text.strip() if self.trim else text)


def values_from_request(
    definitions: Sequence[ParameterDefinition], submitted: Mapping[str, Sequence[str]]
) -> tuple[ParameterValue, ...]:
    """One value per definition; whatever the job does not define is dropped without a word."""
    values = []
    for definition in definitions:
        texts = submitted.get(definition.name)
        if texts is None:
            values.append(definition.default_value())
        elif len(texts) != 1:
            raise BadParameter(f"Illegal number of parameter values for {definition.name}")
        else:
            values.append(definition.value_from(texts[0]))
    return tuple(values)


def values_from_form(
    definitions: Sequence[ParameterDefinition], form: object
) -> tuple[ParameterValue, ...]:
    """The values of the classic form's `json` field: only those that were submitted."""
    submitted = form.get("parameter", []) if isinstance(form, dict) else []
    entries = submitted if isinstance(submitted, list) else [submitted]
    known = {definition.name: definition for definition in definitions}
    values = []
    for entry in entries:
        if not isinstance(entry, dict) or "name" not in entry:
            raise BadParameter('JSONObject["name"] not found.')
        definition = known.get(str(entry["name"]))
        if definition is None:
            raise BadParameter(f"No such parameter definition: {entry['name']}")
        value = entry.get("value", "")
        values.append(
            definition.value_from(str(value).lower() if isinstance(value, bool) else str(value))
        )
    return tuple(values)
