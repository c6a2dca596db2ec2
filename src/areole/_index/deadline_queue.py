"""Entries in the order in which they expire, so that those that have expired leave before any that live."""

from __future__ import annotations

from math import inf
from typing import Any

from .._eviction.lazy_heap import Filing

__all__ = ["Deadlines"]


class Deadlines(Filing):
    """Used under the store's lock. `entry.filing` is the slip of an entry that is in here, else None.

    Before `due` nothing expires; so for most operations one comparison is all that there is to do.
    """

    __slots__ = ("due",)

    def __init__(self) -> None:
        super().__init__()
        self.due = inf

    def file(self, entry: Any, deadline: float) -> None:
        entry.filing = self.add(deadline, entry)
        if deadline < self.due:
            self.due = deadline

    def take_off(self, entry: Any) -> None:
        """Let go of `entry`, which leaves the store or is about to be filed anew."""
        slip, entry.filing = entry.filing, None
        self.remove(slip)

    def pop_expired(self, now: float) -> Any:
        """Release the entry that expired first, and return it; None if none has."""
        if self.due > now:
            return None
        first = self.first()
        self.due = inf if first is None else first[0]
        if first is None or first[0] > now:
            return None
        entry = first[2]
        self.take_off(entry)
        return entry
