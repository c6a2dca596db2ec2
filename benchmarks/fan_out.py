"""Measure what it costs to wait inside fills that wait for many others, as ratios to the same without.

    python -m benchmarks.fan_out [--quick]        about 30 seconds; a few with --quick

    items inside a fill     8,000 items that are asked for by one fill, to the same asked for by a plain coroutine; they
                            end in the order in which they were asked for, or backwards
    joining a fan-out       500 tasks that join a fill that awaits 10,000 others, to 500 that join one that awaits none

The variants take turns in one process. What counts is the CPU time of the thread that runs the loop, and of several
rounds the shortest; the garbage collector is off, whose pauses depend on how many objects there are.
"""

from __future__ import annotations

import asyncio
import gc
import sys
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from areole import AsyncAtomicCache, AtomicCache

__all__ = ["fan_out_ratios", "join_ratio", "main"]

MOST = 1.5
"""The ratio that none is to exceed."""


def main(arguments: list[str]) -> int:
    quick = "--quick" in arguments
    items, fan_out, joiners, rounds = (800, 1000, 50, 2) if quick else (8000, 10_000, 500, 9)
    ratios = fan_out_ratios(items, rounds)
    ratios[f"{joiners:,} tasks join a fill that awaits {fan_out:,}"] = join_ratio(fan_out, joiners, rounds)
    for name, ratio in ratios.items():
        print(f"{name:<50} {ratio:5.2f} times", "" if ratio <= MOST else f"(more than {MOST})")
    return int(not quick and max(ratios.values()) > MOST)


def fan_out_ratios(items: int, rounds: int) -> dict[str, float]:
    """Measure `items` items in a fill, to the same outside of fills, for both orders in which they end."""
    ratios = {}
    for backwards in (False, True):
        inside, outside = _take_turns(
            lambda b=backwards: _fan_out(items, True, b),  # type: ignore[misc]
            lambda b=backwards: _fan_out(items, False, b),  # type: ignore[misc]
            rounds,
        )
        ratios[f"{items:,} items inside a fill{', backwards' if backwards else ''}"] = inside / outside
    return ratios


def join_ratio(fan_out: int, joiners: int, rounds: int) -> float:
    """Measure how long tasks that join a fill block the loop: one that awaits many others, to one that awaits none."""
    wide, narrow = _take_turns(lambda: _join(fan_out, joiners), lambda: _join(0, joiners), rounds)
    return wide / narrow


def _take_turns(
    one: Callable[[], Coroutine[Any, Any, float]], other: Callable[[], Coroutine[Any, Any, float]], rounds: int
) -> tuple[float, float]:
    """Run both in turn; return the least seconds of each."""
    seconds: tuple[list[float], list[float]] = [], []
    for _ in range(rounds):
        for times, run in zip(seconds, (one, other), strict=True):
            gc.collect()
            gc.disable()
            try:
                times.append(asyncio.run(run()))
            finally:
                gc.enable()
    return min(seconds[0]), min(seconds[1])


async def _fan_out(items: int, inside: bool, backwards: bool) -> float:
    """Have `items` items filled, all at once; return the seconds from the first to the last."""
    loop = asyncio.get_running_loop()
    futures: list[asyncio.Future[int]] = [loop.create_future() for _ in range(items)]

    async def wait_for_future(i: int) -> int:
        return await futures[i]

    item = AsyncAtomicCache(wait_for_future)

    async def total(_: object = None) -> int:
        return sum(await asyncio.gather(*map(item.fetch, range(items))))

    report = AtomicCache.memoize(total)
    began = time.thread_time()
    task = asyncio.ensure_future(report(None) if inside else total())
    while item.cache_info().fills < items:
        await asyncio.sleep(0)
    for i in reversed(range(items)) if backwards else range(items):
        futures[i].set_result(1)
        if i % 16 == 0:
            await asyncio.sleep(0)
    assert await task == items
    return time.thread_time() - began


async def _join(fan_out: int, joiners: int) -> float:
    """Have `joiners` tasks join a fill that awaits so many others; return the seconds of the turn of the loop."""
    gate = asyncio.Event()

    async def wait_for_gate(i: int) -> int:
        await gate.wait()
        return i

    items = AsyncAtomicCache(wait_for_gate)

    async def fill(_: str) -> int:
        found = await items.fetch_many(range(fan_out))
        await gate.wait()
        return len(found)

    report = AsyncAtomicCache(fill)
    first = asyncio.ensure_future(report["report"])
    while items.cache_info().fills < fan_out or not report.cache_info().fills:
        await asyncio.sleep(0)
    await asyncio.sleep(0)
    others: list[Awaitable[int]] = [asyncio.ensure_future(report["report"]) for _ in range(joiners)]
    began = time.thread_time()
    await asyncio.sleep(0)  # in this turn all of them join
    took = time.thread_time() - began
    gate.set()
    await asyncio.gather(first, *others)
    return took


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
