"""Connections to the file of a SQLiteBackend, one per thread.

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
from .sqlite_file import Identity, SQLiteFile, is_busy, opened, unsafe

__all__ = ["Connection", "close_connections"]

R = TypeVar("R")
Parameters: TypeAlias = Sequence[Any] | dict[str, Any]

LOOK_SECONDS: Final = 1.0
"""How often a connection looks whether its file was removed or replaced."""

PATIENCE: Final = 1.0
"""Seconds for which a fork, or `close`, waits for a call that another thread is in."""

IS_FREE_THREADED: Final = "t" in getattr(sys, "abiflags", "")


class Connection:
    """The connection of one thread, made when it is used, and again after a fork or a serious error."""

    def __init__(self, file: SQLiteFile) -> None:
        self.lock = threading.RLock()
        self._acquire = (self.lock.acquire,)
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
        """Run one statement, and return all that it gives. Written out, as each hit does this: see `_run`, `_ready`."""
        taken: list[bool] = []
        try:
            taken += map(call, self._acquire)
            raw = self._raw
            if raw is None or time.monotonic() >= self._look_at:
                raw = self._look()
            return raw.execute(sql, parameters).fetchall()
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
            if not is_busy(error):
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
                unsafe.add(self.identity)
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
    return found & opened


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
        unsafe.update(left)
    for each in _connections.objects():
        each.after_fork()


around_fork(_before_fork, _after_fork)
