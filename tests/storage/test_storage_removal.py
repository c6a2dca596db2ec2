"""What the listener of a Storage is told, and what `cache_info` counts."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from areole import RemovalCause, Storage
from areole.testing import ManualClock

from ..kit import Told, check_books, every_policy, make_store

pytestmark = every_policy


def test_each_way_to_take_out_tells_explicit(policy: str) -> None:
    told = Told()
    store = make_store(policy, on_removal=told)
    for act in (
        lambda: store.delete("a"),
        lambda: store.pop("a"),
        lambda: store.__delitem__("a"),
        lambda: store.delete_many(["a"]),
        lambda: store.invalidate("a"),
        lambda: store.clear(),
    ):
        store.set("a", 1)
        assert told.take() == []
        act()
        assert told.take() == [("a", 1, "explicit")]
    check_books(store)


def test_a_set_tells_replaced_for_a_live_value_and_expired_for_one_that_was_not(policy: str) -> None:
    told, clock = Told(), ManualClock()
    store = make_store(policy, on_removal=told, clock=clock)
    store.set("a", 1, 10)
    store.set("a", 2, 10)
    assert told.take() == [("a", 1, "replaced")]
    clock.advance(10)
    store.set("a", 3)
    assert told.take() == [("a", 2, "expired")]
    store.add("a", 4)
    assert told.take() == []
    assert (store.cache_info().expirations, store.cache_info().evictions) == (1, 0)
    check_books(store)


def test_an_eviction_tells_evicted(policy: str) -> None:
    told = Told()
    store = make_store(policy, max_items=2, on_removal=told)
    store.set_many({"a": 1, "b": 2, "c": 3})
    ((key, value, cause),) = told.take()
    assert cause == "evicted" and {"a": 1, "b": 2, "c": 3}[key] == value and key not in store
    assert store.cache_info().evictions == 1
    check_books(store)


def test_clear_tells_what_had_expired_as_expired(policy: str) -> None:
    told, clock = Told(), ManualClock()
    store = make_store(policy, on_removal=told, clock=clock)
    store.set("a", 1, 10)
    store.set("b", 2)
    clock.advance(10)
    store.clear()
    assert sorted(told.take()) == [("a", 1, "expired"), ("b", 2, "explicit")]
    check_books(store)


def test_every_value_that_was_stored_leaves_once_and_is_told_once(policy: str) -> None:
    told, clock = Told(), ManualClock()
    store = make_store(policy, max_items=5, on_removal=told, clock=clock)
    for value in range(500):
        store.set(value % 11, value, (None, 2, 5)[value % 3])
        store.pop(value % 7)
        clock.advance(1)
    left = {store.peek(key) for key in store}
    gone = [value for _, value, _ in told.all]
    store.clear()
    assert sorted(value for _, value, _ in told.all) == list(range(500))
    assert not left & set(gone) and {cause for _, _, cause in told.all} >= {
        RemovalCause.EVICTED,
        RemovalCause.EXPIRED,
        RemovalCause.REPLACED,
        RemovalCause.EXPLICIT,
    }
    check_books(store)


def test_a_listener_that_raises_is_logged_and_hurts_nobody(policy: str, caplog: Any) -> None:
    def listener(key: Any, value: Any, cause: Any) -> None:
        raise ValueError("from the listener")

    store = make_store(policy, max_items=1, on_removal=listener, name="my store")
    with caplog.at_level(logging.ERROR, "areole"):
        assert store.set("secret", 1) and store.set("b", 2) and store.delete("b")
    assert len(caplog.records) == 2 and "my store: on_removal raised" in caplog.text
    assert "secret" not in caplog.messages[0]
    check_books(store)


def test_a_listener_may_use_the_store(policy: str) -> None:
    """It is called after the lock is let go: what it sets may put out others, which are told too, to a depth."""

    def listener(key: Any, value: Any, cause: RemovalCause) -> None:
        assert not store._state.index.lock._is_owned()
        if cause is RemovalCause.EVICTED and value > 0:
            store.set(("again", key), value - 1)

    store: Storage[Any] = make_store(policy, max_items=3, on_removal=listener)
    for i in range(10):
        store.set(i, 3)
        check_books(store)
    assert store.number_of_items == 3


@pytest.mark.parametrize("stats", [True, False])
def test_cache_info_adds_up(policy: str, stats: bool) -> None:
    clock = ManualClock()
    store = make_store(policy, max_items=3, stats=stats, clock=clock)
    for i in range(5):
        store.set(i, i)  # two evictions
    live = sorted(store)
    assert [store.get(key) for key in live] == live  # three hits
    assert store.get_many([*live, "none"]) == {key: key for key in live}  # three, and a miss
    store.get("none")  # a miss
    assert store.get_or_fill(live[0], str) == live[0]  # a hit
    store.peek(live[0])
    store.peek("none")
    assert "none" not in store and live[0] in store and len(store) == 3
    store.expire_in(live[0], 5)
    clock.advance(5)
    store.get(live[0])  # a miss, and an expiration
    with pytest.raises(KeyError):
        store["none"]  # a miss
    info = store.cache_info()
    assert info.hits == (7 if stats else None)
    assert (info.misses, info.evictions, info.expirations) == (4, 2, 1)
    assert (info.maxsize, info.currsize, info.fills, info.failures, info.waits) == (3, 2, 0, 0, 0)
    check_books(store)


def test_a_lookup_of_get_or_fill_is_one_hit_or_one_miss(policy: str) -> None:
    store = make_store(policy, stats=True)
    for _ in range(3):
        store.get_or_fill("a", str)
    with pytest.raises(ZeroDivisionError):
        store.get_or_fill("b", lambda key: 1 // 0)
    info = store.cache_info()
    assert (info.hits, info.misses, info.fills, info.failures, info.currsize) == (2, 2, 2, 1, 1)
    assert info.maxsize is None
    check_books(store)


def test_what_is_set_is_neither_a_hit_nor_a_miss_nor_a_fill(policy: str) -> None:
    store = make_store(policy, stats=True)
    store.set("a", 1)
    store.add("a", 1)
    store.add("b", 1)
    store.pop("b")
    store.delete("b")
    info = store.cache_info()
    assert (info.hits, info.misses, info.fills, info.evictions, info.expirations) == (0, 0, 0, 0, 0)
    check_books(store)
