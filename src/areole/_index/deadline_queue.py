"""DeadlineQueue: entries in the order in which they expire, so that expired ones leave before any that live."""

from __future__ import annotations

from math import inf
from typing import Any, Final

from .._eviction.lazy_heap import LazyHeap

__all__ = ["DeadlineQueue"]

MOVED_AT_ONCE: Final = 16


class DeadlineQueue(LazyHeap):
    """Used under the store's lock. `entry.expiry` is the item of an entry that is in here, else None.

    Nothing expires before `due`; so most operations need one comparison. A value with IdleTimes that was read meanwhile
    is found before it expires, and is put in again; MOVED_AT_ONCE of them by one call at most.
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
        for _ in range(MOVED_AT_ONCE):
            first = self.first()
            self.due = inf if first is None else first[0]
            if first is None or first[0] > now:
                return None
            entry = first[2]
            self.cancel(entry)
            times = entry.times
            if times is None or (until := times.stale_until) <= now or not entry.is_published:
                return entry
            self.schedule(entry, until)
        return None
