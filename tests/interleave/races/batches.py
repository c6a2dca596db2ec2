"""Batches: several keys by one call of the fill, each with a flight of its own."""

from __future__ import annotations

from typing import Any

from areole import AtomicCache
from areole.testing import assert_valid

from ..race import Started, guarded, race
from ..schedule import point


class Source:
    """A fill of many keys; its values tell which call they are of."""

    def __init__(self) -> None:
        self.calls: list[list[str]] = []

    def __call__(self, keys: list[str]) -> dict[str, tuple[str, int]]:
        self.calls.append(keys)
        number = len(self.calls)
        point()
        return {key: (key, number) for key in keys}

    def check_each_filled_once(self) -> None:
        keys = [key for keys in self.calls for key in keys]
        assert sorted(set(keys)) == sorted(keys), f"filled more than once: {self.calls}"


@race(1, kind=("ttl",))
def batches_crosswise(kind: str) -> Started:
    """Two batches of the same keys, in opposite orders. Proves invariant 5: they never wait for each other.

    1. A leads x, and finds y led by B      3. A waits for y before it has filled x
    2. B leads y, and finds x led by A      4. B waits for x before it has filled y    -- for ever, or an error

    Allowed: each key is filled once, by either, and both get the same values.
    """
    source = Source()
    cache: Any = AtomicCache(fill_many=source, ttl=9 if kind == "ttl" else None)

    def check(results: list[Any]) -> None:
        source.check_each_filled_once()
        assert results[0] == results[1] == cache.fetch_many(["x", "y"]), results
        assert list(results[1]) == ["y", "x"]
        assert_valid(cache)

    return (lambda: cache.fetch_many(["x", "y"])), (lambda: cache.fetch_many(["y", "x"])), guarded(cache, check)


@race(1, kind=("plain",))
def batch_beside_a_single_lookup(kind: str) -> Started:
    """A batch, and a lookup of one of its keys. Proves invariant 2: one flight for each key, whoever made it.

    1. A's batch has claimed the key      2. B does not find its flight, and fills it too

    Allowed: the key is filled once, by either.
    """
    source = Source()
    cache: Any = AtomicCache(fill_many=source, max_items=9 if kind == "bounded" else None)

    def check(results: list[Any]) -> None:
        source.check_each_filled_once()
        assert results[0]["y"] == results[1] == cache["y"], results
        assert_valid(cache)

    return (lambda: cache.fetch_many(["x", "y"])), (lambda: cache["y"]), guarded(cache, check)


@race(1, kind=("bounded",))
def batch_and_invalidate(kind: str) -> Started:
    """One key of a batch is invalidated, at any moment. Proves invariant 3 for that key, and that no other loses by it.

    1. A's batch has read x and y      2. B invalidates x, and asks for it      3. B gets what was read before 2

    Allowed: B's lookup calls the fill again, or was the first; y is filled once.
    """
    source = Source()
    cache: Any = AtomicCache(fill_many=source, max_items=9 if kind == "bounded" else None)

    def invalidate_and_ask() -> tuple[int, Any]:
        began = len(source.calls)
        cache.invalidate("x")
        return began, cache["x"]

    def check(results: list[Any]) -> None:
        assert sum(keys.count("y") for keys in source.calls) == 1
        began, (key, number) = results[1]
        assert key == "x" and number > began, f"of call {number}, begun before the invalidation after call {began}"
        assert cache["x"] == results[1][1] and cache["y"] == results[0]["y"]
        assert_valid(cache)

    return (lambda: cache.fetch_many(["x", "y"])), invalidate_and_ask, guarded(cache, check)
