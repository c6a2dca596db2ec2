"""How a process hears what others have changed in a file of SQLite: triggers write it down, in the same transaction.

A change is written down where a value is replaced, gets another deadline, or goes, and where the token of a running
fill is made void: others may have joined that fill. What was stored where nothing was, nobody keeps. A process hears
its own changes too.
"""

from __future__ import annotations

import time
from typing import Final

from ..errors import BackendError
from .sqlite_connection import Connection
from .sqlite_file import KEPT_CHANGES, SQLiteFile

__all__ = ["SQLiteListener"]

LOOK_EVERY: Final = 0.005
"""Seconds between two looks, which take microseconds."""


class SQLiteListener:
    """A connection that reads the table of changes; used by one thread."""

    def __init__(self, file: SQLiteFile) -> None:
        self._file = file
        self.heard = time.monotonic()
        self._connection = Connection(file)
        [(self._last,)] = self._connection.rows("SELECT ifnull(max(id), 0) FROM changes", ())
        self._identity = self._connection.identity

    def ping(self) -> None:
        """Look whether the file is the same still: one that was replaced would never say anything."""
        if self._file.is_closed or self._file.identity() != self._identity:
            raise BackendError(f"SQLiteBackend: {self._file.path!r} was replaced or removed, or the backend is closed")

    def receive(self, timeout: float) -> list[str]:
        """Return the names that were changed; wait up to `timeout` seconds for some."""
        ends = time.monotonic() + timeout
        while True:
            now = time.monotonic()
            names = self._look()
            self.heard = now
            if names or now >= ends:
                return names
            time.sleep(LOOK_EVERY)

    def _look(self) -> list[str]:
        rows = self._connection.rows("SELECT id, key FROM changes WHERE id > ? ORDER BY id", (self._last,))
        if self._connection.identity != self._identity or len(rows) >= KEPT_CHANGES:
            raise BackendError("more was changed than is kept")
        if rows:
            self._last = rows[-1][0]
        return [key for _, key in rows]

    def close(self) -> None:
        self._connection.shut()
