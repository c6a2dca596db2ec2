"""`areole.testing`: a clock that any thread may move, and a check that finds what is wrong, each damage by its name."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from areole import AtomicCache, Storage
from areole._core.entry import UNPUBLISHED, Empty
from areole._core.flight import Flight
from areole.testing import ManualClock, assert_valid

from ..kit import every_policy, make_store, run_threads

# ---- the clock


def test_a_clock_stands_still_until_it_is_moved() -> None:
    clock = ManualClock(5.0)
    assert clock() == clock() == 5.0
    assert clock.advance(2) == clock() == 7.0
    assert clock.advance(timedelta(milliseconds=500)) == clock() == 7.5
    assert clock.advance(-0.5) == clock() == 7.0


@pytest.mark.parametrize("value", ["x", None, True, float("nan")], ids=repr)
def test_what_is_no_number_of_seconds_is_refused_and_moves_nothing(value: Any) -> None:
    error = ValueError if isinstance(value, float) else TypeError
    with pytest.raises(error, match=r"ManualClock: now must be .*seconds"):
        ManualClock(value)
    clock = ManualClock(timedelta(seconds=5))
    with pytest.raises(error, match=r"advance: by must be .*seconds"):
        clock.advance(value)
    assert clock() == 5


def test_no_move_is_lost_when_four_threads_move_it_and_each_gets_a_reading_of_its_own() -> None:
    """1. A reads 0    2. B reads 0    3. both write 1: a move is lost."""
    clock = ManualClock()
    readings = run_threads(*[lambda: [clock.advance(1) for _ in range(5000)]] * 4)
    assert clock() == 20_000
    assert sorted(sum(readings, [])) == list(range(1, 20_001))  # noqa: RUF017


def test_a_reader_sees_readings_that_never_go_back_while_others_move_it_on() -> None:
    clock, stop = ManualClock(), threading.Event()

    def read() -> bool:
        last = clock()
        while not stop.is_set():
            now = clock()
            if now < last:
                return False
            last = now
        return True

    def move() -> None:
        for _ in range(5000):
            clock.advance(1)
        stop.set()

    assert run_threads(read, read, move)[:2] == [True, True]


def test_what_one_thread_moves_expires_for_all() -> None:
    clock = ManualClock()
    store = make_store(clock=clock)
    store.set("a", 1, ttl=10)
    run_threads(lambda: clock.advance(10))
    assert run_threads(*[lambda: "a" in store] * 2) == [False, False]


# ---- planted damage


def full_store(policy: str) -> Storage[Any]:
    store = make_store(policy, max_items=10, size_limit_in_bytes=10_000, clock=ManualClock())
    store.set_many({"a": b"1", "b": b"2"}, ttl=5)
    store.set_many({"c": b"3", "d": b"4"})
    assert_valid(store)
    return store


def a_weight_off_by_one(index: Any) -> None:
    index.entries["a"].weight += 1


def a_sum_off_by_one(index: Any) -> None:
    index._weight += 1


def a_count_off_by_one(index: Any) -> None:
    index.items += 1


def an_entry_filed_nowhere(index: Any) -> None:
    index._deadlines.cancel(index.entries["a"])


def an_entry_gone_from_the_dict_alone(index: Any) -> None:
    del index.entries["c"]


def an_entry_not_in_the_books(index: Any) -> None:
    entry = index.entry_type("x")
    entry.value, entry.deadline = b"x", None
    index.entries["x"] = entry


def a_policy_that_holds_a_stranger(index: Any) -> None:
    stranger = index.entry_type("x")
    stranger.hash = hash("x")
    index.policy.add(stranger)


def a_policy_that_has_lost_one(index: Any) -> None:
    index.policy.remove(index.entries["a"])


def a_policy_with_a_stranger_in_the_place_of_one(index: Any) -> None:
    a_policy_that_has_lost_one(index)
    a_policy_that_holds_a_stranger(index)


def a_flight_left(index: Any) -> None:
    index.entries["x"] = Flight("x", index.entry_type).entry


def a_flight_left_on_a_value(index: Any) -> None:
    index.entries["a"].flight = Flight("a", index.entry_type)


def a_value_that_was_never_published(index: Any) -> None:
    index.entries["a"].deadline = UNPUBLISHED


def an_entry_emptied(index: Any) -> None:
    index.entries["a"].value = Empty


def an_entry_under_another_key(index: Any) -> None:
    index.entries["y"] = index.entries.pop("a")


def a_negative_weight(index: Any) -> None:
    entry = index.entries["a"]
    index._weight -= entry.weight + 1
    entry.weight = -1


def a_limit_exceeded(index: Any) -> None:
    index.max_items = 3


def a_weight_limit_exceeded(index: Any) -> None:
    index.max_weight = 1000


DAMAGES: list[tuple[Callable[[Any], None], str]] = [
    (a_weight_off_by_one, "weights do not add up"),
    (a_sum_off_by_one, "weights do not add up"),
    (a_count_off_by_one, "5 items are counted, and 4 are there"),
    (an_entry_filed_nowhere, "would never be swept"),
    (an_entry_gone_from_the_dict_alone, "4 items are counted, and 3 are there"),
    (an_entry_not_in_the_books, "not accounted for"),
    (a_policy_that_holds_a_stranger, "the policy holds others"),
    (a_policy_that_has_lost_one, "the policy holds others"),
    (a_policy_with_a_stranger_in_the_place_of_one, "the policy holds others"),
    (a_flight_left, "a flight is left"),
    (a_flight_left_on_a_value, "a flight is left"),
    (a_value_that_was_never_published, "not published"),
    (an_entry_emptied, "neither a value nor a flight"),
    (an_entry_under_another_key, "cannot be found by its key"),
    (a_negative_weight, "a weight is negative"),
    (a_limit_exceeded, "more items than may be"),
    (a_weight_limit_exceeded, "weigh more than they may"),
]


@every_policy
@pytest.mark.parametrize(("damage", "words"), DAMAGES, ids=[damage.__name__ for damage, _ in DAMAGES])
def test_each_damage_is_found_and_named(damage: Any, words: str, policy: str) -> None:
    store = full_store(policy)
    damage(store._state.index)
    with pytest.raises(AssertionError, match=words):
        assert_valid(store)


@pytest.mark.parametrize("index", ["dict", "atomic"])
def test_a_flight_left_in_a_read_through_cache_is_found(index: str) -> None:
    cache: AtomicCache[str, str] = AtomicCache(str.upper, index=index)
    cache["a"]
    assert_valid(cache)
    cache._state.index.insert_if_absent(Flight("b").entry)
    with pytest.raises(AssertionError, match="a flight is left"):
        assert_valid(cache)


@pytest.mark.parametrize("thing", [AtomicCache.memoize(str.upper), {}, None], ids=["memoized", "dict", "None"])
def test_assert_valid_takes_caches_alone(thing: Any) -> None:
    with pytest.raises(TypeError, match=r"takes a cache, such as a memoized function's \.cache, not"):
        assert_valid(thing)


def test_a_negative_counter_is_found() -> None:
    cache: AtomicCache[str, str] = AtomicCache(str.upper)
    cache._state.counters.misses.decrement_and_get()
    with pytest.raises(AssertionError, match="misses=-1"):
        assert_valid(cache)
