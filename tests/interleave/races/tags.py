"""Tags: `invalidate_tags` against fills, refreshes, sets and itself."""

from __future__ import annotations

from typing import Any

from areole import AtomicCache, Filled, RemovalCause, Storage
from areole.testing import assert_valid

from ..race import INDEXES, POLICIES, Started, guarded, race, versioned
from ..schedule import point
from .removals import STALE

TAG = "tag:{key}"


@race(index=(*INDEXES, "lru"), lookup=("read", "refresh"))
def tags_invalidated_during_a_fill(index: str, lookup: str) -> Started:
    """A fills, or refreshes; B changes the data, and then invalidates the tag. Proves T1 and T2 of `_state.tags`.

    1. A's fill reads the old data, and its entry has no tag yet    1. B finds the old entry under the tag
    2. the data change; B finds nothing under the tag               2. A's entry takes its place, with the old value
    3. A's entry is stored, and noted                               3. B cannot remove what it found, and returns

    Allowed: A gets either version; a lookup after both gets the new one. Each value that left is reported once. What
    A fills while B is still removing may go too.
    """
    reported: list[Any] = []
    cache, version, fills = versioned(index, tags=[TAG], on_removal=lambda *removal: reported.append(removal))
    if lookup == "refresh":
        assert cache["key"] == 0

    def change() -> int:
        version[0] = 1
        return cache.invalidate_tags("tag:key")

    def check(results: list[Any]) -> None:
        was_there = "key" in cache
        assert results[0] in (0, 1)
        counts = (1, 2) if lookup == "refresh" else (not was_there,)  # a value, a running fill, or both
        assert results[1] in counts, "it removed something, and denied it"
        assert (lookup == "refresh") <= len(reported) <= len(fills) - was_there, reported
        assert cache["key"] == 1, STALE
        assert cache.invalidate_tags("tag:key") == 1, "the new value has lost its tag"
        assert_valid(cache)

    read = {"read": lambda: cache["key"], "refresh": lambda: cache.refresh("key")}[lookup]
    return read, change, guarded(cache, check)


@race(index=("dict", "lru"))
def a_tag_that_the_fill_brings(index: str) -> Started:
    """A's fill reads the data, and brings the tag; B changes the data, and then invalidates that. Proves T3.

    1. A's fill has read the old data    2. the data change; B finds nothing under the tag    3. A stores, and notes it

    Allowed: A gets either version; a lookup after both gets the new one.
    """
    options: Any = {"max_items": 2, "policy": index} if index in POLICIES else {"index": index}
    version = [0]

    def fill(key: str) -> Filled[int]:
        read = version[0]
        point()
        return Filled(read, tags=["late"])

    def change() -> int:
        version[0] = 1
        return cache.invalidate_tags("late")

    def check(results: list[Any]) -> None:
        assert results[0] in (0, 1)
        assert cache["key"] == 1, STALE
        assert cache.invalidate_tags("late") == 1
        assert_valid(cache)

    cache: AtomicCache[str, int] = AtomicCache(fill, tags=(), **options)
    return (lambda: cache["key"]), change, guarded(cache, check)


@race(symmetric=True, index=("dict", "lru"))
def one_tag_invalidated_twice(index: str) -> Started:
    """Two invalidate a tag. Proves invariant 9.

    1. A finds an entry under the tag      2. B finds it too      3. both remove it, and tell the listener

    Allowed: one of the two counts it, and the listener is notified once.
    """
    reported: list[Any] = []
    cache, _, _ = versioned(index, tags=[TAG, "all"], on_removal=lambda *removal: reported.append(removal))
    assert cache["key"] == 0

    def check(results: list[Any]) -> None:
        assert sorted(results) == [0, 1]
        assert reported == [("key", 0, RemovalCause.EXPLICIT)]
        assert cache["key"] == 0
        assert_valid(cache)

    invalidate = lambda: cache.invalidate_tags("tag:key", "all")  # noqa: E731
    return invalidate, invalidate, guarded(cache, check)


@race(policy=POLICIES)
def tags_invalidated_during_a_set(policy: str) -> Started:
    """A sets a tagged value over another one; B invalidates the tag. Proves T1 and invariant 9.

    1. A puts the new entry in      2. B finds the old one under the tag alone      3. A notes the new one

    Allowed: the set came before the invalidation, or after it; each value that left is reported once.
    """
    reported: list[Any] = []
    store: Storage[str] = Storage(
        policy=policy,
        on_removal=lambda *removal: reported.append(removal),
        expiration_thread_max_checks_per_iteration=0,
    )
    store.set("key", "old", tags=["tag"])

    def check(results: list[Any]) -> None:
        values = [value for _, value, _ in reported] + list(map(store.get, store))
        assert results[0] is True and sorted(values) == ["new", "old"], reported
        there = "key" in store
        assert store.invalidate_tags("tag") == there, "the new value has lost its tag"
        assert store.invalidate_tags("tag") == 0
        assert_valid(store)

    put = lambda: store.set("key", "new", tags=["tag"])  # noqa: E731
    return put, (lambda: store.invalidate_tags("tag")), guarded(store, check)
