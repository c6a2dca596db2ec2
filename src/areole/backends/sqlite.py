"""SQLiteBackend: values in a file, for several processes on one host. See `sqlite_connection`, `sqlite_upkeep`.

A value and its token are in one row. Each step is one statement, or a transaction, that SQLite runs while no other
writer runs one. A step that looks first, and then changes, checks in the statement that changes.

Deadlines and leases are compared with the clock of this host. If it is set back, a value lives longer by that time, but
no more than a minute: a value with a ttl that seems to be from the future is none. The fence needs no clock: a change
removes the token.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from math import inf
from typing import Any, Final, TypeVar

from .._core.sentinels import CACHE_MISS, CacheMissSentinel
from .._core.ttl import seconds_of
from .._index.limits import check_at_least
from ..typing import Clock
from .base import BaseBackend, is_unseen
from .protocol import HEAD_BYTES, SEEN_BYTES
from .sqlite_connection import Connection, close_connections
from .sqlite_file import SQLiteFile
from .sqlite_listener import SQLiteListener
from .sqlite_upkeep import LEAST_MAX_BYTES, Upkeep, is_live, marks

__all__ = ["SQLiteBackend"]

T = TypeVar("T")

LEAST_TTL: Final = 0.001
KEYS_AT_ONCE: Final = 100
"""How many keys one statement reads, stores or deletes at most: others may write in between."""

IS_LIVE: Final = is_live("entries", ":now")
BEGINNING: Final = "ifnull(substr(value, 1, {}), x'')"
"""So much of the value of an entry that has one: that of no bytes is NULL for SQLite."""

GET: Final = f"SELECT value, used FROM (SELECT ? AS now) LEFT JOIN entries ON key = ? AND {is_live('entries', 'now')}"
TWO: Final = f"""
    (SELECT ? AS now)
    LEFT JOIN entries AS a ON a.key = ? AND {is_live("a", "now")}
    LEFT JOIN entries AS b ON b.key = ? AND {is_live("b", "now")}
"""
GET_TWO: Final = f"SELECT a.value, b.value FROM {TWO}"
GET_TWO_AND_USES: Final = f"SELECT a.value, b.value, ifnull(a.used, 1) AND ifnull(b.used, 1) FROM {TWO}"
GET_MANY: Final = f"""
    SELECT key, value, used FROM (SELECT ? AS now) JOIN entries ON key IN ({{}}) AND {is_live("entries", "now")}
"""
DEADLINE: Final = f"SELECT deadline FROM entries WHERE key = :key AND {IS_LIVE}"

SET: Final = """
    INSERT INTO entries (key, deadline, written, value) VALUES {} ON CONFLICT (key) DO UPDATE SET
    deadline = excluded.deadline, written = excluded.written, value = excluded.value, used = 1, token = NULL, lease = 0
"""
SET_ONE: Final = SET.format("(:key, :deadline, :now, :value)")
SET_IF_ABSENT: Final = f"{SET_ONE} WHERE NOT {IS_LIVE}"
EXPIRE: Final = f"UPDATE entries SET deadline = :deadline, written = :now WHERE key = :key AND {IS_LIVE}"

STANDING: Final = f"""
    SELECT CASE WHEN {IS_LIVE} THEN value END, CASE WHEN lease > :now THEN token END FROM entries WHERE key = :key
"""
TAKE: Final = f"""
    INSERT INTO entries (key, token, lease) VALUES (:key, :token, :lease) ON CONFLICT (key) DO UPDATE SET
    token = excluded.token, lease = excluded.lease
    WHERE lease <= :now AND (NOT {IS_LIVE} OR {BEGINNING.format(SEEN_BYTES)} = :seen)
"""
IS_MINE: Final = "key = :key AND token = :token AND lease > :now"
RENEW: Final = f"UPDATE entries SET lease = :lease WHERE {IS_MINE}"
STORE_IF_MINE: Final = f"""
    UPDATE entries SET deadline = :deadline, written = :now, value = :value, token = NULL, lease = 0 WHERE {IS_MINE}
"""
LEAVE_MARK: Final = f"UPDATE entries SET deadline = :now, value = NULL, token = NULL, lease = 0 WHERE {IS_MINE}"
"""With a deadline, later changes of the key are reported to those who keep the value that is not stored."""
GIVE_BACK: Final = f"UPDATE entries SET token = NULL, lease = 0 WHERE {IS_MINE}"

HEADS: Final = f"""
    SELECT key, {BEGINNING.format(HEAD_BYTES)}
    FROM (SELECT ? AS now) JOIN entries ON key IN ({{}}) AND {is_live("entries", "now")}
"""
DELETE: Final = "DELETE FROM entries WHERE key IN ({})"
END_OF_SLICE: Final = f"SELECT key FROM entries WHERE key >= ? AND key < ? ORDER BY key LIMIT 1 OFFSET {KEYS_AT_ONCE}"
DELETE_RANGE: Final = "DELETE FROM entries WHERE key >= ? AND key < ?"

ABOVE_ALL_TEXT: Final = b""
"""SQLite sorts bytes after all text."""


class SQLiteBackend(BaseBackend):
    """Keeps bytes in one file, for the threads and processes of one host; they survive restarts. Needs no server.

    Args:
        path: of the file. It is created, for this user alone, with the folders that are missing. SQLite keeps two more
            beside it, which end with -wal and -shm. It must be on a local disk: network file systems do not do.
        max_bytes: of the file, at least 65,536; above it the entries that were not used for longest are evicted,
            roughly. A value over half of it is not stored. None: it grows with what is stored. The file does not
            shrink, but uses again what has become free.
        timeout: seconds for which a call waits for other writers.
        clock: seconds, of ttls and leases; the same for all processes.

    Under concurrency:
        Reads wait for nobody. Writes wait for each other, in all processes. Each thread has a connection of its own,
        with three open files, until it ends. A fork closes all connections; they are made again when they are used.
        A file that was removed or replaced is noticed within a second.

    Raises:
        TypeError, ValueError: for an argument; the message names it.
        BackendTimeout: another writer had the file for longer than `timeout`: it was stopped, or there are too many.
        BackendError: from any call, if the file cannot be used: it is damaged, read-only, a folder, of another
            program, of a later version of areole; or the disk is full. A file of an earlier version is emptied.
        CacheClosedError: after `close`.
    """

    clears_cheaply = True

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        max_bytes: int | None = None,
        timeout: float = 0.25,
        clock: Clock = time.time,
    ) -> None:
        self._file = SQLiteFile(_checked(path), seconds_of(timeout, "timeout"))
        self._upkeep = Upkeep(check_at_least("max_bytes", max_bytes, LEAST_MAX_BYTES))
        self._notes_uses = max_bytes is not None
        self._clock = clock
        self._threads = _PerThread(self._file)

    @property
    def timeout(self) -> float:
        return self._file.timeout

    def __repr__(self) -> str:
        return f"<SQLiteBackend {self._file.path!r}>"

    # ---- values

    def get(self, key: str, /) -> bytes | None:
        connection = self._threads.connection
        [(value, used)] = connection.rows(GET, (self._clock(), key))
        if used == 0 and self._notes_uses:
            self._upkeep.note_uses(connection, [key])
        return value  # type: ignore[no-any-return]

    def get_many(self, keys: Sequence[str], /) -> list[bytes | None]:
        if len(keys) != 2:
            return self._get_any(keys)
        connection = self._threads.connection
        if not self._notes_uses:
            [(first, second)] = connection.rows(GET_TWO, (self._clock(), *keys))
            return [first, second]
        [(first, second, are_used)] = connection.rows(GET_TWO_AND_USES, (self._clock(), *keys))
        if not are_used:
            self._upkeep.note_uses(connection, keys)
        return [first, second]

    def _get_any(self, keys: Sequence[str]) -> list[bytes | None]:
        connection = self._threads.connection
        found: dict[str, bytes] = {}
        for some in _slices(keys):
            rows = connection.rows(GET_MANY.format(marks(len(some))), (self._clock(), *some))
            found.update((key, value) for key, value, _ in rows)
            if self._notes_uses and (unused := [key for key, _, used in rows if not used]):
                self._upkeep.note_uses(connection, unused)
        return [found.get(key) for key in keys]

    def ttl_of(self, key: str, /) -> float | CacheMissSentinel | None:
        now = self._clock()
        rows = self._threads.connection.rows(DEADLINE, {"key": key, "now": now})
        if not rows:
            return CACHE_MISS
        left: float = rows[0][0] - now
        return None if left == inf else left

    def set(self, key: str, value: bytes, /, ttl: float | None = None, only_if_absent: bool = False) -> bool:
        now = self._clock()
        if self._upkeep.is_too_large(value):
            if not only_if_absent:
                self.kill(key)
            return False
        row = {"key": key, "deadline": _deadline(now, ttl), "now": now, "value": value}
        return self._store(SET_IF_ABSENT if only_if_absent else SET_ONE, row, now, 1, 2 * len(key) + len(value)) == 1

    def set_many(self, items: Mapping[str, bytes], /, ttl: float | None = None) -> None:
        now = self._clock()
        deadline = _deadline(now, ttl)
        if too_large := [key for key, value in items.items() if self._upkeep.is_too_large(value)]:
            self.kill_many(too_large)
            items = {key: value for key, value in items.items() if key not in too_large}
        for some, size in _groups(items, self._upkeep.bytes_at_once):
            rows = [each for key in some for each in (key, deadline, now, items[key])]
            self._store(SET.format(",".join(["(?,?,?,?)"] * len(some))), rows, now, len(some), size)

    def _store(self, sql: str, parameters: Any, now: float, keys: int, size: int) -> int:
        """Run a statement that stores as many keys, of `size` bytes with their values; return how many were stored."""
        connection = self._threads.connection
        self._upkeep.before_write(connection, now, keys, size)
        return connection.change(sql, parameters)

    def expire(self, key: str, ttl: float | None, /) -> bool:
        now = self._clock()
        deadline = now if ttl == 0 else _deadline(now, ttl)
        return self._threads.connection.change(EXPIRE, {"key": key, "deadline": deadline, "now": now}) == 1

    def clear(self, prefix: str, /) -> None:
        connection = self._threads.connection
        begin: str | bytes = prefix
        end = _end_of(prefix)
        while rows := connection.rows(END_OF_SLICE, (begin, end)):
            connection.change(DELETE_RANGE, (begin, rows[0][0]))
            begin = rows[0][0]
        connection.change(DELETE_RANGE, (begin, end))

    # ---- the fence

    def take(
        self, key: str, token: bytes, lease: float, seen: bytes | None = None, /
    ) -> tuple[bytes | None, bytes | None]:
        while True:
            now = self._clock()
            [(value, stands)] = self._threads.connection.rows(STANDING, {"key": key, "now": now}) or [(None, None)]
            if is_unseen(value, seen):
                return value, None
            if stands is not None:
                return None, stands
            row = {"key": key, "token": token, "lease": now + max(lease, LEAST_TTL), "now": now}
            row["seen"] = None if seen is None else seen[:SEEN_BYTES]
            if self._store(TAKE, row, now, 1, 2 * len(key)):
                return None, token
            # Somebody has changed the key since we looked. Look again.

    def renew(self, key: str, token: bytes, lease: float, /) -> bool:
        now = self._clock()
        row = {"key": key, "token": token, "lease": now + max(lease, LEAST_TTL), "now": now}
        return self._threads.connection.change(RENEW, row) == 1

    def store_if_mine(self, key: str, value: bytes | None, token: bytes, ttl: float | None = None, /) -> bool:
        now = self._clock()
        row = {"key": key, "token": token, "now": now}
        if value is None:
            return self._threads.connection.change(GIVE_BACK, row) == 1
        if self._upkeep.is_too_large(value):
            return self._threads.connection.change(LEAVE_MARK, row) == 1
        row |= {"deadline": _deadline(now, ttl), "value": value}
        return self._store(STORE_IF_MINE, row, now, 1, len(value)) == 1

    def kill(self, key: str, /) -> bytes | None:
        return self.kill_many((key,))[0]

    def kill_many(self, keys: Sequence[str], /) -> list[bytes | None]:
        heads: dict[str, bytes] = {}
        for some in _slices(keys):
            heads |= self._threads.connection.transact(_kill, some, self._clock())
        return [heads.get(key) for key in keys]

    # ---- what others change

    def listen(self) -> SQLiteListener:
        """Read, on a connection of its own, what other processes have changed; see `shared.plane`."""
        return SQLiteListener(self._file)

    # ---- life

    def close(self) -> None:
        close_connections(self._file)


class _PerThread(threading.local):
    """Has a connection of its own for each thread, which is dropped when that ends."""

    def __init__(self, file: SQLiteFile) -> None:
        self.connection = Connection(file)


def _kill(raw: sqlite3.Connection, keys: Sequence[str], now: float) -> dict[str, bytes]:
    heads = dict(raw.execute(HEADS.format(marks(len(keys))), (now, *keys)).fetchall())
    raw.execute(DELETE.format(marks(len(keys))), keys)
    return heads


def _checked(path: str | os.PathLike[str]) -> str:
    if not isinstance(path, str | bytes | os.PathLike):
        raise TypeError(f"SQLiteBackend: path must be a str or a PathLike, not {type(path).__name__}")
    text = os.fsdecode(path)
    if not text or "\0" in text or text.startswith(":memory:"):
        raise ValueError(f"SQLiteBackend: path must name a file, not {text!r}; in memory there is MemoryBackend")
    if text.startswith("file:"):
        raise ValueError(f"SQLiteBackend: path must be a plain path, not a URI: {text!r}")
    return text


def _deadline(now: float, ttl: float | None) -> float:
    return inf if ttl is None else now + max(ttl, LEAST_TTL)


def _slices(keys: Sequence[T]) -> Iterator[Sequence[T]]:
    return (keys[begin : begin + KEYS_AT_ONCE] for begin in range(0, len(keys), KEYS_AT_ONCE))


def _groups(items: Mapping[str, bytes], most: int) -> Iterator[tuple[list[str], int]]:
    """Yield the keys in groups that one statement stores, and how many bytes each has with its values."""
    group: list[str] = []
    size = 0
    for key, value in items.items():
        group.append(key)
        size += 2 * len(key) + len(value)
        if len(group) == KEYS_AT_ONCE or size > most:
            yield group, size
            group, size = [], 0
    if group:
        yield group, size


def _end_of(prefix: str) -> str | bytes:
    """Return what comes after all text that begins with `prefix`, and after no other."""
    for position in range(len(prefix) - 1, -1, -1):
        code = ord(prefix[position])
        if code < 0x10FFFF:
            return prefix[:position] + chr(0xE000 if code == 0xD7FF else code + 1)
    return ABOVE_ALL_TEXT
