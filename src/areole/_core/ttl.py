"""ttl -> deadline.

The rule for every ttl of the library; `areole.typing.Ttl` and docs/promises.md say it to users:

    None             the value never expires
    a number         seconds: an int, a float or another real number, but no bool
    a timedelta      the same
    a callable       of (key, value), gives one of these; where one value alone is concerned, it is not taken
    0                the value has expired at once: what a fill gives is returned to its callers, and not stored. As the
                     one ttl of a whole read-through cache or decorator it is a ValueError: nothing would be stored
    less than 0      from a callable as 0, for the value says how long it is good for; else a ValueError
    NaN, infinite    a ValueError
    another type     a TypeError
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from datetime import timedelta
from numbers import Real
from typing import Any, Final, TypeAlias, TypeVar

from .._platform.arguments import check_plain, shown
from ..typing import Clock, Ttl

__all__ = [
    "EXPIRED_AT_ONCE",
    "DeadlineOf",
    "SecondsOf",
    "as_float",
    "deadline_after",
    "make_deadline",
    "make_seconds",
    "seconds_from",
    "seconds_of",
]

K = TypeVar("K")
V = TypeVar("V")


DeadlineOf: TypeAlias = Callable[[K, V], float | None]
"""Gives the deadline, a reading of the clock, of a value that was filled just now."""

SecondsOf: TypeAlias = Callable[[K, V], float | None]
"""Gives the ttl of a value in seconds; None: there are no ttls."""

EXPIRED_AT_ONCE: Final = -sys.float_info.max
"""The deadline, and the seconds, of a value that has expired as soon as it was filled: it is not stored.

What a refresh was to replace has been replaced, and leaves; where a fill's deadline is UNPUBLISHED, that stays."""

_RETURNED = "what the ttl callable returned"
_NEVER_NONE: Final = ("timeout", "lease")
"""Those that cannot be None: to leave them out is to have their default."""


def seconds_of(
    ttl: object, name: str = "ttl", *, may_be_zero: bool = False, may_be_callable: bool | None = None
) -> float:
    """Turn `ttl`, a number of seconds or a timedelta, into seconds; raise unless it is positive, or zero, and finite.

    `may_be_callable` is for the message alone; by default it is so for what is called `ttl`.
    """
    seconds = _number_from(ttl, name, name == "ttl" if may_be_callable is None else may_be_callable)
    if may_be_zero and not 0 <= seconds < math.inf:
        raise ValueError(f"{name} must be at least 0 and finite, or None for never, not {shown(ttl)}")
    if not may_be_zero and not 0 < seconds < math.inf:
        without = "; leave it out for values that never expire" if name == "ttl" else "; leave it out for none"
        without = "" if name in _NEVER_NONE else without
        raise ValueError(f"{name} must be positive and finite, not {shown(ttl)}{without}")
    return seconds


def _number_from(ttl: object, name: str, may_be_callable: bool) -> float:
    if isinstance(ttl, timedelta):
        return ttl.total_seconds()
    if isinstance(ttl, Real) and not isinstance(ttl, bool):
        return as_float(ttl)
    kinds = ", a timedelta, a callable of (key, value) or None" if may_be_callable else ", a timedelta or None"
    kinds = " or a timedelta" if name in _NEVER_NONE else kinds
    raise TypeError(f"{name} must be seconds (int or float){kinds}, not {type(ttl).__name__}")


def seconds_from(ttl: object, name: str = _RETURNED) -> float:
    """Turn what a ttl callable, or a fill, returned into seconds: infinite for None, EXPIRED_AT_ONCE for 0 or less."""
    if ttl is None:
        return math.inf
    seconds = _number_from(ttl, name, may_be_callable=False)
    if seconds <= 0:
        return EXPIRED_AT_ONCE
    if not seconds < math.inf:
        raise ValueError(f"{name} must be finite, not {shown(ttl)}; None is for a value that never expires")
    return seconds


def as_float(number: Real | float) -> float:
    """Turn a number into a float; one past the largest float is infinite."""
    try:
        return float(number)
    except OverflowError:  # an int past the largest float
        return -math.inf if number < 0 else math.inf


def make_deadline(ttl: Ttl[Any, Any] | None, clock: Clock) -> DeadlineOf[Any, Any]:
    """Return the function (key, value) -> deadline, a reading of `clock`, that is called when a fill has ended.

    Without a ttl it gives None. With one it gives floats only, `math.inf` where a callable ttl said None ("never"), so
    that a hit under a ttl is one comparison.
    """
    if ttl is None:
        return lambda key, value: None
    if callable(ttl):
        check_plain("ttl", ttl)
        return lambda key, value: deadline_after(seconds_from(ttl(key, value)), clock)
    seconds = seconds_of(ttl)
    return lambda key, value: clock() + seconds


def deadline_after(seconds: float, clock: Clock) -> float:
    """Return the deadline of a fill's value whose ttl is so many seconds."""
    return seconds + clock() if seconds > 0 else EXPIRED_AT_ONCE


def make_seconds(ttl: Ttl[Any, Any] | None) -> SecondsOf[Any, Any]:
    """Return the function (key, value) -> seconds; `math.inf` where a callable ttl said None."""
    if callable(ttl):
        return lambda key, value: seconds_from(ttl(key, value))
    seconds = None if ttl is None else seconds_of(ttl)
    return lambda key, value: seconds
