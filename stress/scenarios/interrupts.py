"""A KeyboardInterrupt every 130 microseconds in the main thread, while it does everything that a cache can do.

Proves: an operation that is interrupted between any two bytecodes raises that, and leaves no lock held, no flight
without a leader that anybody waits for, and no value that is not the key's (invariants 1, 4 and 7).

Hunts:
    1. a leader inserts its flight, and is interrupted    3. that is interrupted too, before its first line
    2. its cleaning code is entered                       4. the flight stays, and a lookup of the key hangs

Allowed: an operation that raises KeyboardInterrupt may have been done, or not. Each lasts for 5 seconds in a full run,
in a process of its own, beside threads that use the same keys and are never interrupted. The handler raises only
between two marks: what is interrupted is the library, not the scenario.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable
from typing import Any

from areole import AtomicCache, Storage
from areole.testing import assert_valid

from ..child import ChildScenario
from ..subject import INDEXES, POLICIES

__all__ = ["Interrupts"]

EVERY = 130e-6
KEYS = 5


class Interrupts(ChildScenario):
    only_ours = (
        "no other cache promises to outlive that; python -m stress.contenders has a row for it: interrupted_wait"
    )
    variants = (*INDEXES, *POLICIES)

    @classmethod
    def why_skipped(cls) -> str:
        return "" if hasattr(signal, "setitimer") else "this system has no signal.setitimer"

    def play(self) -> None:
        make = self.make_store if self.variant in POLICIES else self.make_cache
        self.cache, self.operations = make()
        self.is_armed = False
        stop = threading.Event()
        others = [threading.Thread(target=self.ask_until, args=(stop, n)) for n in range(max(1, self.threads - 1))]
        for thread in others:
            thread.start()
        self.interrupt_everything()
        stop.set()
        for thread in others:
            thread.join()  # the parent's deadline bounds this
        assert_valid(self.cache)
        for key in range(KEYS):
            self.expect_value(key, self.operations[0](key))

    def make_cache(self) -> tuple[Any, list[Callable[[int], Any]]]:
        cache: AtomicCache[int, int] = AtomicCache(self.fill, index=self.variant, on_removal=lambda *removed: None)
        memoized = AtomicCache.memoize(self.fill, index=self.variant, stats=True)
        clear = [lambda key: cache.clear()]
        return cache, [cache.__getitem__, cache.get, cache.refresh, cache.peek, cache.invalidate, memoized, *clear]

    def make_store(self) -> tuple[Any, list[Callable[[int], Any]]]:
        cache: Any = AtomicCache(self.fill, policy=self.variant, max_items=KEYS - 1)
        store: Storage[int] = Storage(policy=self.variant, max_items=KEYS - 1)
        operations: list[Callable[[int], Any]] = [
            cache.__getitem__,
            lambda key: store.set(key, -key),
            lambda key: store.get(key, None),
            lambda key: store.get_or_fill(key, self.fill),
            cache.refresh,
            store.delete,
            cache.invalidate,
        ]
        self.store = store
        return cache, operations

    def fill(self, key: int) -> int:
        if threading.current_thread() is not threading.main_thread():
            time.sleep(1e-4)  # so that the main thread comes to wait
        self.counts["fills"] += 1
        return -key

    def interrupt_everything(self) -> None:
        def interrupt(number: int, frame: object) -> None:
            if self.is_armed:
                self.is_armed = False
                raise KeyboardInterrupt

        signal.signal(signal.SIGALRM, interrupt)
        signal.setitimer(signal.ITIMER_REAL, EVERY, EVERY)
        try:
            while self.has_time or not self.counts["operations"]:
                operate = self.choices.choice(self.operations)
                try:
                    self.is_armed = True
                    self.operate(operate)
                except KeyboardInterrupt:
                    self.counts["interrupts"] += 1
                finally:
                    self.is_armed = False
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)

    def operate(self, operate: Callable[[int], Any]) -> None:
        """Do the same until it is interrupted, or for long enough that the clock has gone off."""
        for n in range(400):
            self.counts["operations"] += 1
            self.expect_value(n % KEYS, operate(n % KEYS))

    def expect_value(self, key: int, value: Any) -> None:
        if value is not None and not isinstance(value, bool) and value != -key:
            self.expect(False, f"{key} gave {value!r}")

    def ask_until(self, stop: threading.Event, n: int) -> None:
        while not stop.is_set():
            n += 1
            self.expect_value(n % KEYS, self.operations[0](n % KEYS))
            if n % 5 == 0:
                self.cache.invalidate(n % KEYS)
