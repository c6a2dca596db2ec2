"""Signal handlers and finalizers that remove and set, in the midst of refreshes, publications and evictions.

Proves: what runs on the same thread between two steps of an operation may take the key away: what was removed does not
come back (invariant 3), an operation acts on the entry that it found (invariant 9), each stored value is reported
to the listener once, and never while it is there; a bounded store keeps its limit and its accounting (invariant 7).

Hunts:
    1. a refresh looks: the index holds E        3. it stores its own entry, which shows E's value: that is back
    2. a finalizer invalidates the key
and:
    1. a publication looks: its entry is in, and shows a value    3. it tells of that value, as REPLACED: a second time
    2. a handler invalidates the key: the value is reported
and:
    1. a set makes room, and evicts                 3. the set stores its own value under that key: the one between
    2. a finalizer sets the same key meanwhile         is neither there nor reported.

Allowed: a value whose set or fill had not ended when the key was removed. One thread, in a process of its own: a signal
arrives every 100 microseconds, and a collection of garbage begins every few objects.
"""

from __future__ import annotations

import asyncio
import gc
import signal
import traceback
from collections import Counter
from collections.abc import Callable
from functools import partial
from math import inf
from typing import Any

from areole import CACHE_MISS, AsyncAtomicCache, AtomicCache, Storage
from areole.testing import ManualClock, assert_valid

from ..child import ChildScenario
from ..subject import INDEXES, POLICIES

__all__ = ["Removals"]

EVERY = 100e-6
COLLECTED_EVERY = 30  # objects
KEYS = 4
MOST = 3
TICKS = 8.0
"""The ttl, of a clock that is moved by one in every tenth operation."""


class FillFailed(Exception):
    """What a fill raises, now and then."""


class Value:
    """A value that acts as it dies. `version` is that of the newest removal of its key when it was made."""

    __slots__ = ("act", "key", "number", "version")

    def __init__(self, key: int, number: int, version: float, act: Callable[[], None]) -> None:
        self.key, self.number, self.version, self.act = key, number, version, act

    def __del__(self) -> None:
        self.act()

    def __repr__(self) -> str:
        return f"<value {self.number} of {self.key}, version {self.version}>"


class Garbage:
    """Acts in a collection of garbage: it is part of a cycle."""

    def __init__(self, act: Callable[[], None]) -> None:
        self.me, self.act = self, act

    def __del__(self) -> None:
        self.act()


class Watched:
    """A cache with an oracle: see stress/oracle for versions and floors, here on one thread."""

    def __init__(self, scenario: Removals, make: Callable[..., Any]) -> None:
        self.scenario = scenario
        self.versions = dict.fromkeys(range(KEYS), 0)  # raised before each removal begins
        self.floors = dict.fromkeys(range(KEYS), 0)  # the highest version whose removal has returned
        self.made = 0
        self.stored: set[int] = set()  # the numbers of values that were seen in the cache
        self.reported: Counter[int] = Counter()
        self.cache: Any = make(on_removal=self.notice)

    # ---- what is called

    def fill(self, key: int) -> Value:
        self.scenario.counts["fills"] += 1
        self.scenario.litter()
        value = self.make_value(key, self.versions[key])
        if self.scenario.choices.random() < 0.3:
            self.peek(key)
        if self.scenario.choices.random() < 0.25:
            raise FillFailed
        return value

    async def fill_async(self, key: int) -> Value:
        if self.scenario.choices.random() < 0.3:
            await asyncio.sleep(0)
        return self.fill(key)

    def make_value(self, key: int, version: float) -> Value:
        self.made += 1
        return Value(key, self.made, version, self.scenario.act)

    def notice(self, key: int, value: Value, cause: object) -> None:
        self.reported[value.number] += 1
        self.expect(self.reported[value.number] == 1, f"{value!r} was reported twice, now as {cause}")
        self.expect(value.key == key, f"the listener was notified that {key} had {value!r}")
        self.expect(self.cache.peek(key) is not value, f"{value!r} was reported as {cause} and is still there")

    def expect(self, condition: bool, message: str) -> None:
        self.scenario.expect(condition, message)

    # ---- what it does

    def look(self, lookup: Callable[[int], Any], key: int) -> None:
        """Do a lookup, and judge what it gives."""
        floor = self.floors[key]
        try:
            value = lookup(key)
        except FillFailed:
            return
        if value is None or value is CACHE_MISS:
            return
        if value.key != key:
            self.expect(False, f"{key} gave {value!r}")
        if value.version < floor:
            self.scenario.report("stale", f"{value!r} came back: all before version {floor} had been removed")

    def peek(self, key: int) -> None:
        def peek(key: int) -> Any:
            value = self.cache.peek(key)
            if isinstance(value, Value):
                self.stored.add(value.number)
            return value

        self.look(peek, key)

    def remove(self, remove: Callable[[], Any], *keys: int) -> None:
        versions = {}
        for key in keys:
            versions[key] = self.versions[key] = self.versions[key] + 1
        remove()
        for key, version in versions.items():
            self.floors[key] = max(self.floors[key], version)

    def put(self, put: Callable[[int, Value], bool], key: int, removes: bool = True) -> None:
        """Set or add. What removed the key while that ran was before it or after it: it may be there, or not."""
        value = self.make_value(key, inf)

        def put_new() -> None:
            if put(key, value):
                self.stored.add(value.number)

        if removes:
            self.remove(put_new, key)
        else:
            put_new()
        value.version = self.versions[key]

    def check(self) -> None:
        """Take out all, and judge whether each value was reported. Nobody acts meanwhile."""
        assert_valid(self.cache)
        if isinstance(self.cache, Storage):
            self.expect(self.cache.number_of_items <= MOST, "there are more items than may be")
        for _ in range(2):
            for key in range(KEYS):
                self.peek(key)
                self.remove(partial(self.cache.invalidate, key), key)
            self.scenario.store_something()  # what a removal cannot tell, the next operation that stores does
        self.remove(self.cache.clear, *range(KEYS))
        lost = [number for number in self.stored if not self.reported[number]]
        self.expect(not lost, f"values {lost[:5]} have left and were not reported")
        self.stored.clear()
        self.reported.clear()


class Removals(ChildScenario):
    only_ours = "it needs a listener for removals"
    variants = (*INDEXES, *POLICIES, "ttl", "async")
    seconds_each = 4.0

    @classmethod
    def why_skipped(cls) -> str:
        return "" if hasattr(signal, "setitimer") else "this system has no signal.setitimer"

    def play(self) -> None:
        self.depth = 1  # nobody acts
        self.clock = ManualClock()
        makers = self.makers()
        with asyncio.Runner() as runner:
            self.run_in_loop: Callable[[Any], Any] = runner.run
            if self.variant == "async":
                runner.get_loop()
            self.watched = [Watched(self, make) for make in makers]
            self.remove_anywhere()

    def makers(self) -> list[Callable[..., Any]]:
        """Return what makes the caches of this variant: each calls its own fill, which comes with the oracle."""
        fill: Any = lambda key: self.current.fill(key)  # noqa: E731
        if self.variant == "async":
            return [partial(AsyncAtomicCache, self.fill_async)]
        if self.variant == "ttl":
            return [partial(AtomicCache, fill, ttl=TICKS, clock=self.clock)]
        if self.variant in INDEXES:
            return [partial(AtomicCache, fill, index=self.variant)]
        limit: Any = {"policy": self.variant, "max_items": MOST}
        unswept: Any = {"expiration_thread_max_checks_per_iteration": 0, "clock": self.clock}
        return [partial(AtomicCache, fill, **limit), partial(Storage, **limit, **unswept)]

    async def fill_async(self, key: int) -> Value:
        return await self.current.fill_async(key)

    def report(self, kind: str, message: str) -> None:
        self.findings.append((kind, message))

    # ---- who acts

    def remove_anywhere(self) -> None:
        signal.signal(signal.SIGALRM, lambda number, frame: self.act())
        thresholds = gc.get_threshold()
        gc.freeze()  # so that a collection has little to go through
        gc.set_threshold(COLLECTED_EVERY, 10, 10)
        try:
            while (self.has_time or not self.counts["operations"]) and len(self.findings) < 8:
                self.current = self.choices.choice(self.watched)
                self.operate_while_others_act()
                self.current.check()
        finally:
            gc.set_threshold(*thresholds)

    def operate_while_others_act(self) -> None:
        signal.setitimer(signal.ITIMER_REAL, EVERY, EVERY)
        self.depth = 0
        try:
            for _ in range(50):
                self.counts["operations"] += 1
                self.operate(self.choices.randrange(KEYS), self.choices.random())
        finally:
            self.depth = 1
            signal.setitimer(signal.ITIMER_REAL, 0)

    def act(self) -> None:
        """Remove something, or set it: in a signal handler, or in a finalizer."""
        if self.depth:
            return
        self.depth = 1
        self.counts["acts"] += 1
        try:
            self.remove(self.choices.randrange(KEYS), self.choices.random())
        except Exception:
            self.expect(False, traceback.format_exc(limit=-4))
        finally:
            self.depth = 0

    def litter(self) -> None:
        if self.choices.random() < 0.3:
            Garbage(self.act)

    def remove(self, key: int, drawn: float) -> None:
        watched, cache = self.current, self.current.cache
        if isinstance(cache, Storage) and drawn < 0.6:
            removes = drawn < 0.4
            watched.put(cache.set if removes else cache.add, key, removes)
        elif drawn < 0.9:
            watched.remove(partial(cache.invalidate, key), key)
        else:
            watched.remove(cache.clear, *range(KEYS))

    def store_something(self) -> None:
        """Set a value, or have one filled: in one of some tries, as fills fail now and then."""
        watched, cache = self.current, self.current.cache
        for _ in range(20):
            if isinstance(cache, Storage):
                watched.put(cache.set, 0)
            elif isinstance(cache, AsyncAtomicCache):
                watched.look(lambda key: self.run_in_loop(cache.fetch(key)), 0)
            else:
                watched.look(cache.__getitem__, 0)
            watched.peek(0)
            if 0 in cache:
                return

    # ---- in the midst of what

    def operate(self, key: int, drawn: float) -> None:
        watched, cache = self.current, self.current.cache
        if drawn < 0.1:
            self.clock.advance(1)
        elif drawn < 0.25:
            watched.peek(key)
        elif drawn < 0.4:
            self.remove(key, self.choices.random())
        elif isinstance(cache, Storage):
            self.operate_store(watched, cache, key, drawn)
        elif isinstance(cache, AsyncAtomicCache):
            lookup = cache.refresh if drawn < 0.8 else cache.fetch
            watched.look(lambda key: self.run_in_loop(lookup(key)), key)
        else:
            watched.look(cache.refresh if drawn < 0.8 else cache.__getitem__, key)

    def operate_store(self, watched: Watched, store: Storage[Any], key: int, drawn: float) -> None:
        if drawn < 0.7:
            watched.look(lambda key: store.get_or_fill(key, watched.fill, ttl=TICKS), key)
        elif drawn < 0.8:
            watched.remove(partial(store.delete, key), key)
        elif drawn < 0.9:
            watched.remove(partial(store.pop, key), key)
        elif drawn < 0.95:
            store.expire_in(key, TICKS)
        else:
            store.sweep()
