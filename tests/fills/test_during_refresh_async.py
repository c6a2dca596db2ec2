"""Refreshes, removals and expiry while tasks fill: more of the mirror of tests/fills/test_during_fill.py."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from areole import AsyncAtomicCache, RemovalCause
from areole.testing import ManualClock

from ..fills.test_during_fill_async import GatedFill
from ..kit import AsyncGate, assert_valid, until

OnLoop = Callable[..., Any]
Told = list[tuple[Any, Any, RemovalCause]]


def waits_of(cache: AsyncAtomicCache[Any, Any]) -> int:
    return cache.cache_info().waits


def test_a_refresh_joins_a_fill_on_its_way(on_loop: OnLoop) -> None:
    fill = GatedFill()
    cache = AsyncAtomicCache(fill)

    async def main() -> None:
        asking = asyncio.ensure_future(cache["key"])
        await fill.begun(1)
        refreshing = asyncio.ensure_future(cache.refresh("key"))
        await until(lambda: waits_of(cache) == 1)
        fill.let(1)
        assert await asyncio.gather(asking, refreshing) == [1, 1]

    on_loop(main)
    assert cache.cache_info().fills == 1
    assert_valid(cache)


def test_refreshes_at_once_make_one_fill(on_loop: OnLoop) -> None:
    fill = GatedFill()
    cache = AsyncAtomicCache(fill)

    async def main() -> None:
        asking = asyncio.ensure_future(cache["key"])
        await fill.begun(1)
        fill.let(1)
        await asking
        refreshing = [asyncio.ensure_future(cache.refresh("key")) for _ in range(5)]
        await fill.begun(2)
        await until(lambda: waits_of(cache) == 4)
        assert await cache["key"] == 1
        fill.let(2)
        assert await asyncio.gather(*refreshing) == [2] * 5

    on_loop(main)
    assert cache.cache_info().fills == 2
    assert_valid(cache)


@pytest.mark.parametrize("remove", ["invalidate", "clear"])
def test_a_removal_during_a_refresh_wins_over_it_and_over_what_it_replaces(on_loop: OnLoop, remove: str) -> None:
    """Invariants 3 and 9: neither the old value nor the refresh's is there afterwards, nor does it touch the newer."""
    fill = GatedFill()
    told: Told = []
    cache = AsyncAtomicCache(fill, on_removal=lambda *removed: told.append(removed))

    async def main() -> None:
        asking = asyncio.ensure_future(cache["key"])
        await fill.begun(1)
        fill.let(1)
        await asking
        refreshing = asyncio.ensure_future(cache.refresh("key"))
        await fill.begun(2)
        if remove == "clear":
            cache.clear()
        else:
            assert cache.invalidate("key") is True
        assert "key" not in cache
        newer = asyncio.ensure_future(cache["key"])
        await fill.begun(3)
        fill.let(3)
        assert await newer == 3
        fill.let(2)
        assert await refreshing == 2
        assert cache.peek("key") == 3

    on_loop(main)
    assert told == [("key", 1, RemovalCause.EXPLICIT)]
    assert_valid(cache)


def test_a_replaced_value_is_told_to_the_listener_after_the_new_one_can_be_read(on_loop: OnLoop) -> None:
    fill = GatedFill()
    told: list[Any] = []

    def listen(key: Any, value: Any, cause: RemovalCause) -> None:
        told.append((value, cause, cache.peek(key)))

    cache = AsyncAtomicCache(fill, on_removal=listen)

    async def main() -> None:
        for number in (1, 2):
            refreshing = asyncio.ensure_future(cache.refresh("key"))
            await fill.begun(number)
            fill.let(number)
            assert await refreshing == number

    on_loop(main)
    assert told == [(1, RemovalCause.REPLACED, 2)]
    assert_valid(cache)


def test_clear_during_several_fills_detaches_all_of_them(on_loop: OnLoop) -> None:
    gate = AsyncGate()

    async def fill(key: int) -> int:
        await gate.enter()
        return key

    cache = AsyncAtomicCache(fill)

    async def main() -> None:
        asking = [asyncio.ensure_future(cache[key]) for key in range(5)]
        await until(lambda: gate.entered == 5)
        cache.clear()
        gate.open()
        assert await asyncio.gather(*asking) == list(range(5))
        assert len(cache) == 0
        assert await cache.fetch_many(range(5)) == {key: key for key in range(5)}

    on_loop(main)
    assert gate.entered == 10
    assert_valid(cache)


def test_an_expired_value_is_filled_anew_by_one_of_many(on_loop: OnLoop) -> None:
    fill, clock = GatedFill(), ManualClock()
    cache = AsyncAtomicCache(fill, ttl=10, clock=clock)

    async def main() -> None:
        for number in (1, 2):
            asking = [asyncio.ensure_future(cache["key"]) for _ in range(20)]
            await fill.begun(number)
            await until(lambda number=number: waits_of(cache) == 19 * number)
            fill.let(number)
            assert await asyncio.gather(*asking) == [number] * 20
            clock.advance(10)
            assert "key" not in cache

    on_loop(main)
    assert cache.cache_info().expirations == 2
    assert_valid(cache)


def test_a_value_that_expires_during_its_refresh_is_not_filled_beside_it(on_loop: OnLoop) -> None:
    fill, clock = GatedFill(), ManualClock()
    cache = AsyncAtomicCache(fill, ttl=10, clock=clock)

    async def main() -> None:
        asking = asyncio.ensure_future(cache["key"])
        await fill.begun(1)
        fill.let(1)
        await asking
        refreshing = asyncio.ensure_future(cache.refresh("key"))
        await fill.begun(2)
        assert await cache["key"] == 1
        clock.advance(10)
        joining = asyncio.ensure_future(cache["key"])
        await until(lambda: waits_of(cache) == 1)
        fill.let(2)
        assert await asyncio.gather(refreshing, joining) == [2, 2]

    on_loop(main)
    assert cache.cache_info().fills == 2
    assert_valid(cache)


def test_versions_from_before_the_last_invalidation_are_never_seen(on_loop: OnLoop) -> None:
    """Tasks read while one raises the version and invalidates: no read that began after that gives an older one."""
    version = 0

    async def fill(key: Any) -> int:
        seen = version
        await asyncio.sleep(0)
        return seen

    cache = AsyncAtomicCache(fill)

    async def read() -> None:
        for _ in range(200):
            floor = version
            assert await cache["key"] >= floor
            await asyncio.sleep(0)

    async def raise_version() -> None:
        nonlocal version
        for _ in range(200):
            version += 1
            cache.invalidate("key")  # no await between the two: no task sees one without the other
            await asyncio.sleep(0)

    async def main() -> None:
        await asyncio.gather(raise_version(), *(read() for _ in range(5)))

    on_loop(main)
    assert cache.cache_info().fills > 50
    assert_valid(cache)
