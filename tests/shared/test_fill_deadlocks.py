"""Fills of a shared cache that would wait for ever are refused, as AtomicCache's are: in threads, in tasks, in both."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest

from areole import FillDeadlockError, RecursiveFillError, SharedCache
from areole.backends import MemoryBackend

from ..kit import PATIENCE, run, run_threads


@pytest.fixture
def cache() -> SharedCache[Any]:
    return SharedCache("memory://", namespace="shop")


class Meeting:
    """Two fills that meet, and then each ask for the other's key. One of them is refused, and says so."""

    def __init__(self, cache: SharedCache[Any]) -> None:
        self.cache = cache
        self.barrier = threading.Barrier(2)
        self.fills: list[str] = []

    def other(self, key: str) -> str:
        self.fills.append(key)
        assert len(self.fills) <= 3, "a key is filled over and over"
        return "b" if key == "a" else "a"

    def fill(self, key: str) -> str:
        other = self.other(key)
        if len(self.fills) <= 2:
            self.barrier.wait(PATIENCE)
        try:
            return key + str(self.cache.get_or_fill(other, self.fill))
        except FillDeadlockError:
            return key + "!"

    async def fill_async(self, key: str) -> str:
        other = self.other(key)
        if len(self.fills) <= 2:
            await asyncio.to_thread(self.barrier.wait, PATIENCE)
        try:
            return key + str(await self.cache.aio.get_or_fill(other, self.fill_async))
        except FillDeadlockError:
            return key + "!"

    def ask(self, key: str) -> Any:
        return self.cache.get_or_fill(key, self.fill)

    async def ask_async(self, key: str) -> Any:
        return await self.cache.aio.get_or_fill(key, self.fill_async)

    def check(self, results: list[Any]) -> None:
        """The one that was refused gave its own value, which the other one got."""
        assert sorted(results) in (["a!", "ba!"], ["ab!", "b!"]), results
        assert sorted(self.fills) == ["a", "b"]
        assert not list(self.cache._state.flights.entries)


def test_two_threads_whose_fills_ask_for_each_others_keys(cache: SharedCache[Any]) -> None:
    meeting = Meeting(cache)
    meeting.check(run_threads(lambda: meeting.ask("a"), lambda: meeting.ask("b")))


def test_two_tasks_whose_fills_ask_for_each_others_keys(cache: SharedCache[Any]) -> None:
    meeting = Meeting(cache)

    async def main() -> list[Any]:
        return list(await asyncio.gather(meeting.ask_async("a"), meeting.ask_async("b")))

    meeting.check(run(main))


def test_a_thread_and_a_task_whose_fills_ask_for_each_others_keys(cache: SharedCache[Any]) -> None:
    meeting = Meeting(cache)
    meeting.check(run_threads(lambda: meeting.ask("a"), lambda: run(lambda: meeting.ask_async("b"))))


def test_plain_fills_of_two_tasks_that_ask_for_each_others_keys(cache: SharedCache[Any]) -> None:
    meeting = Meeting(cache)

    async def main() -> list[Any]:
        calls = [cache.aio.get_or_fill(key, meeting.fill) for key in "ab"]
        return list(await asyncio.gather(*calls))

    meeting.check(run(main))


def fills_itself(cache: SharedCache[Any]) -> Callable[[Any], Any]:
    return lambda key: cache.get_or_fill(key, fills_itself(cache))


def refreshes_itself(cache: SharedCache[Any]) -> Callable[[Any], Any]:
    return lambda key: cache.refresh(key, refreshes_itself(cache))


@pytest.mark.parametrize("fill", [fills_itself, refreshes_itself])
@pytest.mark.parametrize("is_live", [False, True])
def test_a_fill_that_asks_for_its_own_key(
    cache: SharedCache[Any], fill: Callable[[SharedCache[Any]], Callable[[Any], Any]], is_live: bool
) -> None:
    """By a refresh too, of a value that is there, which it would be given by a lookup."""
    if is_live:
        cache["a"] = 1
    ask: Callable[..., Any] = cache.refresh if is_live else cache.get_or_fill
    if is_live and fill is fills_itself:
        assert ask("a", fill(cache)) == 1
        return
    with pytest.raises(RecursiveFillError):
        ask("a", fill(cache))
    assert cache.get_or_fill("a", lambda key: 2) == (1 if is_live else 2)


def test_a_thread_that_would_block_the_loop_on_which_the_fill_runs(cache: SharedCache[Any]) -> None:
    async def main() -> None:
        has_begun, may_end = asyncio.Event(), asyncio.Event()

        async def fill(key: str) -> int:
            has_begun.set()
            await may_end.wait()
            return 1

        task = asyncio.create_task(cache.aio.get_or_fill("a", fill))
        await has_begun.wait()
        with pytest.raises(FillDeadlockError):
            cache.get_or_fill("a", lambda key: 2)
        may_end.set()
        assert await task == 1

    run(main)


@pytest.mark.parametrize("is_async", [False, True])
def test_fills_of_two_processes_that_wait_for_each_others_keys_end_with_their_patience(is_async: bool) -> None:
    """Nobody sees that cycle: so `wait` ends, and both fill both keys."""
    backend = MemoryBackend()
    caches = [SharedCache[Any](backend, namespace="shop") for _ in range(2)]
    barrier = threading.Barrier(2)

    def fill(number: int, key: str) -> str:
        barrier.wait(PATIENCE)
        other = "b" if key == "a" else "a"
        return key + str(caches[number].get_or_fill(other, lambda key: key, wait=0.02))

    async def fill_async(number: int, key: str) -> str:
        await asyncio.to_thread(barrier.wait, PATIENCE)
        other = "b" if key == "a" else "a"
        return key + str(await caches[number].aio.get_or_fill(other, lambda key: key, wait=0.02))

    def ask(number: int, key: str) -> Any:
        if not is_async:
            return caches[number].get_or_fill(key, lambda key: fill(number, key))

        async def fill_it(key: str) -> str:
            return await fill_async(number, key)

        async def main() -> Any:
            return await caches[number].aio.get_or_fill(key, fill_it)

        return run(main)

    results = run_threads(lambda: ask(0, "a"), lambda: ask(1, "b"))
    assert results[0] in ("ab", "aba") and results[1] in ("ba", "bab"), results
