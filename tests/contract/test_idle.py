"""`idle=`: a value that nobody has read for that many seconds expires; the same in every cache that takes it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest

from areole import AsyncAtomicCache, AtomicCache, Cache, Filled, RemovalCause, Resilience, SharedCache, Storage, cached
from areole.testing import ManualClock, assert_valid

from ..kit import run_threads


class Subject(NamedTuple):
    """`ask` reads, and fills what is not there; `own` is the cache; its key is `key`."""

    ask: Callable[[], Any]
    own: Any
    key: Any = "k"


def fill(key: str) -> list[str]:
    return [key]


def atomic(**options: Any) -> Subject:
    cache = AtomicCache(fill, **options)
    return Subject(lambda: cache["k"], cache)


def atomic_by_get(**options: Any) -> Subject:
    cache = AtomicCache(fill, **options)
    return Subject(lambda: cache.get("k") or cache["k"], cache)


def atomic_for_tasks(**options: Any) -> Subject:
    cache: Any = AsyncAtomicCache(fill, inline=True, **options)
    return Subject(lambda: asyncio.run(cache.fetch("k")), cache)


def lru(**options: Any) -> Subject:
    return atomic(max_items=10, policy="lru", **options)


def memoized(**options: Any) -> Subject:
    function = AtomicCache.memoize(fill, **options)
    return Subject(lambda: function("k"), function.cache)


def memoized_s3fifo(**options: Any) -> Subject:
    return memoized(max_items=10, policy="s3fifo", **options)


def memoized_method(**options: Any) -> Subject:
    class Owner:
        @AtomicCache.memoize(max_items=10, **options)
        def method(self, key: str) -> Any:
            return fill(key)

    owner = Owner()
    return Subject(lambda: owner.method("k"), owner.method.cache)


def memoized_async(**options: Any) -> Subject:
    @AtomicCache.memoize(**options)
    async def later(key: str) -> Any:
        return fill(key)

    return Subject(lambda: asyncio.run(later("k")), later.cache)


def cached_in(cache: Any) -> Subject:
    function = cached(cache)(fill)
    return Subject(lambda: function("k"), cache, function.cache_key("k"))


def cached_in_storage(**options: Any) -> Subject:
    return cached_in(Storage[Any](**options))


def cached_in_atomic(**options: Any) -> Subject:
    return cached_in(AtomicCache(fill, **options))


def storage(policy: Any = "lru", kind: Any = Storage, **options: Any) -> Subject:
    store = kind(policy=policy, **options)

    def ask() -> Any:
        value = store.get("k", None)
        if value is None:
            store.set("k", value := ["k"])
        return value

    return Subject(ask, store)


def storage_s3fifo(**options: Any) -> Subject:
    return storage("s3fifo", **options)


def storage_counting(**options: Any) -> Subject:
    return storage("s3fifo", stats=True, **options)


def storage_filled(**options: Any) -> Subject:
    store: Storage[Any] = Storage(**options)
    return Subject(lambda: store.get_or_fill("k", fill), store)


def cache_of_bytes(**options: Any) -> Subject:
    return storage(kind=Cache, **options)


KINDS = [
    atomic,
    atomic_by_get,
    atomic_for_tasks,
    lru,
    memoized,
    memoized_s3fifo,
    memoized_method,
    memoized_async,
    cached_in_storage,
    cached_in_atomic,
    storage,
    storage_s3fifo,
    storage_counting,
    storage_filled,
    cache_of_bytes,
]


@pytest.mark.parametrize("make", KINDS)
def test_a_value_lives_for_as_long_as_it_is_read_and_no_longer(make: Any) -> None:
    clock, removed = ManualClock(), list[Any]()
    ask, cache, key = make(idle=10, clock=clock, on_removal=lambda *removal: removed.append(removal))
    ask()
    for _ in range(7):
        clock.advance(6)
        ask()
        assert key in cache
        assert not removed
    clock.advance(9.5)
    assert cache.peek(key) is not None
    assert len(cache) == cache.cache_info().currsize == 1
    assert list(cache) == [key]
    assert cache.sweep() == 0
    clock.advance(0.5)  # it was looked at by what is no use
    assert key not in cache
    assert len(cache) == 0
    ask()
    assert [cause for _, _, cause in removed] == [RemovalCause.EXPIRED]
    assert_valid(cache)
    clock.advance(10)
    assert cache.sweep() == 1
    assert_valid(cache)


@pytest.mark.parametrize("make", [each for each in KINDS if "storage" not in each.__name__ and each != cache_of_bytes])
def test_the_ttl_holds_beside_it(make: Any) -> None:
    clock = ManualClock()
    ask, cache, key = make(ttl=15, idle=10, clock=clock)
    first = ask()
    clock.advance(9)
    assert ask() is first
    clock.advance(5.9)
    assert ask() is first
    clock.advance(0.1)
    assert key not in cache
    assert ask() is not first


def test_in_a_store_it_is_seen_by_ttl_of_and_expire_in_leaves_it() -> None:
    clock = ManualClock()
    store: Storage[int] = Storage(default_ttl=100, idle=10, clock=clock)
    store["k"] = 1
    clock.advance(4)
    assert store.ttl_of("k") == 6
    assert store.get("k") == 1
    assert store.ttl_of("k") == 10
    store.set("short", 1, ttl=3)
    assert store.ttl_of("short") == 3
    assert store.expire_in("k", None)
    assert store.ttl_of("k") == 10
    assert store.expire_in("k", 2)
    assert store.get("k") == 1
    assert store.ttl_of("k") == 2
    assert (store.idle, Storage[int]().idle) == (10, None)
    assert "idle=10" in repr(store)
    endless: Storage[int] = Storage(idle=10, clock=clock, expiration_disabled=True)
    endless["k"] = 1
    clock.advance(1000)
    assert "k" in endless
    assert_valid(store)


def test_expired_values_leave_before_those_that_are_read() -> None:
    clock = ManualClock()
    store: Storage[int] = Storage(max_items=50, idle=10, clock=clock)
    for key in range(50):
        store[key] = key
    clock.advance(9)
    for key in range(0, 50, 2):
        store.get(key)
    clock.advance(2)
    for key in range(50, 75):
        store[key] = key
    assert sorted(store) == [*range(0, 50, 2), *range(50, 75)]
    assert store.cache_info().evictions == 0
    assert_valid(store)


def test_without_limits_unread_values_leave_as_others_are_filled() -> None:
    clock, removed = ManualClock(), list[Any]()
    cache = AtomicCache(fill, idle=10, clock=clock, on_removal=lambda key, *_: removed.append(key))
    assert cache["unread"] == ["unread"]
    assert cache["read"] == ["read"]
    clock.advance(9)
    assert cache["read"] == ["read"]
    clock.advance(5)
    for key in range(200):
        cache[str(key)]
    assert removed == ["unread"]
    assert_valid(cache)


def test_a_refresh_and_a_ttl_that_the_fill_gives_count_too() -> None:
    clock = ManualClock()
    cache: AtomicCache[str, Any] = AtomicCache(lambda key: Filled(key, ttl=12), idle=10, clock=clock)
    assert cache["k"] == "k"
    clock.advance(9)
    assert cache.refresh("k") == "k"
    clock.advance(9)
    assert "k" in cache
    assert cache["k"] == "k"
    clock.advance(3)
    assert "k" not in cache
    assert_valid(cache)


def test_a_value_that_was_invalidated_does_not_come_back_by_a_late_hit() -> None:
    """A hit that read its entry before: what it notes, and where it looks again later, is of no use to anybody."""
    clock = ManualClock()
    cache = AtomicCache(fill, idle=10, clock=clock)
    for index_of in (cache, AtomicCache(fill, idle=10, clock=clock, max_items=1)):
        assert index_of["k"] == ["k"]
        entry: Any = index_of._state.find("k")
        entry.expire_at(float("-inf"))  # as one that is evicted during its refresh
        clock.advance(20)
        index_of._state.on_hit(entry)  # type: ignore[misc]
        assert not entry.is_published
        assert not entry.is_live(clock())


def test_threads_that_read_keep_a_value_alive() -> None:
    clock = ManualClock()
    function = AtomicCache.memoize(fill, idle=10, clock=clock)
    first, barrier = function("k"), threading.Barrier(4)

    def read() -> bool:
        same = True
        for _ in range(200):
            if barrier.wait(60) == 0:
                clock.advance(6)
            barrier.wait(60)
            same &= function("k") is first
            barrier.wait(60)
        return same

    assert run_threads(read, read, read, read) == [True] * 4


def test_with_a_shared_cache_it_is_of_the_copies_here_alone() -> None:
    clock = ManualClock()
    with SharedCache[Any]("memory://", namespace="idle") as shop:
        cache = AtomicCache(fill, shared=shop, idle=10, clock=clock)
        assert cache["k"] == ["k"]
        clock.advance(10)
        assert "k" not in cache
        assert shop["k"] == ["k"]
        assert cache["k"] == ["k"]
        assert cache.cache_info().fills == 1


def test_what_it_does_not_go_with_is_refused() -> None:
    with pytest.raises(ValueError, match="idle must be positive"):
        AtomicCache(fill, idle=0)
    with pytest.raises(TypeError, match="idle must be seconds"):
        Storage[Any](idle="5")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="idle= is for a cache without a Resilience"):
        AtomicCache(fill, 5, idle=5, resilience=Resilience(stale_ttl=5))
    with pytest.raises(ValueError, match="for a store without idle="):
        Storage[Any](idle=5).get_or_fill("k", fill, 5, Resilience(stale_ttl=5))
    with pytest.raises(ValueError, match='index="atomic"'):
        AtomicCache(fill, idle=5, index="atomic")
