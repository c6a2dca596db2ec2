"""`cached(shared)` for async def, mirroring test_cached_shared: all that asks the store is awaited."""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from areole import FillDeadlockError, RecursiveFillError, Storage, cached

from .test_cached_shared import make_cache

CALLS: list[Any] = []


@pytest.fixture(autouse=True)
def no_calls() -> None:
    CALLS.clear()


@pytest.fixture
def run(caches: Any) -> Iterator[Callable[..., Any]]:
    """Run a coroutine function with two caches, whose connections are closed on their loop."""

    async def closing(main: Callable[..., Any]) -> Any:
        shop, other = caches(), caches()
        async with shop.aio, other.aio:
            return await asyncio.wait_for(main(shop, other), 60)

    yield lambda main: asyncio.run(closing(main))


async def add(a: int, b: int = 0) -> int:
    CALLS.append((a, b))
    await asyncio.sleep(0)
    return a + b


async def user(user_id: int) -> dict[str, Any]:
    CALLS.append(user_id)
    return {"id": user_id}


def test_a_template_gives_the_key_in_the_store(run: Any) -> None:
    async def main(shop: Any, other: Any) -> None:
        get_user, elsewhere = cached(shop, key="user:{user_id}")(user), cached(other, key="user:{user_id}")(user)
        assert inspect.iscoroutinefunction(get_user)
        assert await get_user(7) == await elsewhere(user_id=7) == {"id": 7}
        assert CALLS == [7] and get_user.cache_key(7) == "user:7"
        assert await shop.aio.get("user:7") == shop.get("user:7") == {"id": 7}
        assert await other.aio.delete("user:7") and await get_user.peek(7) is None

    run(main)


def test_a_def_and_an_async_def_of_one_name_share_their_results(run: Any) -> None:
    def in_threads(a: int, b: int = 0) -> int:
        raise AssertionError

    async def main(shop: Any, other: Any) -> None:
        total = cached(shop, name="add")(add)
        assert [await total(1, 2), cached(other, name="add")(in_threads)(1, b=2)] == [3, 3]

    run(main)


def test_the_helpers_are_awaited(run: Any) -> None:
    async def main(shop: Any, other: Any) -> None:
        total, elsewhere = cached(shop)(add), cached(other)(add)
        assert [await total.peek(1, 2), await total.peek(1, 2, default=7)] == [None, 7]
        assert [await total(1, 2), await total.peek(1, b=2), await elsewhere.peek(1, 2)] == [3, 3, 3]
        assert [await elsewhere.purge(1, 2), await total.invalidate(1, 2)] == [True, False]
        assert await total.refresh(1, 2) == 3 and await elsewhere(1, 2) == 3 and len(CALLS) == 2
        assert total.cache_info().fills == 2 and total.cache_parameters()["wait"] is None
        await elsewhere.cache_clear()
        assert await total.peek(1, 2) is None

    run(main)


def test_tasks_that_make_one_call_run_it_once(run: Any) -> None:
    async def main(shop: Any, other: Any) -> None:
        total = cached(shop)(add)
        assert await asyncio.gather(*[total(1, 2) for _ in range(50)]) == [3] * 50
        assert CALLS == [(1, 2)]

    run(main)


def test_a_fill_that_is_running_is_not_stored_after_an_invalidation(run: Any) -> None:
    async def main(shop: Any, other: Any) -> None:
        for change in (lambda f: f.cache_clear(), lambda f: f.invalidate(1)):
            entered, go_on = asyncio.Event(), asyncio.Event()

            async def slow(a: int, entered: Any = entered, go_on: Any = go_on) -> int:
                entered.set()
                await go_on.wait()
                return a

            here, elsewhere = (cached(each, name="slow", ignore=["entered", "go_on"])(slow) for each in (shop, other))
            task = asyncio.create_task(here(1))
            await entered.wait()
            await change(elsewhere)
            go_on.set()
            assert await task == 1
            assert await here.peek(1) is None and await elsewhere.peek(1) is None

    run(main)


def test_a_caller_that_is_cancelled_leaves_the_fill_to_the_others(run: Any) -> None:
    async def main(shop: Any, other: Any) -> None:
        entered, go_on = asyncio.Event(), asyncio.Event()

        @cached(shop, name="slow")
        async def slow(a: int) -> int:
            CALLS.append(a)
            entered.set()
            await go_on.wait()
            return a

        tasks = [asyncio.create_task(slow(1)) for _ in range(3)]
        await entered.wait()
        tasks[0].cancel()
        with pytest.raises(asyncio.CancelledError):
            await tasks[0]
        go_on.set()
        assert [await each for each in tasks[1:]] == [1, 1] and CALLS == [1]

    run(main)


def test_what_the_function_raises_is_raised_and_not_stored(run: Any) -> None:
    async def main(shop: Any, other: Any) -> None:
        @cached(shop, name="fail")
        async def fail(a: int) -> int:
            CALLS.append(a)
            raise LookupError(a)

        @cached(shop, name="ask")
        async def ask(a: int) -> int:
            return await ask(a)

        for _ in range(2):
            with pytest.raises(LookupError):
                await fail(1)
        assert CALLS == [1, 1] and await fail.peek(1) is None
        with pytest.raises(RecursiveFillError, match="ask"):
            await ask(1)

    run(main)


def test_several_loops_use_one_function(caches: Any) -> None:
    """Known fault: several event loops on one cache are a RuntimeError, or a fill each."""
    shop = caches()
    total = cached(shop)(add)
    results: list[Any] = []

    async def main() -> None:
        async with shop.aio:
            results.append(await asyncio.gather(*[total(1, 2) for _ in range(5)]))

    threads = [threading.Thread(target=lambda: asyncio.run(main())) for _ in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join(60)
    assert results == [[3] * 5] * 4 and CALLS == [(1, 2)]


def test_skip_and_exclude(run: Any) -> None:
    async def main(shop: Any, other: Any) -> None:
        total = cached(shop, skip=lambda result: result > 9, exclude=lambda key, result: result == 5)(add)
        assert [await total(a) for a in (1, 1, 10, 10, 5, 5)] == [1, 1, 10, 10, 5, 5]
        assert len(CALLS) == 5

    run(main)


def test_one_fill_at_a_time_under_a_lock(run: Any) -> None:
    async def main(shop: Any, other: Any) -> None:
        lock, running, most = asyncio.Lock(), list[int](), list[int]()

        async def work(a: int) -> int:
            running.append(a)
            most.append(len(running))
            await asyncio.sleep(0.002)
            running.remove(a)
            return a

        one, second = (cached(shop, name=name, lock=lock)(work) for name in ("one", "other"))
        assert await asyncio.gather(*[f(a) for f in (one, second) for a in (1, 2, 1)]) == [1, 2, 1] * 2
        assert len(most) == 4 and max(most) == 1 and not lock.locked()

        @cached(shop, name="fib", lock=lock)
        async def fib(n: int) -> int:
            return n if n < 2 else await fib(n - 1) + await fib(n - 2)

        with pytest.raises(FillDeadlockError, match="the lock that the running fill has"):
            await fib(2)

    run(main)


def test_the_cache_of_an_async_def_is_chosen_at_each_call() -> None:
    async def main() -> None:
        shop, storage, chosen = make_cache(), Storage[Any](), []
        total: Any = cached(lambda: chosen[-1], key="sum:{a}:{b}")(add)
        for cache in (shop, storage, None, storage, shop):
            chosen.append(cache)
            assert await total(1, 2) == 3
        assert len(CALLS) == 3 and await shop.aio.get("sum:1:2") == 3
        for cache, was_there in ((shop, True), (storage, True), (None, False)):
            chosen.append(cache)
            assert await total.peek(1, 2) == (3 if was_there else None)
            assert await total.purge(1, 2) is was_there
            await total.cache_clear()
            assert await total.refresh(1, 2) == 3

    asyncio.run(main())
