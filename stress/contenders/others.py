"""The other caches, each used as its documentation says, with the lock or the waiting that it offers."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from datetime import timedelta
from operator import attrgetter
from time import monotonic
from typing import Any, ClassVar

from .contender import Cached, Contender, by_hand
from .outcome import NotOffered

__all__ = [
    "AtomicLru",
    "Cachebox",
    "Cachetools",
    "CachetoolsCondition",
    "Cereggii",
    "LruCache",
    "Moka",
    "TheineCache",
    "TheineMemoize",
]

MANY = 1_000_000
"""For caches that must be given a limit where no limit is wanted."""


class LruCache(Contender):
    name = "lru_cache"
    features: ClassVar = frozenset({"max_items"})

    def make_cached(self, function: Callable[..., Any], **options: Any) -> Cached:
        f = functools.lru_cache(maxsize=options.get("max_items"))(function)
        return Cached(f, clear=f.cache_clear, count=lambda: f.cache_info().currsize)

    def decorate(self, function: Callable[..., Any]) -> Any:
        return functools.lru_cache(maxsize=None)(function)


class Cereggii(Contender):
    """It caches exceptions, always, and there is no way to turn that off."""

    name = "cereggii AtomicCache"
    distribution = module = "cereggii"
    features: ClassVar = frozenset({"ttl", "cache_exceptions"})
    clock_name: ClassVar = "monotonic"

    def make_cached(self, function: Callable[..., Any], **options: Any) -> Cached:
        from cereggii import AtomicCache

        cache: Any = AtomicCache(function, ttl=options.get("ttl"))
        return Cached(cache.__getitem__, cache.invalidate, contains=cache.__contains__)

    def decorate(self, function: Callable[..., Any]) -> Any:
        from cereggii import AtomicCache

        memoize: Any = AtomicCache.memoize
        return memoize()(function)


class Cachetools(Contender):
    """`cached` and `cachedmethod` with a `lock`."""

    name = "cachetools lock"
    distribution = module = "cachetools"
    features: ClassVar = frozenset({"ttl", "clock", "max_items", "max_bytes"})
    guards: ClassVar[dict[str, Callable[[], Any]]] = {"lock": threading.Lock}

    def make_cached(self, function: Callable[..., Any], **options: Any) -> Cached:
        f: Any = self._decorator(self._cache(**options))(function)

        def locked(operation: Callable[[], Any]) -> Any:
            with f.cache_lock:
                return operation()

        return Cached(
            f,
            lambda key: locked(lambda: f.cache.pop(f.cache_key(key), None)),
            f.cache_clear,
            lambda: locked(lambda: len(f.cache)),
            lambda: locked(lambda: f.cache.currsize),
            lambda key: locked(lambda: f.cache_key(key) in f.cache),
            lambda key, value: locked(lambda: f.cache.__setitem__(f.cache_key(key), value)),
            lambda: locked(f.cache.expire) if "ttl" in options else None,
        )

    def _decorator(self, cache: Any) -> Any:
        import cachetools

        guards: dict[str, Any] = {name: make() for name, make in self.guards.items()}
        return cachetools.cached(cache, **guards)

    def _cache(
        self, ttl: float | None = None, clock: Any = monotonic, max_items: int = MANY, max_bytes: int | None = None
    ) -> Any:
        import cachetools

        weight: Any = None if max_bytes is None else len
        most = max_items if max_bytes is None else max_bytes
        if ttl is None:
            return cachetools.LRUCache(most, weight)
        return cachetools.TTLCache(most, ttl, clock, weight)

    def decorate(self, function: Callable[..., Any]) -> Any:
        return self._decorator(self._cache())(function)

    def for_methods(self) -> tuple[Callable[[Any], Any], Callable[[Any], None]]:
        import cachetools

        def set_up(instance: Any) -> None:
            instance.cache = cachetools.LRUCache(maxsize=100)
            for name, make in self.guards.items():
                setattr(instance, name, make())

        guards: dict[str, Any] = {name: attrgetter(name) for name in self.guards}
        return cachetools.cachedmethod(lambda self: self.cache, **guards), set_up


class CachetoolsCondition(Cachetools):
    name = "cachetools condition"
    guards: ClassVar = {"condition": threading.Condition}


class TheineMemoize(Contender):
    """The decorator, which has nothing for removing a key."""

    name = "theine Memoize"
    column: ClassVar = "theine"
    distribution = module = "theine"
    features: ClassVar = frozenset({"ttl", "max_items"})
    least_ttl: ClassVar = 1.0
    clock_name: ClassVar = "monotonic_ns"

    def make_cached(self, function: Callable[..., Any], **options: Any) -> Cached:
        f: Any = self._memoize(function, **options)
        f.key(lambda key: key)
        return Cached(f, count=lambda: len(f._cache))

    def _memoize(self, function: Callable[..., Any], ttl: float | None = None, max_items: int = 10_000) -> Any:
        from theine import Memoize

        return Memoize(max_items, None if ttl is None else timedelta(seconds=ttl))(function)

    def decorate(self, function: Callable[..., Any]) -> Any:
        return self._memoize(function)


class TheineCache(Contender):
    name = "theine Cache"
    column: ClassVar = "theine"
    distribution = module = "theine"
    features: ClassVar = frozenset({"ttl", "max_items", "item_ttl"})
    fills: ClassVar = False
    least_ttl: ClassVar = 1.0
    clock_name: ClassVar = "monotonic_ns"

    def make_cached(self, function: Callable[..., Any], **options: Any) -> Cached:
        from theine import Cache

        cache: Any = Cache(options.get("max_items", 10_000))
        ttl = None if "ttl" not in options else timedelta(seconds=options["ttl"])

        def store(key: Any, value: Any, seconds: float | None = None) -> None:
            cache.set(key, value, ttl if seconds is None else timedelta(seconds=seconds))

        call = by_hand(function, cache.get, store)
        return Cached(
            call, cache.delete, cache.clear, lambda: len(cache), contains=lambda key: cache.get(key)[1], store=store
        )


class Cachebox(Contender):
    """`cached` with its default `lock=True`."""

    name = "cachebox"
    distribution = module = "cachebox"
    features: ClassVar = frozenset({"ttl", "max_items", "max_bytes"})

    def make_cached(self, function: Callable[..., Any], **options: Any) -> Cached:
        import cachebox
        from cachebox.utils import make_key

        cache: Any = self._cache(**options)
        f: Any = cachebox.cached(cache)(function)
        return Cached(
            f,
            lambda key: cache.pop(make_key(key), None),
            f.cache_clear,
            cache.__len__,
            cache.current_size,
            lambda key: make_key(key) in cache,
            lambda key, value: cache.insert(make_key(key), value),
            cache.expire if "ttl" in options else lambda: None,
        )

    def _cache(self, ttl: float | None = None, max_items: int = 0, max_bytes: int | None = None) -> Any:
        import cachebox

        if max_bytes is not None:
            return cachebox.LRUCache(max_bytes, getsizeof=lambda key, value: len(value) + len(str(key)))
        return cachebox.LRUCache(max_items) if ttl is None else cachebox.TTLCache(max_items, ttl)

    def decorate(self, function: Callable[..., Any]) -> Any:
        import cachebox

        return cachebox.cached(cachebox.LRUCache(0))(function)

    def for_methods(self) -> tuple[Callable[[Any], Any], Callable[[Any], None]]:
        import cachebox

        def set_up(instance: Any) -> None:
            instance._cache = cachebox.LRUCache(0)

        return cachebox.cached(lambda self: self._cache), set_up


class Moka(Contender):
    """`Moka.get_with`; `cached(wait_concurrent=True)` for what is asked of a decorator."""

    name = "moka-py"
    distribution = "moka-py"
    module: ClassVar = "moka_py"
    features: ClassVar = frozenset({"ttl", "max_items", "max_bytes", "item_ttl"})

    def make_cached(self, function: Callable[..., Any], **options: Any) -> Cached:
        import moka_py

        weigher = (lambda key, value: len(value) + len(str(key))) if "max_bytes" in options else None
        most = options.get("max_bytes", options.get("max_items", MANY))
        cache: Any = moka_py.Moka(most, ttl=options.get("ttl"), weigher=weigher)
        absent = object()

        def count() -> int:
            cache.run_pending_tasks()
            return int(cache.count())

        def size() -> int:
            cache.run_pending_tasks()
            return int(cache.weighted_size())

        return Cached(
            lambda key: cache.get_with(key, lambda: function(key)),
            cache.remove,
            cache.clear,
            count,
            size,
            lambda key: cache.get(key, absent) is not absent,
            lambda key, value, ttl=None: cache.set(key, value, ttl=ttl),
            cache.run_pending_tasks,
        )

    def decorate(self, function: Callable[..., Any]) -> Any:
        import moka_py

        return moka_py.cached(maxsize=MANY, wait_concurrent=True)(function)


class AtomicLru(Contender):
    name = "atomic_lru"
    distribution = "atomic-lru"
    module: ClassVar = "atomic_lru"
    features: ClassVar = frozenset({"ttl", "max_items", "max_bytes", "item_ttl"})
    fills: ClassVar = False
    clock_name: ClassVar = "perf_counter"

    def make_cached(self, function: Callable[..., Any], **options: Any) -> Cached:
        from atomic_lru import CACHE_MISS, Storage

        store: Any = Storage(
            size_limit_in_bytes=options.get("max_bytes"),
            max_items=options.get("max_items"),
            default_ttl=options.get("ttl"),
            expiration_thread_delay=0.1 if "ttl" in options else 10.0,
        )

        def look_up(key: Any) -> tuple[Any, bool]:
            value = store.get(_as_text(key))
            return value, value is not CACHE_MISS

        def put(key: Any, value: Any, *ttl: float) -> None:
            store.set(_as_text(key), value, *ttl)

        return Cached(
            by_hand(function, look_up, put),
            lambda key: store.delete(_as_text(key)),
            store.clear,
            lambda: store.number_of_items,
            lambda: store.size_in_bytes,
            lambda key: look_up(key)[1],
            put,
        )


def _as_text(key: Any) -> str:
    if not isinstance(key, str | int):
        raise NotOffered("keys other than strings")
    return str(key)
