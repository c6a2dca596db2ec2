"""What a process hears of what others change in a file of SQLite, whatever becomes of the file and of the process."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from areole.backends import SQLiteBackend, sqlite_connection, sqlite_file
from areole.backends.sqlite_listener import SQLiteListener
from areole.errors import AreoleError, BackendError

from .test_sqlite_processes import PRELUDE, forks, run_python

LEASE = 60.0


@pytest.fixture
def backend(tmp_path: Path) -> Iterator[SQLiteBackend]:
    with SQLiteBackend(tmp_path / "cache.db", timeout=30) as backend:
        backend.set_many({"a": b"1", "b": b"2", "c": b"3"})
        yield backend


@pytest.fixture
def listener(backend: SQLiteBackend) -> Iterator[SQLiteListener]:
    listener = backend.listen()
    yield listener
    listener.close()


def refill(backend: SQLiteBackend) -> None:
    backend.take("a", b"token", LEASE, b"1")
    assert backend.store_if_mine("a", b"new", b"token")


CHANGES: dict[str, tuple[Callable[[SQLiteBackend], object], list[str]]] = {
    "set": (lambda backend: backend.set("a", b"new"), ["a"]),
    "set_many": (lambda backend: backend.set_many({"a": b"new", "x": b"new", "c": b"new"}), ["a", "c"]),
    "kill": (lambda backend: backend.kill("a"), ["a"]),
    "delete_many": (lambda backend: backend.delete_many(["c", "x", "b"]), ["c", "b"]),
    "expire": (lambda backend: backend.expire("a", 10), ["a"]),
    "store_if_mine": (refill, ["a"]),
    "clear": (lambda backend: backend.clear(""), ["a", "b", "c"]),
    "a new key": (lambda backend: backend.set("x", b"new"), []),
    "no change": (lambda backend: backend.set("a", b"new", None, True), []),
    "a token": (lambda backend: backend.take("x", b"token", LEASE), []),
    "a token that is killed": (lambda backend: (backend.take("x", b"token", LEASE), backend.kill("x")), ["x"]),
    "a token of one that sets": (lambda backend: (backend.take("x", b"token", LEASE), backend.set("x", b"1")), ["x"]),
    "a fill": (lambda backend: (backend.take("x", b"token", LEASE), backend.store_if_mine("x", b"1", b"token")), []),
    "a token that is given back": (
        lambda backend: (backend.take("a", b"token", LEASE, b"1"), backend.store_if_mine("a", None, b"token")),
        [],
    ),
}


@pytest.mark.parametrize(("change", "heard"), CHANGES.values(), ids=list(CHANGES))
def test_hears_what_is_replaced_or_goes(
    backend: SQLiteBackend, listener: SQLiteListener, change: Callable[[SQLiteBackend], object], heard: list[str]
) -> None:
    change(backend)
    assert sorted(listener.receive(0.01)) == sorted(heard)
    assert listener.receive(0) == []


def test_hears_all_up_to_a_limit_and_says_when_it_has_missed_some(
    backend: SQLiteBackend, listener: SQLiteListener
) -> None:
    for _ in range(3):
        for number in range(sqlite_file.KEPT_CHANGES - 1):
            backend.set("a", b"%d" % number)
        assert len(listener.receive(0)) == sqlite_file.KEPT_CHANGES - 1
    for number in range(sqlite_file.KEPT_CHANGES + 1):
        backend.set("a", b"%d" % number)
    with pytest.raises(BackendError, match="more was changed"):
        listener.receive(0)


@pytest.mark.parametrize("look_seconds", [0, 3600])
def test_a_file_that_is_replaced_is_noticed(
    backend: SQLiteBackend,
    listener: SQLiteListener,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    look_seconds: float,
) -> None:
    monkeypatch.setattr(sqlite_connection, "LOOK_SECONDS", look_seconds)
    listener.receive(0)
    for file in tmp_path.iterdir():
        file.unlink()
    with SQLiteBackend(tmp_path / "cache.db") as other:
        other.set("a", b"new")
    with pytest.raises(BackendError):
        listener.ping()
        listener.receive(0)


def test_a_backend_that_was_closed_tells_nothing_more(backend: SQLiteBackend, listener: SQLiteListener) -> None:
    backend.close()
    with pytest.raises(BackendError):
        listener.ping()
    with pytest.raises(AreoleError):
        listener.receive(0)


def test_what_it_has_open_is_closed(backend: SQLiteBackend, listener: SQLiteListener, tmp_path: Path) -> None:
    def open_logs() -> list[Any]:
        if not os.path.isdir("/proc/self/fd"):
            pytest.skip("needs /proc")
        links = [f"/proc/self/fd/{name}" for name in os.listdir("/proc/self/fd")]
        return [link for link in links if os.path.exists(link) and os.readlink(link) == f"{tmp_path}/cache.db-wal"]

    assert len(open_logs()) == 2
    listener.close()
    assert len(open_logs()) == 1


@forks
def test_goes_on_over_a_fork_and_the_child_may_use_the_file() -> None:
    run_python(
        PRELUDE
        + """
backend.set("a", b"1")
listener = backend.listen()

def child():
    backend.set("a", b"2")
    own = backend.listen()
    backend.set("a", b"3")
    assert own.receive(0) == ["a"]

assert fork(child)() == 0
assert listener.receive(0) == ["a", "a"]
backend.set("a", b"4")
assert listener.receive(0) == ["a"]
listener.close()
backend.close()
"""
    )
