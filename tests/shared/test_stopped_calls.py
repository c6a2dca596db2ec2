"""Calls that are interrupted or cancelled anywhere leave nothing behind, and the next ones, of any thread, work.

What a failed fill leaves to those who wait for it, in this process and in others, is here too.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import pytest

from areole import BackendError, SharedCache
from areole.backends import MemoryBackend
from areole.backends.in_executor import InPlace
from areole.serializers import JsonSerializer
from areole.testing import ManualClock

from ..interleave import EXHAUSTIVE, Injected, before_each, inject, signal_steps
from ..kit import PATIENCE, Gate, run, run_threads, start_threads, until
from .kit import renewed_tokens

NAME = "shop:v1:a"


def fill(key: str) -> int:
    return 1


def fail(key: str) -> int:
    raise ZeroDivisionError(key)


CALLS: dict[str, Callable[[SharedCache[Any]], Any]] = {
    "get": lambda cache: cache.get("a"),
    "get_many": lambda cache: cache.get_many(["a", "b"]),
    "set": lambda cache: cache.set("a", 1),
    "set_many": lambda cache: cache.set_many({"a": 1, "b": 1}),
    "add": lambda cache: cache.add("b", 1),
    "delete": lambda cache: cache.delete("a"),
    "expire_in": lambda cache: cache.expire_in("a", 9),
    "clear": lambda cache: cache.clear(),
    "get_or_fill": lambda cache: cache.get_or_fill("b", fill),
    "get_or_fill, wait": lambda cache: cache.get_or_fill("b", fill, wait=1),
    "get_or_fill, failing": lambda cache: cache.get_or_fill("b", fail),
    "refresh": lambda cache: cache.refresh("a", fill),
}


def assert_works(cache: SharedCache[Any]) -> None:
    assert cache.get_or_fill("b", fill) == 1
    assert cache.set("a", 3) and cache["a"] == 3 and cache.delete("a")
    assert not list(cache._state.flights.entries), "a flight stays"
    assert not renewed_tokens(), "a renewal stays"


@pytest.mark.parametrize("name", CALLS)
def test_a_keyboard_interrupt_between_any_two_steps(name: str) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    def interrupt_at(step: int) -> Injected:
        cache = SharedCache[Any](MemoryBackend(), namespace="shop", serializer=JsonSerializer())
        cache["a"] = 1
        injected = inject(lambda: CALLS[name](cache), interrupt, step)
        if injected.places:
            assert isinstance(injected.result, KeyboardInterrupt), injected
        assert not renewed_tokens(), f"a renewal stays, {injected}"
        assert run_threads(lambda: assert_works(cache)) == [None], injected
        return injected

    assert before_each(signal_steps, interrupt_at, stride=1 if EXHAUSTIVE else 3) > 20


class Stopping(InPlace):
    """Stops in the n-th half of its calls: before it is done, or after."""

    def __init__(self, backend: MemoryBackend) -> None:
        super().__init__(backend)
        self.is_there = asyncio.Event()
        self.stops_at = -1

    async def _call(self, function: Any, /, *args: Any, **kwargs: Any) -> Any:
        await self._pass()
        result = function(*args, **kwargs)
        await self._pass()
        return result

    async def _pass(self) -> None:
        self.stops_at -= 1
        if self.stops_at == -1:
            self.is_there.set()
            await asyncio.Event().wait()


class Awaited(MemoryBackend):
    """A backend whose twin for loops stops."""

    def __init__(self) -> None:
        super().__init__()
        self.twin = Stopping(self)

    @property
    def aio(self) -> InPlace:
        return self.twin


async def fill_async(key: str) -> int:
    await asyncio.sleep(0)
    return 1


AWAITED: dict[str, Callable[[Any], Awaitable[Any]]] = {
    "set": lambda aio: aio.set("a", 1),
    "add": lambda aio: aio.add("b", 1),
    "delete": lambda aio: aio.delete("a"),
    "expire_in": lambda aio: aio.expire_in("a", 9),
    "clear": lambda aio: aio.clear(),
    "get_or_fill": lambda aio: aio.get_or_fill("b", fill_async),
    "get_or_fill, wait": lambda aio: aio.get_or_fill("b", fill_async, wait=1),
    "refresh": lambda aio: aio.refresh("a", fill_async),
}


@pytest.mark.parametrize("name", AWAITED)
def test_a_cancellation_in_each_call_of_the_store(name: str) -> None:
    async def cancel_at(stop: int) -> bool:
        """Cancel a call where it stops; say whether it did."""
        backend = Awaited()
        cache = SharedCache[Any](backend, namespace="shop", timeout=PATIENCE)
        cache["a"] = 1
        backend.twin.stops_at = stop
        task = asyncio.ensure_future(AWAITED[name](cache.aio))
        await until(lambda: task.done() or backend.twin.is_there.is_set())
        has_stopped = not task.done()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert task.cancelled() is has_stopped
        backend.twin.stops_at = -1
        assert await cache.aio.get_or_fill("b", fill_async) == 1
        assert_works(cache)
        return has_stopped

    stops = 0
    while run(partial(cancel_at, stops)):
        stops += 1
    assert stops >= 2


def test_each_caller_that_waited_for_a_failed_fill_gets_an_exception_of_its_own() -> None:
    cache, gate = SharedCache[Any]("memory://", namespace="shop"), Gate()

    def fail_later(key: str) -> int:
        gate.enter()
        raise ZeroDivisionError(key)

    calls = [lambda: cache.get_or_fill("a", fail_later)] * 4
    join = start_threads(*calls)
    gate.wait_until_entered()
    while cache.cache_info().waits < 3:
        threading.Event().wait(0.001)
    gate.open()
    errors = join()
    assert [type(error) for error in errors] == [ZeroDivisionError] * 4
    assert len(set(map(id, errors))) == 4 and {error.args for error in errors} == {("a",)}
    assert cache.get_or_fill("a", fill) == 1


@pytest.mark.parametrize("error", [ZeroDivisionError, KeyboardInterrupt, BackendError])
def test_a_fill_that_fails_leaves_no_token_but_the_one_that_it_had_joined(error: type[BaseException]) -> None:
    backend = MemoryBackend(clock=ManualClock())
    cache = SharedCache[Any](backend, namespace="shop")

    def fail_so(key: str) -> int:
        raise error("no")

    with pytest.raises(error):
        cache.get_or_fill("a", fail_so)
    assert backend.take(NAME, b"another's", 10.0) == (None, b"another's")
    with pytest.raises(error):
        cache.get_or_fill("a", fail_so)
    assert backend.store_if_mine(NAME, b"another's value", b"another's")


def test_a_cancelled_fill_leaves_no_token() -> None:
    backend = MemoryBackend(clock=ManualClock())
    cache = SharedCache[Any](backend, namespace="shop")

    async def main() -> None:
        has_begun = asyncio.Event()

        async def never_ends(key: str) -> None:
            has_begun.set()
            await asyncio.Event().wait()

        task = asyncio.create_task(cache.aio.get_or_fill("a", never_ends))
        await has_begun.wait()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    run(main)
    assert backend.take(NAME, b"another's", 10.0) == (None, b"another's")


def test_what_a_fill_raised_is_not_lost_where_its_token_cannot_be_released() -> None:
    backend = MemoryBackend()
    cache = SharedCache[Any](backend, namespace="shop")

    def close_and_fail(key: str) -> int:
        backend.close()
        raise ZeroDivisionError(key)

    with pytest.raises(ZeroDivisionError):
        cache.get_or_fill("a", close_and_fail)
