"""A store as a MutableMapping: the methods of a dict, in the manner of the standard library's mapping_tests."""

from __future__ import annotations

from collections.abc import ItemsView, KeysView, MutableMapping, ValuesView
from functools import partial
from typing import Any

import pytest

from areole import CACHE_MISS, Cache, CacheClosedError, RemovalCause, SerializationError, Storage
from areole.testing import ManualClock

from ..kit import assert_valid, run_threads

REFERENCE: dict[Any, Any] = {1: 2, "key1": "value1", "key2": (1, 2, 3)}

KINDS: dict[str, Any] = {
    "lru": lambda **options: Storage(**options),
    "s3fifo": lambda **options: Storage(policy="s3fifo", **options),
    "Cache": lambda **options: Cache(**options),
}
every_kind = pytest.mark.parametrize("make", KINDS.values(), ids=list(KINDS))


def full(make: Any, **options: Any) -> Any:
    store = make(**options)
    store.update(REFERENCE)
    return store


@every_kind
def test_reading_is_as_with_a_dict(make: Any) -> None:
    store = full(make)
    assert isinstance(store, MutableMapping)
    for kind, view, expected in (
        (KeysView, store.keys(), REFERENCE.keys()),
        (ValuesView, store.values(), REFERENCE.values()),
        (ItemsView, store.items(), REFERENCE.items()),
    ):
        assert isinstance(view, kind) and len(view) == 3
        assert list(view) == list(expected)
        assert all(each in view for each in expected) and object() not in view
        assert "value1" not in repr(view) and "key1" not in repr(view)
    assert store.keys() == REFERENCE.keys() and store.items() == REFERENCE.items()
    assert store.keys() & {1, 5} == {1} and store.items() - {(1, 2)} == REFERENCE.items() - {(1, 2)}
    assert ("key1", "value2") not in store.items() and ("key1",) not in store.items()
    assert dict(store) == dict(store.items()) == REFERENCE
    assert store.get("key9") is CACHE_MISS and store.get("key9", 5) == 5
    assert_valid(store)


@every_kind
def test_writing_is_as_with_a_dict(make: Any) -> None:
    store = make()
    store.update(REFERENCE)
    store.update([("key1", "other"), (5, 6)], key2=7)
    store.update(full(make).items())
    store.update(a=1)
    assert dict(store.items()) == REFERENCE | {5: 6, "a": 1}
    assert [store.setdefault("a", 2), store.setdefault("b", 3), store["b"]] == [1, 3, 3]
    left = dict(store.items())
    while len(store):
        key, value = store.popitem()
        assert left.pop(key) == value and key not in store
    assert left == {}
    with pytest.raises(KeyError, match="it is empty"):
        store.popitem()
    assert_valid(store)


@pytest.mark.parametrize("wrong", [42, "text", [1], [(1, 2, 3)]], ids=repr)
def test_what_is_no_item_is_refused_by_the_name_of_the_method(wrong: Any) -> None:
    with pytest.raises(TypeError, match="update takes"):
        Storage().update(wrong)


def test_a_store_is_equal_to_itself_alone() -> None:
    one, other = full(KINDS["lru"]), full(KINDS["lru"])
    assert one == one and one != other and one != REFERENCE
    assert {one: 1, other: 2}[one] == 1


@every_kind
def test_a_view_follows_the_store_and_an_iteration_what_was_there_when_it_began(make: Any) -> None:
    store = full(make, stats=True)
    keys, items = store.keys(), store.items()
    running = iter(items)
    assert next(running) == (1, 2)
    store["key1"] = "changed"
    del store["key2"]
    store["new"] = 0
    assert list(running) == [("key1", "value1"), ("key2", (1, 2, 3))]
    assert set(keys) == {1, "key1", "new"} and ("key1", "changed") in items
    assert store.cache_info().hits == 0


@every_kind
def test_what_has_expired_is_in_no_view_and_is_no_item_to_pop(make: Any) -> None:
    clock = ManualClock()
    removed: list[Any] = []
    store = make(clock=clock, on_removal=lambda key, value, cause: removed.append((key, cause)))
    store.set("old", 1, ttl=5)
    store.set("new", 2)
    clock.advance(5)
    assert list(store.items()) == [("new", 2)] and list(store.values()) == [2]
    assert store.popitem() == ("new", 2)
    with pytest.raises(KeyError):
        store.popitem()
    assert dict(removed) == {"new": RemovalCause.EXPLICIT, "old": RemovalCause.EXPIRED} and len(removed) == 2
    assert store.setdefault("old", 3, ttl=5, tags=["a"]) == 3 and store.ttl_of("old") == 5
    assert store.invalidate_tags("a") == 1
    assert_valid(store)


def test_setdefault_returns_what_is_too_large_and_stores_it_not() -> None:
    store = Storage[bytes](size_limit_in_bytes=4096)
    assert store.setdefault("key", b"x" * 4000) == b"x" * 4000
    assert "key" not in store
    assert store.setdefault("key", b"y") == b"y" == store.setdefault("key", b"x" * 4000)
    assert Cache(size_limit_in_bytes=4096).setdefault("key", "x" * 4000) == "x" * 4000


@every_kind
def test_of_many_threads_one_sets_the_default_and_each_pops_another_item(make: Any) -> None:
    store = make()
    for key in range(20):
        got = run_threads(*[partial(store.setdefault, key, n) for n in range(4)])
        assert set(got) == {store[key]}
    popped = run_threads(*[lambda: [store.popitem()[0] for _ in range(5)] for _ in range(4)])
    assert sorted(key for keys in popped for key in keys) == list(range(20)) and len(store) == 0
    assert_valid(store)


class Key:
    """One whose hash changes, so that it does not find its entry any more."""

    hash = 1

    def __hash__(self) -> int:
        return self.hash


def test_popitem_ends_with_a_key_that_does_not_find_its_entry() -> None:
    store: Storage[int] = Storage()
    key = Key()
    store[key] = 1
    key.hash = 2
    with pytest.raises(KeyError):
        store.popitem()
    assert store.number_of_items == 0


def test_popitem_drops_bytes_that_are_corrupt_and_goes_on() -> None:
    store: Cache[int] = Cache(deserializer=lambda data: 1 // 0, serializer=lambda value: b"1")
    store["key"] = 1
    with pytest.raises(SerializationError):
        store.popitem()
    assert len(store) == 0 and store.cache_info().evictions == 1


def test_a_closed_store_gives_no_views() -> None:
    store: Storage[int] = Storage()
    views = store.keys(), store.items(), store.values()
    store.close()
    for use in (*(partial(list, view) for view in views), store.popitem, lambda: store.setdefault(1, 1)):
        with pytest.raises(CacheClosedError):
            use()
    with pytest.raises(CacheClosedError):
        store.update()
