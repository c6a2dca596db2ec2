"""Checks of what a Storage is given."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from functools import partial
from typing import Any

from .._core.ttl import as_float, seconds_of
from .._index.bounded import BoundedIndex
from .._index.limits import OVERHEAD, check_at_least, size_of, weigh_all, weigh_none
from .._platform.arguments import check_plain, is_async_function, shown

__all__ = [
    "check_fill",
    "most_swept",
    "pairs_of",
    "seconds_until",
    "store_index",
    "sweep_delay",
    "ttl_seconds",
    "weigh_bytes",
]


def store_index(
    size_limit: object, max_items: object, weigher: Callable[[Any, Any], int] | None, policy: object
) -> BoundedIndex:
    """Make the index of a store with these limits."""
    size_limit = check_at_least("size_limit_in_bytes", size_limit, 4096)
    max_items = check_at_least("max_items", max_items, 1)
    weigh: Callable[[Any, Any], int] = weigh_none if size_limit is None else weigh_bytes
    if weigher is not None:
        check_plain("weigher", weigher)
        weigh = weigh_all(weigher)
    most_each = None if size_limit is None else size_limit // 2
    return BoundedIndex(
        max_items=max_items, max_weight=size_limit, max_entry_weight=most_each, weigh=weigh, policy=policy
    )


def weigh_bytes(key: Any, value: Any) -> int:
    if isinstance(value, bytes):
        return len(value) + size_of(key) + OVERHEAD
    raise ValueError(
        f"value must be bytes where size_limit_in_bytes is set, not {type(value).__name__}: "
        "serialize it, use a Cache, or give a weigher"
    )


def check_fill(fill: Any, allow_single_use: bool) -> None:
    if not callable(fill):
        raise TypeError(f"fill must be callable, not {type(fill).__name__}")
    if is_async_function(fill) and not allow_single_use:
        name = getattr(fill, "__qualname__", type(fill).__qualname__)
        raise TypeError(
            f"fill must be a plain function, not the async def {name}: "
            "its coroutine would be stored; use areole.cached, AsyncAtomicCache, or `aio` of a SharedCache"
        )


def seconds_until(when: datetime | None) -> float | None:
    """Return the seconds from now until `when`, 0 if that has passed; None, which is never, for None."""
    if when is None:
        return None
    if not isinstance(when, datetime):
        raise TypeError(f"when must be a datetime, or None for never, not {type(when).__name__}")
    return max(0.0, _timestamp(when) - time.time())


def _timestamp(when: datetime) -> float:
    """Return the seconds since the epoch; at the ends of the calendar local time may be out of its range."""
    try:
        return when.timestamp()
    except (OverflowError, ValueError):
        return when.replace(tzinfo=UTC).timestamp()


def ttl_seconds(ttl: object, name: str) -> float:
    """Turn the ttl of a store, or of one value, into seconds, at least 0; see the rule in _expiry."""
    return seconds_of(ttl, name, may_be_zero=True, may_be_callable=False)


def sweep_delay(delay: Any) -> float:
    if not isinstance(delay, int | float) or isinstance(delay, bool) or not 0 < as_float(delay) < math.inf:
        raise ValueError(f"expiration_thread_delay must be seconds, positive and finite, not {shown(delay)}")
    return float(delay)


def most_swept(most: Any) -> int:
    number = check_at_least("expiration_thread_max_checks_per_iteration", most, 0)
    if number is None:
        raise ValueError("expiration_thread_max_checks_per_iteration must be an int of at least 0, not None")
    return number


def pairs_of(items: Any, called: str = "set_many") -> Iterable[tuple[Any, Any]]:
    """Return the (key, value) pairs of a mapping, or of an iterable of such; raise TypeError at what is no pair."""
    if isinstance(items, Mapping):
        return items.items()
    if isinstance(items, str | bytes) or not isinstance(items, Iterable):
        raise TypeError(f"{called} takes a mapping, or an iterable of (key, value) pairs, not {type(items).__name__}")
    return map(partial(_pair, called), items)


def _pair(called: str, item: Any) -> tuple[Any, Any]:
    if not isinstance(item, tuple | list):
        raise TypeError(f"{called} takes (key, value) pairs, each a tuple or a list, not {type(item).__name__}")
    if len(item) != 2:
        raise TypeError(f"{called} takes (key, value) pairs, not a {type(item).__name__} of length {len(item)}")
    return item[0], item[1]
