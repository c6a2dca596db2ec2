"""`areole.testing.clear_all`: every cache of the process is emptied, and no running fill brings back what was there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from areole import AsyncAtomicCache, AtomicCache, Cache, SharedCache, Storage, cached
from areole.fixtures import caching_disabled, empty_caches  # noqa: F401
from areole.testing import clear_all

from ..kit import Gate, assert_valid, run, start_threads


class Shop:
    @AtomicCache.memoize
    def price(self, item: str) -> object:
        return object()

    @AtomicCache.memoize(results="table")
    def stock(self, item: str) -> object:
        return object()


def test_every_kind_of_cache_is_emptied() -> None:
    storage, serialized = Storage[Any](), Cache[Any]()
    plain, awaited = AtomicCache(lambda key: object()), AsyncAtomicCache(lambda key: object())
    alone = AtomicCache(lambda key: object()).aio  # a view, whose cache is gone
    shared = SharedCache[int]("memory://", namespace="emptied", local=Storage())
    front = AtomicCache(lambda key: 1, shared=shared)
    shops = Shop(), Shop()
    in_storage = cached(storage)(lambda key: object())
    closed = Storage[Any]()
    closed["key"] = 1
    closed.close()
    for store in (storage, serialized):
        store["key"] = 1
    shared.set("key", 1)
    assert shared.get("key") == 1 and front["key"] == 1
    asks: list[Any] = [plain.fetch, in_storage, *(ask for shop in shops for ask in (shop.price, shop.stock))]
    asks += [lambda key: run(lambda: awaited.fetch(key)), lambda key: run(lambda: alone.fetch(key))]
    before = [ask("key") for ask in asks]
    assert before == [ask("key") for ask in asks]
    clear_all()
    for cache in (storage, serialized, plain, awaited, alone, front):
        assert len(cache) == 0
        assert_valid(cache)
    assert closed.number_of_items == 0 and shared.get("key") is None
    assert all(old is not ask("key") for old, ask in zip(before, asks, strict=True))


def test_a_lookup_meanwhile_keeps_nothing_from_before_in_front_of_a_shared_cache() -> None:
    """Broken: 1. the copies are dropped 2. another thread looks, and copies what the store has 3. that is cleared."""
    local = Storage[int]()
    meanwhile = Storage[int](on_removal=lambda *removal: shared.get("key"))
    shared = SharedCache[int]("memory://", namespace="looked", local=local)
    shared.set("key", 1)
    meanwhile["key"] = 1
    clear_all()
    assert shared.get("key") is None and local.number_of_items == 0


def test_what_was_emptied_counts_towards_no_limit() -> None:
    shared = SharedCache[int]("memory://", namespace="limited", max_items=2)
    shared.set_many({"a": 1, "b": 2})
    clear_all()
    assert shared.cache_info().currsize == 0
    shared.set_many({"c": 3, "d": 4})
    assert shared.cache_info().evictions == 0 and shared.get_many(["c", "d"]) == {"c": 3, "d": 4}


def test_a_store_of_other_processes_is_left_alone(tmp_path: Path) -> None:
    with SharedCache[int](f"sqlite:///{tmp_path}/cache.db", namespace="left") as shared:
        shared.set("key", 1)
        clear_all()
        assert shared.get("key") == 1


def test_what_is_left_in_a_store_counts_towards_its_limit(tmp_path: Path) -> None:
    """Broken: 1. the names in the store, which are in a Storage of areole's own, are dropped 2. more are stored."""
    with SharedCache[int](f"sqlite:///{tmp_path}/cache.db", namespace="left", max_items=2) as shared:
        shared.set_many({"a": 1, "b": 2})
        clear_all()
        shared.set("c", 3)
        assert shared.get_many(["a", "b", "c"]) == {"b": 2, "c": 3}


@pytest.mark.parametrize("kind", ["cache", "store", "shared"])
def test_a_fill_that_runs_meanwhile_serves_those_who_had_joined_and_is_stored_nowhere(kind: str) -> None:
    gates = [Gate(), Gate()]
    numbers = iter(range(2))

    def fill(key: str) -> int:
        number = next(numbers)
        gates[number].enter()
        return number

    cache: Any = AtomicCache(fill) if kind == "cache" else Storage()
    shared = SharedCache[int]("memory://", namespace=f"meanwhile-{kind}")
    ask = {
        "cache": lambda: cache["key"],
        "store": lambda: cache.get_or_fill("key", fill),
        "shared": lambda: shared.get_or_fill("key", fill),
    }[kind]
    first = start_threads(ask)
    gates[0].wait_until_entered()
    clear_all()
    later = start_threads(ask)
    gates[1].wait_until_entered()  # it has joined no fill from before
    gates[0].open()
    assert first() == [0]
    gates[1].open()
    assert later() == [1] and ask() == 1
    assert_valid(cache)


def test_the_fixtures_empty_caches_and_turn_them_off(request: pytest.FixtureRequest) -> None:
    store, cache = Storage[int](), AtomicCache(lambda key: object())
    store["key"] = 1
    request.getfixturevalue("empty_caches")
    assert "key" not in store
    assert cache["key"] is cache["key"]
    request.getfixturevalue("caching_disabled")
    assert cache["key"] is not cache["key"]
