"""`wait`: one fill in all processes. Two caches over one backend stand for two processes."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import pytest

from areole import SharedCache
from areole.backends import MemoryBackend
from areole.testing import ManualClock

from ..kit import PATIENCE


def two_caches(clock: ManualClock | None = None) -> tuple[SharedCache[Any], SharedCache[Any], MemoryBackend]:
    backend = MemoryBackend(clock=clock or ManualClock())
    return SharedCache(backend, namespace="shop"), SharedCache(backend, namespace="shop"), backend


def in_thread(call: Callable[[], Any]) -> Future[Any]:
    future: Future[Any] = Future()

    def run() -> None:
        try:
            future.set_result(call())
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return future


class Fill:
    """A fill that stops until it is let go on."""

    def __init__(self, value: Any) -> None:
        self.value = value
        self.has_begun = threading.Event()
        self.may_end = threading.Event()

    def __call__(self, key: Any) -> Any:
        self.has_begun.set()
        assert self.may_end.wait(PATIENCE)
        if isinstance(self.value, Exception):
            raise self.value
        return self.value


def never(key: Any) -> Any:
    raise AssertionError("this process should have waited")


def test_another_process_gets_the_value_of_the_one_that_fills() -> None:
    one, other, _ = two_caches()
    fill = Fill("one")
    first = in_thread(lambda: one.get_or_fill("a", fill))
    assert fill.has_begun.wait(PATIENCE)
    second = in_thread(lambda: other.get_or_fill("a", never, wait=PATIENCE))
    fill.may_end.set()
    assert first.result(PATIENCE) == second.result(PATIENCE) == "one"


def test_it_takes_over_when_that_fill_fails() -> None:
    one, other, _ = two_caches()
    fill = Fill(ZeroDivisionError())
    first = in_thread(lambda: one.get_or_fill("a", fill))
    assert fill.has_begun.wait(PATIENCE)
    second = in_thread(lambda: other.get_or_fill("a", lambda key: "two", wait=PATIENCE))
    fill.may_end.set()
    assert second.result(PATIENCE) == "two" == one["a"]
    with pytest.raises(ZeroDivisionError):
        first.result(PATIENCE)


def test_it_takes_over_when_the_lease_of_a_dead_process_ends() -> None:
    clock = ManualClock()
    _, other, backend = two_caches(clock)
    assert backend.take("shop:v1:a", b"of a dead process", 10.0) == (None, b"of a dead process")
    clock.advance(10)
    assert other.get_or_fill("a", lambda key: "two", wait=PATIENCE) == "two" == other["a"]


def test_it_fills_itself_when_its_time_is_over_and_the_first_to_end_stores() -> None:
    one, other, _ = two_caches()
    fill = Fill("one")
    first = in_thread(lambda: one.get_or_fill("a", fill))
    assert fill.has_begun.wait(PATIENCE)
    assert other.get_or_fill("a", lambda key: "two", wait=0.001) == "two" == other["a"]
    fill.may_end.set()
    assert first.result(PATIENCE) == "one" and other["a"] == "two"
    assert one.cache_info().refused_stores == 1


def test_without_wait_each_process_fills_at_once() -> None:
    one, other, _ = two_caches()
    fill = Fill("one")
    first = in_thread(lambda: one.get_or_fill("a", fill))
    assert fill.has_begun.wait(PATIENCE)
    assert other.get_or_fill("a", lambda key: "two") == "two"
    fill.may_end.set()
    assert first.result(PATIENCE) == "one"


def test_a_delete_while_another_process_waits_makes_it_fill() -> None:
    one, other, _ = two_caches()
    fill = Fill("old")
    first = in_thread(lambda: one.get_or_fill("a", fill))
    assert fill.has_begun.wait(PATIENCE)
    second = in_thread(lambda: other.get_or_fill("a", lambda key: "new", wait=PATIENCE))
    other.delete("a")
    assert second.result(PATIENCE) == "new"
    fill.may_end.set()
    assert first.result(PATIENCE) == "old" and one["a"] == "new"


@pytest.mark.parametrize("wait", [-1, float("inf"), "1"])
def test_a_wait_that_is_no_time_is_refused(wait: Any) -> None:
    with pytest.raises((TypeError, ValueError), match="wait must be"):
        two_caches()[0].get_or_fill("a", never, wait=wait)
