"""What refresh, invalidate and clear promise one thread, over both indexes; also while a fill runs."""

from __future__ import annotations

from typing import Any

import pytest

from areole import AtomicCache, RecursiveFillError

from ..kit import Fill, assert_valid, every_index

pytestmark = every_index


def test_refresh_fills_anew_and_replaces(index: str) -> None:
    cache, _ = make(index)
    cache["a"]
    assert cache.refresh("a") == ("a", 2)
    assert cache["a"] == cache.get("a") == ("a", 2)
    assert len(cache) == 1
    assert_valid(cache)


def test_refresh_of_an_absent_key_fills_it(index: str) -> None:
    cache, fill = make(index)
    assert cache.refresh("a") == ("a", 1)
    assert cache["a"] == ("a", 1)
    assert fill.keys == ["a"]
    assert_valid(cache)


def test_the_old_value_is_there_while_a_refresh_runs(index: str) -> None:
    seen: list[Any] = []

    def fill(key: str) -> int:
        if key in cache:
            seen.extend([cache[key], cache.get(key), cache.peek(key), len(cache), list(cache)])
        return len(seen)

    cache = AtomicCache(fill, index=index)
    assert cache["a"] == 0
    assert cache.refresh("a") == 5
    assert seen == [0, 0, 0, 1, ["a"]]
    assert cache["a"] == 5
    assert_valid(cache)


@pytest.mark.parametrize("error", [ValueError(), KeyboardInterrupt()])
def test_a_refresh_that_raises_keeps_the_old_value(index: str, error: BaseException) -> None:
    cache, fill = make(index)
    cache["a"]
    fill.error = error
    with pytest.raises(type(error)) as caught:
        cache.refresh("a")
    assert caught.value is error
    assert cache["a"] == ("a", 1)
    assert_valid(cache)
    fill.error = None
    assert cache.refresh("a") == ("a", 3), "the failed refresh stands in the way of the next one"
    assert_valid(cache)


def test_a_refresh_of_an_absent_key_that_raises_leaves_nothing(index: str) -> None:
    cache, fill = make(index)
    fill.error = ValueError()
    with pytest.raises(ValueError):
        cache.refresh("a")
    assert "a" not in cache
    assert_valid(cache)


def test_invalidate_says_whether_there_was_a_value(index: str) -> None:
    cache, _ = make(index)
    assert cache.invalidate("a") is False
    cache["a"]
    assert cache.invalidate("a") is True
    assert cache.invalidate("a") is False
    assert cache["a"] == ("a", 2)
    assert_valid(cache)


def test_invalidate_and_clear_tell_equal_hashes_apart(index: str) -> None:
    cache, _ = make(index)
    cache.fetch_many([-1, -2])  # hash(-1) == hash(-2)
    assert cache.invalidate(-1) is True
    assert -2 in cache and -1 not in cache
    assert_valid(cache)


@pytest.mark.parametrize("act", ["invalidate", "clear"])
def test_a_value_whose_fill_was_detached_is_returned_and_not_stored(index: str, act: str) -> None:
    answers: list[Any] = []

    def fill(key: str) -> int:
        if not answers:
            answers.append(cache.invalidate(key) if act == "invalidate" else cache.clear())
        return len(answers)

    cache = AtomicCache(fill, index=index)
    assert cache["a"] == 1
    assert answers == [True if act == "invalidate" else None], "a flight counts as something that was there"
    assert "a" not in cache
    assert_valid(cache)
    assert cache["a"] == 1 and "a" in cache
    assert_valid(cache)


@pytest.mark.parametrize("act", ["invalidate", "clear"])
def test_a_refresh_that_was_detached_is_returned_and_not_stored(index: str, act: str) -> None:
    is_refresh = False

    def fill(key: str) -> str:
        if is_refresh:
            cache.invalidate(key) if act == "invalidate" else cache.clear()
        return "new" if is_refresh else "old"

    cache = AtomicCache(fill, index=index)
    cache["a"]
    is_refresh = True
    assert cache.refresh("a") == "new"
    assert "a" not in cache
    assert_valid(cache)


def test_a_fill_may_fill_its_key_again_after_invalidating_it(index: str) -> None:
    """The newer fill owns the key: the older one finishes later, and touches nothing (invariant 9)."""
    depth: list[int] = []

    def fill(key: str) -> str:
        depth.append(len(depth))
        if len(depth) > 1:
            return "newer"
        cache.invalidate(key)
        assert cache[key] == "newer"
        return "older"

    cache = AtomicCache(fill, index=index)
    assert cache["a"] == "older"
    assert cache["a"] == "newer"
    assert_valid(cache)


def test_clear_removes_everything(index: str) -> None:
    cache, fill = make(index)
    cache.fetch_many([*"abc"])
    assert cache.clear() is None  # type: ignore[func-returns-value]
    assert len(cache) == 0 and list(cache) == [] and "a" not in cache
    assert cache["a"] == ("a", 2)
    cache.clear()
    cache.clear()
    assert fill.keys == ["a", "b", "c", "a"]
    assert_valid(cache)


def test_a_fill_that_refreshes_its_own_key_is_an_error_not_a_hang(index: str) -> None:
    def fill(key: str) -> Any:
        return cache.refresh(key)

    cache = AtomicCache[str, Any](fill, index=index)
    for use in (cache.fetch, cache.refresh):
        with pytest.raises(RecursiveFillError):
            use("a")
        assert_valid(cache)


def make(index: str) -> tuple[AtomicCache[Any, Any], Fill]:
    fill = Fill()
    return AtomicCache(fill, index=index), fill
