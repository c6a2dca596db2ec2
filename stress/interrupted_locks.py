"""Locks that are interrupted just as they have been taken, in the main thread: what `with` does on CPython 3.14.

An interrupted `acquire()` is one call of C code that takes the lock and has a signal pending when it returns, as a real
signal would have it that comes in the midst of that call. Where the handler runs is for the interpreter to say. An
interrupted `with` raises before its block is protected.
"""

from __future__ import annotations

import _thread
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import repeat
from operator import call
from types import FrameType
from typing import Any, Final

__all__ = ["SIGNAL", "InterruptedLock", "Interruptions"]

SIGNAL: Final = signal.SIGINT

_TAKERS: Final = ("run_locked", "__init__")
"""The functions that take a plain Lock so that it may be interrupted: others take one to wait, with a timeout."""


class Interruptions:
    """Which acquisition by the main thread is to be interrupted, and by what: the n-th after `arm(n)`.

    `handler` is called as the handler of the signal, once.
    """

    def __init__(self) -> None:
        self.locks: list[InterruptedLock] = []
        self.withs: set[str] = set()  # the places where a lock was taken by `with`
        self.place = ""  # where the interrupted one was taken
        self._left = 0  # acquisitions until the one that is interrupted; 0: none is to be
        self._handler: Callable[[], None] | None = None

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Handle the signal for this long; in the main thread."""
        before = signal.signal(SIGNAL, self._handle)
        try:
            yield
        finally:
            signal.signal(SIGNAL, before)

    def arm(self, n: int, handler: Callable[[], None]) -> None:
        self.place = ""
        self._handler = handler
        self._left = n

    def disarm(self) -> bool:
        """Interrupt nothing more; say whether something was."""
        self._left, self._handler = 0, None
        return bool(self.place)

    def comes_now(self, frame: FrameType) -> bool:
        """Count an acquisition in `frame`; say whether it is to be interrupted."""
        if not self._left or threading.current_thread() is not threading.main_thread():
            return False
        self._left -= 1
        if not self._left:
            self.place = _place(frame)
        return not self._left

    def still_held(self) -> list[str]:
        """Say which locks the calling thread holds."""
        return [lock.made_at for lock in self.locks if lock.is_mine()]

    def _handle(self, number: int, frame: object) -> None:
        handler, self._handler = self._handler, None
        if handler is not None:
            handler()


class InterruptedLock:
    """A lock of areole's; the two kinds of lock have what they have."""

    def __init__(self, lock: Any, interruptions: Interruptions) -> None:
        self._lock = lock
        self._interruptions = interruptions
        self.release = lock.release
        self.is_reentrant = hasattr(lock, "_is_owned")
        self.made_at = _place(sys._getframe(1))
        send = partial(_thread.interrupt_main, SIGNAL)  # gives None; only makes the signal pending
        self._interrupted = partial(next, map(any, map(map, repeat(call), repeat((send, lock.acquire)))))
        if self.is_reentrant:  # flights come and go
            interruptions.locks.append(self)

    @property
    def acquire(self) -> Any:
        """Return a function in C, interrupted or not: the caller's step must stay one."""
        frame = sys._getframe(1)
        if (self.is_reentrant or frame.f_code.co_name in _TAKERS) and self._interruptions.comes_now(frame):
            return self._interrupted
        return self._lock.acquire

    def is_mine(self) -> bool:
        return bool(self.is_reentrant and self._lock._is_owned())

    def __enter__(self) -> None:
        frame = sys._getframe(1)
        self._interruptions.withs.add(_place(frame))
        self._lock.acquire()
        if self._interruptions.comes_now(frame):
            self._interruptions._handle(SIGNAL, frame)

    def __exit__(self, *of_exception: object) -> None:
        self._lock.release()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._lock, name)


def _place(frame: FrameType | None) -> str:
    """Name the function and the line that takes a lock, by way of `run_locked` or by itself."""
    while frame is not None and (frame.f_code.co_name in ("run_locked", "<lambda>") or frame.f_globals is globals()):
        frame = frame.f_back
    assert frame is not None
    return f"{os.path.basename(frame.f_code.co_filename)}:{frame.f_lineno} in {frame.f_code.co_name}"
