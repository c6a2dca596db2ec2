"""Index: key -> Entry. Two of them, one contract.

    find(key)                the entry, or None
    insert_if_absent(entry)  one step from absent; returns the entry that is in afterwards
    replace_if(old, new)     only if the index still holds `old`, whose     (invariant 9: identity decides,
                             value `new` shows from then on                  never the key)
    remove_if(entry, by)     only if the index still holds `entry`
                             and, with `expired_by`, only if it has expired by then
    publish(entry, ...)      give an entry that is in a new value, in one step with what that removes
    discard(entries)         remove these by identity, where their keys do not find them any more
    snapshot()               the entries at some moment, in a new list

`DictIndex` is a builtin dict. Lookups take no lock. An insertion takes none on free-threaded builds, where
`dict.setdefault` is one atomic step. With a GIL it takes the index's lock, since there it is one step only for keys
that are compared by C code (see `_locks`). Without the lock,

    1. A's `setdefault` passes the empty slot of a deleted key, and calls `__eq__` of the next key, in Python
    2. B's `setdefault` of the same key goes by, and uses that empty slot
    3. A goes on to the next empty slot: the key is in twice, with two fills, and an invalidation removes one of them.

The lock does not stop code that `__eq__` itself calls, on the same thread. So an insertion counts the insertions; where
another one came in between, it takes its own entry out again, and starts again.

A removal is two steps, look and pop, which the lock makes one:

    1. A looks: the index holds E             3. B removes E, and C inserts N
    2. B looks: the index holds E             4. A pops the key -- and N, which is not A's to remove, is gone.

`AtomicDictIndex` is a `cereggii.AtomicDict`, sound as long as nothing is ever deleted from it and no value replaced.
So its values are cells that stay, and what comes and goes is the entry in the cell. Inserts of new keys by several
threads do not share a lock.

The lock is re-entrant, since a key's `__eq__`, `__hash__` or `__del__`, any finalizer and a signal handler may run
under it and call the cache. It is held for a few bytecodes, and the caller of `remove_if` or `replace_if` holds the
entry (and with it the key and the value), so that nothing is freed under it.

Such nested code may remove an entry in the middle of an outer operation that looked it up. Both are on one thread, so
the nested one ends first, and the outer one must find out. It registers what it is about to do before it looks, in a
dict that each removal looks at:

    _successors[old] = new     A removal of `old` lets `new` show nothing from then on. Otherwise
                                   1. `replace_if` finds `old`, and `new` shows its value
                                   2. a finalizer invalidates the key: `old` is removed
                                   3. `replace_if` stores `new`: the invalidated value is back (invariant 3).
    _retiring[entry] = value   A removal that takes `entry` out with this value takes it out of here too, and is the one
                               that reports it; what publishes a new value reports the old one only if it is still
                               here. So each value is reported once, by the operation that took it by one `dict.pop`.
    _leaving[entry] = None     The same for what empties a cell, where looking and storing are two steps too.

A removal also marks the entry's flight as detached, by which the leader knows that its value is not to be stored,
without another lookup of the key.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from operator import call
from threading import get_ident
from typing import Any, Final, Protocol

from cereggii import NOT_FOUND, AtomicDict, AtomicInt64, ExpectationFailed

from .._core.entry import NOT_YET, Empty, Entry, Removal
from .._platform.locks import run_locked
from .._platform.weak import WeakTable
from ..typing import RemovalCause

__all__ = ["AtomicDictIndex", "DictIndex", "EntriesView", "Index", "SameKey", "make_index"]

MAX_ATOMIC_DICTS: Final = 256
"""An AtomicDict takes one of the C library's 1,024 thread-specific keys; others may need some too."""


SHARDS: Final = 16
"""Lists of cells an AtomicDictIndex has: threads that insert at once append to one each."""


_atomic_dicts = AtomicInt64(0)  # how many there are now

INSERTS_TAKE_THE_LOCK: Final = "free-threading build" not in sys.version  # which says it on every platform
"""Whether `dict.setdefault` is no atomic step for keys with an `__eq__` in Python: on builds with a GIL."""


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
    unreported: list[Removal]

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
    def discard(self, entries: Collection[Entry]) -> list[Entry]: ...
    def find_again(self, key: Any) -> Entry | None: ...
    def snapshot_again(self) -> list[Entry]: ...
    def weigh(self, key: Any, value: Any) -> int: ...
    def snapshot(self) -> list[Entry]: ...


MOST_ROUNDS: Final = 8
"""How often an insertion is made again because nested code has inserted something meanwhile."""

SHRINK_FROM: Final = 4096
"""Bytes from which on the table of a dict that has become empty is let go."""

_FILLER: dict[Any, Entry] = {Empty: Entry(Empty)}


class _Unbounded:
    """What the two indexes without a limit share."""

    __slots__ = (
        "_acquire",
        "_is_abandoned",
        "_leaving",
        "_placed",
        "_retiring",
        "_successors",
        "lock",
        "rebuilds",
        "unreported",
    )
    is_bounded = False
    max_items: int | None = None
    entry_type: type[Entry] = Entry
    touch: Callable[[Any], None] | None = None
    lock: Any

    def __init__(self, lock: Any = None) -> None:
        self.lock = lock or threading.RLock()  # makes one step of looking and removing or replacing
        self._acquire = (self.lock.acquire,)
        self._successors: dict[Entry, Entry] = {}  # see the module; both are used under the lock
        self._retiring: dict[Entry, Any] = {}
        self._leaving: dict[Entry, None] = {}
        self._placed: dict[Entry, None] = {}  # put into a cell while another one was being emptied or replaced
        self.unreported: list[Removal] = []  # values that were removed where nobody could report them: for the next
        self.rebuilds = 0  # odd while `discard` has the entries out: what is not found then may be there all the same
        self._is_abandoned = False

    def twin(self) -> Index:
        """Make a dict index with the same lock."""
        return DictIndex(self.lock)

    def start_anew_in_child(self) -> None:
        """Put right what a thread that does not exist in this child of a fork was in the middle of."""
        for register in (self._successors, self._retiring, self._leaving):
            register.clear()

    def find(self, key: Any) -> Entry | None:
        raise NotImplementedError

    def weigh(self, key: Any, value: Any) -> int:
        return 0

    def replace_if(self, old: Entry, new: Entry) -> bool:
        return run_locked(self.lock, self._replace_if, old, new)

    def _replace_if(self, old: Any, new: Any) -> bool:
        self._successors[old] = new
        try:
            if self.find(old.key) is not old:
                return False
            new.show(old)  # under the lock: a task that ends late may publish into it until then
            if old not in self._successors:  # removed by nested code, which came before `new` showed all of it
                new.expire_at(NOT_YET)
                return False
            if not self._store_successor(old, new):
                new.expire_at(NOT_YET)
                return False
            return True
        finally:
            self._successors.pop(old, None)

    def _store_successor(self, old: Any, new: Any) -> bool:
        raise NotImplementedError

    def publish(self, entry: Entry, value: Any, deadline: Any, weight: int, now: float) -> Sequence[Removal]:
        """Give `entry`, which may show an old value, its new one; return what that removed.

        The lock makes one step of looking and publishing: an invalidation before it has reported the old value, one
        after it will report the new.
        """
        return run_locked(self.lock, self._publish_plainly, entry, value, deadline, now)

    def _publish_plainly(self, entry: Entry, value: Any, deadline: Any, now: float) -> Sequence[Removal]:
        if not entry.is_published:
            if self._holds(entry):
                entry.publish(value, deadline)
            return ()
        old = self._retiring[entry] = entry.value
        try:
            if not self._holds(entry):
                return ()  # the one that removed it reports the value that it had then
            cause = RemovalCause.REPLACED if entry.is_live(now) else RemovalCause.EXPIRED
            entry.publish(value, deadline)
        finally:
            is_told = self._retiring.pop(entry, Empty) is Empty
        return () if is_told else [(entry.key, old, cause)]

    def _holds(self, entry: Entry) -> bool:
        """Say whether `entry` is in the index; of one with a flight, without looking its key up."""
        flight = entry.flight
        return self.find(entry.key) is entry if flight is None else not flight.is_detached

    def _note_removed(self, entry: Entry) -> None:
        """Let all know, under the lock, that `entry` was taken out: its leader, and operations in the middle."""
        flight = entry.flight
        if flight is not None:
            flight.is_detached = True
        if self._successors:
            successor = self._successors.pop(entry, None)
            if successor is not None:
                successor.expire_at(NOT_YET)
        if self._retiring and self._retiring.get(entry, Empty) is entry.value:
            self._retiring.pop(entry, None)
        for register in (self._leaving, self._placed):
            if register:
                register.pop(entry, None)

    def _drop(self, entry: Entry) -> None:
        """Let `entry`, which is out of the index already, be removed for good, and its value be reported later."""
        self._note_removed(entry)
        if entry.is_published:
            self._report_later((entry.key, entry.value, RemovalCause.EVICTED))

    def _report_later(self, removal: Removal) -> None:
        self.unreported.append(removal)

    def find_again(self, key: Any) -> Entry | None:
        """Find, under the lock, what was not found where a rebuild had it out.

        Where this thread is in the middle of that rebuild, as a key's method asks, the entry cannot be found. Then no
        entry is put back: a value may always go, while one that comes back could outlive an invalidation.
        """
        if self.rebuilds % 2:
            self._is_abandoned = True
        return self.find(key)

    def snapshot_again(self) -> list[Entry]:
        """The same for a snapshot."""
        if self.rebuilds % 2:
            self._is_abandoned = True
        return self.snapshot()

    def snapshot(self) -> list[Entry]:
        raise NotImplementedError


class DictIndex(_Unbounded):
    """A builtin dict of entries: a key that is gone leaves nothing."""

    __slots__ = ("__weakref__", "_insertions", "entries")
    name = "dict"

    def __init__(self, lock: Any = None) -> None:
        super().__init__(lock)
        self.entries: dict[Any, Entry] = {}
        self._insertions = 0  # so that one notices another that came in between; a lost count hides none
        if lock is None:
            _indexes.add_if_absent(self, None)

    def find(self, key: Any) -> Entry | None:
        return self.entries.get(key)  # takes the dict's lock on 3.13t, unlike `[key]`: not for hits

    if INSERTS_TAKE_THE_LOCK:

        def insert_if_absent(self, entry: Entry) -> Entry:
            taken: list[bool] = []  # `run_locked`, written out: every miss comes by here
            try:
                taken += map(call, self._acquire)
                before = self._insertions
                found = self.entries.setdefault(entry.key, entry)
                if found is not entry:
                    return found
                if self._insertions == before:
                    self._insertions = before + 1
                    return entry
                return self._insert_again(entry)
            finally:
                if taken:
                    self.lock.release()

    else:

        def insert_if_absent(self, entry: Entry) -> Entry:
            return self.entries.setdefault(entry.key, entry)

    def _insert_again(self, entry: Entry) -> Entry:
        """Insert again `entry`, which is in, as nested code has inserted too: the key may be in twice.

        What nested code has stored under the key goes: it is out for a moment, in which an invalidation would not find
        it. A key's method that inserts something each time is not waited for without end.
        """
        for _ in range(MOST_ROUNDS):
            while (popped := self.entries.pop(entry.key, None)) is not entry:
                if popped is None:
                    return entry  # nested code has invalidated it already
                self._drop(popped)
            before = self._insertions
            found = self.entries.setdefault(entry.key, entry)
            if found is not entry or self._insertions == before:
                self._insertions += 1
                return found
        return entry

    def _store_successor(self, old: Any, new: Any) -> bool:
        before = self._insertions
        self.entries[old.key] = new
        if self._insertions == before:
            return True
        self._insertions = before + 1
        if new.flight is not None and new.flight.is_detached:
            return True  # nested code has removed it, and reported the value that it showed
        if new.is_published:  # it is about to be out for a moment, in which an invalidation would not find it
            value = self._retiring[new] = new.value
            new.expire_at(NOT_YET)
            if self._retiring.pop(new, Empty) is not Empty:
                self._report_later((new.key, value, RemovalCause.EVICTED))
        return self._insert_again(new) is new

    def remove_if(self, entry: Entry, expired_by: float | None = None) -> bool:
        return run_locked(self.lock, self._remove_plainly, entry, expired_by)

    def _remove_plainly(self, entry: Entry, expired_by: float | None) -> bool:
        if self.entries.get(entry.key) is not entry:
            return False
        if expired_by is not None and entry.is_servable(expired_by):
            return False
        # If the key's own methods call the cache in here and fill the key again, that goes instead: a value may
        # always go, while one that is put back could outlive an invalidation.
        popped = self.entries.pop(entry.key, None)
        if popped is entry:
            self._note_removed(entry)
        elif popped is not None:
            self._drop(popped)
        if not self.entries:
            self._shrink()
        return popped is entry

    def discard(self, entries: Collection[Entry]) -> list[Entry]:
        """Remove those of `entries` that are in, also where their keys' hashes have changed; return them.

        For the case that nothing else helps: it takes all entries out and puts the others in again, by the hashes that
        their keys have now, in O(n). One whose key equals another one's by now goes too; so does one whose key raises,
        if nobody knows the hash that it had.
        """
        return run_locked(self.lock, self._discard, set(entries))

    def _discard(self, unwanted: set[Entry]) -> list[Entry]:
        held: list[Entry] = []
        removed: list[Entry] = []
        self.rebuilds += 1
        self._is_abandoned = False
        try:
            self._drain_into(held)
            while held:
                if self._is_abandoned or not self._is_kept(held[-1], unwanted):
                    removed.append(held[-1])
                held.pop()
        finally:
            removed += held  # of a rebuild that was interrupted
            if self._is_abandoned:
                self._drain_into(removed)
            self.rebuilds += 1
            for entry in removed:
                if held:
                    self._drop(entry)
                else:
                    self._note_removed(entry)
        return removed

    def _drain_into(self, entries: list[Entry]) -> None:
        with suppress(KeyError):
            while True:
                entries.append(self.entries.popitem()[1])

    def _is_kept(self, entry: Entry, unwanted: set[Entry]) -> bool:
        if entry in unwanted:
            return False
        with suppress(Exception):
            return self.entries.setdefault(entry.key, entry) is entry
        key_hash = getattr(entry, "hash", None)
        if key_hash is None:
            return False
        self.entries[SameKey(entry.key, key_hash)] = entry  # it was there, though its key raises
        return True

    def _shrink(self) -> None:
        """Drop an empty dict's table, if it is large: by itself it only ever grows.

        `dict.update` gives an empty dict a new table, of the size of what it gets; should another thread insert before
        it, it is an ordinary insert. Each of the two is one atomic step (see `_locks`).
        """
        if sys.getsizeof(self.entries) > SHRINK_FROM:
            self.entries.update(_FILLER)
            self.entries.pop(Empty, None)

    def snapshot(self) -> list[Entry]:
        return [entry for entry in list(self.entries.values()) if entry.key is not Empty]


class SameKey:
    """Finds an entry in a dict by the hash that its key had when it was stored, and passes for that key if it can."""

    __slots__ = ("_hash", "_key")

    def __init__(self, key: Any, key_hash: int) -> None:
        self._key, self._hash = key, key_hash

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        return other is self._key or (type(other) is SameKey and other._key is self._key)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._key, name)

    @property  # type: ignore[misc]
    def __class__(self) -> type:
        return type(self._key)


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

    __slots__ = ("__weakref__", "_shards", "cells", "entries")
    name = "atomic"

    def __init__(self) -> None:
        _atomic_dicts.increment_and_get()  # first: `__del__` runs even if this fails
        super().__init__()  # its lock guards every change of a `cell.entry`
        self.cells = AtomicDict[Any, _Cell]()
        self.entries = _CellsView(self.cells)
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
            run_locked(self.lock, self._swap_cell, cell, entry, _VACANT)  # unless it was invalidated since
            raise
        return True

    def _store_successor(self, old: Any, new: Any) -> bool:
        return self._swap(old, new)

    def remove_if(self, entry: Entry, expired_by: float | None = None) -> bool:
        return run_locked(self.lock, self._remove, entry, expired_by)

    def _remove(self, entry: Entry, expired_by: float | None) -> bool:
        if expired_by is not None and entry.is_servable(expired_by):
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
            if self.find(placed.key) is not placed:  # `new` has overwritten it
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


_indexes: WeakTable[None] = WeakTable()  # those whose lock a fork may leave held


others_that_hold: Final[list[Callable[[], bool]]] = []
"""Functions that say whether this thread holds a lock of the library's that is no index's, and that fills may need."""


def holds_a_lock() -> bool:
    """Say whether this thread is inside a step of any index: a method of a key, or a finalizer, of its asks.

    Whoever waits there for a fill may wait for ever, whatever cache that is of:

        1. A's step on X calls a method of a key, which asks Y for what B is filling
        2. B's fill asks X, and waits for the lock that A holds    -- and A waits for B.
    """
    return any(index.lock._is_owned() for index in _indexes.objects()) or any(holds() for holds in others_that_hold)


def make_index(kind: str, *, keeps_keys: bool) -> Index:
    """Make the index called `kind`; "auto" is the dict. `keeps_keys` says that no key will ever leave.

    Past 256 AtomicDicts in the process, "atomic" is a dict too: no cache fails for want of thread-specific keys.
    """
    if kind not in ("auto", "atomic", "dict"):
        raise ValueError(f'index must be "auto", "atomic" or "dict", not {kind!r}')
    if kind == "atomic" and not keeps_keys:
        raise ValueError('index="atomic" keeps the keys that are removed, so it cannot serve a ttl: use index="dict"')
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
