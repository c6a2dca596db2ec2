"""Entries in the order in which they expire, so that those that have expired leave before any that live."""

from __future__ import annotations

from typing import Any

from ._filing import Filing, Later

__all__ = ["Deadlines"]


class Deadlines(Filing):
    """Used under the store's lock. `entry.filing` is the number of an entry that is in here, else 0."""

    __slots__ = ()

    def file(self, entry: Any, deadline: float) -> None:
        entry.filing = self.add(deadline, entry)

    def take_off(self, entry: Any) -> None:
        """Let go of `entry`, which leaves the store or is about to be filed anew."""
        number, entry.filing = entry.filing, 0
        self.remove(number)

    def pop_expired(self, now: float) -> Any:
        """Let go of the entry that expired first, and return it; None if none has, `Later` if that is not known yet."""
        first = self.first()
        if first is None or first is Later:
            return first
        if first[0] > now:
            return None
        entry = self.filed.pop(first[1])
        entry.filing = 0
        return entry
