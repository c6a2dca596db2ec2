"""The one background thread of the process: removes expired entries from the stores that asked for it.

It runs while there is such a store. It holds stores weakly: it looks them up when it wakes, and drops them before it
sleeps. It is woken by its `queue.SimpleQueue`, whose `put` is one step of C code (see `locks`) that may be called in a
finalizer and in a signal handler too; a weak reference to each store has that `put` as its callback.

`lock` guards `_runs`, which says that there is a thread that has yet to look for stores, and `_thread`, the latest.
Looking for stores and ending is one step under it, and so is looking for a thread and starting one. Otherwise:

    1. the thread looks: no store              3. the thread ends
    2. a store is added: "there is a thread"   -- and that store is never swept.

Wake-ups that come while the thread is busy wait in the queue, so that it does not sleep through them:

    1. the thread sees one store, due in an hour      2. the store dies; its reference is put into the queue
    3. the thread goes to sleep: the queue is not empty, so it looks again at once, finds no store, and ends.

`_runs` is set before the thread is started: a finalizer that runs meanwhile may add another store. A thread that finds
another in `_thread` ends: its own start was interrupted, or it is the one left after it forked. `_runs` alone does not
say that there is a thread. It has to be alive, or the call that starts it still in progress:

    1. `_runs` is set, and the start is interrupted      2. a second interrupt comes before `_runs` is cleared again.

One listener that hangs delays the sweeps of all stores. Expired entries of the others are then removed on access.

In the child of a fork the thread is started again if there are stores to be swept.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
import weakref
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final, Protocol

from .._platform.fork import after_fork_in_child
from .._platform.locks import Guarded, run_locked
from .._platform.weak import WeakTable
from ..errors import CacheClosedError
from ..typing import Clock

__all__ = ["Sweepable", "Sweeper", "sweeper"]

_log = logging.getLogger("areole")

MOST_PATIENCE: Final = 3600.0
"""Seconds that the thread sleeps at most: a queue's timeout has a limit."""


class Sweepable(Protocol):
    """A store. `_sweep_delay` is in seconds; `_sweep_due` is when it is swept next, by the sweeper's clock."""

    _sweep_delay: float
    _sweep_due: float

    @property
    def name(self) -> str: ...
    def sweep(self) -> int: ...


class _Start:
    """A start of the thread that is in progress; it is gone when the call that starts is over, by an interrupt too."""


def _no_start() -> None:
    """Stands for the weak reference to a start where there was none yet."""


class Sweeper(Guarded):
    """See the module. With a clock of its own, `wake` must be called when that has moved."""

    def __init__(self, clock: Clock = time.monotonic) -> None:
        self._clock = clock
        self._stores: WeakTable[weakref.ref[Any]] = WeakTable()
        super().__init__()
        self._wakeups: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._runs = False
        self._thread: threading.Thread | None = None

        self._start: Callable[[], _Start | None] = _no_start

    @property
    def thread(self) -> threading.Thread | None:
        """The thread, while there is one."""
        return self._thread if self._thread is not None and self._thread.is_alive() else None

    def add(self, store: Sweepable) -> None:
        """Sweep `store` from now on, every `_sweep_delay` seconds, until it is removed or gone."""
        store._sweep_due = self._clock() + store._sweep_delay
        self._file(store)
        run_locked(self.lock, self._start_if_needed)
        self.wake()  # it may be due before whatever the thread waits for

    def remove(self, store: Sweepable, wait: bool = False) -> None:
        """Sweep `store` no more; with `wait`, return only once the thread has ended, if this was the last one."""
        self._stores.discard(store)
        if self._runs:  # else a note would lie there until there is a thread
            self.wake()
        thread = self._thread
        while wait and thread is not None and thread.is_alive() and thread is not threading.current_thread():
            if self._stores.objects():
                return  # another store keeps it
            thread.join(0.05)

    def wake(self) -> None:
        """Have the thread look at what is due."""
        self._wakeups.put(None)

    def restart_in_child(self) -> None:
        """Begin again with the same stores: in the child of a fork."""
        self._wakeups = queue.SimpleQueue()
        self._runs = False
        self._thread = None
        self._start = _no_start
        for store in self._stores.objects():
            self._file(store)  # with a reference that tells the new queue
        run_locked(self.lock, self._start_if_needed)

    def _file(self, store: Any) -> None:
        self._stores.discard(store)
        self._stores.add_if_absent(store, weakref.ref(store, self._wakeups.put))

    def _start_if_needed(self) -> None:
        if not self._stores.records or (self._runs and (self.thread is not None or self._start() is not None)):
            return
        thread, start = None, _Start()
        self._start = weakref.ref(start)
        try:
            thread = threading.Thread(target=self._run, args=(self._wakeups,), name="areole-sweeper", daemon=True)
            self._runs, self._thread = True, thread
            thread.start()
        except BaseException as error:
            if self._thread is thread:
                self._runs, self._thread = False, None
            if not isinstance(error, RuntimeError):
                raise
            _log.info("no thread for sweeps (%s): what has expired leaves as stores are used", error)

    def _run(self, wakeups: queue.SimpleQueue[Any]) -> None:
        while (patience := self._sweep_what_is_due()) is not None:
            with suppress(queue.Empty):
                wakeups.get(timeout=patience)
                while True:  # one look is enough for all that is there
                    wakeups.get_nowait()

    def _sweep_what_is_due(self) -> float | None:
        """Sweep, and return how many seconds to sleep; None, if there is nothing to sweep and the thread is to end."""
        stores = self._look_or_end()
        return min([MOST_PATIENCE, *map(self._sweep_if_due, stores)]) if stores else None

    def _look_or_end(self) -> list[Any]:
        stores: list[Any] = []  # filled under the lock, and released after it
        run_locked(self.lock, self._collect_or_end, stores)
        return stores

    def _collect_or_end(self, stores: list[Any]) -> None:
        if self._thread is threading.current_thread():
            stores += self._stores.objects()
            self._runs = bool(stores)

    def _sweep_if_due(self, store: Sweepable) -> float:
        """Return how many seconds are left until `store` is due again."""
        if self._clock() >= store._sweep_due:
            self._sweep(store)
            store._sweep_due = self._clock() + store._sweep_delay
        return max(0.0, store._sweep_due - self._clock())

    def _sweep(self, store: Sweepable) -> None:
        try:
            store.sweep()
        except CacheClosedError:
            pass  # closed since it was looked up
        except BaseException:  # from a clock or listener of the user's, which must not end the sweeps of all others
            with suppress(Exception):  # from a log handler of the user's
                _log.exception("%s: could not be swept", store.name)


sweeper = Sweeper()
after_fork_in_child("threads", sweeper.restart_in_child)
