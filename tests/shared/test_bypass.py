"""Tiers that are passed by, for the calls of one thread or task; and caching turned off in tests."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

import areole
from areole import AsyncAtomicCache, AtomicCache, Filled, Resilience, SharedCache, Storage, cached
from areole.testing import assert_valid, disabled


class Numbered:
    """A fill that gives another value each time."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, *key: Any) -> int:
        self.calls += 1
        return self.calls


@pytest.fixture
def shop() -> SharedCache[Any]:
    return SharedCache("memory://", namespace="shop", local=Storage())


def change_behind(shop: SharedCache[Any], key: str, value: Any) -> None:
    """Change the store as nobody hears it."""
    kept = dict(shop._operations.local._state.entries)  # type: ignore[union-attr]
    other = SharedCache[Any](shop._state.backend, namespace="shop")
    other._state.drop_kept = lambda name: None  # type: ignore[method-assign]
    other.set(key, value)
    assert dict(shop._operations.local._state.entries) == kept  # type: ignore[union-attr]


def test_without_the_local_tier_the_store_is_asked(shop: SharedCache[Any]) -> None:
    shop.set("a", 1)
    assert shop["a"] == 1
    change_behind(shop, "a", 2)
    assert shop["a"] == 1
    with shop.bypass("local"):
        assert shop["a"] == shop.get_or_fill("a", str) == shop.get_many(["a"])["a"] == 2
        with shop.bypass("shared"):
            assert shop.get("a") is None  # both, then
        assert asyncio.run(shop.aio.get("a")) == 2
    assert shop["a"] == 1


def test_without_the_store_what_is_kept_is_found_and_else_it_is_filled(shop: SharedCache[Any]) -> None:
    shop.set_many({"a": 1, "b": 1})
    fill = Numbered()
    assert shop["a"] == 1
    with shop.bypass("shared"), areole.sources() as seen:
        assert shop["a"] == shop.get_or_fill("a", fill) == 1 and fill.calls == 0
        assert shop.get("b") is None and shop.get_many(["a", "b"]) == {"a": 1}
        assert shop.get_or_fill("b", fill) == 1 and shop.get_or_fill("b", fill) == 2
        assert asyncio.run(shop.aio.get_or_fill("b", fill)) == 3
        shop.set("c", 3)
        assert shop.delete("a")
    assert [each[1:] for each in seen] == [("b", "filled")] * 3
    assert shop.get_many(["a", "b", "c"]) == {"b": 1, "c": 3}  # nothing of it was stored, and changes were made
    with pytest.raises(ValueError, match='bypass takes "local", "shared" or both, not \'l2\''):
        shop.bypass("l2").__enter__()  # type: ignore[arg-type]


def test_it_is_for_this_cache_and_this_thread_or_task(shop: SharedCache[Any]) -> None:
    shop.set("a", 1)
    other = SharedCache[Any](shop._state.backend, namespace="other")
    other.set("a", 2)
    view = cached(shop, key="a", name=None)(lambda: 5)
    found: list[Any] = []
    with shop.bypass():
        assert shop.get("a") is None and other["a"] == 2 and view() == 5
        thread = threading.Thread(target=lambda: found.append(shop.get("a")))
        thread.start()
        thread.join()
    assert found == [1] and view() == 1

    async def look(passes: bool) -> Any:
        if not passes:
            return await shop.aio.get("a")
        with shop.bypass():
            await asyncio.sleep(0)
            return await shop.aio.get("a")

    async def main() -> list[Any]:
        return await asyncio.gather(look(True), look(False), look(True))

    assert asyncio.run(main()) == [None, 1, None]


def test_a_cache_in_front_passes_by_the_store_as_it_misses(shop: SharedCache[Any]) -> None:
    fill = Numbered()
    cache = AtomicCache(fill, shared=shop)
    shop.set("a", "stored")
    with shop.bypass():
        assert cache["a"] == 1 and cache["a"] == 2 and "a" not in cache
        assert cache.refresh("b") == 3  # that is a change, and is made
    assert cache["a"] == "stored" and cache["b"] == 3
    with shop.bypass():
        assert cache["a"] == "stored"  # a hit looks at nothing


def test_disabled_fills_each_time_and_keeps_nothing(shop: SharedCache[Any]) -> None:
    fill = Numbered()
    storage: Storage[Any] = Storage(max_items=10)
    plain, bounded = AtomicCache(fill), AtomicCache(fill, 60, max_items=3)
    resilient = AtomicCache(fill, 60, resilience=Resilience(stale_ttl=60, fail_safe=True))
    front = AtomicCache(fill, shared=shop)
    filled = AtomicCache(lambda key: Filled(fill(), ttl=5))
    in_storage = cached(storage)(fill)
    in_shared = cached(shop, name="f")(lambda x: fill())

    class Shop:
        @AtomicCache.memoize
        def price(self, item: str) -> int:
            return fill()

    memoized = AtomicCache.memoize(lambda x: fill())
    method = Shop().price
    storage["set"] = "stays"
    asks: list[Any] = [plain.fetch, bounded.fetch, resilient.fetch, front.fetch, filled.fetch, in_storage, in_shared]
    asks += [memoized, method, lambda key: storage.get_or_fill(key, fill), lambda key: shop.get_or_fill(key, fill)]
    before = [ask("a") for ask in asks[:-2]]
    assert before == [ask("a") for ask in asks[:-2]]
    with disabled():
        for ask in asks:
            with disabled():
                assert len({ask("a"), ask("a"), ask("a")}) == 3, ask
            assert ask("a") != ask("a")
        assert plain.refresh("a") != plain.refresh("a") and shop.get("a") is None and storage["set"] == "stays"
        assert not len(plain) + len(bounded) + len(resilient) + len(front)
    for ask in asks[:-1]:
        assert ask("a") == ask("a")
    for cache in (plain, bounded, resilient, front, filled, storage):
        assert_valid(cache)


def test_disabled_keeps_no_exception_either() -> None:
    left_out = Resilience(negative_ttl=60)

    def fail(key: str) -> int:
        raise ValueError

    failing: AtomicCache[str, int] = AtomicCache(fail, cache_exceptions=True)
    batches: AtomicCache[str, int] = AtomicCache(fill_many=lambda keys: {}, ttl=60, resilience=left_out)
    with disabled():
        for _ in range(2):
            with pytest.raises(ValueError):
                failing["a"]
            with pytest.raises(KeyError):
                batches["a"]
    for cache, fills in ((failing, 3), (batches, 3)):
        for _ in range(2):
            with pytest.raises((ValueError, KeyError)):
                cache["a"]
        assert cache.cache_info().fills == fills
        assert_valid(cache)


def test_disabled_holds_for_tasks_and_ends_with_an_exception() -> None:
    fill = Numbered()

    async def fill_later(key: str) -> int:
        await asyncio.sleep(0)
        return fill()

    cache = AsyncAtomicCache(fill_later)

    async def main() -> None:
        with pytest.raises(KeyError), disabled():
            assert await cache["a"] != await cache["a"]
            assert len(set(await asyncio.gather(cache["a"], cache["a"]))) == 1  # one fill for both
            raise KeyError
        assert await cache["a"] == await cache["a"]

    asyncio.run(main())
