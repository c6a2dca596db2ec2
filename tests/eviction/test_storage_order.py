"""Who leaves a full Storage: the least recently used, exactly; or whom s3fifo chooses."""

from __future__ import annotations

import random
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import pytest

from areole import Storage
from areole._eviction.lru import FILED_A_TIME, LruPolicy
from areole.testing import assert_valid

from ..kit import Told, check_books, make_store


@pytest.mark.parametrize("seed", range(5))
def test_lru_evicts_exactly_the_least_recently_used(seed: int) -> None:
    rng = random.Random(seed)
    most = rng.randrange(1, 30)
    store, model = make_store("lru", max_items=most), OrderedDict[int, float]()
    for _ in range(2000):
        key, chance = rng.randrange(2 * most), rng.random()
        if chance < 0.4:
            value = rng.random()
            store.set(key, value)
            model.pop(key, None)
            if len(model) == most:
                model.popitem(last=False)
            model[key] = value
        elif chance < 0.9:
            assert store.get(key, None) == model.get(key)
            if key in model:
                model.move_to_end(key)
        else:
            assert store.delete(key) == (model.pop(key, None) is not None)
        assert store.number_of_items == len(model)
    assert {key: store.peek(key) for key in store} == model
    check_books(store)


USES: dict[str, tuple[Callable[[Storage[Any]], Any], bool]] = {
    "get": (lambda store: store.get(0), True),
    "[]": (lambda store: store[0], True),
    "get_many": (lambda store: store.get_many([0]), True),
    "get_or_fill": (lambda store: store.get_or_fill(0, str), True),
    "set": (lambda store: store.set(0, 0), True),
    "peek": (lambda store: store.peek(0), False),
    "in": (lambda store: 0 in store, False),
    "len": (lambda store: len(store), False),
    "iteration": (lambda store: list(store), False),
    "ttl_of": (lambda store: store.ttl_of(0), False),
    "expire_in": (lambda store: store.expire_in(0, 100), False),
    "a refused add": (lambda store: store.add(0, 0), False),
    "cache_info": (lambda store: store.cache_info(), False),
}


@pytest.mark.parametrize(("use", "counts"), USES.values(), ids=USES)
def test_a_get_is_a_use_and_a_peek_is_none(use: Any, counts: bool) -> None:
    store = make_store("lru", max_items=3)
    store.set_many({0: 0, 1: 1, 2: 2})
    use(store)
    store.set(3, 3)
    assert sorted(store) == ([0, 2, 3] if counts else [1, 2, 3])
    check_books(store)


def test_s3fifo_keeps_what_is_used_while_a_scan_goes_by() -> None:
    """The scan is ten times as long as the store is large; exact lru would keep nothing."""
    store = make_store("s3fifo", max_items=100)
    for key in range(100):
        store.set(key, key)
    for i in range(1000):
        for key in range(20):
            store.get(key)
        store.set(("scan", i), i)
    assert sum(key in store for key in range(20)) >= 18
    check_books(store)


def test_s3fifo_is_given_no_use_by_a_peek() -> None:
    store = make_store("s3fifo", max_items=100)
    store.set_many({key: key for key in range(100)})
    for i in range(1000):
        for key in range(20):
            store.peek(key)
        store.set(("scan", i), i)
    peeked = sorted(map(str, store))
    twin = make_store("s3fifo", max_items=100)
    twin.set_many({key: key for key in range(100)})
    twin.set_many({("scan", i): i for i in range(1000)})
    assert peeked == sorted(map(str, twin))
    check_books(store)


def test_a_set_ends_though_it_may_file_one_value_again_of_many_that_were_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """Broken: it called itself for each part, so with 100,000 entries that were all used it raised RecursionError."""
    monkeypatch.setattr("areole._eviction.lru.FILED_A_TIME", 1)
    storage = make_store("lru", max_items=2000)
    for n in range(2000):
        storage.set(n, n)
    assert len(storage.get_many(range(2000))) == 2000
    for n in range(100):
        assert storage.set(("new", n), "value")
        assert n not in storage and n + 1 in storage
    assert_valid(storage)


def count_filings(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Return a list to which each entry is added that an lru policy files again."""
    filed: list[Any] = []
    file_again = LruPolicy._file_again

    def count(policy: LruPolicy, entry: Any, used: int) -> None:
        filed.append(entry)
        file_again(policy, entry, used)

    monkeypatch.setattr(LruPolicy, "_file_again", count)
    return filed


def test_no_set_files_more_than_so_many_again_after_all_values_were_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """Broken: the first `set` filed all of them again, 0.9 s in a store of 400,000."""
    filed, many, told = count_filings(monkeypatch), 10 * FILED_A_TIME, Told()
    store = make_store("lru", max_items=many, on_removal=told)
    for key in range(many):
        store.set(key, key)
    for key in range(many):
        store.get(key)
    for n in range(1, 30):
        store.set(("new", n), 0)
        assert len(filed) == min(n, 10) * FILED_A_TIME
    assert [key for key, _, _ in told.take()] == list(range(29)), "as used in order, so looked at in order: exact"
    check_books(store)


def test_a_set_after_fewer_uses_than_it_files_again_is_exact(monkeypatch: pytest.MonkeyPatch) -> None:
    filed, many = count_filings(monkeypatch), FILED_A_TIME
    store = make_store("lru", max_items=many)
    for key in range(many):
        store.set(key, key)
    for key in reversed(range(1, many)):
        store.get(key)
    store.get(0)
    store.set("new", 0)
    assert many - 1 not in store and store.number_of_items == many
    store.set("newer", 0)
    assert many - 2 not in store
    assert len(filed) == many
    check_books(store)
