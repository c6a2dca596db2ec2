"""Waiting for oneself is an error, and not a hang: invariant 5.

Known faults: a fill that asks for its own key deadlocks (cachetools condition=, theine, cereggii, moka-py, cachebox
lock=True, all measured); A fills B while B fills A, and both hang (cereggii, measured).
"""

from __future__ import annotations

import itertools
import random
import threading
from collections.abc import Callable
from typing import Any

import pytest

from areole import AtomicCache, FillDeadlockError, FillTimeout, RecursiveFillError, Resilience
from areole._core.flight import Flight
from areole._core.wait_graph import Participant, Wait, begin_wait, current_participant, end_wait

from ..kit import PATIENCE, Gate, assert_valid, every_index, make_store, run_threads, start_threads

# ---- one thread


@every_index
def test_a_fill_that_asks_for_its_own_key_raises_and_stores_nothing(index: str) -> None:
    cache: AtomicCache[str, Any] = AtomicCache(lambda key: cache[key], name="loop", index=index)
    with pytest.raises(RecursiveFillError, match=r"of type str: its fill.*same key"):
        cache["secret"]
    assert "secret" not in cache
    assert_valid(cache)


@every_index
def test_the_message_does_not_give_the_key_away(index: str) -> None:
    cache: AtomicCache[str, Any] = AtomicCache(lambda key: cache[key], index=index)
    with pytest.raises(RecursiveFillError) as caught:
        cache["secret"]
    assert "secret" not in str(caught.value)
    assert_valid(cache)


@every_index
def test_a_fill_may_catch_the_error_and_return_a_value(index: str) -> None:
    def fill(key: str) -> str:
        with pytest.raises(RecursiveFillError):
            cache[key]
        return "value"

    cache = AtomicCache(fill, index=index)
    assert cache["key"] == "value"
    assert cache["key"] == "value"
    assert_valid(cache)


@every_index
def test_a_longer_way_back_to_the_own_key_raises_too(index: str) -> None:
    cache: AtomicCache[int, Any] = AtomicCache(lambda key: cache[(key + 1) % 5], index=index)
    with pytest.raises(RecursiveFillError):
        cache[0]
    assert len(cache) == 0
    assert_valid(cache)


@every_index
def test_a_refresh_within_the_fill_of_its_key_raises(index: str) -> None:
    cache: AtomicCache[str, Any] = AtomicCache(lambda key: cache.refresh(key), index=index)
    with pytest.raises(RecursiveFillError):
        cache["key"]
    with pytest.raises(RecursiveFillError):
        cache.refresh("key")
    assert_valid(cache)


@every_index
def test_a_refresh_whose_fill_asks_for_the_key_reads_the_old_value(index: str) -> None:
    """Readers get the old value while a refresh runs, and its own fill is such a reader."""
    cache: AtomicCache[str, Any] = AtomicCache(lambda key: (*cache.get(key, ()), len(cache)), index=index)
    assert cache["key"] == (0,)
    assert cache.refresh("key") == (0, 1)
    assert_valid(cache)


@every_index
def test_a_refresh_within_a_refresh_of_the_same_key_raises_and_keeps_the_old_value(index: str) -> None:
    depth = itertools.count()

    def fill(key: str) -> Any:
        return "old" if next(depth) == 0 else cache.refresh(key)

    cache = AtomicCache(fill, index=index)
    assert cache["key"] == "old"
    with pytest.raises(RecursiveFillError):
        cache.refresh("key")
    assert cache["key"] == "old"
    assert_valid(cache)


@every_index
def test_a_memoized_function_that_calls_itself_with_its_own_arguments_raises(index: str) -> None:
    """Known fault: theine and cereggii hang on it."""

    @AtomicCache.memoize(index=index)
    def loop(a: int, b: int = 2) -> Any:
        return loop(b=b, a=a)

    with pytest.raises(RecursiveFillError):
        loop(1)
    assert loop.cache_info().currsize == 0
    assert_valid(loop.cache)


def test_a_memoized_method_that_calls_itself_with_its_own_arguments_raises() -> None:
    class Owner:
        @AtomicCache.memoize
        def loop(self, a: int) -> Any:
            return self.loop(a)

    owner = Owner()
    with pytest.raises(RecursiveFillError):
        owner.loop(1)
    assert_valid(owner.loop.cache)


def test_a_ttl_callable_that_asks_for_the_key_raises() -> None:
    """It runs before the value can be seen by anybody, so it waits for its own thread."""
    cache: AtomicCache[str, str] = AtomicCache(lambda key: "value", ttl=lambda key, value: len(cache[key]))
    with pytest.raises(RecursiveFillError):
        cache["key"]
    assert "key" not in cache
    assert_valid(cache)


@every_index
def test_a_listener_that_asks_for_the_key_being_filled_is_told_and_the_fill_goes_on(
    index: str, caplog: pytest.LogCaptureFixture
) -> None:
    """What a listener raises is logged and swallowed, RecursiveFillError too."""

    def fill(key: str) -> str:
        if key == "asks":
            cache.invalidate("there")
        return key

    cache = AtomicCache(fill, on_removal=lambda key, value, cause: cache["asks"], index=index)
    assert cache["there"] == "there"
    assert cache["asks"] == "asks"
    assert "RecursiveFillError" in caplog.text
    assert_valid(cache)


@every_index
def test_a_loop_over_two_caches_raises(index: str) -> None:
    first: AtomicCache[str, Any] = AtomicCache(lambda key: second[key], index=index)
    second: AtomicCache[str, Any] = AtomicCache(lambda key: first[key], index=index)
    with pytest.raises(RecursiveFillError):
        first["key"]
    assert_valid(first)
    assert_valid(second)


def test_caches_of_both_kinds_in_one_loop_are_seen() -> None:
    first: AtomicCache[str, Any] = AtomicCache(lambda key: second[key], index="dict")
    second: AtomicCache[str, Any] = AtomicCache(lambda key: first[key], index="atomic")
    with pytest.raises(RecursiveFillError):
        second["key"]
    assert_valid(first)
    assert_valid(second)


@every_index
def test_the_key_works_once_the_loop_is_gone(index: str) -> None:
    """Nothing of the failed attempt is left behind (invariants 4 and 8)."""
    loops = iter([True])
    cache: AtomicCache[str, Any] = AtomicCache(lambda key: cache[key] if next(loops, False) else "value", index=index)
    with pytest.raises(RecursiveFillError):
        cache["key"]
    assert cache["key"] == "value"
    assert_valid(cache)


# ---- several threads


def make_ring(size: int, caches: int, index: str) -> tuple[Callable[[int], Any], list[Any], list[Any]]:
    """Each key's fill waits until all of the ring run, and asks for the next key.

    Returns how to ask for a key, the caches, and the list of the errors to come.
    """
    together = threading.Barrier(size)
    errors: list[FillDeadlockError] = []

    def fill(key: int) -> Any:
        together.wait(PATIENCE)
        following = (key + 1) % size
        try:
            return key, owners[following][following]
        except FillDeadlockError as error:
            errors.append(error)
            return key, "deadlock"

    made: list[AtomicCache[int, Any]] = [AtomicCache(fill, index=index) for _ in range(caches)]
    owners = [made[key % caches] for key in range(size)]
    return (lambda key: owners[key][key]), made, errors


@every_index
@pytest.mark.parametrize(("size", "caches"), [(2, 1), (2, 2), (3, 1), (3, 3), (5, 2)])
def test_a_ring_of_fills_raises_in_exactly_one_and_the_others_end(size: int, caches: int, index: str) -> None:
    """Known fault: A fills B while B fills A, and both hang (cereggii, measured). Also over several caches and threads.

    1. T1 leads A         3. T1 waits for B's leader
    2. T2 leads B         4. T2 waits for A's leader, for ever

    Allowed: whichever thread closes the ring gets the one FillDeadlockError; no thread hangs.
    """
    ask, made, errors = make_ring(size, caches, index)
    results = run_threads(*[lambda key=key: ask(key) for key in range(size)])
    assert len(errors) == 1
    assert [result[0] for result in results] == list(range(size))
    assert sum(str(result).count("deadlock") for result in results) == size  # it is in all of them, by nesting
    for cache in made:
        assert_valid(cache)


@every_index
def test_an_uncaught_deadlock_error_reaches_all_that_wait_and_stores_nothing(index: str) -> None:
    together = threading.Barrier(2)

    def fill(key: int) -> Any:
        together.wait(PATIENCE)
        return cache[1 - key]

    cache: AtomicCache[int, Any] = AtomicCache(fill, name="ring", index=index)
    results = run_threads(lambda: cache[0], lambda: cache[1])
    assert [type(result) for result in results] == [FillDeadlockError] * 2
    assert "ring" in str(results[0])
    assert "int" in str(results[0])
    assert len(cache) == 0
    assert_valid(cache)


@every_index
def test_two_refreshes_that_need_each_other_end(index: str) -> None:
    """A refresh is a flight like any other, and waiting for one counts."""
    together = threading.Barrier(2)
    refreshing = False

    def fill(key: int) -> Any:
        if not refreshing:
            return "old"
        together.wait(PATIENCE)
        return cache.refresh(1 - key)

    cache: AtomicCache[int, Any] = AtomicCache(fill, index=index)
    cache.fetch_many([0, 1])
    refreshing = True
    results = run_threads(lambda: cache.refresh(0), lambda: cache.refresh(1))
    assert [type(result) for result in results] == [FillDeadlockError] * 2
    assert cache.get_many([0, 1]) == {0: "old", 1: "old"}
    assert_valid(cache)


@every_index
def test_a_diamond_is_no_deadlock(index: str) -> None:
    """top -> left, right -> bottom: two threads meet at the bottom, and nobody's wait leads back to him."""
    gate = Gate()

    def fill(key: str) -> Any:
        if key == "bottom":
            gate.enter()
            return 1
        return sum(cache[each] for each in {"top": ("left", "right")}.get(key, ("bottom",)))

    cache: AtomicCache[str, int] = AtomicCache(fill, index=index)
    join = start_threads(lambda: cache["top"], lambda: cache["right"], lambda: cache["left"])
    gate.wait_until_entered()
    gate.open()
    assert join() == [2, 1, 1]
    assert cache.cache_info().fills == 4
    assert_valid(cache)


@every_index
@pytest.mark.parametrize("seed", range(12))
def test_keys_without_a_loop_between_them_never_raise_whatever_the_order(seed: int, index: str) -> None:
    """No false alarm: fills that ask for smaller keys only, in random order, asked for by four threads."""
    choose = random.Random(seed)
    needs = {key: choose.sample(range(key), min(key, 3)) for key in range(30)}
    expected: dict[int, int] = {}
    for key in range(30):
        expected[key] = 1 + sum(expected[each] for each in needs[key])
    orders = [choose.sample(range(30), 30) for _ in range(4)]
    cache: AtomicCache[int, int] = AtomicCache(lambda key: 1 + sum(cache[each] for each in needs[key]), index=index)
    results = run_threads(*[lambda order=order: cache.fetch_many(order) for order in orders])
    assert all(result == expected for result in results), results
    assert cache.cache_info().fills == 30
    assert_valid(cache)


@every_index
def test_a_thread_that_waits_for_a_leader_who_fills_something_else_is_no_deadlock(index: str) -> None:
    """A waits for B's fill of b, while B asks for what A had filled before: no edge is left from the old wait."""
    gate = Gate()

    def fill(key: str) -> str:
        if key == "b":
            gate.enter()
            return cache["a"] + "b"
        return key

    cache = AtomicCache(fill, index=index)
    join = start_threads(lambda: cache["b"])
    gate.wait_until_entered()
    assert cache["a"] == "a"
    join_waiter = start_threads(lambda: cache["b"])
    gate.open()
    assert [*join(), *join_waiter()] == ["ab", "ab"]
    assert_valid(cache)


# ---- what cannot be seen


@every_index
def test_a_wait_timeout_ends_a_wait_for_a_fill_that_needs_a_lock_of_the_one_that_waits(index: str) -> None:
    """1. A takes a lock of its own, and waits for what B fills     2. B's fill waits for that lock, which A has."""
    lock, gate = threading.Lock(), Gate()

    def fill(key: str) -> str:
        gate.enter()
        with lock:
            return key

    cache = AtomicCache(fill, wait_timeout=0.05, index=index)
    join = start_threads(lambda: cache["key"])
    gate.wait_until_entered()
    with lock:
        gate.open()
        with pytest.raises(FillTimeout):
            cache["key"]
    assert join() == ["key"]
    assert cache["key"] == "key"
    assert_valid(cache)


@every_index
def test_a_wait_timeout_ends_the_wait_of_a_thread_that_was_given_its_fills_own_key(index: str) -> None:
    def fill(key: str) -> Any:
        return [type(each) for each in run_threads(lambda: cache[key])]

    cache: AtomicCache[str, Any] = AtomicCache(fill, wait_timeout=0.05, index=index)
    assert cache["key"] == [FillTimeout]
    assert_valid(cache)


@pytest.mark.parametrize("is_settled", [False, True])
def test_a_fill_that_has_settled_is_no_part_of_a_cycle_though_its_leader_waits_again(is_settled: bool) -> None:
    """Found by the scenario `recursion`: FillDeadlockError without a cycle, in 1 of 10 runs.

    1. A fills x, and finds that B fills y    2. B settles y, and asks for x    3. A begins to wait for y
    """
    me, other = current_participant(), Participant()
    left = [*me.waits], [*me.awaited_by]  # by waits of earlier tests that were interrupted: they lead nowhere
    x, y = Flight("x"), Flight("y")
    y.leader = other
    if is_settled:
        y.value = "there"
    for_x, for_y = Wait(x, other, None), Wait(y, me, None)
    assert begin_wait(for_x, x)
    assert begin_wait(for_y, y) is is_settled
    end_wait(for_y, y)
    end_wait(for_x, x)
    assert ([*me.waits], [*me.awaited_by]) == left and not other.waits and not other.awaited_by


class Meddling:
    """A key whose `__hash__` calls a function, once, when it has been called so many times."""

    def __init__(self, call: Any) -> None:
        self._call = call
        self._calls_left = 0

    def call_at(self, nth: int) -> None:
        self._calls_left = nth

    def __hash__(self) -> int:
        self._calls_left -= 1
        if self._calls_left == 0:
            self._call()
        return 7


@pytest.mark.parametrize("resilience", [None, Resilience(hard_timeout=PATIENCE)], ids=["plain", "timeout"])
def test_a_key_that_asks_another_cache_under_the_lock_of_its_own_is_not_left_waiting(
    resilience: Resilience | None,
) -> None:
    """1. A fills a key of one cache                3. A's fill uses the other cache, and waits for that lock
    2. B, under the lock of another, asks for it    -- and B waits for A.
    """
    gate, found = Gate(), []

    def fill(key: str) -> str:
        gate.enter()
        storage.set("other", "value")
        return key

    def ask() -> None:
        try:
            found.append(cache["a"])
        except FillDeadlockError as error:
            found.append(error)
        gate.open()

    cache = AtomicCache[str, str](fill, resilience=resilience)
    storage, key = make_store(max_items=10), Meddling(ask)
    join = start_threads(lambda: cache["a"])
    gate.wait_until_entered()
    key.call_at(2)  # hashed; looked up, under the lock
    join_second = start_threads(lambda: storage.set(key, "value"))
    assert join_second() == [True] and join() == ["a"]
    assert isinstance(found[0], FillDeadlockError)
    assert len(storage) == 2
    assert_valid(storage)
    assert_valid(cache)
