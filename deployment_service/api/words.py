"""Words of the store as values of the contract."""

from __future__ import annotations

from typing import Any, TypeVar

Value = TypeVar("Value", bound=int)


def value_of(unspecified: Value, enum: Any, word: str) -> Value:
    """The value whose name ends in ``word``, after the prefix that ``unspecified`` shows; else that itself.

    While replicas are exchanged for newer ones, the old ones read what the new ones write. A word that one doesn't
    know yet must not cost its callers all that it does know.
    """
    name = enum.Name(unspecified).removesuffix("UNSPECIFIED") + word
    value: Value = enum.Value(name) if name in enum.keys() else unspecified  # noqa: SIM118 - no mapping
    return value
