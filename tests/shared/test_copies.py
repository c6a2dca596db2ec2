"""`copies=True`: a cache in front of a shared one keeps bytes, and each caller gets an object of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from areole import AsyncAtomicCache, AtomicCache, Filled, Resilience, SharedCache
from areole.backends import MemoryBackend
from areole.errors import SerializationError
from areole.serializers import SignedPickle
from areole.testing import ManualClock, assert_valid, disabled

from ..kit import Gate, start_threads, wait_until_waiting


def shop_of(backend: Any = None, **options: Any) -> SharedCache[Any]:
    return SharedCache(MemoryBackend() if backend is None else backend, namespace="shop", **options)


def list_of(key: Any) -> Any:
    return [key]


async def list_later(key: Any) -> Any:
    return [key]


def called(cache: Any, name: str) -> Callable[[Any], Any]:
    """Return the method as a plain call, which waits for what it has to."""

    def call(key: Any) -> Any:
        found = getattr(cache, name)([key] if name.endswith("_many") else key)
        if isinstance(cache, AsyncAtomicCache) and name in ("fetch", "__getitem__", "refresh", "fetch_many"):
            found = asyncio.run(_awaited(found))
        return found[key] if name.endswith("_many") else found

    return call


async def _awaited(later: Any) -> Any:
    return await later


LOOKUPS = "__getitem__", "fetch", "refresh", "fetch_many", "get", "peek", "get_many"


@pytest.mark.parametrize("limits", [{}, {"max_bytes": 100_000}, {"stats": True}, {"idle": 60}])
@pytest.mark.parametrize("view", ["threads", "tasks", "sync", "aio", "many", "many tasks"])
def test_each_lookup_of_every_view_gives_an_object_of_its_own(view: str, limits: dict[str, Any]) -> None:
    many = {"fill_many": lambda keys: [[key] for key in keys]}
    make: dict[str, Callable[[], Any]] = {
        "threads": lambda: AtomicCache(list_of, shared=shop_of(), copies=True, **limits),
        "tasks": lambda: AsyncAtomicCache(list_later, shared=shop_of(), copies=True, **limits),
        "sync": lambda: AsyncAtomicCache(list_of, shared=shop_of(), copies=True, **limits).sync,
        "aio": lambda: AtomicCache(list_of, shared=shop_of(), copies=True, **limits).aio,
        "many": lambda: AtomicCache(shared=shop_of(), copies=True, **many, **limits),
        "many tasks": lambda: AsyncAtomicCache(shared=shop_of(), copies=True, **many, **limits),
    }
    cache = make[view]()
    assert type(cache).__name__ in ("AtomicCache", "AsyncAtomicCache")
    for name in LOOKUPS:
        look = called(cache, name)
        if name not in ("get", "peek", "get_many"):  # which do not fill
            cache.invalidate("a")
        for _ in range(2):
            look("a").append("changed by a caller")
            assert look("a") == ["a"], name
    assert_valid(cache)


def test_without_copies_all_get_the_same_object() -> None:
    cache = AtomicCache(list_of, shared=shop_of())
    assert cache["a"] is cache["a"]


@pytest.mark.parametrize("is_async", [False, True])
def test_a_memoized_function_gives_an_object_for_each_call(is_async: bool) -> None:
    @AtomicCache.memoize(shared=shop_of(), copies=True, name="numbers", key="{a}-{b}")
    def numbers(a: int, b: int = 2) -> list[int]:
        return [a, b]

    @AtomicCache.memoize(shared=shop_of(), copies=True, name="numbers", ttl=60)
    async def numbers_later(a: int, b: int = 2) -> list[int]:
        return [a, b]

    call: Any = (lambda *args: asyncio.run(_awaited(numbers_later(*args)))) if is_async else numbers
    refresh: Any = (lambda *args: asyncio.run(_awaited(numbers_later.refresh(*args)))) if is_async else numbers.refresh
    helpers: Any = numbers_later if is_async else numbers
    for look in (call, call, refresh, helpers.peek, lambda a: helpers.cache.get(helpers.cache_key(a))):
        call(1)  # after a refresh nothing is kept
        look(1).append(3)
        assert look(1) == [1, 2]
    assert helpers.cache_info().fills > 0


def test_those_who_wait_for_one_fill_get_objects_of_their_own() -> None:
    gate = Gate()

    def fill(key: str) -> list[str]:
        gate.enter()
        return [key]

    cache = AtomicCache(fill, shared=shop_of(), copies=True)
    join = start_threads(*[lambda: cache["a"]] * 3)
    gate.wait_until_entered()
    wait_until_waiting(cache, 2)
    gate.open()
    found = join()
    assert found == [["a"]] * 3 and len(set(map(id, found))) == 3


def test_what_the_store_does_not_take_is_a_copy_too() -> None:
    unstored = AtomicCache(lambda key: Filled([key], store=False), shared=shop_of(), copies=True)
    assert unstored["a"] == ["a"] and "a" not in unstored
    with disabled():
        assert unstored["a"] == ["a"]
    with pytest.raises(SerializationError):  # a set is no JSON
        AtomicCache(lambda key: Filled({key}, store=False), shared=shop_of(), copies=True)["a"]


def test_stale_values_are_copies_too() -> None:
    clock, fail = ManualClock(1000.0), []

    def fill(key: str) -> list[str]:
        if fail:
            raise OSError("the source is down")
        return [key]

    cache = AtomicCache(
        fill,
        10,
        shared=shop_of(MemoryBackend(clock=clock), clock=clock),
        copies=True,
        clock=clock,
        resilience=Resilience(stale_ttl=100, fail_safe=True),
        max_bytes=100_000,
    )
    cache["a"].append("changed")
    fail.append(True)
    clock.advance(20)
    for _ in range(2):
        cache["a"].append("changed")
    assert cache["a"] == ["a"] and cache.cache_info().stale_hits == 3


def test_a_signed_value_is_opened_at_each_hit_also_where_the_clock_of_the_host_was_set_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shop = shop_of(serializer=SignedPickle(keys=[b"0123456789abcdef"]), ttl=60)
    cache = AtomicCache(lambda key: {key}, shared=shop, copies=True)
    assert cache["a"] == {"a"}
    monkeypatch.setattr("time.time", lambda: 1e12)
    cache["a"].add("b")
    assert cache["a"] == {"a"}


def test_bytes_are_weighed_and_removals_are_reported_as_objects() -> None:
    removed: list[Any] = []
    cache = AtomicCache(
        list_of, shared=shop_of(), copies=True, max_bytes=2_000, on_removal=lambda *removal: removed.append(removal)
    )
    cache["a"]
    assert 336 < cache.size_in_bytes < 1_000
    cache.invalidate("a")
    assert [each[:2] for each in removed] == [("a", ["a"])]
    big: Any = AtomicCache(lambda key: ["x" * 3_000], shared=shop_of(), copies=True, max_bytes=2_000)
    assert len(big["a"][0]) == 3_000 and "a" not in big


def test_bare_values_are_copied_too() -> None:
    cache = AtomicCache(list_of, shared=shop_of(envelope=False), copies=True)
    cache["a"].append("changed")
    assert cache["a"] == ["a"]


def test_it_is_refused_where_it_would_do_nothing_or_harm() -> None:
    class Mine(AtomicCache[Any, Any]):
        pass

    class MineAsync(AsyncAtomicCache[Any, Any]):
        pass

    refused: list[tuple[Callable[[], Any], str]] = [
        (lambda: AtomicCache(list_of, copies=True), "with shared="),
        (lambda: Mine(list_of, shared=shop_of(), copies=True), "Mine: copies=True is for"),
        (lambda: MineAsync(list_of, shared=shop_of(), copies=True), "MineAsync: copies=True is for"),
        (lambda: AtomicCache(list_of, shared=shop_of(), copies=1), "copies must be"),  # type: ignore[arg-type]
        (
            lambda: AtomicCache(list_of, shared=shop_of(), copies=True, max_bytes=9, weigher=lambda k, v: 1),
            "leave it out",
        ),
    ]
    for make, message in refused:
        with pytest.raises(TypeError, match=message):
            make()
    assert Mine(list_of, shared=shop_of())["a"] == ["a"]
