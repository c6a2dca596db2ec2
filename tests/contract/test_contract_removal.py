"""on_removal: who is told what, when, and that no lock is held meanwhile."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any

import pytest

from areole import AtomicCache, RemovalCause

from ..kit import PATIENCE, Fill, ManualClock, assert_valid, every_index, run_threads

EXPLICIT, REPLACED, EXPIRED = RemovalCause.EXPLICIT, RemovalCause.REPLACED, RemovalCause.EXPIRED


@every_index
def test_invalidate_reports_the_value_as_removed_on_request(index: str) -> None:
    cache, removed = make_listened(index)
    cache["a"]
    cache.invalidate("a")
    cache.invalidate("a")
    assert removed == [("a", ("a", 1), EXPLICIT)]
    assert_valid(cache)


@every_index
def test_clear_reports_every_value(index: str) -> None:
    cache, removed = make_listened(index)
    cache.fetch_many([*"abc"])
    cache.clear()
    cache.clear()
    assert sorted(removed, key=lambda args: args[0]) == [(key, (key, 1), EXPLICIT) for key in "abc"]
    assert_valid(cache)


@every_index
def test_refresh_reports_the_old_value_as_replaced_once_the_new_one_can_be_read(index: str) -> None:
    seen: list[Any] = []

    def on_removal(key: str, value: Any, cause: RemovalCause) -> None:
        seen.append((key, value, cause, cache.peek(key)))

    cache = AtomicCache(Fill(), index=index, on_removal=on_removal)
    cache.refresh("a")
    assert seen == [], "there was no old value"
    cache.refresh("a")
    assert seen == [("a", ("a", 1), REPLACED, ("a", 2))]
    assert_valid(cache)


@every_index
def test_a_removed_value_cannot_be_read_any_more_when_its_removal_is_reported(index: str) -> None:
    seen: list[bool] = []
    cache = AtomicCache(Fill(), index=index, on_removal=lambda key, value, cause: seen.append(key in cache))
    cache["a"]
    cache.invalidate("a")
    assert seen == [False]
    assert_valid(cache)


@every_index
def test_what_never_was_in_the_cache_is_not_reported_as_removed(index: str) -> None:
    """A failed fill, a failed refresh, and a fill that was detached while it ran."""

    def fill(key: str) -> str:
        if key == "detached":
            cache.invalidate(key)
        if key == "failing" or (key == "fails later" and key in cache):
            raise ValueError
        return key

    removed: list[Any] = []
    cache = AtomicCache(fill, index=index, on_removal=lambda *args: removed.append(args))
    cache["detached"]
    cache["fails later"]
    for use, key in [(cache.fetch, "failing"), (cache.refresh, "failing"), (cache.refresh, "fails later")]:
        with pytest.raises(ValueError):
            use(key)
    assert removed == []
    assert_valid(cache)


@pytest.mark.parametrize(
    "come_upon",
    [
        lambda cache: cache["a"],
        lambda cache: cache.get("a"),
        lambda cache: cache.peek("a"),
        lambda cache: "a" in cache,
        lambda cache: cache.invalidate("a"),
        lambda cache: cache.clear(),
    ],
    ids=["getitem", "get", "peek", "in", "invalidate", "clear"],
)
def test_whoever_comes_upon_an_expired_value_reports_it_once(come_upon: Callable[[Any], Any]) -> None:
    clock, removed = ManualClock(), []  # type: ignore[var-annotated]
    cache = AtomicCache(Fill(), 10, clock=clock, on_removal=lambda *args: removed.append(args))
    cache["a"]
    clock.advance(10)
    come_upon(cache)
    cache.get("a")
    assert removed == [("a", ("a", 1), EXPIRED)]
    assert_valid(cache)


@every_index
def test_the_key_reported_is_the_one_that_the_value_was_filled_for(index: str) -> None:
    cache, removed = make_listened(index)
    cache[1]
    cache.refresh(1.0)
    cache.invalidate(True)
    assert [type(key) for key, _, _ in removed] == [int, int]
    assert_valid(cache)


@every_index
@pytest.mark.parametrize(
    "remove",
    [lambda c: c.invalidate("a"), lambda c: c.clear(), lambda c: c.refresh("a")],
    ids=["invalidate", "clear", "refresh"],
)
def test_no_lock_is_held_while_the_listener_runs(index: str, remove: Callable[[Any], Any]) -> None:
    """A thread of its own uses the cache in every way, that key included, and the listener waits for it."""
    outcomes: list[Any] = []
    cache = AtomicCache(Fill(), index=index, on_removal=lambda *args: outcomes.append(use_in_thread(cache, outcomes)))
    cache["a"]
    remove(cache)
    assert outcomes[-1] == [True]
    assert_valid(cache)


def test_no_lock_is_held_while_the_listener_is_told_of_an_expired_value() -> None:
    clock, outcomes = ManualClock(), []  # type: ignore[var-annotated]
    cache = AtomicCache(
        Fill(), 10, clock=clock, on_removal=lambda *args: outcomes.append(use_in_thread(cache, outcomes))
    )
    for come_upon in (cache.fetch, cache.get, cache.invalidate):
        cache["a"]
        clock.advance(10)
        outcomes.clear()
        come_upon("a")
        assert outcomes[-1] == [True]
    assert_valid(cache)


def use_in_thread(cache: AtomicCache[Any, Any], outcomes: list[Any]) -> Any:
    if outcomes:
        return outcomes[-1]  # told of what that other thread did
    outcomes.append("busy")

    def use() -> bool:
        cache["a"], cache["b"]
        cache.refresh("a")
        cache.invalidate("a")
        cache.clear()
        return len(cache) == 0

    return run_threads(use)


@every_index
def test_what_a_listener_raises_is_logged_and_swallowed(index: str, caplog: pytest.LogCaptureFixture) -> None:
    def on_removal(key: str, value: Any, cause: RemovalCause) -> None:
        raise ValueError("from the listener")

    cache = AtomicCache(Fill(), index=index, on_removal=on_removal, name="users")
    cache.fetch_many(["secret key", "another"])
    with caplog.at_level(logging.ERROR, logger="areole"):
        assert cache.refresh("another") == ("another", 2)
        assert cache.invalidate("secret key") is True
        cache.clear()
    assert len(cache) == 0
    assert [record.name for record in caplog.records] == ["areole"] * 3
    assert all("users" in record.getMessage() and record.exc_info for record in caplog.records)
    assert not any("secret" in record.getMessage() for record in caplog.records)
    assert_valid(cache)


def test_a_lookup_goes_on_after_its_listener_raised(caplog: pytest.LogCaptureFixture) -> None:
    clock = ManualClock()
    cache = AtomicCache(Fill(), 10, clock=clock, on_removal=lambda *args: 1 / 0)  # type: ignore[arg-type]
    cache["a"]
    clock.advance(10)
    assert cache["a"] == ("a", 2)
    clock.advance(10)
    assert cache.get("a") is None
    assert len(caplog.records) == 2
    assert_valid(cache)


@every_index
def test_a_listener_may_fill_the_key_again(index: str) -> None:
    cache = AtomicCache(Fill(), index=index, on_removal=lambda key, value, cause: cache[key])
    cache["a"]
    cache.invalidate("a")
    assert cache.peek("a") == ("a", 2)
    assert_valid(cache)


@every_index
def test_a_listener_of_a_memoized_function_gets_the_key_of_the_call(index: str) -> None:
    removed: list[Any] = []

    @AtomicCache.memoize(index=index, on_removal=lambda *args: removed.append(args))
    def add(a: int, b: int = 2) -> int:
        return a + b

    add(1)
    add.invalidate(a=1)
    assert removed == [(add.cache_key(1, 2), 3, EXPLICIT)]
    assert_valid(add.cache)


def make_listened(index: str) -> tuple[AtomicCache[Any, Any], list[Any]]:
    removed: list[Any] = []
    return AtomicCache(Fill(), index=index, on_removal=lambda *args: removed.append(args)), removed


@every_index
def test_what_an_operation_left_unreported_is_reported_once_though_two_threads_look_at_once(index: str) -> None:
    """1. A reads what is unreported     2. B reads it too     3. both report it."""
    cache, removed = make_listened(index)
    table: Any = cache._state.index
    left = [(key, key, EXPLICIT) for key in range(100)]
    table.unreported.extend(left)
    held = [table.unreported]
    looks, meet = threading.local(), threading.Barrier(2)

    class Meeting(type(table)):  # type: ignore[misc]
        __slots__ = ()

        @property
        def unreported(self) -> Any:
            found, looks.count = held[-1], getattr(looks, "count", 0) + 1
            if looks.count == 2:
                meet.wait(PATIENCE)
            return found

        @unreported.setter
        def unreported(self, value: Any) -> None:
            held.append(value)

    table.__class__ = Meeting
    run_threads(*[cache._state.notify_unreported] * 2)
    assert sorted(removed) == left
    table.__class__ = Meeting.__base__
    assert_valid(cache)
