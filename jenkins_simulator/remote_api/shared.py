"""Small exported objects that jobs, builds and queue items have in common."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from jenkins_simulator.core.model import Cause
from jenkins_simulator.core.parameters import ParameterDefinition, ParameterKind, ParameterValue
from jenkins_simulator.remote_api.exported import Bean, Property

P = Property


@dataclass(frozen=True)
class Shown:
    """An object that exists only in the API: its class and its properties as they are."""

    java_class: str
    values: dict[str, Any] = field(default_factory=dict)
    visibility: int = 1
    inline: tuple[str, ...] = ()
    """Properties whose values are shown as deep as this object itself."""
    expected: tuple[tuple[str, str], ...] = ()
    """Declared classes of properties, whose values are then shown without `_class`."""


@dataclass(frozen=True)
class Parameters:
    """The parameters of a build or queue item."""

    values: tuple[ParameterValue, ...]


@dataclass(frozen=True)
class Causes:
    """The causes of a build or queue item."""

    values: list[Cause]


@dataclass(frozen=True)
class ParametersProperty:
    """The parameters that a job defines."""

    definitions: tuple[ParameterDefinition, ...]


def _value_of(name: str) -> Callable[[Shown, object], Any]:
    return lambda shown, _: shown.values[name]


@lru_cache(maxsize=256)
def _bean_for(
    java_class: str,
    names: tuple[str, ...],
    visibility: int,
    inline: tuple[str, ...],
    expected: tuple[tuple[str, str], ...],
) -> Bean:
    declared = dict(expected)
    return Bean(
        java_class,
        tuple(
            P(name, _value_of(name), visibility, name in inline, declared.get(name))
            for name in names
        ),
    )


def shown_bean(shown: Shown) -> Bean:
    """The bean of this shape; the same for all objects alike."""
    return _bean_for(
        shown.java_class, tuple(shown.values), shown.visibility, shown.inline, shown.expected
    )


_NAME = P("name", lambda v, c: v.name, 3)
_VALUE = P("value", lambda v, c: v.value, 4)
_DEFINITION = (
    P("defaultParameterValue", lambda d, c: c.default_of(d), 3),
    P("description", lambda d, c: d.description, 3),
    P("name", lambda d, c: d.name, 3),
    P("type", lambda d, c: d.kind.value[0], 3),
)
_CHOICES = P("choices", lambda d, c: list(d.choices), 3)
_SHORT = P("shortDescription", lambda cause, c: cause.text, 3)

PARAMETERS_BEAN = Bean(
    "hudson.model.ParametersAction", (P("parameters", lambda p, c: p.values, 2),)
)
CAUSES_BEAN = Bean("hudson.model.CauseAction", (P("causes", lambda a, c: a.values, 2),))
PROPERTY_BEAN = Bean(
    "hudson.model.ParametersDefinitionProperty",
    (P("parameterDefinitions", lambda p, c: p.definitions, 2),),
)
USER_CAUSE_BEAN = Bean(
    "hudson.model.Cause$UserIdCause",
    (
        _SHORT,
        P("userId", lambda cause, c: cause.user, 3),
        P("userName", lambda cause, c: cause.user, 3),
    ),
)
TIMER_CAUSE_BEAN = Bean("hudson.triggers.TimerTrigger$TimerTriggerCause", (_SHORT,))
UPSTREAM_CAUSE_BEAN = Bean(
    lambda cause: (
        "org.jenkinsci.plugins.workflow.support.steps.build.BuildUpstreamCause"
        if cause.by_build_step
        else "hudson.model.Cause$UpstreamCause"
    ),
    (
        _SHORT,
        P("upstreamBuild", lambda cause, c: cause.upstream.number, 3),
        P("upstreamProject", lambda cause, c: cause.upstream.project, 3),
        P("upstreamUrl", lambda cause, c: cause.upstream.url, 3),
    ),
)
REMOTE_CAUSE_BEAN = Bean(
    "hudson.model.Cause$RemoteCause",
    (
        _SHORT,
        P("addr", lambda cause, c: cause.remote_address, 3),
        P("note", lambda cause, c: cause.note, 3),
    ),
)
VALUE_BEANS = {
    kind: Bean(kind.value_class, (_NAME, _VALUE) if kind.shows_value else (_NAME,))
    for kind in ParameterKind
}
_MORE_OF_DEFINITION = {
    ParameterKind.CHOICE: (_CHOICES,),
    ParameterKind.RUN: (
        P("filter", lambda d, c: "ALL", 3),
        P("projectName", lambda d, c: d.project, 3),
    ),
}
DEFINITION_BEANS = {
    kind: Bean(kind.definition_class, (*_DEFINITION, *_MORE_OF_DEFINITION.get(kind, ())))
    for kind in ParameterKind
}
