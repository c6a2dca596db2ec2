"""The file of a SQLiteBackend, and one connection to it per thread.

Locks
    a connection's `lock`   held while a statement runs. Other threads take it only to close the connection.
    `_opening`              held while a connection is made, and during a fork. Taken after a connection's lock.

No statement is left unfinished, so that each one reads what was committed before it began.

Forks
    All connections of the process are closed before a fork, and made again when they are used. For SQLite keeps a
    table of the locks that its process has on each file, and a child inherits the table, but not the locks:

    1. the parent has a connection, and forks
    2. the child makes its own; by the table, the process has the file's lock already, so that none is taken
    3. the parent closes its connection; no process has the lock, so that the write-ahead log is removed
    4. the child writes to the removed log, which nobody else reads: what it deletes stays valid everywhere.

    So there must be none when the fork comes. Where one cannot be closed in time, since its thread is in a long call,
    the child refuses to use that file; and it never closes what it has inherited.
"""

from __future__ import annotations

import gc
import os
import sqlite3
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from operator import call
from typing import Any, Final, TypeAlias, TypeVar

from .._platform.fork import around_fork
from .._platform.locks import Guarded, run_locked
from .._platform.weak import WeakTable
from ..errors import BackendError, BackendTimeout, CacheClosedError

__all__ = ["KEPT_CHANGES", "Connection", "SQLiteFile"]

R = TypeVar("R")
Identity: TypeAlias = tuple[int, int]
"""A file, whatever it is called: its device and number."""
Parameters: TypeAlias = Sequence[Any] | dict[str, Any]

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

LOOK_SECONDS: Final = 1.0
"""How often a connection looks whether its file was removed or replaced."""

PATIENCE: Final = 1.0
"""Seconds for which a fork, or `close`, waits for a call that another thread is in."""

IS_FREE_THREADED: Final = "t" in getattr(sys, "abiflags", "")

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
        if _is_busy(error):
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
        if identity in _unsafe:
            raise BackendError(
                f"SQLiteBackend: {self.path!r} cannot be used in this process: it was open in the parent, in a "
                "long call or by another library, when that forked. Fork before it is used, or spawn"
            )
        if identity is not None:
            _opened.add(identity)
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
                if not _is_busy(error) or time.monotonic() > ends:
                    raise
                time.sleep(0.001)
        if mode != "wal":
            raise BackendError(f"SQLiteBackend: {self.path!r} is on a disk without shared memory: name a local one")


def _code_of(error: Exception) -> int:
    """Return SQLite's primary result code; 0 if the error has none."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


def _is_busy(error: Exception) -> bool:
    return _code_of(error) in BUSY


def _has_tables(raw: sqlite3.Connection) -> bool:
    return raw.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone() is not None


class Connection:
    """The connection of one thread, made when it is used, and again after a fork or a serious error."""

    def __init__(self, file: SQLiteFile) -> None:
        self.lock = threading.RLock()
        self.file = file
        self._raw: sqlite3.Connection | None = None
        self._process = os.getpid()
        self.identity: Identity | None = None
        self._look_at = 0.0
        _connections.add_if_absent(self, None)

    def __del__(self, process_id: Callable[[], int] = os.getpid) -> None:
        """Close it: its thread has ended, or the backend was dropped; or the interpreter ends, and `os` is gone."""
        self._close(process_id())

    # ---- statements

    def rows(self, sql: str, parameters: Parameters) -> list[Any]:
        """Run one statement, and return all that it gives."""
        taken: list[bool] = []
        try:
            taken += map(call, (self.lock.acquire,))
            return self._ready().execute(sql, parameters).fetchall()
        except sqlite3.Error as error:
            raise self._failed(error) from error
        finally:
            if taken:
                self.lock.release()

    def change(self, sql: str, parameters: Parameters) -> int:
        """Run one statement, which is a transaction by itself; return how many rows it has changed."""
        return run_locked(self.lock, self._run, _change, sql, parameters)

    def change_unless_busy(self, sql: str, parameters: Parameters) -> None:
        """Run one statement, unless another writer is in a transaction: do not wait for it."""
        run_locked(self.lock, self._run, self._change_unless_busy, sql, parameters)

    def transact(self, function: Callable[..., R], *args: Any) -> R:
        """Call function(connection of sqlite3, *args) in a transaction that no other writer can come into."""
        result: R = run_locked(self.lock, self._run, _transact, function, *args)
        return result

    def _run(self, function: Callable[..., R], *args: Any) -> R:
        try:
            return function(self._ready(), *args)
        except sqlite3.Error as error:
            raise self._failed(error) from error

    def _change_unless_busy(self, raw: sqlite3.Connection, sql: str, parameters: Parameters) -> None:
        try:
            raw.execute("PRAGMA busy_timeout=0")
            raw.execute(sql, parameters)
        except sqlite3.OperationalError as error:
            if not _is_busy(error):
                raise
        finally:
            raw.execute(f"PRAGMA busy_timeout={int(self.file.timeout * 1000)}")

    def _failed(self, error: sqlite3.Error) -> BackendError:
        failure = self.file.failure(error)
        if not isinstance(failure, BackendTimeout):
            self._close(os.getpid())
        return failure

    # ---- life

    def _ready(self) -> sqlite3.Connection:
        raw = self._raw
        if raw is None or time.monotonic() >= self._look_at:
            raw = self._look()
        return raw

    def _look(self) -> sqlite3.Connection:
        """Return the connection; open it if there is none, or its file was removed or replaced."""
        if self._raw is None or self.file.is_closed or self.file.identity() != self.identity:
            self._close(os.getpid())
            run_locked(_opening.lock, self._open)
        assert self._raw is not None
        self._look_at = time.monotonic() + LOOK_SECONDS
        return self._raw

    def _open(self) -> None:
        if self.file.is_closed:
            raise CacheClosedError("SQLiteBackend is closed: make another one")
        try:
            raw, self.identity = self.file.connect()
        except (OSError, sqlite3.Error) as error:
            raise self.file.failure(error) from error
        self._process = os.getpid()
        self._raw = raw

    def _close(self, process: int) -> None:
        """Close it, unless it is the parent's, which a child must not close."""
        raw, self._raw = self._raw, None
        if raw is not None and self._process == process:
            raw.close()
        elif raw is not None:
            _inherited.append(raw)

    def shut(self) -> bool:
        """Close it from another thread; say whether it was open. One that is in a long call closes when it returns."""
        self._look_at = 0.0
        taken: list[bool] = []
        try:
            if self._raw is not None:
                taken += filter(None, map(call, (partial(self.lock.acquire, timeout=PATIENCE),)))
            if taken:
                self._close(os.getpid())
            return bool(taken)
        finally:
            if taken:
                self.lock.release()

    def after_fork(self) -> None:
        """In the child: free the lock, unless the thread that holds it is the one that forked."""
        if self._process != os.getpid():
            if self._raw is not None and self.identity is not None:
                _unsafe.add(self.identity)
            self._close(os.getpid())
            if not self.lock._is_owned():  # type: ignore[attr-defined]
                self.lock._at_fork_reinit()  # type: ignore[attr-defined]


def _change(raw: sqlite3.Connection, sql: str, parameters: Parameters) -> int:
    return raw.execute(sql, parameters).rowcount


def _transact(raw: sqlite3.Connection, function: Callable[..., R], *args: Any) -> R:
    try:
        raw.execute("BEGIN IMMEDIATE")
        result = function(raw, *args)
        raw.execute("COMMIT")
        return result
    finally:
        if raw.in_transaction:
            raw.rollback()


_opening: Final = Guarded()
_connections: Final[WeakTable[None]] = WeakTable()

_opened: Final[set[Identity]] = set()
"""All files to which this process has ever made a connection."""
_unsafe: set[Identity] = set()
"""Those that were open in the parent when it forked this process."""
_inherited: Final[list[sqlite3.Connection]] = []


def close_connections(file: SQLiteFile) -> None:
    """Close all connections of this process to `file`, and make no others."""
    file.is_closed = True
    _shut([each for each in _connections.objects() if each.file is file])


def _shut(connections: list[Connection]) -> None:
    """Close connections of any threads.

    On a free-threaded build a statement that another thread has made is freed by that thread, when it runs next, or by
    the collector, once what it is kept in was freed; and SQLite closes nothing before.
    """
    are_open = [each.shut() for each in connections]
    if any(are_open) and IS_FREE_THREADED:
        gc.collect()
        gc.collect()


def _still_open() -> set[Identity]:
    """Return which of the files that were ever opened are open in this process, by anybody."""
    found = set()
    with suppress(OSError):
        for name in os.listdir("/dev/fd"):
            with suppress(OSError):
                status = os.fstat(int(name))
                found.add((status.st_dev, status.st_ino))
    return found & _opened


_fork: tuple[int, set[Identity]] = (0, set())
"""The process that forks, and what is open in it."""


def _before_fork() -> None:
    """Close all connections, and wait for threads that are in the midst of freeing a statement."""
    global _fork
    _opening.lock.acquire(timeout=PATIENCE)  # released by `_after_fork`: no connection is made meanwhile
    _shut(_connections.objects())
    ends = time.monotonic() + PATIENCE
    while (left := _still_open()) and time.monotonic() < ends:
        time.sleep(0.001)
    _fork = os.getpid(), left


def _after_fork() -> None:
    if _opening.is_held():
        _opening.lock.release()
    parent, left = _fork
    if parent != os.getpid():
        _unsafe.update(left)
    for each in _connections.objects():
        each.after_fork()


around_fork(_before_fork, _after_fork)
