"""Equality that looks at types too: 1, 1.0 and True are three values."""

from __future__ import annotations

from collections import deque
from typing import Any, Final

__all__ = ["is_same"]

_ATOMS: Final = frozenset([bool, bytes, float, int, str, type(None)])
_SEQUENCES: Final = (list, tuple, deque)
_SETS: Final = (set, frozenset)


def is_same(one: Any, other: Any) -> bool:
    """Say whether two values are equal and of the same type, and so is all that is in them."""
    return bool(one == other) and _has_same_types(one, other)


def _has_same_types(one: Any, other: Any) -> bool:
    kind = type(one)
    if kind is not type(other):
        return False
    if kind in _ATOMS:
        return True
    if isinstance(one, dict):
        return all(_has_same_types(value, other[key]) for key, value in one.items()) and _is_each_in(one, other)
    if isinstance(one, _SEQUENCES):
        return all(map(_has_same_types, one, other))
    if isinstance(one, _SETS):
        return _is_each_in(one, other)
    names = getattr(kind, "__pydantic_fields__", None) or getattr(kind, "__dataclass_fields__", None) or ()
    return all(_has_same_types(getattr(one, name, None), getattr(other, name, None)) for name in names)


def _is_each_in(one: Any, other: Any) -> bool:
    """Say whether the keys of two equal dicts, or the elements of two equal sets, are of the same types."""
    twins = {each: each for each in other}
    return all(_has_same_types(each, twins[each]) for each in one)
