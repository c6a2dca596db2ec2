"""What a memoized method offers beside being called, through the instance and through the class; what it looks like."""

from __future__ import annotations

import copy
import inspect
import pickle
from typing import Any

import pytest

from areole import AtomicCache

from ..kit import assert_valid

memoize: Any = AtomicCache.memoize


class Scale:
    """Multiplies; a module-level class, so that it pickles."""

    def __init__(self, factor: int) -> None:
        self.factor = factor
        self.calls: list[Any] = []

    @AtomicCache.memoize
    def times(self, x: int, y: int = 1) -> int:
        """Multiply all three."""
        self.calls.append((x, y))
        return self.factor * x * y

    @AtomicCache.memoize
    @classmethod
    def kind(cls, x: int) -> tuple[str, int]:
        """Name the class."""
        return cls.__name__, x

    @staticmethod
    @memoize
    def below(x: int) -> list[int]:
        return [x]

    @memoize
    @staticmethod
    def above(x: int) -> list[int]:
        return [x]


class Equal:
    """All instances are equal."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Equal)

    def __hash__(self) -> int:
        return 1

    @memoize
    def who(self, x: Any = None) -> str:
        return self.name


class Unhashable(Equal):
    __hash__ = None  # type: ignore[assignment]


def test_helpers_of_a_bound_method_are_about_its_instance() -> None:
    two, three = Scale(2), Scale(3)
    assert two.times.invalidate(5) is False
    two.times(5), three.times(5)
    assert two.times.peek(5) == two.times.peek(x=5, y=1) == 10 and two.times.peek(6) is None
    two.factor = 20
    assert two.times.refresh(5) == two.times(5) == 100
    assert two.times.invalidate(x=5) is True and two.times.invalidate(5) is False
    assert three.times(5) == 15 and three.calls == [(5, 1)]
    assert two.times.cache_key(5) == three.times.cache_key(x=5)
    two.times(1), two.times(2)
    assert (two.times.cache_info().currsize, three.times.cache_info().currsize) == (2, 1)
    two.times.cache_clear()
    assert (len(two.times.cache), len(three.times.cache)) == (0, 1)
    assert_valid(two.times.cache)
    assert_valid(three.times.cache)


def test_helpers_of_the_class_take_the_instance() -> None:
    two = Scale(2)
    assert Scale.times.peek(two, 5) is None
    two.times(5)
    assert Scale.times.peek(two, 5) == Scale.times.peek(self=two, x=5) == 10
    two.factor = 3
    assert Scale.times.refresh(two, 5) == 15
    assert Scale.times.invalidate(two, x=5) is True
    assert two.times.peek(5) is None
    for helper in (Scale.times.invalidate, Scale.times.peek, Scale.times.refresh):
        with pytest.raises(TypeError, match="missing"):
            helper()


def test_cache_info_and_cache_clear_of_the_class_are_about_all_instances() -> None:
    class Counted:
        @memoize(stats=True)
        def give(self, x: int) -> int:
            return x

    one, other = Counted(), Counted()
    one.give(1), one.give(1), one.give(2), other.give(1)
    info = Counted.give.cache_info()
    assert (info.hits, info.misses, info.fills, info.currsize) == (1, 3, 3, 3)
    Counted.give.cache_clear()
    assert Counted.give.cache_info().currsize == 0
    assert one.give.peek(1) is None and other.give.peek(1) is None
    assert Counted.give.cache_parameters()["stats"] is True


def test_signatures() -> None:
    assert str(inspect.signature(Scale(2).times)) == "(x: 'int', y: 'int' = 1) -> 'int'"
    assert str(inspect.signature(Scale.times)) == "(self, x: 'int', y: 'int' = 1) -> 'int'"
    assert str(inspect.signature(Scale.kind)) == "(x: 'int') -> 'tuple[str, int]'"


@pytest.mark.parametrize("attribute", ["__doc__", "__name__", "__qualname__", "__module__"])
def test_a_method_looks_like_the_function(attribute: str) -> None:
    function = Scale.times.__wrapped__
    for method in (Scale.times, Scale(2).times):
        assert getattr(method, attribute) == getattr(function, attribute)
    assert getattr(Scale.kind, attribute) == getattr(Scale.__dict__["kind"].__wrapped__, attribute)


def test_bound_methods_are_equal_like_bound_methods() -> None:
    one, other = Equal("one"), Equal("other")
    assert one.who == one.who and hash(one.who) == hash(one.who)
    assert one.who != other.who, "equal instances are still two"
    assert Scale(1).times != Scale(1).kind
    assert one.who != "who"
    assert len({one.who, one.who, other.who}) == 2
    assert one.who.__self__ is one
    assert isinstance(hash(Unhashable("x").who), int), "by the instance's identity, whether it has a hash or not"


def test_wrong_arguments_are_the_functions_own_type_error() -> None:
    with pytest.raises(TypeError, match="missing 1 required positional argument: 'x'"):
        Scale(2).times()
    with pytest.raises(TypeError, match="unexpected keyword"):
        Scale(2).times(1, z=1)
    with pytest.raises(TypeError, match="argument 'x', of type list"):
        Scale(2).times([])


def test_methods_pickle_by_name() -> None:
    assert pickle.loads(pickle.dumps(Scale.times)) is Scale.times
    assert copy.copy(Scale.times) is copy.deepcopy(Scale.times) is Scale.times
    bound = pickle.loads(pickle.dumps(Scale(4).times))
    assert bound(2) == 8
    assert pickle.loads(pickle.dumps(Scale.kind))(1) == ("Scale", 1)


@pytest.mark.parametrize("name", ["below", "above"])
def test_staticmethods_pickle_by_name_with_memoize_below_and_above(name: str) -> None:
    function = getattr(Scale, name)
    assert pickle.loads(pickle.dumps(function)) is function
    assert copy.copy(function) is copy.deepcopy(function) is function


def test_repr_of_a_method_says_what_it_is_and_shows_no_results() -> None:
    two = Scale(2)
    two.times(987654)
    assert "Scale.times" in repr(Scale.times) and "times" in repr(two.times)
    assert str(2 * 987654) not in repr(two.times)


def test_repr_of_a_bound_method_is_pythons_own() -> None:
    class Shown(Scale):
        def __repr__(self) -> str:
            return "<shown>"

    assert repr(Shown(2).times) == "<bound method Scale.times of <shown>>"
    assert repr(Scale.kind) == f"<bound method Scale.kind of {Scale!r}>"


@pytest.mark.parametrize("options", [{}, {"ttl": 5}, {"stats": True}, {"typed": True}, {"index": "atomic"}], ids=str)
def test_methods_with_options(options: Any) -> None:
    class Thing:
        @memoize(**options)
        def give(self, x: Any, *, y: Any = 0) -> Any:
            return [x, y]

    thing = Thing()
    assert thing.give(1) is thing.give(x=1, y=0)
    assert thing.give.invalidate(1) is True
    assert thing.give.peek(1) is None
    assert_valid(thing.give.cache)


def test_key_and_ignore_of_a_method() -> None:
    class Thing:
        @memoize(key=lambda self, x: x % 10)
        def by_key(self, x: int) -> int:
            return x

        @memoize(ignore=("log",))
        def ignoring(self, x: int, log: Any) -> int:
            return x

    thing = Thing()
    assert thing.by_key(1) == thing.by_key(11) == 1 and Thing().by_key(11) == 11
    assert thing.ignoring(1, []) == thing.ignoring(1, {}) == 1
    with pytest.raises(ValueError, match="nme"):
        memoize(ignore=("nme",))(Scale.times.__wrapped__)
