"""What every lookup of AtomicCache promises one thread, over both indexes. What has to do with ttl, stored exceptions,
the listener and memory is in files of its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from areole import AtomicCache

from ..kit import Fill, assert_valid, every_index

pytestmark = every_index


LOOKUPS: list[Callable[[Any, Any], Any]] = [AtomicCache.__getitem__, AtomicCache.fetch]


@pytest.mark.parametrize("look_up", LOOKUPS)
def test_a_miss_fills_and_a_hit_does_not(index: str, look_up: Callable[[Any, Any], Any]) -> None:
    cache, fill = make(index)
    assert [look_up(cache, "a"), look_up(cache, "b"), look_up(cache, "a")] == [("a", 1), ("b", 1), ("a", 1)]
    assert fill.keys == ["a", "b"]
    assert_valid(cache)


@pytest.mark.parametrize("look_up", LOOKUPS)
def test_a_fill_that_raises_is_raised_as_it_is_and_stored_nowhere(
    index: str, look_up: Callable[[Any, Any], Any]
) -> None:
    cache, fill = make(index)
    fill.error = ValueError("no")
    with pytest.raises(ValueError) as caught:
        look_up(cache, "a")
    assert caught.value is fill.error
    assert "a" not in cache and len(cache) == 0
    fill.error = None
    assert look_up(cache, "a") == ("a", 2)
    assert_valid(cache)


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, GeneratorExit])
def test_a_fill_ended_by_a_base_exception_leaves_nothing_behind(index: str, error: type[BaseException]) -> None:
    cache, fill = make(index)
    fill.error = error()
    with pytest.raises(error):
        cache["a"]
    assert_valid(cache)
    fill.error = None
    assert cache["a"] == ("a", 2)
    assert_valid(cache)


@pytest.mark.parametrize("error", [KeyError("a"), TypeError("a"), AttributeError("a"), StopIteration()])
def test_a_fill_may_raise_what_lookups_are_made_of(index: str, error: Exception) -> None:
    """A miss is noticed by a KeyError: one that comes from the fill is another matter."""
    cache, fill = make(index)
    fill.error = error
    with pytest.raises(type(error)) as caught:
        cache["a"]
    assert caught.value is error
    assert fill.keys == ["a"]
    assert_valid(cache)


def test_get_and_peek_never_fill_and_give_the_default(index: str) -> None:
    cache, fill = make(index)
    default = object()
    assert cache.get("a") is None and cache.peek("a") is None
    assert cache.get("a", default) is default and cache.peek("a", default) is default
    assert fill.keys == []
    cache["a"]
    assert cache.get("a", default) == cache.peek("a", default) == ("a", 1)
    assert_valid(cache)


def test_get_many_gives_what_is_there_in_the_order_asked_for(index: str) -> None:
    cache, fill = make(index)
    cache.fetch_many([*"abc"])
    assert list(cache.get_many(iter("cxaca")).items()) == [("c", ("c", 1)), ("a", ("a", 1))]
    assert cache.get_many([]) == {}
    assert fill.keys == ["a", "b", "c"]
    assert_valid(cache)


def test_fetch_many_fills_what_is_missing_each_key_once(index: str) -> None:
    cache, fill = make(index)
    cache["b"]
    found = cache.fetch_many(iter("cabacc"))
    assert list(found.items()) == [("c", ("c", 1)), ("a", ("a", 1)), ("b", ("b", 1))]
    assert fill.keys == ["b", "c", "a"]
    assert cache.fetch_many([]) == {}
    assert_valid(cache)


def test_fetch_many_keeps_what_was_filled_before_a_fill_raised(index: str) -> None:
    def fill(key: int) -> int:
        return 1 // key

    cache = AtomicCache(fill, index=index)
    with pytest.raises(ZeroDivisionError):
        cache.fetch_many([1, 0, 2])
    assert list(cache) == [1]
    assert_valid(cache)


def test_in_says_whether_there_is_a_value_and_does_not_fill(index: str) -> None:
    cache, fill = make(index)
    assert "a" not in cache
    cache["a"]
    assert "a" in cache and "b" not in cache
    assert fill.keys == ["a"]
    assert_valid(cache)


def test_a_key_is_not_in_the_cache_while_its_first_fill_runs(index: str) -> None:
    def fill(key: str) -> tuple[Any, ...]:
        return key in cache, cache.get(key), cache.peek(key), cache.get_many([key]), len(cache), list(cache)

    cache = AtomicCache(fill, index=index)
    assert cache["a"] == (False, None, None, {}, 0, [])
    assert_valid(cache)


def test_len_and_iteration_see_the_keys_with_a_value(index: str) -> None:
    cache, _ = make(index)
    assert len(cache) == 0 and list(cache) == []
    cache.fetch_many(range(50))
    for key in range(0, 50, 2):
        cache.invalidate(key)
    assert len(cache) == 25
    assert sorted(cache) == list(range(1, 50, 2))
    assert_valid(cache)


def test_iteration_is_over_a_snapshot(index: str) -> None:
    cache, _ = make(index)
    cache.fetch_many([*"abc"])
    iterator = iter(cache)
    seen = [next(iterator)]
    cache.clear()
    cache["d"]
    assert sorted(seen + list(iterator)) == ["a", "b", "c"]
    assert list(cache) == ["d"]
    assert_valid(cache)


def make(index: str) -> tuple[AtomicCache[Any, Any], Fill]:
    fill = Fill()
    return AtomicCache(fill, index=index), fill
