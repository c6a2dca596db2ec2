"""`areole.cached` for async def, mirroring tests/memoize/test_cached.py."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from typing import Any

import pytest

from areole import AsyncAtomicCache, AtomicCache, RecursiveFillError, Resilience, Storage, cached
from areole.testing import ManualClock, assert_valid

from ..kit import AsyncGate, run, start_threads, until
from ..memoize.test_cached import MAKERS


@pytest.fixture(params=MAKERS.values(), ids=MAKERS)
def make(request: Any) -> Callable[..., Any]:
    maker: Callable[..., Any] = request.param
    return maker


def counted(calls: list[Any]) -> Callable[..., Any]:
    async def add(a: int, b: int = 0) -> int:
        calls.append((a, b))
        await asyncio.sleep(0)
        return a + b

    return add


def test_runs_once_for_each_key_however_the_call_is_written(make: Any) -> None:
    cache, calls = make(), []
    add = cached(cache)(counted(calls))
    assert inspect.iscoroutinefunction(add)

    async def main() -> list[int]:
        return [await add(1, 2), await add(1, b=2), await add(a=1, b=2), await add(1), await add(1, 0)]

    assert run(main) == [3, 3, 3, 1, 1]
    assert calls == [(1, 2), (1, 0)]
    assert_valid(cache)


def test_exclude_purge_and_a_template(make: Any) -> None:
    cache, calls = make(), []
    add: Any = cached(cache, key="sum:{a}:{b}", exclude=lambda key, result: (key, result) == ("sum:1:2", 3))(
        counted(calls)
    )

    async def main() -> None:
        assert [await add(1, 2), await add(1, b=2), await add(2), await add(2, 0)] == [3, 3, 2, 2]
        assert len(calls) == 3
        assert [add.purge(2), add.purge(2), await add(2)] == [True, False, 2]

    run(main)
    assert len(calls) == 4
    assert_valid(cache)


def test_a_hundred_tasks_make_one_call(make: Any) -> None:
    cache, calls = make(), []
    add = cached(cache)(counted(calls))

    async def main() -> list[int]:
        return await asyncio.gather(*[add(1) for _ in range(100)])

    assert run(main) == [1] * 100
    assert calls == [(1, 0)]
    info = add.cache_info()
    assert (info.misses, info.fills, info.waits) == (100, 1, 99)
    assert_valid(cache)


@pytest.mark.parametrize("kind", [AtomicCache, AsyncAtomicCache])
def test_skip_and_ttl_keep_their_meaning_in_a_cache_with_a_resilience(kind: Any) -> None:
    """After test_cached.py, which says more; the contract tests of resilience run over such functions too."""
    clock, results = ManualClock(), ["old", None, None, None, "new"]

    async def main() -> None:
        cache = kind(str, 10, resilience=Resilience(stale_ttl=5), clock=clock)

        @cached(cache, skip=lambda result: result is None, ttl=lambda key, result: 100)
        async def function(a: int) -> Any:
            return results.pop(0)

        assert await function(1) == "old"
        clock.advance(99)
        assert await function(1) == "old" and len(results) == 4
        clock.advance(1)
        assert await function(1) == "old"
        await until(lambda: len(results) == 3)
        await until(lambda: not cache._state.index.snapshot()[0].flight)
        assert await function.refresh(1) is None
        assert function.peek(1) is None
        clock.advance(5)
        assert [await function(1), await function(1)] == [None, "new"]
        info = function.cache_info()
        assert (info.fills, info.failures, info.background_fills, info.stale_hits) == (5, 0, 1, 1)
        assert_valid(cache)

    run(main)


def test_loops_in_threads_share_one_call(make: Any) -> None:
    cache, gate, calls = make(), AsyncGate(), []

    async def slow(a: int) -> int:
        calls.append(a)
        await gate.enter()
        return a

    function = cached(cache)(slow)
    join = start_threads(*[lambda: asyncio.run(call(function))] * 4)

    async def open_once_entered() -> None:
        await until(lambda: calls)
        gate.open()

    run(open_once_entered)
    assert join() == [1] * 4
    assert calls == [1]
    assert_valid(cache)


async def call(function: Any) -> Any:
    return await function(1)


def test_functions_of_both_kinds_share_a_cache_without_their_keys_meeting(make: Any) -> None:
    cache = make()
    of_threads, of_tasks = cached(cache)(lambda a: ("def", a)), cached(cache)(counted([]))
    assert (of_threads(1), run(lambda: of_tasks(1))) == (("def", 1), 1)
    of_tasks.cache_clear()
    assert (of_threads.peek(1), of_tasks.peek(1)) == (("def", 1), None)
    assert_valid(cache)


def test_skip_stores_nothing_and_everybody_gets_the_result(make: Any) -> None:
    cache, calls = make(), []
    add = cached(cache, skip=lambda result: result < 0)(counted(calls))

    async def main() -> list[int]:
        together = await asyncio.gather(*[add(-1) for _ in range(3)])
        return [*together, await add(-1), await add(1), await add(1)]

    assert run(main) == [-1, -1, -1, -1, 1, 1]
    assert calls == [(-1, 0), (-1, 0), (1, 0)]
    assert_valid(cache)


def test_a_refresh_whose_result_is_skipped_leaves_the_old_one(make: Any) -> None:
    cache, results = make(), ["first", None, "third"]

    async def pop(a: int) -> Any:
        return results.pop(0)

    function = cached(cache, skip=lambda result: result is None)(pop)

    async def main() -> list[Any]:
        return [
            await function(1),
            await function.refresh(1),
            await function(1),
            await function.refresh(1),
            await function(1),
        ]

    assert run(main) == ["first", None, "first", "third", "third"]
    assert_valid(cache)


def test_a_callable_ttl_gets_the_key_and_the_bare_result(make: Any) -> None:
    clock, calls, got = ManualClock(), [], []
    cache = make(clock=clock)

    def ttl(key: Any, value: Any) -> float:
        got.append((key, value))
        return 5

    add = cached(cache, ttl=ttl)(counted(calls))
    assert run(lambda: add(1, 2)) == 3
    clock.advance(4.9)
    assert run(lambda: add(1, 2)) == 3
    clock.advance(0.1)
    assert run(lambda: add(1, 2)) == 3
    assert len(calls) == 2
    assert got == [((1, 2), 3)] * 2
    assert_valid(cache)


def test_failures_are_counted_and_not_stored(make: Any) -> None:
    cache = make()

    async def fail(a: int) -> None:
        raise LookupError(a)

    function = cached(cache)(fail)
    for _ in range(2):
        with pytest.raises(LookupError):
            run(lambda: function(1))
    info = function.cache_info()
    assert (info.misses, info.fills, info.failures, info.currsize) == (2, 2, 2, 0)
    assert_valid(cache)


def test_an_invalidation_or_clear_during_the_call_wins(make: Any) -> None:
    for remove in (lambda function: function.invalidate(1), lambda function: function.cache_clear()):
        cache, gate = make(), AsyncGate()

        async def slow(a: int, gate: AsyncGate = gate) -> int:
            await gate.enter()
            return a

        function = cached(cache, ignore=("gate",))(slow)

        async def main(function: Any = function, gate: AsyncGate = gate, remove: Any = remove) -> int:
            task = asyncio.ensure_future(function(1))
            await until(lambda: gate.entered)
            remove(function)
            gate.open()
            return int(await task)

        assert run(main) == 1
        assert len(cache) == 0
        assert_valid(cache)


def test_the_last_to_be_cancelled_cancels_the_call(make: Any) -> None:
    cache, ended = make(), []

    async def slow(a: int) -> int:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            ended.append("cancelled")
            raise
        return a

    function = cached(cache)(slow)

    async def main() -> None:
        tasks = [asyncio.ensure_future(function(1)) for _ in range(2)]
        await until(lambda: function.cache_info().misses == 2)
        tasks[0].cancel()
        await asyncio.wait(tasks[:1])
        assert not ended
        tasks[1].cancel()
        await asyncio.wait(tasks)
        await until(lambda: ended)

    run(main)
    assert len(cache) == 0
    assert_valid(cache)


def test_a_call_that_makes_itself_is_an_error(make: Any) -> None:
    @cached(make())
    async def loop(n: int) -> Any:
        return await loop(n)

    with pytest.raises(RecursiveFillError):
        run(lambda: loop(1))


def test_methods() -> None:
    storage: Storage[Any] = Storage()

    class Shop:
        @cached(storage)
        async def price(self, a: int) -> int:
            return a

    shop = Shop()
    assert run(lambda: shop.price(5)) == 5
    assert shop.price.peek(5) == 5
    assert run(lambda: shop.price.refresh(5)) == 5
    assert shop.price.invalidate(5) is True
    assert inspect.iscoroutinefunction(shop.price)


def test_over_a_cache_that_both_kinds_fill() -> None:
    cache = AtomicCache(lambda key: "its own")
    add = cached(cache.aio)(counted([]))
    assert run(lambda: add(1)) == 1
    assert cache[1] == "its own"
    assert isinstance(cache.aio, AsyncAtomicCache)
    assert len(cache) == 2


def test_the_fill_of_the_cache_refuses_the_keys_of_functions() -> None:
    async def fill(key: Any) -> Any:
        return f"filled {key}"

    cache = AsyncAtomicCache[Any, Any](fill)

    @cached(cache)
    async def double(n: int) -> int:
        return 2 * n

    async def main() -> None:
        assert await double(1) == 2 and await cache["own"] == "filled own"
        (key,) = (key for key in cache if key != "own")
        with pytest.raises(TypeError, match="double"):
            await cache.refresh(key)
        assert await double(1) == 2 and await cache.refresh("own") == "filled own"

    run(main)
    assert_valid(cache)
