"""Who asks, as seen by the waits of a process: invariants 5 and 8. Forks are in test_process.py."""

from __future__ import annotations

import gc
import threading
import weakref
from collections.abc import Callable
from typing import Any

from areole import AtomicCache, FillDeadlockError
from areole._core.wait_graph import Participant, current_participant

from ..interleave import Injected, before_each, inject, signal_steps
from ..kit import (
    PATIENCE,
    Gate,
    assert_valid,
    collect,
    every_index,
    run_threads,
    start_threads,
    wait_until_waiting,
)


def test_a_thread_is_one_caller_as_long_as_it_lives() -> None:
    assert current_participant() is current_participant()
    (in_thread,) = run_threads(lambda: (current_participant(), current_participant()))
    assert in_thread[0] is in_thread[1]


def test_threads_are_different_callers_even_where_one_gets_a_dead_ones_number() -> None:
    """A thread's identifier is given to the next thread at once, so it cannot stand for a leader."""
    callers = [run_threads(current_participant)[0] for _ in range(20)]
    assert len({id(caller) for caller in callers}) == 20
    assert current_participant() not in callers


def test_a_caller_of_this_process_is_not_gone() -> None:
    assert not current_participant().is_from_before_fork
    assert not run_threads(current_participant)[0].is_from_before_fork


@every_index
def test_a_thread_that_ended_leaves_no_caller_behind(index: str) -> None:
    """Invariant 8: neither entries nor anybody's waits keep one."""

    def fill(key: int) -> int:
        return key

    cache = AtomicCache(fill, index=index)
    collect()
    before = count_callers()
    for key in range(50):
        run_threads(lambda key=key: cache[key], lambda key=key: cache[key])
    collect()
    assert count_callers() <= before
    assert_valid(cache)


def count_callers() -> int:
    return sum(type(each) is Participant for each in gc.get_objects())


@every_index
def test_a_wait_that_has_ended_keeps_nothing_of_the_flight_alive(index: str) -> None:
    """Invariant 8: the waiter's thread lives on, and its caller no longer names the flight."""

    class Value:
        pass

    def fill(key: str) -> Value:
        wait_until_waiting(cache, 1)
        return Value()

    cache = AtomicCache(fill, index=index)
    done, end = threading.Event(), threading.Event()

    def wait_and_live_on() -> None:
        cache["key"]
        done.set()
        assert end.wait(PATIENCE)

    join = start_threads(wait_and_live_on)
    join_other = start_threads(wait_and_live_on)
    assert done.wait(PATIENCE)
    ref = weakref.ref(cache["key"])
    cache.invalidate("key")
    end.set()
    assert [*join(), *join_other()] == [None, None]
    collect()
    assert ref() is None
    assert_valid(cache)


def test_a_wait_within_a_wait_leaves_the_outer_one_to_be_seen() -> None:
    """Invariant 5: a signal handler, or a finalizer, runs in the midst of a wait, and waits itself.

    1. T leads "t", and waits for "key", which L leads
    2. in the midst of that, T's handler waits for "short", and gets it: T's wait is noted as over
    3. L's fill of "key" asks for "t": nothing seems to stand against it, and T and L wait for each other for ever

    Or, where the handler runs while T holds a lock, that of the graph of waits, say, all others wait for that.
    Allowed: exactly one of T and L gets a FillDeadlockError; and the handler, where it runs under a lock.
    """
    assert before_each(signal_steps, wait_within_wait) > 15


def wait_within_wait(at: int) -> Injected:
    gates = {name: Gate() for name in ("key", "short")}
    errors: list[FillDeadlockError] = []
    refused: list[FillDeadlockError] = []
    injected: list[Injected] = []

    def ask(key: str) -> Any:
        try:
            return cache[key]
        except FillDeadlockError as error:
            errors.append(error)
            return "deadlock"

    def fill(key: str) -> Any:
        if key == "t":
            injected.append(inject(lambda: ask("key"), handle, at))
            return injected[0].result
        gates[key].enter()
        if key == "key":
            ask("t")
        return key

    def handle() -> None:
        gates["short"].open()
        try:
            assert cache["short"] == "short"
        except FillDeadlockError as error:
            assert "a finalizer" in str(error)
            refused.append(error)

    cache: AtomicCache[str, Any] = AtomicCache(fill)
    joins: list[Callable[[], list[Any]]] = []
    for key in gates:
        joins.append(start_threads(lambda key=key: cache[key]))
        gates[key].wait_until_entered()
    joins.append(start_threads(lambda: cache["t"]))
    wait_until_waiting(cache, 1)  # T is about to wait for "key", or its handler for "short"
    gates["key"].open()
    gates["short"].open()
    for join in joins:
        join()
    assert len(errors) == 1, injected
    under_a_lock = ("wait_graph.py", "locks.py", "flight.py", "base.py", "dict.py")  # flight: it notes its waiters
    assert not refused or any(place.startswith(under_a_lock) for place in injected[0].places), injected
    assert_valid(cache)
    return injected[0]
