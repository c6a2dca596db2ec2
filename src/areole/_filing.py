"""Filing: entries by a number that says when, the least first.

What stands for an entry is its slip, [when, number, entry]. What comes in order, as deadlines do while the ttl is one
and the same, is appended to a queue; the rest goes into a heap. An entry that leaves is let go of at once: its slip
holds None from then on, and stays until it comes to be the first. So that a structure cannot fill up with those, the
larger of the two is begun anew once they are the larger half, and each operation carries a few of the old one's slips
over, to the heap. No step takes longer the more there is: whoever looks for the first, and comes upon many empty slips,
drops a part of them and is told to look again later.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Iterator
from itertools import chain, count
from typing import Any, Final, TypeAlias

__all__ = ["SPARE", "Filing", "Later", "Slip"]

Slip: TypeAlias = list[Any]
"""When, a number of its own, by which slips of the same time compare, and the entry, or None once that is gone."""

CARRIED_A_TIME: Final = 4
DROPPED_A_TIME: Final = 64
"""How many empty slips one look drops at most."""

SPARE: Final = 64
"""How many of these there may be, whatever the number of the others."""


class Later:
    """Stands for an answer that takes another look. A class, and used as itself."""


class Filing:
    """Used under the store's lock. `held` is how many entries are filed; iterating gives them, in no order."""

    __slots__ = ("_empty", "_heap", "_number", "_old", "_queue", "held")

    def __init__(self) -> None:
        self.held = 0
        self._empty = 0  # slips
        self._queue: deque[Slip] = deque()
        self._heap: list[Slip] = []
        self._old: deque[Slip] | list[Slip] = []  # that is being carried over, from its end
        self._number = count(1).__next__

    def __len__(self) -> int:
        """Count the slips, empty ones too."""
        return self.held + self._empty

    def __iter__(self) -> Iterator[Any]:
        return (slip[2] for slip in chain(self._queue, self._heap, self._old) if slip[2] is not None)

    def add(self, when: float, entry: Any) -> Slip:
        """File `entry`; return its slip."""
        slip = [when, self._number(), entry]
        queue = self._queue
        if not queue or when >= queue[-1][0]:
            queue.append(slip)
        else:
            heapq.heappush(self._heap, slip)
        self.held += 1
        if self._old:
            self._carry_over()
        return slip

    def remove(self, slip: Slip) -> None:
        """Let go of the entry that was filed with `slip`."""
        slip[2] = None
        self.held -= 1
        queue = self._queue
        if queue and queue[0] is slip:
            queue.popleft()
        else:
            self._empty += 1
            self._carry_over()

    def first(self) -> Any:
        """Return the slip that stands first; None if there is nothing, `Later` if that is not known yet."""
        for _ in range(DROPPED_A_TIME):
            slips = self._first_of_all()
            if not slips:
                return None
            if slips[0][2] is not None:
                return slips[0]
            self._empty -= 1
            if isinstance(slips, deque):
                slips.popleft()
            else:
                heapq.heappop(slips)
        return Later

    def _first_of_all(self) -> deque[Slip] | list[Slip]:
        """Return the one of the three whose first slip comes first; an empty one, if all are."""
        first: deque[Slip] | list[Slip] = self._queue
        for slips in (self._heap, self._old):
            if slips and (not first or slips[0] < first[0]):
                first = slips
        return first

    def _carry_over(self) -> None:
        if self._old:
            for _ in range(min(CARRIED_A_TIME, len(self._old))):
                slip = self._old.pop()  # the last, of a queue or a heap: what is left is in order
                if slip[2] is None:
                    self._empty -= 1
                else:
                    heapq.heappush(self._heap, slip)
        elif self._empty > self.held + SPARE:
            if len(self._queue) > len(self._heap):
                self._old, self._queue = self._queue, deque()
            else:
                self._old, self._heap = self._heap, []
