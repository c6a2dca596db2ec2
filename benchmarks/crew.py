"""Crew: threads that wait for work, and start on it together."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, Self

__all__ = ["Crew"]

Work = Callable[[int], Any]


class Crew:
    """`size` threads that stay for the whole run: what one of them made before, it uses again.

    On free-threaded builds an object belongs to the thread that made it, which alone counts references to it cheaply:
    so each thread makes its own keys, and fills its own blocks.

    Each thread stays on one CPU where the system allows to say so: else two that wake each other up often begin on the
    same one, and run there in turn for longer than a burst takes.
    """

    def __init__(self, size: int) -> None:
        self._work: list[SimpleQueue[Any]] = [SimpleQueue() for _ in range(size)]
        self._done: SimpleQueue[Any] = SimpleQueue()
        self._threads = [threading.Thread(target=self._serve, args=(i,), daemon=True) for i in range(size)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        for queue in self._work:
            queue.put(None)
        for thread in self._threads:
            thread.join()

    def run(self, threads: int, work: Work) -> list[Any]:
        """Call `work(i)` in each of the first `threads` threads, behind a barrier; return the results in order."""
        barrier = threading.Barrier(threads)
        for queue in self._work[:threads]:
            queue.put((barrier, work))
        done = dict(self._done.get() for _ in range(threads))
        for outcome in done.values():
            if isinstance(outcome, BaseException):
                raise outcome
        return [done[i] for i in range(threads)]

    def time(self, threads: int, work: Work) -> float:
        """The same, but return the seconds from the first thread's start to the last one's end.

        The clock is read in the threads, at both ends. The longest thread's own time would not do: with a GIL a thread
        may be through before the next one has come to its start, and two threads would seem twice as fast as one.
        """

        def timed(i: int) -> tuple[float, float]:
            start = time.perf_counter()
            work(i)
            return start, time.perf_counter()

        times: list[tuple[float, float]] = self.run(threads, timed)
        return max(end for _, end in times) - min(start for start, _ in times)

    def _serve(self, i: int) -> None:
        _stay_on_cpu(i)
        while (order := self._work[i].get()) is not None:
            self._done.put((i, self._outcome(i, *order)))

    def _outcome(self, i: int, barrier: threading.Barrier, work: Work) -> Any:
        barrier.wait()
        try:
            return work(i)
        except BaseException as error:
            return error


def _stay_on_cpu(i: int) -> None:
    if hasattr(os, "sched_setaffinity"):  # on Linux 0 means the calling thread
        cpus = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {cpus[i % len(cpus)]})
