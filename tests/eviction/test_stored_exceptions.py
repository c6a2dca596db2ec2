"""Stored exceptions in a cache with limits: they are items like values, are evicted, and expire."""

from __future__ import annotations

from typing import Any

import pytest

from areole import AtomicCache
from areole.testing import ManualClock

from ..kit import Told, check_books, every_policy, make_weighed


def fail(key: Any) -> Any:
    if isinstance(key, int):
        raise LookupError(key)
    return key


@every_policy
def test_a_stored_exception_counts_as_an_item_and_is_put_out_like_a_value(policy: str) -> None:
    told = Told()
    cache = AtomicCache(fail, cache_exceptions=True, max_items=3, policy=policy, on_removal=told)
    for key in range(10):
        with pytest.raises(LookupError):
            cache[key]
        assert cache._state.index.count()[0] == len(cache._state.index.snapshot()) == min(key + 1, 3)
        check_books(cache)
    kept = [entry.key for entry in cache._state.index.snapshot()]
    fills = cache.cache_info().fills
    for key in kept:
        with pytest.raises(LookupError):
            cache[key]
    assert cache.cache_info().fills == fills == 10
    for key in "abcdef":
        assert cache[key] == key
    assert cache._state.index.count()[0] == 3 and {cause for _, _, cause in told.all} <= {_cause("EVICTED")}
    assert all(isinstance(value, str) for _, value, _ in told.all), "an exception was told as a value"
    check_books(cache)


def _cause(name: str) -> Any:
    from areole import RemovalCause

    return RemovalCause[name]


@every_policy
def test_a_stored_exception_weighs_its_key_and_expires_and_leaves_the_books(policy: str) -> None:
    clock = ManualClock()
    cache = make_weighed(policy, fail, 5, cache_exceptions=LookupError, ttl=10, clock=clock)
    for key in range(3):
        with pytest.raises(LookupError):
            cache[key]
    items, weight = cache._state.index.count()
    assert items == 3 and 0 < weight < 5000
    assert cache.invalidate(0) is True and cache._state.index.count()[0] == 2
    check_books(cache)
    clock.advance(10)
    with pytest.raises(LookupError):
        cache[1]
    assert cache._state.index.count()[0] == 1 and cache.cache_info().fills == 4, "the other had expired, and went"
    check_books(cache)


def test_a_stored_exception_that_is_used_is_kept_by_lru() -> None:
    cache = AtomicCache(fail, cache_exceptions=True, max_items=3, policy="lru")
    for key in (1, "a", "b", 1, "c", 1, "d", 1):
        if isinstance(key, int):
            with pytest.raises(LookupError):
                cache[key]
        else:
            cache[key]
    assert cache.cache_info().failures == 1
    check_books(cache)
