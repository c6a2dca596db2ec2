"""`memoize(shared=, key=)` in a class: the key says whose result it is."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from areole import AtomicCache, SharedCache


class Owner:
    """Has methods that are memoized in front of a shared cache, by keys that name the owner."""

    shop = SharedCache[Any]("memory://", namespace="owners")

    def __init__(self, number: int) -> None:
        self.number = number
        self.calls: list[str] = []

    @AtomicCache.memoize(shared=shop, key=lambda self, item: f"price:{self.number}:{item}")
    def price(self, item: str) -> list[Any]:
        self.calls.append(item)
        return [self.number, item]

    @AtomicCache.memoize(shared=shop, key=lambda self, item: f"later:{self.number}:{item}")
    async def later(self, item: str) -> list[Any]:
        self.calls.append(item)
        return [self.number, item]

    @AtomicCache.memoize(shared=shop, key=lambda cls, item: f"{cls.__name__}:{item}")
    @classmethod
    def of_class(cls, item: str) -> list[Any]:
        return [cls.__name__, item]


class Heir(Owner):
    pass


def test_a_method_with_a_key_is_memoized_in_front_of_a_shared_cache() -> None:
    one, same, other = Owner(1), Owner(1), Owner(2)
    assert one.price("tea") == same.price("tea") == Owner.price(one, item="tea") == [1, "tea"]
    assert other.price("tea") == [2, "tea"] and (one.calls, same.calls, other.calls) == (["tea"], [], ["tea"])
    assert Owner.shop.get("price:1:tea") == [1, "tea"] == one.price.peek("tea")
    assert one.price.cache_key("tea") == "price:1:tea" and same.price.invalidate("tea")
    assert one.price.peek("tea") is None and Owner.shop.get("price:1:tea") is None
    assert same.price.refresh("tea") == [1, "tea"] and one.calls == same.calls == ["tea"]
    assert Owner.of_class("x") == ["Owner", "x"] and Heir.of_class("x") == ["Heir", "x"] == Heir(1).of_class("x")
    with pytest.raises(TypeError, match=r"instance has no name that other processes know: pass key="):

        class Unnamed:
            @AtomicCache.memoize(shared=Owner.shop)
            def price(self, item: str) -> str:
                return item

    async def main() -> None:
        assert await one.later("tea") == await same.later("tea") == [1, "tea"]
        assert await same.later.invalidate("tea") and same.calls == ["tea"]

    asyncio.run(main())


def test_cache_clear_of_an_async_function_can_be_awaited() -> None:
    calls: list[str] = []

    @AtomicCache.memoize(shared=Owner.shop, name="later")
    async def later(item: str) -> str:
        calls.append(item)
        return item

    async def main() -> None:
        assert await later("tea") == await later("tea") == "tea"
        cleared = later.cache_clear()
        assert later.peek("tea") is None  # the part of this process is done in the call
        await cleared
        assert await later("tea") == "tea" and calls == ["tea", "tea"]

    asyncio.run(main())
