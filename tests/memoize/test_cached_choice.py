"""`cached(choose)`: the cache is chosen at each call, or there is none, and the function is called. Row C34."""

from __future__ import annotations

import asyncio
import inspect
import weakref
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

import pytest

from areole import AsyncAtomicCache, AtomicCache, Cache, Storage, cached
from areole.testing import assert_valid

from ..kit import collect, run_threads

CHOSEN: ContextVar[Any] = ContextVar("chosen", default=None)


def counted(calls: list[Any]) -> Callable[..., Any]:
    def add(a: int, b: int = 0) -> int:
        """Add."""
        calls.append((a, b))
        return a + b

    return add


def counted_async(calls: list[Any]) -> Callable[..., Any]:
    async def add(a: int, b: int = 0) -> int:
        calls.append((a, b))
        return a + b

    return add


@pytest.mark.parametrize("make", [Storage, Cache, lambda: AtomicCache(str), lambda: AsyncAtomicCache(str)])
def test_the_cache_is_asked_for_at_each_call(make: Callable[[], Any]) -> None:
    calls: list[Any] = []
    one, other = make(), make()
    add = cached(CHOSEN.get)(counted(calls))
    for cache in (one, one, other, one, None, None, other):
        CHOSEN.set(cache)
        assert add(1, b=2) == 3
    assert len(calls) == 4  # once in each cache, and twice without
    assert len(one) == len(other) == 1
    assert_valid(one)
    assert_valid(other)


def test_an_async_def_and_its_helpers_are_awaited() -> None:
    calls: list[Any] = []
    storage: Storage[Any] = Storage(stats=True)
    add: Any = cached(CHOSEN.get)(counted_async(calls))

    async def main() -> None:
        CHOSEN.set(None)
        assert [await add(1), await add(1), await add.peek(1), await add.peek(1, default=7)] == [1, 1, None, 7]
        assert [await add.invalidate(1), await add.purge(1), await add.cache_clear()] == [False, False, None]
        assert await add.refresh(1) == 1 and add.cache_info().currsize == 0 and add.cache_key(1) is None
        CHOSEN.set(storage)
        calls.clear()
        assert [await add(1), await add(1, b=0), await add.peek(1), await add.refresh(1)] == [1, 1, 1, 1]
        assert len(calls) == 2 and add.cache_info().currsize == 1
        assert [await add.purge(1), await add.invalidate(1)] == [True, False]
        await add(1)
        await add.cache_clear()
        assert len(storage) == 0

    assert inspect.iscoroutinefunction(add)
    asyncio.run(main())


def test_the_helpers_use_the_cache_that_is_chosen_then() -> None:
    calls: list[Any] = []
    storage: Storage[Any] = Storage(stats=True)
    add: Any = cached(CHOSEN.get, ttl=60)(counted(calls))
    CHOSEN.set(None)
    assert [add.peek(1), add.peek(1, default=7), add.invalidate(1), add.purge(1), add.cache_key(1)] == [
        *(None, 7, False, False, None)
    ]
    assert add.refresh(1) == 1 and add.cache_clear() is None
    assert add.cache_info().misses == 0 and add.cache_parameters()["ttl"] == 60
    CHOSEN.set(storage)
    assert [add(1), add(1), add.peek(1, default=7), add.peek(2, default=7)] == [1, 1, 1, 7]
    assert add.cache_key(1) in storage and add.cache_key(1) == add.cache_key(a=1)
    assert add.cache_info()[:2] == (1, 1) and add.cache_info().currsize == 1
    assert [add.purge(1), add.invalidate(1)] == [True, False]
    add(2)
    add.cache_clear()
    assert len(storage) == 0 and add.cache_info().misses == 0
    assert add.cache is CHOSEN.get or add.cache == CHOSEN.get
    assert (add.__name__, add.__doc__, add.__wrapped__.__name__) == ("add", "Add.", "add")
    assert list(inspect.signature(add).parameters) == ["a", "b"]


def test_what_needs_arguments_gets_those_of_the_call() -> None:
    tenants: dict[str, Storage[Any]] = {"one": Storage(), "two": Storage()}
    calls: list[Any] = []

    @cached(lambda tenant, *rest: tenants.get(tenant))
    def price(tenant: str, item: str) -> str:
        calls.append((tenant, item))
        return f"{tenant} {item}"

    for tenant in ("one", "two", "three") * 2:
        assert price(tenant, "tea") == f"{tenant} tea"
    assert len(calls) == 4
    assert [len(each) for each in tenants.values()] == [1, 1]
    assert price.invalidate("one", "tea") is True
    clear: Any = price.cache_clear
    clear("two")
    assert [len(each) for each in tenants.values()] == [0, 0]


def test_what_has_defaults_alone_gets_nothing() -> None:
    storage: Storage[Any] = Storage()
    twice = cached(lambda found=storage: found)(lambda a: 2 * a)
    assert [twice(2), twice(2)] == [4, 4] and len(storage) == 1


class Shop:
    def __init__(self, cache: Any) -> None:
        self.cache = cache
        self.calls: list[Any] = []

    @cached(lambda self, *args: self.cache)
    def price(self, item: str) -> str:
        self.calls.append(item)
        return f"price of {item}"

    @cached(lambda self, *args: self.cache)
    async def stock(self, item: str) -> str:
        self.calls.append(item)
        return f"stock of {item}"

    @staticmethod
    @cached(CHOSEN.get)
    def tax(item: str) -> str:
        return f"tax of {item}"

    @classmethod
    @cached(CHOSEN.get)
    def name(cls, item: str) -> str:
        return f"{cls.__name__} of {item}"


def test_methods_choose_by_their_instance() -> None:
    with_cache, without = Shop(Storage()), Shop(None)
    for shop in (with_cache, without):
        assert [shop.price("tea"), shop.price("tea")] == ["price of tea"] * 2
    assert (len(with_cache.calls), len(without.calls)) == (1, 2)
    assert with_cache.price.peek("tea") == "price of tea" and without.price.peek("tea") is None
    assert with_cache.price.purge("tea") is True and without.price.purge("tea") is False
    assert [asyncio.run(with_cache.stock("tea")), asyncio.run(with_cache.stock("tea"))] == ["stock of tea"] * 2
    assert len(with_cache.calls) == 2
    CHOSEN.set(storage := Storage[Any]())
    assert [Shop.tax("tea"), Shop.name("tea"), with_cache.name("tea")] == ["tax of tea", "Shop of tea", "Shop of tea"]
    assert len(storage) == 2


def test_a_cache_that_was_chosen_and_a_function_keep_each_other_alive_by_nothing() -> None:
    one, other = Storage[Any](), Storage[Any]()
    add = cached(CHOSEN.get)(counted([]))
    for cache in (one, other):
        CHOSEN.set(cache)
        add(1)
    CHOSEN.set(None)
    freed = weakref.ref(other)
    del other, cache
    collect()
    assert freed() is None and len(one) == 1
    del add
    collect()
    one.sweep()
    assert len(one) == 0
    assert_valid(one)


def test_threads_that_choose_a_cache_first_cache_the_function_once() -> None:
    for _ in range(50):
        calls: list[Any] = []
        storage: Storage[Any] = Storage()
        add = cached(lambda storage=storage: storage)(counted(calls))
        run_threads(*[lambda add=add: add(1)] * 4)
        assert len(calls) == 1 and len(storage) == 1


@pytest.mark.parametrize("given", [5, "cache", {}, object()], ids=lambda each: type(each).__name__)
def test_what_gives_no_cache_is_refused_at_the_call(given: Any) -> None:
    add = cached(lambda: given)(counted([]))
    with pytest.raises(TypeError, match=f"cache must give a Storage.*, not {type(given).__name__}"):
        add(1)


def test_an_async_def_cannot_choose() -> None:
    async def choose() -> Any: ...

    with pytest.raises(TypeError, match=r"cache must be a plain function, not the async def .*choose"):
        cached(choose)  # type: ignore[arg-type]


def test_what_is_wrong_with_the_function_is_said_when_it_is_decorated() -> None:
    with pytest.raises(ValueError, match="ignore names session, but the function's parameters are a, b"):
        cached(CHOSEN.get, ignore=["session"])(counted([]))
    with pytest.raises(ValueError, match=r"names c, but the parameters of .*add are a, b"):
        cached(CHOSEN.get, key="{c}")(counted([]))
