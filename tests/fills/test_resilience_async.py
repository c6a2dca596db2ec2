"""What a Resilience promises tasks, as test_resilience.py has it for threads. The clock moves only when told to.

No test waits for time to pass: fills are held at gates, and a timeout that is to pass is a few milliseconds, of a fill
that is never let through before it has.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import pytest

from areole import AsyncAtomicCache, AtomicCache, CacheInfo, FillTimeout, Resilience, cached
from areole._fill import tasks as task_fills

from ..kit import PATIENCE, AsyncGate, ManualClock, assert_valid, run, start_threads, until, wait_until_settled
from ..kit import settle as settle_pool

OnLoop = Callable[..., Any]
AT_ONCE = Resilience(stale_ttl=5)
IN_NEED = Resilience(stale_ttl=5, fail_safe=True)
SHORT = 0.002


class Subject:
    """One cache of ("a", number of the fill); the fill of number `held` stops at a gate."""

    def __init__(self, resilience: Resilience, ttl: float | None = 10, **options: Any) -> None:
        self.keys: list[Any] = []
        self.error: BaseException | None = None
        self.gate, self.held = AsyncGate(), 0
        self.clock = ManualClock()
        self.make(ttl, resilience=resilience, clock=self.clock, **options)

    async def fill(self, key: Any) -> Any:
        self.keys.append(key)
        number = len(self.keys)
        if number == self.held:
            await self.gate.enter()
        if self.error is not None:
            raise self.error
        return key, number

    cache: Any

    def make(self, ttl: float | None, **options: Any) -> None:
        self.cache = AsyncAtomicCache(self.fill, ttl, **options)

    async def look_up(self) -> Any:
        return await self.cache["a"]

    async def filled(self, seconds: float) -> None:
        """Fill, and let so many seconds pass."""
        assert await self.look_up() == ("a", 1)
        self.clock.advance(seconds)

    def get(self) -> Any:
        return self.cache.get("a")

    def invalidate(self) -> Any:
        return self.cache.invalidate("a")

    def info(self) -> CacheInfo:
        info: CacheInfo = self.cache.cache_info()
        return info

    async def settle(self) -> None:
        """Return once no fill is on its way on this loop."""
        await until(lambda: asyncio.get_running_loop() not in task_fills.running_flights)
        assert_valid(self.cache)


class Bounded(Subject):
    def make(self, ttl: float | None, **options: Any) -> None:
        super().make(ttl, max_items=10, policy="lru", stats=True, **options)


class OfFunction(Subject):
    kind: Any = AsyncAtomicCache

    def make(self, ttl: float | None, **options: Any) -> None:
        @self.kind.memoize(ttl, **options)
        async def function(key: Any) -> Any:
            return await self.fill(key)

        self.function = function
        self.cache = function.cache

    async def look_up(self) -> Any:
        return await self.function("a")

    def get(self) -> Any:
        return self.function.peek("a")

    def invalidate(self) -> Any:
        return self.function.invalidate("a")

    def info(self) -> CacheInfo:
        info: CacheInfo = self.function.cache_info()
        return info


class OfAtomicFunction(OfFunction):
    kind = AtomicCache


class OfCached(OfFunction):
    def make(self, ttl: float | None, **options: Any) -> None:
        self.cache = AsyncAtomicCache(_own_fill, ttl, **options)
        self.function = cached(self.cache)(self.fill)


class OfCachedInAtomic(OfFunction):
    def make(self, ttl: float | None, **options: Any) -> None:
        self.cache = AtomicCache(_own_fill, ttl, max_items=10, **options)
        self.function = cached(self.cache)(self.fill)


def _own_fill(key: Any) -> Any:
    raise AssertionError("the cache's own fill has no part in this")


class OfMethod(OfFunction):
    def make(self, ttl: float | None, **options: Any) -> None:
        fill = self.fill

        class Owner:
            @AtomicCache.memoize(ttl, **options)
            async def method(self, key: Any) -> Any:
                return await fill(key)

        self.owner = Owner()
        self.function = self.owner.method
        self.cache = self.function.cache


Kind = type[Subject]
SUBJECTS = [Subject, Bounded, OfFunction, OfAtomicFunction, OfMethod, OfCached, OfCachedInAtomic]
every_subject = pytest.mark.parametrize("kind", SUBJECTS)


def test_a_stale_value_is_served_at_once_and_refreshed_behind(on_loop: OnLoop) -> None:
    for kind in SUBJECTS:

        async def main(kind: Kind = kind) -> None:
            subject = kind(AT_ONCE)
            await subject.filled(10)
            assert len(subject.cache) == 0  # it is stale, and for lookups that fill alone
            assert await subject.look_up() == ("a", 1)
            await subject.settle()
            assert await subject.look_up() == subject.get() == ("a", 2)
            info = subject.info()
            assert (info.misses, info.fills, info.stale_hits, info.background_fills) == (1, 2, 1, 1)

        on_loop(main)


@every_subject
def test_nothing_older_than_ttl_and_stale_ttl_is_served(kind: Kind) -> None:
    async def main() -> None:
        subject = kind(AT_ONCE)
        await subject.filled(15)
        assert await subject.look_up() == ("a", 2)
        subject.held = 3
        subject.clock.advance(15 - 2**-20)
        assert await subject.look_up() == ("a", 2)
        subject.clock.advance(2**-20)
        late = asyncio.ensure_future(subject.look_up())
        await until(lambda: subject.info().waits == 1)
        subject.gate.open()
        assert await late == ("a", 3)
        await subject.settle()

    run(main)


def test_a_hundred_tasks_make_one_background_fill(on_loop: OnLoop) -> None:
    for resilience, seconds in ((AT_ONCE, 10), (Resilience(refresh_ahead=0.5), 5)):

        async def main(resilience: Resilience = resilience, seconds: float = seconds) -> None:
            subject = Subject(resilience)
            await subject.filled(seconds)
            subject.held = 2
            assert await asyncio.gather(*[subject.look_up() for _ in range(100)]) == [("a", 1)] * 100
            assert await subject.cache.fetch_many([*"a"]) == {"a": ("a", 1)}
            subject.gate.open()
            await subject.settle()
            assert await subject.look_up() == ("a", 2)
            assert subject.info().background_fills == 1 and len(subject.keys) == 2

        on_loop(main)


@every_subject
def test_an_invalidation_during_a_background_fill_wins(kind: Kind) -> None:
    async def main() -> None:
        subject = kind(AT_ONCE)
        await subject.filled(10)
        subject.held = 2
        assert await subject.look_up() == ("a", 1)
        await until(lambda: subject.gate.entered)
        assert subject.invalidate() is True
        assert await subject.look_up() == ("a", 3)
        subject.gate.open()
        await subject.settle()
        assert await subject.look_up() == subject.get() == ("a", 3)

    run(main)


@every_subject
def test_a_failing_background_fill_is_held_off_and_told_of_once(kind: Kind, caplog: Any) -> None:
    async def main() -> None:
        subject = kind(AT_ONCE)
        await subject.filled(10)
        subject.error = ValueError("secret")
        for _ in range(3):
            assert await subject.look_up() == ("a", 1)
            await subject.settle()
        assert len(subject.keys) == 2 and subject.info().failures == 1
        assert [record.levelno for record in caplog.records] == [logging.WARNING]
        assert "ValueError" in caplog.text and "secret" not in caplog.text
        subject.clock.advance(1)
        subject.error = None
        assert await subject.look_up() == ("a", 1)
        await subject.settle()
        assert await subject.look_up() == ("a", 3)

    run(main)


@every_subject
def test_fail_safe_serves_the_stale_value_where_the_fill_raises(kind: Kind) -> None:
    async def main() -> None:
        subject = kind(IN_NEED)
        await subject.filled(10)
        subject.error = ValueError()
        subject.held = 2
        asking = asyncio.gather(*[subject.look_up() for _ in range(5)])
        await until(lambda: subject.info().waits == 4)
        subject.gate.open()
        assert await asking == [("a", 1)] * 5
        info = subject.info()
        assert (info.misses, info.fills, info.failures, info.stale_hits) == (1, 2, 1, 5)
        assert await subject.look_up() == ("a", 1) and len(subject.keys) == 2  # it does not try for a second
        subject.clock.advance(5)
        with pytest.raises(ValueError):
            await subject.look_up()
        subject.error = None
        assert await subject.look_up() == ("a", 4)
        await subject.settle()

    run(main)


def test_a_slow_fill_is_left_to_itself_for_the_stale_value(on_loop: OnLoop) -> None:
    async def main() -> None:
        subject = Subject(Resilience(stale_ttl=5, fail_safe=True, soft_timeout=SHORT))
        await subject.filled(10)
        subject.held = 2
        assert await asyncio.gather(*[subject.look_up() for _ in range(4)]) == [("a", 1)] * 4
        assert await subject.look_up() == ("a", 1)
        assert subject.get() is None and subject.gate.cancelled == 0
        subject.gate.open()
        await subject.settle()
        assert await subject.look_up() == ("a", 2) and len(subject.keys) == 2

    on_loop(main)


def test_after_the_hard_timeout_all_give_up_and_the_fill_goes_on(on_loop: OnLoop) -> None:
    async def main() -> None:
        subject = Subject(Resilience(hard_timeout=SHORT))
        subject.held = 1
        results = await asyncio.gather(*[subject.look_up() for _ in range(4)], return_exceptions=True)
        assert [type(each) for each in results] == [FillTimeout] * 4
        with pytest.raises(FillTimeout, match=f"{SHORT} s"):
            await subject.cache.refresh("a")
        assert subject.gate.cancelled == 0
        subject.gate.open()
        await subject.settle()
        assert subject.get() == ("a", 1) and len(subject.keys) == 1

    on_loop(main)


def test_who_is_cancelled_in_time_has_abandoned_the_fill_and_the_stale_value_stays() -> None:
    async def main() -> None:
        subject = Subject(Resilience(stale_ttl=5, fail_safe=True, soft_timeout=PATIENCE))
        await subject.filled(10)
        subject.held = 2
        asking = asyncio.ensure_future(subject.look_up())
        await until(lambda: subject.gate.entered)
        asking.cancel()
        await until(lambda: subject.gate.cancelled == 1)
        await subject.settle()
        subject.error = ValueError()
        assert await subject.look_up() == ("a", 1)  # tried again at once, which failed
        assert len(subject.keys) == 3

    run(main)


def test_a_thread_that_times_out_has_not_abandoned_the_fill() -> None:
    async def main() -> None:
        subject = Subject(Resilience(hard_timeout=SHORT))
        subject.held = 1
        with pytest.raises(FillTimeout):
            await subject.look_up()
        join = start_threads(lambda: subject.cache.sync["a"])
        assert isinstance((await asyncio.to_thread(join))[0], FillTimeout)
        assert subject.gate.cancelled == 0
        subject.gate.open()
        await subject.settle()
        assert subject.get() == ("a", 1)

    run(main)


def test_threads_and_loops_make_one_background_fill() -> None:
    subject = Subject(AT_ONCE)
    run(lambda: subject.filled(10))
    subject.held = 2

    async def ask() -> list[Any]:
        values = await asyncio.gather(*[subject.look_up() for _ in range(10)])
        await until(lambda: subject.gate.entered)
        asked.append(1)
        await until(lambda: len(asked) == 6)  # who fills stays until all have asked
        subject.gate.open()
        return values

    def ask_in_a_thread() -> list[Any]:
        values = [subject.cache.sync["a"] for _ in range(10)]
        asked.append(1)
        return values

    asked: list[int] = []
    join = start_threads(*[lambda: run(ask)] * 3, *[ask_in_a_thread] * 3)
    assert join() == [[("a", 1)] * 10] * 6
    settle_pool()
    assert subject.get() == ("a", 2)
    assert len(subject.keys) == 2 and subject.info().background_fills == 1
    assert_valid(subject.cache)


def test_a_loop_that_shuts_down_cancels_its_background_fill_and_another_one_begins_anew(caplog: Any) -> None:
    subject = Subject(AT_ONCE)

    async def first() -> None:
        await subject.filled(10)
        subject.held = 2
        assert await subject.look_up() == ("a", 1)
        await until(lambda: subject.gate.entered)

    async def second() -> None:
        assert await subject.look_up() == ("a", 1)
        await subject.settle()
        assert await subject.look_up() == ("a", 3)

    asyncio.run(first())
    assert subject.gate.cancelled == 1
    run(second)
    assert not caplog.records


def test_a_background_fill_that_cancels_itself_has_failed(caplog: Any) -> None:
    async def main() -> None:
        subject = Subject(AT_ONCE)
        await subject.filled(10)
        subject.error = asyncio.CancelledError()
        for _ in range(3):
            assert await subject.look_up() == ("a", 1)
            await subject.settle()
        assert len(subject.keys) == 2 and "CancelledError" in caplog.text

    run(main)


def test_the_view_of_a_resilient_cache_stays_up_too() -> None:
    numbers = iter(range(1, 10))
    clock = ManualClock()
    cache = AtomicCache(lambda key: next(numbers), 10, clock=clock, resilience=AT_ONCE)

    async def main() -> None:
        assert await cache.aio["a"] == 1
        clock.advance(10)
        assert await cache.aio["a"] == 1
        await until(lambda: cache.get("a") == 2)

    run(main)
    assert cache.cache_info().background_fills == 1
    wait_until_settled(cache)
    assert_valid(cache)


@every_subject
def test_xfetch_jitter_and_negative_ttl_are_as_for_threads(kind: Kind) -> None:
    async def main() -> None:
        draws = [0.5, 0.0, 0.5]
        subject = kind(Resilience(refresh_ahead="xfetch", jitter=0.5, negative_ttl=2, random=lambda: draws.pop(0)), 100)
        subject.held = 1
        first = asyncio.ensure_future(subject.look_up())
        await until(lambda: subject.gate.entered)
        subject.clock.advance(2)
        subject.gate.open()
        assert await first == ("a", 1)  # it took 2 seconds, and expires in 75
        subject.clock.advance(74)
        subject.error = ValueError()
        for left in ([0.5], []):  # the first draw begins nothing
            assert await subject.look_up() == ("a", 1)
            await subject.settle()
            assert draws == left
        assert len(subject.keys) == 2
        subject.clock.advance(1)
        with pytest.raises(ValueError):  # where there is nothing to serve, it tries
            await subject.look_up()
        await subject.settle()

    run(main)


@pytest.mark.parametrize("resilience", [AT_ONCE, IN_NEED], ids=["stale", "fail_safe"])
def test_what_the_clock_raises_reaches_the_caller_and_no_fill_begins(resilience: Resilience) -> None:
    clock = ManualClock()
    keys: list[Any] = []

    def broken() -> float:
        if clock() == 1:
            raise ZeroDivisionError
        return clock()

    async def fill(key: Any) -> Any:
        keys.append(key)
        return key

    async def main() -> None:
        cache = AsyncAtomicCache(fill, 10, clock=broken, resilience=resilience)
        clock.advance(1)
        with pytest.raises(ZeroDivisionError):
            await cache["a"]
        clock.advance(1)
        assert keys == [] and await cache["a"] == "a"
        assert_valid(cache)

    run(main)
