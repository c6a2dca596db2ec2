"""`len`, `cache_info().currsize`: how many values there are, a number that is kept, or found by a walk."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from areole import AtomicCache, Resilience, Storage, cached
from areole._state.cache_state import CacheState

from ..kit import ManualClock, assert_valid, every_index


@pytest.fixture
def walks(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Count how often all entries are walked through, and asked whether they are live."""
    walks: list[int] = []
    walk = CacheState.live_entries

    def counting(self: Any) -> Any:
        walks.append(1)
        return walk(self)

    monkeypatch.setattr(CacheState, "live_entries", counting)
    return walks


@pytest.mark.parametrize("policy", ["lru", "s3fifo"])
def test_a_store_keeps_count_while_nothing_has_expired(policy: str, walks: list[int]) -> None:
    clock = ManualClock()
    store = Storage[int](max_items=100, policy=policy, clock=clock)
    store.set_many((n, n) for n in range(150))
    store.set("short", 1, ttl=10)
    one, other = [key for key in store if key != "short"][:2]
    walks.clear()  # of that iteration
    store.delete(one)
    store.expire_in(other, 20)
    assert (len(store), store.cache_info().currsize, "99 values" in repr(store), walks) == (99, 99, True, [])
    clock.advance(10)
    assert (len(store), len(walks)) == (98, 1), "one has expired, and nobody has noticed"
    store.sweep()
    assert (len(store), len(walks)) == (98, 1)
    clock.advance(10)
    assert (len(store), len(walks)) == (97, 2)
    store.clear()
    assert len(store) == 0
    assert_valid(store)


def test_values_that_may_be_served_stale_are_not_counted() -> None:
    clock = ManualClock()
    resilience = Resilience(stale_ttl=100)
    store = Storage[int](clock=clock)
    cache = AtomicCache(str, 10, resilience=resilience, max_items=5, clock=clock)
    plain = AtomicCache(str, 10, resilience=resilience, clock=clock)
    store.get_or_fill("a", lambda key: 1, 10, resilience)
    store.set("b", 1)
    for each in (cache, plain):
        each["a"]
    assert [len(store), len(cache), len(plain)] == [2, 1, 1]
    clock.advance(10)
    assert [len(store), len(cache), len(plain)] == [1, 0, 0]
    for subject in (store, cache, plain):
        assert_valid(subject)


def test_stored_exceptions_are_not_counted() -> None:
    def fill(key: Any) -> Any:
        if key == "bad":
            raise LookupError(key)
        return key

    for options in ({}, {"max_items": 5}, {"ttl": 10}):
        cache: Any = AtomicCache(fill, cache_exceptions=True, **options)
        cache["good"]
        with pytest.raises(LookupError):
            cache["bad"]
        assert len(cache) == cache.cache_info().currsize == 1
        assert_valid(cache)


MAKERS: dict[str, Callable[..., Any]] = {
    "no limit": lambda clock: AtomicCache(lambda key: key, clock=clock),
    "ttl": lambda clock: AtomicCache(lambda key: key, 10, clock=clock),
    "limit": lambda clock: AtomicCache(lambda key: key, max_items=100, clock=clock),
    "limit and ttl": lambda clock: AtomicCache(lambda key: key, 10, max_items=100, clock=clock),
}


@pytest.mark.parametrize("maker", MAKERS)
def test_a_running_fill_is_not_counted_and_a_refresh_is(maker: str) -> None:
    clock = ManualClock()
    seen: list[int] = []
    cache = MAKERS[maker](clock)
    fill = cache._fill

    def counting(key: Any) -> Any:
        seen.append(len(cache))
        return fill(key)

    cache._fill = counting
    cache["a"]
    cache.refresh("a")
    cache["b"]
    assert seen == [0, 1, 1] and len(cache) == 2
    clock.advance(10)
    assert len(cache) == (0 if "ttl" in maker else 2)
    assert_valid(cache)


@every_index
def test_values_with_a_ttl_of_their_own_expire_in_a_cache_without_one(index: str) -> None:
    clock = ManualClock()
    cache: Any = AtomicCache(str, clock=clock, index=index)
    short = cached(cache, ttl=10)(lambda n: n)
    long = cached(cache, ttl=None)(lambda n: n)
    for n in range(3):
        short(n), long(n), cache[n]
    cache.invalidate(1)
    assert len(cache) == 8
    clock.advance(10)
    assert len(cache) == 5
    assert_valid(cache)
