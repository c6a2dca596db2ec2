"""A memoized function recurses as deep as under a plain Python decorator, and leaves nothing where that is too deep."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Iterator
from textwrap import dedent
from typing import Any

import pytest

from areole import AtomicCache

from ..kit import assert_valid, collect, run_python

memoize: Any = AtomicCache.memoize
SLACK = 5
"""Frames by which areole may differ from a plain decorator: once at the bottom of the recursion, not at each level."""

DECORATORS = {
    "bare": memoize,
    "ttl": memoize(3600),
    "atomic": memoize(index="atomic"),
    "stats": memoize(stats=True),
    "typed": memoize(typed=True),
}


def plain(function: Callable[..., Any]) -> Callable[..., Any]:
    """The decorator to compare with: a closure over a dict."""
    results: dict[Any, Any] = {}

    def wrapper(n: int) -> Any:
        if n in results:
            return results[n]
        result = results[n] = function(n)
        return result

    return wrapper


@pytest.fixture(autouse=True)
def without_the_collector() -> Iterator[None]:
    """Let it run no finalizer, ours or another test's, where no frame is left to run it in: Python prints that."""
    collect()
    gc.disable()
    yield
    gc.enable()


@pytest.fixture(params=[400, 1000, 3000])
def limit(request: pytest.FixtureRequest) -> Iterator[int]:
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(request.param)
    yield request.param
    sys.setrecursionlimit(before)


def one_call(decorate: Any) -> Any:
    @decorate
    def count(n: int) -> int:
        return 0 if n == 0 else 1 + count(n - 1)  # type: ignore[no-any-return]

    return count


def two_calls(decorate: Any) -> Any:
    @decorate
    def fib(n: int) -> int:
        return n if n < 2 else fib(n - 1) + fib(n - 2)  # type: ignore[no-any-return]

    return fib


def method(decorate: Any) -> Any:
    class Counter:
        @decorate
        def count(self, n: int) -> int:
            return 0 if n == 0 else 1 + self.count(n - 1)  # type: ignore[no-any-return]

    return Counter().count


def find_depth(make: Callable[[Any], Any], decorate: Any, limit: int) -> int:
    """Return the largest n that works from a cold cache, by bisection."""
    works, fails = 0, limit
    while fails - works > 1:
        n = (works + fails) // 2
        try:
            make(decorate)(n)
            works = n
        except RecursionError:
            fails = n
    return works


@pytest.mark.parametrize("make", [one_call, two_calls], ids=lambda make: make.__name__)
@pytest.mark.parametrize("decorate", DECORATORS.values(), ids=DECORATORS)
def test_recursion_goes_as_deep_as_under_a_plain_decorator(
    decorate: Any, make: Callable[[Any], Any], limit: int
) -> None:
    expected = find_depth(make, plain, limit)
    assert expected > limit // 2 - 100, "the comparison itself went wrong"
    assert find_depth(make, decorate, limit) >= expected - SLACK


@pytest.mark.xfail(
    sys.version_info < (3, 12),
    strict=True,
    reason="open: before 3.12 a call through C, as a partial is, counts as a frame",
)
def test_recursion_of_a_method_goes_as_deep_as_under_a_plain_decorator(limit: int) -> None:
    def plain_method(function: Callable[..., Any]) -> Callable[..., Any]:
        results: dict[Any, Any] = {}

        def wrapper(self: Any, n: int) -> Any:
            if n in results:
                return results[n]
            result = results[n] = function(self, n)
            return result

        return wrapper

    expected = find_depth(method, plain_method, limit)
    assert find_depth(method, memoize, limit) >= expected - 2 * SLACK


def at_depth(depth: int, function: Callable[[], Any]) -> Any:
    """Call `function` from so many frames further down: the limit is then met at another step of the protocol."""
    return function() if depth == 0 else at_depth(depth - 1, function)


@pytest.mark.parametrize("frames", range(8))
@pytest.mark.parametrize("decorate", DECORATORS.values(), ids=DECORATORS)
def test_after_recursion_that_was_too_deep_every_key_can_still_be_filled(decorate: Any, frames: int) -> None:
    limit = sys.getrecursionlimit()
    count = one_call(decorate)
    for _ in range(2):
        with pytest.raises(RecursionError):
            at_depth(frames, lambda: count(limit))
        assert len(count.cache) == 0
    for n in range(0, 3 * limit, limit // 8):
        assert count(n) == n, "a warm cache goes deeper step by step"
    assert_valid(count.cache)


@pytest.mark.xfail(
    strict=False, reason="open: where no frame is left to clear up in, the next visitor of the key does it"
)
@pytest.mark.parametrize("decorate", DECORATORS.values(), ids=DECORATORS)
def test_recursion_that_is_too_deep_leaves_no_flight_behind(decorate: Any) -> None:
    count = one_call(decorate)
    for frames in range(8):
        with pytest.raises(RecursionError):
            at_depth(frames, lambda: count(sys.getrecursionlimit()))
        assert_valid(count.cache)


@pytest.mark.parametrize("decorate", DECORATORS.values(), ids=DECORATORS)
def test_a_deep_recursion_from_a_cold_cache_fills_each_key_once(decorate: Any) -> None:
    fib = two_calls(decorate)
    depth = sys.getrecursionlimit() // 4
    a, b = 0, 1
    for _ in range(depth):
        a, b = b, a + b
    assert fib(depth) == a
    assert fib.cache_info().fills == depth + 1
    assert_valid(fib.cache)


def test_an_atomic_dict_that_is_to_grow_where_no_frame_is_left_ends_no_process() -> None:
    """Up to Python 3.11 cereggii's calls in C count as frames, and what it does where they fail frees memory twice."""
    code = """
    def at_depth(depth):
        if depth:
            return at_depth(depth - 1)
        for n in (100, 150, 200, 250, 300):
            @areole.AtomicCache.memoize(index="atomic")
            def fib(n):
                return n if n < 2 else fib(n - 1) + fib(n - 2)

            try:
                fib(n)
            except RecursionError:
                pass

    for limit in (200, 400):
        sys.setrecursionlimit(limit)
        for depth in range(70):
            at_depth(depth)
    print("works")
    """
    assert run_python("import sys, areole\n" + dedent(code)).split() == ["works"]
