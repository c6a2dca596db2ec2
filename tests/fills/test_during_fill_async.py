"""What happens to a value while it is being filled by a task: the mirror of tests/fills/test_during_fill.py.

Known faults: clear or remove during a fill, and the old value is stored all the same; a failing old task removes the
new entry, and an old timer expires a new one (async-lru 2.4, measured; #480, #503).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from areole import AsyncAtomicCache
from areole.testing import ManualClock

from ..kit import AsyncGate, assert_valid, until

OnLoop = Callable[..., Any]


class GatedFill:
    """Each fill of a key waits at a gate of its own, then gives its number, or raises what it is told to."""

    def __init__(self) -> None:
        self.gates: list[AsyncGate] = []
        self.errors: dict[int, Exception] = {}

    async def __call__(self, key: Any) -> int:
        gate = AsyncGate()
        self.gates.append(gate)
        number = len(self.gates)
        await gate.enter()
        if number in self.errors:
            raise self.errors[number]
        return number

    async def begun(self, number: int) -> None:
        await until(lambda: len(self.gates) == number)

    def let(self, number: int) -> None:
        self.gates[number - 1].open()


@pytest.mark.parametrize("remove", ["invalidate", "clear"])
def test_a_fill_that_was_invalidated_reaches_who_had_joined_and_is_stored_nowhere(on_loop: OnLoop, remove: str) -> None:
    """Invariant 3; and what was asked for afterwards is filled anew, beside it."""
    fill = GatedFill()
    cache = AsyncAtomicCache(fill)

    async def main() -> None:
        old = [asyncio.ensure_future(cache["key"]) for _ in range(2)]
        await fill.begun(1)
        if remove == "clear":
            cache.clear()
        else:
            assert cache.invalidate("key") is True
        new = asyncio.ensure_future(cache["key"])
        await fill.begun(2)
        fill.let(1)
        assert await asyncio.gather(*old) == [1, 1]
        assert "key" not in cache
        fill.let(2)
        assert await new == await cache["key"] == 2

    on_loop(main)
    assert_valid(cache)


def test_an_old_fill_that_fails_touches_nothing_newer(on_loop: OnLoop) -> None:
    """Invariant 9. Known fault: a failing old task removes the new entry (async-lru 2.4)."""
    fill = GatedFill()
    fill.errors[1] = ValueError("old")
    cache = AsyncAtomicCache(fill)

    async def main() -> None:
        old = asyncio.ensure_future(cache["key"])
        await fill.begun(1)
        cache.invalidate("key")
        new = asyncio.ensure_future(cache["key"])
        await fill.begun(2)
        fill.let(2)
        assert await new == 2
        fill.let(1)
        with pytest.raises(ValueError, match="old"):
            await old
        assert await cache["key"] == 2

    on_loop(main)
    assert_valid(cache)


def test_a_detached_fill_that_is_abandoned_touches_nothing_newer(on_loop: OnLoop) -> None:
    fill = GatedFill()
    cache = AsyncAtomicCache(fill)

    async def main() -> None:
        old = asyncio.ensure_future(cache["key"])
        await fill.begun(1)
        cache.invalidate("key")
        new = asyncio.ensure_future(cache["key"])
        await fill.begun(2)
        old.cancel()
        await until(lambda: fill.gates[0].cancelled)
        fill.let(2)
        assert await new == await cache["key"] == 2

    on_loop(main)
    assert_valid(cache)


def test_readers_see_the_old_value_until_a_refresh_has_ended(on_loop: OnLoop) -> None:
    fill = GatedFill()
    cache = AsyncAtomicCache(fill)

    async def main() -> None:
        asking = asyncio.ensure_future(cache["key"])
        await fill.begun(1)
        fill.let(1)
        assert await asking == 1
        refreshing = [asyncio.ensure_future(cache.refresh("key")) for _ in range(3)]
        await fill.begun(2)
        assert await cache["key"] == cache.peek("key") == cache.get("key") == 1
        fill.let(2)
        assert await asyncio.gather(*refreshing) == [2, 2, 2]
        assert await cache["key"] == 2

    on_loop(main)
    assert_valid(cache)


def test_a_refresh_that_fails_keeps_the_old_value_and_one_that_was_invalidated_stores_nothing(on_loop: OnLoop) -> None:
    fill = GatedFill()
    fill.errors[2] = ValueError("no")
    cache = AsyncAtomicCache(fill)

    async def main() -> None:
        for number in (1, 2, 3):
            asking = asyncio.ensure_future(cache.refresh("key"))
            await fill.begun(number)
            if number == 3:
                cache.invalidate("key")
            fill.let(number)
            if number == 2:
                with pytest.raises(ValueError, match="no"):
                    await asking
            else:
                assert await asking == number
            assert cache.peek("key") == (None if number == 3 else 1)

    on_loop(main)
    assert_valid(cache)


def test_a_value_expires_counted_from_the_end_of_its_fill(on_loop: OnLoop) -> None:
    """Known fault: an old timer expires a new entry (async-lru #480, #503). Here there are no timers."""
    clock = ManualClock()
    told: list[Any] = []

    async def fill(key: str) -> float:
        clock.advance(5)
        return clock()

    cache = AsyncAtomicCache(fill, 10, clock=clock, on_removal=lambda *event: told.append(event[1:]))

    async def main() -> None:
        assert await cache["key"] == 5
        clock.advance(9)
        assert await cache["key"] == 5
        cache.invalidate("key")
        assert await cache["key"] == 19
        clock.advance(9)
        assert await cache["key"] == 19
        clock.advance(1)
        assert "key" not in cache
        assert await cache["key"] == 34

    on_loop(main)
    assert [(value, cause.name) for value, cause in told] == [(5, "EXPLICIT"), (19, "EXPIRED")]
    assert_valid(cache)


def test_a_value_over_the_limit_reaches_its_callers_and_is_not_stored(on_loop: OnLoop) -> None:
    async def fill(key: int) -> int:
        await until(lambda: cache.cache_info().waits == 2)
        return key

    cache = AsyncAtomicCache(fill, max_bytes=10_000, weigher=lambda key, value: value)

    async def main() -> list[int]:
        return await asyncio.gather(*[cache[20_000] for _ in range(3)])

    assert on_loop(main) == [20_000] * 3
    assert len(cache) == 0
    assert cache.cache_info().evictions == 1
    assert_valid(cache)


def test_plain_calls_never_wait_and_never_fill(on_loop: OnLoop) -> None:
    fill = GatedFill()
    cache = AsyncAtomicCache(fill)

    async def main() -> None:
        asking = asyncio.ensure_future(cache["key"])
        await fill.begun(1)
        assert (cache.get("key"), cache.peek("key"), cache.get("key", 0), "key" in cache) == (None, None, 0, False)
        assert (len(cache), list(cache), cache.get_many(["key", "other"])) == (0, [], {})
        fill.let(1)
        assert await asking == 1
        assert (cache.get("key"), cache.peek("key"), "key" in cache) == (1, 1, True)
        assert (len(cache), list(cache), cache.get_many(["key", "other"])) == (1, ["key"], {"key": 1})

    on_loop(main)
    assert len(fill.gates) == 1
    assert_valid(cache)
