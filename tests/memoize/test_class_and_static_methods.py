"""Memoized classmethods and staticmethods, with memoize above and below the other decorator."""

from __future__ import annotations

import sys
import weakref
from collections.abc import Callable
from typing import Any

import pytest

from areole import AtomicCache

from ..kit import assert_valid, collect

memoize: Any = AtomicCache.memoize
both_orders = pytest.mark.parametrize("is_above", [True, False], ids=["memoize above", "memoize below"])


def decorate(other: Any, is_above: bool) -> Callable[[Any], Any]:
    return (lambda f: memoize(other(f))) if is_above else (lambda f: other(memoize(f)))


def make_class(other: Any, is_above: bool) -> Any:
    class Base:
        @decorate(other, is_above)
        def give(cls, x: Any, y: Any = 2) -> Any:
            return [cls, x, y]

    return Base


@both_orders
def test_a_classmethod_has_results_for_each_class(is_above: bool) -> None:
    base = make_class(classmethod, is_above)
    derived = type("Derived", (base,), {})
    assert base.give(1) is base.give(x=1, y=2) is base().give(1) == [base, 1, 2]
    assert derived.give(1) is derived().give(1) == [derived, 1, 2]


def test_the_helpers_of_a_classmethod_are_about_the_class() -> None:
    base = make_class(classmethod, is_above=True)
    derived = type("Derived", (base,), {})
    first = base.give(1)
    derived.give(1)
    assert base.give.peek(1) is first and base().give.peek(1) is first
    assert base.give.refresh(1) is base.give(1) is not first
    assert base.give.invalidate(x=1) is True and base.give.peek(1) is None
    assert derived.give.peek(1) is not None
    assert (base.give.cache_info().currsize, derived.give.cache_info().currsize) == (0, 1)
    derived.give.cache_clear()
    assert derived.give.peek(1) is None
    assert_valid(base.give.cache)


@pytest.mark.skipif(
    sys.version_info < (3, 13), reason="before 3.13 a classmethod binds what it wraps by its own __get__"
)
def test_a_classmethod_above_memoize_hands_out_the_helpers_unbound() -> None:
    """`classmethod` makes a plain bound method, whose attributes are the function's: the class must be given."""
    base = make_class(classmethod, is_above=False)
    base.give(1)
    assert base.give.peek(base, 1) == [base, 1, 2]
    assert base.give.invalidate(base, 1) is True


def test_super_in_a_classmethod() -> None:
    class Base:
        @memoize
        @classmethod
        def give(cls, x: int) -> Any:
            return [cls, x]

    class Derived(Base):
        @memoize
        @classmethod
        def give(cls, x: int) -> Any:
            return ["derived", *super().give(x)]

    assert Derived.give(1) is Derived.give(1) == ["derived", Derived, 1]
    assert Base.give(1) == [Base, 1]


@both_orders
def test_a_class_is_not_kept_alive_by_its_classmethod(is_above: bool) -> None:
    base = make_class(classmethod, is_above)
    derived = type("Derived", (base,), {})
    derived.__hash__ = None  # type: ignore[assignment, method-assign]
    assert derived.give(1)[1:] == [1, 2]
    base.give.cache_clear()
    derived.give.cache_clear()
    ref, other = weakref.ref(derived), weakref.ref(type("Unused", (), {}))
    del derived
    collect()
    if other() is not None:
        pytest.skip("classes are immortal here: 3.13t makes them so once a thread has been started")
    assert ref() is None


@both_orders
def test_a_staticmethod_is_one_function_for_all(is_above: bool) -> None:
    class Base:
        @decorate(staticmethod, is_above)
        def give(x: Any, y: Any = 2) -> Any:
            return [x, y]

    class Derived(Base):
        pass

    assert Base.give(1) is Base().give(1) is Derived.give(x=1) is Derived().give(1, 2) == [1, 2]
    assert Base.give.cache_info().fills == 1
    assert Base.give.peek(1) == [1, 2] and Base().give.invalidate(1, y=2) is True
    assert Base.give.refresh(1) == [1, 2]
    Base.give.cache_clear()
    assert Base.give.peek(1) is None
    assert_valid(Base.give.cache)


@both_orders
def test_a_staticmethod_without_positional_parameters(is_above: bool) -> None:
    class Base:
        @decorate(staticmethod, is_above)
        def none() -> Any:  # type: ignore[misc]
            return []

        @decorate(staticmethod, is_above)
        def variable(*args: Any) -> Any:
            return [args]

        @decorate(staticmethod, is_above)
        def keyword(*, a: Any) -> Any:
            return [a]

    assert Base.none() is Base().none() == []
    assert Base.variable(1, 2) is Base().variable(1, 2) == [(1, 2)]
    assert Base.keyword(a=1) is Base().keyword(a=1) == [1]


@both_orders
def test_a_staticmethod_called_in_the_class_body(is_above: bool) -> None:
    class Base:
        @decorate(staticmethod, is_above)
        def give(x: Any) -> Any:
            return [x]

        made = give(1)

    assert Base.made is Base.give(1) == [1]
