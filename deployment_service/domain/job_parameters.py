"""What a job's own parameter definitions make of the values of a run. Pure.

Jenkins answers 201 and drops or changes many values without a word (seen on Jenkins 2.440). A value that a
definition would not take exactly as it is must be refused before anything is sent.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from typing import Protocol

_MAX_SHOWN_CHARS = 60
_MAX_SHOWN_CHOICES = 20

_STRING = "StringParameterDefinition"
# Kinds of which it is known that they hand a text on as it came. A Git parameter does not check its value.
_TEXTS = frozenset({_STRING, "TextParameterDefinition", "GitParameterDefinition"})
_BOOLEAN = "BooleanParameterDefinition"
_CHOICE = "ChoiceParameterDefinition"
_FILES = frozenset(
    {
        "FileParameterDefinition",
        "StashedFileParameterDefinition",
        "Base64FileParameterDefinition",
    }
)
_RUN = "RunParameterDefinition"
# Password, NonStoredPassword, Credentials, Vault, … of core and plugins alike.
_SECRET = re.compile("password|credential|secret|vault|token", re.IGNORECASE)
_BUILD_REFERENCE = re.compile(r"(?P<job>[^#]+)#(?P<number>[1-9][0-9]{0,8})")
# Of a parameter named like this Jenkins takes the value for the quiet period as well.
_QUIET_PERIOD = "delay"


class JobParameter(Protocol):
    """A parameter that a job defines in Jenkins."""

    @property
    def name(self) -> str: ...

    @property
    def kind(self) -> str:
        """The definition's class without its package: ``StringParameterDefinition``."""
        ...

    @property
    def choices(self) -> Collection[str]: ...


def mismatch(defined: Iterable[JobParameter], values: Mapping[str, str]) -> str | None:
    """Return why a job would not take these values exactly as they are; None if it would.

    The message names parameter, kind and choices. It never holds the value of a secret.
    """
    by_name: dict[str, list[JobParameter]] = {}
    for parameter in defined:
        by_name.setdefault(parameter.name, []).append(parameter)
    unknown = sorted(name for name in values if name not in by_name)
    if unknown:
        return _unknown(unknown, by_name)
    for name, value in values.items():
        for parameter in by_name[name]:
            trouble = _trouble(parameter, value)
            if trouble:
                return f"{name} is of the kind {kind_name(parameter.kind)}: {trouble}"
    return None


def is_secret(kind: str) -> bool:
    """Return whether values of a kind must not be shown: passwords, credentials and their like."""
    return _SECRET.search(kind) is not None


def secret_names(defined: Iterable[JobParameter]) -> frozenset[str]:
    """Return the names of the parameters whose values must not be shown."""
    return frozenset(parameter.name for parameter in defined if is_secret(parameter.kind))


def referenced_builds(
    defined: Iterable[JobParameter], values: Mapping[str, str]
) -> dict[str, tuple[str, int]]:
    """Return the builds (full name of the job, number) that the values of run parameters name, by parameter.

    Jenkins takes the number of a build that it doesn't have, and gives the new build UNKNOWN.
    """
    found = {}
    for parameter in defined:
        match = _BUILD_REFERENCE.fullmatch(values.get(parameter.name, ""))
        if parameter.kind == _RUN and match:
            found[parameter.name] = (match["job"], int(match["number"]))
    return found


def with_outer_blanks(defined: Iterable[JobParameter], values: Mapping[str, str]) -> frozenset[str]:
    """Return the string parameters whose values would be changed if the definition trims them."""
    return frozenset(
        one.name
        for one in defined
        if one.kind == _STRING and _java_trim(values.get(one.name, "")) != values.get(one.name, "")
    )


def trim_trouble(name: str, value: str) -> str:
    """Return the message for a value that its definition would trim."""
    return (
        f"{name} is of the kind STRING and trims its values: the blanks around {visible(value)} would be lost. "
        "Leave them out, or turn off trimming in the job."
    )


def kind_name(kind: str) -> str:
    """Return a kind as people know it: ``BOOLEAN`` for ``BooleanParameterDefinition``."""
    return kind.removesuffix("ParameterDefinition").upper() or kind


def visible(text: str) -> str:
    """Return a text in quotes, in which blanks, control and invisible characters can be seen."""
    return repr(text if len(text) <= _MAX_SHOWN_CHARS else text[:_MAX_SHOWN_CHARS] + "…")


def visible_choices(choices: Collection[str]) -> str:
    """Return choices for a message, each in quotes so that blanks and an empty one can be seen."""
    shown = ", ".join(visible(choice) for choice in list(choices)[:_MAX_SHOWN_CHOICES])
    more = len(choices) - _MAX_SHOWN_CHOICES
    return f"{shown} and {more} more" if more > 0 else shown


def choice_trouble(value: str, choices: Collection[str]) -> str | None:
    """Return why a value isn't one of the choices; None if it is."""
    if value in choices:
        return None
    if not choices:
        return f"it has no choices, so that it takes no value, not even {visible(value)}. Leave it out."
    return f"{visible(value)} is none of its choices, which must match exactly: {visible_choices(choices)}."


def boolean_trouble(value: str) -> str | None:
    """Return why a value isn't a boolean; None if it is. Jenkins takes all but ``true`` for false."""
    if value in ("true", "false"):
        return None
    return f"{visible(value)} would not arrive as it is; its choices are 'true' and 'false'."


def _unknown(unknown: list[str], by_name: Collection[str]) -> str:
    # Jenkins would drop them without a word and build with something else than was asked for.
    spellings = {name.casefold(): name for name in by_name}
    named = ", ".join(
        f"{name} (but {spellings[name.casefold()]})" if name.casefold() in spellings else name
        for name in unknown
    )
    return (
        f"it doesn't define {named}. Define them there as string parameters, or run without them."
    )


def _java_trim(text: str) -> str:
    """Return the text without what ``String.trim()`` of Java takes off: all up to U+0020."""
    return text.strip("".join(map(chr, range(0x21))))


def _trouble(parameter: JobParameter, value: str) -> str | None:
    if parameter.name == _QUIET_PERIOD:
        return "Jenkins takes its value for the quiet period as well. Leave it out, or rename it in the job."
    kind = parameter.kind
    if kind in _TEXTS or is_secret(kind):
        return None
    if kind == _BOOLEAN:
        return boolean_trouble(value)
    if kind == _CHOICE:
        return choice_trouble(value, parameter.choices)
    if kind in _FILES:
        return "a file can't be given as a text; Jenkins would drop it. Leave it out."
    if kind == _RUN:
        if _BUILD_REFERENCE.fullmatch(value):
            return None
        return f"{visible(value)} doesn't name a build; expected one like 'shop/web#7'."
    return "what Jenkins makes of a text for it isn't known. Leave it out, so that the job's default applies."
