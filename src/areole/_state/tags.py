"""TagTable: which entries of a cache have a tag, so that `invalidate_tags` finds them.

A tag has a set of weak references to its entries. The callback of a reference is the set's `discard`: one call of C
code (see `locks`). So an entry leaves the table when it is freed, and nothing is to be done where entries leave a
cache. What is found may have left it already: `invalidate_tags` removes by identity (invariant 9).

T1  A fill's entry is noted after its claim, and before the fill is called; that of a `set` before it can be found. So
    an invalidation finds every entry whose fill began before it, and removing that detaches its flight.
T2  The entry of a refresh is noted under the tags of the value that it shows before it takes the place of the old one.
    An invalidation tries twice what it could not remove, as in the first of these, and looks again, as in the second:
        1. a refresh notes `new`     2. `new` is not in yet     3. it takes the place of `old`     4. nor is `old`
        1. `old` is found            2. a refresh notes `new`, which takes the place of `old`      3. `old` is not in
    An entry gets into an index once. So what is not in after the second try has left, or is of a fill that has yet to
    begin; and what has taken its place, with the same value, has been noted.
T3  Tags that only the fill knows are noted first, and `epoch` is compared then; an invalidation changes `epoch` first,
    and looks then. So one of the two sees the other, and such a value is not stored. Nor do those get it who wait: they
    may have come after the invalidation, which could not detach the flight. They look again.

`epoch` is an object that no other invalidation makes, so that two at once need no atomic counter.

The table is changed under the index's lock. Code that is nested in a step there (a finalizer) may do so too: a note
looks whether its set is still the tag's, and empty ones are dropped by one call of C code, which runs no other code
between the look and the drop. Reading takes no lock.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from itertools import compress, filterfalse, repeat
from operator import attrgetter, not_
from typing import Any, Final
from weakref import getweakrefs, ref

from .._core.entry import Entry
from .._core.flight import Flight
from .._index.protocol import Index
from .._platform.arguments import check_tags
from .._platform.locks import run_locked
from .._platform.weak import WeakTable
from .cache_state import CacheState

__all__ = ["TagTable", "begin_tagged", "invalidate_tags", "note_late_tags", "note_tags", "tags_in", "tags_of"]

LEAST_TAGS: Final = 1000
"""So many tags are known before those without an entry are dropped."""


class _Tagged(set[Any]):
    __slots__ = ("tag",)

    def __init__(self, tag: str) -> None:
        super().__init__()
        self.tag = tag


class TagTable:
    """The tags of the entries of one index; see the module."""

    __slots__ = ("_discards", "_lock", "_most_tags", "epoch")

    def __init__(self, lock: Any) -> None:
        self._lock = lock
        self._discards: dict[str, Any] = {}  # of each tag its set's `discard`: a set that had it would be a cycle
        self._most_tags = LEAST_TAGS
        self.epoch = object()
        """Another one after each invalidation."""

    def note(self, entry: Entry, tags: Iterable[str]) -> None:
        """Have `entry` found under `tags` from here on."""
        run_locked(self._lock, self._note, entry, tags)

    def _note(self, entry: Entry, tags: Iterable[str]) -> None:
        discards = self._discards
        for tag in tags:
            discard = None
            while discard is None or discards.get(tag) is not discard:  # nested code may have dropped an empty one
                discard = discards.get(tag) or discards.setdefault(tag, _Tagged(tag).discard)
                discard.__self__.add(ref(entry, discard))
        if len(discards) > self._most_tags:  # in all, a constant time for each tag that is noted
            self._drop_empty(list(discards))
            self._most_tags = max(LEAST_TAGS, 2 * len(discards))

    def drop_empty(self, tags: Iterable[str] | None = None) -> None:
        """Drop those of `tags`, or of all, that have no entry any more: a set's memory only ever grows."""
        known = [tag for tag in (list(self._discards) if tags is None else tags) if tag in self._discards]
        if known:
            run_locked(self._lock, self._drop_empty, known)

    def _drop_empty(self, tags: list[str]) -> None:
        sets = map(attrgetter("__self__"), map(self._discards.get, tags))
        with suppress(AttributeError):  # nested code has dropped some
            list(map(self._discards.pop, compress(tags, map(not_, sets)), repeat(None)))

    def carry_over(self, old: Entry, new: Entry) -> None:
        """Have `new` found under the tags of `old`, whose value it is about to show."""
        if tags := tags_of(old):
            self.note(new, tags)

    @staticmethod
    def keep_only(entry: Entry, tags: Collection[str]) -> None:
        """Forget the tags of a value that `entry` does not show any more; `tags` are those of the new one."""
        for each in getweakrefs(entry):
            discard = each.__callback__
            if discard.__self__.tag not in tags:
                discard(each)

    def find(self, tags: Iterable[str]) -> list[Entry]:
        """Return the living entries that are noted under one of `tags`; one with two of them twice."""
        discards = [discard for tag in tags if (discard := self._discards.get(tag)) is not None]
        return [entry for discard in discards for each in discard.__self__.copy() if (entry := each()) is not None]


def tags_of(entry: Entry) -> list[str]:
    """Return the tags that an entry is noted under: nobody else refers to it weakly."""
    return [each.__callback__.__self__.tag for each in getweakrefs(entry)]


# ---- over a state


def tags_in(index: Index) -> TagTable:
    """Return the table of the tags of the entries of `index`, made now if there is none."""
    found: TagTable | None = index.tags
    if found is None:  # of two that are made at once, also by nested code, one is used
        found = index.tags = _tables.find(index) or _tables.add_if_absent(index, TagTable(index.lock))
    return found


_tables: WeakTable[TagTable] = WeakTable()


def note_tags(index: Index, entry: Entry, tags: Iterable[str]) -> None:
    """Have `entry`, which a `set` is about to put into `index`, found under `tags`."""
    tags_in(index).note(entry, tags)


def begin_tagged(state: CacheState, flight: Flight, tags_of: Callable[[Any], Iterable[str]]) -> None:
    """Note the entry of a claim that was won under its tags, before the fill is called: see T1."""
    table = tags_in(state.index)
    flight.tags_epoch = table.epoch
    flight.tags = tags = tuple(tags_of(flight.entry.key))
    if tags:
        table.note(flight.entry, tags)


def note_late_tags(state: CacheState, flight: Flight, tags: Iterable[str]) -> bool:
    """Note it under tags that its fill has brought too; say whether the value may be stored: see T3."""
    table = tags_in(state.index)
    late = check_tags(state.name, tags)
    flight.tags += late
    table.note(flight.entry, late)
    if flight.tags_epoch is table.epoch:
        return True
    flight.tags_epoch = None  # see `Flight.was_overtaken`
    return False


def invalidate_tags(state: CacheState, tags: Collection[str]) -> int:
    """Remove and report what has one of `tags`; return how many values and running fills that were."""
    table: TagTable | None = state.index.tags
    if table is None:
        return 0
    removed = _remove_tagged(state, table, tags)
    table.drop_empty(tags)  # what was found has been freed by now
    return removed


def _remove_tagged(state: CacheState, table: TagTable, tags: Collection[str]) -> int:
    table.epoch = object()  # before it looks: see T3
    if state.index.rebuilds % 2:
        run_locked(state.index.lock, state.index.snapshot_again)  # what a rebuild around this has out is not put back
    removal = _Removal(state)
    seen: set[Entry] = set()
    while found := [entry for entry in dict.fromkeys(table.find(tags)) if entry not in seen]:
        seen.update(found)
        not_in = removal.try_all(removal.try_all(found))
        if not not_in:  # else see T2
            break
        removal.lost += filterfalse(_has_left, not_in)
    return removal.count + state.discard_lost(removal.lost, removal.now)


def _has_left(entry: Entry) -> bool:
    """Say whether an entry that its key does not find is known to have left: then its key's hash need not be why."""
    flight = entry.flight
    return not entry.is_published if flight is None else flight.is_detached


class _Removal:
    """What one invalidation has removed."""

    def __init__(self, state: CacheState) -> None:
        self.state = state
        self.now = state.clock()
        self.count = 0
        self.lost: list[Entry] = []

    def try_all(self, entries: list[Entry]) -> list[Entry]:
        """Remove and report `entries`; return those that are not in the index."""
        return [entry for entry in entries if not self._try(entry)]

    def _try(self, entry: Entry) -> bool:
        flight = entry.flight
        had_flight = flight is not None and not flight.is_orphaned  # before it is removed: it may settle after
        try:
            if not self.state.remove_entry(entry):
                return False
            self.count += self.state.notify_removed(entry, self.now) or had_flight
        except Exception:  # from a method of the key, as in `clear`
            self.lost.append(entry)
        return True
