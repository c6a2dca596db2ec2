"""`SharedCache.aio`: the same cache for event loops."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import Any

import pytest

from areole import CACHE_MISS, BackendError, RecursiveFillError, SharedCache
from areole.backends import BaseBackend, MemoryBackend
from areole.backends.in_executor import InPlace

from ..kit import PATIENCE


def run(steps: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(asyncio.wait_for(steps, PATIENCE))


def make_cache(**options: Any) -> SharedCache[Any]:
    return SharedCache("memory://", namespace="shop", **options)


def test_it_does_what_the_cache_for_threads_does() -> None:
    cache = make_cache()

    async def main() -> None:
        async with cache.aio as aio:
            assert await aio.get("a") is None and await aio.get("a", 1) == 1
            assert await aio.set("a", [1]) and not await aio.set("a", [2], if_not_exists=True)
            assert await aio.get("a") == [1] == cache["a"]
            assert await aio.set_many({"b": 2, "c": 3}) == 2
            assert await aio.get_many(["c", "x", "a"]) == {"c": 3, "a": [1]}
            assert await aio.contains("c") and not await aio.contains("x")
            assert await aio.ttl_of("a") is None and await aio.ttl_of("x") is CACHE_MISS
            assert await aio.expire_in("a", 100) and await aio.expire_at("b", datetime.now() + timedelta(hours=1))
            assert 99 < await aio.ttl_of("a") <= 100
            assert await aio.add("x", 1) and not await aio.add("x", 2)
            assert await aio.delete("x") and not await aio.delete("x")
            assert await aio.delete_many(["b", "x"]) == 1
            assert await aio.refresh("c", lambda key: 4) == 4 == cache["c"]
            await aio.clear()
            assert await aio.get_many(["a", "c"]) == {}

    run(main())


def test_tasks_and_threads_share_one_fill() -> None:
    cache = make_cache()
    has_begun, may_end = threading.Event(), threading.Event()
    fills: list[Any] = []

    def fill(key: Any) -> int:
        fills.append(key)
        has_begun.set()
        assert may_end.wait(PATIENCE)
        return 1

    async def main() -> list[Any]:
        thread = asyncio.create_task(asyncio.to_thread(cache.get_or_fill, "a", fill))
        await asyncio.to_thread(has_begun.wait, PATIENCE)
        tasks = [asyncio.create_task(cache.aio.get_or_fill("a", fill)) for _ in range(3)]
        while cache.cache_info().waits < 3:
            await asyncio.sleep(0)
        may_end.set()
        return await asyncio.gather(thread, *tasks)

    assert run(main()) == [1] * 4 and fills == ["a"]


def test_two_loops_share_one_fill() -> None:
    cache = make_cache()
    has_begun = threading.Event()
    fills: list[Any] = []

    async def fill(key: Any) -> int:
        fills.append(key)
        has_begun.set()
        while cache.cache_info().waits < 1:
            await asyncio.sleep(0)
        return 1

    async def other() -> Any:
        await asyncio.to_thread(has_begun.wait, PATIENCE)
        return await cache.aio.get_or_fill("a", fill)

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(run, cache.aio.get_or_fill("a", fill))
        second = pool.submit(run, other())
        assert first.result(PATIENCE) == second.result(PATIENCE) == 1
    assert fills == ["a"]


def test_a_caller_that_is_cancelled_leaves_the_fill_running_for_the_others() -> None:
    cache = make_cache()

    async def main() -> None:
        may_end = asyncio.Event()

        async def fill(key: Any) -> int:
            await may_end.wait()
            return 1

        first, second = (asyncio.create_task(cache.aio.get_or_fill("a", fill)) for _ in range(2))
        while cache.cache_info().waits < 1:
            await asyncio.sleep(0)
        first.cancel()
        may_end.set()
        assert await second == 1 == await cache.aio.get("a")
        with pytest.raises(asyncio.CancelledError):
            await first

    run(main())


def test_a_fill_that_all_have_left_is_cancelled_and_its_key_is_free() -> None:
    cache = make_cache()

    async def main() -> None:
        was_cancelled = asyncio.Event()

        async def fill(key: Any) -> int:
            try:
                await asyncio.Event().wait()
            finally:
                was_cancelled.set()
            return 1

        task = asyncio.create_task(cache.aio.get_or_fill("a", fill))
        while not cache.cache_info().fills:
            await asyncio.sleep(0)
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await cache.aio.get_or_fill("a", lambda key: 2) == 2

    run(main())


def test_a_fill_that_asks_for_its_own_key_is_refused() -> None:
    cache = make_cache()

    async def fill(key: Any) -> Any:
        return await cache.aio.get_or_fill(key, fill)

    with pytest.raises(RecursiveFillError):
        run(cache.aio.get_or_fill("a", fill))

    def fill_in_thread(key: Any) -> Any:
        return cache.get_or_fill(key, fill_in_thread)

    with pytest.raises(RecursiveFillError):
        run(cache.aio.get_or_fill("b", fill_in_thread))


def test_a_plain_fill_sees_the_context_of_its_caller() -> None:
    variable: contextvars.ContextVar[int] = contextvars.ContextVar("variable")
    cache = make_cache()

    async def main() -> Any:
        variable.set(7)
        return await cache.aio.get_or_fill("a", lambda key: variable.get())

    assert run(main()) == 7


class OnlyAsync(InPlace):
    """A user's asynchronous backend."""


def test_an_asynchronous_backend_serves_loops_and_refuses_threads() -> None:
    cache = SharedCache[Any](OnlyAsync(MemoryBackend()), namespace="shop")
    assert run(cache.aio.get_or_fill("a", lambda key: 1)) == 1 == run(cache.aio.get("a"))
    with pytest.raises(TypeError, match=r"use `\.aio`"):
        cache.get("a")


def test_a_stalled_asynchronous_backend_is_left_in_time() -> None:
    class Stalled(OnlyAsync):
        async def get_many(self, keys: Any, /) -> list[bytes | None]:
            await asyncio.Event().wait()
            return []

    cache = SharedCache[Any](Stalled(MemoryBackend()), namespace="shop", timeout=0.01)
    with pytest.raises(BackendError):
        run(cache.aio.get("a"))


class InThreads(BaseBackend):
    """A user's plain backend, which must not run on the loop."""

    def __init__(self) -> None:
        self.inner = MemoryBackend()
        self.threads: set[str] = set()

    def __getattribute__(self, name: str) -> Any:
        if name in ("get", "get_many", "set", "take", "renew", "store_if_mine", "kill", "kill_many", "expire"):
            self.threads.add(threading.current_thread().name)
            return getattr(self.inner, name)
        return super().__getattribute__(name)

    take = renew = store_if_mine = expire = ttl_of = clear = None


def test_a_plain_backend_and_large_values_are_handled_in_the_executor() -> None:
    with ThreadPoolExecutor(1, thread_name_prefix="mine") as executor:
        coded: set[str] = set()

        class Slow:
            def dumps(self, value: Any) -> bytes:
                coded.add(threading.current_thread().name)
                return value.encode()

            def loads(self, data: bytes) -> Any:
                coded.add(threading.current_thread().name)
                return data.decode()

        cache = SharedCache[Any](InThreads(), namespace="shop", serializer=Slow(), executor=executor)
        large = "x" * 100_000

        async def main() -> None:
            assert await cache.aio.set("a", large)
            assert await cache.aio.get("a") == large

        run(main())
    assert coded == {"mine_0"}
