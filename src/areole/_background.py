"""The threads in which fills run that nobody, or not everybody, waits for: one small pool for the process.

    submit(task)   sooner or later, in one of at most MOST_THREADS threads that do this: background fills
    run(task)      now, in a thread of its own: fills that somebody waits for, with a timeout

Both use daemon threads that are started when they are needed and kept for some seconds after. What somebody waits for
is never queued: fills that wait for each other could otherwise take all threads, and wait for one that is still in the
queue. A background fill is nobody's before it begins: it claims its key only then, so a queued one holds nobody up
either.

Told things by a `queue.SimpleQueue`, whose `put` is one step of C code that can be taken anywhere, and by dicts:
`popitem`, `pop` and `d[k] = v` are each one atomic step on both builds.

A queue without a drainer, prevented in `_drain`: it leaves the drainers first, and looks at the queue after that.

    1. a drainer finds the queue empty         3. `submit` sees that there are drainers enough
    2. `submit` puts a task                    4. the drainer leaves, and the task lies there until the next one comes

At interpreter exit no task begins any more; those that run are left, as daemon threads are. After a fork the child
starts with no threads and an empty queue; `generation` tells tasks that were submitted before.
"""

from __future__ import annotations

import atexit
import logging
import os
import queue
import threading
from collections.abc import Callable
from typing import Any, Final, TypeAlias

__all__ = ["Pool", "pool"]

Task: TypeAlias = Callable[[], Any]

_log = logging.getLogger("areole")

MOST_THREADS: Final = 4
"""How many threads run what was submitted."""

MOST_QUEUED: Final = 1000
"""How many tasks may wait: they keep keys, values and arguments alive."""

IDLE_SECONDS = 10.0
"""How long a thread without a task is kept."""


class _Worker:
    """A thread that does one task after another; whoever takes it out of the idle ones gives it the next."""

    def __init__(self, idle: dict[_Worker, None], task: Task) -> None:
        self._idle = idle
        self._task: Task | None = task
        self._wake = threading.Lock()  # held while there is no next task
        self._wake.acquire()

    def start(self) -> None:
        threading.Thread(target=self._work, name="areole-fill", daemon=True).start()

    def give(self, task: Task) -> None:
        self._task = task
        self._wake.release()

    def _work(self) -> None:
        while True:
            task, self._task = self._task, None
            _do(task)
            del task
            self._idle[self] = None
            if not self._wake.acquire(timeout=IDLE_SECONDS):
                if self._idle.pop(self, self) is None:
                    return
                self._wake.acquire()  # it was taken just now, and is about to be given a task


def _do(task: Any) -> None:
    try:
        task()
    except BaseException as error:
        # Neither its message nor its traceback: they may show keys and values.
        _log.warning("a background task of areole raised %s", type(error).__name__)


class Pool:
    """See the module."""

    def __init__(self) -> None:
        self.generation = 0
        self.start_anew()

    def start_anew(self) -> None:
        """Begin without threads and tasks; in the child of a fork, where those of the parent do not exist."""
        self.generation += 1
        self._idle: dict[_Worker, None] = {}
        self._tasks: queue.SimpleQueue[Task] = queue.SimpleQueue()
        self._drainers: set[int] = set()
        self._lock = threading.RLock()  # makes one step of counting the drainers and joining them
        self._is_closed = False

    def close(self) -> None:
        """Begin no task any more."""
        self._is_closed = True

    def submit(self, task: Task) -> bool:
        """Have `task` done in the background; False: not now, there is too much to do, or the interpreter exits."""
        if self._is_closed or self._tasks.qsize() >= MOST_QUEUED:
            return False
        self._tasks.put(task)
        return len(self._drainers) >= MOST_THREADS or self.run(self._drain)

    def run(self, task: Task) -> bool:
        """Do `task` in a thread of its own, beginning now; False: there is no thread to be had."""
        if self._is_closed:
            return False
        try:
            self._idle.popitem()[0].give(task)
        except KeyError:
            try:
                _Worker(self._idle, task).start()
            except RuntimeError:  # there are too many threads, or the interpreter exits
                return False
        return True

    def _drain(self) -> None:
        while self._joins_drainers():
            try:
                while not self._is_closed:
                    _do(self._tasks.get_nowait())
            except queue.Empty:
                pass
            finally:
                self._drainers.discard(threading.get_ident())
            if self._is_closed or self._tasks.empty():
                return

    def _joins_drainers(self) -> bool:
        with self._lock:
            if len(self._drainers) >= MOST_THREADS:
                return False
            self._drainers.add(threading.get_ident())
            return True


pool = Pool()
atexit.register(pool.close)

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=pool.start_anew)
