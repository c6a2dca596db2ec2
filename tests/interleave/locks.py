"""Locks that tell the scheduler when they would block; areole has these for as long as `seen_locks` says."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from stress.replaced_locks import replaced_locks

__all__ = ["Held", "SeenLock", "current_run", "observing", "seen_locks"]

_local = threading.local()


class Held(Exception):
    """Raised in an invariant that needs a lock which a thread holds at the moment: it cannot be checked here."""


class _Observer:
    """Stands for the run of the caller that looks at a cache between two steps."""


def current_run() -> Any:
    """Return what this thread's scheduler put there: its `block`, `unblock` and `point`. None without one."""
    run = getattr(_local, "run", None)
    return None if run is _Observer else run


def set_current_run(run: Any) -> None:
    _local.run = run


@contextmanager
def observing() -> Iterator[None]:
    """Neither stop at points nor block in here."""
    run, _local.run = getattr(_local, "run", None), _Observer
    try:
        yield
    finally:
        _local.run = run


class SeenLock:
    """A lock that tells the scheduler when it would block, and is a plain one for all other threads."""

    def __init__(self, lock: Any) -> None:
        self._lock = lock
        self._depth = 0  # written by the holder

    @property
    def is_free(self) -> bool:
        return self._depth == 0

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        run = getattr(_local, "run", None)
        if run is None or not blocking:
            got: bool = self._lock.acquire(blocking, timeout)
        elif run is _Observer:
            if not (got := self._lock.acquire(blocking=False)):
                raise Held
        else:
            got = self._acquire_in_turn(run, timeout)
        self._depth += got
        return got

    def _acquire_in_turn(self, run: Any, timeout: float) -> bool:
        """A wait with a limit ends without the lock where it would otherwise be for ever, and nowhere else."""
        run.point()
        while not self._lock.acquire(blocking=False):
            if not run.block(self, may_give_up=timeout >= 0):
                return False
        return True

    def release(self) -> None:
        self._depth -= 1
        self._lock.release()
        run = current_run()
        if run is not None and self.is_free:
            run.unblock(self)
            run.point()  # else what is done after the lock was released, and should have been before, shows nowhere

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(self, *of_exception: object) -> None:
        self.release()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._lock, name)


def seen_locks() -> AbstractContextManager[None]:
    """Give areole's modules a `threading` that makes seen locks, and seen ones in the place of those they have made."""
    return replaced_locks(SeenLock)
