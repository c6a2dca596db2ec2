"""Where values come from: counted in cache_info, and noted for one call. A hit of this process notes nothing."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

import areole
from areole import AsyncAtomicCache, AtomicCache, Resilience, SharedCache, cached
from areole.testing import ManualClock
from areole.typing import Sourced

from ..kit import PATIENCE, wait_until_waiting


def test_a_cache_in_front_counts_what_was_found_and_what_was_filled_apart() -> None:
    shop = SharedCache[Any]("memory://", namespace="shop")
    shop.set("there", 1)
    cache = AtomicCache(lambda key: 1 / len(key), shared=shop, stats=True, name="front")
    with areole.sources() as seen:
        for key in ("there", "there", "new", "new", ""):
            with suppress(ZeroDivisionError):
                cache[key]
    assert seen == [Sourced("front", "there", "shared"), Sourced("front", "new", "filled")]
    info = cache.cache_info()
    assert (info.hits, info.misses, info.shared_hits, info.fills, info.failures) == (2, 3, 1, 2, 1)
    other = AtomicCache(str, shared=shop)
    assert other["x"] == "x" and other["there"] == 1
    assert other.cache_info().fills == other.cache_info().shared_hits == 1  # its own alone
    whole = shop.cache_info()
    assert (whole.hits, whole.misses, whole.fills, whole.failures) == (2, 3, 3, 1)


def test_the_mapping_and_cached_functions_tell_too() -> None:
    shop = SharedCache[Any]("memory://", namespace="shop")
    get_user = cached(shop, key="user:{number}", name=None)(lambda number: number)
    with areole.sources() as seen:
        shop.get("a")  # there is none, and so no source
        shop.get_or_fill("a", str)
        shop.get("a")
        shop.get_many(["a", "b"])
        shop.refresh("a", str)
        get_user(7)
        with areole.sources() as inner:
            get_user(7)
    assert [each.source for each in seen] == ["filled", "shared", "shared", "filled", "filled"]
    assert [each[1:] for each in inner] == [("user:7", "shared")]
    shop.get("a")
    assert len(seen) == 5, "it goes on after its end"


def test_what_was_found_as_the_token_was_taken_was_not_filled() -> None:
    shop = SharedCache[Any]("memory://", namespace="shop")
    take = shop._sync_backend.take

    def late(key: str, *args: Any) -> Any:
        shop._sync_backend.take = take
        shop.set("a", "set meanwhile")
        return take(key, *args)

    shop._sync_backend.take = late
    with areole.sources() as seen:
        assert shop.get_or_fill("a", str) == "set meanwhile"
    assert [each.source for each in seen] == ["shared"] and shop.cache_info().fills == 0


def test_a_caller_that_waits_for_another_one_is_told_the_source() -> None:
    shop = SharedCache[Any]("memory://", namespace="shop")
    began, may_end = threading.Event(), threading.Event()

    def fill(key: str) -> str:
        began.set()
        assert may_end.wait(PATIENCE)
        return key

    cache = AtomicCache(fill, shared=shop, name="front")
    told: list[list[Sourced]] = []

    def ask() -> None:
        with areole.sources() as seen:
            cache["a"]
        told.append(seen)

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    assert began.wait(PATIENCE)
    wait_until_waiting(cache, 2)
    may_end.set()
    for thread in threads:
        thread.join(PATIENCE)
    assert told == [[Sourced("front", "a", "filled")]] * 3


@pytest.mark.parametrize("kind", ["threads", "tasks"])
def test_a_refresh_that_waits_for_a_lookup_takes_only_what_was_filled(kind: str) -> None:
    shop = SharedCache[Any]("memory://", namespace="shop")
    shop.set("a", "old")
    get_many, has_read, may_end = shop._sync_backend.get_many, threading.Event(), threading.Event()

    def stopped(keys: Any) -> Any:
        found = get_many(keys)
        shop._sync_backend.get_many = get_many
        has_read.set()
        assert may_end.wait(PATIENCE)
        return found

    front = AtomicCache(lambda key: "new", shared=shop)
    shop._sync_backend.get_many = stopped
    results: list[Any] = []

    def refresh() -> None:
        result = front.refresh("a") if kind == "threads" else asyncio.run(front.aio.refresh("a"))  # type: ignore[arg-type]
        results.append(result)

    threads = [threading.Thread(target=lambda: results.append(front["a"])), threading.Thread(target=refresh)]
    threads[0].start()
    assert has_read.wait(PATIENCE)
    threads[1].start()
    wait_until_waiting(front, 1)
    may_end.set()
    for thread in threads:
        thread.join(PATIENCE)
    assert sorted(results) == ["new", "old"] and shop.get("a") == "new" == front["a"]


def test_tasks_are_told_each_for_itself() -> None:
    shop = SharedCache[Any]("memory://", namespace="shop")
    shop.set("there", 1)

    async def fill(key: str) -> str:
        await asyncio.sleep(0)
        return key

    cache = AsyncAtomicCache(fill, shared=shop, name="front")

    async def ask(look: Callable[[str], Any], key: str) -> list[str]:
        with areole.sources() as seen:
            await look(key)
        return [each.source for each in seen]

    async def main() -> None:
        asked = [ask(cache.fetch, "new"), ask(cache.fetch, "new"), ask(cache.fetch, "there"), ask(shop.aio.get, "none")]
        assert await asyncio.gather(*asked) == [["filled"], ["filled"], ["shared"], []]
        assert await ask(cache.fetch, "new") == [] and await ask(shop.aio.get, "there") == ["shared"]

    asyncio.run(main())
    assert cache.cache_info().fills == cache.cache_info().shared_hits == 1


def test_a_stale_value_says_so() -> None:
    clock = ManualClock()
    shop = SharedCache[Any]("memory://", namespace="shop")
    may_fill = [True]

    def fill(key: str) -> str:
        if not may_fill[0]:
            raise ValueError(key)
        return key

    cache = AtomicCache(fill, 10, shared=shop, clock=clock, resilience=Resilience(stale_ttl=100, fail_safe=True))
    cache["a"]
    clock.advance(11)
    may_fill[0] = False
    shop._sync_backend.kill("shop:v1:a")
    with areole.sources() as seen:
        assert cache["a"] == "a"
    assert [each.source for each in seen] == ["stale"] and cache.cache_info().stale_hits == 1


def test_counters_start_again_with_those_of_the_function() -> None:
    shop = SharedCache[Any]("memory://", namespace="shop")
    function = AtomicCache.memoize(shared=shop, name="f")(lambda x: x)
    assert function(1) == 1 and function.cache_info().fills == 1
    function.cache_clear()
    assert function.cache_info().fills == function.cache_info().shared_hits == 0
    assert shop.cache_info().fills == 1


def test_a_cache_without_shared_notes_nothing() -> None:
    cache = AtomicCache(str)
    with areole.sources() as seen:
        cache[1]
    assert seen == [] and cache.cache_info().shared_hits == 0
