"""Threads that the main thread can wait for, and that Ctrl-C ends."""

import threading
from collections.abc import Callable, Sequence
from queue import Empty, SimpleQueue
from time import monotonic
from typing import TypeVar

__all__ = ["run_threads"]

T = TypeVar("T")
STOP_TIMEOUT = 5  # seconds that threads have to end after `stop`


def run_threads(
    functions: Sequence[Callable[[], T]],
    timeout: float,
    tick: Callable[[], object] = lambda: None,
    stop: Callable[[], object] = lambda: None,
) -> list[T]:
    """Call each function in a thread, all from the same moment; return the results, in no order, or raise an error.

    `tick` is called while it waits, every 30 ms; `stop` makes functions that still run return.
    """
    all_started = threading.Event()
    outcomes: SimpleQueue[tuple[list[T], BaseException | None]] = SimpleQueue()

    def work(function: Callable[[], T]) -> None:
        all_started.wait()
        try:
            outcomes.put(([function()], None))
        except BaseException as error:
            outcomes.put(([], error))

    threads = [threading.Thread(target=work, args=(function,), name="demo", daemon=True) for function in functions]
    results: list[T] = []
    deadline = monotonic() + timeout
    try:
        for thread in threads:
            thread.start()
        all_started.set()
        while len(results) < len(threads):
            try:  # not `join`: before Python 3.13 an interrupted one takes a running thread for one that has ended
                result, error = outcomes.get(timeout=0.03)
            except Empty:
                tick()
                if monotonic() > deadline:
                    raise TimeoutError(f"a thread still runs after {timeout:g} s: it hangs") from None
                continue
            if error is not None:
                raise error
            results += result
        return results
    finally:
        stop()
        all_started.set()
        deadline = monotonic() + STOP_TIMEOUT
        for thread in filter(threading.Thread.is_alive, threads):
            thread.join(max(0.0, deadline - monotonic()))
