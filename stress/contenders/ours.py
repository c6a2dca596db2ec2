"""areole, in its three forms. The one for coroutines is in `loops`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import benchmarks.contenders

from .contender import Cached, Contender

__all__ = ["AreoleMapping", "AreoleMemoize", "AreoleStorage"]


def _weigh_value(key: Any, value: Any) -> int:
    return len(value) + (len(key) if isinstance(key, str) else 8)


def _exact_count(cache: Any) -> Callable[[], int]:
    """Return what counts the entries of a cache with limits: its `len`, as documented, is no snapshot."""
    return lambda: int(cache._state.index.count()[0])


class _Ours(benchmarks.contenders.Areole, Contender):
    module: ClassVar = "areole"
    column: ClassVar = "areole"

    def errors_for_a_wait_without_end(self) -> tuple[type[Exception], ...]:
        from areole import FillDeadlockError, RecursiveFillError

        return FillDeadlockError, RecursiveFillError


class AreoleMapping(_Ours):
    """`AtomicCache(function)`, used as `cache[key]`; its memoize for what is asked of a decorator."""

    features: ClassVar = frozenset({"ttl", "clock", "max_items", "max_bytes", "cache_exceptions"})

    def __init__(self, name: str = "areole AtomicCache") -> None:
        super().__init__(name, ())

    def make_cached(self, function: Callable[..., Any], **options: Any) -> Cached:
        from areole import AtomicCache

        options |= {"weigher": _weigh_value} if "max_bytes" in options else {}
        cache: Any = AtomicCache(function, **options)
        return Cached(
            cache.__getitem__, cache.invalidate, cache.clear, _exact_count(cache), contains=cache.__contains__
        )

    def decorate(self, function: Callable[..., Any]) -> Any:
        from areole import AtomicCache

        return AtomicCache.memoize(function)


class AreoleMemoize(AreoleMapping):
    """`AtomicCache.memoize`, for all."""

    def __init__(self) -> None:
        super().__init__("areole memoize")

    def make_cached(self, function: Callable[..., Any], **options: Any) -> Cached:
        from areole import AtomicCache

        def fill(key: Any) -> Any:
            return function(key)

        options |= {"weigher": lambda key, value: _weigh_value(key, value)} if "max_bytes" in options else {}
        f: Any = AtomicCache.memoize(**options)(fill)
        return Cached(
            f, f.invalidate, f.cache_clear, _exact_count(f.cache), contains=lambda key: f.peek(key) is not None
        )


class AreoleStorage(_Ours):
    """`Storage.get_or_fill`."""

    features: ClassVar = frozenset({"ttl", "clock", "max_items", "max_bytes", "item_ttl"})

    def __init__(self) -> None:
        super().__init__("areole Storage", ())

    def make_cached(self, function: Callable[..., Any], **options: Any) -> Cached:
        from areole import Storage

        names = {"ttl": "default_ttl", "max_bytes": "size_limit_in_bytes"}
        options.pop("item_ttl", None)
        store: Any = Storage(**{names.get(name, name): value for name, value in options.items()})
        return Cached(
            lambda key: store.get_or_fill(key, function),
            store.delete,
            store.clear,
            lambda: store.number_of_items,
            lambda: store.size_in_bytes,
            store.__contains__,
            store.set,
            store.sweep,
        )
