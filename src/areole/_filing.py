"""Filing: entries by a number that says when, the least first; for what has no order that comes for free.

A heap of (when, number); what was filed under the number stands in a dict, and is let go of as soon as it is taken out.
Its pair stays in the heap until it comes to the top; so that the heap cannot fill up with those, a new one is begun
once they are the larger half, and each operation carries a few of the old one's over. No step takes longer the more
there is: whoever looks for the first, and comes upon many such pairs, drops a part of them and is told to look again
later.
"""

from __future__ import annotations

import heapq
from itertools import count
from typing import Any, Final, TypeAlias

__all__ = ["SPARE", "Filing", "Later"]

_Heap: TypeAlias = list[tuple[float, int]]

CARRIED_A_TIME: Final = 4
DROPPED_A_TIME: Final = 64
"""How many pairs of entries that are gone one look drops at most."""

SPARE: Final = 64
"""How many of these a heap may hold, whatever its size."""


class Later:
    """Stands for an answer that takes another look. A class, and used as itself."""


class Filing:
    """Used under the store's lock. `filed` holds the entries by their numbers, which are from 1 on."""

    __slots__ = ("_heap", "_number", "_old", "filed")

    def __init__(self) -> None:
        self.filed: dict[int, Any] = {}
        self._heap: _Heap = []
        self._old: _Heap = []  # that is being carried over, from its end
        self._number = count(1).__next__

    def __len__(self) -> int:
        """Count what is held, pairs of entries that are gone too."""
        return len(self._heap) + len(self._old)

    def add(self, when: float, entry: Any) -> int:
        """File `entry`; return its number."""
        number = self._number()
        self.filed[number] = entry
        heapq.heappush(self._heap, (when, number))
        self._carry_over()
        return number

    def remove(self, number: int) -> None:
        """Let go of what was filed under `number`."""
        self.filed.pop(number, None)
        self._carry_over()

    def first(self) -> Any:
        """Return (when, number) of what stands first; None if there is nothing, `Later` if that is not known yet."""
        for _ in range(DROPPED_A_TIME):
            heap = self._first_heap()
            if not heap:
                return None
            if heap[0][1] in self.filed:
                return heap[0]
            heapq.heappop(heap)
        return Later

    def _first_heap(self) -> _Heap:
        heap, old = self._heap, self._old
        return old if old and (not heap or old[0] < heap[0]) else heap

    def _carry_over(self) -> None:
        if self._old:
            for _ in range(min(CARRIED_A_TIME, len(self._old))):
                pair = self._old.pop()  # the last of a heap: what is left is one
                if pair[1] in self.filed:
                    heapq.heappush(self._heap, pair)
        elif len(self._heap) > 2 * len(self.filed) + SPARE:
            self._old, self._heap = self._heap, []
