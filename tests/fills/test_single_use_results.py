"""Results that can be used once are refused on a miss, by whatever function they are returned.

Known fault: a generator, or a context manager, is stored, and its second user gets nothing (CPython #78008).
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterator
from typing import Any

import pytest

from areole import AsyncAtomicCache, AtomicCache, Cache, Resilience, Storage, cached
from areole.testing import assert_valid

from ..kit import PATIENCE, collect


async def coroutine() -> str:
    return "value"


def generator() -> Iterator[int]:
    yield 1


async def async_generator() -> AsyncIterator[int]:
    yield 1


@contextlib.contextmanager
def manager() -> Iterator[str]:
    yield "value"


@contextlib.asynccontextmanager
async def async_manager() -> AsyncIterator[str]:
    yield "value"


MAKERS: list[Callable[[], Any]] = [coroutine, generator, async_generator, manager, async_manager]
SAYS = {
    "coroutine": "a coroutine (coroutine), which can be awaited only once",
    "generator": "a generator (generator), which its first caller would use up: return a list",
    "async_generator": "an asynchronous generator (async_generator), which its first caller would use up",
    "manager": "a context manager (manager), which can be entered only once",
    "async_manager": "a context manager (async_manager), which can be entered only once",
}

every_result = pytest.mark.parametrize("make", MAKERS, ids=lambda make: make.__name__)


class Client:
    """Something to await, as often as one likes."""

    def __await__(self) -> Generator[Any, None, str]:
        yield from ()
        return "connected"


def fill_with(make: Callable[[], Any]) -> Callable[[Any], Any]:
    def fill(key: Any) -> Any:
        return make()

    return fill


class Method:
    def __init__(self, make: Callable[[], Any]) -> None:
        self.make = make

    @AtomicCache.memoize
    def refused(self) -> Any:
        return self.make()

    @AtomicCache.memoize(allow_single_use=True)
    def allowed(self) -> Any:
        return self.make()


# name, what the message begins with, and a call, made of the function to be called and the option
WAYS: dict[str, tuple[str, Callable[[Callable[[], Any], bool], Any]]] = {
    "lookup": (
        "AtomicCache: the fill of fill_with.<locals>.fill returned ",
        lambda make, allowed: AtomicCache(fill_with(make), allow_single_use=allowed)["key"],
    ),
    "ttl": (
        "AtomicCache: the fill of name returned ",
        lambda make, allowed: AtomicCache(fill_with(make), 5, name="name", allow_single_use=allowed)["key"],
    ),
    "refresh": (
        "AtomicCache: the fill of name returned ",
        lambda make, allowed: AtomicCache(fill_with(make), name="name", allow_single_use=allowed).refresh("key"),
    ),
    "resilience": (
        "AtomicCache: the fill of name returned ",
        lambda make, allowed: AtomicCache(
            fill_with(make),
            5,
            name="name",
            resilience=Resilience(hard_timeout=PATIENCE),
            allow_single_use=allowed,
        )["key"],
    ),
    "memoize": (
        "memoize: tests.fills.test_single_use_results.fill_with.<locals>.fill returned ",
        lambda make, allowed: AtomicCache.memoize(fill_with(make), allow_single_use=allowed)("key"),
    ),
    "method": (
        "memoize: tests.fills.test_single_use_results.Method.refused returned ",
        lambda make, allowed: Method(make).allowed() if allowed else Method(make).refused(),
    ),
    "get_or_fill": (
        "get_or_fill: the fill for store returned ",
        lambda make, allowed: Storage(name="store").get_or_fill("key", fill_with(make), allow_single_use=allowed),
    ),
    "get_or_fill, resilient": (
        "get_or_fill: the fill for store returned ",
        lambda make, allowed: Storage(name="store").get_or_fill(
            "key", fill_with(make), 5, Resilience(stale_ttl=5), allow_single_use=allowed
        ),
    ),
    "cached": (
        "cached: tests.fills.test_single_use_results.fill_with.<locals>.fill returned ",
        lambda make, allowed: cached(Storage(), allow_single_use=allowed)(fill_with(make))("key"),
    ),
    "cached, resilient": (
        "cached: tests.fills.test_single_use_results.fill_with.<locals>.fill returned ",
        lambda make, allowed: cached(AtomicCache(str, 5, resilience=Resilience(stale_ttl=5)), allow_single_use=allowed)(
            fill_with(make)
        )("key"),
    ),
}

every_way = pytest.mark.parametrize(("says", "ask"), WAYS.values(), ids=WAYS.keys())


@every_way
@every_result
def test_a_result_that_can_be_used_once_is_refused_on_a_miss(
    make: Callable[[], Any], says: str, ask: Callable[..., Any]
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # as "coroutine was never awaited" would be
        with pytest.raises(TypeError) as caught:
            ask(make, False)
        text = str(caught.value)
        assert text.startswith(says + SAYS[make.__name__])
        assert text.endswith("; allow_single_use=True lets it pass")
        del caught
        collect()


@every_way
@every_result
def test_it_passes_if_that_is_allowed(make: Callable[[], Any], says: str, ask: Callable[..., Any]) -> None:
    result = ask(make, True)
    assert type(result) is type(make_and_close(make))
    close(result)


@every_way
def test_what_can_be_awaited_often_passes(says: str, ask: Callable[..., Any]) -> None:
    assert type(ask(Client, False)) is Client
    assert type(ask(lambda: iter([1]), False)) is type(iter([1]))
    assert ask(lambda: map, False) is map


@every_result
def test_a_store_of_serialised_values_refuses_it_before_it_is_serialised(make: Callable[[], Any]) -> None:
    store = Cache(name="store")
    with pytest.raises(TypeError, match="get_or_fill: the fill for store returned"):
        store.get_or_fill("key", fill_with(make))
    with pytest.raises(TypeError, match=r"cached: .*fill returned"):
        cached(store, skip=pytest.fail, ttl=pytest.fail)(fill_with(make))("key")
    assert len(store) == 0
    assert_valid(store)


@every_result
def test_nothing_is_stored_of_it_and_those_who_wait_get_the_error_too(make: Callable[[], Any]) -> None:
    cache = AtomicCache(fill_with(make))
    for _ in range(2):
        with pytest.raises(TypeError):
            cache["key"]
    info = cache.cache_info()
    assert (info.fills, info.failures, info.currsize) == (2, 2, 0)
    assert_valid(cache)


def test_a_coroutine_that_has_begun_is_not_closed() -> None:
    async def main() -> str:
        async def work() -> str:
            await asyncio.sleep(0)
            return "done"

        running = work()
        task = asyncio.ensure_future(running)
        await asyncio.sleep(0)
        with pytest.raises(TypeError, match="can be awaited only once"):
            AtomicCache(lambda key: running)["key"]
        return await task

    assert asyncio.run(main()) == "done"


# ---- declared as such


@pytest.mark.parametrize("function", [generator, async_generator], ids=lambda function: function.__name__)
def test_a_generator_function_passes_if_that_is_allowed(function: Callable[[], Any]) -> None:
    with pytest.raises(TypeError, match="is a generator function"):
        AtomicCache.memoize(function)
    with pytest.raises(TypeError, match="is a generator function"):
        cached(Storage())(function)
    assert type(AtomicCache.memoize(function, allow_single_use=True)()) is type(function())
    assert type(cached(Storage(), allow_single_use=True)(function)()) is type(function())


def test_an_async_def_passes_where_its_coroutine_is_to_be_stored() -> None:
    async def fill(key: str) -> str:
        return key

    for ask in (
        lambda: AtomicCache(fill, allow_single_use=True)["key"],
        lambda: Storage().get_or_fill("key", fill, allow_single_use=True),
    ):
        stored: Any = ask()
        assert inspect.iscoroutine(stored)
        stored.close()


def test_the_option_is_a_bool() -> None:
    function: Any = len
    for refused in (1, None, "yes"):
        value: Any = refused
        with pytest.raises(TypeError, match="allow_single_use must be a bool"):
            AtomicCache(function, allow_single_use=value)
        with pytest.raises(TypeError, match="allow_single_use must be a bool"):
            AtomicCache.memoize(function, allow_single_use=value)
        with pytest.raises(TypeError, match="allow_single_use must be a bool"):
            AsyncAtomicCache(function, allow_single_use=value)
        with pytest.raises(TypeError, match="allow_single_use must be a bool"):
            cached(Storage(), allow_single_use=value)
        with pytest.raises(TypeError, match="allow_single_use must be a bool"):
            Storage().get_or_fill("key", function, allow_single_use=value)


# ---- where tasks ask


async def awaited(make: Callable[[], Any]) -> Any:
    return make()


ASYNC_WAYS: dict[str, tuple[str, Callable[[Callable[[], Any], bool], Awaitable[Any]]]] = {
    "lookup": (
        "AsyncAtomicCache: the fill of name returned ",
        lambda make, allowed: AsyncAtomicCache(lambda key: awaited(make), name="name", allow_single_use=allowed)["key"],
    ),
    "executor": (
        "AsyncAtomicCache: the fill of name returned ",
        lambda make, allowed: AsyncAtomicCache(fill_with(make), name="name", allow_single_use=allowed)["key"],
    ),
    "memoize": (
        "memoize: tests.fills.test_single_use_results.awaited returned ",
        lambda make, allowed: AtomicCache.memoize(awaited, allow_single_use=allowed)(make),
    ),
    "cached": (
        "cached: tests.fills.test_single_use_results.awaited returned ",
        lambda make, allowed: cached(Storage(), allow_single_use=allowed)(awaited)(make),
    ),
}


@pytest.mark.parametrize("way", ASYNC_WAYS)
@every_result
def test_what_comes_of_awaiting_is_refused_too(make: Callable[[], Any], way: str) -> None:
    if way == "executor" and make is coroutine:
        return  # it is awaited, and gives a plain value
    says, ask = ASYNC_WAYS[way]

    async def main() -> None:
        with pytest.raises(TypeError) as caught:
            await ask(make, False)
        assert str(caught.value).startswith(says + SAYS[make.__name__])
        result = await ask(make, True)
        assert type(result) is type(make_and_close(make))
        close(result)

    asyncio.run(main())


def test_what_a_plain_fill_gives_to_be_awaited_is_awaited_as_ever() -> None:
    async def main() -> list[Any]:
        plain: Any = [
            AsyncAtomicCache(fill_with(coroutine)),
            AsyncAtomicCache(fill_with(coroutine), inline=True),
            AsyncAtomicCache(fill_with(Client), inline=True),
        ]
        return [await cache["key"] for cache in plain]

    assert asyncio.run(main()) == ["value", "value", "connected"]


def make_and_close(make: Callable[[], Any]) -> Any:
    result = make()
    close(result)
    return result


def close(result: Any) -> None:
    if inspect.iscoroutine(result):
        result.close()
