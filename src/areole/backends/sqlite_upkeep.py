"""What keeps the file of a SQLiteBackend small: expired entries are removed, and with `max_bytes` others are evicted.

Writers do it, a slice of entries at a time, so that no write takes long. It needs no index beside that of the keys:

Sweep       Each write passes over some entries, in the order of their ids, and removes those that nobody can see:
            eight for each entry that it stores. So expired entries stay below an eighth of all.
Eviction    CLOCK: the entry with the lowest id is next. If it was used since it got its id, it gets the highest one
            instead, and counts as unused; otherwise it goes. Low ids lie in the same pages, so that whole pages
            become free. If all of a slice were used, the largest go: small ones, like the version of a namespace,
            stay.
Uses        A read notes an entry that is not marked as used, and the notes are written together, after a second. So
            an entry is marked once for each turn of the clock, and all other reads are nothing but reads.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from random import random, randrange
from typing import Final

from .sqlite_connection import Connection

__all__ = ["Upkeep", "is_live", "marks"]

CLOCK_SLACK: Final = 60
"""A value with a ttl that was stored more than these seconds in the future is from before the clock was set back."""


def is_live(entry: str, now: str) -> str:
    """Return the condition that an entry has a value that has not expired."""
    return (
        f"({entry}.value IS NOT NULL AND {entry}.deadline > {now}"
        f" AND ({entry}.written < {now} + {CLOCK_SLACK} OR {entry}.deadline = 9e999))"
    )


def marks(number: int) -> str:
    return ",".join("?" * number)


IS_LIVE: Final = is_live("entries", ":now")
IS_DEAD: Final = f"NOT {IS_LIVE} AND lease <= :now"

PASS_OVER: Final = f"""
    SELECT max(id), sum(is_dead), count(*)
    FROM (SELECT id, {IS_DEAD} AS is_dead FROM entries WHERE id > :hand ORDER BY id LIMIT :slice)
"""
SWEEP: Final = f"DELETE FROM entries WHERE id > :hand AND id <= :last AND {IS_DEAD}"

OLDEST: Final = f"""
    SELECT id, used AND {IS_LIVE} OR lease > :now, ifnull(length(value), 0) FROM entries ORDER BY id LIMIT :slice
"""
KEEP: Final = "UPDATE entries SET used = 0, id = id + (SELECT max(id) FROM entries) + 1 - ? WHERE id IN ({})"
EVICT: Final = "DELETE FROM entries WHERE id IN ({})"
NOTE_USE: Final = "UPDATE entries SET used = 1 WHERE used = 0 AND key IN ({})"

SWEPT_EACH: Final = 8
"""How many entries are passed over for each one that is stored."""
SWEPT_AT_ONCE: Final = 64

EVICTED_AT_ONCE: Final = 32
MOST_SLICES: Final = 64
"""So many times EVICTED_AT_ONCE entries are evicted by one write at most, if the file was larger than max_bytes."""

MOST_NOTES: Final = 64
NOTE_SECONDS: Final = 1.0

BYTES_AT_ONCE: Final = 1 << 20
LEAST_MAX_BYTES: Final = 1 << 16
CHECK_BYTES: Final = 1 << 16
ENTRY_BYTES: Final = 100
"""Roughly what an entry takes beside its key, which is there twice, and its value."""


class Upkeep:
    """Sweeps and evicts for one backend; threads share it, and what it counts is a hint."""

    def __init__(self, max_bytes: int | None) -> None:
        self.max_bytes = max_bytes
        self._hand: int | None = None
        self._notes: dict[str, None] = {}
        self._write_notes_at = 0.0
        self._check_after = 0 if max_bytes is None else min(max_bytes // 64, CHECK_BYTES)
        self.bytes_at_once = BYTES_AT_ONCE if max_bytes is None else min(max_bytes // 4, BYTES_AT_ONCE)
        self._unchecked = self._check_after  # bytes stored since it was last looked how large the file is

    def is_too_large(self, value: bytes) -> bool:
        """Say whether a value is over half of max_bytes: it would evict most others."""
        return self.max_bytes is not None and 2 * len(value) > self.max_bytes

    def before_write(self, connection: Connection, now: float, keys: int, size: int) -> None:
        """Sweep a little, and make room for as many keys, whose text and values have `size` bytes."""
        if random() * SWEPT_AT_ONCE < keys * SWEPT_EACH:
            self._sweep(connection, now, max(SWEPT_AT_ONCE, keys * SWEPT_EACH))
        if self.max_bytes is not None:
            self._unchecked += size + keys * ENTRY_BYTES
            if self._unchecked >= self._check_after:
                self._make_room(connection, now, self.max_bytes * 15 // 16 - size)
                self._unchecked = 0

    # ---- sweep

    def _sweep(self, connection: Connection, now: float, number: int) -> None:
        if self._hand is None:
            self._hand = randrange(1 + (connection.rows("SELECT max(id) FROM entries", ())[0][0] or 0))
        place = {"hand": self._hand, "now": now, "slice": number}
        [(last, dead, passed)] = connection.rows(PASS_OVER, place)
        if dead:
            connection.change_unless_busy(SWEEP, {"hand": self._hand, "now": now, "last": last})
        self._hand = last if passed == number else 0

    # ---- eviction

    def note_uses(self, connection: Connection, keys: Iterable[str]) -> None:
        """Note that `keys` were read, which are not marked as used."""
        if not self._notes:
            self._write_notes_at = time.monotonic() + NOTE_SECONDS
        self._notes.update(dict.fromkeys(keys))
        if len(self._notes) >= MOST_NOTES or time.monotonic() >= self._write_notes_at:
            self._write_notes(connection)

    def _write_notes(self, connection: Connection) -> None:
        keys = list(self._notes)[: 2 * MOST_NOTES]
        self._notes.clear()
        if keys:
            connection.change_unless_busy(NOTE_USE.format(marks(len(keys))), keys)

    def _make_room(self, connection: Connection, now: float, most: int) -> None:
        """Evict until the file has `most` bytes, which are in use."""
        self._write_notes(connection)
        for _ in range(MOST_SLICES):
            excess = _bytes_in_use(connection) - most
            if excess <= 0 or not self._evict_slice(connection, now, excess):
                break

    def _evict_slice(self, connection: Connection, now: float, excess: int) -> bool:
        """Evict up to `excess` bytes of the oldest entries; say whether there were any."""
        entries = connection.rows(OLDEST, {"now": now, "slice": EVICTED_AT_ONCE})
        evicted, kept = _choose(entries, excess)
        if kept:
            connection.change(KEEP.format(marks(len(kept))), (entries[0][0], *kept))
        if evicted:
            connection.change(EVICT.format(marks(len(evicted))), evicted)
        return bool(entries)


def _choose(entries: list[tuple[int, int, int]], excess: int) -> tuple[list[int], list[int]]:
    """Return the ids of those that are evicted, and of those before them that are kept, and count as unused."""
    if all(is_used for _, is_used, _ in entries):
        largest = sorted(entries, key=lambda entry: entry[2])[-1 - len(entries) // 4 :]
        entries = [(entry[0], entry not in largest, entry[2]) for entry in entries]
    evicted: list[int] = []
    kept: list[int] = []
    for number, is_used, size in entries:
        if excess <= 0:
            break
        if is_used:
            kept.append(number)
        else:
            evicted.append(number)
            excess -= size + ENTRY_BYTES
    return evicted, kept


def _bytes_in_use(connection: Connection) -> int:
    pages, free, size = (
        connection.rows(f"PRAGMA {name}", ())[0][0] for name in ("page_count", "freelist_count", "page_size")
    )
    return int((pages - free) * size)
