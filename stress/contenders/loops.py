"""The caches for coroutines; each `call` is awaited."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any, ClassVar

import benchmarks.contenders

from .contender import Cached, Contender
from .others import MANY

__all__ = ["AreoleAsync", "AsyncLru", "CacheboxAsync", "MokaAsync", "TheineAsync"]


class AreoleAsync(benchmarks.contenders.Areole, Contender):
    is_async: ClassVar = True
    features: ClassVar = frozenset({"ttl"})
    module: ClassVar = "areole"
    column: ClassVar = "areole"

    def __init__(self) -> None:
        super().__init__("areole async", ())

    def missing(self) -> str | None:
        import areole

        return None if hasattr(areole, "AsyncAtomicCache") else "not there yet"

    def make_cached(self, function: Callable[..., Any], **options: Any) -> Cached:
        import areole

        package: Any = areole  # as long as it may not be there yet
        cache = package.AsyncAtomicCache(function, **options)
        return Cached(cache.fetch, cache.invalidate, cache.clear)


class AsyncLru(Contender):
    name = "async-lru"
    distribution = "async-lru"
    module: ClassVar = "async_lru"
    is_async: ClassVar = True
    features: ClassVar = frozenset({"ttl"})

    def make_cached(self, function: Callable[..., Any], **options: Any) -> Cached:
        from async_lru import alru_cache

        f: Any = alru_cache(maxsize=None, **options)(function)
        return Cached(f, f.cache_invalidate, f.cache_clear)


class MokaAsync(Contender):
    name = "moka-py async"
    column: ClassVar = "moka-py"
    distribution = "moka-py"
    module: ClassVar = "moka_py"
    is_async: ClassVar = True
    features: ClassVar = frozenset({"ttl"})

    def make_cached(self, function: Callable[..., Any], **options: Any) -> Cached:
        import moka_py

        f: Any = moka_py.cached(maxsize=MANY, wait_concurrent=True, **options)(function)
        return Cached(f, clear=f.cache_clear)


class TheineAsync(Contender):
    name = "theine async"
    column: ClassVar = "theine"
    distribution = module = "theine"
    is_async: ClassVar = True
    features: ClassVar = frozenset({"ttl"})

    def make_cached(self, function: Callable[..., Any], **options: Any) -> Cached:
        from theine import Memoize

        f: Any = Memoize(10_000, timedelta(seconds=options["ttl"]) if options else None)(function)
        f.key(lambda key: key)
        return Cached(f)


class CacheboxAsync(Contender):
    name = "cachebox async"
    column: ClassVar = "cachebox"
    distribution = module = "cachebox"
    is_async: ClassVar = True
    features: ClassVar = frozenset({"ttl"})

    def make_cached(self, function: Callable[..., Any], **options: Any) -> Cached:
        import cachebox
        from cachebox.utils import make_key

        cache: Any = cachebox.TTLCache(0, options["ttl"]) if options else cachebox.LRUCache(0)
        f: Any = cachebox.cached(cache)(function)
        return Cached(f, lambda key: cache.pop(make_key(key), None), f.cache_clear)
