"""memoize with limits: functions, and methods, where the limits are each instance's."""

from __future__ import annotations

import weakref
from typing import Any

import pytest

from areole import AtomicCache
from areole.testing import ManualClock

from ..kit import check_books, collect, every_policy

memoize: Any = AtomicCache.memoize


def counted(**options: Any) -> tuple[Any, list[Any]]:
    calls: list[Any] = []

    @memoize(**options)
    def double(x: int, step: int = 0) -> int:
        calls.append((x, step))
        return 2 * x + step

    return double, calls


@every_policy
def test_a_memoized_function_keeps_so_many_results(policy: str) -> None:
    double, calls = counted(max_items=10, policy=policy)
    for x in [*range(50), 49, 49]:
        assert double(x) == double(x=x) == double(x, 0) == 2 * x
    assert len(calls) == 50
    info = double.cache_info()
    assert (info.maxsize, info.currsize, info.evictions, info.fills) == (10, 10, 40, 50)
    assert double.cache_parameters()["maxsize"] == 10 and double.cache_parameters()["policy"] == policy
    check_books(double.cache)


@every_policy
def test_a_memoized_function_keeps_so_many_bytes(policy: str) -> None:
    read, calls = [], []

    @memoize(max_bytes=10_000, weigher=lambda key, value: len(value), policy=policy)
    def load(size: int) -> bytes:
        calls.append(size)
        return bytes(size)

    for size in [*range(1000, 1020), 20_000, 20_000]:
        read.append(len(load(size)))
        check_books(load.cache)
    assert read == calls and load.peek(20_000) is None and load.cache_info().currsize < 10


def test_a_hit_of_the_wrapper_is_a_use() -> None:
    double, calls = counted(max_items=3, policy="lru")
    for x in (0, 1, 2, 0, 3, 0):
        double(x)
    assert calls == [(0, 0), (1, 0), (2, 0), (3, 0)]
    assert double.peek(1) is None and double.peek(0) == 0
    check_books(double.cache)


def test_a_peek_of_the_wrapper_is_no_use() -> None:
    double, _ = counted(max_items=2, policy="lru")
    double(0), double(1)
    assert double.peek(0) == 0
    double(2)
    assert double.peek(0) is None and double.peek(1) == 2
    check_books(double.cache)


def test_a_hit_of_the_wrapper_is_a_use_under_a_ttl_and_with_statistics_too() -> None:
    clock = ManualClock()
    for options in ({"ttl": 10, "clock": clock}, {"stats": True}, {"ttl": 10, "clock": clock, "stats": True}):
        double, calls = counted(max_items=2, policy="lru", **options)
        double(0), double(1), double(0), double(2), double(0)
        assert calls == [(0, 0), (1, 0), (2, 0)]
        assert double.cache_info().hits == (2 if "stats" in options else None)
        check_books(double.cache)


def test_s3fifo_is_told_of_hits_by_the_wrapper() -> None:
    double, calls = counted(max_items=100)
    for x in range(100):
        double(x)
    for i in range(500):
        for x in range(20):
            double(x)
        double(1000 + i)
    assert len([x for x, _ in calls if x < 20]) <= 24
    check_books(double.cache)


@every_policy
def test_ttl_and_limit_hold_together(policy: str) -> None:
    clock = ManualClock()
    double, calls = counted(ttl=10, max_items=5, policy=policy, clock=clock)
    for x in range(5):
        double(x)
    clock.advance(10)
    double(7)
    assert double.cache_info().evictions == 0 and double.cache_info().expirations >= 1
    assert double.cache_info().currsize == 1
    double(0)
    assert calls.count((0, 0)) == 2
    check_books(double.cache)


@every_policy
def test_refresh_and_invalidate_of_a_call(policy: str) -> None:
    double, calls = counted(max_items=2, policy=policy)
    double(1), double(2)
    assert double.refresh(1) == 2 and calls == [(1, 0), (2, 0), (1, 0)] and double.cache_info().currsize == 2
    assert double.invalidate(x=1) is True and double.invalidate(1) is False
    double(3)
    assert double.cache_info().evictions == 0 and double.cache_info().currsize == 2
    double.cache_clear()
    assert double.cache_info().currsize == 0
    check_books(double.cache)


@every_policy
def test_a_recursive_function_with_few_places_is_right(policy: str) -> None:
    @memoize(max_items=3, policy=policy)
    def fib(n: int) -> int:
        return n if n < 2 else fib(n - 1) + fib(n - 2)

    assert fib(12) == 144  # with s3fifo the newest may go at once, and be filled again: not for large n
    assert fib.cache_info().currsize == 3
    check_books(fib.cache)


def test_a_recursive_function_runs_once_for_each_argument_where_lru_keeps_the_last_three() -> None:
    @memoize(max_items=3, policy="lru")
    def fib(n: int) -> int:
        return n if n < 2 else fib(n - 1) + fib(n - 2)

    assert fib(100) == 354224848179261915075 and fib.cache_info().fills == 101
    check_books(fib.cache)


class Table:
    """Results of a method, in instances that count what it does."""

    def __init__(self) -> None:
        self.calls: list[int] = []

    @memoize(max_items=3, policy="lru")
    def row(self, n: int) -> tuple[int, int]:
        self.calls.append(n)
        return id(self), n

    @memoize(max_bytes=5000, weigher=lambda key, value: value)
    def sized(self, n: int) -> int:
        self.calls.append(n)
        return n


class Slotted:
    """The same for an instance without a __dict__."""

    __slots__ = ("__weakref__", "calls")

    def __init__(self) -> None:
        self.calls: list[int] = []

    @memoize(max_items=3, policy="lru")
    def row(self, n: int) -> tuple[int, int]:
        self.calls.append(n)
        return id(self), n


@pytest.mark.parametrize("kind", [Table, Slotted])
def test_the_limit_of_a_method_is_each_instances_own(kind: Any) -> None:
    one, other = kind(), kind()
    for table in (one, other):
        assert [table.row(n) for n in (0, 1, 2, 0, 3)] == [(id(table), n) for n in (0, 1, 2, 0, 3)]
    for table in (one, other):
        assert sorted(table.row.cache) == [0, 2, 3]  # 1 went: the hit on 0 counted in its own instance
        assert [table.row(n)[1] for n in (0, 2, 3)] == [0, 2, 3] and table.calls == [0, 1, 2, 3]
        assert table.row.cache_info().currsize == 3
        check_books(table.row.cache)


def test_bytes_too_and_what_one_instance_stores_puts_nothing_out_of_another() -> None:
    one, other = Table(), Table()
    one.sized(3000)
    for n in range(1000, 1020):
        other.sized(n)
        check_books(other.sized.cache)
    assert one.sized.peek(3000) == 3000 and one.sized.cache_info().currsize == 1
    assert one.sized(9000) == 9000 and one.sized.peek(9000) is None
    one.sized.invalidate(3000)
    one.sized.refresh(10)
    assert list(one.sized.cache) == [10]
    check_books(one.sized.cache)


def test_a_method_with_a_limit_keeps_no_instance_alive() -> None:
    table = Table()
    for n in range(10):
        table.row(n)
    ref = weakref.ref(table)
    del table
    collect()
    assert ref() is None


def test_a_classmethod_and_a_staticmethod_take_limits() -> None:
    class Tool:
        @memoize(max_items=2, policy="lru")
        @classmethod
        def of_class(cls, n: int) -> int:
            return n

        @memoize(max_items=2, policy="lru")
        @staticmethod
        def of_nobody(n: int) -> int:
            return n

    for function in (Tool.of_class, Tool.of_nobody):
        assert [function(n) for n in range(5)] == list(range(5))
        assert sorted(function.cache) == [3, 4]
        check_books(function.cache)


def test_the_arguments_are_checked_when_the_function_is_decorated() -> None:
    with pytest.raises(ValueError, match="max_items must be an int of at least 1, not 0"):
        memoize(max_items=0)
        memoize(max_items=0)(len)
    with pytest.raises(ValueError, match="policy must be one of"):
        memoize(max_items=3, policy="fifo")(len)


@every_policy
@pytest.mark.parametrize("max_items", [3, 5, 8, 20])
def test_a_recursion_over_its_last_two_results_finds_them_in_a_tiny_cache(policy: str, max_items: int) -> None:
    @AtomicCache.memoize(max_items=max_items, policy=policy)
    def fib(n: int) -> int:
        return n if n < 2 else fib(n - 1) + fib(n - 2)

    for n in range(30):  # a fault here is exponential: let it show before it hangs
        fib(n)
    assert fib.cache_info().fills <= 60
    check_books(fib.cache)
