"""The words of Groovy."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from jenkins_simulator.pipeline.groovy_nodes import Literal


class GroovyError(Exception):
    """The script can't be read: the build fails before it has begun."""


@dataclass(frozen=True)
class Token:
    """A word of the language: `value` is what a literal stands for."""

    kind: str
    text: str
    value: Any = None


_TOKEN = re.compile(
    r"""
    (?P<skip>[ \t\r]+|//[^\n]*|/\*.*?\*/|\\\n)
  | (?P<newline>\n|;)
  | (?P<triple>'''(?:\\.|[^\\])*?'''|\"\"\"(?:\\.|[^\\])*?\"\"\")
  | (?P<string>'(?:\\.|[^'\\\n])*'|"(?:\\.|[^"\\\n])*")
  | (?P<number>\d+(?:\.\d+)?[lLfFdD]?)
  | (?P<name>[A-Za-z_][A-Za-z0-9_]*|\$[A-Za-z_]\w*)
  | (?P<operator>->|\+=|==~|=~|==|!=|<=|>=|&&|\|\||\?\.|\?:|\+\+|--|[-+*/%<>=!?:.,(){}\[\]@])
    """,
    re.X | re.S,
)
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "b": "\b"}


def tokenize(text: str, template: Callable[[str], Any]) -> list[Token]:
    """The tokens of a script; `template` reads what is between double quotes."""
    found, at = [], 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            raise GroovyError(
                f"unexpected char: {text[at]!r} @ line {text.count(chr(10), 0, at) + 1}"
            )
        at = match.end()
        kind = str(match.lastgroup)
        if kind == "skip":
            continue
        if kind in ("string", "triple"):
            width = 3 if kind == "triple" else 1
            inner = match.group()[width:-width]
            value = template(inner) if match.group()[0] == '"' else Literal(unescape(inner))
            found.append(Token("literal", match.group(), value))
        elif kind == "number":
            digits = match.group().rstrip("lLfFdD")
            number = float(digits) if "." in digits else int(digits)
            found.append(Token("literal", match.group(), Literal(number)))
        else:
            found.append(Token(kind, match.group()))
    return [*found, Token("end", "")]


def unescape(text: str) -> str:
    """The text that a string literal stands for."""
    unescaped = re.sub(r"\\u([0-9a-fA-F]{4})", lambda m: chr(int(m.group(1), 16)), text)
    return re.sub(r"\\(.)", lambda m: _ESCAPES.get(m.group(1), m.group(1)), unescaped, flags=re.S)
