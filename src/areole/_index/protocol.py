"""What an index is: key -> Entry. Three of them, one contract.

find(key)                the entry, or None
insert_if_absent(entry)  one step from absent; returns the entry that is in afterwards
replace_if(old, new)     only if the index still holds `old`, whose     (invariant 9: identity decides,
                         value `new` shows from then on                  never the key)
remove_if(entry, by)     only if the index still holds `entry`
                         and, with `expired_by`, only if it has expired by then
publish(entry, ...)      give an entry that is in a new value, in one step with what that removes
discard(entries)         remove these by identity, where their keys do not find them any more
snapshot()               the entries at some moment, in a new list
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Sequence
from typing import Any, Protocol

from .._core.entry import Entry, Removal

__all__ = ["EntriesView", "Index"]


class EntriesView(Protocol):
    """What a hit reads: raises KeyError where there is nothing."""

    def __getitem__(self, key: Any, /) -> Entry: ...


class Index(Protocol):
    """See the module. `entries` is what a hit reads; `name` is what `index=` calls it."""

    name: str
    lock: Any
    is_bounded: bool
    max_items: int | None
    rebuilds: int
    unreported: deque[Removal]
    tags: Any
    """The TagTable of its entries, see `_state.tags`; None: none of them has ever had a tag."""

    @property
    def entry_type(self) -> type[Entry]: ...
    @property
    def record_access(self) -> Callable[[Any], None] | None: ...
    def twin(self) -> Index: ...

    @property
    def entries(self) -> EntriesView: ...
    def find(self, key: Any) -> Entry | None: ...
    def insert_if_absent(self, entry: Entry) -> Entry: ...
    def replace_if(self, old: Entry, new: Entry) -> bool: ...
    def remove_if(self, entry: Entry, expired_by: float | None = None) -> bool: ...
    def publish(self, entry: Entry, value: Any, deadline: Any, weight: int, now: float) -> Sequence[Removal]: ...
    def discard(self, entries: Collection[Entry]) -> list[Entry]: ...
    def find_again(self, key: Any) -> Entry | None: ...
    def snapshot_again(self) -> list[Entry]: ...
    def weigh(self, key: Any, value: Any) -> int: ...
    def snapshot(self) -> list[Entry]: ...
    def take_unreported(self) -> list[Removal]: ...
