"""A ttl callable that gives 0 or less: its value has expired at once, so its callers get it and it is not stored."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from areole import AsyncAtomicCache, AtomicCache, Cache, RemovalCause, Resilience, Storage, cached

from ..kit import Gate, ManualClock, assert_valid, start_threads, wait_until_waiting


class Subject:
    """One key of one kind of cache, filled by `fill`, which counts up, with the ttl that `ttl` says."""

    def __init__(self, kind: str) -> None:
        self.clock = ManualClock()
        self.ttl: Any = 10
        self.fills = 0
        self.weighed: list[Any] = []
        self.told: list[Any] = []
        self.gate: Gate | None = None
        self.get, self.refresh, self.cache = KINDS[kind](self)

    @property
    def options(self) -> dict[str, Any]:
        return {"clock": self.clock, "on_removal": lambda key, value, cause: self.told.append((value, cause))}

    def ttl_of(self, key: Any, value: Any) -> Any:
        return self.ttl

    def weigh(self, key: Any, value: Any) -> int:
        self.weighed.append(value)
        return 1

    def fill(self, key: Any) -> Any:
        self.fills += 1
        if self.gate is not None:
            self.gate.enter()
        return self.fills

    async def awaited(self, key: Any) -> Any:
        return self.fill(key)

    def mapping(self, **options: Any) -> Any:
        cache = AtomicCache(self.fill, self.ttl_of, **self.options, **options)
        return lambda: cache["key"], lambda: cache.refresh("key"), cache

    def tasks(self, **options: Any) -> Any:
        cache = AsyncAtomicCache(self.awaited, self.ttl_of, **self.options, **options)
        return lambda: asyncio.run(cache.fetch("key")), lambda: asyncio.run(cache.refresh("key")), cache

    def memoized(self) -> Any:
        call = AtomicCache.memoize(lambda key: self.fill(key), self.ttl_of, **self.options)
        return lambda: call("key"), lambda: call.refresh("key"), call.cache

    def method(self) -> Any:
        outer = self

        class Owner:
            @AtomicCache.memoize(ttl=self.ttl_of, **self.options)
            def call(self, key: Any) -> Any:
                return outer.fill(key)

        owner = Owner()
        return lambda: owner.call("key"), lambda: owner.call.refresh("key"), owner.call.cache

    def in_cache(self, cache: Any) -> Any:
        call = cached(cache, ttl=self.ttl_of)(lambda key: self.fill(key))
        return lambda: call("key"), lambda: call.refresh("key"), cache

    def awaited_in_cache(self, cache: Any) -> Any:
        call = cached(cache, ttl=self.ttl_of)(self.awaited)
        return lambda: asyncio.run(call("key")), lambda: asyncio.run(call.refresh("key")), cache


KINDS: dict[str, Callable[[Subject], Any]] = {
    "AtomicCache": lambda of: of.mapping(),
    "with limits": lambda of: of.mapping(max_items=5),
    "with a weigher": lambda of: of.mapping(max_bytes=5000, weigher=of.weigh),
    "with a Resilience": lambda of: of.mapping(resilience=Resilience(stale_ttl=5)),
    "with limits and a Resilience": lambda of: of.mapping(max_items=5, resilience=Resilience(stale_ttl=5)),
    "AsyncAtomicCache": lambda of: of.tasks(),
    "AsyncAtomicCache, limits": lambda of: of.tasks(max_items=5),
    "memoize": lambda of: of.memoized(),
    "memoized method": lambda of: of.method(),
    "cached in Storage": lambda of: of.in_cache(Storage(**of.options)),
    "cached in Cache": lambda of: of.in_cache(Cache(clock=of.clock)),
    "cached in AtomicCache": lambda of: of.in_cache(AtomicCache(str, **of.options)),
    "cached in one with limits": lambda of: of.in_cache(AtomicCache(str, max_items=5, **of.options)),
    "cached in a resilient one": lambda of: of.in_cache(
        AtomicCache(str, 10, resilience=Resilience(stale_ttl=5), **of.options)
    ),
    "async def in Storage": lambda of: of.awaited_in_cache(Storage(**of.options)),
    "async def in AtomicCache": lambda of: of.awaited_in_cache(AtomicCache(str, **of.options)),
}
every_kind = pytest.mark.parametrize("kind", KINDS)


@every_kind
@pytest.mark.parametrize("ttl", [0, -0.2, timedelta(0), timedelta(days=-1), -(10**400)], ids=lambda ttl: repr(ttl)[:9])
def test_the_value_goes_to_its_caller_and_is_not_stored(kind: str, ttl: Any) -> None:
    subject = Subject(kind)
    subject.ttl = ttl
    assert [subject.get(), subject.get(), subject.refresh()] == [1, 2, 3]
    assert len(subject.cache) == 0 and subject.cache._state.index.snapshot() == []
    assert (subject.told, subject.weighed) == ([], []), "it never was in the cache"
    assert_valid(subject.cache)


@every_kind
def test_a_refresh_replaces_the_old_value_by_nothing(kind: str) -> None:
    subject = Subject(kind)
    assert subject.get() == 1
    subject.ttl = 0
    assert subject.refresh() == 2
    assert len(subject.cache) == 0 and subject.cache._state.index.snapshot() == []
    assert subject.told in ([(1, RemovalCause.REPLACED)], [])
    assert bool(subject.told) is not (kind == "cached in Cache")
    subject.ttl = 10
    assert [subject.get(), subject.get()] == [3, 3]
    assert_valid(subject.cache)


@every_kind
@pytest.mark.parametrize("ttl", [float("nan"), float("inf"), 10**400, "1", True], ids=lambda ttl: repr(ttl)[:9])
def test_what_is_no_ttl_is_still_an_error_that_leaves_the_old_value(kind: str, ttl: Any) -> None:
    subject = Subject(kind)
    subject.get()
    subject.ttl = ttl
    error = TypeError if isinstance(ttl, str | bool) else ValueError
    with pytest.raises(error, match="what the ttl callable returned must be"):
        subject.refresh()
    assert subject.get() == 1
    assert_valid(subject.cache)


@pytest.mark.parametrize("kind", ["AtomicCache", "with limits", "memoize", "cached in Storage", "with a Resilience"])
def test_whoever_waits_gets_the_value_too(kind: str) -> None:
    subject = Subject(kind)
    subject.ttl, subject.gate = 0, Gate()
    join = start_threads(subject.get, subject.get, subject.get)
    subject.gate.wait_until_entered()
    wait_until_waiting(subject.cache, 2)
    subject.gate.open()
    # A thread that had counted its wait and not begun it may find the key free, and fill for itself.
    assert set(join()) <= {1, 2, 3} and subject.fills <= 3
    assert len(subject.cache) == 0
    assert_valid(subject.cache)


def test_an_exception_for_which_the_ttl_is_0_is_not_stored() -> None:
    calls = []

    def fail(key: str) -> None:
        calls.append(key)
        raise LookupError(key)

    for options in ({}, {"max_items": 5}):
        cache: Any = AtomicCache(fail, lambda key, error: 0, cache_exceptions=True, **options)
        for _ in range(2):
            with pytest.raises(LookupError):
                cache["a"]
        assert cache._state.index.snapshot() == []
        assert_valid(cache)
    assert calls == ["a"] * 4


def test_get_or_fill_with_0_stores_nothing() -> None:
    store = Storage[int](max_items=1)
    store.set("live", 1)
    for resilience in (None, Resilience(hard_timeout=60)):
        assert store.get_or_fill("a", lambda key: 5, ttl=0, resilience=resilience) == 5
        assert list(store) == ["live"] and store.number_of_items == 1, "what has expired at once evicts nothing"
    assert_valid(store)


@pytest.mark.parametrize("ttl", [0, -1, timedelta(0)])
def test_as_the_one_ttl_of_all_values_it_is_refused(ttl: Any) -> None:
    for make in (
        lambda: AtomicCache(str, ttl),
        lambda: AsyncAtomicCache(str, ttl),
        lambda: AtomicCache.memoize(ttl=ttl)(str.lower),
        lambda: cached(Storage(), ttl=ttl),
        lambda: cached(AtomicCache(str), ttl=ttl),
    ):
        with pytest.raises(ValueError, match="ttl must be positive and finite"):
            make()
