"""Evict: a store for one item, and two that want in."""

from __future__ import annotations

from typing import Any

from areole import AtomicCache, RemovalCause, Storage
from areole.testing import assert_valid

from ..race import POLICIES, Started, fill_with_key, guarded, race
from ..schedule import point


@race(preemptions=1, policy=POLICIES)
def two_fills_for_one_place(policy: str) -> Started:
    """Two keys are filled at once. Proves invariant 7.

    1. A and B find one place left      2. both publish: one item too many

    Allowed: one of the values is there, and one eviction is counted and reported.
    """
    reported: list[Any] = []
    cache: AtomicCache[str, str] = AtomicCache(
        fill_with_key, max_items=1, policy=policy, on_removal=lambda *removal: reported.append(removal)
    )

    def check(results: list[Any]) -> None:
        assert results == ["a", "b"]
        assert len(list(cache)) == 1
        assert [cause for _, _, cause in reported] == [RemovalCause.EVICTED]
        assert cache.cache_info().evictions == 1
        assert_valid(cache)

    return (lambda: cache["a"]), (lambda: cache["b"]), guarded(cache, check)


@race(policy=POLICIES)
def two_sets_for_one_place(policy: str) -> Started:
    """Two keys are set at once. Proves invariant 7: what is stored is counted in the same step.

    1. A stores, releases the lock, and has not counted it yet     2. B finds an empty store: no need to evict

    Allowed: one of the values is there, and the other was evicted.
    """
    reported: list[Any] = []
    store: Storage[str] = Storage(
        max_items=1,
        policy=policy,
        on_removal=lambda *removal: reported.append(removal),
        expiration_thread_max_checks_per_iteration=0,
    )

    def check(results: list[Any]) -> None:
        assert results == [True, True]
        assert [cause for _, _, cause in reported] == [RemovalCause.EVICTED]
        assert store.number_of_items == len(list(store)) == 1
        assert_valid(store)

    return (lambda: store.set("a", "a")), (lambda: store.set("b", "b")), guarded(store, check)


@race(preemptions=1, policy=POLICIES)
def hit_of_what_is_evicted(policy: str) -> Started:
    """A reads a key, and tells the policy, while B evicts it. Proves that a late use touches nothing that is gone.

    1. A finds the entry      2. B evicts it      3. A's use puts it back into the policy's order: an item too many

    Allowed: A gets its value, or nothing; B's is there.
    """
    store: Storage[str] = Storage(max_items=1, policy=policy, expiration_thread_max_checks_per_iteration=0)
    store.set("a", "a")

    def check(results: list[Any]) -> None:
        assert results[0] in ("a", "gone")
        assert list(store) == ["b"]
        assert_valid(store)

    return (lambda: store.get("a", "gone")), (lambda: store.set("b", "b")), guarded(store, check)


@race(policy=POLICIES)
def refreshed_and_evicted(policy: str) -> Started:
    """A refreshes a key while B's fill evicts it. Proves that a fill which is running is not evicted.

    1. A's entry shows the old value    2. B evicts it    3. what A brings is stored nowhere, and others fill beside it

    Allowed: A's new value or B's is there; each of the three was stored, and those that went were reported once.
    """
    reported: list[Any] = []
    filled: list[Any] = []

    def fill(key: str) -> str:
        point()
        filled.append(f"{key}{len(filled)}")
        return filled[-1]

    cache: AtomicCache[str, str] = AtomicCache(
        fill, max_items=1, policy=policy, on_removal=lambda key, value, cause: reported.append(value)
    )
    assert cache["a"] == "a0"

    def check(results: list[Any]) -> None:
        assert sorted(results) == sorted(filled[1:])
        assert sorted([*reported, *map(cache.peek, cache)]) == sorted(filled), "a value is nowhere, or reported twice"
        assert len(filled) == 3
        assert_valid(cache)

    return (lambda: cache.refresh("a")), (lambda: cache["b"]), guarded(cache, check)
