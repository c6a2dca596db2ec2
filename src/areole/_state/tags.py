"""TagTable: which entries of a cache have a tag, so that `invalidate_tags` finds them.

    _tables[tag][id(entry)] = a weak reference to the entry, which knows its tag

An entry leaves the tables when it is freed, so nothing is to be done where entries leave a cache. What is found may
have left it already, and `invalidate_tags` removes by identity (invariant 9).

T1  A fill's entry is noted after its claim, and before the fill is called; that of a `set` before it can be found. So
    an invalidation finds every entry whose value was begun before it, and removing that detaches its flight.
T2  The entry of a refresh is noted under the tags of the value that it shows before it takes the place of the old one.
    `invalidate_tags` looks again where it could not remove what it had found:
        1. it finds `old`      2. a refresh puts `new` in its place, with the same value      3. `old` is not there
T3  Tags that only the fill knows are noted first, and `epoch` is compared then; an invalidation changes `epoch` first,
    and looks then. So one of the two sees the other, and such a value is not stored. Nor do those get it who wait: they
    may have come after the invalidation, which could not detach the flight. They look again.

`epoch` is an object that no other invalidation makes, so that two at once need no atomic counter.

The tables are changed under the index's lock. Code that is nested in a step there (a finalizer) may do so too: a note
looks whether its table is still the tag's, and empty ones are dropped by one call of C code, which runs no other code
between the look and the drop. Reading takes no lock: see `locks`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from itertools import compress, repeat
from operator import not_
from typing import Any, Final
from weakref import getweakrefs

from .._core.entry import Entry
from .._core.flight import Flight
from .._index.protocol import Index
from .._platform.arguments import check_tags
from .._platform.locks import run_locked
from .._platform.weak import DroppingRef
from .cache_state import CacheState

__all__ = ["TagTable", "begin_tagged", "invalidate_tags", "note_late_tags", "note_tags", "tags_of"]

LEAST_TAGS: Final = 1000
"""So many tags are known before those without an entry are dropped."""


class _TagRef(DroppingRef):
    __slots__ = ("tag",)
    tag: str


class TagTable:
    """The tags of the entries of one index; see the module."""

    __slots__ = ("_lock", "_most_tags", "_tables", "epoch")

    def __init__(self, lock: Any) -> None:
        self._lock = lock
        self._tables: dict[str, dict[int, _TagRef]] = {}
        self._most_tags = LEAST_TAGS
        self.epoch = object()
        """Another one after each invalidation."""

    def note(self, entry: Entry, tags: Iterable[str]) -> None:
        """Have `entry` found under `tags` from here on."""
        run_locked(self._lock, self._note, entry, tags)

    def _note(self, entry: Entry, tags: Iterable[str]) -> None:
        for tag in tags:
            table: dict[int, _TagRef] | None = None
            while table is None or self._tables.get(tag) is not table:  # nested code may have dropped an empty one
                table = self._tables.setdefault(tag, {})
                ref = _TagRef.to(entry, table)
                ref.tag = tag
                table[id(entry)] = ref
        if len(self._tables) > self._most_tags:
            self._drop_empty()

    def _drop_empty(self) -> None:
        """Drop the tables that are empty; in all, a constant time for each tag that is noted."""
        tables, tags = self._tables, list(self._tables)
        list(map(tables.pop, compress(tags, map(not_, map(tables.get, tags))), repeat(None)))
        self._most_tags = max(LEAST_TAGS, 2 * len(tables))

    def carry_over(self, old: Entry, new: Entry) -> None:
        """Have `new` found under the tags of `old`, whose value it is about to show."""
        if tags := tags_of(old):
            self.note(new, tags)

    def keep_only(self, entry: Entry, tags: Iterable[str]) -> None:
        """Forget the tags of a value that `entry` does not show any more; `tags` are those of the new one."""
        for tag in set(tags_of(entry)).difference(tags):
            self._tables.get(tag, {}).pop(id(entry), None)

    def find(self, tags: Iterable[str]) -> list[Entry]:
        """Return the living entries that are noted under one of `tags`; one with two of them twice."""
        tables = [self._tables.get(tag, {}) for tag in tags]
        return [entry for table in tables for ref in list(table.values()) if (entry := ref()) is not None]


# ---- over a state


def tags_in(index: Index) -> TagTable:
    """Return the table of the tags of the entries of `index`, made now if there is none."""
    found: TagTable | None = index.tags
    return found or run_locked(index.lock, _make_table, index)


def _make_table(index: Index) -> TagTable:
    made: TagTable = index.tags or TagTable(index.lock)
    index.tags = made
    return made


def note_tags(index: Index, entry: Entry, tags: Iterable[str]) -> None:
    """Have `entry`, which a `set` is about to put into `index`, found under `tags`."""
    tags_in(index).note(entry, tags)


def begin_tagged(state: CacheState, flight: Flight, tags_of: Callable[[Any], Iterable[str]]) -> None:
    """Note the entry of a claim that was won under its tags, before the fill is called: see T1."""
    table = tags_in(state.index)
    flight.tags_epoch = table.epoch
    flight.tags = check_tags(state.name, tags_of(flight.entry.key))
    table.note(flight.entry, flight.tags)


def note_late_tags(state: CacheState, flight: Flight, tags: Iterable[str]) -> bool:
    """Note it under tags that its fill has brought too; say whether the value may be stored: see T3."""
    table = tags_in(state.index)
    flight.tags += check_tags(state.name, tags)
    table.note(flight.entry, flight.tags)
    if flight.tags_epoch is table.epoch:
        return True
    flight.tags_epoch = None  # see `Flight.was_overtaken`
    return False


def invalidate_tags(state: CacheState, tags: Collection[str]) -> int:
    """Remove and report what has one of `tags`; return how many values and running fills that were."""
    table: TagTable | None = state.index.tags
    if table is None:
        return 0
    table.epoch = object()  # before it looks: see T3
    now, count = state.clock(), 0
    seen: set[Entry] = set()
    lost: list[Entry] = []
    is_complete = False
    while not is_complete:  # see T2
        is_complete = True
        for entry in table.find(tags):
            if entry in seen:
                continue
            seen.add(entry)
            try:
                is_out, had_something = _remove(state, entry, now)
            except Exception:  # from a method of the key, as in `clear`
                lost.append(entry)
            else:
                count += had_something
                is_complete = is_complete and is_out
    return count + state.discard_lost(lost, now)


def _remove(state: CacheState, entry: Entry, now: float) -> tuple[bool, bool]:
    """Say whether `entry` was in the index, and whether it had a value, or a running fill."""
    flight = entry.flight
    had_flight = flight is not None and not flight.is_orphaned  # before it is removed: it may settle after
    is_out = state.remove_entry(entry)
    return is_out, is_out and (state.notify_removed(entry, now) or had_flight)


def tags_of(entry: Entry) -> list[str]:
    """Return the tags that an entry is noted under."""
    return [ref.tag for ref in getweakrefs(entry) if type(ref) is _TagRef]
