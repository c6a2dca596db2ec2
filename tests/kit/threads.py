"""Threads that are started together, stopped at a gate, and waited for."""

from __future__ import annotations

import faulthandler
import threading
from collections.abc import Callable
from typing import Any

import pytest

from areole import AtomicCache

__all__ = [
    "PATIENCE",
    "Gate",
    "run_threads",
    "start_threads",
    "wait_until_settled",
    "wait_until_waiting",
]

PATIENCE = 60
"""Seconds after which a thread counts as stuck. Nothing waits for so long unless the library hangs."""


class Gate:
    """A fill that stops until it is let through: `wait_until_entered` returns once `enter` has been called."""

    def __init__(self) -> None:
        self._entered = threading.Event()
        self._open = threading.Event()

    def enter(self) -> None:
        """Called by the fill."""
        self._entered.set()
        assert self._open.wait(PATIENCE), "the gate was never opened"

    def wait_until_entered(self) -> None:
        assert self._entered.wait(PATIENCE), "nobody came to the gate"

    def open(self) -> None:
        self._open.set()


def run_threads(*functions: Callable[[], Any]) -> list[Any]:
    """Run each function in a thread of its own, all started at once by a barrier; return results, in order.

    An exception is a result too. Fails, with all stacks, if one does not end.
    """
    return start_threads(*functions)()


def start_threads(*functions: Callable[[], Any]) -> Callable[[], list[Any]]:
    """The same, but returns as soon as all have started; the function returned joins them and gives the results."""
    results: list[Any] = [None] * len(functions)
    barrier = threading.Barrier(len(functions) + 1)

    def run(i: int) -> None:
        barrier.wait(PATIENCE)
        try:
            results[i] = functions[i]()
        except BaseException as error:
            results[i] = error

    threads = [threading.Thread(target=run, args=(i,), name=f"worker-{i}", daemon=True) for i in range(len(functions))]
    for thread in threads:
        thread.start()
    barrier.wait(PATIENCE)

    def join() -> list[Any]:
        for thread in threads:
            thread.join(PATIENCE)
        stuck = [thread.name for thread in threads if thread.is_alive()]
        if stuck:
            faulthandler.dump_traceback(all_threads=True)
            pytest.fail(f"still running after {PATIENCE} s: {', '.join(stuck)}")
        return results

    return join


def wait_until_waiting(cache: AtomicCache[Any, Any], count: int) -> None:
    """Return once `count` lookups have joined a flight of this cache, by its counter of waits.

    The counter is raised just before the wait, so that a waiter seen here may still be some bytecodes away from it:
    good enough for what must hold in either order, which is all that a test may assert.
    """
    pause = threading.Event()
    for _ in range(PATIENCE * 1000):
        if cache._state.counters.waits.get() >= count:
            return
        pause.wait(0.001)
    pytest.fail(f"fewer than {count} lookups came to wait")


def wait_until_settled(cache: Any) -> None:
    """Return once no fill of this cache is under way: what it brings can be read a moment before it has settled."""
    pause = threading.Event()
    for _ in range(PATIENCE * 1000):
        flights = [entry.flight for entry in cache._state.index.snapshot()]
        if all(flight is None or flight.is_orphaned for flight in flights):
            return
        pause.wait(0.001)
    pytest.fail("a fill did not end")
