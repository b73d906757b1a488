"""Build parameters: the definitions of a job, and the values of a request."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum


class BadParameter(Exception):
    """Jenkins answers these with 500: they are bugs of the caller, and permanent."""


_CORE = "hudson.model."
_CREDENTIALS = "com.cloudbees.plugins.credentials."


class ParameterKind(Enum):
    """Class names: of the definition, and of the values that it makes."""

    STRING = ("StringParameterDefinition", "StringParameterValue")
    TEXT = ("TextParameterDefinition", "TextParameterValue")
    BOOLEAN = ("BooleanParameterDefinition", "BooleanParameterValue")
    CHOICE = ("ChoiceParameterDefinition", "StringParameterValue")
    PASSWORD = ("PasswordParameterDefinition", "PasswordParameterValue")
    FILE = ("FileParameterDefinition", "FileParameterValue")
    RUN = ("RunParameterDefinition", "RunParameterValue")
    CREDENTIALS = ("CredentialsParameterDefinition", "CredentialsParameterValue")

    @property
    def definition_class(self) -> str:
        """The Java class of the definition."""
        return self._package + self.value[0]

    @property
    def value_class(self) -> str:
        """The Java class of a value."""
        return self._package + self.value[1]

    @property
    def _package(self) -> str:
        return _CREDENTIALS if self.value[0].startswith("Credentials") else _CORE

    @property
    def shows_value(self) -> bool:
        """Whether the API shows values of this kind, and not only their names."""
        return self not in _NAMED_ONLY


_NAMED_ONLY = (
    ParameterKind.PASSWORD,
    ParameterKind.FILE,
    ParameterKind.RUN,
    ParameterKind.CREDENTIALS,
)


@dataclass(frozen=True)
class ParameterValue:
    """A parameter of a queue item or a build. `content` is that of a file."""

    kind: ParameterKind
    name: str
    value: str | bool
    content: bytes = b""

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

    @property
    def is_posted(self) -> bool:
        """Whether notifications carry it."""
        return self.kind not in (ParameterKind.PASSWORD, ParameterKind.CREDENTIALS)


@dataclass(frozen=True)
class ParameterDefinition:
    """A parameter that a job declares. `project` is the job whose builds a run parameter names."""

    kind: ParameterKind
    name: str
    default: str = ""
    description: str | None = None
    choices: tuple[str, ...] = ()
    trim: bool = False
    project: str = ""

    def default_value(self) -> ParameterValue | None:
        """The value of a build that was given none; without one the build has no such parameter."""
        if self.kind is ParameterKind.CHOICE:
            if not self.choices:
                return None
            return ParameterValue(self.kind, self.name, self.default or self.choices[0])
        if self.kind in (ParameterKind.FILE, ParameterKind.RUN):
            return None
        return self.value_from(self.default)

    def value_from(self, text: str) -> ParameterValue:
        """The value that this text means. Raises BadParameter."""
        if self.kind is ParameterKind.CHOICE and text not in self.choices:
            raise BadParameter(f"Illegal choice for parameter {self.name}: {text}")
        if self.kind is ParameterKind.RUN and "#" not in text:
            raise BadParameter(f"Not a build: {text}")
        if self.kind is ParameterKind.BOOLEAN:
            return ParameterValue(self.kind, self.name, text.lower() == "true")
        return ParameterValue(self.kind, self.name, text.strip() if self.trim else text)


@dataclass(frozen=True)
class Submitted:
    """What a request brings: texts and files by name, and how to find the newest build of a job."""

    texts: Mapping[str, Sequence[str]]
    files: Mapping[str, tuple[str, bytes]]
    newest_build: Callable[[str], int | None]

    def value_of(self, definition: ParameterDefinition) -> ParameterValue | None:
        """Return the value of one parameter, None if there is none. Raises BadParameter."""
        texts = self.texts.get(definition.name)
        if definition.kind is ParameterKind.FILE:
            return self._file(definition)
        if texts is None:
            return self.default_of(definition)
        if len(texts) != 1:
            raise BadParameter(f"Illegal number of parameter values for {definition.name}")
        return definition.value_from(texts[0])

    def default_of(self, definition: ParameterDefinition) -> ParameterValue | None:
        """Return the default value: of a run parameter, the newest build of its job."""
        if definition.kind is not ParameterKind.RUN:
            return definition.default_value()
        number = self.newest_build(definition.project)
        return None if number is None else definition.value_from(f"{definition.project}#{number}")

    def _file(self, definition: ParameterDefinition) -> ParameterValue | None:
        """A file is only taken from a multipart field with a file name; anything else is dropped."""
        upload = self.files.get(definition.name)
        if upload is None:
            return None
        file_name, content = upload
        return ParameterValue(definition.kind, definition.name, file_name, content)


def values_from_request(
    definitions: Sequence[ParameterDefinition], submitted: Submitted
) -> tuple[ParameterValue, ...]:
    """Return one value for each definition; parameters that the job does not define are dropped silently."""
    values = [submitted.value_of(definition) for definition in definitions]
    return tuple(value for value in values if value is not None)


def default_values(
    definitions: Sequence[ParameterDefinition] | None, newest_build: Callable[[str], int | None]
) -> tuple[ParameterValue, ...] | None:
    """The values of a build that no request has started; None for a job without parameters."""
    if definitions is None:
        return None
    return values_from_request(definitions, Submitted({}, {}, newest_build))


def still_defined(
    definitions: Sequence[ParameterDefinition] | None, values: tuple[ParameterValue, ...] | None
) -> tuple[ParameterValue, ...] | None:
    """The values that a build keeps: those that its job defines when it starts."""
    if values is None:
        return None
    defined = {definition.name for definition in definitions or ()}
    return tuple(value for value in values if value.name in defined)


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
