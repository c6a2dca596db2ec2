"""What SQLiteBackend promises beside the contract: its file, who else uses it, its size; and what goes wrong.

Processes are in `test_sqlite_processes.py`.
"""

from __future__ import annotations

import os
import sqlite3
import stat
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from areole import CACHE_MISS
from areole.backends import SQLiteBackend, sqlite_connection, sqlite_file, sqlite_upkeep
from areole.errors import BackendError, BackendTimeout, CacheClosedError
from areole.testing import ManualClock

from ..kit import run_threads

LEASE = 60.0
NOW = 1e9


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "cache.db"


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(NOW)


@pytest.fixture
def backend(path: Path, clock: ManualClock) -> Iterator[SQLiteBackend]:
    with SQLiteBackend(path, clock=clock) as backend:
        yield backend


def query(path: Path, sql: str) -> list[Any]:
    """Run `sql` in a connection of its own."""
    raw = sqlite3.connect(path, isolation_level=None)
    try:
        return raw.execute(sql).fetchall()
    finally:
        raw.close()


def count_entries(path: Path) -> int:
    [(number,)] = query(path, "SELECT count(*) FROM entries")
    return int(number)


def open_files(path: Path) -> list[str]:
    """Return which files at `path`, or beside it, this process has open, once for each time."""
    if not os.path.isdir("/proc/self/fd"):
        pytest.skip("needs /proc")
    found = []
    for number in os.listdir("/proc/self/fd"):
        try:
            target = os.readlink(f"/proc/self/fd/{number}")
        except OSError:
            continue
        if target.startswith(str(path)):
            found.append(target)
    return found


# ---- the path


@pytest.mark.parametrize("path", ["", ":memory:", "a\0b", "file:cache.db?mode=memory"])
def test_a_path_that_names_no_file_is_refused(path: str) -> None:
    with pytest.raises(ValueError, match="path must"):
        SQLiteBackend(path)


@pytest.mark.parametrize("path", [None, 7, object()])
def test_a_path_of_another_type_is_refused(path: Any) -> None:
    with pytest.raises(TypeError, match="path must be"):
        SQLiteBackend(path)


@pytest.mark.parametrize(
    "arguments", [{"max_bytes": 65_535}, {"max_bytes": 1e9}, {"timeout": 0}, {"timeout": -1}, {"timeout": float("nan")}]
)
def test_arguments_out_of_range_are_refused(path: Path, arguments: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(arguments))):
        SQLiteBackend(path, **arguments)


def test_nothing_is_created_before_it_is_used(path: Path) -> None:
    SQLiteBackend(path).close()
    assert not path.exists()


def test_creates_missing_folders_and_files_for_this_user_alone(tmp_path: Path) -> None:
    path = tmp_path / "var" / "lib" / "cache.db"
    before = os.umask(0)
    try:
        with SQLiteBackend(str(path)) as backend:
            backend.set("k", b"v")
            modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}
    finally:
        os.umask(before)
    if os.name == "posix":
        assert modes == {"cache.db": 0o600, "cache.db-wal": 0o600, "cache.db-shm": 0o600}
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_a_relative_path_stays_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with SQLiteBackend("cache.db") as backend:
        backend.set("k", b"v")
        (tmp_path / "other").mkdir()
        monkeypatch.chdir(tmp_path / "other")
        assert run_threads(lambda: backend.get("k")) == [b"v"]
    assert os.listdir(tmp_path / "other") == []


def test_an_empty_file_is_used(path: Path) -> None:
    path.touch()
    with SQLiteBackend(path) as backend:
        assert backend.set("k", b"v")


def test_values_and_tokens_outlive_the_backend(path: Path, clock: ManualClock) -> None:
    with SQLiteBackend(path, clock=clock) as backend:
        backend.set("k", b"v", 10)
        backend.take("filling", b"token", LEASE)
    with SQLiteBackend(path, clock=clock) as backend:
        assert backend.get("k") == b"v"
        assert backend.ttl_of("k") == 10
        assert backend.store_if_mine("filling", b"v", b"token")


# ---- files that cannot be used


def check_fails(path: Path, match: str) -> None:
    """Check that each call raises a BackendError that names the path."""
    with SQLiteBackend(path) as backend:
        for call in (
            lambda: backend.get("k"),
            lambda: backend.set("k", b"v"),
            lambda: backend.kill("k"),
            lambda: backend.clear(""),
        ):
            with pytest.raises(BackendError, match=match) as caught:
                call()
            assert str(path) in str(caught.value)
            assert not isinstance(caught.value, BackendTimeout)


def test_a_folder(path: Path) -> None:
    path.mkdir()
    check_fails(path, "is a folder")


def test_a_path_below_a_file(path: Path) -> None:
    path.write_bytes(b"")
    check_fails(path / "cache.db", "cannot be used")


def test_a_file_of_something_else(path: Path) -> None:
    content = b"not a database, " * 100
    path.write_bytes(content)
    check_fails(path, "is not a file of SQLite")
    assert path.read_bytes() == content


def test_a_damaged_file(path: Path) -> None:
    with SQLiteBackend(path) as backend:
        backend.set_many({f"k{number}": b"v" * 100 for number in range(1000)})
    content = bytearray(path.read_bytes())
    content[4096:] = b"\x55" * (len(content) - 4096)
    path.write_bytes(content)
    check_fails(path, "is damaged")


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_file_can_be_read(path: Path) -> None:
    with SQLiteBackend(path) as backend:
        backend.set("k", b"v")
        path.chmod(0o400)
    with SQLiteBackend(path) as backend, pytest.raises(BackendError, match="is read-only"):
        backend.set("k", b"w")


def test_a_full_disk(backend: SQLiteBackend) -> None:
    backend.set("k", b"v")
    backend._threads.connection.rows("PRAGMA max_page_count=8", ())
    with pytest.raises(BackendError, match="disk is full"):
        backend.set("large", b"x" * 100_000)
    assert backend.get("k") == b"v"
    assert backend.set("k", b"w"), "the connection is made again"


FOREIGN: dict[str, list[str]] = {
    "tables": ["CREATE TABLE users (name)", "INSERT INTO users VALUES ('Ada')"],
    "entries": ["CREATE TABLE entries (id, value)", "INSERT INTO entries VALUES (1, 2)"],
    "log": ["PRAGMA journal_mode=WAL", "CREATE TABLE users (name)"],
    "version": ["PRAGMA user_version=7"],
    "application": ["PRAGMA application_id=7"],
}


@pytest.mark.parametrize("statements", FOREIGN.values(), ids=list(FOREIGN))
def test_a_database_of_another_program_is_left_as_it_is(path: Path, statements: list[str]) -> None:
    raw = sqlite3.connect(path, isolation_level=None)
    for each in statements:
        raw.execute(each)
    raw.close()
    content = path.read_bytes()
    check_fails(path, "is a database of something else")
    assert path.read_bytes() == content


def test_a_file_of_a_later_version_is_refused(path: Path) -> None:
    with SQLiteBackend(path) as backend:
        backend.set("k", b"v")
    query(path, f"PRAGMA user_version={sqlite_file.SCHEMA_VERSION + 1}")
    check_fails(path, "later version")


def test_a_file_of_an_earlier_version_is_emptied(path: Path) -> None:
    with SQLiteBackend(path) as backend:
        backend.set("k", b"v")
        backend.take("filling", b"token", LEASE)
    query(path, "ALTER TABLE entries DROP COLUMN written")
    query(path, "PRAGMA user_version=0")
    with SQLiteBackend(path) as backend:
        assert backend.get("k") is None
        assert not backend.store_if_mine("filling", b"v", b"token")
        assert backend.set("k", b"w")


@pytest.mark.parametrize("how", ["removed", "replaced", "removed with its log"])
def test_a_file_that_was_removed_is_made_again(
    path: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """Else this backend and the processes that start later would not see what the others delete."""
    monkeypatch.setattr(sqlite_connection, "LOOK_SECONDS", 0)
    with SQLiteBackend(path, clock=clock) as old:
        old.set("k", b"old")
        for file in path.parent.iterdir():
            if how == "removed with its log" or file == path:
                file.unlink()
        with SQLiteBackend(path, clock=clock) as new:
            if how == "replaced":
                new.set("k", b"new")
            assert old.get("k") == new.get("k") == (b"new" if how == "replaced" else None)
            old.set("k", b"newer")
            assert new.get("k") == b"newer"


# ---- other writers


def test_a_lock_that_is_held_too_long_is_a_timeout(path: Path) -> None:
    with SQLiteBackend(path, timeout=0.05) as backend:
        backend.set("k", b"v")
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        for call in (
            lambda: backend.set("k", b"w"),
            lambda: backend.kill("k"),
            lambda: backend.clear(""),
            lambda: backend.take("x", b"token", LEASE),
            lambda: backend.expire("k", 1),
        ):
            began = time.monotonic()
            with pytest.raises(BackendTimeout, match=r"locked .* timeout=0.05"):
                call()
            assert 0.04 < time.monotonic() - began < 10
        assert backend.get("k") == b"v", "reads wait for nobody"
        assert backend.take("k", b"token", LEASE) == (b"v", None)
        other.rollback()
        assert backend.set("k", b"w")
        other.close()


def test_a_writer_that_ends_in_time_is_waited_for(path: Path) -> None:
    with SQLiteBackend(path, timeout=30) as backend:
        backend.set("k", b"v")
        other = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        other.execute("BEGIN IMMEDIATE")
        timer = threading.Timer(0.05, other.rollback)
        timer.start()
        assert backend.set("k", b"w")
        timer.join()
        other.close()


def test_upkeep_does_not_wait(path: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_upkeep, "NOTE_SECONDS", 0)
    with SQLiteBackend(path, max_bytes=1 << 20, timeout=60, clock=clock) as backend:
        backend.set("k", b"v")
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        began = time.monotonic()
        assert backend.get("k") == b"v"
        assert backend.get_many(["k", "x"]) == [b"v", None]
        assert time.monotonic() - began < 30
        other.rollback()
        other.close()
        assert backend.get("k") == b"v"
        assert query(path, "SELECT used FROM entries") == [(1,)]


BETWEEN: dict[str, tuple[Callable[[SQLiteBackend], object], tuple[bytes | None, bytes | None]]] = {
    "taken": (lambda other: other.take("k", b"other", LEASE, b"seen"), (None, b"other")),
    "set": (lambda other: other.set("k", b"new"), (b"new", None)),
    "killed": (lambda other: other.kill("k"), (None, b"mine")),
    "taken and stored": (
        lambda other: (other.take("k", b"other", LEASE, b"seen"), other.store_if_mine("k", b"new", b"other")),
        (b"new", None),
    ),
}


@pytest.mark.parametrize(("act", "expected"), BETWEEN.values(), ids=list(BETWEEN))
@pytest.mark.parametrize("had_value", [False, True], ids=["a miss", "seen"])
def test_what_is_changed_between_the_two_statements_of_take(
    path: Path,
    backend: SQLiteBackend,
    clock: ManualClock,
    monkeypatch: pytest.MonkeyPatch,
    act: Callable[[SQLiteBackend], object],
    expected: tuple[bytes | None, bytes | None],
    had_value: bool,
) -> None:
    """1. A sees that there is neither value nor token   2. B changes that   3. A takes the token."""
    if had_value:
        backend.set("k", b"seen")
    acts = [act]
    with SQLiteBackend(path, clock=clock) as other:
        monkeypatch.setattr(backend._upkeep, "before_write", lambda *_: acts and acts.pop()(other))
        assert backend.take("k", b"mine", LEASE, b"seen" if had_value else None) == expected


# ---- threads


def test_each_thread_has_a_connection_until_it_ends(path: Path, backend: SQLiteBackend) -> None:
    backend.set("k", b"v")
    assert run_threads(*[lambda: backend.get("k")] * 5) == [b"v"] * 5
    # SQLite keeps the descriptors of the database itself, for its next connections, while it has a lock on it.
    assert [file for file in open_files(path) if file.endswith("-wal")] == [f"{path}-wal"]


def test_close_closes_the_connections_of_all_threads(path: Path, backend: SQLiteBackend) -> None:
    used, closed = threading.Barrier(4), threading.Event()
    errors: list[str] = []

    def use() -> None:
        backend.get("k")
        used.wait()
        closed.wait()
        with pytest.raises(CacheClosedError):
            backend.get("k")
        errors.append("closed")

    threads = [threading.Thread(target=use, daemon=True) for _ in range(3)]
    for thread in threads:
        thread.start()
    used.wait()
    assert len(open_files(path)) >= 6
    backend.close()
    assert open_files(path) == []
    closed.set()
    for thread in threads:
        thread.join()
    assert errors == ["closed"] * 3
    [error] = run_threads(lambda: backend.get("k"))
    assert isinstance(error, CacheClosedError)


def test_close_in_the_midst_of_calls(path: Path) -> None:
    for _ in range(5):
        backend = SQLiteBackend(path, timeout=10)
        outcomes: list[object] = []

        def use(backend: SQLiteBackend = backend, outcomes: list[object] = outcomes) -> None:
            try:
                while True:
                    backend.set("k", b"v")
                    assert backend.get("k") == b"v"
                    backend.kill("x")
            except CacheClosedError:
                outcomes.append("closed")

        threads = [threading.Thread(target=use) for _ in range(3)]
        for thread in threads:
            thread.start()
        time.sleep(0.02)
        backend.close()
        for thread in threads:
            thread.join()
        assert outcomes == ["closed"] * 3
        assert open_files(path) == []


def test_a_backend_that_is_dropped_closes_its_connections(path: Path) -> None:
    backend = SQLiteBackend(path)
    backend.set("k", b"v")
    assert open_files(path)
    del backend
    assert open_files(path) == []


def test_threads_that_write_the_same_keys(path: Path) -> None:
    with SQLiteBackend(path, timeout=30) as backend:

        def work(number: int) -> Callable[[], int]:
            def add() -> int:
                stored = 0
                for step in range(100):
                    stored += backend.set(f"k{step}", b"%d" % number, only_if_absent=True)
                    stored -= backend.delete(f"k{step}")
                return stored

            return add

        assert sum(run_threads(*[work(number) for number in range(4)])) == 0, "each that was stored was deleted once"


# ---- clear

LAST = chr(0x10FFFF)


@pytest.mark.parametrize("prefix", ["", "a", "a\ud7ff"[:1] + chr(0xD7FF), LAST, "a" + LAST, LAST * 2, chr(0xFFFF), "z"])
def test_clear_is_a_range_of_keys(backend: SQLiteBackend, prefix: str) -> None:
    tails = ["", "\0", "a", chr(0x7F), chr(0xD7FF), chr(0xE000), chr(0xFFFF), chr(0x10000), LAST, LAST + "x"]
    heads = ["", "a", "b", "z", LAST, "a" + LAST, "a" + chr(0xD7FF), "a" + chr(0xE000), chr(0xFFFF), chr(0x10000)]
    keys = {head + tail for head in heads for tail in tails}
    backend.set_many(dict.fromkeys(keys, b"v"))
    backend.clear(prefix)
    assert {key for key in keys if backend.get(key) is None} == {key for key in keys if key.startswith(prefix)}


def test_a_large_clear_lets_others_write(backend: SQLiteBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    backend.set_many({f"k{number}": b"v" for number in range(1000)})
    changed: list[int] = []
    connection = backend._threads.connection
    change = connection.change
    monkeypatch.setattr(connection, "change", lambda *args: changed.append(change(*args)))
    backend.clear("k")
    assert sum(changed) == 1000
    assert max(changed) <= 100


# ---- the clock


def test_a_clock_that_is_set_back_keeps_no_value_alive(backend: SQLiteBackend, clock: ManualClock) -> None:
    backend.set("ttl", b"v", 10)
    backend.set("ever", b"v")
    clock.advance(-59)
    assert backend.get_many(["ttl", "ever"]) == [b"v", b"v"], "a small correction"
    clock.advance(-3600)
    assert backend.get_many(["ttl", "ever"]) == [None, b"v"]
    assert backend.get_many(["ttl"]) == [None]
    assert backend.get("ttl") is None
    assert backend.ttl_of("ttl") is CACHE_MISS
    assert backend.take("ttl", b"token", LEASE) == (None, b"token")
    assert backend.store_if_mine("ttl", b"w", b"token", 10)
    assert backend.get("ttl") == b"w"
    assert backend.set("ever", b"w", only_if_absent=True) is False


def test_what_is_from_the_future_is_swept(path: Path, backend: SQLiteBackend, clock: ManualClock) -> None:
    backend.set_many({f"k{number}": b"v" for number in range(100)}, 1e6)
    clock.advance(-3600)
    sweep(backend)
    assert count_entries(path) <= 1


# ---- the size of the file


def sweep(backend: SQLiteBackend) -> None:
    """Write until all entries were passed over."""
    for _ in range(300):
        backend.set("written", b"v")


def test_writers_remove_what_has_expired(path: Path, backend: SQLiteBackend, clock: ManualClock) -> None:
    backend.set_many({f"short{number}": b"v" for number in range(300)}, 1)
    backend.set_many({f"long{number}": b"v" for number in range(300)}, 1000)
    for number in range(100):
        backend.take(f"filling{number}", b"token", 1)
        backend.take(f"renewed{number}", b"token", 1)
        backend.renew(f"renewed{number}", b"token", 1000)
    clock.advance(2)
    sweep(backend)
    assert count_entries(path) == 300 + 100 + 1
    assert all(backend.get(f"long{number}") == b"v" for number in range(300))
    assert all(backend.store_if_mine(f"renewed{number}", b"v", b"token") for number in range(100))


def test_expired_entries_stay_few(path: Path, backend: SQLiteBackend, clock: ManualClock) -> None:
    for number in range(3000):
        backend.set(f"k{number}", b"v", 100)
        clock.advance(1)
    assert count_entries(path) < 1000


def test_the_file_keeps_below_max_bytes(path: Path, clock: ManualClock) -> None:
    most = 1 << 20
    with SQLiteBackend(path, max_bytes=most, clock=clock) as backend:
        for number in range(3000):
            backend.set(f"k{number}", os.urandom(1000 + number % 3000))
        assert most // 2 < path.stat().st_size <= most
        backend.set_many({f"m{number}": os.urandom(2000) for number in range(1000)})
        assert path.stat().st_size <= most
        assert backend.get("m999") is not None
    assert most // 2 < path.stat().st_size <= most


def test_small_entries_fill_most_of_max_bytes(path: Path, clock: ManualClock) -> None:
    with SQLiteBackend(path, max_bytes=1 << 20, clock=clock) as backend:
        for number in range(20_000):
            backend.set(f"k{number * 7919 % 20_000:05}", b"v" * 100)
        assert count_entries(path) * 112 > 1 << 19


def test_a_value_over_half_of_max_bytes_is_not_stored(path: Path) -> None:
    with SQLiteBackend(path, max_bytes=1 << 17) as backend:
        large = b"x" * ((1 << 16) + 1)
        backend.set_many({"a": b"old", "b": b"old", "c": b"old"})
        assert backend.set("a", large) is False
        assert backend.set("b", large, only_if_absent=True) is False
        backend.set_many({"c": large, "d": b"new"})
        assert backend.get_many(["a", "b", "c", "d"]) == [None, b"old", None, b"new"]
        backend.take("e", b"token", LEASE)
        assert backend.store_if_mine("e", large, b"token") is True
        assert backend.get("e") is None
        assert backend.set("a", large[:-1]) is True


def test_what_is_used_stays(path: Path, clock: ManualClock) -> None:
    with SQLiteBackend(path, max_bytes=1 << 20, clock=clock) as backend:
        hot = [f"hot{number}" for number in range(50)]
        backend.set_many(dict.fromkeys(hot, b"v" * 1000))
        lost = 0
        for number in range(10_000):
            backend.set(f"k{number}", b"v" * 1000)
            key = hot[number % len(hot)]
            if backend.get(key) is None:
                lost += 1
                backend.set(key, b"v" * 1000)
        assert lost < 10


def test_where_all_are_used_the_small_ones_stay(path: Path, clock: ManualClock) -> None:
    with SQLiteBackend(path, max_bytes=1 << 20, clock=clock) as backend:
        backend.set("#version", b"12345678")
        keys: list[str] = []
        for number in range(3000):
            keys.append(f"k{number}")
            backend.set(keys[-1], b"v" * 4000)
            assert backend.get_many([keys[-1], "#version"])[1] == b"12345678"
            if number % 50 == 0:
                backend.get_many(keys[-250:])


def test_a_file_that_is_too_large_shrinks_bit_by_bit(path: Path, clock: ManualClock) -> None:
    with SQLiteBackend(path, clock=clock) as backend:
        backend.set_many({f"k{number}": b"v" * 100 for number in range(20_000)})
    with SQLiteBackend(path, max_bytes=1 << 18, clock=clock) as backend:
        before = count_entries(path)
        backend.set("k", b"v" * 4096)
        assert before - count_entries(path) < 3000
        for number in range(200):
            backend.set(f"n{number}", b"v" * 4096)
        assert count_entries(path) < 3000
        assert backend.get("n199") == b"v" * 4096
