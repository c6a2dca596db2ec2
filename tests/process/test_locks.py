"""How locks are taken: never by `with`, which leaves one held on CPython 3.14 if it is interrupted (faults.md, A1).

What else must hold is tried by the scenarios `locks` and `interrupts`; see `areole._platform.locks`.
"""

from __future__ import annotations

import ast
import re
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import areole
from areole import AtomicCache
from areole._platform.locks import run_locked
from stress.interrupted_locks import InterruptedLock, Interruptions
from stress.replaced_locks import replaced_locks

from ..kit import assert_valid, run_threads

PACKAGE = Path(areole.__file__).parent

ALLOWED = {
    "suppress(...)": "holds nothing",
    "contextlib.suppress(...)": "the same",
    "warnings.catch_warnings(...)": "holds no lock",
    "asyncio.timeout(...)": "holds no lock",
    "disabled(...)": "of `areole.testing`: the fixture of pytest, in tests alone",
    "in_the_name_of(...)": "holds nothing; begins a message",
    "open(...)": "holds a file, which is closed when it is dropped",
    "self.users_lock": "a user's, asynchronous: entered by a task, which asyncio.run cancels where it is interrupted",
    "_parsing": "a lock up to Python 3.12 only, where `with` is safe; of the demonstration",
}
"""What `with` is used for in the library, and why that may be interrupted."""


TAKE_THEIRS_BY_WITH = {"Barrier", "BoundedSemaphore", "Condition", "Event", "Queue", "Semaphore", "Timer"}
"""Classes of the standard library, in Python, which take their own locks by `with`; a SimpleQueue is C code."""


def with_statements(tree: ast.AST) -> Iterator[ast.withitem]:
    for node in ast.walk(tree):
        if isinstance(node, ast.With | ast.AsyncWith):
            yield from node.items


def short(expression: ast.expr) -> str:
    """Write an expression, a call without its arguments."""
    return f"{ast.unparse(expression.func)}(...)" if isinstance(expression, ast.Call) else ast.unparse(expression)


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_lock_is_taken_by_with(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    used = {short(item.context_expr) for item in with_statements(tree)}
    assert used <= set(ALLOWED), (
        "take a lock by areole._platform.locks.run_locked; what holds none is to be listed here"
    )
    if "demo" not in path.parts:
        names = {node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "") for node in ast.walk(tree)}
        assert not names & TAKE_THEIRS_BY_WITH, "an interrupt in one of these may leave its own lock held for ever"
    for node in ast.walk(tree):  # text that is compiled, in `_memoize`
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            assert not re.search(r"^\s+with .*:$", node.value, re.MULTILINE), node.value


@pytest.mark.parametrize("make", [threading.Lock, threading.RLock])
@pytest.mark.parametrize("is_raised", [False, True], ids=["returns", "raises"])
def test_a_lock_is_released_however_its_block_ends(make: Any, is_raised: bool) -> None:
    lock = make()

    def act() -> int:
        assert not try_elsewhere(lock)
        if is_raised:
            raise KeyboardInterrupt
        return 7

    try:
        assert run_locked(lock, act) == 7
    except KeyboardInterrupt:
        assert is_raised
    assert try_elsewhere(lock)


def try_elsewhere(lock: Any) -> bool:
    """Say whether another thread can take the lock."""
    got: list[bool] = []

    def take() -> None:
        got.append(lock.acquire(blocking=False))
        if got[0]:
            lock.release()

    thread = threading.Thread(target=take)
    thread.start()
    thread.join()
    return got[0]


# ---- an interrupt just as a lock was taken


def interrupted(function: Any) -> Interruptions:
    """Call `function`, whose first lock is interrupted as it has been taken."""

    def refuse() -> None:
        raise KeyboardInterrupt

    interruptions = Interruptions()
    with interruptions.listening(), replaced_locks(partial(InterruptedLock, interruptions=interruptions)):
        interruptions.arm(1, refuse)
        with pytest.raises(KeyboardInterrupt):
            function(interruptions)
        assert interruptions.disarm(), "no lock was taken"
    return interruptions


def release_all(interruptions: Interruptions) -> None:
    for lock in interruptions.locks:
        while lock.is_mine():
            lock.release()


def test_an_interrupted_with_leaves_its_lock_held() -> None:
    """As on CPython 3.14: so the scenario would find such a one."""

    def by_with(interruptions: Interruptions) -> None:
        with InterruptedLock(threading.RLock(), interruptions):
            pytest.fail("the block was entered")

    interruptions = interrupted(by_with)
    assert len(interruptions.still_held()) == 1 and len(interruptions.withs) == 1
    assert "test_locks.py" in interruptions.place
    release_all(interruptions)


def test_run_locked_leaves_none_held_though_the_signal_comes_in_the_midst_of_the_call() -> None:
    def by_run_locked(interruptions: Interruptions) -> None:
        lock = InterruptedLock(threading.RLock(), interruptions)
        run_locked(lock, list, range(10))

    interruptions = interrupted(by_run_locked)
    assert interruptions.locks and not interruptions.still_held() and not interruptions.withs


def test_acquire_followed_by_try_may_leave_it_held() -> None:
    """What is wrong with the other way that one might write."""

    def by_acquire(interruptions: Interruptions) -> None:
        lock = InterruptedLock(threading.RLock(), interruptions)
        lock.acquire()
        try:
            pytest.fail("the block was entered")
        finally:
            lock.release()

    interruptions = interrupted(by_acquire)
    assert len(interruptions.still_held()) == 1
    release_all(interruptions)


def test_a_cache_that_is_made_meanwhile_has_such_a_lock_and_works_after_the_interrupt() -> None:
    caches: list[AtomicCache[str, str]] = []

    def invalidate(interruptions: Interruptions) -> None:
        interruptions.disarm()
        caches.append(AtomicCache(str.upper))
        assert caches[0]["a"] == "A"
        interruptions.arm(1, lambda: (_ for _ in ()).throw(KeyboardInterrupt))
        caches[0].invalidate("a")

    interruptions = interrupted(invalidate)
    assert not interruptions.still_held() and not interruptions.withs
    assert run_threads(lambda: caches[0]["a"]) == ["A"]
    assert_valid(caches[0])
