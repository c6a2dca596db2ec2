"""Waiting for oneself is an error, and not a hang: invariant 5 on event loops, and between loops and threads."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Callable
from typing import Any

import pytest

from areole import AsyncAtomicCache, AtomicCache, FillDeadlockError, RecursiveFillError

from ..kit import PATIENCE, assert_valid, run, run_threads, until

OnLoop = Callable[..., Any]
Cache = AsyncAtomicCache[Any, Any]

WAYS_BACK: dict[str, Callable[[Cache, Any], Any]] = {
    "await": lambda cache, key: cache[key],
    "gather": lambda cache, key: asyncio.gather(cache[key], asyncio.sleep(0)),
    "task": lambda cache, key: asyncio.ensure_future(cache[key]),
    "wait_for": lambda cache, key: asyncio.wait_for(cache[key], PATIENCE),
    "fetch_many": lambda cache, key: cache.fetch_many([key, "other"]),
    "refresh": lambda cache, key: cache.refresh(key),
    "to_thread": lambda cache, key: asyncio.to_thread(cache.sync.__getitem__, key),
    "a loop in a thread": lambda cache, key: asyncio.to_thread(lambda: asyncio.run(cache.fetch(key))),
}


@pytest.mark.parametrize("way", WAYS_BACK)
def test_a_fill_that_asks_for_its_own_key_raises_and_stores_nothing(on_loop: OnLoop, way: str) -> None:
    """Known fault: it deadlocks (cachetools, theine, cereggii, moka-py, cachebox, all measured)."""

    async def fill(key: str) -> Any:
        return "other" if key == "other" else await WAYS_BACK[way](cache, key)

    cache: Cache = AsyncAtomicCache(fill, name="loop")

    async def main() -> None:
        with pytest.raises(RecursiveFillError, match=r": .*str.* asked for the same key"):
            await cache["secret"]

    on_loop(main)
    assert "secret" not in cache
    assert_valid(cache)


def test_a_plain_fill_in_an_executor_that_asks_for_its_own_key_raises(on_loop: OnLoop) -> None:
    def fill(key: str) -> Any:
        return cache.sync[key]

    cache: Cache = AsyncAtomicCache(fill)

    async def main() -> None:
        with pytest.raises(RecursiveFillError):
            await cache["key"]

    on_loop(main)
    assert_valid(cache)


def test_a_longer_way_back_to_the_own_key_raises(on_loop: OnLoop) -> None:
    async def fill(key: int) -> Any:
        return await cache[(key + 1) % 5]

    cache: Cache = AsyncAtomicCache(fill)

    async def main() -> None:
        with pytest.raises(FillDeadlockError):
            await cache[0]

    on_loop(main)
    assert len(cache) == 0
    assert_valid(cache)


def test_a_fill_may_catch_the_error_and_return_a_value(on_loop: OnLoop) -> None:
    async def fill(key: str) -> str:
        with pytest.raises(RecursiveFillError):
            await cache[key]
        return "value"

    cache: Cache = AsyncAtomicCache(fill)
    assert on_loop(lambda: cache["key"]) == "value"
    assert_valid(cache)


def test_a_refresh_whose_fill_asks_for_the_key_reads_the_old_value(on_loop: OnLoop) -> None:
    async def fill(key: str) -> Any:
        return (*cache.get(key, ()), len(cache))

    cache: Cache = AsyncAtomicCache(fill)

    async def main() -> Any:
        return await cache["key"], await cache.refresh("key")

    assert on_loop(main) == ((0,), (0, 1))
    assert_valid(cache)


def test_two_tasks_that_fill_what_the_other_needs_do_not_hang(on_loop: OnLoop) -> None:
    """Known fault: A fills B while B fills A, and both hang (cereggii, measured). Allowed: one of them is told."""
    begun: set[str] = set()

    async def fill(key: str) -> Any:
        begun.add(key)
        await until(lambda: len(begun) == 2)
        try:
            return await cache["b" if key == "a" else "a"]
        except FillDeadlockError:
            return "deadlock"

    cache: Cache = AsyncAtomicCache(fill)

    async def main() -> list[Any]:
        return await asyncio.gather(cache["a"], cache["b"])

    assert on_loop(main) == ["deadlock"] * 2
    assert_valid(cache)


@pytest.mark.parametrize("kinds", ["task task", "task thread", "thread task", "task run", "run run", "thread run"])
def test_a_cycle_of_tasks_and_threads_is_seen(kinds: str) -> None:
    """Each of two leads one key and needs the other's: as a task, a thread, or a thread that runs an async fill."""
    together = threading.Barrier(2)

    async def fill_async(key: tuple[str, int]) -> Any:
        await asyncio.to_thread(together.wait, PATIENCE)
        try:
            return await asyncio.gather(needed(key).aio.fetch(other_of(key)))
        except FillDeadlockError:
            return "deadlock"

    def fill_plain(key: tuple[str, int]) -> Any:
        together.wait(PATIENCE)
        try:
            return needed(key)[other_of(key)]
        except FillDeadlockError:
            return "deadlock"

    for_threads: AtomicCache[Any, Any] = AtomicCache(fill_plain)
    for_tasks: Cache = AsyncAtomicCache(fill_async)
    names = kinds.split()
    keys = [(name, n) for n, name in enumerate(names)]

    def other_of(key: tuple[str, int]) -> tuple[str, int]:
        return keys[1 - key[1]]

    def needed(key: tuple[str, int]) -> AtomicCache[Any, Any]:
        return for_threads if other_of(key)[0] == "thread" else for_tasks.sync

    def ask(key: tuple[str, int]) -> Any:
        if key[0] == "task":
            return run(lambda: for_tasks[key])
        return for_threads[key] if key[0] == "thread" else for_tasks.sync[key]

    results = run_threads(*[lambda key=key: ask(key) for key in keys])
    assert any("deadlock" in (result, *result) for result in results), results
    assert not any(isinstance(result, BaseException) for result in results), results
    assert_valid(for_threads)
    assert_valid(for_tasks)


def test_threads_that_a_fill_starts_may_ask_for_one_key_at_once(on_loop: OnLoop) -> None:
    """They all work for the same fill, and still one of them leads and the others wait: that is no cycle."""
    cache = AtomicCache(lambda key: len(key))

    async def fill(key: str) -> int:
        return sum(await asyncio.gather(*[asyncio.to_thread(cache.__getitem__, "word") for _ in range(4)]))

    total: Cache = AsyncAtomicCache(fill)
    assert on_loop(lambda: total["key"]) == 16
    assert cache.cache_info().fills == 1
    assert_valid(cache)


def test_tasks_that_a_fill_starts_may_ask_for_one_key_at_once(on_loop: OnLoop) -> None:
    async def fill(key: int) -> int:
        await asyncio.sleep(0)
        return 1 if key < 2 else sum(await asyncio.gather(*[cache[key - 1] for _ in range(2)]))

    cache = AsyncAtomicCache(fill)
    assert on_loop(lambda: cache[30]) == 2**29
    assert cache.cache_info().fills == 30
    assert_valid(cache)


def test_a_diamond_of_fills_is_no_cycle(on_loop: OnLoop) -> None:
    needs = {"top": ["left", "right"], "left": ["bottom"], "right": ["bottom"], "bottom": []}

    async def fill(key: str) -> int:
        await asyncio.sleep(0)
        return 1 + sum((await cache.fetch_many(needs[key])).values())

    cache = AsyncAtomicCache(fill)

    async def main() -> list[int]:
        return await asyncio.gather(*[cache[key] for key in ("bottom", "right", "left", "top")])

    assert on_loop(main) == [1, 2, 2, 5]
    assert_valid(cache)


def test_a_recursive_coroutine_function_runs_once_for_each_argument(on_loop: OnLoop) -> None:
    @AsyncAtomicCache.memoize
    async def fib(n: int) -> int:
        return n if n < 2 else sum(await asyncio.gather(fib(n - 1), fib(n - 2)))

    async def main() -> list[int]:
        return await asyncio.gather(*[fib(n) for n in (60, 59, 60, 30)])

    assert on_loop(main)[0] == 1_548_008_755_920
    assert fib.cache_info().fills == 61
    assert_valid(fib.cache)


def test_waits_that_have_ended_are_no_edges_any_more(on_loop: OnLoop) -> None:
    """A fill that was cancelled in a wait, or gave it up, and then waits for the other way round, is no deadlock."""
    turn = 0

    async def fill(key: str) -> Any:
        nonlocal turn
        if key == "a":
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(cache["b"], 0.01)
            turn = 1
            return "a"
        await until(lambda: turn)
        return await cache["a"]

    cache: Cache = AsyncAtomicCache(fill)

    async def main() -> Any:
        return await asyncio.gather(cache["a"], cache["b"])

    assert on_loop(main) == ["a", "a"]
    assert_valid(cache)


@pytest.mark.parametrize("has_own_context", [True, False])
def test_a_task_that_a_fill_starts_and_does_not_await_is_part_of_it_unless_it_has_a_context_of_its_own(
    on_loop: OnLoop, has_own_context: bool
) -> None:
    """A heartbeat, say, of a client that its fill makes."""
    tasks: list[asyncio.Task[Any]] = []

    async def fill(key: str) -> str:
        async def heartbeat() -> Any:
            return await cache[key]

        context = contextvars.Context() if has_own_context else None
        tasks.append(asyncio.create_task(heartbeat(), context=context))
        await until(lambda: tasks[0].done() or cache.cache_info().waits)
        return "client"

    cache: Cache = AsyncAtomicCache(fill)

    async def main() -> Any:
        return await cache["key"], *await asyncio.gather(*tasks, return_exceptions=True)

    value, seen = on_loop(main)
    assert value == "client"
    assert seen == "client" if has_own_context else isinstance(seen, RecursiveFillError)
    assert_valid(cache)
