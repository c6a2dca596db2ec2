"""typed, key and ignore; what is refused, and how the argument is named that cannot be in a key."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from areole import AtomicCache, Storage, cached

from ..kit import assert_valid

memoize: Any = AtomicCache.memoize


def calls_of(memoized: Any) -> int:
    return memoized.cache_info().fills  # type: ignore[no-any-return]


@pytest.mark.parametrize("decorate", [memoize, cached(Storage())], ids=["memoize", "cached"])
@pytest.mark.parametrize("helper", ["__call__", "invalidate", "peek", "refresh", "cache_key"])
def test_arguments_that_do_not_fit_are_told_by_the_functions_name(decorate: Any, helper: str) -> None:
    @decorate
    def rate(currency: str) -> str:
        return currency

    with pytest.raises(TypeError, match=r"rate\(\) missing 1 required positional argument: 'currency'"):
        getattr(rate, helper)()
    with pytest.raises(TypeError, match=r"rate\(\) got an unexpected keyword argument 'day'"):
        getattr(rate, helper)("EUR", day=1)


def test_equal_arguments_of_different_types_are_one_key_unless_typed() -> None:
    def name(a: Any, b: Any = 0) -> str:
        return type(a).__name__

    plain, typed = memoize(name), memoize(typed=True)(name)
    assert [plain(1), plain(1.0), plain(True), plain(a=1)] == ["int"] * 4
    assert [typed(1), typed(1.0), typed(True), typed(a=1)] == ["int", "float", "bool", "int"]
    assert [calls_of(plain), calls_of(typed)] == [1, 3]
    assert typed.invalidate(1) is True and typed.peek(1.0) == "float"
    assert_valid(plain.cache)
    assert_valid(typed.cache)


def test_typed_tells_apart_every_kind_of_argument() -> None:
    @memoize(typed=True)
    def f(a: Any = 0, /, *args: Any, k: Any = 0, **kwargs: Any) -> Any:
        return [type(each) for each in (a, *args, k, *kwargs.values())]

    calls: list[Any] = [
        ((0,), {}),
        ((0.0,), {}),
        ((0, 0), {}),
        ((0, 0.0), {}),
        ((), {"k": 0.0}),
        ((), {"x": 0}),
        ((), {"x": 0.0}),
    ]
    for args, kwargs in calls:
        assert f(*args, **kwargs) == f.__wrapped__(*args, **kwargs)
    assert calls_of(f) == len(calls)
    assert_valid(f.cache)


def test_typed_of_one_parameter_and_of_none() -> None:
    @memoize(typed=True)
    def one(a: Any) -> Any:
        return type(a)

    @memoize(typed=True)
    def none() -> int:
        return 1

    assert (one(1), one(1.0), one((1, int)), none()) == (int, float, tuple, 1)
    assert_valid(one.cache)
    assert_valid(none.cache)


def test_key_makes_the_whole_key_of_what_the_function_gets() -> None:
    asked: list[Any] = []

    def key(a: Any, b: Any, *args: Any, **kwargs: Any) -> Any:
        asked.append((a, b, args, kwargs))
        return len(a)

    @memoize(key=key)
    def f(a: list[int], b: int = 2, *args: int, **kwargs: int) -> Any:
        return a, b

    assert f([1]) == ([1], 2)
    assert f([7], 8, 9, x=1) == ([1], 2), "an equal key: the leader's result"
    assert asked == [([1], 2, (), {}), ([7], 8, (9,), {"x": 1})]
    assert f.cache_key([1, 2]) == 2
    assert f.invalidate([0]) is True and f.peek([0]) is None
    assert_valid(f.cache)


def test_key_may_take_keyword_only_parameters_by_name() -> None:
    @memoize(key=lambda *, a, b: a)
    def f(*, a: int, b: int) -> Any:
        return a, b

    assert f(a=1, b=2) == f(b=3, a=1) == (1, 2)
    assert_valid(f.cache)


@pytest.mark.parametrize("error", [KeyError("mine"), TypeError("mine"), ValueError("mine")])
def test_what_key_raises_is_raised_by_the_call(error: Exception) -> None:
    def key(a: int) -> Any:
        raise error

    @memoize(key=key)
    def f(a: int) -> int:
        return a

    for use in (f, f.peek, f.invalidate, f.refresh):
        with pytest.raises(type(error)) as caught:
            use(1)
        assert caught.value is error
    assert calls_of(f) == 0
    assert_valid(f.cache)


def test_ignored_arguments_are_not_in_the_key_and_reach_the_function() -> None:
    @memoize(ignore=("log", "retries"))
    def f(a: int, log: Any, b: int = 2, *, retries: int = 3) -> Any:
        return a, log, b, retries

    assert f(1, []) == (1, [], 2, 3)
    assert f(1, ["unhashable"], b=2, retries=9) == (1, [], 2, 3), "the leader's arguments were used"
    assert f(2, None, retries=1) == (2, None, 2, 1)
    assert calls_of(f) == 2
    assert_valid(f.cache)


@pytest.mark.parametrize("ignore", [["x"], ("x",), {"x"}, frozenset("x"), {"x": 1}.keys()])
def test_ignore_takes_any_collection(ignore: Any) -> None:
    @memoize(ignore=ignore)
    def f(a: int, x: int) -> int:
        return x

    assert f(1, 2) == f(1, 3) == 2


def test_ignore_of_names_that_only_kwargs_catches() -> None:
    @memoize(ignore=("debug",))
    def f(a: int, **kwargs: Any) -> Any:
        return a, kwargs

    assert f(1, x=1, debug=[]) == (1, {"x": 1, "debug": []})
    assert f(1, debug=2, x=1) == f(1, x=1)
    assert f(1, x=2) == (1, {"x": 2})
    assert calls_of(f) == 2
    assert_valid(f.cache)


def test_ignore_of_variable_arguments_leaves_them_all_out() -> None:
    @memoize(ignore=("args", "kwargs"))
    def f(a: int, *args: Any, **kwargs: Any) -> Any:
        return a, args, kwargs

    assert f(1, [], x=[]) == f(1) == (1, ([],), {"x": []})
    assert_valid(f.cache)


def test_ignore_of_everything_leaves_one_entry() -> None:
    @memoize(ignore=("a",))
    def f(a: Any) -> Any:
        return a

    assert f(1) == f([2]) == 1
    assert_valid(f.cache)


def test_ignore_and_typed_go_together() -> None:
    @memoize(ignore=("b",), typed=True)
    def f(a: Any, b: Any, **kwargs: Any) -> Any:
        return type(a)

    assert (f(1, 2), f(1.0, 2), f(1, 2.0)) == (int, float, int)
    assert calls_of(f) == 2
    assert_valid(f.cache)


@pytest.mark.parametrize(
    "options, error, message",
    [
        ({"ignore": "name"}, TypeError, "ignore must be a collection"),
        ({"ignore": ("nme",)}, ValueError, "ignore names nme, .* are a, name"),
        ({"key": 1}, TypeError, "key must be a callable"),
        ({"key": len, "typed": True}, TypeError, "key= makes the whole key"),
        ({"key": len, "ignore": ("name",)}, TypeError, "key= makes the whole key"),
        ({"ignore": 1}, TypeError, "ignore"),
        ({"ignore": (1,)}, TypeError, "ignore"),
        ({"types": True}, TypeError, "types"),
    ],
)
def test_wrong_options_are_refused_by_name(options: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        memoize(**options)(lambda a, name: a)


@pytest.mark.parametrize("call", [lambda f: f(1, ["secret"]), lambda f: f(1, b={}), lambda f: f(1, (1, [2]))])
@pytest.mark.parametrize("options", [{}, {"typed": True}, {"ttl": 5}, {"index": "atomic"}], ids=str)
def test_an_unhashable_argument_is_named_with_its_type(options: Any, call: Callable[[Any], Any]) -> None:
    def f(a: int, b: Any) -> Any:
        return b

    memoized = memoize(**options)(f)
    for use in (memoized, memoized.peek, memoized.invalidate, memoized.refresh):
        with pytest.raises(TypeError, match=r"argument 'b', of type (list|dict), .*ignore=") as caught:
            call(use)
        assert "secret" not in str(caught.value)
    assert_valid(memoized.cache)


def test_an_unhashable_argument_among_variable_ones_is_named() -> None:
    @memoize
    def f(*rest: Any, **named: Any) -> Any:
        return rest, named

    with pytest.raises(TypeError, match="'rest', of type list"):
        f(1, [])
    with pytest.raises(TypeError, match="of type set"):
        f(1, a=set())
    assert_valid(f.cache)


def test_an_unhashable_result_of_key_is_named() -> None:
    with pytest.raises(TypeError, match="key= must return"):
        memoize(key=lambda a: [a])(lambda a: a)(1)


def test_an_unhashable_default_is_refused_at_the_call_by_name() -> None:
    """It is an argument like all others: left out or given, it is one key."""

    @memoize
    def f(a: int, b: list[int] = []) -> Any:  # noqa: B006
        return b

    with pytest.raises(TypeError, match="argument 'b', of type list"):
        f(1)
    assert memoize(ignore=("b",))(f.__wrapped__)(1) is f.__wrapped__(1)
