"""A fill that takes longer than the lease keeps its token; one that has ended is renewed no more."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any

import pytest

from areole import SharedCache
from areole.backends import MemoryBackend
from areole.shared.renewer import _Renewer

from ..kit import PATIENCE
from .kit import renewed_tokens

LEASE = 0.6


class Watched(MemoryBackend):
    """Tells when a token was renewed."""

    def __init__(self) -> None:
        super().__init__()
        self.renewed = threading.Semaphore(0)

    def renew(self, key: str, token: bytes, lease: float, /) -> bool:
        is_renewed = super().renew(key, token, lease)
        self.renewed.release()
        return is_renewed


def test_a_fill_that_takes_longer_than_its_lease_is_stored() -> None:
    backend = Watched()
    cache = SharedCache[Any](backend, namespace="shop", lease=LEASE)

    def fill(key: str) -> int:
        ends = time.monotonic() + 2 * LEASE
        while time.monotonic() < ends:
            assert backend.renewed.acquire(timeout=PATIENCE)
        return 1

    assert cache.get_or_fill("a", fill) == 1 == cache["a"]
    assert not renewed_tokens()


def test_the_same_for_a_task() -> None:
    backend = Watched()
    cache = SharedCache[Any](backend, namespace="shop", lease=LEASE)

    async def fill(key: str) -> int:
        ends = time.monotonic() + 2 * LEASE
        while time.monotonic() < ends:
            assert await asyncio.to_thread(backend.renewed.acquire, timeout=PATIENCE)
        return 1

    assert asyncio.run(cache.aio.get_or_fill("a", fill)) == 1 == cache["a"]
    assert not renewed_tokens()


def test_a_fill_that_fails_is_renewed_no_more() -> None:
    cache = SharedCache[Any](MemoryBackend(), namespace="shop")
    for error in (ZeroDivisionError, KeyboardInterrupt):

        def fill(key: str, error: type[BaseException] = error) -> None:
            assert renewed_tokens()
            raise error

        with pytest.raises(error):
            cache.get_or_fill("a", fill)
        assert not renewed_tokens()


def test_the_thread_ends_when_it_is_idle_and_another_one_starts() -> None:
    own = _Renewer()
    renewed = threading.Semaphore(0)
    for _ in range(2):
        renewal = own.make(renewed.release, 0.03)
        own.start(renewal)
        assert renewed.acquire(timeout=PATIENCE)
        thread = own._thread
        assert thread is not None
        renewal.release()
        thread.join(PATIENCE)
        assert own._thread is None


def test_a_fill_that_begins_as_the_thread_ends_is_renewed() -> None:
    own = _Renewer()
    own._thread = threading.current_thread()
    own.running[0] = own.make(object, 1.0)  # begun after `_run` looked
    assert not own._ends() and own._thread is threading.current_thread()


def test_a_token_that_is_void_is_renewed_no_more() -> None:
    own = _Renewer()
    asked = threading.Semaphore(0)

    def renew() -> bool:
        asked.release()
        return False

    own.start(own.make(renew, 0.03))
    assert asked.acquire(timeout=PATIENCE)
    thread = own._thread
    assert thread is not None
    thread.join(PATIENCE)
    assert not own.running


def test_where_there_is_no_thread_to_be_had_a_fill_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    own, cache = _Renewer(), SharedCache[Any](MemoryBackend(), namespace="shop")
    monkeypatch.setattr("areole.shared.fills.renewer", own)

    def start(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", start)
    assert cache.get_or_fill("a", lambda key: 1) == 1 == cache["a"]
    assert own._thread is None and not own.running


@pytest.mark.parametrize("is_async", [False, True])
def test_the_token_of_a_fill_on_a_loop_that_is_closed_is_renewed_no_more(is_async: bool) -> None:
    backend = Watched()
    cache = SharedCache[Any](backend.aio if is_async else backend, namespace="shop")
    mode = cache._tasks

    async def renewal() -> Any:
        return mode.renewal("a", b"token", LEASE)

    assert asyncio.run(renewal())() is False
    assert not backend.renewed.acquire(blocking=False)


def test_a_thread_that_waits_for_a_long_lease_wakes_for_a_short_one() -> None:
    own = _Renewer()
    renewed = threading.Semaphore(0)
    both = own.make(renewed.release, 6000.0), own.make(renewed.release, 0.03)
    for renewal in both:
        own.start(renewal)
    assert renewed.acquire(timeout=PATIENCE)
    for renewal in both:
        renewal.release()
