"""DictIndex: a builtin dict of entries.

Lookups take no lock. An insertion takes none on free-threaded builds, where `dict.setdefault` is one atomic step. With
a GIL it takes the index's lock, since there it is one step only for keys that are compared by C code (see `locks`).
Without the lock,

    1. A's `setdefault` passes the empty slot of a deleted key, and calls `__eq__` of the next key, in Python
    2. B's `setdefault` of the same key goes by, and uses that empty slot
    3. A goes on to the next empty slot: the key is in twice, with two fills, and an invalidation removes one of them.

The lock does not stop code that `__eq__` itself calls, on the same thread. So an insertion counts the insertions; where
another one came in between, it takes its own entry out again, and starts again.
"""

from __future__ import annotations

import sys
from collections.abc import Collection
from contextlib import suppress
from operator import call
from typing import Any, Final

from .._core.entry import UNPUBLISHED, Empty, Entry
from .._platform.locks import run_locked
from ..typing import RemovalCause
from .base import IndexBase

__all__ = ["INSERTS_TAKE_THE_LOCK", "DictIndex", "SameKey"]

INSERTS_TAKE_THE_LOCK: Final = "free-threading build" not in sys.version  # which says it on every platform
"""Whether `dict.setdefault` is no atomic step for keys with an `__eq__` in Python: on builds with a GIL."""

MOST_ROUNDS: Final = 8
"""How often an insertion is made again because nested code has inserted something meanwhile."""

SHRINK_FROM: Final = 4096
"""Bytes from which on the table of a dict that has become empty is freed."""

_FILLER: dict[Any, Entry] = {Empty: Entry(Empty)}


class DictIndex(IndexBase):
    """A builtin dict of entries: a key that is gone leaves nothing."""

    __slots__ = ("_insertions", "entries")
    name = "dict"

    def __init__(self, lock: Any = None) -> None:
        super().__init__(lock)
        self.entries: dict[Any, Entry] = {}
        self._insertions = 0  # so that one notices another that came in between; a lost count hides none

    def twin(self) -> Any:
        """Make a dict index with the same lock."""
        return DictIndex(self.lock)

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
        if old not in self._successors:
            return False  # removed or replaced since it was found, by nested code that is not counted from here on
        self.entries[old.key] = new
        is_alone = self._insertions == before
        self._insertions = before + 1  # also if alone: what this may be nested in must not replace `new` unseen
        if is_alone:
            return True
        value = self._retiring[new] = new.value  # before the looks: nested code may remove it, and report it
        try:
            if new.flight is not None and new.flight.is_detached:
                return True  # nested code has removed it, and reported the value that it showed
            # It is about to be out for a moment, in which an invalidation would not find it. If nested code has removed
            # or replaced `old`, then that reports the value.
            was_shown = new.is_published and old in self._successors
            new.expire_at(UNPUBLISHED)
        finally:
            is_reported = self._retiring.pop(new, Empty) is Empty
        if was_shown and not is_reported:
            self.unreported.append((new.key, value, RemovalCause.EVICTED))
        return self._insert_again(new) is new

    def remove_if(self, entry: Entry, expired_by: float | None = None) -> bool:
        return run_locked(self.lock, self._remove_plainly, entry, expired_by)

    def _remove_plainly(self, entry: Entry, expired_by: float | None) -> bool:
        if self.entries.get(entry.key) is not entry:
            return False
        if expired_by is not None and entry.is_usable(expired_by):
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
        it, it is an ordinary insert. Each of the two is one atomic step (see `locks`).
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
