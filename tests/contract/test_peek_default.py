"""`peek(..., default=)` of memoized functions, and what becomes of a `default` of the function's own."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from typing import Any

import pytest

from areole import AsyncAtomicCache, AtomicCache, Cache, Resilience, Storage, cached

from ..kit import assert_valid

DECORATORS: dict[str, Callable[[], Any]] = {
    "memoize": lambda: AtomicCache.memoize,
    "memoize, ttl": lambda: AtomicCache.memoize(60),
    "memoize, limits": lambda: AtomicCache.memoize(max_items=5),
    "memoize, Resilience": lambda: AtomicCache.memoize(60, resilience=Resilience(stale_ttl=5)),
    "AsyncAtomicCache.memoize": lambda: AsyncAtomicCache.memoize,
    "cached in Storage": lambda: cached(Storage()),
    "cached in Cache": lambda: cached(Cache()),
    "cached in AtomicCache": lambda: cached(AtomicCache(str)),
}
every_decorator = pytest.mark.parametrize("decorator", DECORATORS)


@every_decorator
def test_a_miss_gives_none_or_the_default(decorator: str) -> None:
    @DECORATORS[decorator]()
    def function(a: int, b: int = 0) -> Any:
        return None if a == 0 else [a, b]

    assert function.peek(1) is None and function.peek(1, default=5) == 5
    function(0)
    function(1)
    assert function.peek(0, default=5) is None, "None is a result"
    assert function.peek(a=1, b=0, default=5) == [1, 0]
    assert function.cache_info().fills == 2
    assert str(inspect.signature(function.peek)).startswith("(*args: 'Any', default: 'Any' = None")
    assert_valid(function.cache)


@every_decorator
def test_of_a_method_and_of_an_async_def_too(decorator: str) -> None:
    class Shop:
        @DECORATORS[decorator]()
        def price(self, item: str) -> str:
            return item.upper()

        @DECORATORS[decorator]()
        async def awaited(self, item: str) -> str:
            return item.upper()

    shop = Shop()
    assert shop.price.peek("tea", default=5) == 5 and shop.awaited.peek("tea", default=5) == 5
    assert Shop.price.peek(shop, "tea", default=5) == 5
    assert shop.price("tea") == asyncio.run(shop.awaited("tea")) == "TEA"
    assert shop.price.peek("tea", default=5) == shop.awaited.peek("tea", default=5) == "TEA"


@every_decorator
def test_a_function_that_takes_a_default_gets_it_itself(decorator: str) -> None:
    @DECORATORS[decorator]()
    def by_name(a: int, default: int = 0) -> list[int]:
        return [a, default]

    @DECORATORS[decorator]()
    def by_keyword(*, default: int) -> list[int]:
        return [default]

    @DECORATORS[decorator]()
    def any_name(**options: int) -> list[int]:
        return list(options.values())

    for function, arguments in ((by_name, (1,)), (by_keyword, ()), (any_name, ())):
        assert function.peek(*arguments, default=5) is None
        result = function(*arguments, default=5)
        assert function.peek(*arguments, default=5) == result
        assert "(*args: 'Any', **kwargs: 'Any')" in str(inspect.signature(function.peek))
        cache, key = function.cache, function.cache_key(*arguments, default=6)
        assert cache.peek(key, "another answer") == "another answer", "so one can be given all the same"


@every_decorator
def test_one_that_is_positional_only_is_in_nobodys_way(decorator: str) -> None:
    @DECORATORS[decorator]()
    def function(default: int, /) -> list[int]:
        return [default]

    assert function.peek(1, default=5) == 5
    assert function(1) == [1] == function.peek(1, default=5)
