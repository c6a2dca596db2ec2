"""The interpreter exits while threads wait for fills: it does so at once, with status 0, and not a word.

Proves: the library keeps no process alive, and what ends with it needs nothing that is gone by then (the module's
names, the thread-specific keys, a lock that a daemon thread holds).

Hunts:
    1. the main thread ends; daemon threads wait for a fill that will never end      3. a finalizer runs, and calls
    2. the interpreter takes its modules apart                                          what is None by then
and a background thread that was not stopped, and a waiter that is no daemon and is never woken.

Allowed: a waiter that is no daemon gets its value, as Python waits for it; one that is a daemon may get nothing.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

from areole import AtomicCache, Storage

from ..child import ChildScenario
from ..subject import INDEXES, POLICIES

__all__ = ["Exits"]


class Exits(ChildScenario):
    only_ours = "it starts areole's own background threads"
    variants = (*INDEXES, *POLICIES)
    seconds_each = 0.0  # one exit, and then the next child's

    def play(self) -> None:
        self.counts["operations"] += 1
        leave = self.choices.choice((self.with_daemons, self.with_threads, self.with_a_sweeper))
        leave()

    def make_cache(self, fill: Callable[[str], Any]) -> Any:
        options: dict[str, Any] = {"policy": self.variant, "max_items": 2}
        return AtomicCache(fill, stats=True, **({"index": self.variant} if self.variant in INDEXES else options))

    def start(self, cache: Any, daemon: bool) -> None:
        for _ in range(self.threads):
            threading.Thread(target=lambda: cache["key"], daemon=daemon).start()

    def with_daemons(self) -> None:
        """Leave while all wait for a fill that never ends, and others hit and miss."""
        entered = threading.Event()

        def fill(key: str) -> str:
            if key == "key":
                entered.set()
                threading.Event().wait()
            return key

        def ask_for_ever() -> None:
            while True:
                cache["other"]
                cache.invalidate("other")

        cache = self.make_cache(fill)
        self.start(cache, daemon=True)
        threading.Thread(target=ask_for_ever, daemon=True).start()
        entered.wait()

    def with_threads(self) -> None:
        """Leave while threads that Python waits for wait for a fill, which ends when the main thread has."""
        main, got = threading.main_thread(), []

        def fill(key: str) -> str:
            main.join()  # the main thread has ended as far as `threading` knows, and the interpreter is about to exit
            return key

        cache = self.make_cache(fill)

        def ask() -> None:
            got.append(cache["key"])
            if len(got) == self.threads and got != ["key"] * self.threads:
                raise AssertionError(got)  # is printed on stderr, which the parent takes for a failure

        for _ in range(self.threads):
            threading.Thread(target=ask).start()

    def with_a_sweeper(self) -> None:
        """Leave with a store open that the background thread sweeps, and values whose finalizers use it."""
        store: Storage[Any] = Storage(default_ttl=0.001, expiration_thread_delay=0.001, max_items=50)

        class Uses:
            def __del__(self) -> None:
                store.get("key")

        for n in range(100):
            store.set(n, Uses())
        time.sleep(self.choices.random() / 100)
