"""Ring: a queue linked through its entries, first in, first out, from which any can be taken out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

__all__ = ["Ring"]


class Ring:
    """Its entries have slots `before` and `after`, and stand in one ring at most.

    An entry taken out is let go of at once, and keeps no other. Against an OrderedDict, a step takes some 30 ns where
    that takes 100, and an entry 16 bytes where that takes 150.
    """

    __slots__ = ("after", "before", "length")

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        self.after: Any = self  # the first; where there is none, the ring itself
        self.before: Any = self
        self.length = 0

    def __len__(self) -> int:
        return self.length

    def __iter__(self) -> Iterator[Any]:
        """Go from the first to the last; nothing may change meanwhile."""
        entry = self.after
        while entry is not self:
            yield entry
            entry = entry.after

    def append(self, entry: Any) -> None:
        entry.before = last = self.before
        entry.after = self
        last.after = self.before = entry
        self.length += 1

    def rotate(self) -> None:
        """Move the first to the end; there is one."""
        entry = self.after
        self.after = after = entry.after
        after.before = self
        entry.before = last = self.before
        entry.after = self
        last.after = self.before = entry

    def remove(self, entry: Any) -> None:
        before, after = entry.before, entry.after
        before.after, after.before = after, before
        entry.before = entry.after = None
        self.length -= 1
