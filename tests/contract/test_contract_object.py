"""A cache as an object, over both indexes: which keys and values it takes, and what it refuses."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest

from areole import AtomicCache, RecursiveFillError

from ..kit import Fill, assert_valid, every_index, unhashable_list

pytestmark = every_index


def test_assignment_says_what_to_use_instead(index: str) -> None:
    cache, _ = make(index)
    with pytest.raises(NotImplementedError, match="refresh"):
        cache["a"] = 1  # type: ignore[assignment]
    assert "a" not in cache
    assert_valid(cache)


@pytest.mark.parametrize("value", [None, False, 0, "", (), ValueError("a value"), KeyError, NotImplemented, ...])
def test_any_object_is_a_value(index: str, value: Any) -> None:
    fills: list[str] = []

    def fill(key: str) -> Any:
        fills.append(key)
        return value

    cache = AtomicCache(fill, index=index)
    missing = object()
    assert cache["a"] is value and cache["a"] is value
    assert cache.get("a", missing) is value and cache.peek("a", missing) is value
    assert cache.get_many(["a"]) == cache.fetch_many(["a"]) == {"a": value}
    assert "a" in cache and len(cache) == 1
    assert fills == ["a"]
    assert cache.refresh("a") is value
    assert cache.invalidate("a") is True
    assert_valid(cache)


@pytest.mark.parametrize(
    "use",
    [
        lambda cache, key: cache[key],
        lambda cache, key: cache.fetch(key),
        lambda cache, key: cache.fetch_many([key]),
        lambda cache, key: cache.get(key),
        lambda cache, key: cache.peek(key),
        lambda cache, key: cache.get_many([key]),
        lambda cache, key: key in cache,
        lambda cache, key: cache.refresh(key),
        lambda cache, key: cache.invalidate(key),
    ],
    ids=["getitem", "fetch", "fetch_many", "get", "peek", "get_many", "in", "refresh", "invalidate"],
)
def test_an_unhashable_key_is_a_type_error_that_names_its_type(index: str, use: Callable[[Any, Any], Any]) -> None:
    cache = AtomicCache[Any, Any](Fill(), index=index, name="users")
    with pytest.raises(TypeError, match=r"users: .*\blist\b.*hashable") as caught:
        use(cache, unhashable_list())
    assert "secret" not in str(caught.value)
    assert_valid(cache)


def test_a_fill_that_asks_for_its_own_key_is_an_error_not_a_hang(index: str) -> None:
    def fill(key: str) -> Any:
        return cache[key]

    cache = AtomicCache[str, Any](fill, index=index, name="users")
    with pytest.raises(RecursiveFillError, match=r"users.*\bstr\b") as caught:
        cache["secret"]
    assert "secret" not in str(caught.value)
    assert_valid(cache)


def test_a_fill_may_use_its_cache_for_other_keys(index: str) -> None:
    def fill(n: int) -> int:
        return n if n < 2 else cache[n - 1] + cache[n - 2]

    cache = AtomicCache[int, int](fill, index=index)
    assert cache[30] == 832040
    assert len(cache) == 31
    assert_valid(cache)


def test_repr_shows_the_name_and_counters_and_no_key_or_value(index: str) -> None:
    cache = AtomicCache(lambda key: "a value", index=index, name="users")
    cache["a key"]
    assert "users" in repr(cache) and "1" in repr(cache)
    assert "a key" not in repr(cache) and "a value" not in repr(cache)
    assert repr(cache) == str(cache)
    assert_valid(cache)


@pytest.mark.parametrize("duplicate", [pickle.dumps, copy.copy, copy.deepcopy])
def test_a_cache_can_be_neither_pickled_nor_copied(index: str, duplicate: Callable[[Any], Any]) -> None:
    cache, _ = make(index)
    with pytest.raises(TypeError, match="pickled or copied"):
        duplicate(cache)
    assert_valid(cache)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_no_pickle_protocol_gets_round_that(index: str, protocol: int) -> None:
    with pytest.raises(TypeError, match="pickled or copied"):
        pickle.dumps({"cache": make(index)[0]}, protocol)


def make(index: str) -> tuple[AtomicCache[Any, Any], Fill]:
    fill = Fill()
    return AtomicCache(fill, index=index), fill
