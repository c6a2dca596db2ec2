"""Renewer: the thread that renews the tokens of fills which take long, one for all caches of a process.

A token stands for its lease, so that the fill of a process which was killed, or stopped for long, loses it. That of one
which is at work is renewed three times in that time. What is not renewed in time only costs a store: the fence refuses
what comes late. The same thread sends, again and again, what could not be sent: see `outbox`.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from queue import Empty, SimpleQueue
from typing import Final

from .._platform.fork import after_fork_in_child
from .._platform.locks import Guarded, run_locked

__all__ = ["Renewal", "renewer"]

_log = logging.getLogger("areole")

LONGEST_TICK: Final = 60.0
"""Seconds between two looks, where no renewal is due sooner."""

IDLE_TICKS: Final = 30
"""After so many looks without a fill the thread ends; the next fill starts it again."""


class Renewal:
    """The token of a fill, and how it is renewed: False means that there is nothing to renew any more.

    `release` is one call of C code: in a `finally`, no interrupt comes between (see `locks`). Else the token of a fill
    that is no more could be renewed for ever, and others would wait for it.
    """

    __slots__ = ("due", "every", "key", "release", "renew")

    def __init__(self, renew: Callable[[], object], lease: float, running: dict[object, Renewal]) -> None:
        self.renew = renew
        self.every = lease / 3
        self.due = time.monotonic() + self.every
        self.key = object()
        self.release: Callable[[], object] = partial(running.pop, self.key, None)


class _Renewer(Guarded):
    """Has the renewals that run. `running` is stepped in by key alone, each time by one atomic step."""

    __slots__ = ("_thread", "_tick", "_wakes", "running")

    def __init__(self) -> None:
        super().__init__()
        self.running: dict[object, Renewal] = {}
        self._tick = LONGEST_TICK
        self._wakes: SimpleQueue[None] = SimpleQueue()  # no Event, which takes its lock by `with`: see `locks`
        self._thread: threading.Thread | None = None

    def make(self, renew: Callable[[], object], lease: float) -> Renewal:
        return Renewal(renew, lease, self.running)

    def start(self, renewal: Renewal) -> None:
        """Have `renew` called each third of the lease, until the renewal is released."""
        self.running[renewal.key] = renewal
        if self._thread is None or renewal.every / 2 < self._tick:
            run_locked(self.lock, self._start, renewal.every / 2)

    def _start(self, tick: float) -> None:
        self._tick = min(self._tick, tick)
        self._wakes.put(None)  # it may be in a wait that is longer than this
        if self._thread is None:
            thread = threading.Thread(target=self._run, name="areole-renewer", daemon=True)
            with suppress(RuntimeError):  # there is no thread to be had: that costs a store, if the fill takes long
                thread.start()
                self._thread = thread

    def _run(self) -> None:
        idle = 0
        while True:
            with suppress(Empty):
                self._wakes.get(timeout=self._tick)
            idle = 0 if self.running else idle + 1
            if idle >= IDLE_TICKS and run_locked(self.lock, self._ends):
                return
            for renewal in list(self.running.values()):
                if time.monotonic() >= renewal.due and not _renew(renewal):
                    renewal.release()

    def _ends(self) -> bool:
        """Say whether the thread ends: not if a fill has begun. Either this sees it, or `add` sees no thread:

        1. `_ends` says that there is none, and looks for fills      2. `add` adds its fill, and looks for a thread.
        """
        thread, self._thread = self._thread, None
        if self.running:
            self._thread = thread
        else:
            self._tick = LONGEST_TICK
        return self._thread is None

    def forget(self) -> None:
        self.running = {}
        self._thread = None
        self._wakes = SimpleQueue()


def _renew(renewal: Renewal) -> bool:
    """Renew a token; say whether it may still be there."""
    renewal.due = time.monotonic() + renewal.every
    try:
        return renewal.renew() is not False
    except Exception as error:
        _log.debug("a token was not renewed, or a queued delete not sent: %s", error)
        return True


renewer: Final = _Renewer()
after_fork_in_child("threads", renewer.forget)
