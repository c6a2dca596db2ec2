"""A finalizer that calls the cache works.

Asks: values whose `__del__` calls the cache leave it, by a limit of four items, or by removal.
Survives: all come to an end, no finalizer fails, and the values are right.
"""

from __future__ import annotations

import gc
import sys
from typing import Any

from ..contender import Contender
from ..outcome import NotOffered, Wrong
from ..tools import Effort, start


def run(contender: Contender, effort: Effort) -> str:
    finalized: list[int] = []
    errors: list[BaseException | None] = []
    sys.unraisablehook = lambda unraisable: errors.append(unraisable.exc_value)

    class Value:
        def __init__(self, key: int) -> None:
            self.key = key

        def __del__(self) -> None:
            finalized.append(cached.call("small"))

    def fill(key: Any) -> Any:
        return "small" if key == "small" else Value(key)

    options = {"max_items": 4} if "max_items" in contender.features else {}
    cached = contender.cached(fill, **options)
    if not options and not cached.offers("invalidate") and not cached.offers("clear"):
        raise NotOffered("removing a key")

    def churn() -> bool:
        for key in range(200):
            if getattr(cached.call(key), "key", None) != key:
                return False
            if not options:
                cached.remove(key)
        gc.collect()
        return True

    if not start(effort, "a finalizer that calls the cache", churn).result():
        raise Wrong("another key's value")
    sys.unraisablehook = sys.__unraisablehook__
    if errors:
        raise Wrong(f"a finalizer's call raises {type(errors[0]).__name__}")
    if set(finalized) - {"small"}:
        raise Wrong("a finalizer's call gives another key's value")
    if not finalized:
        raise Wrong("no value that was removed has been freed")
    return f"{len(finalized)} finalizers"
