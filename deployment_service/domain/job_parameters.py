"""Compare the parameters of a run with the parameter definitions of its job in Jenkins. Pure.

Jenkins answers 201 and silently drops or changes many values (seen on Jenkins 2.440). So a value that a definition
would not pass on unchanged is rejected before anything is sent.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from typing import Protocol

_MAX_SHOWN_CHARS = 60
_MAX_SHOWN_CHOICES = 20

_STRING = "StringParameterDefinition"
# These kinds pass a text on unchanged. A Git parameter does not check its value.
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
# Jenkins uses the value of a parameter with this name as the quiet period too.
_QUIET_PERIOD = "delay"


class JobParameter(Protocol):
    """A parameter that a job defines in Jenkins."""

    @property
    def name(self) -> str: ...

    @property
    def kind(self) -> str:
        """Return the definition's class without its package, such as ``StringParameterDefinition``."""
        ...

    @property
    def choices(self) -> Collection[str]: ...


def mismatch(defined: Iterable[JobParameter], values: Mapping[str, str]) -> str | None:
    """Return why a job would change or drop one of these values; None if it passes all of them on.

    The message names parameter, kind and choices. It never contains the value of a secret.
    """
    by_name: dict[str, list[JobParameter]] = {}
    for parameter in defined:
        by_name.setdefault(parameter.name, []).append(parameter)
    unknown = sorted(name for name in values if name not in by_name)
    if unknown:
        return _unknown(unknown, by_name)
    for name, value in values.items():
        for parameter in by_name[name]:
            error = _value_error(parameter, value)
            if error:
                return f"{name} is of the kind {kind_name(parameter.kind)}: {error}"
    return None


def is_secret(kind: str) -> bool:
    """Return whether values of a kind must not be shown: passwords, credentials and similar kinds."""
    return _SECRET.search(kind) is not None


def secret_names(defined: Iterable[JobParameter]) -> frozenset[str]:
    """Return the names of the parameters whose values must not be shown."""
    return frozenset(parameter.name for parameter in defined if is_secret(parameter.kind))


def referenced_builds(
    defined: Iterable[JobParameter], values: Mapping[str, str]
) -> dict[str, tuple[str, int]]:
    """Return the builds (full name of the job, number) that values of run parameters reference, by parameter.

    Jenkins accepts the number of a build that does not exist, and passes UNKNOWN to the new build.
    """
    found = {}
    for parameter in defined:
        match = _BUILD_REFERENCE.fullmatch(values.get(parameter.name, ""))
        if parameter.kind == _RUN and match:
            found[parameter.name] = (match["job"], int(match["number"]))
    return found


def trimmable_values(defined: Iterable[JobParameter], values: Mapping[str, str]) -> frozenset[str]:
    """Return the string parameters whose values change if the definition trims them."""
    return frozenset(
        one.name
        for one in defined
        if one.kind == _STRING and _java_trim(values.get(one.name, "")) != values.get(one.name, "")
    )


def trim_error(name: str, value: str) -> str:
    """Return the error message for a value that its definition would trim."""
    return (
        f"{name} is of the kind STRING and trims its values: the blanks around {visible(value)} would be lost. "
        "Leave them out, or turn off trimming in the job."
    )


def kind_name(kind: str) -> str:
    """Return the short name of a kind: ``BOOLEAN`` for ``BooleanParameterDefinition``."""
    return kind.removesuffix("ParameterDefinition").upper() or kind


def visible(text: str) -> str:
    """Return a text in quotes, with whitespace, control and invisible characters visible."""
    return repr(text if len(text) <= _MAX_SHOWN_CHARS else text[:_MAX_SHOWN_CHARS] + "…")


def visible_choices(choices: Collection[str]) -> str:
    """Return choices for a message, each in quotes so that whitespace and an empty choice are visible."""
    shown = ", ".join(visible(choice) for choice in list(choices)[:_MAX_SHOWN_CHOICES])
    more = len(choices) - _MAX_SHOWN_CHOICES
    return f"{shown} and {more} more" if more > 0 else shown


def choice_error(value: str, choices: Collection[str]) -> str | None:
    """Return the error message for a value that is not one of the choices; None if it is."""
    if value in choices:
        return None
    if not choices:
        return (
            f"it has no choices, so it accepts no value, not even {visible(value)}. Leave it out."
        )
    return f"{visible(value)} is none of its choices, which must match exactly: {visible_choices(choices)}."


def boolean_error(value: str) -> str | None:
    """Return the error message for a value that is not a boolean; None if it is.

    Jenkins treats ``true`` in any case as true, and every other value as false.
    """
    if value in ("true", "false"):
        return None
    return f"{visible(value)} would not be passed on unchanged; its choices are 'true' and 'false'."


def _unknown(unknown: list[str], by_name: Collection[str]) -> str:
    # Jenkins would drop them silently and build with other values than the caller asked for.
    spellings = {name.casefold(): name for name in by_name}
    named = ", ".join(
        f"{name} (but {spellings[name.casefold()]})" if name.casefold() in spellings else name
        for name in unknown
    )
    return (
        f"it doesn't define {named}. Define them there as string parameters, or run without them."
    )


def _java_trim(text: str) -> str:
    """Return the text as Java's ``String.trim()`` does: without leading and trailing characters up to U+0020."""
    return text.strip("".join(map(chr, range(0x21))))


def _value_error(parameter: JobParameter, value: str) -> str | None:
    if parameter.name == _QUIET_PERIOD:
        return (
            "Jenkins uses its value as the quiet period too. Leave it out, or rename it in the job."
        )
    kind = parameter.kind
    if kind in _TEXTS or is_secret(kind):
        return None
    if kind == _BOOLEAN:
        return boolean_error(value)
    if kind == _CHOICE:
        return choice_error(value, parameter.choices)
    if kind in _FILES:
        return "a file can't be sent as a text: Jenkins would drop it. Leave it out."
    if kind == _RUN:
        if _BUILD_REFERENCE.fullmatch(value):
            return None
        return f"{visible(value)} doesn't name a build; expected one like 'shop/web#7'."
    return "the service cannot check values of this kind. Leave it out, so that the job's default applies."
