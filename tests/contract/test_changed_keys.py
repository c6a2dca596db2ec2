"""Keys whose hash changes while they are in a cache: what is left of them can be cleared, nothing hangs (E, A10)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from areole import AsyncAtomicCache, AtomicCache, Cache, Storage, cached

from ..kit import ManualClock, run_threads


class Key:
    """Two keys of one name are equal; the salt, which is their hash, may change."""

    def __init__(self, name: int, salt: int | None = None) -> None:
        self.name, self.salt = name, name if salt is None else salt

    def __hash__(self) -> int:
        return self.salt

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Key) and self.name == other.name

    def __reduce__(self) -> Any:
        return Key, (self.name, self.salt)


def name_of(key: Key) -> int:
    return key.name


def a_read_through_cache(**options: Any) -> tuple[Callable[[Key], Any], Any]:
    cache = AtomicCache(name_of, **options)
    return cache.fetch, cache


def a_view_for_threads() -> tuple[Callable[[Key], Any], Any]:
    cache = AsyncAtomicCache(name_of).sync
    return cache.fetch, cache


def a_store(kind: Any, **options: Any) -> tuple[Callable[[Key], Any], Any]:
    store = kind(**options)
    return lambda key: store.get_or_fill(key, name_of), store


def a_cached_function() -> tuple[Callable[[Key], Any], Any]:
    store = Storage[Any]()
    function = cached(store)(name_of)
    return function, store


MAKERS: dict[str, Callable[[], tuple[Callable[[Key], Any], Any]]] = {
    "dict": lambda: a_read_through_cache(index="dict"),
    "atomic": lambda: a_read_through_cache(index="atomic"),
    "ttl": lambda: a_read_through_cache(ttl=60, clock=ManualClock()),
    "lru": lambda: a_read_through_cache(max_items=99, policy="lru"),
    "s3fifo": lambda: a_read_through_cache(max_items=99),
    "sync": a_view_for_threads,
    "Storage": lambda: a_store(Storage),
    "Storage with limits": lambda: a_store(Storage, max_items=99, default_ttl=60, clock=ManualClock()),
    "Cache": lambda: a_store(Cache),
    "cached": a_cached_function,
}
every_kind = pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)


@every_kind
def test_clear_empties_whatever_has_become_of_the_hashes(make: Any) -> None:
    ask, cache = make()
    keys = [Key(number) for number in range(20)]
    assert [ask(key) for key in keys] == [*range(20)]
    for key in keys[::2]:
        key.salt += 1000
    cache.clear()
    assert len(cache) == 0 and [*cache] == [] and [*cache._state.index.snapshot()] == []
    assert ask(keys[0]) == 0 and len(cache) == 1


@every_kind
@pytest.mark.parametrize("change", [1000, 1], ids=["to a free hash", "to another one's"])
def test_an_operation_on_a_key_whose_hash_has_changed_ends(make: Any, change: int) -> None:
    """1. `Key(3, 3)` finds the entry by its old hash    2. the entry's own key does not: 0.1.0 looked for ever."""
    ask, cache = make()
    keys = [Key(number) for number in range(20)]
    for key in keys:
        ask(key)
    keys[3].salt += change
    for use in (cache.invalidate, cache.peek, ask, cache.invalidate):
        results = run_threads(lambda use=use: use(Key(3, 3)), lambda use=use: use(keys[3]))
        assert not [each for each in results if isinstance(each, BaseException)]
    assert [ask(key) for key in keys[4:]] == [*range(4, 20)], "the others are not concerned"
    cache.clear()
    assert len(cache) == 0
