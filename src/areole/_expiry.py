"""ttl -> deadline."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import timedelta
from numbers import Real
from typing import Any, TypeAlias, TypeVar

from .typing import Clock, Ttl

__all__ = ["DeadlineOf", "SecondsOf", "as_float", "make_deadline", "make_seconds", "seconds_of"]

K = TypeVar("K")
V = TypeVar("V")


DeadlineOf: TypeAlias = Callable[[K, V], float | None]
"""Gives the deadline, a reading of the clock, of a value that was filled just now."""

SecondsOf: TypeAlias = Callable[[K, V], float | None]
"""Gives the ttl of a value in seconds; None: there are no ttls."""


_RETURNED = "what the ttl callable returned"
_WITHOUT = {"ttl": "leave it out for values that never expire", _RETURNED: "None is for a value that never expires"}


def seconds_of(ttl: object, name: str = "ttl") -> float:
    """Turn `ttl`, a number of seconds or a timedelta, into seconds; raise unless it is positive and finite."""
    if isinstance(ttl, timedelta):
        seconds = ttl.total_seconds()
    elif isinstance(ttl, Real) and not isinstance(ttl, bool):
        seconds = as_float(ttl)
    else:
        kinds = "a timedelta, a callable of (key, value) or None" if name == "ttl" else "a timedelta or None"
        raise TypeError(f"{name} must be seconds (int or float), {kinds}, not {type(ttl).__name__}")
    if not 0 < seconds < math.inf:
        without = _WITHOUT.get(name, "leave it out for none")
        raise ValueError(f"{name} must be positive and finite, not {ttl!r}; {without}")
    return seconds


def as_float(number: Real) -> float:
    """Turn a number into a float; one past the largest float is infinite."""
    try:
        return float(number)
    except OverflowError:  # an int past the largest float
        return math.inf


def make_deadline(ttl: Ttl[Any, Any] | None, clock: Clock) -> DeadlineOf[Any, Any]:
    """Return the function (key, value) -> deadline, a reading of `clock`, that is called when a fill has ended.

    Without a ttl it gives None. With one it gives floats only, `math.inf` where a callable ttl said None ("never"), so
    that a hit under a ttl is one comparison.
    """
    if ttl is None:
        return lambda key, value: None
    if callable(ttl):
        return lambda key, value: _seconds_from(ttl(key, value)) + clock()
    seconds = seconds_of(ttl)
    return lambda key, value: clock() + seconds


def make_seconds(ttl: Ttl[Any, Any] | None) -> SecondsOf[Any, Any]:
    """Return the function (key, value) -> seconds; `math.inf` where a callable ttl said None."""
    if callable(ttl):
        return lambda key, value: _seconds_from(ttl(key, value))
    seconds = None if ttl is None else seconds_of(ttl)
    return lambda key, value: seconds


def _seconds_from(ttl: object) -> float:
    return math.inf if ttl is None else seconds_of(ttl, _RETURNED)
