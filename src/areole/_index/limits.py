"""What an entry is charged, and the limits that this counts towards."""

from __future__ import annotations

from collections.abc import Callable
from operator import index as as_int
from sys import getsizeof
from typing import Any, Final

from .._platform.arguments import shown

__all__ = ["OVERHEAD", "check_at_least", "size_of", "weigh_all", "weigh_none"]

OVERHEAD: Final = 336
"""Bytes that an entry counts for besides its key and value.

Measured by tracemalloc on full stores of 10,000 to 17,500 entries that never expire, keys and values left out: lru 277
to 309 on 3.11 and 3.13, 338 to 362 on 3.13t; s3fifo 250 to 282, and 290 to 314. A deadline takes some 140 to 180 more,
and what an entry is replaced by is more than what is filled once: see benchmarks/results/storage.md. A test holds it.
"""

PLAIN: Final = frozenset({int, float, str, bytes, bool, type(None)})


def weigh_none(key: Any, value: Any) -> int:
    """Give every entry the same weight, where there is no limit on weights."""
    return 1


def weigh_all(weigher: Callable[[Any, Any], int]) -> Callable[[Any, Any], int]:
    """Make the function that weighs an entry with all that belongs to it, from one that weighs its value."""

    def weigh(key: Any, value: Any) -> int:
        size = weigher(key, value)
        try:
            weight = as_int(size)  # an int of another library's too, such as numpy's
        except TypeError:
            weight = -1
        if weight < 0:
            raise ValueError(f"weigher must return an int of at least 0, not {shown(size)}")
        return weight + size_of(key) + OVERHEAD

    return weigh


def size_of(thing: Any) -> int:
    """Return `sys.getsizeof(thing)`, for what has no header of the collector's by the method that this calls.

    Called as a method it takes a tenth of the time, and this is done twice in each `set`.
    """
    return thing.__sizeof__() if type(thing) in PLAIN else getsizeof(thing)


def check_at_least(name: str, value: Any, least: int) -> int | None:
    """Return `value`, None or an int of any library's; raise ValueError unless that is at least `least`."""
    if value is None:
        return None
    try:
        number = least - 1 if isinstance(value, bool) else as_int(value)
    except TypeError:
        number = least - 1
    if number < least:
        raise ValueError(f"{name} must be an int of at least {least}, not {shown(value)}")
    return number
