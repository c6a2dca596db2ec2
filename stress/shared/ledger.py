"""The ledger: the source of truth of a run, what has been invalidated, and all counts. Memory that processes share.

Each number is 8 bytes at a multiple of 8, and is written by one thread alone; so it is read and written as a whole, and
nobody needs a lock. It is a file that all processes map: what one writes, the others see without delay, and what a
process has counted stays when it is killed.
"""

from __future__ import annotations

import mmap
from collections import Counter
from pathlib import Path
from typing import Final

from .settings import KEYS

__all__ = ["COUNTS", "PLACES", "Counts", "Ledger"]

COUNTS: Final = ("reads", "hits", "fills", "filled", "stale", "wrong", "errors", "invalidations", "forks", "refused")
"""`fills` are counted when they have read the source, `filled` when they return: between the two, one is running."""

PLACES: Final = 5  # processes
_SLOTS: Final = 32  # threads and tasks of each
_WIDTH: Final = len(COUNTS)
_HEADER: Final = 1 + 2 * PLACES


class Counts:
    """What one thread has counted. A name is a place in the ledger: `counts.add("reads")`."""

    __slots__ = ("_at", "_numbers")

    def __init__(self, numbers: memoryview, at: int) -> None:
        self._numbers, self._at = numbers, at

    def add(self, name: str, n: int = 1) -> None:
        self._numbers[self._at + COUNTS.index(name)] += n


class Ledger:
    """`source` and `published` are of versions, by the key's number; the writing process alone writes them.

    `hold` stops the fills of a process for as long as it is set; `ready` says that it has started.
    """

    def __init__(self, folder: str) -> None:
        path = Path(folder) / "ledger"
        if not path.exists():
            size = _HEADER + 2 * len(KEYS) + PLACES * _SLOTS * _WIDTH
            path.write_bytes(bytes(8 * size))
        with path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), 0)
        numbers = memoryview(self._map).cast("q")
        self._numbers = numbers
        self.ready = numbers[1 : 1 + PLACES]
        self.hold = numbers[1 + PLACES : _HEADER]
        self.source = numbers[_HEADER : _HEADER + len(KEYS)]
        self.published = numbers[_HEADER + len(KEYS) : _HEADER + 2 * len(KEYS)]

    @property
    def is_over(self) -> bool:
        return bool(self._numbers[0])

    def end(self) -> None:
        self._numbers[0] = 1

    def counts(self, place: int, slot: int) -> Counts:
        assert slot < _SLOTS, "more threads and tasks than there is room for"
        return Counts(self._numbers, _HEADER + 2 * len(KEYS) + (place * _SLOTS + slot) * _WIDTH)

    def totals(self, *places: int) -> Counter[str]:
        """Add up what was counted in these processes; without any, in all."""
        totals: Counter[str] = Counter()
        for place in places or range(PLACES):
            for slot in range(_SLOTS):
                at = _HEADER + 2 * len(KEYS) + (place * _SLOTS + slot) * _WIDTH
                for i, name in enumerate(COUNTS):
                    totals[name] += self._numbers[at + i]
        return totals

    def close(self) -> None:
        for view in (self.ready, self.hold, self.source, self.published, self._numbers):
            view.release()
        self._map.close()
