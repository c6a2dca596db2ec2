"""fill_many in tasks: one task for all keys that nobody fills, each with a flight of its own."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from areole import AsyncAtomicCache, AtomicCache, FillDeadlockError, FillTimeout, RecursiveFillError, Resilience
from areole._fill.tasks import running_flights

from ..kit import ManualClock, assert_valid, run, run_threads, until


class Source:
    """Gives of each key its double, but of "none", once it is let through."""

    def __init__(self, is_open: bool = True) -> None:
        self.calls: list[list[Any]] = []
        self.gate = asyncio.Event()
        self.cancelled = 0
        if is_open:
            self.gate.set()

    async def __call__(self, keys: list[Any]) -> Any:
        self.calls.append(keys)
        try:
            await self.gate.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if "bad" in keys:
            raise ValueError(keys)
        return {key: key * 2 for key in keys if key != "none"}


def test_one_call_is_made_for_all_that_is_missing(on_loop: Any) -> None:
    async def main() -> None:
        source = Source()
        cache: Any = AsyncAtomicCache(fill_many=source)
        assert await cache["a"] == "aa"
        assert list((await cache.fetch_many(["b", "a", "c", "b"])).items()) == [("b", "bb"), ("a", "aa"), ("c", "cc")]
        assert source.calls == [["a"], ["b", "c"]]
        with pytest.raises(KeyError):
            await cache.fetch_many(["d", "none"])
        with pytest.raises(ValueError, match="bad"):
            await cache.fetch_many(["e", "bad"])
        assert sorted(cache) == ["a", "b", "c", "d"]
        assert (cache.cache_info().fills, cache.cache_info().failures) == (7, 3)
        assert_valid(cache)

    on_loop(main)


def test_max_batch_makes_several_calls_at_once() -> None:
    async def main() -> None:
        source = Source(is_open=False)
        cache: Any = AsyncAtomicCache(fill_many=source, max_batch=2)
        task = asyncio.create_task(cache.fetch_many(range(5)))
        await until(lambda: len(source.calls) == 3)
        source.gate.set()
        assert await task == {key: key * 2 for key in range(5)}
        assert sorted(source.calls) == [[0, 1], [2, 3], [4]]
        assert_valid(cache)

    run(main)


def test_the_one_of_two_that_is_cancelled_takes_nothing_from_the_other(on_loop: Any) -> None:
    """1. A leads x and y, B leads z and has joined y      2. A is cancelled, and its fill with it      3. B has no y"""

    async def main() -> None:
        source = Source(is_open=False)
        cache: Any = AsyncAtomicCache(fill_many=source)
        first = asyncio.create_task(cache.fetch_many(["x", "y"]))
        second = asyncio.create_task(cache.fetch_many(["y", "z"]))
        await until(lambda: cache._state.counters.waits.get() == 1)
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        source.gate.set()
        assert await second == {"y": "yy", "z": "zz"}
        assert cache.get("x") == "xx"
        assert source.calls == [["x", "y"], ["z"]] and source.cancelled == 0
        assert_valid(cache)

    on_loop(main)


def test_a_batch_that_all_have_left_is_cancelled_and_its_keys_are_free() -> None:
    async def main() -> None:
        source = Source(is_open=False)
        cache: Any = AsyncAtomicCache(fill_many=source)
        tasks = [asyncio.create_task(cache.fetch_many(["x", "y"])), asyncio.create_task(cache.fetch("y"))]
        await until(lambda: cache._state.counters.waits.get() == 1)
        for task in tasks:
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        assert source.cancelled == 1 and len(cache._state.index.snapshot()) == 0
        source.gate.set()
        assert await cache.fetch_many(["x", "y"]) == {"x": "xx", "y": "yy"}
        await until(lambda: not running_flights)
        assert_valid(cache)

    run(main)


def test_a_cancellation_at_any_turn_of_the_loop_leaves_a_cache_that_works() -> None:
    async def main() -> None:
        for turns in range(12):
            source = Source(is_open=False)
            cache: Any = AsyncAtomicCache(fill_many=source, max_batch=2)
            tasks = [asyncio.create_task(cache.fetch_many(keys)) for keys in (["x", "y", "z"], ["z", "x"])]
            for _ in range(turns):
                await asyncio.sleep(0)
            tasks[0].cancel()
            await asyncio.sleep(0)
            source.gate.set()
            assert isinstance((await asyncio.gather(tasks[0], return_exceptions=True))[0], asyncio.CancelledError)
            assert await tasks[1] == {"z": "zz", "x": "xx"}
            assert await cache.fetch_many(["x", "y", "z"]) == {"x": "xx", "y": "yy", "z": "zz"}
            assert_valid(cache)
        await until(lambda: not running_flights)

    run(main)


def test_an_invalidated_key_of_a_batch_is_filled_again_and_the_others_are_not() -> None:
    async def main() -> None:
        source = Source(is_open=False)
        cache: Any = AsyncAtomicCache(fill_many=source)
        batch = asyncio.create_task(cache.fetch_many(["x", "y"]))
        await until(lambda: source.calls)
        assert cache.invalidate("x")
        again = asyncio.create_task(cache.fetch_many(["x", "y"]))
        await until(lambda: len(source.calls) == 2)
        source.gate.set()
        assert await batch == await again == {"x": "xx", "y": "yy"}
        assert source.calls == [["x", "y"], ["x"]]
        assert_valid(cache)

    run(main)


def test_threads_join_the_batch_of_a_task_and_tasks_that_of_a_thread() -> None:
    async def main() -> None:
        source = Source(is_open=False)
        cache: Any = AsyncAtomicCache(fill_many=source)
        batch = asyncio.create_task(cache.fetch_many(["x", "y"]))
        await until(lambda: source.calls)
        thread = asyncio.create_task(asyncio.to_thread(cache.sync.fetch_many, ["y", "x"]))
        await until(lambda: cache._state.counters.waits.get() == 1)
        source.gate.set()
        assert await batch == await thread == {"x": "xx", "y": "yy"}
        assert await asyncio.to_thread(cache.sync.fetch_many, ["z"]) == {"z": "zz"}
        assert source.calls == [["x", "y"], ["z"]]
        assert_valid(cache)

    run(main)

    plain: Any = AtomicCache(fill_many=lambda keys: [key * 2 for key in keys])
    results = run_threads(lambda: plain.fetch_many([1, 2]), lambda: asyncio.run(plain.aio.fetch_many([2, 1])))
    assert results == [{1: 2, 2: 4}] * 2
    assert plain.cache_info().fills == 2
    assert_valid(plain)


def test_a_fill_that_asks_for_a_key_of_its_own_batch_is_an_error() -> None:
    async def main() -> None:
        async def load(keys: list[Any]) -> Any:
            return [await asyncio.gather(cache["b"]) for _ in keys]

        cache: Any = AsyncAtomicCache(fill_many=load)
        with pytest.raises((RecursiveFillError, FillDeadlockError)):
            await cache.fetch_many(["a", "b"])
        assert_valid(cache)

    run(main)


def test_stale_values_are_served_where_a_batch_is_slow_and_the_batch_goes_on() -> None:
    async def main() -> None:
        clock, source = ManualClock(), Source()
        resilience = Resilience(stale_ttl=100, fail_safe=True, soft_timeout=0.01, hard_timeout=0.02)
        cache: Any = AsyncAtomicCache(fill_many=source, ttl=10, clock=clock, resilience=resilience)
        await cache.fetch_many(["a", "b"])
        clock.advance(10)
        source.gate.clear()
        assert await cache.fetch_many(["a", "b"]) == {"a": "aa", "b": "bb"}
        with pytest.raises(FillTimeout):
            await cache.fetch_many(["c", "d"])
        source.gate.set()
        clock.advance(2)
        assert await cache.fetch_many(["d", "a"]) == {"d": "dd", "a": "aa"}
        assert source.calls == [["a", "b"], ["a", "b"], ["c", "d"]]
        assert source.cancelled == 0
        assert_valid(cache)

    run(main)
