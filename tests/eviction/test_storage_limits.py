"""Limits of a Storage: what an item weighs, what is too large, who leaves, and that neither limit is ever exceeded."""

from __future__ import annotations

import random
import sys
import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest

from areole import CACHE_MISS, Storage
from areole._eviction.lru import FILED_A_TIME
from areole._index.limits import OVERHEAD
from areole.testing import ManualClock

from ..kit import Told, check_books, collect, every_policy, make_store, weight_of

LIMIT = 8192


@every_policy
@pytest.mark.parametrize("key", ["a", "a key that is longer", b"key", 7, ("a", 1)], ids=repr)
def test_value_key_and_overhead_count(policy: str, key: Any) -> None:
    store = make_store(policy, size_limit_in_bytes=LIMIT)
    store.set(key, bytes(100))
    assert store.size_in_bytes == weight_of(key, 100)
    store.set("other", b"")
    assert store.size_in_bytes == weight_of(key, 100) + weight_of("other", 0)
    store.set(key, bytes(10))
    assert store.size_in_bytes == weight_of(key, 10) + weight_of("other", 0)
    store.delete(key)
    assert store.size_in_bytes == weight_of("other", 0)
    check_books(store)


@every_policy
@pytest.mark.parametrize(
    "value", ["text", 1, None, bytearray(3), memoryview(b"abc"), [b"a"]], ids=lambda v: type(v).__name__
)
def test_with_a_size_limit_and_no_weigher_values_must_be_bytes(policy: str, value: Any) -> None:
    store = make_store(policy, size_limit_in_bytes=LIMIT)
    store.set("a", b"old")
    for put in (
        lambda: store.set("a", value),
        lambda: store.add("b", value),
        lambda: store.set_many({"a": value}),
        lambda: store.get_or_fill("c", lambda key: value),
    ):
        with pytest.raises(ValueError, match=f"value must be bytes .* not {type(value).__name__}"):
            put()
    assert store.get("a") == b"old" and list(store) == ["a"]
    check_books(store)


@every_policy
def test_without_a_size_limit_any_value_goes_and_is_weighed_by_a_guess(policy: str) -> None:
    store = make_store(policy)
    value = "text"
    store.set_many({"a": value, "b": bytes(50)})
    assert store.size_in_bytes == weight_of("a", sys.getsizeof(value)) + weight_of("b", 50)
    check_books(store)


@every_policy
def test_a_weigher_is_asked_for_key_and_value_and_lifts_the_rule_of_bytes(policy: str) -> None:
    store = make_store(policy, size_limit_in_bytes=LIMIT, weigher=lambda key, value: len(key) * 10 + value)
    assert store.set("key", 500)
    assert store.size_in_bytes == weight_of("key", 530)
    assert store.set("key", LIMIT) is False and store.number_of_items == 0
    check_books(store)


@every_policy
@pytest.mark.parametrize("size", [-1, 1.5, "1", None])
def test_what_a_weigher_returns_must_be_an_int_from_zero_on(policy: str, size: Any) -> None:
    sizes = [1, size, size]
    store = make_store(policy, weigher=lambda key, value: sizes[value])
    store.set("a", 0)
    with pytest.raises(ValueError, match="weigher must return an int of at least 0, not"):
        store.set("a", 1)
    with pytest.raises(ValueError, match="weigher must return an int of at least 0, not"):
        store.get_or_fill("b", lambda key: 2)
    assert store.get("a") == 0 and list(store) == ["a"]
    check_books(store)


@every_policy
def test_what_a_weigher_raises_reaches_the_caller_and_the_old_value_stays(policy: str) -> None:
    store = make_store(policy, weigher=lambda key, value: 1 // value)
    store.set("a", 1)
    for put in (store.set, store.add, lambda key, value: store.get_or_fill("b", lambda key: value)):
        with pytest.raises(ZeroDivisionError):
            put("a", 0)
    assert store.get("a") == 1 and list(store) == ["a"]
    check_books(store)


@every_policy
def test_half_the_limit_is_stored_and_a_byte_more_is_not(policy: str) -> None:
    store = make_store(policy, size_limit_in_bytes=LIMIT)
    most = LIMIT // 2 - weight_of("a", 0)
    assert store.set("a", bytes(most)) is True and store.size_in_bytes == LIMIT // 2
    assert store.set("a", bytes(most + 1)) is False and store.size_in_bytes == 0
    check_books(store)


PUTS: dict[str, Callable[[Storage[Any], bytes], Any]] = {
    "set": lambda store, value: store.set("a", value),
    "set_many": lambda store, value: store.set_many({"a": value}),
    "add": lambda store, value: store.add("a", value),
}


@every_policy
@pytest.mark.parametrize("put", PUTS.values(), ids=PUTS)
@pytest.mark.parametrize("old_ttl", [None, 5, 10])
def test_a_value_too_large_is_not_stored_and_the_old_one_goes(policy: str, put: Any, old_ttl: Any) -> None:
    told, clock = Told(), ManualClock()
    store = make_store(policy, size_limit_in_bytes=LIMIT, on_removal=told, clock=clock)
    store.set("b", b"stays")
    store.set("a", b"old", old_ttl)
    clock.advance(5)
    large = bytes(LIMIT)
    is_kept = put is PUTS["add"] and old_ttl != 5
    assert not put(store, large)
    assert store.get("a", None) == (b"old" if is_kept else None) and store.get("b") == b"stays"
    left = [("a", b"old", "expired"), ("a", large, "oversize")] if old_ttl == 5 else [("a", b"old", "oversize")]
    assert told.take() == ([] if is_kept else left)
    assert store.cache_info().evictions == (not is_kept)
    check_books(store)


@every_policy
@pytest.mark.parametrize(
    "limits", [{"max_items": 7}, {"size_limit_in_bytes": 4096}, {"max_items": 7, "size_limit_in_bytes": 4096}]
)
def test_no_operation_leaves_more_than_the_limits_allow(policy: str, limits: Any) -> None:
    rng, clock = random.Random(3), ManualClock()
    store = make_store(policy, clock=clock, **limits)
    for _ in range(400):
        key, value, ttl = rng.randrange(15), bytes(rng.randrange(2500)), rng.choice([None, 0, 3, 30])
        put = rng.choice([store.set, store.add, lambda k, v, t: store.get_or_fill(k, lambda key: v, t)])
        put(key, value, ttl)
        rng.choice([store.get, store.peek, store.delete, store.ttl_of])(rng.randrange(15))
        clock.advance(rng.choice([0, 0, 1, 5]))
        check_books(store)
    assert store.cache_info().evictions > 50


@every_policy
def test_one_item_at_most_holds_the_last_one(policy: str) -> None:
    store = make_store(policy, max_items=1)
    for i in range(20):
        assert store.set(i, i) and list(store) == [i] and store.get(i) == i
        check_books(store)


@every_policy
def test_one_large_value_puts_out_as_many_small_ones_as_it_needs_and_no_more(policy: str) -> None:
    told = Told()
    store = make_store(
        policy, size_limit_in_bytes=100_000, weigher=lambda key, value: value - weight_of(key, 0), on_removal=told
    )
    for i in range(10):
        store.set(i, 10_000)
    assert store.size_in_bytes == 100_000 and told.take() == []
    store.set(10, 35_000)
    assert len(told.take()) == 4 and store.size_in_bytes == 95_000 and 10 in store
    check_books(store)


@every_policy
def test_replacing_a_value_in_a_full_store_puts_out_nothing_else(policy: str) -> None:
    told = Told()
    store = make_store(policy, max_items=5, on_removal=told)
    store.set_many({i: i for i in range(5)})
    for i in (0, 4, 2, 2):
        store.set(i, -i)
    assert {cause for _, _, cause in told.take()} == {"replaced"} and sorted(store) == [0, 1, 2, 3, 4]
    check_books(store)


@every_policy
def test_what_has_expired_leaves_before_what_lives(policy: str) -> None:
    told, clock = Told(), ManualClock()
    store = make_store(policy, max_items=6, clock=clock, on_removal=told)
    store.set_many({i: i for i in range(6)}, None)
    for key, ttl in ((5, 3), (3, 1), (4, 2)):
        store.expire_in(key, ttl)
        store.get(key)  # used last of all, and it does not help
    clock.advance(2)
    store.set("new", 0)
    assert told.take() == [(3, 3, "expired"), (4, 4, "expired")]
    clock.advance(1)
    store.set_many({"second": 0, "third": 0})
    assert told.take() == [(5, 5, "expired")] and store.cache_info().evictions == 0
    store.set("fourth", 0)
    assert [cause for _, _, cause in told.take()] == ["evicted"]
    check_books(store)


@every_policy
def test_what_has_expired_makes_room_in_bytes_too(policy: str) -> None:
    told, clock = Told(), ManualClock()
    store = make_store(policy, size_limit_in_bytes=LIMIT, clock=clock, on_removal=told)
    store.set("live", bytes(2000))
    store.set("old", bytes(2000), 1)
    store.set("older", bytes(2000), 1)
    clock.advance(1)
    store.set("new", bytes(3000))
    assert sorted(store) == ["live", "new"] and {cause for _, _, cause in told.take()} == {"expired"}
    check_books(store)


@every_policy
def test_a_miss_after_an_eviction_is_a_miss(policy: str) -> None:
    store = make_store(policy, max_items=3)
    store.set_many({i: i for i in range(10)})
    assert len(store) == 3 and sum(store.get(i) is CACHE_MISS for i in range(10)) == 7
    assert store.cache_info().maxsize == 3 and store.cache_info().evictions == 7
    check_books(store)


def test_a_value_that_is_replaced_by_a_larger_one_stays_in_its_place_and_is_told_once() -> None:
    many, told = 10 * FILED_A_TIME, Told()
    weigh = lambda key, value: value  # noqa: E731
    store = make_store("lru", size_limit_in_bytes=10**7, weigher=weigh, on_removal=told)
    for key in range(many):
        store.set(key, 10**7 // many - 1000)
    spare = 10**7 - store.size_in_bytes
    for key in range(many):
        store.get(key)
    store.set(0, 10**7 // many - 1000 + spare + 1)
    assert sorted((key, cause) for key, _, cause in told.take()) == [(0, "replaced"), (1, "evicted")]
    assert 0 in store and store.size_in_bytes <= 10**7
    check_books(store)


@every_policy
def test_what_has_expired_leaves_first_though_deadlines_of_what_is_gone_stand_before_it(policy: str) -> None:
    many, clock, told = 256, ManualClock(), Told()
    store = make_store(policy, clock=clock, max_items=many, on_removal=told)
    for key in range(many - 1):
        store.set(key, key, 1000 if key % 2 else 10)
    store.set("last", 0, 20)
    for key in range(0, many - 1, 2):
        store.expire_in(key, 1000)  # the pairs of the first deadline stay, and stand first
    clock.advance(20)
    store.set("new", 0)
    store.set("newer", 0)
    assert [key for key, _, cause in told.take() if cause == "expired"] == ["last"], "a live one left before it"
    check_books(store)


@every_policy
def test_an_entry_takes_the_memory_that_it_counts_for(policy: str) -> None:
    """Within a quarter, and not more than it counts for by a tenth. Nothing here is a matter of time."""
    size = 12_500  # tables of dicts grow in leaps; this is just after one, when an entry takes most
    keys = list(range(10**7, 10**7 + size))
    store = make_store(policy, max_items=size, size_limit_in_bytes=1 << 40, weigher=lambda key, value: 0)
    collect()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for key in keys:
            store.set(key, None)
        taken = (tracemalloc.get_traced_memory()[0] - before) / size
    finally:
        tracemalloc.stop()
    assert 0.7 * OVERHEAD < taken < 1.1 * OVERHEAD
    check_books(store)
