"""Results of memoized methods go with their instance, and are never seen by another one."""

from __future__ import annotations

import copy
import dataclasses
import pickle
import weakref
from typing import Any

import pytest

from areole import AtomicCache

from ..kit import collect, is_free_threaded, run_threads

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


def is_freed(ref: weakref.ref[Any]) -> bool:
    """Say whether it has been freed: at once, by its reference count, on a build with a GIL."""
    if is_free_threaded():
        collect()
    return ref() is None


class Tagged(AtomicCache[Any, Any]):
    """A user's cache, which says that it cannot be pickled."""

    __slots__ = ("__dict__", "never_set", "tag")

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.tag = "mine"
        self.more = 2

    def __reduce__(self) -> Any:
        raise TypeError("not to be pickled")

    __getstate__ = __reduce__


def test_the_caches_of_instances_have_what_a_subclass_has_added() -> None:
    class Doubling:
        @Tagged.memoize
        def double(self, x: int) -> int:
            return 2 * x

    cache = Doubling().double.cache
    assert type(cache) is Tagged and (cache.tag, cache.more) == ("mine", 2)


@pytest.mark.parametrize("cls", [Scale, BigScale])
def test_an_instance_is_not_kept_alive_by_its_results(cls: type[Scale]) -> None:
    instance = cls(2)
    instance.times(5)
    ref = weakref.ref(instance)
    del instance
    assert is_freed(ref)


def test_results_are_freed_with_their_instance() -> None:
    class Result:
        pass

    class Maker:
        @memoize
        def make(self, key: Any) -> Any:
            return Result()

    maker, key = Maker(), Result()
    refs = [weakref.ref(maker.make(key)), weakref.ref(key)]
    del key
    assert all(ref() is not None for ref in refs)
    del maker
    assert all(map(is_freed, refs))
    assert Maker.make.cache_info().currsize == 0


def test_an_instance_that_its_own_results_refer_to_is_collected() -> None:
    class Node:
        @memoize
        def me(self) -> Any:
            return self

    node = Node()
    assert node.me() is node
    ref = weakref.ref(node)
    del node
    collect()
    assert ref() is None


def test_a_new_instance_at_the_address_of_a_dead_one_gets_none_of_its_results() -> None:
    seen_ids: set[int] = set()
    reused = 0
    for n in range(2000):
        instance = Scale(n)
        reused += id(instance) in seen_ids
        seen_ids.add(id(instance))
        assert instance.times.peek(1) is None
        assert instance.times(1) == n
    assert reused, "no address was used again: the test shows nothing"
    del instance
    collect()
    assert len(Scale.times.cache_info.__self__.living.records) < 10


def test_threads_that_create_and_drop_instances_get_no_results_of_dead_ones() -> None:
    def churn(start: int) -> None:
        for n in range(start, start + 500):
            assert Scale(n).times(1) == n

    results = run_threads(*[lambda start=start: churn(start) for start in (0, 10_000)])  # type: ignore[misc]
    assert results == [None, None]


def test_a_finalizer_may_call_the_method() -> None:
    said: list[Any] = []

    class Dying:
        def __init__(self, name: str) -> None:
            self.name = name

        @memoize
        def who(self) -> str:
            return self.name

        def __del__(self) -> None:
            said.append(self.who())

    for name in ("not called before", "called before"):
        dying = Dying(name)
        if name == "called before":
            dying.who()
        del dying
        collect()
        assert said.pop() == name
    dying = Dying("in a cycle")
    dying.who()
    dying.myself = dying  # type: ignore[attr-defined]
    del dying
    collect()
    assert said == ["in a cycle"]
    assert Dying.who.cache_info().currsize == 0
    assert Dying.who.cache_info.__self__.living.records == {}


def test_slots_without_weakref_are_refused_with_advice() -> None:
    class Slotted:
        __slots__ = ("x",)

        @memoize
        def double(self, x: int) -> int:
            return 2 * x

    with pytest.raises(TypeError, match=r"of Slotted has no place.*'__weakref__' in its __slots__.*areole\.cached"):
        Slotted().double(1)


def test_slots_with_weakref_work() -> None:
    class Slotted:
        __slots__ = ("__weakref__", "x")

        @memoize
        def give(self, x: int) -> Any:
            return [x]

    slotted = Slotted()
    assert slotted.give(1) is slotted.give(1)
    ref = weakref.ref(slotted)
    del slotted
    assert is_freed(ref)


def test_a_dataclass_with_plain_slots_is_refused_with_advice() -> None:
    @dataclasses.dataclass(slots=True)
    class Point:
        x: int

        @memoize
        def give(self) -> int:
            return self.x

    with pytest.raises(TypeError, match="__weakref__"):
        Point(1).give()


def test_copies_of_an_instance_share_no_results() -> None:
    two = Scale(2)
    two.times(5)
    for other in (copy.copy(two), copy.deepcopy(two), pickle.loads(pickle.dumps(two))):
        other.factor = 3
        assert other.times.peek(5) is None
        assert other.times(5) == 15
    assert two.times(5) == 10
