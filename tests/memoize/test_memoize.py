"""AtomicCache.memoize on functions: its forms, what it keeps of the function, what it offers."""

from __future__ import annotations

import copy
import inspect
import pickle
import typing
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from areole import AtomicCache

from ..kit import ManualClock, assert_valid, every_index

memoize: Any = AtomicCache.memoize


@AtomicCache.memoize
def documented(a: int, b: str = "b", *args: float, c: bytes = b"c", **kwargs: Any) -> tuple[Any, ...]:
    """Say what was passed."""
    return a, b, args, c, kwargs


@pytest.mark.parametrize(
    "decorate",
    [
        lambda f: memoize(f),
        lambda f: memoize()(f),
        lambda f: memoize(10)(f),
        lambda f: memoize(10.5)(f),
        lambda f: memoize(timedelta(minutes=1))(f),
        lambda f: memoize(ttl=10)(f),
        lambda f: memoize(f, 10),
        lambda f: memoize(f, ttl=10),
        lambda f: memoize(f, ttl=lambda key, value: 10),
        lambda f: memoize(f, typed=True, stats=True),
        lambda f: memoize(index="atomic")(f),
        lambda f: memoize(index="dict")(f),
    ],
)
def test_every_form_runs_the_function_once(decorate: Callable[[Any], Any]) -> None:
    calls: list[int] = []

    @decorate
    def double(n: int) -> int:
        calls.append(n)
        return 2 * n

    assert [double(1), double(2), double(n=1), double(1)] == [2, 4, 2, 2]
    assert calls == [1, 2]
    assert_valid(double.cache)


def test_every_argument_of_the_constructor_has_its_effect() -> None:
    clock, removed = ManualClock(), []  # type: ignore[var-annotated]
    options = {
        "ttl": 10,
        "cache_exceptions": ZeroDivisionError,
        "wait_timeout": timedelta(seconds=5),
        "on_removal": lambda *args: removed.append(args),
        "stats": True,
        "clock": clock,
        "name": "inverses",
        "index": "dict",
    }
    calls: list[int] = []

    def invert(n: int) -> float:
        calls.append(n)
        return 1 / n

    memoized = memoize(**options)(invert)
    memoized(2), memoized(2)
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            memoized(0)
    assert calls == [2, 0]
    clock.advance(10)
    memoized(2)
    assert calls == [2, 0, 2]
    assert len(removed) == 1
    assert memoized.cache_info().hits == 2  # the second ZeroDivisionError is one: it was stored
    assert memoized.cache.name == "inverses"
    assert memoized.cache_parameters() == {"maxsize": None, "typed": False, "key": None, "ignore": ()} | options
    assert_valid(memoized.cache)


def test_cache_parameters_are_the_callers_own_copy() -> None:
    documented.cache_parameters()["typed"] = True
    assert documented.cache_parameters()["typed"] is False
    assert documented.cache_parameters()["index"] == "dict"


@pytest.mark.parametrize("wrong", [1, "ttl"])
def test_a_ttl_given_twice_is_refused(wrong: Any) -> None:
    with pytest.raises(TypeError):
        memoize(5, ttl=wrong)(len)


def test_the_wrapper_looks_like_the_function() -> None:
    function = documented.__wrapped__
    memoized: Any = documented
    assert inspect.isfunction(function) and function is not memoized
    for name in ("__name__", "__qualname__", "__module__", "__doc__", "__annotations__"):
        assert getattr(memoized, name) == getattr(function, name)
    assert inspect.signature(memoized) == inspect.signature(function)
    assert inspect.signature(memoized, follow_wrapped=False).parameters.keys() == {"a", "b", "args", "c", "kwargs"}
    assert memoized.__defaults__ == ("b",) and memoized.__kwdefaults__ == {"c": b"c"}
    assert typing.get_type_hints(memoized) == typing.get_type_hints(function)
    assert inspect.getsource(memoized) == inspect.getsource(function)
    assert inspect.getdoc(memoized) == "Say what was passed."
    assert inspect.unwrap(memoized) is function
    assert inspect.isfunction(memoized) and callable(memoized)


def test_attributes_of_the_function_are_kept() -> None:
    def double(n: int) -> int:
        return 2 * n

    double.note = "kept"  # type: ignore[attr-defined]
    assert memoize(double).note == "kept"


def test_cache_is_the_cache_in_use() -> None:
    documented.cache_clear()
    documented(1)
    assert len(documented.cache) == 1
    assert list(documented.cache) == [documented.cache_key(1)]
    assert documented.cache_info().currsize == 1
    assert_valid(documented.cache)


def test_the_cache_of_a_function_cannot_be_filled_by_key() -> None:
    """Its keys are made from arguments; from a key no call can be made."""
    cache = memoize(lambda n: n).cache
    with pytest.raises(TypeError, match="call the function"):
        cache[1]
    assert_valid(cache)


@every_index
def test_the_helpers_take_the_functions_arguments(index: str) -> None:
    calls: list[Any] = []

    @AtomicCache.memoize(index=index)
    def add(a: int, b: int = 2) -> int:
        calls.append((a, b))
        return a + b + 100 * len(calls)

    assert add.peek(1) is None and add.invalidate(1) is False
    assert add(1) == add.peek(1, 2) == add.peek(b=2, a=1) == 103
    assert add.refresh(a=1) == add(1, b=2) == 203
    assert add.invalidate(b=2, a=1) is True
    assert add.peek(1) is None and add.invalidate(1) is False
    assert add.refresh(1) == 303
    add.cache_clear()
    assert add.peek(1) is None and len(add.cache) == 0
    assert calls == [(1, 2)] * 3
    assert_valid(add.cache)


def test_the_helpers_refuse_what_the_function_refuses() -> None:
    helpers = [documented, documented.peek, documented.invalidate, documented.refresh, documented.cache_key]
    for use in helpers:
        with pytest.raises(TypeError, match="missing 1 required"):
            use()  # type: ignore[call-arg]
        with pytest.raises(TypeError, match="multiple values"):
            use(1, a=1)  # type: ignore[misc]


@every_index
def test_a_call_that_raises_stores_nothing_and_shows_the_functions_own_exception(index: str) -> None:
    errors = [KeyError("mine"), TypeError("mine"), ValueError("mine"), KeyboardInterrupt()]

    @AtomicCache.memoize(index=index)
    def fail(n: int) -> None:
        raise errors[n]

    for n, error in enumerate(errors):
        for _ in range(2):
            with pytest.raises(type(error)) as caught:
                fail(n)
            assert caught.value is error
    assert fail.cache_info().currsize == 0
    assert_valid(fail.cache)


@pytest.mark.parametrize("value", [None, False, 0, ValueError("a value"), NotImplemented])
def test_any_result_is_stored(value: Any) -> None:
    calls: list[int] = []

    @AtomicCache.memoize
    def give() -> Any:
        calls.append(0)
        return value

    assert give() is value and give() is value
    assert len(calls) == 1
    assert_valid(give.cache)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_memoized_function_pickles_by_its_name(protocol: int) -> None:
    assert pickle.loads(pickle.dumps(documented, protocol)) is documented


def test_a_memoized_function_is_its_own_copy_as_any_function_is() -> None:
    assert copy.copy(documented) is documented
    assert copy.deepcopy(documented) is documented
