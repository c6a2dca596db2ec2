"""SQLiteBackend in several processes: they see what each other changes, whatever becomes of one of them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import areole
from areole.backends import SQLiteBackend

from ..kit import PATIENCE, run_python
from .servers import die_with_us

SOURCE = Path(areole.__file__).parent.parent
LEASE = 60.0

posix = pytest.mark.skipif(os.name != "posix", reason="needs signals")
forks = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")

CHILD = """
import os, sqlite3, sys, threading, time
from areole.backends import SQLiteBackend
path = sys.argv[1]
backend = SQLiteBackend(path, timeout=30)
for line in sys.stdin:
    print(repr(eval(line)), flush=True)
"""


class Child:
    """Another process, with a backend on the same file: it evaluates what it is asked."""

    def __init__(self, path: Path) -> None:
        self.process = subprocess.Popen(
            [*die_with_us(), sys.executable, "-c", CHILD, str(path)],
            env=os.environ | {"PYTHONPATH": str(SOURCE)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def begin(self, expression: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(expression + "\n")
        self.process.stdin.flush()

    def result(self) -> Any:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, "the process has ended: its traceback is on stderr"
        return eval(line)

    def ask(self, expression: str) -> Any:
        self.begin(expression)
        return self.result()

    def end(self) -> None:
        for stream in (self.process.stdin, self.process.stdout):
            assert stream is not None
            stream.close()
        self.process.kill()
        self.process.wait(PATIENCE)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "cache.db"


@pytest.fixture
def backend(path: Path) -> Iterator[SQLiteBackend]:
    with SQLiteBackend(path, timeout=30) as backend:
        yield backend


@pytest.fixture
def child(path: Path) -> Iterator[Child]:
    child = Child(path)
    yield child
    child.end()


def test_what_has_returned_is_seen_at_once(backend: SQLiteBackend, child: Child) -> None:
    for number in range(50):
        value = b"%d" % number
        assert child.ask(f"backend.set('k', {value})") is True
        assert backend.get_many(["k", "x"]) == [value, None]
        assert backend.kill("k") == value
        assert child.ask("backend.get('k')") is None
        assert child.ask(f"backend.take('k', {value}, 60)") == (None, value)
        assert backend.take("k", b"mine", LEASE) == (None, value)
        assert backend.store_if_mine("k", b"filled", value) is True
        assert child.ask(f"backend.store_if_mine('k', b'late', {value})") is False
        backend.clear("k")
        assert child.ask("backend.get('k')") is None


def test_values_survive_a_restart(backend: SQLiteBackend, child: Child) -> None:
    assert child.ask("backend.set('k', b'v')") is True
    child.end()
    assert backend.get("k") == b"v"


def test_processes_that_use_a_new_file_at_once_make_one(tmp_path: Path, path: Path) -> None:
    """1. A sees no mark of ours   2. B makes the tables   3. A sees tables, and takes them for another program's."""
    children = [Child(path) for _ in range(4)]
    assert [each.ask("1") for each in children] == [1] * 4
    for number, each in enumerate(children):
        each.begin(
            f"[SQLiteBackend(f'{{path}}.{{n}}', timeout=30).set('k{number}', b'v') for n in range(150)].count(True)"
        )
    assert [each.result() for each in children] == [150] * 4
    with SQLiteBackend(f"{path}.0") as backend:
        assert backend.get_many([f"k{number}" for number in range(4)]) == [b"v"] * 4
    for each in children:
        each.end()


def test_of_processes_that_set_if_absent_one_stores(path: Path) -> None:
    children = [Child(path) for _ in range(3)]
    for each in children:
        each.begin("[backend.set(f'k{n}', b'v', 60, True) for n in range(200)]")
    stored = [each.result() for each in children]
    assert [sum(of_key) for of_key in zip(*stored, strict=True)] == [1] * 200
    for each in children:
        each.begin("[backend.delete(f'k{n}') for n in range(200)]")
    deleted = [each.result() for each in children]
    assert [sum(of_key) for of_key in zip(*deleted, strict=True)] == [1] * 200
    for each in children:
        each.end()


def test_max_bytes_holds_with_several_writers(path: Path) -> None:
    most = 1 << 20
    children = [Child(path) for _ in range(3)]
    for each in children:
        each.ask(f"globals().update(backend=SQLiteBackend(path, max_bytes={most}, timeout=30))")
        each.begin("[backend.set(f'{os.getpid()}:{n}', os.urandom(3000)) for n in range(2000)].count(True)")
    assert [each.result() for each in children] == [2000] * 3
    assert most // 2 < path.stat().st_size <= most, "it never shrinks: this is the largest that it was"
    for each in children:
        each.end()


# ---- one that is stopped or killed


@posix
def test_a_holder_that_was_stopped_beyond_its_lease_is_refused(backend: SQLiteBackend, child: Child) -> None:
    assert child.ask("backend.take('k', b'old', 0.2)") == (None, b"old")
    child.process.send_signal(signal.SIGSTOP)
    time.sleep(0.3)
    assert backend.take("k", b"new", LEASE) == (None, b"new")
    assert backend.store_if_mine("k", b"of new", b"new") is True
    child.process.send_signal(signal.SIGCONT)
    assert child.ask("backend.store_if_mine('k', b'of old', b'old')") is False
    assert child.ask("backend.renew('k', b'old', 60)") is False
    assert backend.get("k") == b"of new"


@posix
def test_a_writer_that_is_killed_in_a_transaction_leaves_nothing(backend: SQLiteBackend, child: Child) -> None:
    backend.set_many({f"k{number}": b"old" for number in range(100)})
    child.ask("globals().update(raw=sqlite3.connect(path, isolation_level=None))")
    child.ask("raw.execute('BEGIN IMMEDIATE').rowcount")
    assert child.ask("raw.execute(\"UPDATE entries SET value = x'00', token = x'01'\").rowcount") == 100
    child.process.kill()
    child.process.wait(PATIENCE)
    assert backend.get_many([f"k{number}" for number in range(100)]) == [b"old"] * 100
    assert backend.set("k0", b"new") is True
    assert backend.kill("k1") == b"old"


@posix
def test_processes_that_are_killed_in_mid_traffic_leave_whole_values(backend: SQLiteBackend, path: Path) -> None:
    traffic = "[backend.set(f'k{n % 50}', bytes([n % 251]) * 5000) for n in range(10**9)]"
    for _ in range(5):
        child = Child(path)
        child.ask("backend.set('k0', b'')")
        child.begin(traffic)
        time.sleep(0.1)
        child.process.kill()
        child.end()
        for value in backend.get_many([f"k{number}" for number in range(50)]):
            assert value is None or len(value) in (0, 5000)
            assert value is None or len(set(value)) <= 1
        assert backend.set("k0", b"v") is True
    [(found,)] = backend._threads.connection.rows("PRAGMA integrity_check", ())
    assert found == "ok"


# ---- forks

PRELUDE = """
import gc, os, sqlite3, subprocess, sys, tempfile, threading, time, traceback, warnings
warnings.simplefilter("ignore", DeprecationWarning)
from areole.backends import SQLiteBackend
folder = tempfile.TemporaryDirectory()
path = folder.name + "/cache.db"
backend = SQLiteBackend(path, timeout=30)

HOLD = '''
import sqlite3, sys
raw = sqlite3.connect(sys.argv[1], isolation_level=None)
raw.execute("BEGIN IMMEDIATE")
print("held", flush=True)
sys.stdin.read()
raw.rollback()
'''

def fork(function):
    pid = os.fork()
    if pid:
        return lambda: os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    status = 1
    try:
        function()
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(status)
"""


@forks
def test_parent_and_child_see_what_the_other_changes() -> None:
    run_python(
        PRELUDE
        + """
backend.set("k", b"parent")
to_child, to_parent = os.pipe(), os.pipe()

def child():
    assert backend.get("k") == b"parent"
    backend.set("k", b"child")
    os.write(to_parent[1], b"1")
    assert os.read(to_child[0], 1)
    assert backend.get("k") == b"parent again"

wait = fork(child)
assert os.read(to_parent[0], 1)
assert backend.get("k") == b"child"
backend.set("k", b"parent again")
os.write(to_child[1], b"1")
assert wait() == 0
backend.close()
"""
    )


@forks
@pytest.mark.parametrize("threads", [0, 3])
def test_what_a_child_writes_is_seen_when_its_parent_has_closed(threads: int) -> None:
    """Else SQLite would believe that the child holds the locks of its parent, and remove the log that it uses."""
    run_python(
        PRELUDE
        + f"""
backend.set("k", b"old")
go_on = threading.Event()
for _ in range({threads}):
    ready = threading.Event()
    threading.Thread(target=lambda: (backend.get("k"), ready.set(), go_on.wait()), daemon=True).start()
    assert ready.wait(30)
to_child, to_parent = os.pipe(), os.pipe()

def child():
    backend.set("k", b"new")
    os.write(to_parent[1], b"1")
    assert os.read(to_child[0], 1)
    backend.set("k", b"newest")
    os.write(to_parent[1], b"1")
    assert os.read(to_child[0], 1)

wait = fork(child)
assert os.read(to_parent[0], 1)
assert backend.get("k") == b"new"
backend.close()
assert os.path.exists(path + "-wal")
os.write(to_child[1], b"1")
assert os.read(to_parent[0], 1)
raw = sqlite3.connect(path)
assert raw.execute("SELECT value FROM entries").fetchall() == [(b"newest",)]
raw.close()
os.write(to_child[1], b"1")
assert wait() == 0
go_on.set()
"""
    )


@forks
def test_forks_in_mid_traffic() -> None:
    run_python(
        PRELUDE
        + """
backend.set("version", b"0")
ends = False
errors = []

def traffic(name):
    number = 0
    try:
        while not ends:
            number += 1
            backend.set(f"{name}:{number % 20}", b"%d" % number)
            assert backend.get(f"{name}:{number % 20}") == b"%d" % number
            backend.take(name, b"token", 60)
            assert backend.store_if_mine(name, b"v", b"token", 60)
            assert backend.kill(name) == b"v"
    except BaseException as error:
        errors.append(error)
        raise

def child():
    for number in range(20):
        backend.set(f"child:{os.getpid()}", b"%d" % number)
        assert backend.get(f"child:{os.getpid()}") == b"%d" % number
    assert not any(backend.get(f"t{n}:1") is None for n in range(3))
    threads = [threading.Thread(target=backend.get, args=("version",)) for _ in range(2)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    backend.set("version", b"%d" % os.getpid())

threads = [threading.Thread(target=traffic, args=(f"t{n}",)) for n in range(3)]
[thread.start() for thread in threads]
while not all(backend.get(f"t{n}:1") for n in range(3)):
    time.sleep(0.01)
children = [fork(child) for _ in range(12)]
statuses = [wait() for wait in children]
ends = True
[thread.join() for thread in threads]
assert statuses == [0] * 12, statuses
assert not errors, errors
assert int(backend.get("version")) > 0
assert backend._threads.connection.rows("PRAGMA integrity_check", ()) == [("ok",)]
backend.close()
"""
    )


@forks
@pytest.mark.parametrize("who", ["a call that takes long", "another library"])
def test_a_child_does_not_use_a_file_that_was_open_in_its_parent(who: str) -> None:
    run_python(
        PRELUDE
        + f"""
from areole.backends import sqlite_connection
from areole.errors import BackendError
sqlite_connection.PATIENCE = 0.2
backend.set("k", b"v")
other = sqlite3.connect(path, isolation_level=None)
results = []
writer = threading.Thread(target=lambda: results.append(backend.set("k", b"w")))
if {who!r} == "another library":
    other.execute("SELECT * FROM entries").fetchall()
else:
    holder = subprocess.Popen([sys.executable, "-c", HOLD, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert holder.stdout.readline()
    other.close()
    writer.start()
    time.sleep(0.3)

def child():
    gc.collect()
    for call in (lambda: backend.get("k"), lambda: backend.set("k", b"x"), lambda: SQLiteBackend(path).get("k")):
        try:
            call()
        except BackendError as error:
            assert "Fork before it is used" in str(error), error
        else:
            raise AssertionError
    with SQLiteBackend(path + "2") as another:
        assert another.set("k", b"v")

assert fork(child)() == 0
if {who!r} != "another library":
    holder.communicate(b"")
    writer.join()
    assert results == [True]
    assert backend.get("k") == b"w"
other.close()
assert backend.set("k", b"x")
assert fork(lambda: backend.set("k", b"y"))() == 0
assert backend.get("k") == b"y"
backend.close()
"""
    )


@forks
def test_a_child_may_fork_again() -> None:
    run_python(
        PRELUDE
        + """
backend.set("k", b"0")
def child():
    backend.set("k", b"1")
    assert fork(lambda: backend.set("k", b"2"))() == 0
    assert backend.get("k") == b"2"
assert fork(child)() == 0
assert backend.get("k") == b"2"
backend.close()
"""
    )


# ---- interrupts, and the end of the interpreter


@posix
def test_an_interrupt_leaves_no_transaction_open() -> None:
    run_python(
        PRELUDE
        + """
import random, signal

def interrupt(*_):
    raise KeyboardInterrupt

signal.signal(signal.SIGALRM, interrupt)
other = sqlite3.connect(path, isolation_level=None, timeout=0)
keys = [f"k{n}" for n in range(30)]
backend.set_many(dict.fromkeys(keys, b"v"))
interrupted = 0
for turn in range(600):
    try:
        signal.setitimer(signal.ITIMER_REAL, random.uniform(1e-5, 4e-4))
        while True:
            backend.set_many(dict.fromkeys(keys, b"v"))
            backend.kill_many(keys)
            backend.get_many(keys)
    except KeyboardInterrupt:
        interrupted += 1
    other.execute("BEGIN IMMEDIATE")
    other.execute("DELETE FROM entries")
    other.execute("COMMIT")
    assert backend.get_many(keys) == [None] * 30, "it reads what was committed"
assert interrupted == 600
assert not backend._threads.connection.lock._is_owned()
other.close()
backend.close()
"""
    )


def test_nothing_is_said_at_exit_when_it_was_not_closed(path: Path) -> None:
    code = "import sys, threading; from areole.backends import SQLiteBackend; backend = SQLiteBackend(sys.argv[1]);"
    code += "backend.set('k', b'v'); t = threading.Thread(target=backend.get, args=('k',)); t.start(); t.join()"
    code += "; threading.Thread(target=lambda: (backend.get('k'), threading.Event().wait()), daemon=True).start()"
    ran = subprocess.run(
        [sys.executable, "-W", "error", "-c", code, path],
        env=os.environ | {"PYTHONPATH": str(SOURCE)},
        capture_output=True,
        timeout=PATIENCE,
    )
    assert (ran.returncode, ran.stderr) == (0, b"")
