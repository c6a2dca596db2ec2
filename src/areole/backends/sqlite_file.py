"""The file of a SQLiteBackend: its tables, how it is opened, and what its errors mean."""

from __future__ import annotations

import os
import sqlite3
import time
from contextlib import suppress
from typing import Final, TypeAlias, TypeVar

from ..errors import BackendError, BackendTimeout

__all__ = ["KEPT_CHANGES", "Identity", "SQLiteFile", "is_busy", "opened", "unsafe"]

R = TypeVar("R")
Identity: TypeAlias = tuple[int, int]
"""A file, whatever it is called: its device and number."""

APPLICATION_ID: Final = 0x61726C65
"""Stands in the head of our files: "arle"."""

SCHEMA_VERSION: Final = 1

SCHEMA: Final = """
CREATE TABLE entries (
    id INTEGER PRIMARY KEY,            -- grows: the order in which entries are evicted
    key TEXT NOT NULL UNIQUE,
    deadline REAL NOT NULL DEFAULT 0,  -- when the value expires; infinite: never
    written REAL NOT NULL DEFAULT 0,   -- when it was stored
    used INTEGER NOT NULL DEFAULT 0,   -- whether it was read or replaced since it got its id
    token BLOB,
    lease REAL NOT NULL DEFAULT 0,     -- until when the token stands
    value BLOB                         -- last, so that the columns before it are read without it; NULL: no value
)
"""

KEPT_CHANGES: Final = 500
"""How many of the last changes stay for those who listen; one that has missed more drops all that it keeps."""

CHANGES: Final = "CREATE TABLE changes (id INTEGER PRIMARY KEY, key TEXT NOT NULL)"
# An entry that has had no value has no deadline; to ask for the value itself would read it. One with a token is being
# filled: those who joined that fill must hear of a change too. A fill that stores leaves `used`, a `set` sets it.
TRIGGER: Final = f"""
CREATE TRIGGER on_{{event}} AFTER {{event}} {{columns}} ON entries
WHEN old.deadline > 0 OR (old.token IS NOT NULL AND {{changes}})
BEGIN
    INSERT INTO changes (key) VALUES (old.key);
    DELETE FROM changes WHERE id <= (SELECT max(id) FROM changes) - {KEPT_CHANGES};
END
"""
TABLES: Final = (
    SCHEMA,
    CHANGES,
    TRIGGER.format(event="DELETE", columns="", changes="1"),
    TRIGGER.format(event="UPDATE", columns="OF value, deadline", changes="new.used"),
)

PRAGMAS: Final = ("synchronous=NORMAL", "secure_delete=OFF", f"journal_size_limit={16 << 20}")


unsafe: Final[set[Identity]] = set()
"""Those that were open in the parent when it forked this process."""

opened: Final[set[Identity]] = set()
"""All files to which this process has ever made a connection."""

BUSY: Final = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL}

HINTS: Final = {
    sqlite3.SQLITE_CANTOPEN: "cannot be opened: name a file in a folder where this process may write",
    sqlite3.SQLITE_CORRUPT: "is damaged: remove it, and the files beside it that end with -wal and -shm",
    sqlite3.SQLITE_FULL: "cannot grow, since the disk is full: make room, or give max_bytes",
    sqlite3.SQLITE_IOERR: "cannot be read or written: see the disk, and that the file is on a local one",
    sqlite3.SQLITE_NOTADB: "is not a file of SQLite: name another path, or remove it",
    sqlite3.SQLITE_PERM: "may not be used: see its permissions",
    sqlite3.SQLITE_READONLY: "is read-only: see the permissions of the file and of its folder",
}


class SQLiteFile:
    """Where the file is, and how a connection to it is made."""

    def __init__(self, path: str | os.PathLike[str], timeout: float) -> None:
        self.path = os.path.abspath(os.fsdecode(path))
        self.timeout = timeout
        self.is_closed = False

    def failure(self, error: Exception) -> BackendError:
        """Return what is to be raised for an error of SQLite, or of the operating system."""
        if is_busy(error):
            return BackendTimeout(
                f"SQLiteBackend: {self.path!r} was locked by another writer for more than timeout={self.timeout:g} s: "
                "try again, or raise timeout"
            )
        hint = HINTS.get(_code_of(error), "cannot be used")
        if os.path.isdir(self.path):
            hint = "is a folder: name a file in it"
        return BackendError(f"SQLiteBackend: {self.path!r} {hint} ({error})")

    def identity(self) -> Identity | None:
        """Return which file there is now; None if there is none."""
        try:
            found = os.stat(self.path)
        except OSError:
            return None
        return found.st_dev, found.st_ino

    def connect(self) -> tuple[sqlite3.Connection, Identity | None]:
        """Make a connection, the file if there is none, and its tables if it is empty; say which file it is."""
        self._create()
        identity = self.identity()
        if identity in unsafe:
            raise BackendError(
                f"SQLiteBackend: {self.path!r} cannot be used in this process: it was open in the parent, in a "
                "long call or by another library, when that forked. Fork before it is used, or spawn"
            )
        if identity is not None:
            opened.add(identity)
        raw = sqlite3.connect(self.path, timeout=self.timeout, isolation_level=None, check_same_thread=False)
        try:
            self._prepare(raw)
        except BaseException:
            raw.close()
            raise
        return raw, identity

    def _create(self) -> None:
        """Create the file, for its owner alone.

        Never open one that is there: to close it would free all locks that this process has on it.
        """
        os.makedirs(os.path.dirname(self.path), mode=0o700, exist_ok=True)
        with suppress(FileExistsError):
            os.close(os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))

    def _prepare(self, raw: sqlite3.Connection) -> None:
        raw.execute("BEGIN")
        is_ours = self._is_ours(raw)
        raw.execute("COMMIT")
        if not is_ours:
            self._use_log(raw)
            raw.execute("BEGIN IMMEDIATE")
            if not self._is_ours(raw):  # another process may have been first
                self._make_tables(raw)
            raw.execute("COMMIT")
        self._use_log(raw)
        for pragma in PRAGMAS:
            raw.execute(f"PRAGMA {pragma}")

    def _is_ours(self, raw: sqlite3.Connection) -> bool:
        """Say whether the file has our tables; raise BackendError if it belongs to somebody else.

        Called in a transaction, so that no other process makes its tables between the looks.
        """
        application, version = (
            raw.execute(f"PRAGMA {name}").fetchone()[0] for name in ("application_id", "user_version")
        )
        if application == APPLICATION_ID and version > SCHEMA_VERSION:
            raise BackendError(
                f"SQLiteBackend: {self.path!r} was made by a later version of areole: name another path, or remove it"
            )
        if application != APPLICATION_ID and (application or version or _has_tables(raw)):
            raise BackendError(
                f"SQLiteBackend: {self.path!r} is a database of something else: name a file for this cache alone"
            )
        return bool(application == APPLICATION_ID and version == SCHEMA_VERSION)

    def _make_tables(self, raw: sqlite3.Connection) -> None:
        """Make the tables; those of an earlier version are dropped, with what was cached in them."""
        for table in ("entries", "changes"):
            raw.execute(f"DROP TABLE IF EXISTS {table}")
        for statement in TABLES:
            raw.execute(statement)
        raw.execute(f"PRAGMA application_id={APPLICATION_ID}")
        raw.execute(f"PRAGMA user_version={SCHEMA_VERSION}")

    def _use_log(self, raw: sqlite3.Connection) -> None:
        """Switch to a write-ahead log. While others switch too, SQLite refuses at once: try again until `timeout`."""
        ends = time.monotonic() + self.timeout
        while True:
            try:
                (mode,) = raw.execute("PRAGMA journal_mode=WAL").fetchone()
                break
            except sqlite3.OperationalError as error:
                if not is_busy(error) or time.monotonic() > ends:
                    raise
                time.sleep(0.001)
        if mode != "wal":
            raise BackendError(f"SQLiteBackend: {self.path!r} is on a disk without shared memory: name a local one")


def _code_of(error: Exception) -> int:
    """Return SQLite's primary result code; 0 if the error has none."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


def is_busy(error: Exception) -> bool:
    return _code_of(error) in BUSY


def _has_tables(raw: sqlite3.Connection) -> bool:
    return raw.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone() is not None
