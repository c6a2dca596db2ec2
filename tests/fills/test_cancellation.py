"""Whoever waits may leave: a cancelled waiter leaves no trace, and nobody ever waits for a cancelled fill.

Known faults: cancelling the leader cancels the waiters (moka-py, cashews, measured); a cancelled task is cached.
"""

from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import Callable
from typing import Any

import pytest

from areole import AsyncAtomicCache, FillTimeout
from areole._core.flight import Flight
from areole._fill import tasks as task_fills
from areole._fill.protocol import Fills

from ..kit import PATIENCE, AsyncGate, assert_valid, run, run_threads, start_threads, until, wait_until_waiting

OnLoop = Callable[..., Any]
WAITERS = 3


class SlowFill:
    """A fill with several awaits, counting how often it began, ended, and was cancelled."""

    def __init__(self) -> None:
        self.began = self.ended = self.cancelled = 0

    async def __call__(self, key: Any) -> Any:
        self.began += 1
        try:
            for _ in range(4):
                await asyncio.sleep(0)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        self.ended += 1
        return key, self.began


@pytest.mark.parametrize("on_abandon", ["cancel", "complete"])
@pytest.mark.parametrize("who", [*range(WAITERS), "all"])
def test_a_cancellation_at_every_turn_of_the_loop(on_loop: OnLoop, who: Any, on_abandon: str) -> None:
    """Task 0 leads, the others wait; `who` is cancelled after 0, 1, 2, ... turns, until all is over by then.

    Allowed: who was cancelled in time gets CancelledError, all others the value of the one fill. If all were, the fill
    was cancelled and nothing is stored ("cancel"), or it ended and is stored ("complete"); and the key can be filled.
    """

    async def cancel_after(turns: int) -> bool:
        fill = SlowFill()
        cache = AsyncAtomicCache(fill, on_abandon=on_abandon)
        tasks = [asyncio.ensure_future(cache["key"]) for _ in range(WAITERS)]
        for _ in range(turns):
            await asyncio.sleep(0)
        victims = tasks if who == "all" else [tasks[who]]
        came_in_time = [task.cancel() for task in victims]
        results = await asyncio.gather(*tasks, return_exceptions=True)
        for task, result in zip(tasks, results, strict=True):
            if task in victims and came_in_time[victims.index(task)]:
                assert isinstance(result, asyncio.CancelledError)
            else:
                assert result == ("key", 1)
        await until(lambda: fill.began == fill.ended + fill.cancelled)
        assert fill.began == 1 or (who == "all" and turns <= 1)  # the task of the fill is made in the first turn
        assert not fill.cancelled or (who == "all" and on_abandon == "cancel")
        assert fill.ended == (cache.peek("key") is not None)
        assert await cache["key"] == ("key", 1 + fill.cancelled)
        await until(lambda: not task_fills.running_flights)
        assert_valid(cache)
        return any(came_in_time)

    async def main() -> int:
        turns = 0
        while await cancel_after(turns):
            turns += 1
        return turns

    assert on_loop(main) >= 5


def test_a_wait_driven_by_hand_leaves_no_trace_whatever_is_thrown_into_it(on_loop: OnLoop) -> None:
    gate = AsyncGate()

    async def fill(key: str) -> str:
        await gate.enter()
        return "value"

    cache = AsyncAtomicCache(fill)

    async def main() -> None:
        leader = asyncio.ensure_future(cache["key"])
        await until(lambda: gate.entered)
        flight: Any = cache._state.index.snapshot()[0].flight
        for thrown in (asyncio.CancelledError, GeneratorExit, KeyboardInterrupt, ValueError):
            waiting = cache["key"]
            waiting.send(None)
            assert len(flight.joiners) == 2
            assert len(flight.waiters) == 2
            with pytest.raises(thrown):
                waiting.throw(thrown)
            assert len(flight.joiners) == 1
            assert len(flight.waiters) == 1
        gate.open()
        assert await leader == "value"

    on_loop(main)
    assert gate.cancelled == 0
    assert_valid(cache)


def test_who_comes_between_the_mark_and_the_cancellation_fills_anew(
    on_loop: OnLoop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """1. the last waiter leaves, and marks the flight    2. another asks, and finds its entry still in the index
    3. the entry is taken out, the task cancelled         4. the other waits for a fill that was cancelled

    Allowed: the other fills anew.
    """
    gate = AsyncGate()
    late: list[asyncio.Task[Any]] = []

    async def fill(key: str) -> str:
        await gate.enter()
        return "value"

    cache = AsyncAtomicCache(fill)
    retract = Fills.detach

    def ask_before_retracting(self: Any, flight: Flight) -> None:
        monkeypatch.undo()
        waiting = cache["key"]
        waiting.send(None)  # up to its wait
        assert cache.cache_info().fills == 2
        waiting.close()
        late.append(asyncio.ensure_future(cache["key"]))
        retract(self, flight)

    async def main() -> None:
        leader = asyncio.ensure_future(cache["key"])
        await until(lambda: gate.entered)
        monkeypatch.setattr(Fills, "detach", ask_before_retracting)
        leader.cancel()
        await until(lambda: late)
        gate.open()
        assert await late[0] == "value"

    on_loop(main)
    assert_valid(cache)


def test_a_thread_that_waits_keeps_the_fill_running_when_its_task_was_cancelled(on_loop: OnLoop) -> None:
    gate = AsyncGate()

    async def fill(key: str) -> str:
        await gate.enter()
        return "value"

    cache = AsyncAtomicCache(fill)

    async def main() -> None:
        leader = asyncio.ensure_future(cache["key"])
        await until(lambda: gate.entered)
        join = start_threads(lambda: cache.sync["key"])
        await asyncio.to_thread(wait_until_waiting, cache, 1)
        flight: Any = cache._state.index.snapshot()[0].flight
        await until(lambda: len(flight.joiners) == 2)
        leader.cancel()
        with pytest.raises(asyncio.CancelledError):
            await leader
        gate.open()
        assert await asyncio.to_thread(join) == ["value"]

    on_loop(main)
    assert (gate.entered, gate.cancelled) == (1, 0)
    assert_valid(cache)


def test_the_last_to_leave_may_be_a_thread_on_another_loops_flight(on_loop: OnLoop) -> None:
    """Or the task, where the machine is so slow that the thread gives up first: all else is the same."""
    gate, gave_up = AsyncGate(), threading.Event()

    async def fill(key: str) -> str:
        await gate.enter()
        return "value"

    cache = AsyncAtomicCache(fill, wait_timeout=0.02)

    def ask() -> str:
        try:
            return cache.sync["key"]
        finally:
            gave_up.set()

    async def main() -> None:
        leader = asyncio.ensure_future(cache["key"])
        await until(lambda: gate.entered)
        flight: Any = cache._state.index.snapshot()[0].flight
        join = start_threads(ask)
        await until(lambda: len(flight.joiners) == 2 or gave_up.is_set())
        leader.cancel()
        (result,) = await asyncio.to_thread(join)
        assert isinstance(result, FillTimeout)
        await until(lambda: gate.cancelled)

    on_loop(main)
    assert "key" not in cache
    assert_valid(cache)


def test_a_fill_that_raises_cancelled_error_by_itself_does_not_pass_for_a_cancellation(on_loop: OnLoop) -> None:
    """Who had started it gets a RuntimeError that says so; each of those that wait fills anew, once."""
    calls: list[str] = []

    async def fill(key: str) -> str:
        calls.append(key)
        await until(lambda: cache.cache_info().waits >= WAITERS - 1)
        raise asyncio.CancelledError

    cache = AsyncAtomicCache(fill)

    async def main() -> None:
        results = await asyncio.gather(*[cache["key"] for _ in range(WAITERS)], return_exceptions=True)
        assert [type(each) for each in results] == [RuntimeError] * WAITERS
        assert all("ended by CancelledError" in str(each) for each in results)

    on_loop(main)
    assert len(calls) == WAITERS
    assert "key" not in cache
    assert_valid(cache)


@pytest.mark.parametrize("began", [False, True])
def test_a_fill_cancelled_by_others_is_filled_anew_by_those_who_wait(on_loop: OnLoop, began: bool) -> None:
    """Before its task's first step nothing of the task runs, and the latch is opened by the generator's end alone."""
    gate = AsyncGate()

    async def fill(key: str) -> int:
        await gate.enter()
        return gate.entered

    cache = AsyncAtomicCache(fill)

    async def main() -> None:
        tasks = [asyncio.ensure_future(cache["key"]) for _ in range(WAITERS)]
        await asyncio.sleep(0)
        await until(lambda: gate.entered or not began)
        flight: Any = cache._state.index.snapshot()[0].flight
        flight.task.cancel()
        del flight
        with pytest.raises(RuntimeError, match=r"ended by (CancelledError|GeneratorExit)"):
            await tasks[0]
        gate.open()
        assert await asyncio.gather(*tasks[1:]) == [1 + began] * (WAITERS - 1)

    on_loop(main)
    assert gate.entered == 1 + began
    assert_valid(cache)


def test_a_fill_that_will_not_be_cancelled_is_stored_nowhere(on_loop: OnLoop) -> None:
    """It was abandoned, and its key given to others: its late value touches nothing newer (invariant 9)."""
    gate, stubborn = AsyncGate(), AsyncGate()

    async def fill(key: str) -> str:
        if gate.entered:
            return "new"
        try:
            await gate.enter()
        except asyncio.CancelledError:
            await stubborn.enter()
        return "old"

    cache = AsyncAtomicCache(fill)

    async def main() -> None:
        leader = asyncio.ensure_future(cache["key"])
        await until(lambda: gate.entered)
        leader.cancel()
        await until(lambda: stubborn.entered)
        assert await cache["key"] == "new"
        stubborn.open()
        await until(lambda: len(asyncio.all_tasks()) <= 2)
        assert await cache["key"] == "new"

    on_loop(main)
    assert_valid(cache)


@pytest.mark.parametrize("on_abandon", ["cancel", "complete"])
def test_an_abandoned_refresh_keeps_the_old_value_or_brings_the_new(on_loop: OnLoop, on_abandon: str) -> None:
    gate = AsyncGate()
    calls: list[str] = []

    async def fill(key: str) -> int:
        calls.append(key)
        if len(calls) == 2:
            await gate.enter()
        return len(calls)

    cache = AsyncAtomicCache(fill, on_abandon=on_abandon)

    async def main() -> None:
        assert await cache["key"] == 1
        refreshing = asyncio.ensure_future(cache.refresh("key"))
        await until(lambda: gate.entered)
        refreshing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await refreshing
        assert await cache["key"] == 1
        gate.open()
        if on_abandon == "cancel":
            await until(lambda: gate.cancelled)
            assert cache.peek("key") == 1
            assert await cache.refresh("key") == 3
        else:
            await until(lambda: cache.peek("key") == 2)

    on_loop(main)
    assert_valid(cache)


def test_a_cancelled_fetch_many_leaves_all_of_its_fills(on_loop: OnLoop) -> None:
    gate = AsyncGate()

    async def fill(key: int) -> int:
        await gate.enter()
        return key

    cache = AsyncAtomicCache(fill)

    async def main() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(PATIENCE) as limit:
                fetching = asyncio.ensure_future(cache.fetch_many(range(4)))
                await until(lambda: gate.entered == 4)
                limit.reschedule(asyncio.get_running_loop().time())
                await fetching
        assert gate.cancelled == 4

    on_loop(main)
    assert len(cache) == 0
    assert_valid(cache)


@pytest.mark.parametrize("ended_by", ["error", "cancellation"])
def test_fetch_many_returns_once_all_fills_that_it_cancels_have_cleaned_up(on_loop: OnLoop, ended_by: str) -> None:
    """What the fills use may be closed then."""
    entered: list[int] = []
    cleaned: list[int] = []

    async def fill(key: int) -> int:
        if key == 0 and ended_by == "error":
            await until(lambda: len(entered) == 3)
            raise ValueError(key)
        entered.append(key)
        try:
            await asyncio.sleep(PATIENCE)
        finally:
            for _ in range(10 * key):
                await asyncio.sleep(0)
            cleaned.append(key)
        return key

    cache = AsyncAtomicCache(fill)

    async def main() -> None:
        fetching = asyncio.ensure_future(cache.fetch_many(range(4)))
        await until(lambda: len(entered) == (3 if ended_by == "error" else 4))
        if ended_by == "cancellation":
            fetching.cancel()
        with pytest.raises(ValueError if ended_by == "error" else asyncio.CancelledError):
            await fetching
        assert sorted(cleaned) == sorted(entered)

    on_loop(main)
    assert len(cache) == 0
    assert_valid(cache)


def test_a_second_cancellation_ends_the_wait_of_fetch_many_for_that(on_loop: OnLoop) -> None:
    gate, cleaning = asyncio.Event(), []

    async def fill(key: int) -> int:
        try:
            await asyncio.sleep(PATIENCE)
        finally:
            cleaning.append(key)
            await gate.wait()
        return key

    cache = AsyncAtomicCache(fill)

    async def main() -> None:
        fetching = asyncio.ensure_future(cache.fetch_many(range(3)))
        await until(lambda: cache.cache_info().fills == 3)
        await asyncio.sleep(0)
        fetching.cancel()
        await until(lambda: len(cleaning) == 3)
        fetching.cancel()
        with pytest.raises(asyncio.CancelledError):
            await fetching
        assert not gate.is_set()
        gate.set()
        await until(lambda: len(cache._state.index.snapshot()) == 0)

    on_loop(main)
    assert_valid(cache)


@pytest.mark.parametrize("on_abandon", ["", "ignore", None, "CANCEL"])
def test_on_abandon_is_one_of_two_words(on_abandon: Any) -> None:
    with pytest.raises(ValueError, match=r'on_abandon must be "cancel" or "complete", not'):
        AsyncAtomicCache(SlowFill(), on_abandon=on_abandon)


@pytest.mark.parametrize("seed", range(3))
def test_waiters_that_come_and_go_on_many_loops_get_right_values_or_their_own_cancellation(seed: int) -> None:
    """Invariants 1, 2, 4: tasks on three loops, cancelled at random, and two threads, over four keys."""
    cache = AsyncAtomicCache(SlowFill())

    async def come_and_go(chance: random.Random) -> None:
        for _ in range(60):
            key = chance.randrange(4)
            tasks = [asyncio.ensure_future(cache[key]) for _ in range(3)]
            for _ in range(chance.randrange(8)):
                await asyncio.sleep(0)
            victims = {task for task in tasks if chance.random() < 0.6 and task.cancel()}
            for task, result in zip(tasks, await asyncio.gather(*tasks, return_exceptions=True), strict=True):
                assert isinstance(result, asyncio.CancelledError) if task in victims else result[0] == key
            cache.invalidate(key)

    def in_a_thread(chance: random.Random) -> None:
        for _ in range(60):
            key = chance.randrange(4)
            assert cache.sync[key][0] == key
            cache.invalidate(key)

    chances = [random.Random(seed * 10 + n) for n in range(5)]
    workers: list[Callable[[], Any]] = [lambda c=c: run(lambda: come_and_go(c)) for c in chances[:3]]  # type: ignore[misc]
    workers += [lambda c=c: in_a_thread(c) for c in chances[3:]]  # type: ignore[misc]
    assert run_threads(*workers) == [None] * 5
    assert_valid(cache)
