"""Keys that share a hash, some of which are compared by Python code: frozen dataclasses, ints, tuples of both.

Scenarios use names, so that the oracle's own dicts compare nothing; what the cache gets is new each time, so that
every lookup compares.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import count
from sys import hash_info
from typing import Any, Final

from .worker import current_worker

__all__ = ["NAMES", "Point", "make_key", "name_of"]


@dataclass(frozen=True)
class Point:
    """An ordinary frozen dataclass: its `__hash__` and `__eq__` are the generated ones. hash(-1) is hash(-2)."""

    x: int
    y: int


def _pause_in_comparisons() -> None:
    """Let other threads run in `Point.__eq__`, as they may in any function: with a GIL they would seldom come there."""
    compare = Point.__eq__

    def __eq__(self: Point, other: object) -> bool:
        worker = current_worker()
        if worker is not None:
            worker.pause(0.4)
        return compare(self, other)

    Point.__eq__ = __eq__  # type: ignore[method-assign]


_pause_in_comparisons()

Y: Final = next(y for y in count() if abs(hash(Point(-1, y))) < hash_info.modulus)
"""With this one the hash is an int's own: an int is its own hash up to the modulus."""

NAMES: Final = ("minus one", "minus two", "int", "tuple one", "tuple two")


def make_key(name: str) -> Any:
    """Make the key of that name, another object each time."""
    if name.startswith("tuple"):
        return (make_key(name.replace("tuple", "minus")), "of one")
    if name == "int":
        return hash(Point(-1, Y)) + 0
    return Point(-1 if name == "minus one" else -2, Y)


def name_of(key: Any) -> str:
    if isinstance(key, tuple):
        return name_of(key[0]).replace("minus", "tuple")
    if isinstance(key, int):
        return "int"
    return "minus one" if key.x == -1 else "minus two"


assert len({hash(make_key(name)) for name in NAMES[:3]}) == 1
assert len({hash(make_key(name)) for name in NAMES[3:]}) == 1
