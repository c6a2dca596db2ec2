"""`InExecutor`: any backend, awaited, while its calls run in an executor's threads; `InPlace`, where none waits."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from areole.backends import AsyncBackend, BaseBackend, InExecutor, InPlace, MemoryBackend
from areole.errors import CacheClosedError

from ..kit import PATIENCE, run, run_threads, until

variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="none")


class Watched(BaseBackend):
    """Notes which thread calls it, and with which context; `get` waits until it may end."""

    is_shared = False
    clears_cheaply = True

    def __init__(self) -> None:
        self.threads: list[str] = []
        self.contexts: list[str] = []
        self.entered = threading.Event()
        self.may_end = threading.Event()
        self.may_end.set()
        self.ended = 0
        self.released: list[str] = []

    def get(self, key: str, /) -> bytes | None:
        self.threads.append(threading.current_thread().name)
        self.contexts.append(variable.get())
        self.entered.set()
        assert self.may_end.wait(PATIENCE)
        self.ended += 1
        if key == "bad":
            raise LookupError(key)
        return key.encode()

    def release_thread(self) -> None:
        self.released.append(threading.current_thread().name)


def test_calls_run_in_the_executor_and_say_what_the_backend_says() -> None:
    backend = Watched()
    with ThreadPoolExecutor(1, thread_name_prefix="mine") as executor:
        aio = InExecutor(backend, executor)
        assert isinstance(aio, AsyncBackend)
        assert (aio.is_shared, aio.clears_cheaply) == (False, True)

        async def main() -> None:
            assert await aio.get("k") == b"k"
            assert await aio.get_many(["a", "b"]) == [b"a", b"b"]
            with pytest.raises(LookupError, match="bad"):
                await aio.get("bad")

        run(main)
    assert set(backend.threads) == {"mine_0"}
    assert backend.released == ["mine_0"] * 3, "after each call, one that raised too"


def test_without_an_executor_it_is_the_loops_own() -> None:
    backend = Watched()

    async def main() -> None:
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(1, thread_name_prefix="of-loop"))
        await InExecutor(backend).get("k")

    run(main)
    assert backend.threads == ["of-loop_0"]


def test_context_variables_go_along() -> None:
    backend = Watched()
    aio = InExecutor(backend)

    async def main() -> None:
        async def read(name: str) -> None:
            variable.set(name)
            await aio.get("k")

        await asyncio.gather(read("one"), read("two"))
        await aio.get("k")

    run(main)
    assert sorted(backend.contexts) == ["none", "one", "two"]


def test_a_cancelled_call_goes_on_in_its_thread_and_the_next_gets_its_own_answer() -> None:
    backend = Watched()
    aio = InExecutor(backend)
    backend.may_end.clear()

    async def main() -> None:
        task = asyncio.create_task(aio.get("first"))
        await until(backend.entered.is_set)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert backend.ended == 0
        second = asyncio.create_task(aio.get("second"))
        backend.may_end.set()
        assert await second == b"second"
        await until(lambda: backend.ended == 2)

    run(main)


def test_a_cancelled_call_that_raises_is_dropped() -> None:
    backend = Watched()
    aio = InExecutor(backend)
    backend.may_end.clear()

    async def main() -> None:
        task = asyncio.create_task(aio.get("bad"))
        await until(backend.entered.is_set)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        backend.may_end.set()
        await until(lambda: backend.ended)

    run(main)  # fails if the loop is told of an exception


def test_a_call_that_has_not_begun_when_it_is_cancelled_is_not_made() -> None:
    backend = Watched()
    backend.may_end.clear()
    with ThreadPoolExecutor(1) as executor:
        aio = InExecutor(backend, executor)

        async def main() -> None:
            first = asyncio.create_task(aio.get("first"))
            await until(backend.entered.is_set)
            queued = asyncio.create_task(aio.get("queued"))
            await asyncio.sleep(0)
            queued.cancel()
            await asyncio.gather(queued, return_exceptions=True)
            backend.may_end.set()
            assert await first == b"first"

        run(main)
    assert backend.ended == 1


def test_the_loop_goes_on_meanwhile() -> None:
    backend = Watched()
    aio = InExecutor(backend)
    backend.may_end.clear()

    async def main() -> None:
        task = asyncio.create_task(aio.get("k"))
        await until(backend.entered.is_set)
        turns = 0
        for _ in range(10):
            await asyncio.sleep(0)
            turns += 1
        backend.may_end.set()
        assert await task == b"k"
        assert turns == 10

    run(main)


@pytest.mark.parametrize("adapter", [InExecutor, InPlace])
def test_any_number_of_loops_share_one(adapter: Any) -> None:
    aio = adapter(MemoryBackend())

    def use() -> int:
        async def main() -> int:
            added = await asyncio.gather(*(aio.set(f"k{each}", b"v", None, True) for each in range(50)))
            return sum(added)

        return run(main)

    assert sum(run_threads(use, use, use)) == 50


@pytest.mark.parametrize("adapter", [InExecutor, InPlace])
def test_closing_it_leaves_the_backend_open(adapter: Any) -> None:
    backend = MemoryBackend()
    aio = adapter(backend)

    async def main() -> None:
        async with aio as entered:
            assert entered is aio
            await aio.set("k", b"v")
        await aio.aclose()
        assert await aio.get("k") == b"v"

    run(main)
    assert backend.get("k") == b"v"
    backend.close()

    async def after() -> None:
        with pytest.raises(CacheClosedError):
            await aio.get("k")

    run(after)


def test_in_place_calls_run_in_the_loops_own_thread() -> None:
    backend = Watched()

    async def main() -> None:
        await InPlace(backend).get("k")

    run(main)
    assert backend.threads == [threading.current_thread().name]
    assert backend.released == []


def test_keys_may_come_from_a_generator_that_is_used_in_the_callers_thread() -> None:
    backend = MemoryBackend()
    backend.set_many({"a": b"1", "b": b"2"})
    threads: list[str] = []

    def keys() -> Any:
        for key in "abc":
            threads.append(threading.current_thread().name)
            yield key

    async def main() -> None:
        assert await InExecutor(backend).delete_many(keys()) == 2

    run(main)
    assert set(threads) == {threading.current_thread().name}
