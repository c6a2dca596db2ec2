"""Stale times across processes: by the store's own time to live, one process refreshes, and fail_safe falls back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from areole import CACHE_MISS, AsyncAtomicCache, AtomicCache, BackendError, FillTimeout, Resilience, SharedCache
from areole._core.entry import StaleTimes, TimedEntry
from areole.backends import MemoryBackend
from areole.shared.fill_call import FillCall
from areole.shared.stale_times import Wanted
from areole.testing import ManualClock

from ..kit import PATIENCE, Gate, run, start_threads
from .model import START
from .schedules import explore
from .servers import require_redis_py, wait_until
from .stepped import World as Steps

TTL, STALE = 10.0, 100.0


class World:
    """Processes with one store, one clock and one source."""

    def __init__(self, **rules: Any) -> None:
        self.clock = ManualClock(1000.0)
        self.store = Store(self.clock)
        self.rules = {"stale_ttl": STALE, **rules}
        self.source: Any = 1
        self.fills: list[int] = []
        self.gate: Callable[[], object] = lambda: None

    def process(self, number: int = 0, on_error: Any = "raise", **options: Any) -> AtomicCache[str, Any]:
        shared = SharedCache[Any](self.store, namespace="shop", clock=self.clock, on_error=on_error)

        def fill(key: str) -> Any:
            self.fills.append(number)
            self.gate()
            if isinstance(self.source, Exception):
                raise self.source
            return self.source

        return AtomicCache(fill, TTL, shared=shared, clock=self.clock, resilience=Resilience(**self.rules), **options)

    def one_tier(self) -> SharedCache[Any]:
        return SharedCache(self.store, namespace="shop", clock=self.clock)


class Store(MemoryBackend):
    error: Exception | None = None

    def __init__(self, clock: Any) -> None:
        super().__init__(clock=clock)
        self.asked_for_ttl = 0

    def ttl_of(self, key: str, /) -> Any:
        self.asked_for_ttl += 1
        return super().ttl_of(key)

    def _check_open(self) -> None:
        if self.error is not None:
            raise self.error


def eventually(world: World, cache: Any, value: Any) -> None:
    """Wait for a refresh; time passes, as one that is left to another process is looked for again after a second."""
    wait_until(lambda: world.clock.advance(0.1) or cache["a"] == value, f"{value!r}", PATIENCE)  # type: ignore[func-returns-value]


def test_a_stale_value_of_another_process_is_served_at_once_while_one_refreshes() -> None:
    world = World()
    assert world.process(0)["a"] == 1
    world.clock.advance(TTL)
    world.source, gate = 2, Gate()
    world.gate = gate.enter
    others = [world.process(number) for number in (1, 2, 3)]
    assert [other["a"] for other in others] == [1, 1, 1]
    gate.wait_until_entered()
    world.clock.advance(1.5)  # past the pause after which each looks again
    assert [other["a"] for other in others] == [1, 1, 1]
    gate.open()
    for other in others:
        eventually(world, other, 2)
    assert len(world.fills) == 2


def test_with_fail_safe_a_lookup_fills_and_has_the_stale_value_of_the_store_to_fall_back_on() -> None:
    world = World(fail_safe=True)
    assert world.process(0)["a"] == 1
    world.clock.advance(TTL)
    world.source = ZeroDivisionError()
    failing = world.process(1)
    assert failing["a"] == 1 and failing.cache_info().stale_hits == 1
    world.source = 2
    assert world.process(2)["a"] == 2 and world.fills == [0, 1, 2]


def test_nothing_is_served_after_ttl_and_stale_ttl() -> None:
    for fail_safe in (False, True):
        world = World(fail_safe=fail_safe)
        assert world.process(0)["a"] == 1
        world.clock.advance(TTL + STALE - 0.5)
        world.source = ZeroDivisionError()
        late = world.process(1)
        assert late["a"] == 1
        world.clock.advance(0.5)
        with pytest.raises(ZeroDivisionError):
            late["a"]
        with pytest.raises(ZeroDivisionError):
            world.process(2)["a"]


def test_ones_own_stale_ttl_holds_for_what_others_have_stored() -> None:
    world = World()
    assert world.process(0)["a"] == 1
    world.source, world.rules = 2, {"stale_ttl": 5}
    world.clock.advance(TTL + 5)
    assert world.process(1)["a"] == 2
    world.rules = {"hard_timeout": 60}
    assert AtomicCache(str, shared=world.one_tier(), clock=world.clock)["a"] == 2


def test_a_refresh_ahead_is_made_by_one_process_and_the_others_take_what_is_newer_in_the_store() -> None:
    world = World(refresh_ahead=0.5)
    world.rules.pop("stale_ttl")
    caches = [world.process(number) for number in range(3)]
    assert [cache["a"] for cache in caches] == [1, 1, 1] and world.fills == [0]
    world.clock.advance(TTL / 2)
    world.source, gate = 2, Gate()
    world.gate = gate.enter
    assert [cache["a"] for cache in caches] == [1, 1, 1]
    gate.wait_until_entered()
    world.clock.advance(1.5)
    assert [cache["a"] for cache in caches] == [1, 1, 1]
    gate.open()
    for cache in caches:
        eventually(world, cache, 2)
    assert len(world.fills) == 2


def test_what_is_due_in_the_store_is_due_in_a_process_that_finds_it() -> None:
    """The rules count from the whole ttl, not from what is left of it."""
    world = World(refresh_ahead=0.5)
    assert world.process(0)["a"] == 1
    world.clock.advance(TTL - 4)
    world.source = 2
    late = world.process(1)
    assert late["a"] == 1
    eventually(world, late, 2)


def test_a_value_in_the_store_that_is_newer_than_a_due_copy_is_taken() -> None:
    world = World(refresh_ahead=0.5)
    cache = world.process(0)
    assert cache["a"] == 1
    entry = cache._state.find("a")
    world.clock.advance(TTL / 2)
    world.source = 2
    assert world.process(1).refresh("a") == 2  # its message is lost: the copy is put back
    cache._state.index.insert_if_absent(entry)  # type: ignore[arg-type]
    assert cache["a"] == 1
    eventually(world, cache, 2)
    assert world.fills == [0, 1]


def test_the_token_of_a_process_that_died_is_taken_when_its_lease_has_ended() -> None:
    world = World()
    assert world.process(0)["a"] == 1
    world.clock.advance(TTL)
    world.store.take("shop:v1:a", b"of a dead process", 20.0, world.store.get("shop:v1:a"))
    world.source = 2
    other = world.process(1)
    assert other["a"] == 1 == other["a"] and world.fills == [0]
    world.clock.advance(20)
    eventually(world, other, 2)


def test_one_tier_takes_no_stale_value_for_a_live_one() -> None:
    world = World()
    assert world.process(0)["a"] == 1
    shop = world.one_tier()
    shop["plain"] = 0
    asked = world.store.asked_for_ttl
    assert shop["plain"] == 0 and world.store.asked_for_ttl == asked  # it takes no second request
    assert shop["a"] == 1 == shop.get_many(["a"])["a"] and "a" in shop and shop.ttl_of("a") == TTL
    world.clock.advance(TTL)
    assert shop.get("a") is None and shop.get_many(["a", "plain"]) == {"plain": 0} and "a" not in shop
    assert shop.ttl_of("a") is CACHE_MISS and not shop.expire_in("a", 5)
    assert shop.get_or_fill("a", lambda key: "filled") == "filled" == shop["a"]
    assert shop.ttl_of("a") is None


def test_add_replaces_a_stale_value_and_expire_in_counts_to_the_end_of_the_ttl() -> None:
    world = World()
    assert world.process(0)["a"] == 1
    shop = world.one_tier()
    assert shop.expire_in("a", 5) and shop.ttl_of("a") == 5
    world.clock.advance(5)
    assert shop.add("a", "added") and shop["a"] == "added"


def test_a_call_of_one_tier_takes_nothing_of_a_refresh_that_is_left_to_another_process() -> None:
    world = World()
    assert world.process(0)["a"] == 1
    world.clock.advance(TTL)
    world.store.take("shop:v1:a", b"of another process", 20.0, world.store.get("shop:v1:a"))
    tier = world.process(1)
    assert tier["a"] == 1 == tier["a"]
    assert world.one_tier().get_or_fill("a", lambda key: "filled") == "filled"


@pytest.mark.parametrize("has_copy", [False, True])
def test_a_refresh_that_is_called_fills_whatever_there_is_and_whoever_else_does(has_copy: bool) -> None:
    world = World()
    cache = world.process(0)
    assert cache["a"] == 1
    world.clock.advance(TTL)
    world.store.take("shop:v1:a", b"of another process", 20.0, world.store.get("shop:v1:a"))
    world.source = 2
    assert (cache if has_copy else world.process(1)).refresh("a") == 2 and len(world.fills) == 2


def test_timeouts_hold_for_the_store_too() -> None:
    world = World(hard_timeout=0.05)
    gate = Gate()
    world.gate = gate.enter
    with pytest.raises(FillTimeout):
        world.process(0)["a"]
    gate.open()


def test_a_value_too_large_to_be_kept_here_is_filled_and_not_found_for_ever() -> None:
    for fail_safe in (False, True):
        world = World(fail_safe=fail_safe)
        assert world.process(0)["a"] == 1
        world.clock.advance(TTL)
        world.source = 2
        small = world.process(1, max_bytes=1000, weigher=lambda key, value: 5000)
        assert small["a"] == 2 == small["a"]


def test_the_same_for_tasks_and_a_memoized_function() -> None:
    for fail_safe in (False, True):
        world = World(fail_safe=fail_safe)
        assert world.process(0)["a"] == 1
        world.clock.advance(TTL)
        world.source = 2
        expected = 2 if fail_safe else 1

        async def main(world: World = world, expected: int = expected) -> None:
            shared = world.one_tier()

            async def fill(key: str) -> Any:
                return world.source

            cache = AsyncAtomicCache(fill, TTL, shared=shared, clock=world.clock, resilience=Resilience(**world.rules))
            assert await asyncio.gather(cache["a"], cache["a"]) == [expected, expected]
            async with asyncio.timeout(PATIENCE):
                while await cache["a"] != 2:
                    await asyncio.sleep(0.001)

        run(main)

    world = World()

    def make() -> Any:
        @AtomicCache.memoize(
            TTL, shared=world.one_tier(), clock=world.clock, name="f", resilience=Resilience(**world.rules)
        )
        def f(number: int) -> Any:
            return world.source

        return f

    assert make()(1) == 1
    world.clock.advance(TTL)
    world.source = 2
    other = make()
    assert other(1) == 1
    wait_until(lambda: other(1) == 2, "the refresh", PATIENCE)


@pytest.mark.parametrize("fail_safe", [False, True])
def test_the_same_for_many_keys(fail_safe: bool) -> None:
    world = World(fail_safe=fail_safe)
    asked: list[list[str]] = []

    def fill_many(keys: list[str]) -> dict[str, Any]:
        asked.append(keys)
        return dict.fromkeys(keys, world.source)

    def make() -> AtomicCache[str, Any]:
        rules = Resilience(**world.rules)
        return AtomicCache(fill_many=fill_many, ttl=TTL, shared=world.one_tier(), clock=world.clock, resilience=rules)

    assert make().fetch_many(["a", "b"]) == {"a": 1, "b": 1}
    world.clock.advance(TTL)
    world.source, other = 2, make()
    stale = 2 if fail_safe else 1
    assert other.fetch_many(["a", "b", "c"]) == {"a": stale, "b": stale, "c": 2}
    wait_until(lambda: other.fetch_many(["a", "b"]) == {"a": 2, "b": 2}, "the refreshes", PATIENCE)
    assert sorted(key for keys in asked for key in keys) == ["a", "a", "b", "b", "c"]


def test_while_the_store_is_down_fills_go_on_and_fail_safe_falls_back_on_them() -> None:
    world = World(fail_safe=True)
    cache = world.process(0, on_error="miss")
    world.store.error = BackendError("down")
    assert cache["a"] == 1
    world.source = 2
    assert cache["a"] == 2  # not kept as live
    world.source = ZeroDivisionError()
    assert cache["a"] == 2
    raising = world.process(1)
    with pytest.raises(BackendError):
        raising["a"]
    plain = World()
    plain.store.error = world.store.error
    cache = plain.process(0, on_error="miss")
    assert cache["a"] == 1
    plain.source = ZeroDivisionError()
    with pytest.raises(ZeroDivisionError):
        cache["a"]


def test_what_was_refused_is_no_fallback() -> None:
    world = World(fail_safe=True)
    cache = world.process(0)
    world.gate = lambda: world.one_tier().delete("a")
    assert cache["a"] == 1
    world.source = ZeroDivisionError()
    with pytest.raises(ZeroDivisionError):
        cache["a"]


def test_waiters_of_a_lookup_that_finds_a_stale_value_fill_with_fail_safe() -> None:
    world = World(fail_safe=True)
    assert world.process(0)["a"] == 1
    world.clock.advance(TTL)
    world.source, gate = 2, Gate()
    cache = world.process(1)
    get_many = world.store.get_many
    world.store.get_many = lambda keys: (gate.enter(), get_many(keys))[1]  # type: ignore[method-assign, func-returns-value]
    end = start_threads(lambda: cache["a"], lambda: cache["a"])
    gate.wait_until_entered()
    gate.open()
    assert end() == [2, 2] and world.fills == [0, 1]


class Behind(Steps):
    """Processes that refresh a copy behind, step by step; what is in the store lives for 100 seconds more."""

    def steps(self, kind: str, process: int, given: Any, fill: Callable[[str], Any]) -> Any:
        if kind != "behind":
            return super().steps(kind, process, given, fill)
        copy = TimedEntry(self.key)
        copy.publish(START, StaleTimes(0.0, 2000.0, 2000.0))
        wanted = Wanted(Resilience(refresh_ahead=0.9)._rules, copy, 1000.0, bool)
        call = FillCall(self.name, self.key, fill, lambda key, value: 400.0, wanted=wanted)
        return self._operations[process].find_or_fill(call)


@pytest.mark.parametrize("third", [[], [("behind", 0)]])
def test_of_two_processes_one_refreshes_in_every_interleaving(third: list[tuple[str, int]]) -> None:
    world = Behind()
    for each in explore(world, "live", [[("behind", 0)], [("behind", 1), *third]], preemptions=3):
        assert len(each.fills) == 1, each.log
        assert world.caches[0][world.key] == "fill of 0.0" or world.caches[0][world.key] == "fill of 1.0"
        world.end(may_leave_token=False)


def test_over_redis_one_process_refreshes_and_the_other_hears_of_it(redis_single: Any) -> None:
    require_redis_py()
    redis_single.flush()
    fills, gate = [0, 0], Gate()
    shops = [
        SharedCache[Any](url, namespace="stale", timeout=10) for url in (redis_single.url, redis_single.socket_url)
    ]

    def make(number: int) -> AtomicCache[str, Any]:
        def fill(key: str) -> int:
            fills[number] += 1
            if sum(fills) > 1:
                gate.enter()
            return sum(fills)

        return AtomicCache(fill, 0.2, shared=shops[number], resilience=Resilience(stale_ttl=1000))

    one, other = make(0), make(1)
    assert one["a"] == 1 == other["a"]
    wait_until(lambda: shops[1].get("a") is None, "the end of the ttl", PATIENCE)
    assert shops[0].ttl_of("a") is CACHE_MISS
    assert one["a"] == 1 == other["a"]
    gate.wait_until_entered()
    assert one["a"] == 1 == other["a"]
    gate.open()
    wait_until(lambda: one["a"] > 1 and other["a"] > 1, "the refresh", PATIENCE)
    for shop in shops:
        shop.close()


def test_a_copy_is_wanted_by_these_rules() -> None:
    rules = Resilience(stale_ttl=5, refresh_ahead=0.5)._rules
    nothing = Wanted(rules, None, 0.0, lambda value, raw: True)
    whole = lambda: 10.0  # noqa: E731
    takes = [nothing.takes(1, b"", left, whole) for left in (1.0, -4.0, -5.0)]
    assert takes == [True, True, False]
    assert not Wanted(rules, None, 0.0, lambda value, raw: False).takes(1, b"", -4.0, whole)
