"""All interleavings of the last waiter who leaves with another one who comes: nobody waits for a cancelled fill."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest

from areole import AsyncAtomicCache
from areole._core.wait_graph import Wait, begin_wait
from areole._fill.rules import LEAD
from areole._fill.task_flight import TaskFlight

from ..interleave import explore, point
from ..kit import PATIENCE, Told, assert_valid, every_index, every_pair


class LoopOfAnotherThread:
    """Does at once what it is told to do soon."""

    def is_closed(self) -> bool:
        return False

    def call_soon_threadsafe(self, callback: Callable[..., Any], *args: Any) -> None:
        point()
        callback(*args)


class FillTask:
    """A fill that takes its time to end after it was cancelled: its latch stays held for longer than the test lasts."""

    def done(self) -> bool:
        return False

    def cancelling(self) -> int:
        return 0

    def cancel(self) -> None:
        point()


@every_index
def test_in_every_schedule_who_comes_as_the_last_one_leaves_gets_a_value(index: str) -> None:
    """1. the last waiter leaves, and counts: nobody is left      3. the flight is marked, its task cancelled
    2. another one joins                                          4. the other waits for a fill that was cancelled

    Allowed: the other joins in time, the fill goes on and both end with its value; or the fill is cancelled, stored
    nowhere, and the other fills anew.
    """
    outcomes = set()

    def scenario() -> Any:
        cache: AsyncAtomicCache[Any, Any] = AsyncAtomicCache(lambda key: "new", index=index)
        for_threads = cache.sync
        loop: Any = LoopOfAnotherThread()
        flight: Any = TaskFlight("key", cache._state.index.entry_type, loop, is_cancellable=True)
        assert cache._fills.claim(flight) is LEAD
        flight.task = FillTask()
        wait = Wait(flight, None, None)
        assert begin_wait(wait, flight)

        def leave() -> None:
            cache._fills.end_wait(wait, flight)
            if not flight.is_abandoned:
                cache._fills.complete(flight, "old")
                flight.latch.release()
                cache._fills.after_lead(flight)

        def check(results: list[Any]) -> None:
            value = "new" if flight.is_abandoned else "old"
            assert results == [None, value]
            assert for_threads["key"] == value
            assert_valid(cache)
            outcomes.add(value)

        return leave, (lambda: for_threads["key"]), check

    assert explore(scenario, preemptions=2, at_most=250) > 100
    assert outcomes == {"old", "new"}


KINDS = {"dict": {"index": "dict"}, "atomic": {"index": "atomic"}, "bounded": {"max_items": 10}}


@every_pair(kind=list(KINDS), is_refresh={"fill": False, "refresh": True}, other=["get", "invalidate", "refresh"])
def test_in_every_schedule_what_an_abandoned_fill_publishes_or_replaces_is_told_once(
    kind: str, is_refresh: bool, other: str
) -> None:
    """1. the last waiter leaves, looks: nothing was published yet     3. a lookup finds the value, and returns it
    2. the fill, which ends just now, publishes its value              4. the waiter takes the entry out, untold

    Allowed: the value stays, and nobody is told; or it leaves, and is told if it was in. What it has replaced is told,
    and what it has not replaced stays.
    """
    outcomes = set()

    def scenario() -> Any:
        told: list[Any] = []
        seen: list[Any] = []
        cache: AsyncAtomicCache[Any, Any] = AsyncAtomicCache(
            lambda key: next(values), on_removal=lambda *event: told.append(event[1]), **KINDS[kind]
        )
        for_threads = cache.sync
        values = iter(["old", "new"])
        if is_refresh:
            assert for_threads["key"] == "old"
        loop: Any = LoopOfAnotherThread()
        flight: Any = TaskFlight("key", cache._state.index.entry_type, loop, is_cancellable=True)
        assert cache._fills.claim_refresh(flight) is LEAD
        flight.task = FillTask()
        wait = Wait(flight, None, None)
        assert begin_wait(wait, flight)

        def end() -> None:
            cache._fills.complete(flight, "late")
            flight.latch.release()
            cache._fills.after_lead(flight)

        def check(results: list[Any]) -> None:
            there = cache.get("key")
            were_there = {"old", *seen} if is_refresh else set(seen)
            assert were_there - {there, None} <= set(told), "a value left and nobody was told"
            assert there not in told and len(set(told)) == len(told), "a value was told that is there, or twice"
            assert_valid(cache)
            outcomes.add((there, *told))

        def look() -> None:
            value = cache.get("key")
            if cache._state.index.find("key") is not None:  # it was not yet taken out when the value was found
                seen.append(value)

        act = look if other == "get" else lambda: getattr(for_threads, other)("key")
        return (lambda: cache._fills.end_wait(wait, flight)), end, act, check

    assert explore(scenario, preemptions=1) > 20
    assert len(outcomes) > 1 or (other == "get" and is_refresh), outcomes


def test_a_value_that_is_published_as_its_fill_is_abandoned_does_not_vanish_untold() -> None:
    """The last who waits, on another loop or in a thread, leaves as the task settles.

    1. A, who leaves, looks: the entry has no value      3. a hit gets it
    2. the task publishes one, for all to see            4. A takes the entry out     -- and nobody is told of it.
    """

    class SeenLock:
        """Says when the loop's thread comes to it while it is held."""

        def __init__(self, lock: Any) -> None:
            self._lock = lock

        def acquire(self) -> bool:
            if not self._lock.acquire(blocking=False):
                moved.set()
                self._lock.acquire()
            return True

        def release(self) -> None:
            self._lock.release()

    async def leave_at_the_end() -> None:
        may_end, loop = asyncio.Event(), asyncio.get_running_loop()

        async def fill(key: str) -> str:
            await may_end.wait()
            return "value"

        cache = AsyncAtomicCache[str, str](fill, on_removal=told)
        index: Any = cache._state.index
        task = asyncio.create_task(cache.fetch("a"))
        await asyncio.sleep(0)
        flight = index.find("a").flight
        flight.task.add_done_callback(lambda task: moved.set())
        index.lock, remove_if = SeenLock(index.lock), type(index).remove_if

        def remove_as_the_fill_ends(self: Any, *args: Any) -> bool:
            loop.call_soon_threadsafe(may_end.set)
            assert moved.wait(PATIENCE)
            seen.extend(cache.get_many([*"a"]).values())
            return bool(remove_if(self, *args))

        flight.is_abandoned = True
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(type(index), "remove_if", remove_as_the_fill_ends)
            await asyncio.to_thread(cache._fills.detach, flight)
        assert await task == "value"
        assert "a" not in cache

    told, moved, seen = Told(), threading.Event(), list[str]()
    asyncio.run(leave_at_the_end())
    assert seen == [value for _, value, _ in told.take()]
