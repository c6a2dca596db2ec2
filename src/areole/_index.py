"""Index: key -> Entry. Two of them, one contract.

    find(key)                the entry, or None
    insert_if_absent(entry)  one compare-and-set from absent; returns the entry that is in afterwards
    replace_if(old, new)     only if the index still holds `old`, whose     (invariant 9: identity decides,
                             value `new` shows from then on                  never the key)
    remove_if(entry, by)     only if the index still holds `entry`
                             and, with `expired_by`, only if it has expired by then
    publish(entry, ...)      give an entry that is in a new value, in one step with what that puts out
    snapshot()               the entries at some moment, in a new list

`DictIndex` is a builtin dict. Lookups and inserts take no lock of ours: `d[key]`, `dict.setdefault` and
`list(d.values())` are each one atomic step on both builds. A removal is two, look and pop, which a lock makes one:

    1. A looks: the index holds E             3. B removes E, and C inserts N
    2. B looks: the index holds E             4. A pops the key -- and N, which is not A's to remove, is gone.

`AtomicDictIndex` is a `cereggii.AtomicDict`, sound as long as nothing is ever deleted from it and no value replaced.
So its values are cells that stay, and what comes and goes is the entry in the cell. Inserts of new keys by several
threads do not share a lock.

The lock is re-entrant, since a key's `__eq__`, `__hash__` or `__del__` may run under it and call the cache; it is held
for a few bytecodes, and the caller of `remove_if` or `replace_if` holds the entry (and with it the key and the value),
so that nothing is freed under it.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from threading import get_ident
from typing import Any, Final, Protocol

from cereggii import NOT_FOUND, AtomicDict, AtomicInt64, ExpectationFailed

from ._entry import NOT_YET, Empty, Entry, Removal
from ._weak import WeakTable
from .typing import RemovalCause

__all__ = ["AtomicDictIndex", "DictIndex", "EntriesView", "Index", "make_index"]

MAX_ATOMIC_DICTS: Final = 256
"""An AtomicDict takes one of the C library's 1,024 thread-specific keys; others may need some too."""


SHARDS: Final = 16
"""Lists of cells an AtomicDictIndex has: threads that insert at once append to one each."""


_atomic_dicts = AtomicInt64(0)  # how many there are now


class EntriesView(Protocol):
    """What a hit reads: raises KeyError where there is nothing."""

    def __getitem__(self, key: Any, /) -> Entry: ...


class Index(Protocol):
    """See the module. `entries` is what a hit reads; `name` is what `index=` calls it."""

    name: str
    lock: Any
    is_bounded: bool
    max_items: int | None

    @property
    def entry_type(self) -> type[Entry]: ...
    @property
    def touch(self) -> Callable[[Any], None] | None: ...
    def twin(self) -> Index: ...

    @property
    def entries(self) -> EntriesView: ...
    def find(self, key: Any) -> Entry | None: ...
    def insert_if_absent(self, entry: Entry) -> Entry: ...
    def replace_if(self, old: Entry, new: Entry) -> bool: ...
    def remove_if(self, entry: Entry, expired_by: float | None = None) -> bool: ...
    def publish(self, entry: Entry, value: Any, deadline: Any, weight: int, now: float) -> Sequence[Removal]: ...
    def weigh(self, key: Any, value: Any) -> int: ...
    def snapshot(self) -> list[Entry]: ...


SHRINK_FROM: Final = 4096
"""Bytes from which on the table of a dict that has become empty is let go."""

_FILLER: dict[Any, Entry] = {Empty: Entry(Empty)}


class _Unbounded:
    """What the two indexes without a limit share."""

    __slots__ = ()
    is_bounded = False
    max_items: int | None = None
    entry_type: type[Entry] = Entry
    touch: Callable[[Any], None] | None = None
    lock: Any

    def twin(self) -> Index:
        """Make a dict index with the same lock."""
        return DictIndex(self.lock)

    def start_anew_in_child(self) -> None:
        """Put right what a thread that does not exist in this child of a fork was in the middle of: here, nothing."""

    def find(self, key: Any) -> Entry | None:
        raise NotImplementedError

    def weigh(self, key: Any, value: Any) -> int:
        return 0

    def publish(self, entry: Entry, value: Any, deadline: Any, weight: int, now: float) -> Sequence[Removal]:
        """Give `entry`, which may show an old value, its new one; return what that put out.

        The lock makes one step of looking and publishing: an invalidation before it has reported the old value, one
        after it will report the new.
        """
        with self.lock:
            if self.find(entry.key) is not entry:
                return ()  # whoever took it out has yet to read, and tell, the value that it had then
            old = entry.value, entry.is_live(now)
            entry.publish(value, deadline)
        if old[0] is Empty:
            return ()
        return [(entry.key, old[0], RemovalCause.REPLACED if old[1] else RemovalCause.EXPIRED)]


class DictIndex(_Unbounded):
    """A builtin dict of entries: a key that is gone leaves nothing."""

    __slots__ = ("__weakref__", "entries", "lock")
    name = "dict"

    def __init__(self, lock: Any = None) -> None:
        self.entries: dict[Any, Entry] = {}
        self.lock = lock or threading.RLock()  # makes one step of looking and removing or replacing
        if lock is None:
            _indexes.add_if_absent(self, None)

    def find(self, key: Any) -> Entry | None:
        return self.entries.get(key)  # takes the dict's lock on 3.13t, unlike `[key]`: not for hits

    def insert_if_absent(self, entry: Entry) -> Entry:
        return self.entries.setdefault(entry.key, entry)

    def replace_if(self, old: Entry, new: Entry) -> bool:
        with self.lock:
            if self.find(old.key) is not old:
                return False
            new.show(old)  # under the lock: a task that ends late may publish into it until then
            self.entries[old.key] = new
            return True

    def remove_if(self, entry: Entry, expired_by: float | None = None) -> bool:
        with self.lock:
            if self.entries.get(entry.key) is not entry:
                return False
            if expired_by is not None and entry.is_servable(expired_by):
                return False
            # If the key's own methods call the cache in here and fill the key anew, that goes instead: a value may
            # always go, while one that is put back could outlive an invalidation.
            was_in = self.entries.pop(entry.key, None) is entry
            if not self.entries:
                self._shrink()
            return was_in

    def _shrink(self) -> None:
        """Let go of an empty dict's table, if it is large: by itself it only ever grows.

        `dict.update` gives an empty dict a new table, of the size of what it gets; should another thread insert before
        it, it is an ordinary insert. Each of the two is one atomic step.
        """
        if sys.getsizeof(self.entries) > SHRINK_FROM:
            self.entries.update(_FILLER)
            self.entries.pop(Empty, None)

    def snapshot(self) -> list[Entry]:
        return [entry for entry in list(self.entries.values()) if entry.key is not Empty]


class _Vacant:
    """Stands in a cell for "no entry", and looks like an entry without a value to a hit."""

    value = Empty
    deadline = NOT_YET
    flight = None
    is_published = False

    @staticmethod
    def is_live(now: float) -> bool:
        return False


_VACANT: Any = _Vacant


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


class AtomicDictIndex(_Unbounded):
    """An insert-only AtomicDict of cells: an invalidated key's cell stays, and is used again."""

    __slots__ = ("__weakref__", "_shards", "cells", "entries", "lock")
    name = "atomic"

    def __init__(self) -> None:
        _atomic_dicts.increment_and_get()  # first: `__del__` runs even if this fails
        self.cells = AtomicDict[Any, _Cell]()
        self.entries = _CellsView(self.cells)
        self.lock = threading.RLock()  # guards every change of a `cell.entry`
        # All cells, for `snapshot`: an AtomicDict cannot be scanned while others insert. Threads share no list.
        self._shards: list[list[_Cell]] = [[] for _ in range(SHARDS)]
        _indexes.add_if_absent(self, None)

    def __del__(self, count_out: Any = _atomic_dicts.decrement_and_get) -> None:
        count_out()  # bound early: at interpreter exit the module's names are gone

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
        with self.lock:
            if cell.entry is _VACANT:
                cell.entry = entry
            found: Entry = cell.entry
        return found

    def _insert_cell(self, entry: Entry) -> bool:
        cell = _Cell()
        cell.entry = entry
        shard = self._shards[get_ident() // 4096 % SHARDS]
        try:
            shard.append(cell)  # before it can be found: `clear` must see whatever a reader can
            self.cells.compare_and_set(entry.key, NOT_FOUND, cell)
        except ExpectationFailed:
            shard.remove(cell)
            return False
        except BaseException:  # from a method of the key; or an interrupt, and then the cell may be in
            with self.lock:
                if cell.entry is entry:  # else it was invalidated, and another one has been put into the cell
                    cell.entry = _VACANT
            raise
        return True

    def replace_if(self, old: Entry, new: Entry) -> bool:
        with self.lock:  # as in a DictIndex
            if self.find(old.key) is not old:
                return False
            new.show(old)
            return self._swap(old, new)

    def remove_if(self, entry: Entry, expired_by: float | None = None) -> bool:
        return self._swap(entry, _VACANT)

    def _swap(self, old: Entry, new: Any) -> bool:
        try:
            cell = self.cells[old.key]
        except KeyError:
            return False
        with self.lock:
            if cell.entry is not old:
                return False
            cell.entry = new
            return True

    def snapshot(self) -> list[Entry]:
        entries = [cell.entry for shard in self._shards for cell in shard.copy()]
        return [entry for entry in entries if entry is not _VACANT]


_indexes: WeakTable[None] = WeakTable()  # those whose lock a fork may leave held


def holds_a_lock() -> bool:
    """Say whether this thread is inside a step of any index: a method of a key, or a finalizer, of its asks.

    Whoever waits there for a fill may wait for ever, whatever cache that is of:

        1. A's step on X calls a method of a key, which asks Y for what B is filling
        2. B's fill asks X, and waits for the lock that A holds    -- and A waits for B.
    """
    return any(index.lock._is_owned() for index in _indexes.objects())


def make_index(kind: str, *, keeps_keys: bool) -> Index:
    """Make the index called `kind`; "auto" is the dict. `keeps_keys` says that no key will ever leave.

    Past 256 AtomicDicts in the process, "atomic" is a dict too: no cache fails for want of thread-specific keys.
    """
    if kind not in ("auto", "atomic", "dict"):
        raise ValueError(f'index must be "auto", "atomic" or "dict", not {kind!r}')
    if kind == "atomic" and not keeps_keys:
        raise ValueError('index="atomic" never lets go of a key, so it cannot serve a ttl or a bound: use index="dict"')
    if kind == "atomic" and _atomic_dicts.get() < MAX_ATOMIC_DICTS:
        with suppress(RuntimeError):  # others have used up the thread-specific keys
            return AtomicDictIndex()
    return DictIndex()


def register(index: Any) -> None:
    """Have the lock of `index` freed in the child of a fork."""
    _indexes.add_if_absent(index, None)


def _free_locks_in_child() -> None:
    """Let go of the locks that threads of the parent held at the fork: those threads do not exist here."""
    for index in _indexes.objects():
        if not index.lock._is_owned():
            index.lock._at_fork_reinit()
            index.start_anew_in_child()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_free_locks_in_child)
