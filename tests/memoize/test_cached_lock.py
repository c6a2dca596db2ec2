"""`cached(cache, lock=...)`: a context manager around each fill. Row E30.

Fills under one lock run one at a time, over all keys and functions; hits do not enter it. A function that calls itself
under a re-entrant lock never waits for a caller that waits for that lock:

    1. A fills x, and has the lock        2. B leads y, and waits for the lock        3. A's fill asks for y

Allowed: y is filled once, by A or by B, and both get it.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from areole import (
    AsyncAtomicCache,
    AtomicCache,
    Cache,
    FillDeadlockError,
    RecursiveFillError,
    Resilience,
    Storage,
    cached,
)
from areole.testing import ManualClock, assert_valid

from ..kit import Gate, run_threads, start_threads

MAKERS: dict[str, Callable[..., Any]] = {
    "storage": lambda **options: Storage(**options),
    "bounded": lambda **options: Storage(max_items=100, **options),
    "cache": lambda **options: Cache(**options),
    "read-through": lambda **options: AtomicCache(str, **options),
    "asynchronous": lambda **options: AsyncAtomicCache(str, **options),
}


@pytest.fixture(params=MAKERS.values(), ids=MAKERS)
def make(request: Any) -> Callable[..., Any]:
    maker: Callable[..., Any] = request.param
    return maker


class Recorder:
    """A context manager that notes when it is entered and left, and how often at once."""

    def __init__(self, lock: Any = None) -> None:
        self.lock = lock or threading.RLock()
        self.events: list[Any] = []

    def __enter__(self) -> Recorder:
        self.lock.acquire()
        self.events.append("enter")
        return self

    def __exit__(self, kind: Any, error: Any, trace: Any) -> bool:
        self.events.append(("exit", kind))
        self.lock.release()
        return True  # what a fill raises is raised all the same

    async def __aenter__(self) -> Recorder:
        await self.lock.acquire()
        self.events.append("enter")
        return self

    async def __aexit__(self, kind: Any, error: Any, trace: Any) -> bool:
        self.events.append(("exit", kind))
        self.lock.release()
        return True


class Running:
    """Counts how many run at once."""

    def __init__(self) -> None:
        self.now = self.most = self.calls = 0

    @contextlib.contextmanager
    def __call__(self) -> Iterator[None]:
        self.calls += 1
        self.now += 1
        self.most = max(self.most, self.now)
        yield
        self.now -= 1


def test_one_fill_at_a_time_over_all_keys_and_functions(make: Any) -> None:
    cache, lock, running = make(), threading.Lock(), Running()

    def work(a: int) -> int:
        with running():
            time.sleep(0.001)
            return a

    one, other = cached(cache, lock=lock)(work), cached(cache, lock=lock)(lambda a: work(a))
    results = run_threads(*[lambda f=f, a=a: f(a) for f in (one, other) for a in (1, 2, 3) * 2])
    assert results == [1, 2, 3] * 4
    assert (running.calls, running.most) == (6, 1)
    assert not lock.locked()
    assert_valid(cache)


def test_one_fill_of_an_async_def_at_a_time(make: Any) -> None:
    cache, running = make(), Running()

    async def main() -> None:
        lock = asyncio.Lock()

        async def work(a: int) -> int:
            with running():
                await asyncio.sleep(0.001)
                return a

        one, other = cached(cache, lock=lock)(work), cached(cache, lock=lock)(work)
        assert await asyncio.gather(*[f(a) for f in (one, other) for a in (1, 2, 3) * 2]) == [1, 2, 3] * 4
        assert not lock.locked()

    asyncio.run(main())
    assert (running.calls, running.most) == (6, 1)
    assert_valid(cache)


def test_the_lock_is_entered_around_each_fill_and_by_no_hit(make: Any) -> None:
    cache, lock = make(), Recorder()
    double: Any = cached(cache, lock=lock)(lambda a: 2 * a)
    assert [double(1), double(1), double.peek(1), double(2), double.refresh(1)] == [2, 2, 2, 4, 2]
    assert lock.events == ["enter", ("exit", None)] * 3
    assert_valid(cache)


def test_the_lock_of_an_async_def_is_entered_around_each_fill_and_by_no_hit(make: Any) -> None:
    cache = make()

    async def main() -> None:
        lock = Recorder(asyncio.Lock())

        @cached(cache, lock=lock)
        async def double(a: int) -> int:
            return 2 * a

        assert [await double(1), await double(1), await double(2), await double.refresh(1)] == [2, 2, 4, 2]
        assert lock.events == ["enter", ("exit", None)] * 3

    asyncio.run(main())
    assert_valid(cache)


def test_what_a_fill_raises_leaves_the_lock_and_is_raised_once_for_all(make: Any) -> None:
    cache, lock, gate = make(), Recorder(), Gate()

    @cached(cache, lock=lock)
    def fail(a: int) -> int:
        gate.enter()
        raise LookupError(a)

    join = start_threads(*[lambda: fail(1)] * 4)
    gate.wait_until_entered()
    while cache.cache_info().waits < 3 and fail.cache_info().waits < 3:
        time.sleep(0.001)
    gate.open()
    assert [type(each) for each in join()] == [LookupError] * 4
    assert lock.events == ["enter", ("exit", LookupError)]
    assert_valid(cache)


@pytest.mark.parametrize("error", [KeyboardInterrupt, LookupError])
def test_a_lock_that_cannot_be_entered_fails_the_call(make: Any, error: type[BaseException]) -> None:
    class Refusing(Recorder):
        def __enter__(self) -> Recorder:
            raise error

    cache, lock = make(), Refusing()
    double: Any = cached(cache, lock=lock)(lambda a: 2 * a)
    for _ in range(2):
        with pytest.raises(error):
            double(1)
    assert lock.events == [] and len(cache) == 0
    assert_valid(cache)


def fibonacci(cache: Any, lock: Any, calls: list[int]) -> Any:
    @cached(cache, lock=lock)
    def fib(n: int) -> int:
        calls.append(n)
        if n % 5 == 0:
            time.sleep(0.0001)
        return n if n < 2 else fib(n - 1) + fib(n - 2)

    return fib


def test_recursion_under_a_re_entrant_lock_by_many_threads_fills_each_key_once(make: Any) -> None:
    for _ in range(10):
        cache, calls = make(), list[int]()
        fib = fibonacci(cache, threading.RLock(), calls)
        results = run_threads(*[lambda n=n, fib=fib: fib(n) for n in (30, 29, 28, 27, 20, 10, 5, 30)])
        assert results == [832040, 514229, 317811, 196418, 6765, 55, 5, 832040]
        assert sorted(calls) == list(range(31))
        assert_valid(cache)


def test_a_fill_that_has_the_lock_overtakes_one_that_waits_for_it(make: Any) -> None:
    """The interleaving above, step by step."""
    cache, gate, calls = make(), Gate(), list[str]()
    lock = Recorder()

    @cached(cache, lock=lock)
    def fill(key: str) -> str:
        calls.append(key)
        if key == "x":
            gate.enter()
            return f"x of {fill('y')}"
        return key

    join_a = start_threads(lambda: fill("x"))
    gate.wait_until_entered()
    join_b = start_threads(*[lambda: fill("y")] * 3)
    while fill.cache_info().fills < 2 or fill.cache_info().waits < 2:
        time.sleep(0.001)
    gate.open()
    assert join_a() == ["x of y"] and join_b() == ["y"] * 3
    assert calls == ["x", "y"]
    assert [fill("x"), fill("y")] == ["x of y", "y"]
    assert lock.events.count("enter") == 3
    assert_valid(cache)


def test_what_was_overtaken_and_invalidated_is_filled_again(make: Any) -> None:
    """As above; A's value of y is invalidated before B has the lock: B fills, and that is stored nowhere."""
    cache, gate, calls = make(), Gate(), list[str]()

    @cached(cache, lock=threading.RLock())
    def fill(key: str) -> str:
        calls.append(key)
        if key == "x":
            gate.enter()
            fill("y")
            fill.invalidate("y")
        return key

    join_a = start_threads(lambda: fill("x"))
    gate.wait_until_entered()
    join_b = start_threads(lambda: fill("y"))
    while fill.cache_info().fills < 2:
        time.sleep(0.001)
    gate.open()
    assert join_a() == ["x"] and join_b() == ["y"]
    assert calls == ["x", "y", "y"]
    assert fill.peek("y") is None
    assert_valid(cache)


def test_one_that_has_left_the_lock_and_is_about_to_publish_is_waited_for(make: Any) -> None:
    """1. B has filled y, and left the lock   2. A enters it, and asks for y   3. B publishes: y was filled once."""
    cache, gate, calls = make(), Gate(), list[str]()

    def ttl(key: str, value: str) -> None:
        if key == "y":
            gate.enter()

    @cached(cache, lock=threading.RLock(), ttl=ttl)
    def fill(key: str) -> str:
        calls.append(key)
        return f"x of {fill('y')}" if key == "x" else key

    join_b = start_threads(lambda: fill("y"))
    gate.wait_until_entered()
    join_a = start_threads(lambda: fill("x"))
    while fill.cache_info().waits < 1:
        time.sleep(0.001)
    gate.open()
    assert join_a() == ["x of y"] and join_b() == ["y"]
    assert calls == ["y", "x"]
    assert_valid(cache)


def test_two_functions_that_call_each_other_share_one_lock(make: Any) -> None:
    for _ in range(10):
        cache, lock = make(), threading.RLock()

        @cached(cache, lock=lock)
        def is_even(n: int) -> bool:
            return n == 0 or is_odd(n - 1)

        @cached(cache, lock=lock)
        def is_odd(n: int) -> bool:
            return n != 0 and is_even(n - 1)

        results = run_threads(*[lambda f=f, n=n: f(n) for n in (20, 21, 15) for f in (is_even, is_odd)])
        assert results == [True, False, False, True, False, True]
        assert_valid(cache)


def test_a_call_of_its_own_key_is_recursive_as_under_no_lock(make: Any) -> None:
    cache = make()

    @cached(cache, lock=threading.RLock())
    def ask(a: int) -> int:
        return ask(a)

    with pytest.raises(RecursiveFillError):
        ask(1)
    assert_valid(cache)


def test_a_lock_that_is_not_re_entrant_is_an_error_and_no_hang(make: Any) -> None:
    cache, lock = make(), threading.Lock()
    fib = fibonacci(cache, lock, [])
    with pytest.raises(FillDeadlockError, match=r"fib.*the lock that the running fill has.*RLock"):
        fib(2)
    assert fib(1) == 1 and not lock.locked()
    assert fib.cache_info().currsize == 1
    assert_valid(cache)


def test_an_asyncio_lock_is_not_re_entrant_either(make: Any) -> None:
    cache = make()

    async def main() -> None:
        @cached(cache, lock=asyncio.Lock())
        async def fib(n: int) -> int:
            return n if n < 2 else await fib(n - 1) + await fib(n - 2)

        with pytest.raises(FillDeadlockError, match=r"fib.*the lock that the running fill has"):
            await fib(2)
        assert await fib(1) == 1
        results = await asyncio.gather(fib(5), fib(4), fib(3), fib(1), return_exceptions=True)
        assert [type(each) for each in results] == [FillDeadlockError] * 3 + [int]

    asyncio.run(asyncio.wait_for(main(), 30))
    assert_valid(cache)


def test_a_semaphore_limits_how_many_fills_run_at_once(make: Any) -> None:
    cache, running = make(), Running()

    @cached(cache, lock=threading.Semaphore(3))
    def work(a: int) -> int:
        with running():
            time.sleep(0.002)
            return a

    assert run_threads(*[lambda a=a: work(a) for a in range(12)]) == list(range(12))
    assert running.calls == 12 and running.most <= 3
    assert_valid(cache)


def test_background_fills_and_those_with_a_timeout_enter_it_too() -> None:
    clock, lock, calls = ManualClock(), Recorder(), list[int]()
    cache = AtomicCache(str, ttl=5, clock=clock, resilience=Resilience(stale_ttl=100, hard_timeout=30))

    @cached(cache, lock=lock, ttl=5)
    def count(a: int) -> int:
        calls.append(a)
        return len(calls)

    assert count(1) == 1
    clock.advance(6)
    assert count(1) == 1  # stale; a thread of the pool refreshes it
    deadline = time.monotonic() + 60
    while count.peek(1) != 2 and time.monotonic() < deadline:
        time.sleep(0.001)
    assert count(1) == 2 and lock.events == ["enter", ("exit", None)] * 2
    assert_valid(cache)


def test_recursion_under_a_timeout_leads_in_the_thread_that_has_the_lock() -> None:
    cache = AtomicCache(str, ttl=500, resilience=Resilience(stale_ttl=100, hard_timeout=30))
    for _ in range(5):
        fib = fibonacci(cache, threading.RLock(), [])
        assert run_threads(*[lambda n=n, fib=fib: fib(n) for n in (12, 11, 10)]) == [144, 89, 55]
    assert_valid(cache)


def test_a_cancelled_call_leaves_the_lock() -> None:
    storage: Storage[Any] = Storage()

    async def main() -> None:
        lock = asyncio.Lock()

        @cached(storage, lock=lock)
        async def work(a: int) -> int:
            await asyncio.sleep(60 if a else 0)
            return a

        task = asyncio.create_task(work(1))
        waiting = asyncio.create_task(work(2))
        await asyncio.sleep(0.01)
        assert lock.locked()
        for each in (waiting, task):
            each.cancel()
            with pytest.raises(asyncio.CancelledError):
                await each
        assert not lock.locked() and await work(0) == 0

    asyncio.run(main())
    assert_valid(storage)


async def asynchronous(a: int) -> int:
    return a


@pytest.mark.parametrize(
    ("function", "lock", "message"),
    [
        (asynchronous, threading.Lock(), "an asynchronous context manager, such as asyncio.Lock.*async def, not lock"),
        (str.lower, Recorder.__class__, "lock must be a context manager"),
        (lambda a: a, asyncio.Lock(), "a plain context manager, such as threading.RLock.*is a def, not Lock"),
        (lambda a: a, True, "lock must be a context manager.*not bool .*one call per key"),
        (lambda a: a, threading.Lock, "lock must be a context manager.*not builtin_function_or_method|not type"),
    ],
)
def test_a_lock_that_does_not_suit_the_function_is_refused(function: Any, lock: Any, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        cached(Storage(), lock=lock)(function)
