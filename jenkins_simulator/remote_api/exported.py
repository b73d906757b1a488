"""How Jenkins shows objects: properties with a visibility, cut down by `tree=` or `depth=`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol
from xml.sax.saxutils import escape

_SPECIAL = ",[]{}"
_PLAIN = (str, int, float, type(None), list, tuple, dict)


class MalformedTree(Exception):
    """A `tree` or `depth` that can't be read: 500."""


@dataclass(frozen=True)
class Property:
    """One exported property: `visibility` is the depth from which it is hidden."""

    name: str
    get: Callable[[Any, Any], Any]
    visibility: int = 1
    inline: bool = False
    expected: str | None = None
    """The declared class: a value of just that class is shown without `_class`."""


@dataclass(frozen=True)
class Bean:
    """An exported class; `java_class` may depend on the object. None of it is shown: `{}`."""

    java_class: str | Callable[[Any], str]
    properties: tuple[Property, ...]

    def class_of(self, value: object) -> str:
        """The Java class of this object."""
        return self.java_class if isinstance(self.java_class, str) else self.java_class(value)


class Unexported:
    """An action of a class that Jenkins does not export: shown as an empty object."""


class Pruner(Protocol):
    """Decides what is shown of an object."""

    def accept(self, prop: Property) -> Pruner | None:
        """The pruner for the property's value, or None to leave the property out."""

    def cut(self, values: Sequence[Any]) -> Sequence[Any]:
        """The part of a list that was asked for."""


class ByDepth:
    """`depth=`: whatever is visible at this depth."""

    def __init__(self, level: int) -> None:
        self._level = level

    def accept(self, prop: Property) -> Pruner | None:
        if prop.visibility < self._level:
            return None
        return self if prop.inline else ByDepth(self._level + 1)

    def cut(self, values: Sequence[Any]) -> Sequence[Any]:
        return values


class ByTree:
    """`tree=`: only what is named, at any depth."""

    def __init__(self) -> None:
        self.children: dict[str, ByTree] = {}
        self.first = 0
        self.end: int | None = None

    def accept(self, prop: Property) -> Pruner | None:
        return self.children.get(prop.name) or self.children.get("*")

    def cut(self, values: Sequence[Any]) -> Sequence[Any]:
        return values if self.end is None and not self.first else values[self.first : self.end]


class _TreeParser:
    """Recursive descent over `a,b[c,d]{0,5}`."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0

    def parse(self) -> ByTree:
        tree = ByTree()
        self._names(tree)
        if self._at != len(self._text):
            raise MalformedTree(f"expected EOF at {self._at}")
        return tree

    def _peek(self) -> str:
        """The special character here, a name, or "" at the end."""
        if self._at == len(self._text) or self._text[self._at] in _SPECIAL:
            return self._text[self._at : self._at + 1]
        end = self._at
        while end < len(self._text) and self._text[end] not in _SPECIAL:
            end += 1
        return self._text[self._at : end]

    def _accept(self, token: str) -> bool:
        if self._peek() != token:
            return False
        self._at += 1
        return True

    def _expect(self, token: str) -> None:
        if not self._accept(token):
            raise MalformedTree(f"expected {token} at {self._at}")

    def _names(self, tree: ByTree) -> None:
        self._node(tree)
        while self._accept(","):
            self._node(tree)

    def _node(self, tree: ByTree) -> None:
        name = self._peek()
        if not name or name in _SPECIAL:
            raise MalformedTree(f"expected name at {self._at}")
        self._at += len(name)
        child = tree.children[name] = ByTree()
        if self._accept("["):
            self._names(child)
            self._expect("]")
        if self._accept("{"):
            self._range(child)
            self._expect("}")

    def _range(self, child: ByTree) -> None:
        if self._accept(","):
            child.end = self._number()
            return
        child.first = self._number()
        if self._peek() == "}":
            child.end = child.first + 1
            return
        self._expect(",")
        child.end = None if self._peek() == "}" else self._number()

    def _number(self) -> int:
        token = self._peek()
        try:
            number = int(token)
        except ValueError:
            raise MalformedTree(f"expected number at {self._at}") from None
        self._at += len(token)
        return number


def pruner_for(tree: str | None, depth: str | None) -> Pruner:
    """The pruner that a request's `tree` and `depth` mean; raises MalformedTree."""
    if tree is not None:
        return _TreeParser(tree).parse()
    try:
        return ByDepth(1 - int(depth or "0"))
    except ValueError:
        raise MalformedTree("Depth parameter must be a number") from None


class Exporter:
    """Turns objects into what JSON shows."""

    def __init__(self, find_bean: Callable[[object], Bean | None], context: object) -> None:
        self._find_bean = find_bean
        self._context = context

    def export(self, value: Any, pruner: Pruner, expected: str | None = None) -> Any:
        """The value as JSON types."""
        bean = None if isinstance(value, _PLAIN) else self._find_bean(value)
        if bean is not None:
            shown: dict[str, Any] = {}
            java_class = bean.class_of(value)
            if java_class != expected:
                shown["_class"] = java_class
            for prop in bean.properties:
                inner = pruner.accept(prop)
                if inner is not None:
                    got = prop.get(value, self._context)
                    shown[prop.name] = self.export(got, inner, prop.expected)
            return shown
        if isinstance(value, list | tuple):
            return [self.export(one, pruner, expected) for one in pruner.cut(value)]
        if isinstance(value, dict):
            return {key: self.export(one, pruner) for key, one in value.items()}
        return {} if isinstance(value, Unexported) else value


def to_xml(name: str, shown: dict[str, Any]) -> str:
    """The exported object in Jenkins' XML form."""
    return "".join(_xml(name, shown))


def _xml(name: str, value: Any) -> Iterable[str]:
    if value is None:
        return
    if isinstance(value, list):
        singular = name[:-3] + "y" if name.endswith("ies") else name.removesuffix("s")
        for one in value:
            yield from _xml(singular, one)
    elif isinstance(value, dict):
        java_class = value.get("_class")
        yield f"<{name} _class='{java_class}'>" if java_class else f"<{name}>"
        for key, one in value.items():
            if key != "_class":
                yield from _xml(key, one)
        yield f"</{name}>"
    else:
        text = str(value).lower() if isinstance(value, bool) else str(value)
        yield f"<{name}>{escape(text)}</{name}>"
