"""What can be memoized, and what is refused: builtins, classes, objects, closures, generator functions."""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

from areole import AtomicCache

from ..kit import assert_valid

memoize: Any = AtomicCache.memoize


@pytest.mark.parametrize(
    "function, args",
    [
        (len, ("abc",)),
        (abs, (-1,)),
        (max, (1, 2)),  # no signature
        (int, ("7",)),  # a class, without one on some versions
        (math.log, (8, 2)),
        (operator.itemgetter(1), ("abc",)),
        (str.upper, ("a",)),
        ("a,b".split, (",",)),
        (functools.partial(int, base=2), ("101",)),
        (functools.partial(divmod, 7), (2,)),
        (lambda: 5, ()),
        (lambda *a: a, (1, 2)),
        (frozenset, ((1, 2),)),
        pytest.param(
            complex,
            ("1j",),
            marks=pytest.mark.xfail(strict=True, reason="open: a builtin may tell a default left out from one given"),
        ),
    ],
)
def test_any_callable_can_be_memoized(function: Callable[..., Any], args: tuple[Any, ...]) -> None:
    memoized = memoize(function, stats=True)
    assert memoized(*args) == memoized(*args) == function(*args)
    assert memoized.cache_info().hits == 1
    assert memoized.__wrapped__ is function
    assert_valid(memoized.cache)


def test_a_callable_object_keeps_its_attributes() -> None:
    class Doubler:
        """Doubles."""

        def __init__(self) -> None:
            self.calls = 0

        def __call__(self, n: int) -> int:
            self.calls += 1
            return 2 * n

    doubler = Doubler()
    memoized = memoize(doubler)
    assert (memoized(1), memoized(n=1), doubler.calls) == (2, 2, 1)
    assert_valid(memoized.cache)


def test_a_class_is_memoized_by_its_constructors_arguments() -> None:
    class Point:
        def __init__(self, x: int, y: int = 0) -> None:
            self.xy = x, y

        async def __call__(self) -> None:
            """The instances' business: constructing one is not asynchronous."""

    make = memoize(Point)
    assert make(1) is make(1, 0) is make(x=1)
    assert make(1).xy == (1, 0)
    assert_valid(make.cache)


def test_two_closures_of_one_function_do_not_share() -> None:
    def make_adder(n: int) -> Any:
        @AtomicCache.memoize
        def add(m: int) -> int:
            return n + m

        return add

    one, two = make_adder(1), make_adder(2)
    assert (one(1), two(1), one(1), two(1)) == (2, 3, 2, 3)
    assert_valid(one.cache)


def test_a_memoized_function_can_be_memoized_and_wrapped_again() -> None:
    calls: list[int] = []

    @AtomicCache.memoize
    @AtomicCache.memoize
    def double(n: int) -> int:
        calls.append(n)
        return 2 * n

    assert double(1) == double(1) == 2
    assert calls == [1]
    double.invalidate(1)
    assert double(1) == 2 and calls == [1], "the inner one still has it"
    assert_valid(double.cache)


@pytest.mark.xfail(strict=True, reason="open: calls are bound by the signature that `__wrapped__` shows")
def test_a_decorator_below_that_injects_an_argument_is_respected() -> None:
    """`inspect.signature` shows the wrapped function's parameters; what is memoized is the wrapper."""

    def with_connection(function: Any) -> Any:
        @functools.wraps(function)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            return function("connection", *args, **kwargs)

        return wrapper

    @memoize
    @with_connection
    def load(connection: str, n: int) -> Any:
        return connection, n

    assert load(1) == ("connection", 1)
    assert_valid(load.cache)


@pytest.mark.parametrize("name", ["<lambda>", "class", "a b", "", "ﬁ", "None"])
def test_a_function_of_any_name_can_be_memoized(name: str) -> None:
    def double(n: int) -> int:
        return 2 * n

    double.__name__ = name
    memoized = memoize(double)
    assert memoized(1) == 2
    assert memoized.__name__ == name


async def async_generator_function() -> AsyncIterator[int]:
    yield 1


def generator_function() -> Iterator[int]:
    yield 1


@pytest.mark.parametrize(
    "refused, advice",
    [
        (generator_function, "Return a list or a tuple"),
        (functools.partial(generator_function), "Return a list or a tuple"),
        (async_generator_function, "Return a list or a tuple"),
    ],
)
def test_what_would_be_used_up_by_its_first_caller_is_refused_with_advice(refused: Any, advice: str) -> None:
    for decorate in (memoize, memoize(), memoize(ttl=5)):
        with pytest.raises(TypeError, match=advice):
            decorate(refused)


@pytest.mark.parametrize("refused", ["name", property(lambda self: 1), [len], object(), functools.cached_property(len)])
def test_what_cannot_be_called_is_refused(refused: Any) -> None:
    with pytest.raises(TypeError, match=rf"memoize takes .*\b{type(refused).__name__}\b"):
        memoize(refused)


def test_memoize_of_a_subclass_uses_the_subclass() -> None:
    class Mine(AtomicCache[Any, Any]):
        pass

    @Mine.memoize
    def double(n: int) -> int:
        return 2 * n

    assert double(1) == 2
    assert type(double.cache) is Mine
    assert_valid(double.cache)
