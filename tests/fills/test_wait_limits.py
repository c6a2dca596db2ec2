"""Limits that are longer than any lock or loop can wait are for ever: threading.TIMEOUT_MAX has it so.

Known fault, of 0.1.0: with `wait_timeout=timedelta.max`, a wait of more than a moment raised OverflowError.
"""

from __future__ import annotations

import asyncio
import threading
from datetime import timedelta
from typing import Any

import pytest

from areole import AsyncAtomicCache, AtomicCache, FillTimeout, Resilience
from areole._fill.task_waiter import limit_of
from areole._fill.threads import A_MOMENT

from ..kit import LOOPS, AsyncGate, Gate, assert_valid, run, start_threads, until, wait_until_waiting

LIMITS = [timedelta.max, 1e10, 1e300, threading.TIMEOUT_MAX * 2]


@pytest.mark.parametrize("limit", LIMITS, ids=str)
@pytest.mark.parametrize("kind", ["wait_timeout", "hard_timeout", "soft_timeout"])
def test_a_thread_waits_for_ever(limit: Any, kind: str) -> None:
    gate = Gate()

    def fill(key: str) -> str:
        gate.enter()
        return key

    cache: AtomicCache[str, str] = AtomicCache(fill, ttl=60, **options_of(kind, limit))
    join = start_threads(lambda: cache["key"], lambda: cache["key"])
    gate.wait_until_entered()
    wait_until_waiting(cache, 1)
    threading.Event().wait(3 * A_MOMENT)  # until after its second look
    gate.open()
    assert join() == ["key"] * 2
    assert_valid(cache)


@pytest.mark.parametrize("new_loop", LOOPS)
@pytest.mark.parametrize("limit", LIMITS, ids=str)
@pytest.mark.parametrize("kind", ["wait_timeout", "hard_timeout", "soft_timeout"])
def test_a_task_waits_for_ever(limit: Any, kind: str, new_loop: Any) -> None:
    gate = AsyncGate()

    async def fill(key: str) -> str:
        await gate.enter()
        return key

    cache: AsyncAtomicCache[str, str] = AsyncAtomicCache(fill, ttl=60, **options_of(kind, limit))

    async def main() -> list[str]:
        tasks = [asyncio.ensure_future(cache["key"]) for _ in range(2)]
        await until(lambda: cache.cache_info().waits)
        await asyncio.sleep(0.01)
        gate.open()
        return await asyncio.gather(*tasks)

    assert run(main, new_loop) == ["key"] * 2
    assert_valid(cache)


def options_of(kind: str, limit: Any) -> dict[str, Any]:
    if kind == "soft_timeout":
        return {"resilience": Resilience(stale_ttl=60, fail_safe=True, soft_timeout=limit)}
    return {kind: limit} if kind == "wait_timeout" else {"resilience": Resilience(hard_timeout=limit)}


def test_what_a_lock_can_wait_is_a_limit_still() -> None:
    assert limit_of(threading.TIMEOUT_MAX) == threading.TIMEOUT_MAX
    assert limit_of(None) == limit_of(float("inf")) == float("inf")
    assert threading.Lock().acquire(timeout=limit_of(threading.TIMEOUT_MAX))
    gate = Gate()
    cache: AtomicCache[str, None] = AtomicCache(lambda key: gate.enter(), wait_timeout=0.01)
    join = start_threads(lambda: cache["key"])
    gate.wait_until_entered()
    with pytest.raises(FillTimeout):
        cache["key"]
    gate.open()
    assert join() == [None]
    assert_valid(cache)
