"""ItemLimit: at most so many items of those that this process has read or stored; after `maxsize` of grelmicro."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from .._cache.storage import Storage
from .._state.live_caches import live_caches
from ..typing import RemovalCause

__all__ = ["ItemLimit"]


class ItemLimit:
    """Knows, by an LRU kept in this process, which names are to be removed from the store."""

    __slots__ = ("_evicted", "_names", "max_items")

    def __init__(self, max_items: int) -> None:
        self.max_items = max_items
        self._evicted: list[str] = []
        self._names: Storage[None] = Storage(max_items=max_items, on_removal=self._on_removal)
        live_caches.discard(self._names._state)  # it is none of the user's: neither to be measured nor to be emptied

    def _on_removal(self, name: str, value: None, cause: Any) -> None:
        if cause is RemovalCause.EVICTED:
            self._evicted.append(name)

    def note(self, name: str) -> Iterable[str]:
        """Note a use of `name`; return the names that are to be removed now, each to one caller."""
        self._names.set(name, None)
        names = []
        while self._evicted:
            try:
                names.append(self._evicted.pop())
            except IndexError:  # another thread has it
                break
        return names

    def forget(self, names: Iterable[str]) -> None:
        self._names.delete_many(list(names))

    def clear(self) -> None:
        self._names.clear()

    def __len__(self) -> int:
        return self._names.number_of_items
