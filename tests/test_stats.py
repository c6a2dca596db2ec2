"""cache_info: what is counted, and that the numbers add up."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from areole import AtomicCache, CacheInfo

from .fills import Fill, unhashable_list
from .support import ManualClock, assert_valid, every_index, run_threads


@every_index
def test_nothing_has_happened_in_a_new_cache(index: str) -> None:
    cache = AtomicCache(Fill(), index=index, stats=True)
    assert cache.cache_info() == CacheInfo(0, 0, None, 0, 0, 0, 0, 0, 0)
    assert_valid(cache)


def test_cache_info_has_its_fields_in_order_and_cannot_be_changed() -> None:
    info = AtomicCache(Fill()).cache_info()
    names = [field.name for field in dataclasses.fields(info)]
    assert names[:5] == ["hits", "misses", "maxsize", "currsize", "fills"]
    assert names[5:] == ["failures", "evictions", "expirations", "waits", "stale_hits", "background_fills"]
    with pytest.raises(dataclasses.FrozenInstanceError):
        info.misses = 1  # type: ignore[misc]


@every_index
def test_hits_are_none_unless_asked_for_and_the_rest_is_counted_always(index: str) -> None:
    cache = AtomicCache(Fill(), index=index)
    cache["a"], cache["a"]
    info = cache.cache_info()
    assert info.hits is None
    assert (info.misses, info.fills, info.currsize) == (1, 1, 1)
    assert_valid(cache)


@every_index
def test_hits_and_misses_add_up_to_lookups(index: str) -> None:
    cache = AtomicCache(Fill(), index=index, stats=True)
    lookups = 0
    for key in "abcabcaab":
        cache[key]
        cache.get(key)
        cache.get(key + "?")
        lookups += 3
    cache.get_many("abcx")
    cache.fetch_many("abcz")
    lookups += 8
    info = cache.cache_info()
    assert info.hits + info.misses == lookups  # type: ignore[operator]
    assert info.misses == 3 + 9 + 1 + 1
    assert (info.fills, info.currsize) == (4, 4)
    assert_valid(cache)


@every_index
def test_peek_in_len_iteration_refresh_and_invalidate_are_no_lookups(index: str) -> None:
    cache = AtomicCache(Fill(), index=index, stats=True)
    cache["a"]
    before = cache.cache_info()
    cache.peek("a"), cache.peek("b"), "a" in cache, "b" in cache, len(cache), list(cache), repr(cache)
    cache.invalidate("b")
    assert cache.cache_info() == before
    cache.refresh("a")
    assert cache.cache_info() == dataclasses.replace(before, fills=2)
    assert_valid(cache)


@every_index
def test_failures_are_fills_that_raised(index: str) -> None:
    fill = Fill()
    cache = AtomicCache(fill, index=index, stats=True)
    fill.error = ValueError()
    for use in (cache.fetch, cache.refresh):
        with pytest.raises(ValueError):
            use("a")
    fill.error = None
    cache["a"]
    info = cache.cache_info()
    assert (info.fills, info.failures, info.misses, info.hits, info.currsize) == (3, 2, 2, 0, 1)
    assert_valid(cache)


@every_index
def test_a_stored_exception_is_one_fill_one_failure_and_no_value(index: str) -> None:
    fill = Fill()
    fill.error = ValueError()
    cache = AtomicCache(fill, index=index, stats=True, cache_exceptions=True)
    for _ in range(5):
        with pytest.raises(ValueError):
            cache["a"]
    info = cache.cache_info()
    assert (info.fills, info.failures, info.currsize, info.waits) == (1, 1, 0, 0)
    assert info.hits + info.misses == 5  # type: ignore[operator]
    assert_valid(cache)


@every_index
def test_an_unhashable_key_is_neither_a_fill_nor_a_failure(index: str) -> None:
    cache = AtomicCache[Any, Any](Fill(), index=index, stats=True)
    for use in (cache.fetch, cache.get, cache.refresh):
        with pytest.raises(TypeError):
            use(unhashable_list())
    info = cache.cache_info()
    assert (info.hits, info.fills, info.failures, info.currsize) == (0, 0, 0, 0)
    assert_valid(cache)


def test_each_expired_value_is_counted_once_by_whoever_comes_upon_it() -> None:
    clock = ManualClock()
    cache = AtomicCache(Fill(), 10, clock=clock, stats=True)
    cache.fetch_many("abcd")
    clock.advance(10)
    assert cache.cache_info().expirations == 0 and cache.cache_info().currsize == 0
    cache.get("a"), cache.get("a"), "b" in cache, cache.invalidate("c"), cache["d"]
    info = cache.cache_info()
    assert (info.expirations, info.currsize, info.fills) == (4, 1, 5)
    assert info.hits + info.misses == 4 + 3  # type: ignore[operator]
    assert_valid(cache)


def test_what_is_invalidated_in_time_did_not_expire() -> None:
    cache = AtomicCache(Fill(), 10, clock=ManualClock())
    cache["a"]
    cache.invalidate("a")
    cache["a"]
    cache.clear()
    cache["a"]
    cache.refresh("a")
    assert cache.cache_info().expirations == 0
    assert_valid(cache)


def test_what_expires_is_no_hit() -> None:
    clock = ManualClock()
    cache = AtomicCache(Fill(), 10, clock=clock, stats=True)
    for _ in range(3):
        cache["a"]
        clock.advance(10)
    assert (cache.cache_info().hits, cache.cache_info().misses) == (0, 3)
    assert_valid(cache)


@every_index
def test_clear_keeps_the_counters(index: str) -> None:
    cache = AtomicCache(Fill(), index=index, stats=True)
    cache["a"], cache["a"]
    before = cache.cache_info()
    cache.clear()
    assert cache.cache_info() == dataclasses.replace(before, currsize=0)
    assert_valid(cache)


@every_index
def test_hits_of_threads_that_ended_still_count(index: str) -> None:
    cache = AtomicCache(Fill(), index=index, stats=True)
    cache["a"]
    run_threads(*[lambda: [cache["a"] for _ in range(10)]] * 4)
    cache["a"]
    assert cache.cache_info().hits == 41
    assert_valid(cache)


@every_index
@pytest.mark.parametrize("ttl", [None, 10])
def test_a_memoized_function_counts_alike(index: str, ttl: float | None) -> None:
    @AtomicCache.memoize(ttl, stats=True, index=index if ttl is None else "dict")
    def double(n: int) -> int:
        return 2 * n

    for n in (1, 2, 1, 1):
        double(n)
    info = double.cache_info()
    assert (info.hits, info.misses, info.fills, info.currsize) == (2, 2, 2, 2)
    double.cache_clear()
    assert (double.cache_info().hits, double.cache_info().currsize) == (2, 0)
    assert_valid(double.cache)


def test_a_memoized_function_that_raises_counts_its_failure() -> None:
    @AtomicCache.memoize
    def fail(n: int) -> int:
        raise ValueError

    with pytest.raises(ValueError):
        fail(1)
    info = fail.cache_info()
    assert (info.misses, info.fills, info.failures, info.currsize) == (1, 1, 1, 0)
    assert_valid(fail.cache)
