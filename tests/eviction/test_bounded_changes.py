"""AtomicCache with limits: what refresh, invalidate, clear and eviction do to each other."""

from __future__ import annotations

from typing import Any

import pytest

from areole import AtomicCache
from areole._index.bounded import BoundedIndex
from areole.testing import assert_valid

from ..kit import Fill, Gate, Told, check_books, every_policy, make_weighed, start_threads, wait_until_waiting


@every_policy
def test_a_refresh_takes_no_second_place(policy: str) -> None:
    told, fill = Told(), Fill()
    cache = AtomicCache(fill, max_items=2, policy=policy, on_removal=told)
    cache.fetch_many([*"ab"])
    for n in (2, 3):
        assert cache.refresh("a") == ("a", n) == cache["a"]
        assert told.take() == [("a", ("a", n - 1), "replaced")] and sorted(cache) == ["a", "b"]
        check_books(cache)
    assert cache.refresh("c") == ("c", 1) and len(cache) == 2 and "c" in cache
    assert [cause for _, _, cause in told.take()] == ["evicted"]
    check_books(cache)


@every_policy
def test_a_refresh_to_another_weight_is_weighed_anew(policy: str) -> None:
    told, sizes = Told(), {"a": 1, "b": 1}
    cache = make_weighed(policy, lambda key: sizes[key], 5, on_removal=told)
    cache.fetch_many([*"ab"])
    assert cache._state.index.count() == (2, 2000)
    sizes["a"] = 4
    assert cache.refresh("a") == 4 and cache._state.index.count() == (2, 5000)
    check_books(cache)
    told.take()
    sizes["a"] = 5
    assert cache.refresh("a") == 5 and list(cache) == ["a"]
    assert sorted(told.take()) == [("a", 4, "replaced"), ("b", 1, "evicted")]
    check_books(cache)
    sizes["a"] = 6
    assert cache.refresh("a") == 6 and len(cache) == 0
    assert told.take() == [("a", 5, "oversize")]
    check_books(cache)


@every_policy
def test_a_refresh_that_fails_leaves_the_old_value_in_its_place(policy: str) -> None:
    fill = Fill()
    cache = AtomicCache(fill, max_items=2, policy=policy)
    cache.fetch_many([*"ab"])
    fill.error = ValueError("no")
    with pytest.raises(ValueError, match="no"):
        cache.refresh("a")
    assert cache["a"] == ("a", 1) and sorted(cache) == ["a", "b"]
    check_books(cache)


def test_a_value_that_is_put_out_during_its_refresh_is_told_once_and_the_new_one_is_stored() -> None:
    told, fills = Told(), Fill()

    def fill(key: Any) -> Any:
        value = fills(key)
        if value == ("a", 2):
            cache.fetch_many(range(10))
        return value

    cache: AtomicCache[Any, Any] = AtomicCache(fill, max_items=2, policy="lru", on_removal=told)
    cache["a"]
    assert cache.refresh("a") == ("a", 2)
    assert [each for each in told.take() if each[0] == "a"] == [("a", ("a", 1), "evicted")]
    assert list(cache) == ["a", 9]
    check_books(cache)


@every_policy
def test_invalidate_and_clear_make_room(policy: str) -> None:
    told = Told()
    cache = AtomicCache(str, max_items=2, policy=policy, on_removal=told)
    cache.fetch_many([1, 2])
    assert cache.invalidate(1) is True and cache.invalidate(1) is False
    cache[3]
    assert told.take() == [(1, "1", "explicit")] and sorted(cache) == [2, 3]
    check_books(cache)
    cache.clear()
    assert len(cache) == 0 and cache._state.index.count() == (0, 0)
    cache.fetch_many([4, 5])
    assert sorted(cache) == [4, 5] and cache.cache_info().evictions == 0
    check_books(cache)


@every_policy
def test_an_invalidation_during_a_fill_leaves_the_books_alone(policy: str) -> None:
    cache: AtomicCache[str, Any] = AtomicCache(lambda key: (cache.invalidate(key), key), max_items=2, policy=policy)
    assert cache["a"] == (True, "a") and len(cache) == 0
    check_books(cache)


@every_policy
def test_eviction_during_a_fill_keeps_single_flight(policy: str) -> None:
    gate, fill = Gate(), Fill()
    cache = AtomicCache(lambda key: (key == "a" and gate.enter(), fill(key))[1], max_items=1, policy=policy)
    join = start_threads(lambda: cache["a"])
    gate.wait_until_entered()
    cache.fetch_many(range(20))
    join_second = start_threads(lambda: cache["a"])
    wait_until_waiting(cache, 1)
    gate.open()
    assert join() == join_second() == [("a", 1)] and list(cache) == ["a"]
    check_books(cache)


def test_books_made_anew_put_out_a_stored_exception_without_a_word(monkeypatch: pytest.MonkeyPatch) -> None:
    """A finalizer fills a key while another fill, which has made room for its own value already, is publishing that."""
    make_room, meddlers = BoundedIndex._make_room, iter(["d"])
    told = Told()

    def fill(key: str) -> str:
        if key == "bad":
            raise LookupError
        return key

    def make_room_and_meddle(self: Any, *args: Any) -> None:
        make_room(self, *args)
        for key in meddlers:
            assert cache[key] == key

    cache = AtomicCache[str, str](fill, max_items=2, policy="lru", cache_exceptions=True, on_removal=told)
    with pytest.raises(LookupError):
        cache["bad"]
    with monkeypatch.context() as patch:
        patch.setattr(BoundedIndex, "_make_room", make_room_and_meddle)
        assert cache["c"] == "c"
    assert sorted(cache) == ["c", "d"] and told.take() == []
    assert cache.cache_info().evictions == 0
    assert_valid(cache)
