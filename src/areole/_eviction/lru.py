"""Least-recently-used order, as seen from one thread, without a lock on a hit; exact as long as hits are not too many.

A hit writes the time of it into the entry, `used`, and nothing else. In one source line, for those who write it out:

    entry.used = tick()                      # `tick` is the policy's; with a GIL: for entry.used in ticks: break

Entries are filed by the `used` that they had then: new ones in a ring, where that order comes for free, those that
were used since in `_again` (see _filing). What was filed first is evicted if it has not been used since, else it is
filed again. As no entry is used before it was filed, what is evicted is the least recently used of all.

An eviction takes a bounded time, whatever was used before it: it files at most `FILED_A_TIME` entries again that way.
So it is exact as long as fewer than that were used since they were filed and stand before the least recently used one.
Past that, it evicts the least recently used of all that are in `_again`, for which it files again at most as many of
them; past that too, the least recently used of those that it has looked at. The next eviction goes on from there: once
all of n entries were used, evictions are exact again after n / FILED_A_TIME of them.

Kept here:

  - An entry is in the ring (its `place` is True) or in `_again` (`place` is its slip), or in neither (None).
  - An entry that is removed is released at once.
  - No key is touched: places compare by two numbers.

Not promised: the order of uses by several threads at once, where one may write its time after another wrote a later
one.

Compared (`python -m benchmarks.lru_note`, 3.13 with a GIL, where a lookup alone takes 40 ns): the next number written
into the entry, 66 ns; the clock's reading, 95; appending the entry to a log, 54, which somebody has to empty, whether
or not anything is ever evicted; `OrderedDict.move_to_end` needs a lock.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from itertools import count
from operator import attrgetter
from typing import Any, Final

from .._core.entry import NOT_YET, Empty, StoredEntry
from .intrusive_list import Ring
from .lazy_heap import Filing

__all__ = ["LruPolicy"]

_when_filed = attrgetter("filed")

FILED_A_TIME: Final = 256
"""How many entries one eviction files again at most before it goes by what is known; and then once more as many.

One takes 1 to 4 microseconds, the most in a store of a million entries that were used in an order of their own.
"""


def make_tick() -> Callable[[], int]:
    """Return a function without arguments whose results do not go down.

    With a GIL that is a counter: `count.__next__` is one atomic step (see `_locks`). Without one, threads would fight
    over it (on two threads 17 million hits a second, against 33 million), so that it is the clock, and uses within one
    step of it tie.
    """
    has_gil = getattr(sys, "_is_gil_enabled", lambda: True)()
    return count(1).__next__ if has_gil else time.perf_counter_ns


class LruEntry(StoredEntry):
    __slots__ = ("after", "before", "filed", "place", "used")
    used: int  # known from `add` on
    filed: int  # what `used` was then; known from `add` on
    after: Any  # the next in the ring, and the one before it; known while it is there
    before: Any

    def __init__(
        self,
        key: Any,
        flight: Any = None,
        value: Any = Empty,
        deadline: float | None = NOT_YET,
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
        self.filing = self.times = None
        self.asks = True
        self.place: Any = None


class LruPolicy:
    """See the module."""

    entry_type = LruEntry
    needs_hash = False

    def __init__(self) -> None:
        self.keeps_asking = True
        self.tick = make_tick()
        self.touch_source = "{entry}.used = {tick}()"
        self.touch_with: Any = self.tick
        ticks = getattr(self.tick, "__self__", None)
        if isinstance(ticks, count):  # one step of a `for` stores its next number without a call
            self.touch_source, self.touch_with = "for {entry}.used in {tick}: break", ticks
        self.clear()

    def clear(self) -> None:
        """Release all entries; ticks go on."""
        self._ring = Ring()
        self._again = Filing()

    def __len__(self) -> int:
        return self._ring.length + self._again.held

    def __iter__(self) -> Iterator[LruEntry]:
        """Go through the entries, in no order; nothing may change meanwhile."""
        yield from self._again
        yield from self._ring

    def touch(self, entry: LruEntry) -> None:
        entry.used = self.tick()

    def add(self, entry: LruEntry) -> None:
        entry.filed = entry.used = self.tick()
        entry.place = True
        ring = self._ring  # `ring.append`, written out, as every `set` comes by here
        entry.before = last = ring.before
        entry.after = ring
        last.after = ring.before = entry
        ring.length += 1

    def remove(self, entry: LruEntry) -> None:
        place, entry.place = entry.place, None
        if place is True:
            self._ring.remove(entry)
        elif place is not None:
            self._again.remove(place)

    def evict(self) -> LruEntry:
        ring = self._ring
        entry: LruEntry = ring.after
        if not self._again.held and entry.used == entry.filed:  # what follows, written out for what is most frequent
            entry.place = None
            ring.after = after = entry.after
            after.before = ring
            entry.before = entry.after = None
            ring.length -= 1
            return entry
        entry = self._least_recently_used()
        self.remove(entry)
        return entry

    def _least_recently_used(self) -> LruEntry:
        filed: list[LruEntry] = []
        most = min(FILED_A_TIME, len(self))  # others may use all entries again meanwhile
        for first in (self._first, self._first_again):
            for _ in range(most):
                entry = first()
                used = entry.used  # read once: others may write it
                if used == entry.filed:
                    return entry
                self._file_again(entry, used)
                filed.append(entry)
        return min(filed, key=_when_filed)

    def _first(self) -> LruEntry:
        """Find the entry that was filed first."""
        first = self._ring.after
        again = self._again.first()
        if again is None or (first is not self._ring and first.filed <= again[0]):
            return first  # type: ignore[no-any-return]
        return again[2]  # type: ignore[no-any-return]

    def _first_again(self) -> LruEntry:
        """Find the first of those that were filed again; there are some."""
        return self._again.first()[2]  # type: ignore[index, no-any-return]

    def _file_again(self, entry: LruEntry, used: int) -> None:
        """Move the entry that was filed first to where it belongs by now."""
        if entry.place is True:
            self._ring.remove(entry)
        else:
            self._again.remove(entry.place)
        entry.filed = used
        entry.place = self._again.add(used, entry)
