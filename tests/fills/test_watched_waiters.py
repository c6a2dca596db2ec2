"""Tasks that wait look once in a while whether they can end, all of a loop's by one timer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from areole import AsyncAtomicCache, AtomicCache
from areole._fill import protocol as _single_flight
from areole._fill import task_waiter as _waiter
from areole._fill.task_waiter import _Poller

from ..interleave import Injected, before_each, every_step, inject
from ..kit import Gate, assert_valid, run, start_threads, until

OnLoop = Callable[..., Any]
MANY = 50


@pytest.fixture(autouse=True)
def look_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_waiter, "POLL_SECONDS", 0.01)
    monkeypatch.setattr(_waiter, "CHECKED_PER_TURN", 7)


def test_waiters_that_nobody_wakes_end_all_the_same(on_loop: OnLoop, monkeypatch: pytest.MonkeyPatch) -> None:
    """An interrupt may keep a leader from waking them. They are more than look at once."""
    monkeypatch.setattr(_single_flight, "wake", lambda flight: None)
    gate = Gate()

    def fill(key: str) -> str:
        gate.enter()
        return key

    cache: AtomicCache[str, str] = AtomicCache(fill)
    join = start_threads(lambda: cache["key"])
    gate.wait_until_entered()

    async def main() -> None:
        tasks = [asyncio.ensure_future(cache.aio.fetch("key")) for _ in range(MANY)]
        await until(lambda: cache.cache_info().waits == MANY)
        await asyncio.sleep(0.03)
        gate.open()
        assert await asyncio.gather(*tasks) == ["key"] * MANY

    on_loop(main)
    assert join() == ["key"]
    assert_valid(cache)


def test_all_waiters_of_a_loop_share_a_timer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each has a flight of its own here; 0.1.0 had a timer for each."""
    monkeypatch.setattr(_waiter, "POLL_SECONDS", 60)
    gate = asyncio.Event

    async def main() -> None:
        goes_on = gate()

        async def fill(key: int) -> int:
            await goes_on.wait()
            return key

        cache: AsyncAtomicCache[int, int] = AsyncAtomicCache(fill)
        loop = asyncio.get_running_loop()
        timers: list[float] = []
        call_later = loop.call_later
        monkeypatch.setattr(
            loop,
            "call_later",
            lambda delay, *args, **kwargs: (timers.append(delay), call_later(delay, *args, **kwargs))[1],
        )
        asking = asyncio.ensure_future(cache.fetch_many(range(MANY)))
        await until(lambda: cache.cache_info().fills == MANY)
        await asyncio.sleep(0)
        assert timers == [60]
        goes_on.set()
        assert len(await asking) == MANY

    run(main)


def test_a_loop_on_which_nobody_waits_any_more_is_forgotten(on_loop: OnLoop) -> None:
    async def fill(key: str) -> str:
        await asyncio.sleep(0)
        return key

    cache: AsyncAtomicCache[str, str] = AsyncAtomicCache(fill)

    async def main() -> None:
        loop = asyncio.get_running_loop()
        await cache["key"]
        assert loop in _waiter._pollers
        await until(lambda: loop not in _waiter._pollers)

    on_loop(main)


def test_a_loop_that_is_closed_is_forgotten_with_the_next_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_waiter, "POLL_SECONDS", 60)

    async def fill(key: int) -> int:
        await asyncio.sleep(0)
        return key

    cache: AsyncAtomicCache[int, int] = AsyncAtomicCache(fill)
    for key in range(3):
        asyncio.run(cache.fetch(key))
    assert sum(loop.is_closed() for loop in _waiter._pollers) == 1


class ManualLoop:
    """A loop whose callbacks and timers are run by hand."""

    def __init__(self) -> None:
        self.due: list[tuple[Callable[..., Any], tuple[Any, ...]]] = []

    def call_soon(self, callback: Callable[..., Any], *args: Any) -> None:
        self.due.append((callback, args))

    def call_later(self, delay: float, callback: Callable[..., Any], *args: Any) -> None:
        self.call_soon(callback, *args)

    def run_once(self) -> None:
        due, self.due = self.due, []
        for callback, args in due:
            callback(*args)


class LookedAt:
    def __init__(self, watch: _Poller) -> None:
        self.watch = watch
        self.looks = 0

    def check(self) -> None:
        self.looks += 1
        self.watch.waiters.pop(self, None)  # type: ignore[call-overload]


def test_a_waiter_that_comes_in_the_midst_of_a_look_is_looked_at_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """A finalizer's, before each instruction: of a look at the last waiters, and of another one's coming.

    It is not asked who holds a lock: that looks at every cache of the process, which the tests before this one have
    made thousands of, and each of its instructions would be a run.
    """
    monkeypatch.setattr(_waiter, "holds_a_lock", lambda: False)
    for is_coming in (True, False):
        assert before_each(every_step, partial(looked_at_once, is_coming)) > 8


def looked_at_once(is_coming: bool, at: int) -> Injected:
    loop: Any = ManualLoop()
    watch = _waiter._pollers[loop] = _Poller(loop)
    first, second = LookedAt(watch), LookedAt(watch)
    other: Any = LookedAt(watch)

    def add(waiter: Any) -> None:
        watch.add(waiter)

    if not is_coming:
        add(first)
    injected = inject(lambda: add(first) if is_coming else loop.run_once(), lambda: add(other), at)
    add(second)
    for _ in range(4):
        loop.run_once()
    assert (first.looks > 0, second.looks > 0) == (True, True)
    assert other.looks or not injected.places, injected
    assert not loop.due, "a timer goes on, though nobody waits"
    _waiter._pollers.pop(loop, None)
    return injected
