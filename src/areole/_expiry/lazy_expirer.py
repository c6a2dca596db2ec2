"""LazyExpirer: expired values are removed from a cache without limits even if they are never looked up again.

It knows all entries of the cache, in parts of a few thousand. After some fills it looks through one part for expired
entries, and each fill removes two of those that were found. As many fills pass from one look to the next as the part
has live values. So a fill costs the same on average however many entries there are, and about as many expired values
are kept as live ones; a cache that is not filled any more keeps what it has: `sweep` is for that. A part is copied in
one step of C code, and a thread that looks takes its part out of the queue of parts, so no two look through the same
one.

A removed entry is kept nowhere here. It is noted before it can be found in the index, so its remover finds it noted,
and drops it; one without a value that stays behind in the index, as a method of its key raises, need not be known. A
look makes known what it has found, and *then* checks what is still noted; the remover of an entry stops noting it, and
*then* drops it from what was found. So one of the two sees the other:

    1. a look copies a part                          3. it is dropped from what was found, and is not there
    2. one of its entries is removed                 4. the look makes it known, and keeps it until it is its turn

No lock is needed: each step on a set, a dict or a queue is one of the atomic steps listed in `locks`, and no method of
a key runs, as entries are compared by identity. A count that is lost, as two threads write it at once, only delays a
look.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Final, Protocol

from .._core.entry import Entry
from ..typing import Clock

__all__ = ["LazyExpirer"]

LEAST_FILLS: Final = 64
"""How many fills there are between two looks at least; and how many entries a look goes through, if there are more."""

TAKEN_A_FILL: Final = 2

FEW: Final = 8192
"""Once a look finds more than so many entries in the first part, which held all until then, others are begun."""

PART_BITS: Final = 0x7C000
"""What of an entry's address tells which of 32 parts it belongs to, if it is not in the first.

What is made at one time lies within one block of 16 KB, and so belongs to one part: a part that is chosen by lower bits
takes twice as long to add to, by what memory is touched. Of a million entries, a part takes some 3 ms to look through,
and 10 ms without a GIL.
"""

SHRINK_FROM: Final = 4096
"""Bytes from which on the table of a part that has become empty is freed: by itself it only ever grows."""


class Expirable(Protocol):
    """What is needed of a cache."""

    clock: Clock

    def is_useless(self, entry: Entry, now: float) -> bool: ...
    def drop_expired(self, entry: Entry, now: float) -> bool: ...


def _noting_in(parts: dict[int, set[Entry]]) -> Callable[[Entry], None]:
    """Make a `LazyExpirer.note` that refers to the parts alone: a method would make a cycle."""

    def note(entry: Entry) -> None:
        try:
            parts[id(entry) & PART_BITS].add(entry)
        except KeyError:
            parts.setdefault(id(entry) & PART_BITS, set()).add(entry)

    return note


def _discard(part: set[Entry], entry: Entry) -> None:
    part.discard(entry)
    if not part and part.__sizeof__() > SHRINK_FROM:
        part &= part  # one step, which gives it a table as large as what is in it then


class LazyExpirer:
    """One cache's; see the module."""

    __slots__ = ("_expired", "_few", "_fills_left", "_parts", "_unseen", "note")

    def __init__(self) -> None:
        self._expired: dict[Entry, None] = {}  # found by a look, and to be removed
        self._fills_left = LEAST_FILLS
        self._few: set[Entry] = set()
        self._parts: dict[int, set[Entry]] = {}  # the others, by their addresses
        self._unseen: deque[set[Entry]] = deque()  # what is still to be looked through in this round
        self.note: Callable[[Entry], None] = self._few.add
        """Know of an entry that is about to be put into the index. A call of C, as long as there are few."""

    def discard(self, entry: Entry) -> None:
        """Release `entry`, which was removed from the index, or replaced in it, or has not come to be in it."""
        _discard(self._few, entry)
        if self._parts:
            _discard(self._parts.get(id(entry) & PART_BITS, self._few), entry)
        if self._expired:
            self._expired.pop(entry, None)

    def expire_some(self, cache: Expirable) -> None:
        """Tidy up a little. Called outside of every lock; what a key's methods or the clock raise here is nobody's."""
        self._fills_left -= 1
        if self._fills_left > 0 and not self._expired:
            return
        with suppress(Exception):
            now = cache.clock()
            if not self._expired:
                self._look(cache, now)
            for _ in range(TAKEN_A_FILL):
                cache.drop_expired(self._expired.popitem()[0], now)

    def forget(self) -> None:
        """Drop what was found: all of it is being removed."""
        self._expired = {}

    def _look(self, cache: Expirable, now: float) -> None:
        """Look through the next part, or through some, where they are small."""
        if len(self._few) > FEW and not self._parts:
            self.note = _noting_in(self._parts)
        if not self._unseen:
            self._unseen.extend([self._few, *list(self._parts.values())])
        seen = found = 0
        while seen < LEAST_FILLS and self._unseen:
            part = self._unseen.popleft()
            self._fills_left = max(len(part), LEAST_FILLS)  # so that hardly any other thread looks as well
            entries = list(part)
            seen += len(entries)
            found += self._look_through(cache, part, entries, now)
        self._fills_left = max(seen - found, LEAST_FILLS)

    def _look_through(self, cache: Expirable, part: set[Entry], entries: list[Entry], now: float) -> int:
        """Make known what has expired; return how many that are."""
        found = 0
        for entry in [entry for entry in entries if (deadline := entry.deadline) is not None and deadline <= now]:
            if cache.is_useless(entry, now):
                found += 1
                self._expired[entry] = None
                if entry not in part:
                    self._expired.pop(entry, None)
            elif entry.flight is None and not entry.is_published:  # in this order: see entry
                part.discard(entry)  # it was to be put into the index, and its caller was interrupted
        return found
