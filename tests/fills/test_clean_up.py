"""The last call on a fill that is cancelled returns when the fill has stopped: what it uses may be closed then.

Known fault, of 0.1.0: `asyncio.timeout` ended, the session was closed, and the fill's `finally` used it still.
"""

from __future__ import annotations

import asyncio
import itertools
import sys
import threading
from collections.abc import Callable
from typing import Any

import pytest

from areole import AsyncAtomicCache, AtomicCache, FillDeadlockError, FillTimeout, Resilience
from areole._fill import task_flight as _flight

from ..kit import PATIENCE, AsyncGate, Gate, assert_valid, run, run_threads, until

OnLoop = Callable[..., Any]

eager_tasks = pytest.mark.skipif(sys.version_info < (3, 12), reason="there are eager tasks from 3.12 on")


class Session:
    """What a fill uses, and its `finally` too, for some turns of the loop."""

    def __init__(self) -> None:
        self.log: list[str] = []

    async def __call__(self, key: Any) -> Any:
        self.log.append("begun")
        try:
            await asyncio.sleep(PATIENCE)
        finally:
            for _ in range(5):
                await asyncio.sleep(0)
            await asyncio.sleep(0.002)
            self.log.append("cleaned up")

    async def until_begun(self) -> None:
        await until(lambda: self.log)


async def ask_in_time(cache: AsyncAtomicCache[Any, Any], session: Session) -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(PATIENCE) as limit:
            asking = asyncio.current_task()
            assert asking is not None
            asyncio.get_running_loop().call_soon(watch, session, limit)
            await cache["key"]
    assert asking.cancelling() == 0


def watch(session: Session, limit: asyncio.Timeout) -> None:
    loop = asyncio.get_running_loop()
    if session.log:
        limit.reschedule(loop.time())
    else:
        loop.call_soon(watch, session, limit)


async def ask_in_a_group(cache: AsyncAtomicCache[Any, Any], session: Session) -> None:
    async def fail() -> None:
        await session.until_begun()
        raise KeyError

    with pytest.raises(ExceptionGroup) as caught:
        async with asyncio.TaskGroup() as group:
            group.create_task(cache.fetch("key"))
            group.create_task(fail())
    assert [type(each) for each in caught.value.exceptions] == [KeyError]


async def ask_with_wait_for(cache: AsyncAtomicCache[Any, Any], session: Session) -> None:
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(cache["key"], 0.02)


async def ask_and_cancel(cache: AsyncAtomicCache[Any, Any], session: Session) -> None:
    task = asyncio.ensure_future(cache["key"])
    await session.until_begun()
    task.cancel("why")
    with pytest.raises(asyncio.CancelledError, match="why"):
        await task
    assert task.cancelled()


async def ask_for_many(cache: AsyncAtomicCache[Any, Any], session: Session) -> None:
    task = asyncio.ensure_future(cache.fetch_many(["key"]))
    await session.until_begun()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def refresh(cache: AsyncAtomicCache[Any, Any], session: Session) -> None:
    task = asyncio.ensure_future(cache.refresh("key"))
    await session.until_begun()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def join_and_cancel_both(cache: AsyncAtomicCache[Any, Any], session: Session) -> None:
    """The one that had begun the fill is cancelled first, and returns at once: it is not the last one."""
    first, last = asyncio.ensure_future(cache["key"]), asyncio.ensure_future(cache["key"])
    await session.until_begun()
    await until(lambda: cache.cache_info().waits)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    assert session.log == ["begun"]
    last.cancel()
    with pytest.raises(asyncio.CancelledError):
        await last


WAYS: dict[str, Callable[[AsyncAtomicCache[Any, Any], Session], Any]] = {
    "timeout": ask_in_time,
    "TaskGroup": ask_in_a_group,
    "wait_for": ask_with_wait_for,
    "cancel": ask_and_cancel,
    "fetch_many": ask_for_many,
    "refresh": refresh,
    "the last of two": join_and_cancel_both,
}


@pytest.mark.parametrize(
    "options",
    [{}, {"max_items": 3}, {"resilience": Resilience(hard_timeout=30)}],
    ids=["plain", "bounded", "resilient"],
)
@pytest.mark.parametrize("way", WAYS)
def test_a_cancelled_call_returns_after_the_fill_has_cleaned_up(on_loop: OnLoop, way: str, options: Any) -> None:
    session = Session()
    cache = AsyncAtomicCache(session, **options)

    async def main() -> None:
        await WAYS[way](cache, session)
        assert session.log == ["begun", "cleaned up"]

    on_loop(main)
    assert "key" not in cache
    assert_valid(cache)


@eager_tasks
@pytest.mark.parametrize("way", WAYS)
def test_the_same_with_eager_tasks(way: str) -> None:
    session = Session()
    cache = AsyncAtomicCache(session)

    async def main() -> None:
        asyncio.get_running_loop().set_task_factory(asyncio.eager_task_factory)  # type: ignore[attr-defined,unused-ignore]
        await WAYS[way](cache, session)
        assert session.log == ["begun", "cleaned up"]

    run(main)
    assert_valid(cache)


def test_a_memoized_function_and_method_too(on_loop: OnLoop) -> None:
    session = Session()

    class Owner:
        @AtomicCache.memoize
        async def method(self) -> Any:
            return await session("key")

    @AtomicCache.memoize
    async def function() -> Any:
        return await session("key")

    async def main() -> None:
        owner = Owner()
        for ask in (function, owner.method):
            session.log.clear()
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(ask(), 0.02)
            assert session.log == ["begun", "cleaned up"]

    on_loop(main)


def test_a_fill_that_goes_on_is_not_waited_for(on_loop: OnLoop) -> None:
    gate = AsyncGate()

    async def fill(key: str) -> str:
        await gate.enter()
        return key

    cache = AsyncAtomicCache(fill, on_abandon="complete")

    async def main() -> None:
        task = asyncio.ensure_future(cache["key"])
        await until(lambda: gate.entered)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not gate.cancelled
        gate.open()
        await until(lambda: cache.peek("key") == "key")

    on_loop(main)
    assert_valid(cache)


@pytest.mark.parametrize("is_own", [True, False], ids=["its own fill", "another's"])
def test_a_second_cancellation_ends_the_wait_for_a_fill_that_will_not_stop(
    on_loop: OnLoop, is_own: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_flight, "CANCELLED_AGAIN", 0.001)
    gate, stubborn = AsyncGate(), AsyncGate()

    async def fill(key: str) -> str:
        try:
            await gate.enter()
        except asyncio.CancelledError:
            await stubborn.enter()
        return key

    cache = AsyncAtomicCache(fill)

    async def main() -> None:
        tasks = [asyncio.ensure_future(cache["key"]) for _ in range(2)]
        await until(lambda: gate.entered and cache.cache_info().waits == 1)
        tasks[1 if is_own else 0].cancel()
        await asyncio.wait([tasks[1 if is_own else 0]])
        task = tasks[0 if is_own else 1]
        task.cancel()
        await until(lambda: stubborn.entered)
        assert not task.done()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not stubborn.cancelled  # the fill itself was cancelled once
        stubborn.open()

    on_loop(main)
    assert "key" not in cache
    assert_valid(cache)


def test_a_call_that_is_closed_does_not_wait(on_loop: OnLoop) -> None:
    session = Session()
    cache = AsyncAtomicCache(session)

    async def main() -> None:
        for end in ("close", GeneratorExit, KeyboardInterrupt):
            session.log.clear()
            call = cache["key"]
            call.send(None)
            await session.until_begun()
            if end == "close":
                call.close()
            else:
                with pytest.raises(end):  # type: ignore[arg-type]
                    call.throw(end)  # type: ignore[arg-type]
            assert session.log == ["begun"]
            await until(lambda: len(session.log) == 2)

    on_loop(main)
    assert_valid(cache)


def test_a_wait_that_took_too_long_does_not_wait_for_the_cleaning_up(on_loop: OnLoop) -> None:
    """The limit is one: the last to leave, which had joined, gives up in time."""
    gate, stubborn = AsyncGate(), AsyncGate()

    async def fill(key: str) -> str:
        try:
            await gate.enter()
        finally:
            await stubborn.enter()
        return key

    cache = AsyncAtomicCache(fill, wait_timeout=0.01)

    async def main() -> None:
        first = asyncio.ensure_future(cache["key"])
        await until(lambda: gate.entered)
        joined = asyncio.ensure_future(cache["key"])
        await until(lambda: cache.cache_info().waits)
        first.cancel()
        with pytest.raises(FillTimeout):
            await joined  # though the gate is closed
        await until(lambda: stubborn.entered)
        stubborn.open()

    on_loop(main)
    assert_valid(cache)


def test_the_fill_may_run_on_another_loop() -> None:
    """Cancelled from here, cleaned up there; and the call here waits for it without blocking its loop."""
    session, begun = Session(), threading.Event()
    over = threading.Event()
    cache = AsyncAtomicCache(session)

    async def lead() -> None:
        task = asyncio.ensure_future(cache["key"])
        await session.until_begun()
        begun.set()
        await until(lambda: cache.cache_info().waits)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await until(over.is_set)

    async def join() -> list[str]:
        await asyncio.to_thread(begun.wait, PATIENCE)
        task = asyncio.ensure_future(cache["key"])
        await until(lambda: cache.cache_info().waits)
        flight: Any = cache._state.index.snapshot()[0].flight
        await until(lambda: len(flight.joiners) == 1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        log = session.log.copy()
        over.set()
        return log

    assert run_threads(lambda: run(lead), lambda: run(join)) == [None, ["begun", "cleaned up"]]
    assert_valid(cache)


@pytest.mark.parametrize("is_closed", [False, True], ids=["stopped", "closed"])
def test_a_loop_that_does_not_run_any_more_is_not_waited_for(is_closed: bool) -> None:
    gate = AsyncGate()

    async def fill(key: str) -> str:
        await gate.enter()
        return key

    cache = AsyncAtomicCache(fill)
    stopped = asyncio.new_event_loop()
    leader = stopped.create_task(cache.fetch("key"))
    while not gate.entered:
        stopped.run_until_complete(asyncio.sleep(0))
    flight: Any = cache._state.index.snapshot()[0].flight

    async def main() -> None:
        joined = asyncio.ensure_future(cache["key"])
        await until(lambda: len(flight.joiners) == 2)
        flight.joiners = dict.fromkeys(list(flight.joiners)[1:])  # the leader's own call has left
        if is_closed:
            stopped.close()
        joined.cancel()
        with pytest.raises(asyncio.CancelledError):
            await joined

    run(main)
    if not is_closed:
        gate.open()
        leader.cancel()
        with pytest.raises((asyncio.CancelledError, RuntimeError)):
            stopped.run_until_complete(leader)
        stopped.run_until_complete(until(lambda: not asyncio.all_tasks(stopped) - {asyncio.current_task()}))
        stopped.close()
    else:
        for task in (leader, flight.task):
            task._log_destroy_pending = False
            task.get_coro().close()
    assert_valid(cache)


def test_a_loop_that_is_shut_down_cancels_a_fill_once() -> None:
    """asyncio.run cancels the call and the fill: were the fill cancelled by the call too, its `finally` would end."""
    for callers in (1, 2):
        log: list[str] = []

        async def fill(key: str, log: list[str] = log) -> None:
            log.append("begun")
            try:
                await asyncio.sleep(PATIENCE)
            finally:
                for _ in range(6):
                    await asyncio.sleep(0)
                log.append("cleaned up")

        cache = AsyncAtomicCache(fill)

        async def main(cache: Any = cache, callers: int = callers, log: Any = log) -> None:
            tasks = [asyncio.ensure_future(cache["key"]) for _ in range(callers)]
            await until(lambda: log)
            assert not any(task.done() for task in tasks)

        asyncio.run(main())
        assert log == ["begun", "cleaned up"]
        assert_valid(cache)


@pytest.mark.parametrize("turns", range(8))
def test_a_call_does_not_cancel_a_fill_that_others_have_cancelled(on_loop: OnLoop, turns: int) -> None:
    """Nor, after so many turns of the loop, its cleaning up."""
    session = Session()
    cache = AsyncAtomicCache(session)

    async def main() -> None:
        task = asyncio.ensure_future(cache["key"])
        await session.until_begun()
        cache._state.index.snapshot()[0].flight.task.cancel()
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert session.log == ["begun", "cleaned up"]

    on_loop(main)
    assert_valid(cache)


def test_a_fill_that_is_in_a_timeout_of_its_own_as_it_is_abandoned_is_cancelled_after_it(
    on_loop: OnLoop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While its timeout cancels it, nobody else may; afterwards it goes on, and is to be stopped."""
    monkeypatch.setattr(_flight, "CANCEL_AGAIN", 0.001)
    log: list[str] = []
    inner = AsyncGate()

    async def fill(key: str) -> None:
        try:
            async with asyncio.timeout(0):
                try:
                    await asyncio.sleep(PATIENCE)
                finally:
                    await inner.enter()
        except TimeoutError:
            log.append("timed out")
        try:
            await asyncio.sleep(PATIENCE)
        finally:
            log.append("cancelled")

    cache = AsyncAtomicCache(fill)

    async def main() -> None:
        task = asyncio.ensure_future(cache["key"])
        await until(lambda: inner.entered)
        task.cancel()
        await asyncio.sleep(0.005)
        inner.open()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert log == ["timed out", "cancelled"]

    on_loop(main)
    assert inner.cancelled == 0
    assert_valid(cache)


def test_a_fill_is_not_waited_for_by_a_fill_that_its_cleaning_up_needs(on_loop: OnLoop) -> None:
    """1. outer's fill asks for inner, in a timeout     2. inner's `finally` asks for outer, and waits for its fill

    Allowed: the `finally` gets FillDeadlockError, as outer waits for it.
    """
    log: list[Any] = []

    async def fill(key: str) -> str:
        if key == "inner":
            try:
                await asyncio.sleep(PATIENCE)
            finally:
                try:
                    log.append(await cache["outer"])
                except FillDeadlockError as error:
                    log.append(error)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(cache["inner"], 0.01)
        return "outer"

    cache: AsyncAtomicCache[str, str] = AsyncAtomicCache(fill)
    assert on_loop(lambda: cache["outer"]) == "outer"
    assert [type(each) for each in log] == [FillDeadlockError]
    assert_valid(cache)


def test_a_cleaning_up_that_waits_for_the_fill_already_is_not_waited_for(on_loop: OnLoop) -> None:
    """The other way round: the `finally` waits for outer's fill before that would wait for it."""
    log: list[str] = []
    waiting = asyncio.Event

    async def main() -> Any:
        goes_on = waiting()

        async def fill(key: str) -> Any:
            if key == "inner":
                try:
                    await asyncio.sleep(PATIENCE)
                finally:
                    log.append("waits")
                    log.append(await cache["outer"])
            if key == "outer":
                await goes_on.wait()
                with pytest.raises(asyncio.CancelledError):
                    await joining
            return key

        cache: AsyncAtomicCache[str, Any] = AsyncAtomicCache(fill)
        joining = asyncio.ensure_future(cache["inner"])
        outer = asyncio.ensure_future(cache["outer"])
        await until(lambda: cache.cache_info().fills == 2)
        joining.cancel()
        await until(lambda: "waits" in log)
        joining.cancel()
        goes_on.set()
        result = await outer
        await until(lambda: len(log) == 2)
        assert_valid(cache)
        return result

    assert on_loop(main) == "outer"
    assert log == ["waits", "outer"]


@eager_tasks
def test_an_eager_task_whose_first_step_is_interrupted_is_not_logged_as_lost() -> None:
    """The call gets the interrupt; its task, which nobody sees, is done with it too. Then the key can be filled."""
    complaints: list[Any] = []
    interrupts = itertools.count()

    async def fill(key: str) -> str:
        if not next(interrupts):
            raise KeyboardInterrupt
        return key

    cache = AsyncAtomicCache(fill)

    async def main() -> str:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda loop, context: complaints.append(context))
        loop.set_task_factory(asyncio.eager_task_factory)  # type: ignore[attr-defined,unused-ignore]
        with pytest.raises(KeyboardInterrupt):
            await cache["key"]
        return await cache["key"]

    assert run(main) == "key"
    assert complaints == []
    assert_valid(cache)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("is_made", [True, False], ids=["made", "not made"])
def test_a_task_that_is_lost_as_it_is_made_leaves_nothing(on_loop: OnLoop, is_made: bool) -> None:
    """An interrupt comes between the making of a task and its return to the library; or there is none to be had."""
    made: list[Any] = []
    entered = Gate()

    async def fill(key: str) -> str:
        entered.enter()
        return key

    cache = AsyncAtomicCache(fill)

    async def main() -> None:
        loop = asyncio.get_running_loop()

        def factory(loop: Any, coroutine: Any, **options: Any) -> Any:
            loop.set_task_factory(None)
            if is_made:
                made.append(asyncio.Task(coroutine, loop=loop, **options))
            raise KeyboardInterrupt

        loop.set_task_factory(factory)
        with pytest.raises(KeyboardInterrupt):
            await cache["key"]
        assert len(made) == is_made
        made.clear()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        entered.open()
        assert await cache["key"] == "key"

    on_loop(main)
    assert cache.cache_info().fills == 2
    assert_valid(cache)


def test_without_a_loop_of_asyncio_a_hit_is_returned_and_a_miss_says_what_it_needs() -> None:
    """As under trio, whose tasks have none: 0.1.0 raised "no running event loop"."""

    async def fill(key: str) -> str:
        return key

    for options in ({}, {"resilience": Resilience(hard_timeout=30)}):
        cache = AsyncAtomicCache(fill, name="users", **options)  # type: ignore[arg-type]
        assert asyncio.run(cache.fetch("there")) == "there"
        with pytest.raises(StopIteration, match="there"):
            cache["there"].send(None)
        for ask in (cache.fetch, cache.refresh, lambda key, cache=cache: cache.fetch_many([key, "there", "other"])):
            with pytest.raises(RuntimeError, match=r"^users: no asyncio event loop .*trio"):
                ask("key").send(None)
        assert_valid(cache)


def test_a_call_that_is_cancelled_at_each_turn_of_the_loop_returns_when_its_fill_has_stopped(on_loop: OnLoop) -> None:
    """As anyio does it, until the task has left its scope: FastAPI, Starlette, httpx."""
    gate, seen = AsyncGate(), list[str]()

    async def fill(key: str) -> str:
        try:
            await gate.enter()
        finally:
            for _ in range(5):
                await asyncio.sleep(0)
            seen.append("stopped")
        return key

    cache = AsyncAtomicCache(fill)

    async def main() -> None:
        task = asyncio.ensure_future(cache["key"])
        await until(lambda: gate.entered)
        while not task.done():
            task.cancel()
            await asyncio.sleep(0)
        assert task.cancelled() and seen == ["stopped"]

    on_loop(main)
    assert_valid(cache)
