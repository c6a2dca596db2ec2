"""Least-recently-used order, as seen from one thread, without a lock on a hit; exact unless hits are very many.

A hit writes its time into the entry, `last_used`, and nothing else. In one source line, for generated code:

    entry.last_used = tick()                 # `tick` is the policy's; with a GIL: for entry.last_used in ticks: break

An entry is filed by the `last_used` that it had then (`filed_at`): a new one in a list, where that order comes for
free, one that was used since in `_again`, a heap. What was filed first is evicted if it has not been used since, else
it is filed again. As no entry is used before it was filed, the one evicted is the least recently used of all.

An eviction takes a bounded time: it files at most `FILED_A_TIME` entries again that way, and then at most as many of
those in `_again`. So it is exact as long as fewer were used since they were filed and come before the least recently
used one; past that, it evicts the least recently used of those in `_again`. Once all of n entries were used, evictions
are exact again after n / FILED_A_TIME of them.

Not promised: the order of uses by several threads at once, where one may write its time after another wrote a later
one.

Compared (`python -m benchmarks.lru_note`, 3.13 with a GIL, where a lookup alone takes 40 ns): the next number written
into the entry, 66 ns; the clock's reading, 95; appending the entry to a log, 54, which somebody has to empty;
`OrderedDict.move_to_end` needs a lock.
"""

from __future__ import annotations

import sys
import time
from builtins import len  # a memoized one may stand in `builtins`, and would be called in the midst of a step
from collections.abc import Callable, Iterator
from itertools import count
from typing import Any, Final

from .._core.entry import UNPUBLISHED, Empty, StoredEntry
from .intrusive_list import IntrusiveList
from .lazy_heap import LazyHeap

__all__ = ["LruPolicy"]

FILED_A_TIME: Final = 256
"""One takes 1 to 4 microseconds, the most in a store of a million entries that were used in an order of their own."""


def make_tick() -> Callable[[], int]:
    """Return a function without arguments whose results do not go down.

    With a GIL that is a counter: `count.__next__` is one atomic step (see `_platform/locks`). Without one, threads
    would fight over it (on two threads 17 million hits a second, against 33 million), so that it is the clock, and uses
    within one step of it tie.
    """
    has_gil = getattr(sys, "_is_gil_enabled", lambda: True)()
    return count(1).__next__ if has_gil else time.perf_counter_ns


class LruEntry(StoredEntry):
    __slots__ = ("after", "before", "filed_at", "last_used", "position")
    last_used: int  # known from `add` on, like the next
    filed_at: int  # what `last_used` was then
    position: Any  # True: in the list; its item in `_again`; None: in neither
    after: Any  # its neighbours in the list, while it is there
    before: Any

    def __init__(
        self,
        key: Any,
        flight: Any = None,
        value: Any = Empty,
        deadline: float | None = UNPUBLISHED,
        weight: int = 0,
        key_hash: int | None = None,
    ) -> None:
        self.key = key
        self.value = value
        self.deadline = deadline
        self.flight = flight
        self.hash = key_hash
        self.weight = weight
        self.is_stored = False
        self.expiry = self.times = self.position = None
        self.needs_access = True


class LruPolicy:
    """See the module."""

    entry_type = LruEntry
    noted_in = "last_used"
    needs_hash = False

    def __init__(self) -> None:
        self.always_records = True
        self.tick = make_tick()
        self.record_source = "{entry}.last_used = {tick}()"
        self.record_with: Any = self.tick
        ticks = getattr(self.tick, "__self__", None)
        if isinstance(ticks, count):  # one step of a `for` stores its next number without a call
            self.record_source, self.record_with = "for {entry}.last_used in {tick}: break", ticks
        self.clear()

    def clear(self) -> None:
        """Forget all entries; ticks go on."""
        self._list = IntrusiveList()
        self._again = LazyHeap()

    def __len__(self) -> int:
        return self._list.length + self._again.live

    def __iter__(self) -> Iterator[LruEntry]:
        yield from self._again
        yield from self._list

    def record_access(self, entry: LruEntry) -> None:
        entry.last_used = self.tick()

    def add(self, entry: LruEntry) -> None:
        entry.filed_at = entry.last_used = self.tick()
        entry.position = True
        entries = self._list  # `append`, written out, as every `set` comes here
        entry.before = last = entries.before
        entry.after = entries
        last.after = entries.before = entry
        entries.length += 1

    def remove(self, entry: LruEntry) -> None:
        position, entry.position = entry.position, None
        if position is True:
            self._list.remove(entry)
        elif position is not None:
            self._again.remove(position)

    def evict(self) -> LruEntry:
        entries = self._list
        entry: LruEntry = entries.after
        if self._again.live or entry.last_used != entry.filed_at:
            entry = self._least_recently_used()
            self.remove(entry)
            return entry
        entry.position = None  # `remove`, written out
        entries.after = after = entry.after
        after.before = entries
        entry.before = entry.after = None
        entries.length -= 1
        return entry

    def _least_recently_used(self) -> LruEntry:
        most = min(FILED_A_TIME, len(self))  # others may use all entries again meanwhile
        for first in (self._first, self._first_again):
            for _ in range(most):
                entry = first()
                last_used = entry.last_used  # read once: others may write it
                if last_used == entry.filed_at:
                    return entry
                self._file_again(entry, last_used)
        return self._first_again()

    def _file_again(self, entry: LruEntry, last_used: int) -> None:
        self.remove(entry)
        entry.filed_at = last_used
        entry.position = self._again.add(last_used, entry)

    def _first(self) -> LruEntry:
        """Return the entry that was filed first."""
        first = self._list.after
        again = self._again.first()
        if again is None or (first is not self._list and first.filed_at <= again[0]):
            return first  # type: ignore[no-any-return]
        return again[2]  # type: ignore[no-any-return]

    def _first_again(self) -> LruEntry:
        return self._again.first()[2]  # type: ignore[index, no-any-return]
