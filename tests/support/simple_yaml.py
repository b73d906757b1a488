"""Reads the YAML that rule files of Prometheus need: block mappings and sequences, plain and double-quoted scalars.

No library, so that one test file does not add a package to everybody's environment. It is stricter than YAML: anything
else, such as tabs, flow collections, anchors, block scalars or a duplicate key, raises ValueError.
"""

from __future__ import annotations

import json
import re

Node = str | list["Node"] | dict[str, "Node"]

_KEY = re.compile(r"([A-Za-z_][\w.-]*):(?: +(.*))?")
# What makes a plain scalar something else than the text that it looks like.
_NOT_PLAIN = re.compile(r"""^["'\[{&*!|>%@`?-]|: | #|:$""")


def load(text: str) -> Node:
    """Return the document as texts, lists and dicts. Raises ValueError if it is not of the supported kind."""
    lines = [
        (len(line) - len(line.lstrip(" ")), line.strip())
        for line in text.splitlines()
        if line.strip() and not line.strip().startswith("#")
    ]
    if "\t" in text:
        raise ValueError("a tab")
    node, rest = _block(lines)
    if rest:
        raise ValueError(f"not expected here: {rest[0][1]}")
    return node


def _block(lines: list[tuple[int, str]]) -> tuple[Node, list[tuple[int, str]]]:
    indent, first = lines[0]
    if first.startswith("- "):
        items: list[Node] = []
        while lines and lines[0][0] == indent and lines[0][1].startswith("- "):
            # The item's own lines are indented by the width of the dash.
            inner = [(indent + 2, lines[0][1][2:].strip()), *lines[1:]]
            item, lines = _block(inner)
            items.append(item)
        return items, _dedented(lines, indent)
    fields: dict[str, Node] = {}
    while lines and lines[0][0] == indent:
        match = _KEY.fullmatch(lines[0][1])
        if match is None:
            raise ValueError(f"no key: {lines[0][1]}")
        key, value = match.groups()
        if key in fields:
            raise ValueError(f"twice: {key}")
        if value:
            fields[key], lines = _scalar(value), lines[1:]
        elif len(lines) > 1 and lines[1][0] > indent:
            fields[key], lines = _block(lines[1:])
        else:
            raise ValueError(f"no value: {key}")
    return fields, _dedented(lines, indent)


def _dedented(lines: list[tuple[int, str]], indent: int) -> list[tuple[int, str]]:
    if lines and lines[0][0] > indent:
        raise ValueError(f"indented too far: {lines[0][1]}")
    return lines


def _scalar(text: str) -> str:
    if text.startswith('"'):
        value = json.loads(text)
        assert isinstance(value, str)
        return value
    if _NOT_PLAIN.search(text):
        raise ValueError(f"not a plain scalar: {text}")
    return text
