"""The parts of a Jenkinsfile, as groovy.py reads them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Literal:
    """A string without interpolation, a number, a boolean or null."""

    value: Any


@dataclass(frozen=True)
class Template:
    """A double-quoted string: text and expressions."""

    parts: tuple[Any, ...]


@dataclass(frozen=True)
class Name:
    """A variable, or the name of a step."""

    name: str


@dataclass(frozen=True)
class Member:
    """`object.name`."""

    owner: Any
    name: str


@dataclass(frozen=True)
class Index:
    """`object[index]`."""

    owner: Any
    index: Any


@dataclass(frozen=True)
class ListOf:
    """`[a, b]`."""

    items: tuple[Any, ...]


@dataclass(frozen=True)
class MapOf:
    """`[a: 1]`."""

    entries: tuple[tuple[Any, Any], ...]


@dataclass(frozen=True)
class Block:
    """Statements in braces: a body, or a closure."""

    statements: tuple[Any, ...]
    parameters: tuple[str, ...] = ()


@dataclass(frozen=True)
class CallOf:
    """`step 'x'`, `step(x, key: y) { … }`, `object.method(x)`."""

    target: Any
    arguments: tuple[Any, ...]
    named: tuple[tuple[str, Any], ...]


@dataclass(frozen=True)
class Operation:
    """An operator with one or two operands."""

    operator: str
    operands: tuple[Any, ...]


@dataclass(frozen=True)
class Assignment:
    """`x = value`, `def x = value`, `object.x = value`."""

    target: Any
    value: Any


@dataclass(frozen=True)
class Jump:
    """`return value` or `throw value`."""

    kind: str
    value: Any


@dataclass(frozen=True)
class If:
    """`if (…) … else …`, and the ternary operator."""

    condition: Any
    then: Any
    otherwise: Any


@dataclass(frozen=True)
class For:
    """`for (x in list) …`; without a name, `while (list) …`."""

    name: str | None
    over: Any
    body: Any


@dataclass(frozen=True)
class Try:
    """`try … catch (e) … finally …`."""

    body: Any
    name: str
    handler: Any
    cleanup: Any
