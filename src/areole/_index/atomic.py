"""AtomicDictIndex: an insert-only AtomicDict of cells.

A `cereggii.AtomicDict` is sound as long as nothing is ever deleted from it and no value replaced. So its values are
cells that stay, and what comes and goes is the entry in the cell. Inserts of new keys by several threads do not share a
lock.
"""

from __future__ import annotations

import sys
from collections.abc import Collection
from threading import get_ident
from typing import Any, Final

from cereggii import NOT_FOUND, AtomicDict, AtomicInt64, ExpectationFailed

from .._core.entry import UNPUBLISHED, Empty, Entry
from .._platform.locks import run_locked
from .base import IndexBase
from .dict import DictIndex

__all__ = ["AtomicDictIndex", "may_make_another"]

MAX_ATOMIC_DICTS: Final = 256
"""An AtomicDict takes one of the C library's 1,024 thread-specific keys; others may need some too."""


SHARDS: Final = 16
"""Lists of cells an AtomicDictIndex has: threads that insert at once append to one each."""


_atomic_dicts = AtomicInt64(0)  # how many there are now


class _Vacant:
    """Stands in a cell for "no entry", and looks like an entry without a value to a hit."""

    value = Empty
    deadline = UNPUBLISHED
    flight = None
    is_published = False

    @staticmethod
    def is_live(now: float) -> bool:
        return False


_VACANT: Any = _Vacant

CALLS_IN_C_ARE_FRAMES: Final = sys.version_info < (3, 12)

_DEEP: Any = [[[[1]]]]
_AS_DEEP: Any = [[[[1]]]]


def _need_frames() -> None:
    """Raise RecursionError if no frames are left for what cereggii does, where its calls in C count as frames.

    An AtomicDict that is to grow where none is left frees its memory twice, and the process aborts.
    """
    _DEEP == _AS_DEEP  # noqa: B015  (each level of a comparison counts)


class _Cell:
    __slots__ = ("entry",)
    entry: Any  # set by who makes it, before others can see it: an `__init__` would be one more frame a fill


class _CellsView:
    """Reads through the cells, for `cache[key]`; generated wrappers write the same expression out."""

    __slots__ = ("_cells",)

    def __init__(self, cells: Any) -> None:
        self._cells = cells

    def __getitem__(self, key: Any) -> Entry:
        cell: _Cell = self._cells[key]
        entry: Entry = cell.entry
        return entry


class AtomicDictIndex(IndexBase):
    """An insert-only AtomicDict of cells: an invalidated key's cell stays, and is used again."""

    __slots__ = ("_shards", "cells", "entries")
    name = "atomic"

    def __init__(self) -> None:
        _atomic_dicts.increment_and_get()  # first: `__del__` runs even if this fails
        super().__init__()  # its lock guards every change of a `cell.entry`
        self.cells = AtomicDict[Any, _Cell]()
        self.entries = _CellsView(self.cells)
        # All cells, for `snapshot`: an AtomicDict cannot be scanned while others insert. Threads share no list.
        self._shards: list[list[_Cell]] = [[] for _ in range(SHARDS)]

    def __del__(self, count_out: Any = _atomic_dicts.decrement_and_get) -> None:
        count_out()  # bound early: at interpreter exit the module's names are gone

    def twin(self) -> Any:
        """Make a dict index with the same lock."""
        return DictIndex(self.lock)

    def find(self, key: Any) -> Entry | None:
        try:
            cell: _Cell = self.cells[key]
        except KeyError:
            return None
        entry: Entry | None = cell.entry
        return None if entry is _VACANT else entry

    def insert_if_absent(self, entry: Entry) -> Entry:
        try:
            cell: _Cell = self.cells[entry.key]
        except KeyError:
            if self._insert_cell(entry):
                return entry
            cell = self.cells[entry.key]
        return run_locked(self.lock, self._fill_cell, cell, entry)

    def _fill_cell(self, cell: _Cell, entry: Entry) -> Entry:
        found: Entry = cell.entry  # read once: nested code may remove `entry` again
        if found is not _VACANT:
            return found
        if self._leaving:
            self._placed[entry] = None
        cell.entry = entry
        return entry

    def _insert_cell(self, entry: Entry) -> bool:
        if CALLS_IN_C_ARE_FRAMES:
            _need_frames()
        cell = _Cell()
        cell.entry = entry
        shard = self._shards[get_ident() // 4096 % SHARDS]
        try:
            shard.append(cell)  # before it can be found: `clear` must see whatever a reader can
            self.cells.compare_and_set(entry.key, NOT_FOUND, cell)
        except ExpectationFailed:
            run_locked(self.lock, self._withdraw, shard, cell, entry)
            return False
        except BaseException:  # from a method of the key; or an interrupt, and then the cell may be in
            run_locked(self.lock, self._swap_cell, cell, entry, _VACANT)  # unless it was invalidated since
            raise
        return True

    def _withdraw(self, shard: list[_Cell], cell: _Cell, entry: Entry) -> None:
        """Take back a cell that did not get in, and the mark that a `clear` may have given its flight meanwhile.

        1. A's cell is in the shard, not yet in the dict    3. B fills: its cell is in first
        2. a `clear` empties it, and marks A's flight       4. A refreshes B's value, and what it brings is lost.
        """
        shard.remove(cell)
        if entry.flight is not None:
            entry.flight.is_detached = False

    def _store_successor(self, old: Any, new: Any) -> bool:
        return self._swap(old, new)

    def remove_if(self, entry: Entry, expired_by: float | None = None) -> bool:
        return run_locked(self.lock, self._remove, entry, expired_by)

    def _remove(self, entry: Entry, expired_by: float | None) -> bool:
        if expired_by is not None and entry.is_usable(expired_by):
            return False
        return self._swap(entry, _VACANT)

    def _swap(self, old: Entry, new: Any) -> bool:
        try:
            cell = self.cells[old.key]
        except KeyError:
            return False
        return self._swap_cell(cell, old, new)

    def _swap_cell(self, cell: _Cell, old: Entry, new: Any) -> bool:
        """Put `new` into the cell if `old` is in; False if nested code has removed that, before or in the middle."""
        self._leaving[old] = None
        try:
            if cell.entry is not old:
                return False
            cell.entry = new
        finally:
            is_removed = old not in self._leaving
            self._leaving.pop(old, None)
        if not is_removed and new is _VACANT:
            self._note_removed(old)
        for placed in list(self._placed) if is_removed else ():
            is_there = self.find(placed.key) is placed
            if self._placed.pop(placed, Empty) is None and not is_there:  # not removed, but overwritten by `new`
                self._drop(placed)
        self._placed.clear()
        return not is_removed

    def discard(self, entries: Collection[Entry]) -> list[Entry]:
        """Remove those of `entries` that are in, also where their keys' hashes have changed; return them. O(n)."""
        return run_locked(self.lock, self._discard, set(entries))

    def _discard(self, unwanted: set[Entry]) -> list[Entry]:
        removed: list[Entry] = []
        for cell in [cell for shard in self._shards for cell in shard.copy()]:
            entry = cell.entry
            if entry in unwanted and self._swap_cell(cell, entry, _VACANT):
                removed.append(entry)
        return removed

    def snapshot(self) -> list[Entry]:
        entries = [cell.entry for shard in self._shards for cell in shard.copy()]
        return [entry for entry in entries if entry is not _VACANT]


def may_make_another() -> bool:
    return bool(_atomic_dicts.get() < MAX_ATOMIC_DICTS)
