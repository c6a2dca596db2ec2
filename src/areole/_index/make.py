"""Which index a cache gets."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

from .._eviction.policy import make_policy
from .._platform.arguments import check_plain
from .atomic import AtomicDictIndex, may_make_another
from .bounded import BoundedIndex
from .dict import DictIndex
from .limits import check_at_least, weigh_all, weigh_none
from .protocol import Index

__all__ = ["bounded_index", "make_index"]


def make_index(kind: str, *, keeps_keys: bool) -> Index:
    """Make the index called `kind`; "auto" is the dict. `keeps_keys` says that no key will ever leave.

    Past 256 AtomicDicts in the process, "atomic" is a dict too: no cache fails for want of thread-specific keys.
    """
    if kind not in ("auto", "atomic", "dict"):
        raise ValueError(f'index must be "auto", "atomic" or "dict", not {kind!r}')
    if kind == "atomic" and not keeps_keys:
        raise ValueError('index="atomic" keeps the keys that are removed, so it cannot serve a ttl: use index="dict"')
    if kind == "atomic" and may_make_another():
        with suppress(RuntimeError):  # others have used up the thread-specific keys
            return AtomicDictIndex()
    return DictIndex()


def bounded_index(
    index: str, max_items: int | None, max_bytes: int | None, weigher: Callable[[Any, Any], int] | None, policy: str
) -> BoundedIndex | None:
    """Make the index of a read-through cache with limits; None if it has none. ValueError for what does not fit."""
    max_items = check_at_least("max_items", max_items, 1)
    max_bytes = check_at_least("max_bytes", max_bytes, 1)
    if index not in ("auto", "atomic", "dict"):
        raise ValueError(f'index must be "auto", "atomic" or "dict", not {index!r}')
    if weigher is not None:
        check_plain("weigher", weigher)
    make_policy(policy)  # refuses an unknown name, limits or no limits
    if weigher is not None and max_bytes is None:
        raise ValueError("a weigher needs max_bytes, the limit that it is for")
    if max_items is None and max_bytes is None:
        return None
    if index == "atomic":
        raise ValueError('index="atomic" keeps the keys that are removed, so it cannot have a limit: use index="dict"')
    if weigher is None and max_bytes is not None:
        raise ValueError("max_bytes needs a weigher, called as (key, value), for the bytes of a value")
    weigh = weigh_none if weigher is None else weigh_all(weigher)
    return BoundedIndex(
        max_items=max_items, max_weight=max_bytes, max_entry_weight=max_bytes, weigh=weigh, policy=policy
    )
