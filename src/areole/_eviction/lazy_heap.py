"""LazyHeap: entries ordered by a number, their due time.

What arrives in order, as deadlines do while the ttl stays the same, is linked into a queue and leaves it at once. The
rest goes into a heap. An item of the heap whose entry was removed stays there, empty (its entry is None), until it
comes first, or until the empty ones are the larger part: then the heap is built again, O(n), once in O(n) removals.
"""

from __future__ import annotations

import heapq
from builtins import len  # a memoized one may stand in `builtins`, and would be called in the midst of a step
from collections.abc import Iterator
from itertools import chain, count
from math import inf
from typing import Any, Final, TypeAlias

__all__ = ["SPARE", "HeapItem", "LazyHeap"]

HeapItem: TypeAlias = list[Any]
"""Due time, a number of its own by which items of the same time compare, entry, and the queue's items before and after
it."""

SPARE: Final = 64
"""How many items may be empty, whatever the number of the others."""


class LazyHeap:
    """Used under the store's lock. `live` is how many entries there are; iterating gives them, in no order."""

    __slots__ = ("_end", "_heap", "_number", "live")

    def __init__(self) -> None:
        self._end: HeapItem = [-inf, 0, None, None, None]  # after the queue's last item, and before its first
        self._number = count(1).__next__
        self.clear()

    def clear(self) -> None:
        self.live = 0
        self._end[3] = self._end[4] = self._end
        self._heap: list[HeapItem] = []

    def queue(self) -> Iterator[HeapItem]:
        """Iterate over the items of the queue; nothing may change meanwhile."""
        item = self._end[4]
        while item is not self._end:
            yield item
            item = item[4]

    def __iter__(self) -> Iterator[Any]:
        return (item[2] for item in chain(self.queue(), self._heap) if item[2] is not None)

    def add(self, when: float, entry: Any) -> HeapItem:
        end = self._end
        last = end[3]
        if when >= last[0]:
            item = [when, self._number(), entry, last, end]
            last[4] = end[3] = item
        else:
            item = [when, self._number(), entry, None, None]
            heapq.heappush(self._heap, item)
        self.live += 1
        return item

    def remove(self, item: HeapItem) -> None:
        """Release the entry of `item`."""
        _, _, _, before, after = item
        item[2] = None
        self.live -= 1
        if before is not None:
            before[4], after[3] = after, before
            item[3] = item[4] = None
        if len(self._heap) > 2 * self.live + SPARE:
            self._heap = [each for each in self._heap if each[2] is not None]
            heapq.heapify(self._heap)

    def first(self) -> HeapItem | None:
        """Return the item that is due first; None if there is none."""
        heap, first = self._heap, self._end[4]
        while heap and heap[0][2] is None:
            heapq.heappop(heap)
        if heap and (first is self._end or heap[0] < first):
            return heap[0]
        return None if first is self._end else first
