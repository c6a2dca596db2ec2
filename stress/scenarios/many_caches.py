"""Three thousand caches at once, made and dropped by all threads: none runs out of anything, and none is kept.

Proves: a cache takes nothing that a process has few of (an AtomicDict takes one of about 1,020 thread-specific keys:
past 256 of them "atomic" is a dict), a method's results live and die with their instance, and what is dropped is freed.

Hunts:
    1. 1,020 caches are made                        2. the next one raises "could not create TSS key"
and:
    1. an instance dies                             3. a new one gets the same address
    2. the record of its results stays              4. and with it the dead one's results.

Allowed: the value of the cache that was asked, or of the instance; after a collection, no more than there are slots.
"""

from __future__ import annotations

import gc
import itertools
import weakref
from functools import partial
from typing import Any

from areole import AtomicCache
from areole.testing import assert_valid

from ..oracle import Findings
from ..scenario import Scenario
from ..worker import Worker

__all__ = ["INSTANCES", "ManyCaches"]

INSTANCES = 3000


class ManyCaches(Scenario):
    only_ours = "half of them are our methods; python -m stress.contenders has a row for it: many_instances"
    operations = 200

    def __init__(self, variant: str, findings: Findings) -> None:
        super().__init__(variant, findings)
        self.numbers = itertools.count()  # `next` is one atomic step
        self.owner_type = make_owner_type(variant)
        self.dropped: list[weakref.ref[Any]] = []
        self.slots: list[Any] = []

    def start_round(self, number: int) -> None:
        self.round = number
        if not self.slots:
            self.slots = [self.make() for _ in range(INSTANCES)]

    def make(self) -> Any:
        """Make an instance with a memoized method, or a cache."""
        number = next(self.numbers)
        if number % 2:
            return self.owner_type(number)
        return NumberedCache(number, self.variant)

    def step(self, worker: Worker) -> None:
        slot, drawn = worker.choices.randrange(INSTANCES), worker.choices.random()
        if drawn < 0.1:
            self.dropped.append(weakref.ref(self.slots[slot]))
            self.slots[slot] = self.make()
        owner, key = self.slots[slot], worker.choices.randrange(3)
        value = owner.ask(key)
        worker.operations += 1
        if value != (owner.number, key):
            self.oracle.findings.add("wrong", f"cache {owner.number} gave {value!r} for {key!r}")
        if drawn > 0.9:
            owner.forget(key)

    def check_round(self, workers: list[Worker]) -> None:
        for owner in self.slots[:: INSTANCES // 10]:
            owner.check()
        if self.round % 16 == 0:
            gc.collect()
            alive = sum(ref() is not None for ref in self.dropped)
            if alive:
                self.oracle.findings.add("wrong", f"{alive} of {len(self.dropped)} that were dropped are still there")
            self.dropped.clear()


class NumberedCache:
    """A cache, by key. It makes no functions, which free-threaded 3.13 never frees, with all that they hold."""

    def __init__(self, number: int, variant: str) -> None:
        self.number = number
        self.cache: AtomicCache[int, tuple[int, int]] = AtomicCache(partial(make_pair, number), index=variant)

    def ask(self, key: int) -> tuple[int, int]:
        return self.cache[key]

    def forget(self, key: int) -> None:
        self.cache.invalidate(key)

    def check(self) -> None:
        assert_valid(self.cache)


def make_pair(number: int, key: int) -> tuple[int, int]:
    return number, key


def make_owner_type(variant: str) -> Any:
    """Make a class whose instances memoize a method."""

    class Owner:
        def __init__(self, number: int) -> None:
            self.number = number

        @AtomicCache.memoize(index=variant)
        def ask(self, key: int) -> tuple[int, int]:
            return self.number, key

        def forget(self, key: int) -> None:
            Owner.ask.invalidate(self, key)

        def check(self) -> None:
            pass

    return Owner
