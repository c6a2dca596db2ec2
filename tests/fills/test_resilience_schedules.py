"""Every schedule of two threads, with one preemption, at stale values and background fills; with two, if asked.

The pool is one that keeps what it is asked to do; one of the two threads, or the check, does it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

import pytest

from areole import AtomicCache, Resilience, Storage
from areole._platform.worker_pool import pool
from areole.testing import ManualClock, assert_valid

from ..interleave import EXHAUSTIVE, explore, point

AT_ONCE = Resilience(stale_ttl=5)
IN_NEED = Resilience(stale_ttl=5, fail_safe=True)

over_both_indexes = pytest.mark.parametrize("options", [{}, {"max_items": 9}], ids=["dict", "bounded"])


MOST = 2 if EXHAUSTIVE else 1
"""With 2 this file takes two minutes on 3.13t."""


def preemptions(options: dict[str, Any]) -> int:
    """One; two, if the environment asks, for an unbounded index, whose every operation is shorter."""
    return 1 if options else MOST


class Stale:
    """A cache whose one value, version 0, is stale. A fill gives the version that there was when it began."""

    def __init__(self, resilience: Resilience, options: dict[str, Any]) -> None:
        self.version = 0
        self.fills: list[int] = []
        self.error: Exception | None = None
        self.told: list[Any] = []
        clock = ManualClock()
        self.cache: Any = AtomicCache(
            self.fill,
            10,
            clock=clock,
            resilience=resilience,
            on_removal=lambda key, value, cause: self.told.append((value, cause)),
            **options,
        )
        assert self.look_up() == 0
        clock.advance(10)

    def fill(self, key: str) -> int:
        version = self.version
        self.fills.append(version)
        point()
        if self.error is not None:
            raise self.error
        return version

    def look_up(self) -> Any:
        return self.cache["key"]

    def invalidate(self) -> None:
        self.version = 1
        self.cache.invalidate("key")


class StaleInStorage(Stale):
    def __init__(self, resilience: Resilience, options: dict[str, Any]) -> None:
        self.version, self.fills, self.error, self.resilience = 0, [], None, resilience
        clock = ManualClock()
        self.cache = Storage(default_ttl=10, clock=clock, **options)
        assert self.look_up() == 0
        clock.advance(10)

    def look_up(self) -> Any:
        return self.cache.get_or_fill("key", self.fill, resilience=self.resilience)


@pytest.fixture
def asked() -> Iterator[list[Callable[[], Any]]]:
    """What the pool was asked to do and has not done."""
    tasks: list[Callable[[], Any]] = []

    def submit(task: Callable[[], Any], *of_cache: Any) -> bool:
        tasks.append(task)
        return True

    with mock.patch.object(pool, "submit", submit):
        yield tasks


def do_all(tasks: list[Callable[[], Any]]) -> None:
    while tasks:
        tasks.pop()()


@over_both_indexes
@pytest.mark.parametrize("resilience", [AT_ONCE, IN_NEED], ids=["at once", "in need"])
def test_in_every_schedule_no_stale_value_outlives_an_invalidation(
    asked: Any, resilience: Resilience, options: dict[str, Any]
) -> None:
    """Broken: A finds the stale entry; B invalidates and returns; A's refresh puts the old value back."""

    def scenario() -> Any:
        asked.clear()
        stale = Stale(resilience, options)

        def invalidate_and_look() -> Any:
            stale.invalidate()
            return stale.look_up()

        def check(results: list[Any]) -> None:
            assert results[0] in (0, 1) and results[1] == 1
            do_all(asked)
            assert stale.look_up() == stale.cache.get("key") == 1
            assert_valid(stale.cache)

        return stale.look_up, invalidate_and_look, check

    explore(scenario, preemptions=preemptions(options))


@over_both_indexes
def test_in_every_schedule_an_invalidation_wins_over_a_background_fill(asked: Any, options: dict[str, Any]) -> None:
    """Whether it comes before the fill, during it, or after."""

    def scenario() -> Any:
        asked.clear()
        stale = Stale(AT_ONCE, options)
        assert stale.look_up() == 0

        def invalidate_and_look() -> Any:
            stale.invalidate()
            return stale.look_up()

        def check(results: list[Any]) -> None:
            assert results[1] == 1 and stale.look_up() == 1
            assert stale.cache.cache_info().background_fills <= 1
            left = [value for value, _ in stale.told]
            assert sorted(left) in ([0], [1], [0, 0], [0, 1]), left  # what was taken out is read after it was
            assert_valid(stale.cache)

        return asked.pop(), invalidate_and_look, check

    explore(scenario, preemptions=preemptions(options))


@pytest.mark.parametrize("change", ["set", "delete"])
def test_in_every_schedule_what_is_set_wins_over_a_background_fill(asked: Any, change: str) -> None:
    def scenario() -> Any:
        asked.clear()
        stale = StaleInStorage(AT_ONCE, {"max_items": 9})
        assert stale.look_up() == 0

        def set_or_delete() -> None:
            stale.cache.set("key", 7) if change == "set" else stale.cache.delete("key")

        def check(results: list[Any]) -> None:
            assert results == [None, None]
            assert stale.cache.get("key", None) == (7 if change == "set" else None)
            assert_valid(stale.cache)

        return asked.pop(), set_or_delete, check

    explore(scenario, preemptions=MOST)


@over_both_indexes
def test_in_every_schedule_two_background_fills_that_were_asked_for_are_one(
    asked: Any, options: dict[str, Any]
) -> None:
    def scenario() -> Any:
        asked.clear()
        stale = Stale(AT_ONCE, options)
        stale.look_up()
        task = asked.pop()

        def check(results: list[Any]) -> None:
            assert results == [None, None] and len(stale.fills) == 2
            assert stale.cache.cache_info().background_fills == 1
            assert_valid(stale.cache)

        return task, task, check

    explore(scenario, preemptions=preemptions(options))


@over_both_indexes
@pytest.mark.parametrize("fails", [False, True])
def test_in_every_schedule_lookups_never_go_back_to_the_stale_value(
    asked: Any, fails: bool, options: dict[str, Any]
) -> None:
    """Against a background fill: old, old; old, new; or new, new. `get` sees the new value or none."""

    def scenario() -> Any:
        asked.clear()
        stale = Stale(AT_ONCE, options)
        stale.look_up()
        stale.version = 1
        stale.error = ValueError() if fails else None

        def look() -> Any:
            return stale.look_up(), stale.cache.get("key"), stale.look_up()

        def check(results: list[Any]) -> None:
            first, got, second = results[1]
            assert first <= second and got in (None, 1) and (got is None or second == 1)
            assert not (fails and second == 1)
            do_all(asked)
            assert len(stale.fills) == 2, "a failure was not held off, or a value was filled twice"
            assert_valid(stale.cache)

        return asked.pop(), look, check

    explore(scenario, preemptions=preemptions(options))


@over_both_indexes
def test_in_every_schedule_a_failing_fill_falls_back_for_all(options: dict[str, Any]) -> None:
    """Two lookups in need, and the fill fails: both get the stale value, and the fill is made once, as one joins the
    other or is held off."""

    def scenario() -> Any:
        stale = Stale(IN_NEED, options)
        stale.error = ValueError()

        def check(results: list[Any]) -> None:
            assert results == [0, 0] and len(stale.fills) == 2
            info = stale.cache.cache_info()
            assert (info.misses, info.stale_hits) == (1, 2)
            assert_valid(stale.cache)

        return stale.look_up, stale.look_up, check

    explore(scenario, preemptions=preemptions(options), symmetric=True)


def test_in_every_schedule_a_deadline_that_is_set_holds_where_a_refresh_fails(asked: Any) -> None:
    """Broken: A's flight copies the old deadline; B sets another, and returns True; A takes the place with the old."""

    def scenario() -> Any:
        asked.clear()
        clock = ManualClock()
        storage: Storage[int] = Storage(default_ttl=10, max_items=9, clock=clock)
        plan = Resilience(stale_ttl=5, refresh_ahead=0.5)
        storage.get_or_fill("key", lambda key: 0, resilience=plan)
        clock.advance(5)

        def fail(key: object) -> int:
            raise ValueError

        storage.get_or_fill("key", fail, resilience=plan)

        def check(results: list[Any]) -> None:
            assert results == [None, True]
            assert storage.ttl_of("key") == 2
            assert_valid(storage)

        return asked.pop(), (lambda: storage.expire_in("key", 2)), check

    explore(scenario, preemptions=MOST)
