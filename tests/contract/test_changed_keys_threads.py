"""What other threads, and nested calls, see while entries are out of a dict index for a moment (invariant 3)."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from areole import AtomicCache, Storage

from ..kit import PATIENCE, assert_valid


class Changing:
    """A key with a hash that may change, and that may act when it is hashed."""

    def __init__(self, name: str, number: int) -> None:
        self.name, self.number = name, number
        self.act: Callable[[], Any] | None = None

    def __hash__(self) -> int:
        act, self.act = self.act, None
        if act is not None:
            act()
        return self.number

    def __eq__(self, other: object) -> bool:
        return type(other) is Changing and self.name == other.name


LIMITS = [{}, {"max_items": 9, "policy": "lru"}, {"max_items": 9, "policy": "s3fifo"}]
every_kind = pytest.mark.parametrize("limits", LIMITS, ids=["unbounded", "lru", "s3fifo"])


def prepared(limits: dict[str, Any]) -> tuple[AtomicCache[Any, int], Changing, Changing]:
    """Make a cache with "x", an innocent key that is hashed in a rebuild, and one whose hash has changed."""
    numbers = iter(range(100))
    cache: AtomicCache[Any, int] = AtomicCache(lambda key: next(numbers), **limits)
    innocent, lost, equal = Changing("innocent", 3), Changing("lost", 1), Changing("lost", 1)
    for key in (innocent, lost, "x"):
        cache[key]
    lost.number = 2
    return cache, innocent, equal


@every_kind
@pytest.mark.parametrize("removal", ["invalidate", "clear"])
def test_a_removal_by_another_thread_finds_what_a_rebuild_has_out(limits: dict[str, Any], removal: str) -> None:
    """The rebuild that `discard` makes takes entries out, and puts them in again. The broken interleaving:

    1. A invalidates a key whose hash has changed: "x" is out     3. A puts "x" back: a value that was invalidated
    2. B invalidates "x", finds nothing, and returns

    Allowed: B waits for the lock that A holds, and finds "x".
    """
    cache, innocent, equal = prepared(limits)
    old, looked = cache["x"], threading.Event()
    snapshot, find = cache._state.index.snapshot, cache._state.index.find
    removals = {"invalidate": lambda: cache.invalidate("x"), "clear": cache.clear}
    remover = threading.Thread(target=removals[removal])

    class Noting(type(cache._state.index)):  # type: ignore[misc]
        __slots__ = ()

        def find(self, key: Any) -> Any:
            found = find(key)
            if threading.current_thread() is remover:
                looked.set()
            return found

        def snapshot(self) -> Any:
            entries = snapshot()
            if threading.current_thread() is remover:
                looked.set()
            return entries

    cache._state.index.__class__ = Noting

    def act() -> None:
        remover.start()
        assert looked.wait(PATIENCE)

    innocent.act = act
    assert cache.invalidate(equal) is True
    remover.join(PATIENCE)
    cache._state.index.__class__ = Noting.__base__  # type: ignore[assignment]
    assert cache.get("x") is None and cache["x"] != old
    assert_valid(cache)


@every_kind
def test_a_removal_from_inside_a_rebuild_lets_nothing_come_back(limits: dict[str, Any]) -> None:
    cache, innocent, equal = prepared(limits)
    old = cache["x"]
    innocent.act = lambda: cache.invalidate("x")
    cache.invalidate(equal)
    assert cache["x"] != old
    assert_valid(cache)


@every_kind
def test_an_interrupt_in_a_rebuild_leaves_a_cache_that_works(limits: dict[str, Any]) -> None:
    cache, innocent, equal = prepared(limits)

    def interrupt() -> None:
        raise KeyboardInterrupt

    innocent.act = interrupt
    with pytest.raises(KeyboardInterrupt):
        cache.invalidate(equal)
    assert cache["x"] is not None and cache[innocent] is not None
    assert_valid(cache)


@pytest.mark.parametrize("policy", ["lru", "s3fifo"])
@pytest.mark.parametrize("operation", ["delete", "pop", "invalidate"])
def test_a_store_lets_go_of_a_key_whose_hash_has_changed(policy: str, operation: str) -> None:
    """Known fault of this checkout before: `delete` went in circles for ever."""
    store: Storage[int] = Storage(max_items=9, policy=policy)
    key = Changing("k", 1)
    store.set(key, 5)
    key.number = 2
    assert getattr(store, operation)(Changing("k", 1)) == (5 if operation == "pop" else True)
    assert store.number_of_items == 0
    assert_valid(store)
