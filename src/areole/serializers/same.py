"""Equality that looks at types too: 1, 1.0 and True are three values."""

from __future__ import annotations

from collections import deque
from typing import Any

__all__ = ["is_same"]


def is_same(one: Any, other: Any) -> bool:
    """Say whether two values are equal and of the same type, and so is all that is in them."""
    kind = type(one)
    if kind is not type(other):
        return False
    if isinstance(one, float):
        return bool(one == other or (one != one and other != other))
    if isinstance(one, dict):
        mine, its = _by_type(one), _by_type(other)
        return mine.keys() == its.keys() and all(is_same(value, its[key]) for key, value in mine.items())
    if isinstance(one, list | tuple | deque):
        return len(one) == len(other) and all(map(is_same, one, other))
    if isinstance(one, set | frozenset):
        return {(type(each), each) for each in one} == {(type(each), each) for each in other}
    if one != other:
        return False
    fields = getattr(kind, "__pydantic_fields__", None) or getattr(kind, "__dataclass_fields__", None) or ()
    return all(is_same(getattr(one, name, None), getattr(other, name, None)) for name in fields)


def _by_type(values: dict[Any, Any]) -> dict[tuple[type, Any], Any]:
    return {(type(key), key): value for key, value in values.items()}
