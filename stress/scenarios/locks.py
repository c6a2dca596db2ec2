"""An interrupt just as a lock has been taken, at every place that takes one: each lock is free again after it.

Proves: whatever a signal's handler does once a lock is taken, raise or wait, no lock stays held, nobody is blocked, and
the cache works (invariants 4 and 5). No lock is taken by `with`, and so this holds on every version of CPython.

Hunts:
    1. (3.14) `with lock:` calls `__enter__`, which takes it      3. the handler raises before the block is protected:
    2. a signal has come: it is looked at after that call            the lock is held for ever, and all others wait
and:
    1. A takes the lock of the graph of waits      3. B's fill is to wait for another one: it needs that lock
    2. a handler, or a finalizer, asks A's way        -- and A waits for B. It has to be refused at once.
       for what B fills

Allowed: an operation that was interrupted may have been done, or not. A lookup in a handler may raise FillDeadlockError
while a lock is held. Each is interrupted as it takes its first lock, its second one, and so on, beside threads that use
the same keys. See stress/interrupted_locks for what interrupts.
"""

from __future__ import annotations

import asyncio
import logging
import pickle
import sys
import threading
import time
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

from areole import AsyncAtomicCache, AtomicCache, Cache, FillDeadlockError, Resilience, Storage
from areole.testing import ManualClock, assert_valid

from ..child import ChildScenario
from ..interrupted_locks import InterruptedLock, Interruptions
from ..replaced_locks import replaced_locks
from ..subject import INDEXES, POLICIES

__all__ = ["Locks"]

KEYS = 4
MOST_LOCKS = 60
"""How many acquisitions of one operation are interrupted at most: it may have to wait again and again."""

LONG = 10.0
"""Seconds after which a lookup that should have been refused gets a value, so that somebody can tell."""

Operation = Callable[[], Any]


class Locks(ChildScenario):
    only_ours = "it replaces the locks of areole's own modules"
    variants = (*INDEXES, *POLICIES, "ttl", "async")
    seconds_each = 4.0

    def play(self) -> None:
        logging.getLogger("areole").addHandler(logging.NullHandler())  # it tells of fills that were interrupted
        self.interruptions = Interruptions()
        make_lock = partial(InterruptedLock, interruptions=self.interruptions)
        with self.interruptions.listening(), replaced_locks(make_lock):
            self.play_with_locks()
        self.expect(not self.interruptions.withs, f"locks are taken by `with`: {sorted(self.interruptions.withs)}")

    def play_with_locks(self) -> None:
        self.ends_now = threading.Event()
        self.is_held = threading.Event()
        self.held: AtomicCache[str, str] = AtomicCache(self.fill_until_the_end)
        self.cache, operations = self.make()
        threads = [threading.Thread(target=lambda: self.held["key"])]
        threads += [threading.Thread(target=self.ask_until_the_end, args=(n,)) for n in range(max(1, self.threads - 1))]
        for thread in threads:
            thread.start()
        self.is_held.wait()
        try:
            while (self.has_time or not self.counts["operations"]) and not self.ends_now.is_set():
                self.interrupt_each(self.choices.choice(operations), self.choices.choice([self.refuse, self.wait]))
        finally:
            self.ends_now.set()
            for thread in threads:
                thread.join()  # the parent's deadline bounds this
        assert_valid(self.cache)
        for key in range(KEYS):
            self.expect_value(key, self.ask(key))

    # ---- what interrupts

    def interrupt_each(self, operation: Operation, handler: Callable[[], None]) -> None:
        """Do `operation` again and again, interrupted as it takes its n-th lock, until it takes no more."""
        for n in range(1, MOST_LOCKS):
            self.counts["operations"] += 1
            try:
                self.interruptions.arm(n, handler)
                operation()
            except KeyboardInterrupt:
                self.counts["interrupts"] += 1
            finally:
                place, was_interrupted = self.interruptions.place, self.interruptions.disarm()
            if not was_interrupted:
                return
            self.check_locks(place)
            self.expect_value(n % KEYS, self.ask(n % KEYS))

    def check_locks(self, place: str) -> None:
        held = self.interruptions.still_held()
        self.expect(not held, f"interrupted at {place}: this thread holds what was made at {held}")
        for lock in self.interruptions.locks:
            while lock.is_mine():  # so that the others go on, and more is found
                lock.release()

    def refuse(self) -> None:
        raise KeyboardInterrupt

    def wait(self) -> None:
        """Ask for what another thread is filling, and goes on filling until the end: it has to be refused."""
        if not self.interruptions.still_held():
            return  # the handler has run late, and may wait
        self.counts["waits"] += 1
        deadline = threading.Timer(LONG, self.ends_now.set)
        deadline.start()
        try:
            value = self.held["key"]
            self.expect(False, f"a lookup under the lock that was taken at {self.interruptions.place} gave {value!r}")
        except FillDeadlockError:
            pass
        finally:
            deadline.cancel()

    # ---- what is interrupted

    def make(self) -> tuple[Any, list[Operation]]:
        if self.variant == "async":
            return self.make_async()
        if self.variant in POLICIES:
            return self.make_stores()
        options: dict[str, Any] = {"ttl": 3600.0} if self.variant == "ttl" else {"index": self.variant}
        cache: AtomicCache[int, int] = AtomicCache(self.fill, on_removal=lambda *removal: None, stats=True, **options)
        operations = self.of_a_cache(cache) + self.of_a_function(AtomicCache.memoize(self.fill, **options))
        if self.variant == "ttl":
            operations += self.of_a_resilient_cache()
        self.ask = cache.__getitem__
        return cache, operations

    def of_a_cache(self, cache: Any) -> list[Operation]:
        return [
            lambda: [cache[key] for key in range(KEYS)],
            lambda: (cache.invalidate(0), cache[0], cache.refresh(0), cache.get(1), cache.peek(2)),
            lambda: (cache.clear(), [cache[key] for key in range(KEYS)]),
            lambda: (len(cache), list(cache), cache.cache_info()),
        ]

    def of_a_function(self, function: Any) -> list[Operation]:
        owner = Owner(self.fill)
        return [
            lambda: (function(1), function.invalidate(1), function(1), function.refresh(1), function.cache_clear()),
            lambda: (owner.method(1), type(owner).method.invalidate(owner, 1), owner.method(1)),
        ]

    def of_a_resilient_cache(self) -> list[Operation]:
        clock = ManualClock()
        cache: AtomicCache[int, int] = AtomicCache(
            self.fill, ttl=1.0, clock=clock, resilience=Resilience(stale_ttl=5, fail_safe=True, refresh_ahead=0.5)
        )
        steps = (0.6, 0.6, 3.0, 9.0)
        return [
            lambda: [(clock.advance(by), cache.get(1), cache[1]) for by in steps],
            lambda: (cache[1], clock.advance(2), cache.refresh(1), cache.invalidate(1)),
        ]

    def make_stores(self) -> tuple[Any, list[Operation]]:
        limit: dict[str, Any] = {"policy": self.variant, "max_items": KEYS - 1}
        cache: AtomicCache[int, int] = AtomicCache(self.fill, on_removal=lambda *removal: None, **limit)
        store: Storage[int] = Storage(on_removal=lambda *removal: None, **limit)
        packed: Cache[int] = Cache(serializer=pickle.dumps, deserializer=pickle.loads, **limit)
        self.ask = cache.__getitem__
        stores = [self.of_a_store(each) for each in (store, packed)]
        return cache, [*self.of_a_cache(cache), *stores[0], *stores[1], lambda: Storage(**limit).close()]

    def of_a_store(self, store: Any) -> list[Operation]:
        return [
            lambda: [store.set(key, -key) for key in range(KEYS)],
            lambda: (store.set(1, -1, ttl=5), store.expire_in(1, 7), store.ttl_of(1), store.add(2, -2), store.pop(1)),
            lambda: (store.get_or_fill(3, self.fill), store.delete(3), store.get(0), store.peek(0), store.sweep()),
            lambda: (store.set_many({0: 0, 1: -1}), store.delete_many([0, 1]), store.clear(), store.size_in_bytes),
        ]

    def make_async(self) -> tuple[Any, list[Operation]]:
        _say_nothing_of_interrupted_tasks()
        cache: AsyncAtomicCache[int, int] = AsyncAtomicCache(self.fill_async)

        async def fetch_all() -> None:
            await asyncio.gather(*[cache.fetch(key) for key in (*range(KEYS), 0, 1)])

        async def change() -> None:
            cache.invalidate(0)
            await asyncio.gather(cache.fetch(0), cache.refresh(1), cache.fetch(1))

        def run(main: Any) -> Operation:
            return lambda: asyncio.run(main())

        self.ask = cache.sync.__getitem__
        view = cache.sync
        return cache, [run(fetch_all), run(change), lambda: (view.invalidate(2), view[2], view.clear(), view[3])]

    def fill(self, key: int) -> int:
        if threading.current_thread() is not threading.main_thread():
            time.sleep(1e-4)  # so that the main thread comes to wait
        self.counts["fills"] += 1
        return -key

    async def fill_async(self, key: int) -> int:
        await asyncio.sleep(1e-4)
        return -key

    def fill_until_the_end(self, key: str) -> str:
        self.is_held.set()
        self.ends_now.wait()
        return key

    def expect_value(self, key: int, value: Any) -> None:
        self.expect(value == -key, f"{key} gave {value!r}")

    def ask_until_the_end(self, n: int) -> None:
        while not self.ends_now.is_set():
            n += 1
            self.expect_value(n % KEYS, self.ask(n % KEYS))
            if n % 5 == 0:
                self.cache.invalidate(n % KEYS)


def _say_nothing_of_interrupted_tasks() -> None:
    """Let neither asyncio nor Python tell of tasks that a KeyboardInterrupt has ended, or that died unfinished."""
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)
    warnings.simplefilter("ignore", RuntimeWarning)  # coroutines that were never awaited
    tell = sys.unraisablehook
    sys.unraisablehook = lambda failed: None if failed.exc_type is KeyboardInterrupt else tell(failed)


class Owner:
    """Has a memoized method."""

    def __init__(self, fill: Callable[[int], int]) -> None:
        self.fill = fill

    @AtomicCache.memoize
    def method(self, key: int) -> int:
        return self.fill(key)
