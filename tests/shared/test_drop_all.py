"""What the thread that listens drops all at once ends for every reader first, and is removed after that."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from unittest import mock

import pytest

from areole import AtomicCache, Resilience
from areole._core.flight import Flight
from areole._state.cache_state import CacheState
from areole.shared import kept
from areole.shared.wire_keys import WireKeys
from areole.testing import ManualClock, assert_valid

from ..interleave import EXHAUSTIVE, explore, point
from ..kit import Gate, start_threads

over_both_indexes = pytest.mark.parametrize("options", [{}, {"max_items": 99}], ids=["dict", "bounded"])
FAIL_SAFE = Resilience(stale_ttl=100, fail_safe=True)


class Plane:
    """Every thread is its own."""

    lag, listens = 2.0, True

    def __init__(self) -> None:
        self.hears = True

    def add(self, tier: object) -> None:
        pass

    def is_here(self) -> bool:
        return True

    def is_live(self) -> bool:
        return self.hears


def in_front(cache: Any, plane: Any = None) -> kept.Kept:
    plane = plane or Plane()
    tier = kept.Kept(WireKeys("shop", True), None, plane, None)
    tier.use(cache._state, cache._fills.rules.stale)
    return tier


def call_before_the_first_removal(call: Callable[[], object], removes: str = "remove_all") -> Any:
    remove_all = getattr(CacheState, removes)

    def remove(state: CacheState, *args: Any) -> None:
        call()
        remove_all(state, *args)

    return mock.patch.object(CacheState, removes, remove)


OPERATIONS: list[tuple[str, dict[str, Any]]] = [("refresh", {}), ("__getitem__", {"max_items": 9})]


@pytest.mark.parametrize(("ask", "options"), OPERATIONS if EXHAUSTIVE else OPERATIONS[:1])
def test_in_every_schedule_what_began_before_a_drop_is_no_hit_after_its_first_step(ask: str, options: Any) -> None:
    def scenario() -> Any:
        version, seen = [0], []

        def fill(key: str) -> int:
            now = version[0]
            point()
            return now

        cache = AtomicCache(fill, 100, clock=ManualClock(), **options)
        cache["key"]
        tier = in_front(cache)

        def change() -> Any:
            version[0] = 1
            with call_before_the_first_removal(lambda: seen.append(cache.peek("key", None))):
                tier.drop_all()
            return cache["key"]

        def check(results: list[Any]) -> None:
            assert results[0] in (0, 1) and results[1] == 1 == cache["key"]
            assert len(seen) == 1 and 0 not in seen
            assert_valid(cache)

        return lambda: getattr(cache, ask)("key"), change, check

    explore(scenario, preemptions=1)


@over_both_indexes
@pytest.mark.parametrize(
    "more",
    [{}, {"ttl": 100}, {"ttl": 100, "resilience": FAIL_SAFE}, {"idle": 9}],
    ids=["for ever", "ttl", "stale", "idle"],
)
@pytest.mark.parametrize("removes", ["clear", "remove_all"])
def test_nothing_can_be_served_when_the_first_entry_is_removed(options: Any, more: Any, removes: str) -> None:
    gate, clock = Gate(), ManualClock()
    cache: Any = AtomicCache(lambda key: gate.enter() if key == "runs" else key, clock=clock, **options, **more)
    cache.fetch_many(["stale" if "resilience" in more else "a"])
    clock.advance(100 if "resilience" in more else 0)
    cache.fetch_many(["b", "c"])
    plane, runs = Plane(), start_threads(lambda: cache["runs"])
    plane.hears = removes == "remove_all"
    tier = in_front(cache, plane)
    gate.wait_until_entered()
    usable: list[Any] = []

    def look() -> None:
        usable.append("looked")
        usable.extend(each for each in cache._state.index.snapshot() if each.is_usable(clock()) or each.flight)

    with call_before_the_first_removal(look, removes):
        tier.drop_all()
    assert usable == ["looked"] and not cache._state.index.snapshot()
    gate.open()
    runs()
    assert "runs" not in cache and cache.cache_info().expirations == 0
    assert_valid(cache)


@over_both_indexes
def test_a_refresh_that_has_taken_the_place_of_a_copy_meanwhile_shows_nothing(options: Any) -> None:
    """Broken: 1. the copy is in a snapshot  2. a refresh takes its place, and shows its value  3. the copy ends."""
    cache = AtomicCache[str, str](str, 100, **options)
    cache["a"]
    copy, seen, take_snapshot = cache._state.find("a"), [], CacheState.snapshot_to_remove

    def and_then_replace(state: CacheState) -> Any:
        entries: Any = take_snapshot(state)
        if entries == [copy]:
            assert state.replace_entry(entries[0], Flight("a", type(copy)).entry)  # type: ignore[arg-type]
        return entries

    look = call_before_the_first_removal(lambda: seen.append(cache.peek("a", None)))
    with look, mock.patch.object(CacheState, "snapshot_to_remove", and_then_replace):
        in_front(cache).drop_all()
    assert seen == [None] and not cache._state.index.snapshot()


def test_what_ends_while_the_plane_hears_is_removed_a_part_at_a_time_and_what_is_newer_stays(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(kept, "MOST_REMOVED", 2)
    plane = Plane()
    cache = AtomicCache[str, str](lambda key: key + key, 100)
    tier, index = in_front(cache, plane), cache._state.index
    cache.fetch_many([*"abcde"])
    tier.drop_all()
    assert len(cache) == 0 and len(index.snapshot()) == 3
    assert cache["e"] == "ee"
    for _ in range(3):
        tier.remove_some()
    assert list(cache) == ["e"] and len(index.snapshot()) == 1
    plane.hears = False  # then there is nothing that it could miss
    cache.fetch_many([*"abcde"])
    tier.drop_all()
    assert not index.snapshot()


def test_a_tag_of_very_many_is_dropped_with_all_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept, "MOST_REMOVED", 2)
    cache = AtomicCache[str, str](str, 100, tags=lambda key: ["few" if key in "ab" else "many"])
    tier = in_front(cache)
    cache.fetch_many([*"abcde"])
    tier.drop(tier._keys.tag_prefix + "few")
    assert sorted(cache) == ["c", "d", "e"]
    cache["a"]
    tier.drop(tier._keys.tag_prefix + "many")
    assert not list(cache)
