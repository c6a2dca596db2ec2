"""What Storage promises one thread, over every policy: set and get, delete, and what a mapping has beside these."""

from __future__ import annotations

import copy
import math
import pickle
from collections.abc import Callable
from typing import Any

import pytest

from areole import CACHE_MISS, DEFAULT_TTL, CacheMissSentinel, Storage
from areole.testing import ManualClock

from ..kit import check_books, every_policy, make_store, repr_without_address, unhashable_list

pytestmark = every_policy

VALUES = [0, "", b"", None, (), False, "text", b"bytes", [1], object(), Exception("a value"), math.nan]
KEYS = [0, "a", b"a", None, (1, "a"), frozenset({1}), -1, -2, object, 1.5]


@pytest.mark.parametrize("value", VALUES, ids=repr_without_address)
def test_what_was_set_is_what_get_returns_the_same_object(policy: str, value: Any) -> None:
    store = make_store(policy)
    assert store.set("a", value) is True
    assert store.get("a") is store["a"] is store.peek("a") is value
    assert store.get("a", "default") is value
    check_books(store)


def test_any_hashable_key_will_do_and_none_is_taken_for_another(policy: str) -> None:
    """-1 and -2 have one hash: deleting by hash deletes the wrong one (theine)."""
    store = make_store(policy)
    for i, key in enumerate(KEYS):
        store.set(key, i)
    assert [store.get(key) for key in KEYS] == list(range(len(KEYS)))
    assert store.delete(-1) and store.get(-2) == KEYS.index(-2)
    assert len(store) == store.number_of_items == len(KEYS) - 1
    check_books(store)


def test_equal_keys_are_one_key_and_the_first_object_stays_out_of_the_way(policy: str) -> None:
    store = make_store(policy)
    store.set(1, "int")
    store.set(1.0, "float")
    store.set(True, "bool")
    assert len(store) == 1 and store.get(1) == store.get(1.0) == store.get(True) == "bool"
    assert store.delete(1.0) and len(store) == 0
    check_books(store)


def test_a_miss_is_cache_miss_or_the_default(policy: str) -> None:
    store = make_store(policy)
    for look_up in (store.get, store.peek):
        assert look_up("a") is CACHE_MISS
        assert look_up("a", None) is None
        assert look_up("a", default=7) == 7
        assert look_up("a", CACHE_MISS) is CACHE_MISS
    with pytest.raises(KeyError) as caught:
        store["a"]
    assert caught.value.args == ("a",)
    check_books(store)


def test_cache_miss_prints_its_name_and_stays_one_object_when_copied_or_pickled(policy: str) -> None:
    miss = make_store(policy).get("a")
    assert repr(CACHE_MISS) == str(CACHE_MISS) == "<CacheMiss>"
    assert isinstance(CACHE_MISS, CacheMissSentinel) and not CACHE_MISS
    assert copy.copy(miss) is copy.deepcopy(miss) is pickle.loads(pickle.dumps(miss)) is CACHE_MISS
    assert "DefaultTTL" in repr(DEFAULT_TTL)
    for sentinel in (CACHE_MISS, DEFAULT_TTL):
        assert pickle.loads(pickle.dumps(sentinel)) is copy.copy(sentinel) is copy.deepcopy(sentinel) is sentinel
    assert type(CACHE_MISS)() is CACHE_MISS and type(DEFAULT_TTL)() is DEFAULT_TTL


def test_a_set_replaces_and_the_last_one_counts(policy: str) -> None:
    store = make_store(policy, max_items=2)
    for value in range(5):
        assert store.set("a", value)
        assert store.get("a") == value and store.number_of_items == 1
    store["a"] = "item"
    assert store["a"] == "item" and store.cache_info().evictions == 0
    check_books(store)


def test_delete_says_whether_there_was_something(policy: str) -> None:
    store = make_store(policy)
    store.set("a", None)
    assert store.delete("b") is False
    assert store.delete("a") is True
    assert store.delete("a") is False
    assert store.get("a") is CACHE_MISS and store.number_of_items == store.size_in_bytes == 0
    check_books(store)


def test_del_takes_out_and_raises_a_key_error_where_there_is_nothing(policy: str) -> None:
    store = make_store(policy)
    store["a"] = 1
    del store["a"]
    assert "a" not in store
    with pytest.raises(KeyError) as caught:
        del store["a"]
    assert caught.value.args == ("a",)
    check_books(store)


def test_pop_takes_out_and_returns_the_value_or_the_default(policy: str) -> None:
    store = make_store(policy)
    store.set("a", None)
    assert store.pop("a") is None
    assert store.pop("a") is CACHE_MISS
    assert store.pop("a", 7) == 7
    assert len(store) == 0
    check_books(store)


def test_add_stores_only_what_is_absent(policy: str) -> None:
    store = make_store(policy)
    assert store.add("a", 1) is True
    assert store.add("a", 2) is False
    assert store.get("a") == 1
    store.delete("a")
    assert store.add("a", 3) is True and store.get("a") == 3
    check_books(store)


def test_add_finds_a_value_of_none_present(policy: str) -> None:
    store = make_store(policy)
    store.set("a", None)
    assert store.add("a", 1) is False and store.get("a") is None
    check_books(store)


def test_in_len_and_iteration_see_what_is_live(policy: str) -> None:
    clock = ManualClock()
    store = make_store(policy, clock=clock)
    store.set("a", 1)
    store.set("b", None)
    store.set("c", 3, ttl=5)
    assert "a" in store and "b" in store and "c" in store and "d" not in store
    assert sorted(store) == ["a", "b", "c"] and len(store) == 3
    clock.advance(5)
    assert "c" not in store and sorted(store) == ["a", "b"] and len(store) == 2
    check_books(store)


def test_an_iteration_goes_over_what_was_there_when_it_began(policy: str) -> None:
    store = make_store(policy)
    store.set_many({i: i for i in range(10)})
    seen = []
    for key in store:
        seen.append(key)
        store.delete(key)
        store.set(key + 100, 0)
    assert sorted(seen) == list(range(10)) and sorted(store) == list(range(100, 110))
    check_books(store)


def test_a_new_store_holds_nothing(policy: str) -> None:
    store = make_store(policy)
    assert len(store) == store.number_of_items == store.size_in_bytes == 0
    assert list(store) == [] and store.get_many(["a"]) == {} and store.delete_many(["a"]) == 0
    check_books(store)


def test_the_many_do_what_the_single_ones_do(policy: str) -> None:
    store = make_store(policy)
    assert store.set_many({"a": 1, "b": None, "c": 3}) == 3
    assert store.get_many(["a", "b", "z"]) == {"a": 1, "b": None}
    assert store.get_many(iter("ca")) == {"c": 3, "a": 1}
    assert store.delete_many(["a", "z", "a", "b"]) == 2
    assert list(store) == ["c"]
    assert store.set_many({}) == store.delete_many([]) == 0
    check_books(store)


def test_set_many_gives_each_the_ttl_and_counts_what_was_stored(policy: str) -> None:
    clock = ManualClock()
    store = make_store(policy, size_limit_in_bytes=4096, clock=clock)
    assert store.set_many({"a": b"1", "large": bytes(4000), "b": b"2"}, ttl=5) == 2
    assert store.ttl_of("a") == store.ttl_of("b") == 5
    clock.advance(5)
    assert len(store) == 0
    assert store.set_many({"a": b"1"}, 7) == 1 and store.ttl_of("a") == 7
    check_books(store)


def test_clear_takes_all_out_and_the_store_goes_on(policy: str) -> None:
    store = make_store(policy, max_items=50)
    for _ in range(3):
        store.set_many({i: i for i in range(40)}, ttl=10)
        store.clear()
        assert len(store) == store.number_of_items == store.size_in_bytes == 0
        check_books(store)
    assert store.set("a", 1) and store.get("a") == 1
    check_books(store)


def test_invalidate_is_delete(policy: str) -> None:
    store = make_store(policy)
    store.set("a", 1)
    assert store.invalidate("a") is True and store.invalidate("a") is False
    check_books(store)


CALLS: dict[str, Callable[[Storage[Any], Any], Any]] = {
    "get": lambda store, key: store.get(key),
    "peek": lambda store, key: store.peek(key),
    "[]": lambda store, key: store[key],
    "[]=": lambda store, key: store.__setitem__(key, 1),
    "del": lambda store, key: store.__delitem__(key),
    "in": lambda store, key: key in store,
    "set": lambda store, key: store.set(key, 1),
    "add": lambda store, key: store.add(key, 1),
    "delete": lambda store, key: store.delete(key),
    "pop": lambda store, key: store.pop(key),
    "invalidate": lambda store, key: store.invalidate(key),
    "ttl_of": lambda store, key: store.ttl_of(key),
    "expire_in": lambda store, key: store.expire_in(key, 1),
    "get_many": lambda store, key: store.get_many([key]),
    "delete_many": lambda store, key: store.delete_many([key]),
    "get_or_fill": lambda store, key: store.get_or_fill(key, str),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_an_unhashable_key_is_a_type_error_that_names_store_and_type(policy: str, call: Any) -> None:
    store = make_store(policy, name="my store")
    store.set("a", 1)
    with pytest.raises(TypeError, match=r"my store: the key, of type list, is not hashable") as caught:
        call(store, unhashable_list())
    assert "secret" not in str(caught.value)
    assert list(store) == ["a"]
    check_books(store)


def test_a_key_that_is_like_nan_is_found_by_identity_and_can_be_evicted(policy: str) -> None:
    """A key that is not equal to itself: what a dict does with it, a store does."""
    store = make_store(policy, max_items=2)
    keys = [float("nan") for _ in range(5)]
    for i, key in enumerate(keys):
        store.set(key, i)
        assert store.get(key) == i and store.number_of_items == min(i + 1, 2)
    assert store.get(float("nan")) is CACHE_MISS
    check_books(store)
