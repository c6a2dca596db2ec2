"""Which calls of a memoized function are one: what is the same key, and what is not."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from areole import AtomicCache, Storage, cached

from ..kit import assert_valid, every_index

memoize: Any = AtomicCache.memoize


def calls_of(memoized: Any) -> int:
    return memoized.cache_info().fills  # type: ignore[no-any-return]


@every_index
def test_positional_keyword_and_default_arguments_are_one_entry(index: str) -> None:
    @memoize(index=index)
    def add(a: int, b: int = 2) -> Any:
        return a, b

    assert add(1, 2) == add(1, b=2) == add(a=1, b=2) == add(b=2, a=1) == add(1) == add(a=1) == (1, 2)
    assert calls_of(add) == 1
    assert add(2, 1) == add(b=1, a=2) == (2, 1)
    assert calls_of(add) == 2
    assert_valid(add.cache)


def test_positional_only_and_keyword_only_parameters() -> None:
    @memoize
    def f(a: int, b: int = 2, /, c: int = 3, *, d: int, e: int = 5) -> Any:
        return a, b, c, d, e

    expected = (1, 2, 3, 4, 5)
    assert f(1, d=4) == f(1, 2, d=4) == f(1, 2, 3, d=4, e=5) == f(1, e=5, d=4, c=3) == expected
    assert calls_of(f) == 1
    for wrong in (lambda: f(1), lambda: f(a=1, d=4), lambda: f(1, 2, 3, 4), lambda: f(1, d=4, x=1)):
        with pytest.raises(TypeError, match=r"f\(\)"):
            wrong()
    assert_valid(f.cache)


def test_only_positional_only_parameters() -> None:
    @memoize
    def f(a: int, b: int = 2, /) -> Any:
        return a, b

    assert f(1) == f(1, 2) == (1, 2)
    assert calls_of(f) == 1
    with pytest.raises(TypeError):
        f(1, b=2)


def test_variable_arguments() -> None:
    @memoize
    def f(*args: Any, **kwargs: Any) -> Any:
        return args, kwargs

    for args, kwargs in [((), {}), ((1,), {}), ((1, 2), {}), (((1, 2),), {}), ((), {"a": 1}), ((("a", 1),), {})]:
        assert f(*args, **kwargs) == f(*args, **kwargs) == (args, kwargs)
    assert calls_of(f) == 6
    assert_valid(f.cache)


def test_variable_arguments_beside_others_in_any_order() -> None:
    @memoize
    def f(a: int, /, b: int = 2, *args: Any, c: int = 3, **kwargs: Any) -> Any:
        return a, b, args, c, kwargs

    assert f(1, x=8, y=9) == f(1, 2, x=8, c=3, y=9) == f(1, x=8, b=2, y=9) == (1, 2, (), 3, {"x": 8, "y": 9})
    assert calls_of(f) == 1
    assert f(1, 2, 3, a=4) == (1, 2, (3,), 3, {"a": 4}), "a positional-only name is free among keywords"
    assert f(1, 2, 3) != f(1, 2, c=3, d=3)
    assert_valid(f.cache)


def test_the_order_of_declared_keywords_does_not_matter() -> None:
    @memoize
    def f(a: int, *, b: int, c: int = 3) -> Any:
        return a, b, c

    assert f(a=1, b=2, c=3) == f(c=3, b=2, a=1) == f(1, b=2)
    assert calls_of(f) == 1


@pytest.mark.parametrize("options", [{}, {"typed": True}, {"ignore": ("debug",)}])
@pytest.mark.parametrize("kind", ["memoize", "cached", "async"])
def test_keywords_that_a_function_takes_as_such_are_in_the_key_in_their_order(options: Any, kind: str) -> None:
    def f(*args: Any, **kwargs: int) -> Any:
        return [name for name in kwargs if name != "debug"]

    async def f_async(*args: Any, **kwargs: int) -> Any:
        return f(*args, **kwargs)

    if kind == "async":
        memoized = memoize(f_async, **options)

        def call(**kwargs: int) -> Any:
            return asyncio.run(memoized(**kwargs))
    else:
        call = memoized = memoize(f, **options) if kind == "memoize" else cached(Storage[Any](), **options)(f)

    assert call(a=1, b=2) == ["a", "b"]
    assert call(b=2, a=1) == ["b", "a"]
    assert calls_of(memoized) == 2
    call(b=2, a=1)
    if "ignore" in options:
        call(b=2, debug=1, a=1)
    assert calls_of(memoized) == 2


@pytest.mark.parametrize(
    "one, other",
    [
        (("a b", "c"), ("a", "b c")),
        (("a", "b"), ("a,b", "")),
        ((1, "1"), ("1", 1)),
        ((None, "None"), ("None", None)),
        ((-1, 0), (-2, 0)),  # hash(-1) == hash(-2)
        (((1, 2), 3), (1, (2, 3))),
        ((b"a", "a"), ("a", b"a")),
        (("", None), (None, "")),
        ((2**61 - 1, 0), (0, 0)),  # both hash to 0
        ((0, frozenset()), (0, ())),
        ((0.1 + 0.2, 0), (0.3, 0)),
    ],
)
def test_different_arguments_do_not_collide(one: tuple[Any, ...], other: tuple[Any, ...]) -> None:
    """Keys joined as text, keys by repr and deletion by hash are faults of other caches."""

    @memoize
    def pair(a: Any, b: Any) -> Any:
        return a, b

    @memoize
    def collect(*args: Any) -> Any:
        return args

    @memoize
    def single(a: Any) -> Any:
        return a

    for f in (pair, collect):
        assert (f(*one), f(*other), f(*one)) == (one, other, one)
        assert calls_of(f) == 2
        assert f.invalidate(*one) is True and f.peek(*other) == other
    assert (single(one), single(other)) == (one, other)
    for f in (pair, collect, single):
        assert_valid(f.cache)


def test_objects_that_print_alike_do_not_collide() -> None:
    class Alike:
        def __repr__(self) -> str:
            return "alike"

        __str__ = __repr__

    @memoize
    def identity(x: Any) -> Any:
        return x

    one, other = Alike(), Alike()
    assert identity(one) is one and identity(other) is other
    assert_valid(identity.cache)


def test_a_default_is_passed_as_the_very_object_that_it_is() -> None:
    class Marker:
        pass

    marker, other = Marker(), Marker()

    @memoize
    def f(a: Any = marker, *, b: Any = other) -> Any:
        return a, b

    assert f()[0] is marker and f()[1] is other
    assert f(marker) is f() is f(b=other)
    assert f(None) == (None, other)


def test_cache_key_is_the_key_in_the_cache() -> None:
    @memoize
    def f(a: int, b: int = 2) -> int:
        return a

    f(1)
    assert list(f.cache) == [f.cache_key(1)] == [f.cache_key(b=2, a=1)]
    assert memoize(lambda a: a).cache_key("x") == "x"
