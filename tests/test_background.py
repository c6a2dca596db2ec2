"""The pool of background threads: what it does, and its life with the process: idle, fork, exit."""

from __future__ import annotations

import logging
import os
import threading
from typing import Any

import pytest

from areole import _background
from areole._background import MOST_QUEUED, MOST_THREADS, Pool

from .support import PATIENCE, Gate, run_python, run_threads

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")


@pytest.fixture
def pool() -> Pool:
    return Pool()


class Latches:
    """Tasks that count themselves in, wait, and count themselves out."""

    def __init__(self) -> None:
        self.began = threading.Semaphore(0)
        self.go_on = threading.Event()
        self.ended = threading.Semaphore(0)
        self.threads: set[int] = set()

    def task(self) -> None:
        self.threads.add(threading.get_ident())
        self.began.release()
        assert self.go_on.wait(PATIENCE)
        self.ended.release()

    def await_(self, count: int, semaphore: threading.Semaphore) -> None:
        for _ in range(count):
            assert semaphore.acquire(timeout=PATIENCE), "a task was not done"


def test_all_that_is_submitted_is_done_in_a_few_threads(pool: Pool) -> None:
    latches = Latches()
    for _ in range(50):
        assert pool.submit(latches.task) is True
    latches.await_(MOST_THREADS, latches.began)
    latches.go_on.set()
    latches.await_(50, latches.ended)
    assert len(latches.threads) == MOST_THREADS


def test_what_is_run_has_a_thread_of_its_own_whatever_is_queued(pool: Pool) -> None:
    latches = Latches()
    for _ in range(MOST_THREADS + 3):
        pool.submit(latches.task)
    for _ in range(20):
        assert pool.run(latches.task) is True
    latches.await_(MOST_THREADS + 20, latches.began)
    latches.go_on.set()
    latches.await_(MOST_THREADS + 23, latches.ended)


def test_many_threads_may_submit_at_once(pool: Pool) -> None:
    latches = Latches()
    latches.go_on.set()
    run_threads(*[lambda: [pool.submit(latches.task) for _ in range(50)]] * 8)
    latches.await_(400, latches.ended)


def test_no_more_is_queued_than_fits(pool: Pool) -> None:
    latches = Latches()
    for _ in range(MOST_THREADS):
        pool.submit(latches.task)
    latches.await_(MOST_THREADS, latches.began)
    assert all(pool.submit(latches.task) for _ in range(MOST_QUEUED))
    assert pool.submit(latches.task) is False
    latches.go_on.set()
    latches.await_(MOST_THREADS + MOST_QUEUED, latches.ended)
    assert pool.submit(latches.task) is True


@pytest.mark.parametrize("error", [ValueError, SystemExit, KeyboardInterrupt, GeneratorExit])
def test_no_error_of_a_task_ends_a_thread(pool: Pool, error: type[BaseException], caplog: Any) -> None:
    latches = Latches()
    latches.go_on.set()

    def fail() -> None:
        raise error("secret")

    with caplog.at_level(logging.WARNING, "areole"):
        for _ in range(MOST_THREADS + 1):
            pool.submit(fail)
        pool.run(fail)
        pool.submit(latches.task)
        latches.await_(1, latches.ended)
        while len(caplog.records) < MOST_THREADS + 2:
            threading.Event().wait(0.001)
    assert error.__name__ in caplog.text and "secret" not in caplog.text


def test_an_idle_thread_is_used_again_and_ends_in_the_end(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_background, "IDLE_SECONDS", 0.02)
    latches = Latches()
    latches.go_on.set()
    before = {thread.ident for thread in threading.enumerate()}
    for _ in range(3):
        pool.run(latches.task)
        latches.await_(1, latches.ended)
    for thread in threading.enumerate():
        if thread.ident not in before and thread.name == "areole-fill":
            thread.join(PATIENCE)
            assert not thread.is_alive()
    assert pool.run(latches.task) is True
    latches.await_(1, latches.ended)


def test_a_closed_pool_begins_nothing(pool: Pool) -> None:
    gate = Gate()
    done = threading.Event()
    pool.submit(lambda: (gate.enter(), done.set()))
    gate.wait_until_entered()
    pool.close()
    assert pool.submit(print) is False and pool.run(print) is False
    gate.open()
    assert done.wait(PATIENCE)  # what ran, ran on


def test_where_no_thread_can_be_had_it_says_so(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Any) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    assert pool.run(print) is False and pool.submit(print) is False


# ---- in a process of its own

STALE = """
import os, sys, threading, time
from areole import AtomicCache, Resilience
from areole.testing import ManualClock, assert_valid

entered, go_on, calls = threading.Event(), threading.Event(), []
def fill(key):
    calls.append(key)
    if len(calls) == 2:
        entered.set()
        go_on.wait(50)
    return len(calls)

clock = ManualClock()
cache = AtomicCache(fill, 10, clock=clock, resilience=Resilience(stale_ttl=5))
assert cache["a"] == 1
clock.advance(10)
assert cache["a"] == 1
assert entered.wait(50)
"""


@pytest.mark.parametrize("how", ["", "sys.exit()", "clock.advance(1); cache['a']"])
def test_the_interpreter_exits_at_once_while_a_background_fill_is_under_way(how: str) -> None:
    assert run_python(STALE + how + "\nprint('end')\n").strip() in ("end", "")


def test_stale_values_are_served_at_exit_and_no_fill_begins() -> None:
    code = """
    import atexit, threading
    from areole import AtomicCache, Resilience
    from areole._background import pool
    from areole.testing import ManualClock
    def fill(key):
        calls.append(threading.current_thread() is threading.main_thread())
        return len(calls)
    calls, clock = [], ManualClock()
    cache = AtomicCache(fill, 10, clock=clock, resilience=Resilience(stale_ttl=5, hard_timeout=50))
    assert cache["a"] == 1
    def last():
        clock.advance(10)
        assert cache["a"] == 1
        assert cache["b"] == 2
        print(calls)
    atexit.unregister(pool.close)
    atexit.register(last)
    atexit.register(pool.close)  # what was registered last is called first
    """
    assert run_python(code).strip() == "[False, True]"  # no thread could be had for the second


@needs_fork
def test_a_child_forked_during_a_background_fill_serves_the_stale_value_and_refreshes_it() -> None:
    code = STALE + (
        "pid = os.fork()\n"
        "if pid:\n"
        "    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])\n"
        "    go_on.set()\n"
        "    while cache.get('a') != 2: time.sleep(0.001)\n"
        "    print(status)\n"
        "else:\n"
        "    assert cache['a'] == 1\n"
        "    while cache.get('a') is None:\n"
        "        assert cache['a'] in (1, 3)\n"
        "        time.sleep(0.001)\n"
        "    assert cache['a'] == 3\n"
        "    while any(entry.flight for entry in cache._index.snapshot()): time.sleep(0.001)\n"
        "    assert_valid(cache)\n"
        "    os._exit(0)\n"
    )
    assert run_python(code).strip().endswith("0")


@needs_fork
def test_a_child_asks_anew_for_what_was_queued_in_the_parent() -> None:
    code = """
    import os, threading, time
    from areole import AtomicCache, Resilience, _background
    from areole.testing import ManualClock, assert_valid
    clock, calls = ManualClock(), []
    fill = lambda key: calls.append(key) or len(calls)
    cache = AtomicCache(fill, 10, clock=clock, resilience=Resilience(stale_ttl=5))
    assert cache["a"] == 1
    clock.advance(10)
    go_on, entered = threading.Event(), threading.Semaphore(0)
    for _ in range(_background.MOST_THREADS):
        _background.pool.submit(lambda: (entered.release(), go_on.wait(50)))
    for _ in range(_background.MOST_THREADS):
        entered.acquire(timeout=50)
    assert cache["a"] == 1  # queued
    pid = os.fork()
    if not pid:
        assert cache["a"] == 1
        while cache.get("a") is None:
            time.sleep(0.001)
        assert cache["a"] == 2
        while any(entry.flight for entry in cache._index.snapshot()):
            time.sleep(0.001)
        assert_valid(cache)
        os._exit(0)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    assert calls == ["a"]
    go_on.set()
    print(status)
    """
    assert run_python(code).strip().endswith("0")
