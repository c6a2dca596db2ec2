"""Memoized methods: results belong to the instance, by identity; every kind of class."""

from __future__ import annotations

import abc
import dataclasses
import enum
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


class BigScale(Scale):
    """Inherits everything."""


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


def test_each_instance_has_results_of_its_own() -> None:
    two, three = Scale(2), Scale(3)
    assert [two.times(5), three.times(5), two.times(5), two.times(x=5, y=1)] == [10, 15, 10, 10]
    assert two.calls == three.calls == [(5, 1)]
    assert_valid(two.times.cache)
    assert_valid(three.times.cache)


@pytest.mark.parametrize("cls", [Equal, Unhashable])
def test_instances_are_told_apart_by_identity(cls: type[Equal]) -> None:
    """Not by equality, nor by hash: equal instances may differ in what the method reads."""
    one, other = cls("one"), cls("other")
    assert one == other
    assert (one.who(), other.who(), one.who(), cls.who(other)) == ("one", "other", "one", "other")
    assert one.who.invalidate() is True
    assert one.who.peek() is None and other.who.peek() == "other"
    assert_valid(one.who.cache)


def test_calling_through_the_class_uses_the_instances_results() -> None:
    two = Scale(2)
    assert Scale.times(two, 5) == two.times(5) == Scale.times(self=two, x=5) == BigScale.times(two, y=1, x=5) == 10
    assert two.calls == [(5, 1)]


def test_a_first_parameter_of_another_name_is_an_instance_all_the_same() -> None:
    class Plain:
        __hash__ = None  # type: ignore[assignment]

        @memoize
        def who(this, x: int) -> Any:
            return [x]

    plain = Plain()
    assert plain.who(1) is plain.who(1)
    assert Plain.who(plain, 1) is plain.who(1)
    assert Plain.who.invalidate(plain, 1) is True
    assert plain.who.peek(1) is None


@pytest.mark.parametrize(
    "options", [{"eq": True}, {"frozen": True}, {"eq": True, "slots": True, "weakref_slot": True}], ids=str
)
def test_dataclasses(options: Any) -> None:
    @dataclasses.dataclass(**options)
    class Point:
        x: int

        @memoize
        def give(self, y: int) -> Any:
            return [self.x, y]

    one, other = Point(1), Point(1)
    assert one == other
    assert one.give(2) is one.give(2) == [1, 2]
    assert other.give(2) is not one.give(2)


def test_enum_members() -> None:
    class Color(enum.Enum):
        RED = 1
        BLUE = 2

        @memoize
        def give(self) -> Any:
            return [self.value]

    assert Color.RED.give() is Color.RED.give() == [1]
    assert Color.BLUE.give() == [2]
    assert list(Color) == [Color.RED, Color.BLUE]


def test_methods_of_a_metaclass() -> None:
    class Meta(type):
        @memoize
        def give(cls, x: int) -> Any:
            return [cls.__name__, x]

    class A(metaclass=Meta):
        pass

    class B(A):
        pass

    assert A.give(1) is A.give(1) == ["A", 1]
    assert B.give(1) == ["B", 1]


def test_inherited_and_overridden_methods_do_not_mix() -> None:
    class Base:
        @memoize
        def give(self, x: int) -> list[Any]:
            return ["base", x]

    class Derived(Base):
        @memoize
        def give(self, x: int) -> list[Any]:
            return ["derived", *super().give(x)]

    class Inheriting(Base):
        pass

    derived = Derived()
    assert derived.give(1) is derived.give(1) == ["derived", "base", 1]
    assert Base.give(derived, 1) is Base.give(derived, 1) == ["base", 1]
    assert derived.give.invalidate(1) is True
    assert Base.give.peek(derived, 1) == ["base", 1]
    assert Inheriting().give(1) == ["base", 1]


def test_two_memoized_methods_of_one_class_do_not_mix() -> None:
    class Pair:
        @memoize
        def one(self, x: int) -> str:
            return f"one {x}"

        @memoize
        def two(self, x: int) -> str:
            return f"two {x}"

    pair = Pair()
    assert (pair.one(1), pair.two(1), pair.one(1)) == ("one 1", "two 1", "one 1")


def test_an_abstract_method_stays_abstract() -> None:
    class Base(abc.ABC):
        @abc.abstractmethod
        @memoize
        def one(self) -> int: ...

        @memoize
        @abc.abstractmethod
        def two(self) -> int: ...

    assert Base.__abstractmethods__ == {"one", "two"}
    with pytest.raises(TypeError, match="abstract"):
        Base()  # type: ignore[abstract]

    class Derived(Base):
        @memoize
        def one(self) -> int:
            return 1

        @memoize
        def two(self) -> int:
            return 2

    assert (Derived().one(), Derived().two()) == (1, 2)


def test_a_property_above_is_read_once() -> None:
    calls: list[int] = []

    class Thing:
        @property
        @memoize
        def size(self) -> int:
            """Tell the size."""
            calls.append(0)
            return 7

    thing = Thing()
    assert thing.size == thing.size == 7
    assert len(calls) == 1
    assert Thing().size == 7 and len(calls) == 2
    assert Thing.size.fget.invalidate(thing) is True  # type: ignore[attr-defined]
    assert thing.size == 7 and len(calls) == 3


def test_a_method_without_named_parameters() -> None:
    class Any_:
        __hash__ = None  # type: ignore[assignment]

        @memoize
        def collect(*args: Any, **kwargs: Any) -> Any:
            return [args[1:], kwargs]

    instance = Any_()
    assert instance.collect(1, a=2) is instance.collect(1, a=2) == [(1,), {"a": 2}]
    assert Any_().collect(1, a=2) is not instance.collect(1, a=2)
