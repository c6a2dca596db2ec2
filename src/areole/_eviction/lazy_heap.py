"""Filing: entries by a number that says when, the least first.

What stands for an entry is its slip, a list of when, a number of its own by which slips of the same time compare, the
entry, and the slips before and after it in the queue. What comes in order, as deadlines do while the ttl is one and the
same, is linked into the queue, and leaves it at once. The rest goes into a heap. A slip in there cannot leave until it
is the first: one whose entry was removed is empty, it holds None. So that a heap cannot fill up with those, it is begun
again once they are the larger part, and each operation carries a few of the old one's slips over.

No step takes longer the more there is, but for this: whoever looks for the first drops the empty slips before it. There
are at most as many as entries were removed before, and each is dropped once.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from itertools import chain, count
from math import inf
from typing import Any, Final, TypeAlias

__all__ = ["SPARE", "Filing", "Slip"]

Slip: TypeAlias = list[Any]

CARRIED_A_TIME: Final = 4

SPARE: Final = 64
"""How many slips may be empty, whatever the number of the others."""


class Filing:
    """Used under the store's lock. `held` is how many entries are filed; iterating gives them, in no order."""

    __slots__ = ("_empty", "_end", "_heap", "_number", "_old", "held")

    def __init__(self) -> None:
        self.held = 0
        self._empty = 0  # slips
        self._end: Slip = [-inf, 0, None, None, None]  # comes after the queue's last slip, and before its first
        self._end[3] = self._end[4] = self._end
        self._heap: list[Slip] = []
        self._old: list[Slip] = []  # a heap that is being carried over, from its end
        self._number = count(1).__next__

    def __len__(self) -> int:
        """Count the slips, empty ones too."""
        return self.held + self._empty

    def __iter__(self) -> Iterator[Any]:
        return (slip[2] for slip in chain(self.queue(), self._heap, self._old) if slip[2] is not None)

    def queue(self) -> Iterator[Slip]:
        """Go through the slips in the queue; nothing may change meanwhile."""
        slip = self._end[4]
        while slip is not self._end:
            yield slip
            slip = slip[4]

    def add(self, when: float, entry: Any) -> Slip:
        """File `entry`; return its slip."""
        end = self._end
        last = end[3]
        if when >= last[0]:
            slip = [when, self._number(), entry, last, end]
            last[4] = end[3] = slip
        else:
            slip = [when, self._number(), entry, None, None]
            heapq.heappush(self._heap, slip)
        self.held += 1
        if self._old:
            self._carry_over()
        return slip

    def remove(self, slip: Slip) -> None:
        """Release the entry that was filed with `slip`."""
        _, _, _, before, after = slip
        slip[2] = None
        self.held -= 1
        if before is None:
            self._empty += 1
            self._carry_over()
        else:
            before[4], after[3] = after, before
            slip[3] = slip[4] = None

    def first(self) -> Slip | None:
        """Return the slip that stands first; None if there is none."""
        first: Slip = self._end[4]
        for heap in (self._heap, self._old):
            while heap and heap[0][2] is None:
                heapq.heappop(heap)
                self._empty -= 1
            if heap and (first is self._end or heap[0] < first):
                first = heap[0]
        return None if first is self._end else first

    def _carry_over(self) -> None:
        old = self._old
        if old:
            for _ in range(min(CARRIED_A_TIME, len(old))):
                slip = old.pop()  # the last of a heap: what is left is in order
                if slip[2] is None:
                    self._empty -= 1
                else:
                    heapq.heappush(self._heap, slip)
        elif self._empty > self.held + SPARE:
            self._old, self._heap = self._heap, old
