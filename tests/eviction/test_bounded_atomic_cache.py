"""AtomicCache with limits: filled as ever, and never more than there may be."""

from __future__ import annotations

import random
from typing import Any

import pytest

from areole import AtomicCache
from areole.testing import ManualClock

from ..kit import (
    Fill,
    Gate,
    Told,
    check_books,
    every_policy,
    make_weighed,
    start_threads,
    wait_until_waiting,
    weight_of,
)

# ---- arguments

REFUSED = [
    *[({"max_items": value}, "max_items must be an int of at least 1") for value in (0, -1, 1.5, "1", True)],
    *[({"max_bytes": value, "weigher": max}, "max_bytes must be an int of at least 1") for value in (0, -1, 2.0, True)],
    ({"weigher": max}, "weigher needs max_bytes"),
    ({"weigher": max, "max_items": 5}, "a weigher needs max_bytes"),
    ({"max_bytes": 4096}, "max_bytes needs a weigher"),
    ({"max_bytes": 4096, "max_items": 5}, "max_bytes needs a weigher"),
    ({"max_items": 5, "policy": "LRU"}, "policy must be one of 'lru', 's3fifo', not 'LRU'"),
    ({"max_items": 5, "policy": None}, "policy must be one of"),
    ({"max_items": 5, "index": "atomic"}, 'index="atomic" keeps the keys that are removed, so it cannot have a limit'),
    ({"max_bytes": 5000, "weigher": max, "index": "atomic"}, 'index="atomic" keeps the keys that are removed'),
]
NOT_REFUSED_YET: list[dict[str, Any]] = [
    {"policy": "nope"},
    {"index": "nope", "max_items": 2},
    {"index": None, "max_items": 2},
    {"max_bytes": 5000, "weigher": 5},
]


@pytest.mark.parametrize(("options", "message"), REFUSED)
def test_arguments_that_do_not_fit_are_refused_by_name(options: Any, message: str) -> None:
    with pytest.raises(ValueError) as caught:
        AtomicCache(str, **options)
    assert message in str(caught.value)
    with pytest.raises(ValueError) as caught:
        AtomicCache.memoize(**options)(lambda x: x)
    assert message in str(caught.value)


@pytest.mark.parametrize("options", NOT_REFUSED_YET)
def test_these_are_refused_too(options: Any) -> None:
    with pytest.raises((ValueError, TypeError)):
        AtomicCache(str, **options)


@pytest.mark.parametrize("index", ["auto", "dict"])
def test_the_other_indexes_take_a_limit(index: str) -> None:
    cache = AtomicCache(str, max_items=2, index=index)
    cache.fetch_many(range(5))
    assert len(cache) == 2 and cache.cache_info().maxsize == 2
    check_books(cache)


# ---- limits


@every_policy
def test_a_cache_of_so_many_items_holds_no_more_and_gives_the_right_values(policy: str) -> None:
    fill, rng = Fill(), random.Random(1)
    cache = AtomicCache(lambda key: fill(key)[0] * 2, max_items=10, policy=policy)
    for _ in range(500):
        key = rng.randrange(30)
        assert cache[key] == key * 2
        assert len(cache) <= 10
        check_books(cache)
    info = cache.cache_info()
    assert (info.maxsize, info.currsize, info.fills, info.failures) == (10, 10, len(fill.keys), 0)
    assert info.evictions == info.fills - 10 > 50


@every_policy
def test_what_stays_in_is_not_filled_again(policy: str) -> None:
    fill = Fill()
    cache = AtomicCache(fill, max_items=5, policy=policy)
    for _ in range(3):
        assert cache.fetch_many(range(5)) == {key: (key, 1) for key in range(5)}
    assert fill.keys == list(range(5)) and cache.cache_info().evictions == 0
    check_books(cache)


@every_policy
def test_bytes_are_weighed_with_key_and_overhead(policy: str) -> None:
    cache = AtomicCache(lambda key: bytes(key), max_bytes=5000, weigher=lambda key, value: len(value), policy=policy)
    sizes = [100, 500, 1000]
    cache.fetch_many(sizes)
    assert cache._state.index.count() == (3, sum(weight_of(size, size) for size in sizes))
    check_books(cache)


@every_policy
def test_so_many_bytes_and_so_many_items_hold_together(policy: str) -> None:
    rng = random.Random(2)
    cache = make_weighed(policy, lambda key: key % 7 + 1, 20, max_items=6)
    for _ in range(500):
        key = rng.randrange(1, 60)
        assert cache[key] == key % 7 + 1
        check_books(cache)
    assert cache.cache_info().evictions > 50


@every_policy
def test_what_fits_exactly_is_stored_and_a_byte_more_is_not(policy: str) -> None:
    told = Told()
    cache = AtomicCache(
        lambda key: key, max_bytes=5000, weigher=lambda key, value: value, policy=policy, on_removal=told
    )
    most = 5000 - weight_of(1000, 0)
    assert cache[most] == most and list(cache) == [most]
    assert cache[most + 1] == most + 1 and list(cache) == [most]
    assert told.take() == [(most + 1, most + 1, "oversize")] and cache.cache_info().evictions == 1
    check_books(cache)


@every_policy
def test_an_oversize_value_is_filled_for_each_call_and_reaches_all_who_wait(policy: str) -> None:
    gate, fill = Gate(), Fill()
    cache = make_weighed(policy, lambda key: gate.enter() or (fill(key) and 99), 3)
    join = start_threads(*[lambda: cache["a"]] * 3)
    gate.wait_until_entered()
    wait_until_waiting(cache, 2)
    gate.open()
    assert join() == [99] * 3 and fill.keys == ["a"]
    assert cache["a"] == 99 and fill.keys == ["a", "a"] and len(cache) == 0
    check_books(cache)


@every_policy
def test_a_weigher_that_raises_fails_the_fill_and_stores_nothing(policy: str) -> None:
    cache: AtomicCache[int, int] = AtomicCache(
        int, max_bytes=5000, weigher=lambda key, value: 10 // value, policy=policy
    )
    assert cache[1] == 1
    with pytest.raises(ZeroDivisionError):
        cache[0]
    assert list(cache) == [1] and cache.cache_info().failures == 1
    check_books(cache)


def test_lru_is_exact_and_s3fifo_the_default() -> None:
    exact = AtomicCache(str, max_items=3, policy="lru")
    exact.fetch_many([0, 1, 2])
    exact[0], exact.get(1), exact.peek(2), 2 in exact
    exact[3]
    assert sorted(exact) == [0, 1, 3]
    check_books(exact)
    assert type(AtomicCache(str, max_items=3)._state.index.policy).__name__ == "S3FifoPolicy"


@every_policy
def test_hits_are_counted_with_limits_too(policy: str) -> None:
    cache = AtomicCache(str, max_items=3, policy=policy, stats=True)
    for key in (1, 1, 2, 1):
        cache[key]
    cache.get(2)
    cache.get(9)
    info = cache.cache_info()
    assert (info.hits, info.misses, info.fills) == (3, 3, 2)
    check_books(cache)


# ---- ttl


@every_policy
def test_what_has_expired_leaves_before_what_lives_and_is_swept_as_others_come(policy: str) -> None:
    told, clock = Told(), ManualClock()
    ttls: dict[int, float | None] = {0: None, 1: 5, 2: None, 3: 5}
    cache = AtomicCache(str, lambda key, value: ttls.get(key), max_items=4, policy=policy, clock=clock, on_removal=told)
    cache.fetch_many(range(4))
    clock.advance(5)
    cache[4]
    assert told.take() == [(1, "1", "expired"), (3, "3", "expired")]
    assert sorted(cache) == [0, 2, 4] and cache.cache_info().expirations == 2
    check_books(cache)


@every_policy
def test_an_expired_value_is_filled_anew_and_the_limit_holds(policy: str) -> None:
    fill, clock, rng = Fill(), ManualClock(), random.Random(4)
    cache = AtomicCache(fill, 10, max_items=4, policy=policy, clock=clock)
    filled: dict[int, tuple[Any, float]] = {}
    for _ in range(500):
        key = rng.randrange(8)
        value = cache[key]
        if value[1] != filled.get(key, (0, 0))[0]:
            filled[key] = value[1], clock()
        assert value[0] == key and clock() - filled[key][1] < 10
        clock.advance(rng.choice([0, 1, 4]))
        check_books(cache)
    assert cache.cache_info().expirations > 10 and cache.cache_info().evictions > 10
