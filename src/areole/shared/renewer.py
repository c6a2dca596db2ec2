"""Renewer: the thread that renews the tokens of fills which take long, one for all caches of a process.

A token stands for its lease, so that the fill of a process which was killed, or stopped for long, loses it. That of one
which is at work is renewed three times in that time. What is not renewed in time only costs a store: the fence refuses
what comes late.
"""

from __future__ import annotations

import itertools
import logging
import threading
import time
from collections.abc import Callable
from typing import Final

from .._platform.fork import after_fork_in_child
from .._platform.locks import Guarded, run_locked

__all__ = ["Renewal", "renewer"]

_log = logging.getLogger("areole")

IDLE_TICKS: Final = 30
"""After so many looks without a fill the thread ends; the next fill starts it again."""


class Renewal:
    """One fill that runs, and how its token is renewed."""

    __slots__ = ("due", "every", "renew")

    def __init__(self, renew: Callable[[], object], every: float) -> None:
        self.renew = renew
        self.every = every
        self.due = time.monotonic() + every


class _Renewer(Guarded):
    """Has the renewals that run. `_running` is stepped in by key alone, each time by one atomic step."""

    __slots__ = ("_numbers", "_running", "_thread", "_tick")

    def __init__(self) -> None:
        super().__init__()
        self._running: dict[int, Renewal] = {}
        self._numbers = itertools.count()
        self._tick = 60.0
        self._thread: threading.Thread | None = None

    def add(self, renew: Callable[[], object], lease: float) -> int:
        """Have `renew` called each third of `lease` seconds, until `remove` is called with the number returned."""
        number = next(self._numbers)
        self._running[number] = Renewal(renew, lease / 3)
        if self._thread is None or lease / 6 < self._tick:
            run_locked(self.lock, self._start, lease / 6)
        return number

    def remove(self, number: int) -> None:
        self._running.pop(number, None)

    def _start(self, tick: float) -> None:
        self._tick = min(self._tick, tick)
        if self._thread is None:
            thread = threading.Thread(target=self._run, name="areole-renewer", daemon=True)
            thread.start()
            self._thread = thread

    def _run(self) -> None:
        idle = 0
        while True:
            time.sleep(self._tick)
            idle = 0 if self._running else idle + 1
            if idle >= IDLE_TICKS and run_locked(self.lock, self._ends):
                return
            for renewal in list(self._running.values()):
                if time.monotonic() >= renewal.due:
                    _renew(renewal)

    def _ends(self) -> bool:
        """Say whether the thread ends: not if a fill has begun. Either this sees it, or `add` sees no thread:

        1. `_ends` says that there is none, and looks for fills      2. `add` adds its fill, and looks for a thread.
        """
        thread, self._thread = self._thread, None
        if self._running:
            self._thread = thread
        return self._thread is None

    def forget(self) -> None:
        self._running = {}
        self._thread = None


def _renew(renewal: Renewal) -> None:
    renewal.due = time.monotonic() + renewal.every
    try:
        renewal.renew()
    except Exception as error:
        _log.debug("a token was not renewed: %s", error)


renewer: Final = _Renewer()
after_fork_in_child("threads", renewer.forget)
