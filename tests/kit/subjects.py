"""Everything that can be resilient, behind one face: what the contract tests of resilience are run over."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from areole import AsyncAtomicCache, AtomicCache, Cache, CacheInfo, Resilience, Storage, cached
from areole._platform.locks import run_locked
from areole._platform.worker_pool import pool
from areole.testing import ManualClock, assert_valid

from .threads import PATIENCE, wait_until_settled

__all__ = ["SUBJECTS", "Numbered", "Subject", "every_subject", "settle"]


class Numbered:
    """A fill: gives (key, number of the fill of that key), after `before(key)`, or raises `error` while it is set."""

    def __init__(self) -> None:
        self.keys: list[Any] = []
        self.error: BaseException | None = None
        self.before: Callable[[Any], Any] = lambda key: None
        self._lock = threading.Lock()

    def __call__(self, key: Any) -> Any:
        with self._lock:
            self.keys.append(key)
            number = self.keys.count(key)
        self.before(key)
        if self.error is not None:
            raise self.error
        return key, number


class Subject:
    """One cache; `look_up` is what serves stale values, all else sees live ones only."""

    fill: Numbered
    clock: ManualClock

    def __init__(self, ttl: float | None, resilience: Resilience, **options: Any) -> None:
        self.fill = Numbered()
        self.clock = ManualClock()
        self.make(ttl, resilience, clock=self.clock, **options)

    def make(self, ttl: float | None, resilience: Resilience, **options: Any) -> None:
        raise NotImplementedError

    cache: Any

    def look_up(self, key: Any) -> Any:
        return self.cache[key]

    def get(self, key: Any) -> Any:
        return self.cache.get(key, None)

    def invalidate(self, key: Any) -> Any:
        return self.cache.invalidate(key)

    def info(self) -> CacheInfo:
        info: CacheInfo = self.cache.cache_info()
        return info

    def settle(self) -> None:
        settle()
        wait_until_settled(self.cache)
        assert_valid(self.cache)


def settle() -> None:
    """Return once no background fill is queued or under way."""
    pause = threading.Event()
    for _ in range(PATIENCE * 1000):
        if not run_locked(pool.lock, pool.busy_lanes):  # between two steps of a drainer a task is in no lane
            return
        pause.wait(0.001)
    pytest.fail("a background fill did not end")


class OfAtomicCache(Subject):
    options: dict[str, Any] = {}  # noqa: RUF012
    kind: type[AtomicCache[Any, Any]] = AtomicCache

    def make(self, ttl: float | None, resilience: Resilience, **options: Any) -> None:
        self.cache = self.kind(self.fill, ttl, resilience=resilience, **self.options | options)


class OfMemoized(Subject):
    options: dict[str, Any] = {}  # noqa: RUF012

    def make(self, ttl: float | None, resilience: Resilience, **options: Any) -> None:
        self.function: Any = self.memoize(AtomicCache.memoize(ttl, resilience=resilience, **self.options | options))
        self.cache = self.function.cache

    def memoize(self, decorate: Any) -> Any:
        def function(key: Any) -> Any:
            return self.fill(key)

        return decorate(function)

    def look_up(self, key: Any) -> Any:
        return self.function(key)

    def get(self, key: Any) -> Any:
        return self.function.peek(key)

    def invalidate(self, key: Any) -> Any:
        return self.function.invalidate(key)

    def info(self) -> CacheInfo:
        info: CacheInfo = self.function.cache_info()
        return info


class OfMethod(OfMemoized):
    def memoize(self, decorate: Any) -> Any:
        fill = self.fill

        class Owner:
            @decorate
            def method(self, key: Any) -> Any:
                return fill(key)

        self.owner = Owner()
        return self.owner.method


class OfSlottedMethod(OfMemoized):
    def memoize(self, decorate: Any) -> Any:
        fill = self.fill

        class Owner:
            __slots__ = ("__weakref__",)

            @decorate
            def method(self, key: Any) -> Any:
                return fill(key)

        self.owner = Owner()
        return self.owner.method


class OfClassMethod(OfMemoized):
    def memoize(self, decorate: Any) -> Any:
        fill = self.fill

        class Owner:
            @decorate
            @classmethod
            def method(cls, key: Any) -> Any:
                return fill(key)

        return Owner.method


class OfStaticMethod(OfMemoized):
    def memoize(self, decorate: Any) -> Any:
        fill = self.fill

        class Owner:
            @decorate
            @staticmethod
            def method(key: Any) -> Any:
                return fill(key)

        return Owner.method


class OfCached(OfMemoized):
    """A function in a cache that is there already, by whose Resilience it is called."""

    kind: type[Any] = AtomicCache

    def make(self, ttl: float | None, resilience: Resilience, **options: Any) -> None:
        self.cache = self.kind(_own_fill, ttl, resilience=resilience, **self.options | options)
        self.function = self.memoize(cached(self.cache))


class OfCachedMethod(OfCached):
    def memoize(self, decorate: Any) -> Any:
        fill = self.fill

        class Owner:
            @decorate
            def method(self, key: Any) -> Any:
                return fill(key)

        self.owner = Owner()
        return self.owner.method


def _own_fill(key: Any) -> Any:
    raise AssertionError("the cache's own fill has no part in this")


class OfStorage(Subject):
    kind: type[Any] = Storage
    options: dict[str, Any] = {}  # noqa: RUF012

    def make(self, ttl: float | None, resilience: Resilience, **options: Any) -> None:
        self.cache = self.kind(default_ttl=ttl, **self.options | options)
        self.resilience = resilience

    def look_up(self, key: Any) -> Any:
        return self.cache.get_or_fill(key, self.fill, resilience=self.resilience)


class _Own(AtomicCache[Any, Any]):
    """A user's subclass: it keeps the lookups of AtomicCache itself."""


def _with(subject: type[Subject], **attributes: Any) -> type[Subject]:
    return type(subject.__name__, (subject,), attributes)


SUBJECTS: dict[str, type[Subject]] = {
    "cache": OfAtomicCache,
    "cache-counting": _with(OfAtomicCache, options={"stats": True}),
    "cache-of-a-subclass": _with(OfAtomicCache, kind=_Own),
    "cache-lru": _with(OfAtomicCache, options={"max_items": 100, "policy": "lru"}),
    "cache-s3fifo": _with(OfAtomicCache, options={"max_items": 100}),
    "function": OfMemoized,
    "function-typed": _with(OfMemoized, options={"typed": True, "stats": True}),
    "function-bounded": _with(OfMemoized, options={"max_items": 100}),
    "method": OfMethod,
    "method-bounded": _with(OfMethod, options={"max_items": 100}),
    "method-of-slots": OfSlottedMethod,
    "classmethod": OfClassMethod,
    "staticmethod": OfStaticMethod,
    "cached": OfCached,
    "cached-counting": _with(OfCached, options={"stats": True}),
    "cached-bounded": _with(OfCached, options={"max_items": 100}),
    "cached-method": OfCachedMethod,
    "cached-in-an-asynchronous": _with(OfCached, kind=AsyncAtomicCache),
    "get_or_fill": OfStorage,
    "get_or_fill-bounded": _with(OfStorage, options={"max_items": 100, "policy": "s3fifo"}),
    "get_or_fill-serialised": _with(OfStorage, kind=Cache, options={"max_items": 100}),
}

every_subject = pytest.mark.parametrize("kind", SUBJECTS.values(), ids=SUBJECTS.keys())
