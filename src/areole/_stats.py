"""Counters that threads do not fight over, and CacheInfo."""

from __future__ import annotations

import threading
from contextlib import suppress
from dataclasses import dataclass

from cereggii import AtomicInt64

from ._refcount import defer
from ._weak import WeakTable

__all__ = ["CacheInfo", "Counters", "HitCounter"]


@dataclass(frozen=True, slots=True)
class CacheInfo:
    """What a cache has done so far; each number is exact at rest.

    `hits` is None unless the cache was made with `stats=True`. `misses` are lookups that found no value, `waits` those
    of them that waited for somebody else's fill; `fills` are runs of the fill function, `failures` those that raised.
    `maxsize` (None: unbounded) and `currsize` are in items. `stale_hits` are lookups that were served a value past its
    ttl, which are neither hits nor misses; `background_fills` are fills that began in the background (see Resilience).
    """

    hits: int | None
    misses: int
    maxsize: int | None
    currsize: int
    fills: int
    failures: int
    evictions: int
    expirations: int
    waits: int
    stale_hits: int = 0
    background_fills: int = 0


class Counters:
    """What is counted off the hit path: atomic integers, since every such step costs far more than they do."""

    __slots__ = (
        "background_fills",
        "evictions",
        "expirations",
        "failures",
        "fills",
        "misses",
        "stale_hits",
        "waits",
    )

    def __init__(self) -> None:
        for name in self.__slots__:
            setattr(self, name, AtomicInt64(0))

    def within(self) -> Counters:
        """Make counters of a part of what these count: each step of one of them is one of these too.

        What leaves the cache is not counted by its parts: evictions and expirations are the same for all.
        """
        inner = Counters()
        for name in self.__slots__:
            outer = getattr(self, name)
            is_of_all = name in ("evictions", "expirations")
            setattr(inner, name, outer if is_of_all else _Within(outer))
        return inner

    background_fills: AtomicInt64
    evictions: AtomicInt64
    expirations: AtomicInt64
    failures: AtomicInt64
    fills: AtomicInt64
    misses: AtomicInt64
    stale_hits: AtomicInt64
    waits: AtomicInt64


class _Within:
    """A counter whose every step is one of another counter too. At rest both are exact."""

    __slots__ = ("_outer", "_own")

    def __init__(self, outer: AtomicInt64) -> None:
        self._own, self._outer = AtomicInt64(0), outer

    def increment_and_get(self) -> int:
        self._outer.increment_and_get()
        count: int = self._own.increment_and_get()
        return count

    def decrement_and_get(self) -> int:
        self._outer.decrement_and_get()
        count: int = self._own.decrement_and_get()
        return count

    def get(self) -> int:
        count: int = self._own.get()
        return count


class _Tally:
    """One thread's count of hits; adds itself to those of dead threads when its thread ends."""

    __slots__ = ("__weakref__", "_dead", "count")

    def __init__(self, dead: AtomicInt64) -> None:
        self.count = 0
        self._dead = dead

    def __del__(self) -> None:
        with suppress(AttributeError):  # interrupted before it was made
            self._dead.increment_and_get(self.count)


class HitCounter:
    """Counts hits without a contended write: every thread has a tally that it alone writes.

    `count += 1` is not atomic and need not be: nobody else writes that tally, and nothing between its load and its
    store calls anything. `total` is exact at rest.
    """

    __slots__ = ("_dead", "_local", "_tallies")

    def __init__(self) -> None:
        self._local = threading.local()
        self._tallies: WeakTable[None] = WeakTable()
        self._dead = AtomicInt64(0)
        defer(self._local)

    def add(self) -> None:
        try:
            self._local.tally.count += 1
        except AttributeError:
            self._start_tally().count += 1

    def _start_tally(self) -> _Tally:
        tally = _Tally(self._dead)
        self._tallies.add_if_absent(tally, None)  # before it can be counted in
        self._local.tally = tally
        return tally

    def total(self) -> int:
        total: int = self._dead.get() + sum(tally.count for tally in self._tallies.objects())
        return total
