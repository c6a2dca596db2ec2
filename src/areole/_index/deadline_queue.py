"""DeadlineQueue: entries in the order in which they expire, so that expired ones leave before any that live."""

from __future__ import annotations

from math import inf
from typing import Any

from .._eviction.lazy_heap import LazyHeap

__all__ = ["DeadlineQueue"]


class DeadlineQueue(LazyHeap):
    """Used under the store's lock. `entry.expiry` is the item of an entry that is in here, else None.

    Nothing expires before `due`; so most operations need one comparison.
    """

    __slots__ = ("due",)

    def clear(self) -> None:
        super().clear()
        self.due = inf

    def schedule(self, entry: Any, deadline: float) -> None:
        entry.expiry = self.add(deadline, entry)
        if deadline < self.due:
            self.due = deadline

    def cancel(self, entry: Any) -> None:
        item, entry.expiry = entry.expiry, None
        self.remove(item)

    def pop_expired(self, now: float) -> Any:
        """Remove the entry that expired first, and return it; None if none has."""
        if self.due > now:
            return None
        first = self.first()
        self.due = inf if first is None else first[0]
        if first is None or first[0] > now:
            return None
        entry = first[2]
        self.cancel(entry)
        return entry
