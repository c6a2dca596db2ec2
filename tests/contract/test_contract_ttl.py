"""ttl: its forms, and from when to when a value counts. The clock stands still unless a test moves it."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest

from areole import AtomicCache, RemovalCause

from ..kit import Fill, ManualClock, assert_valid


@pytest.mark.parametrize(
    "ttl",
    [
        10,
        10.0,
        Fraction(10),
        timedelta(seconds=10),
        lambda key, value: 10,
        lambda key, value: 10.0,
        lambda key, value: timedelta(seconds=10),
    ],
    ids=["int", "float", "Fraction", "timedelta", "callable-int", "callable-float", "callable-timedelta"],
)
def test_a_value_has_expired_at_exactly_its_deadline_and_not_before(ttl: Any) -> None:
    cache, fill, clock = make(ttl)
    cache["a"]
    clock.advance(10 - 2**-20)
    assert "a" in cache and len(cache) == 1 and cache.get("a") == cache["a"] == ("a", 1)
    clock.advance(2**-20)
    assert "a" not in cache and len(cache) == 0 and cache.get("a") is None
    assert cache["a"] == ("a", 2)
    assert fill.keys == ["a", "a"]
    assert_valid(cache)


@pytest.mark.parametrize("ttl", [10, lambda key, value: 10])
def test_the_ttl_is_counted_from_the_end_of_the_fill(ttl: Any) -> None:
    cache, _, clock = make(ttl, takes=100)
    cache["a"]
    clock.advance(9)
    assert "a" in cache
    clock.advance(1)
    assert "a" not in cache
    assert_valid(cache)


def test_a_callable_ttl_gets_key_and_value_and_none_means_never() -> None:
    ttls = {("a", 1): 5, ("b", 1): None, ("c", 1): timedelta(minutes=1)}
    cache, _, clock = make(lambda key, value: ttls[value])
    cache.fetch_many([*"abc"])
    clock.advance(59)
    assert sorted(cache) == ["b", "c"]
    clock.advance(1)
    assert list(cache) == ["b"]
    clock.advance(1e18)
    assert cache["b"] == ("b", 1)
    assert_valid(cache)


@pytest.mark.parametrize("ttl", [0, -1, -0.0, math.nan, math.inf, -math.inf, 10**400, timedelta(0), timedelta(days=-1)])
def test_a_ttl_that_is_not_positive_and_finite_is_a_value_error(ttl: Any) -> None:
    with pytest.raises(ValueError, match="ttl must be positive and finite"):
        AtomicCache(str, ttl)
    with pytest.raises(ValueError, match="ttl must be positive and finite"):
        AtomicCache.memoize(ttl=ttl)(len)
    with pytest.raises(ValueError, match=r"wait_timeout must be positive and finite"):
        AtomicCache(str, wait_timeout=ttl)


def test_what_is_refused_as_a_time_says_what_to_do_instead() -> None:
    with pytest.raises(ValueError, match="leave it out for values that never expire"):
        AtomicCache(str, 0)
    with pytest.raises(ValueError, match=r"wait_timeout must be .*, not 0; leave it out for none"):
        AtomicCache(str, wait_timeout=0)
    with pytest.raises(ValueError, match="None is for a value that never expires"):
        AtomicCache(str, lambda key, value: math.inf)[1]
    with pytest.raises(TypeError, match=r"a timedelta, a callable of \(key, value\) or None, not str"):
        AtomicCache(str, "10")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"wait_timeout must be seconds .*, a timedelta or None, not function"):
        AtomicCache(str, wait_timeout=lambda key, value: 1)  # type: ignore[arg-type]


@pytest.mark.parametrize("ttl", [True, False, "10", b"1", Decimal(10), 1j, [10], object()])
def test_a_ttl_of_another_type_is_a_type_error(ttl: Any) -> None:
    with pytest.raises(TypeError, match=f"ttl must be .*{type(ttl).__name__}"):
        AtomicCache(str, ttl)
    with pytest.raises(TypeError, match=f"wait_timeout must be .*{type(ttl).__name__}"):
        AtomicCache(str, wait_timeout=ttl)


@pytest.mark.parametrize("ttl, error", [(math.inf, ValueError), (math.nan, ValueError), ("1", TypeError)])
def test_what_a_callable_ttl_returns_is_checked_and_nothing_is_stored(ttl: Any, error: type[Exception]) -> None:
    cache, fill, _ = make(lambda key, value: ttl)
    with pytest.raises(error, match="ttl"):
        cache["a"]
    assert "a" not in cache and fill.keys == ["a"]
    assert_valid(cache)


def test_a_callable_ttl_that_raises_does_so_in_the_lookup_and_nothing_is_stored() -> None:
    def ttl(key: str, value: Any) -> float:
        raise LookupError("no ttl")

    cache, _, _ = make(ttl)
    with pytest.raises(LookupError, match="no ttl"):
        cache["a"]
    assert "a" not in cache
    assert_valid(cache)


def test_a_refresh_whose_ttl_raises_keeps_the_old_value() -> None:
    ttls: list[Any] = [10]
    cache, _, _ = make(lambda key, value: ttls.pop())
    cache["a"]
    with pytest.raises(IndexError):
        cache.refresh("a")
    assert cache["a"] == ("a", 1)
    assert_valid(cache)


def test_a_refresh_starts_the_ttl_anew() -> None:
    cache, _, clock = make(10)
    cache["a"]
    clock.advance(9)
    cache.refresh("a")
    clock.advance(9)
    assert cache.get("a") == ("a", 2)
    clock.advance(1)
    assert "a" not in cache
    assert_valid(cache)


def test_a_refresh_that_raises_leaves_the_old_deadline() -> None:
    cache, fill, clock = make(10)
    cache["a"]
    clock.advance(9)
    fill.error = ValueError()
    with pytest.raises(ValueError):
        cache.refresh("a")
    assert cache.get("a") == ("a", 1)
    clock.advance(1)
    assert "a" not in cache
    assert_valid(cache)


def test_refresh_of_an_expired_value_fills_it() -> None:
    cache, fill, clock = make(10)
    cache["a"]
    clock.advance(10)
    assert cache.refresh("a") == ("a", 2)
    assert cache["a"] == ("a", 2)
    assert fill.keys == ["a", "a"]
    assert_valid(cache)


def test_a_refresh_of_an_expired_value_that_raises_does_not_bring_it_back() -> None:
    cache, fill, clock = make(10)
    cache["a"]
    clock.advance(10)
    fill.error = ValueError()
    with pytest.raises(ValueError):
        cache.refresh("a")
    assert "a" not in cache
    fill.error = None
    assert cache["a"] == ("a", 3)
    assert_valid(cache)


def test_a_refresh_of_an_expired_value_reports_it_as_expired() -> None:
    """As Caffeine does: a value that no reader could get any more was not replaced, it had expired."""
    removed: list[Any] = []
    cache, _, clock = make(10, on_removal=lambda *args: removed.append(args))
    cache["a"]
    clock.advance(10)
    cache.refresh("a")
    assert removed == [("a", ("a", 1), RemovalCause.EXPIRED)]
    assert cache.cache_info().expirations == 1
    assert_valid(cache)


def test_invalidate_of_an_expired_value_says_that_there_was_none() -> None:
    cache, _, clock = make(10)
    cache["a"]
    clock.advance(10)
    assert cache.invalidate("a") is False
    assert_valid(cache)


def test_invalidate_of_an_expired_value_that_is_being_refilled_says_that_there_was_a_flight() -> None:
    answers: list[bool] = []

    def fill(key: str) -> int:
        if clock() == 10 and not answers:
            answers.append(cache.invalidate(key))
        return 1

    clock = ManualClock()
    cache = AtomicCache(fill, 10, clock=clock)
    cache["a"]
    clock.advance(10)
    cache.refresh("a")
    assert answers == [True]
    assert "a" not in cache
    assert_valid(cache)


@pytest.mark.parametrize(
    "use",
    [lambda c: c["a"], lambda c: c.get("a"), lambda c: c.peek("a"), lambda c: "a" in c, lambda c: c.get_many([*"a"])],
    ids=["getitem", "get", "peek", "in", "get_many"],
)
@pytest.mark.parametrize("ttl", [None, 10])
def test_a_hit_reads_the_clock_at_most_once(ttl: float | None, use: Callable[[Any], Any]) -> None:
    cache, readings = make_with_counted_clock(ttl)
    cache["a"]
    readings.clear()
    use(cache)
    assert len(readings) <= 1
    assert_valid(cache)


@pytest.mark.parametrize(
    "use",
    [lambda c: c.get("a"), lambda c: c.peek("a"), lambda c: "a" in c],
    ids=["get", "peek", "in"],
)
@pytest.mark.parametrize("is_there", [False, True])
def test_a_lookup_that_finds_nothing_live_reads_the_clock_at_most_once(
    is_there: bool, use: Callable[[Any], Any]
) -> None:
    cache, readings = make_with_counted_clock(10)
    if is_there:
        cache["a"]
        readings.append(10**6)  # from here on it has expired
    before = len(readings)
    use(cache)
    assert len(readings) - before <= 1
    assert_valid(cache)


def test_len_and_iteration_read_the_clock_once_however_many_keys_there_are() -> None:
    cache, readings = make_with_counted_clock(10)
    cache.fetch_many([*"abcdef"])
    readings.clear()
    assert len(cache) == 6
    assert len(readings) == 1
    assert sum(1 for _ in cache) == 6
    assert len(readings) == 2
    assert_valid(cache)


def test_a_memoized_hit_under_a_ttl_reads_the_clock_once() -> None:
    readings: list[int] = []

    @AtomicCache.memoize(10, clock=lambda: readings.append(0) or 0.0)
    def double(n: int) -> int:
        return 2 * n

    double(1)
    readings.clear()
    double(1)
    assert len(readings) == 1
    assert_valid(double.cache)  # type: ignore[arg-type]


def test_a_clock_that_goes_back_brings_no_expired_value_back_that_somebody_came_upon() -> None:
    cache, _, clock = make(10)
    cache["a"]
    clock.advance(10)
    assert "a" not in cache
    clock.advance(-10)
    assert "a" not in cache
    assert_valid(cache)


def test_fetch_many_fills_each_key_once_even_where_it_expires_meanwhile() -> None:
    cache, fill, _ = make(1, takes=2)
    assert cache.fetch_many([*"aba"]) == {"a": ("a", 1), "b": ("b", 1)}
    assert fill.keys == ["a", "b"]
    assert_valid(cache)


def make(
    ttl: Any, takes: float = 0, on_removal: Callable[..., Any] | None = None
) -> tuple[AtomicCache[Any, Any], Fill, ManualClock]:
    clock = ManualClock()
    fill = Fill(clock, takes)
    return AtomicCache(fill, ttl, clock=clock, on_removal=on_removal), fill, clock


def make_with_counted_clock(ttl: float | None) -> tuple[AtomicCache[Any, Any], list[float]]:
    """Make a cache whose clock notes each reading; it stands still at 0 until a reading is appended by hand."""
    readings: list[float] = []

    def clock() -> float:
        readings.append(readings[-1] if readings else 0.0)
        return readings[-1]

    return AtomicCache(Fill(), ttl, clock=clock), readings
