"""Threads and loops on one cache: one leader, thread or task, and every waiter, thread or task, gets its outcome.

Known faults: several loops on one cache give a RuntimeError, or a fill each (moka-py, theine, cachebox, cashews,
aiocache, async-lru, all measured); waking a waiter whose loop has closed stops the later ones (anyio #1265).
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable
from typing import Any

import pytest

from areole import AsyncAtomicCache, AtomicCache, FillDeadlockError
from areole._fill import tasks as task_fills

from ..kit import (
    PATIENCE,
    AsyncGate,
    Gate,
    assert_valid,
    collect,
    every_index,
    run,
    run_python,
    run_threads,
    start_threads,
    until,
    wait_until_waiting,
)

OnLoop = Callable[..., Any]


def fills_on(loop: asyncio.AbstractEventLoop) -> list[Any]:
    return [flight.task for flight in task_fills.running_flights[loop]]


def bury(*tasks: Any) -> None:
    """Close tasks of a closed loop, of which asyncio would complain else."""
    for task in tasks:
        task._log_destroy_pending = False
        task.get_coro().close()


@every_index
def test_four_threads_and_four_loops_on_a_cold_key_make_one_fill(index: str) -> None:
    """Invariant 2, whoever leads; the fill ends only when the other fifteen wait."""
    calls: list[int] = []

    async def fill(burst: int) -> object:
        calls.append(burst)
        await until(lambda: cache.cache_info().waits == 19 * (burst + 1))
        return object()

    cache = AsyncAtomicCache(fill, index=index)
    for burst in range(10):

        async def ask(burst: int = burst) -> list[object]:
            return await asyncio.gather(*[cache[burst] for _ in range(4)])

        asking = [lambda ask=ask: run(ask)] * 4 + [lambda burst=burst: [cache.sync[burst]]] * 4
        results = run_threads(*asking)
        assert len({id(value) for row in results for value in row}) == 1, results
    assert calls == list(range(10))
    assert_valid(cache)


def test_a_leading_thread_brings_its_value_to_tasks(on_loop: OnLoop) -> None:
    gate, calls = Gate(), []

    def fill(key: str) -> object:
        calls.append(key)
        gate.enter()
        return object()

    cache = AtomicCache(fill)
    join = start_threads(lambda: cache["key"])
    gate.wait_until_entered()

    async def main() -> list[object]:
        asking = asyncio.gather(*[cache.aio["key"] for _ in range(5)])
        await until(lambda: cache.cache_info().waits == 5)
        gate.open()
        return await asking

    values = on_loop(main)
    assert {id(value) for value in values} == {id(join()[0])}
    assert calls == ["key"]
    assert_valid(cache)


def test_a_leading_thread_brings_its_exception_to_tasks_each_its_own(on_loop: OnLoop) -> None:
    gate = Gate()

    def fill(key: str) -> object:
        gate.enter()
        raise ValueError(key)

    cache = AtomicCache(fill)
    join = start_threads(lambda: cache["key"])
    gate.wait_until_entered()

    async def main() -> list[Any]:
        asking = asyncio.gather(*[cache.aio["key"] for _ in range(5)], return_exceptions=True)
        await until(lambda: cache.cache_info().waits == 5)
        gate.open()
        return await asking

    errors = [*on_loop(main), *join()]
    assert [repr(error) for error in errors] == ["ValueError('key')"] * 6
    assert len({id(error) for error in errors}) == 6
    assert_valid(cache)


def test_a_task_takes_over_from_a_thread_that_dies(on_loop: OnLoop) -> None:
    gate, calls = Gate(), []

    def fill(key: str) -> str:
        calls.append(key)
        if len(calls) == 1:
            gate.enter()
            raise SystemExit
        return "value"

    cache = AtomicCache(fill)
    join = start_threads(lambda: cache["key"])
    gate.wait_until_entered()

    async def main() -> list[str]:
        asking = asyncio.gather(*[cache.aio["key"] for _ in range(3)])
        await until(lambda: cache.cache_info().waits == 3)
        gate.open()
        return await asking

    assert on_loop(main) == ["value"] * 3
    assert [type(each) for each in join()] == [SystemExit]
    assert calls == ["key"] * 2
    assert_valid(cache)


def test_a_leading_task_brings_its_value_to_threads(on_loop: OnLoop) -> None:
    async def fill(key: str) -> object:
        await until(lambda: cache.cache_info().waits == 3)
        return object()

    cache = AsyncAtomicCache(fill)
    values: list[object] = []

    async def main() -> None:
        asking = asyncio.ensure_future(cache["key"])
        await until(lambda: cache.cache_info().fills == 1)
        join = start_threads(*[lambda: cache.sync["key"]] * 3)
        values.append(await asking)
        values.extend(await asyncio.to_thread(join))

    on_loop(main)
    assert len({id(value) for value in values}) == 1
    assert_valid(cache)


def test_a_thread_takes_over_when_the_loop_that_leads_is_closed_in_the_midst_of_it() -> None:
    """Invariant 4: nothing of the fill ever runs again, and its task is kept alive; still nobody waits for ever."""
    gate = AsyncGate()
    calls: list[str] = []

    async def fill(key: str) -> str:
        calls.append(key)
        if len(calls) == 1:
            await gate.enter()
        return "value"

    cache = AsyncAtomicCache(fill)
    loop = asyncio.new_event_loop()
    asking = loop.create_task(cache["key"])
    loop.run_until_complete(until(lambda: gate.entered))
    join = start_threads(lambda: cache.sync["key"], lambda: run(lambda: cache["key"]))
    wait_until_waiting(cache, 2)  # type: ignore[arg-type]
    filling = fills_on(loop)
    loop.close()
    assert join() == ["value"] * 2
    assert calls == ["key"] * 2
    assert_valid(cache)
    bury(asking, *filling)
    collect()
    assert_valid(cache)


def test_a_loop_that_closed_stops_no_other_waiter_from_being_woken() -> None:
    """Known fault: anyio #1265. The waiter on the closed loop is the second of three."""
    gate = Gate()

    def fill(key: str) -> str:
        gate.enter()
        return "value"

    cache = AtomicCache(fill)
    join = start_threads(lambda: cache["key"])
    gate.wait_until_entered()
    loops = [asyncio.new_event_loop() for _ in range(3)]
    tasks = []
    for n, loop in enumerate(loops):
        tasks.append(loop.create_task(cache.aio["key"]))
        loop.run_until_complete(until(lambda n=n: cache.cache_info().waits == n + 1))
    loops[1].close()
    gate.open()
    assert join() == ["value"]
    for n in (0, 2):
        assert loops[n].run_until_complete(asyncio.wait_for(tasks[n], PATIENCE)) == "value"
        loops[n].close()
    bury(tasks[1])
    assert_valid(cache)


def test_waiters_that_nobody_wakes_look_for_themselves(on_loop: OnLoop, monkeypatch: pytest.MonkeyPatch) -> None:
    """A leader may be interrupted between opening the latch and waking; a fork or a closed loop wakes nobody."""
    monkeypatch.setattr("areole._fill.protocol.wake", lambda flight: None)
    monkeypatch.setattr("areole._fill.task_waiter.POLL_SECONDS", 0.01)

    async def fill(key: str) -> str:
        await until(lambda: cache.cache_info().waits == 3)
        return "value"

    cache = AsyncAtomicCache(fill)

    async def main() -> list[str]:
        return await asyncio.gather(*[cache["key"] for _ in range(4)])

    assert on_loop(main) == ["value"] * 4
    assert_valid(cache)


def test_a_fill_whose_task_never_began_frees_its_key() -> None:
    """The loop is stopped between the claim and the first step of the task, and everything is collected."""

    async def fill(key: str) -> str:
        return "value"

    cache = AsyncAtomicCache(fill)
    loop = asyncio.new_event_loop()

    async def ask_and_stop() -> None:
        loop.stop()
        await cache["key"]

    task = loop.create_task(ask_and_stop())
    loop.run_forever()
    assert cache.cache_info().fills == 1
    filling = fills_on(loop)
    loop.close()
    assert run(lambda: cache["key"]) == "value"
    assert cache.cache_info().fills == 2
    bury(task, *filling)
    assert_valid(cache)


def test_a_blocking_lookup_on_a_loop_that_would_stop_the_very_fill_is_an_error(on_loop: OnLoop) -> None:
    gate = AsyncGate()

    async def fill(key: str) -> str:
        await gate.enter()
        return "value"

    cache = AsyncAtomicCache(fill)

    async def main() -> None:
        asking = asyncio.ensure_future(cache["key"])
        await until(lambda: gate.entered)
        with pytest.raises(FillDeadlockError, match="use `await` on an event loop"):
            cache.sync["key"]
        gate.open()
        assert await asking == cache.sync["key"] == "value"

    on_loop(main)
    assert_valid(cache)


def test_a_blocking_miss_of_an_async_fill_on_a_loop_is_an_error_that_says_what_to_do(on_loop: OnLoop) -> None:
    async def fill(key: str) -> str:
        return "value"

    cache = AsyncAtomicCache(fill)
    of_lambda = AsyncAtomicCache(lambda key: asyncio.sleep(0, "value"))

    async def main() -> None:
        with pytest.raises(RuntimeError, match="await the asynchronous cache"):
            cache.sync["key"]

    on_loop(main)
    assert cache.sync["key"] == of_lambda.sync["key"] == "value"
    assert_valid(cache)


def test_a_fill_led_by_a_thread_for_tasks_of_a_loop_runs_on_a_loop_of_its_own(on_loop: OnLoop) -> None:
    loops: list[asyncio.AbstractEventLoop] = []

    async def fill(key: str) -> str:
        loops.append(asyncio.get_running_loop())
        await until(lambda: cache.cache_info().waits == 1)
        return "value"

    cache = AsyncAtomicCache(fill)
    join = start_threads(lambda: cache.sync["key"])

    async def main() -> None:
        await until(lambda: loops)
        assert await cache["key"] == "value"
        assert loops[0] is not asyncio.get_running_loop()

    on_loop(main)
    assert join() == ["value"]
    assert_valid(cache)


def test_a_loop_goes_on_while_its_tasks_wait_for_a_thread(on_loop: OnLoop) -> None:
    """A loop is never blocked: the leading thread ends only when a timer and a callback of the loop have run."""
    ticks = threading.Semaphore(0)

    def fill(key: str) -> str:
        for _ in range(20):
            assert ticks.acquire(timeout=PATIENCE)
        return "value"

    cache = AtomicCache(fill)
    join = start_threads(lambda: cache["key"])

    async def main() -> None:
        await until(lambda: cache.cache_info().fills == 1)
        asking = asyncio.ensure_future(cache.aio["key"])
        for _ in range(20):
            await asyncio.sleep(0.0001)
            ticks.release()
        assert await asking == "value"

    on_loop(main)
    assert join() == ["value"]
    assert_valid(cache)


FORK = """
import asyncio, os, sys, threading, warnings
from areole import AsyncAtomicCache
from areole.testing import assert_valid
warnings.simplefilter("ignore")
parent = os.getpid()
begun = threading.Event()

async def fill(key):
    if os.getpid() == parent and key == "key":
        begun.set()
        await asyncio.sleep(3600)
    return key, os.getpid() == parent

cache = AsyncAtomicCache(fill)
threading.Thread(target=lambda: asyncio.run(cache.fetch("key")), daemon=True).start()
assert begun.wait(50)
child = os.fork()
if child == 0:
    {ask}
    assert_valid(cache)
    os._exit(0)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
print("end", flush=True)
os._exit(0)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@pytest.mark.parametrize(
    "ask",
    [
        'assert cache.sync["key"] == ("key", False)',
        'assert asyncio.run(cache.fetch("key")) == ("key", False)',
        'assert asyncio.run(cache.fetch_many(["key", "other"])) == {"key": ("key", False), "other": ("other", False)}',
        'assert asyncio.run(cache.refresh("key")) == ("key", False)',
        'assert cache.invalidate("key") is False; assert cache.sync["key"] == ("key", False)',
    ],
)
def test_a_child_forked_while_a_loop_fills_fills_that_key_itself(ask: str) -> None:
    """Invariant 10: the loops of the parent do not run in the child."""
    assert run_python(FORK.replace("{ask}", ask)) == "end\n"
