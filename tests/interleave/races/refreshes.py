"""Refresh: a claim that replaces, against removals, other refreshes and readers."""

from __future__ import annotations

from typing import Any

from areole import NOT_MODIFIED, AtomicCache
from areole.testing import assert_valid

from ..race import INDEXES, POLICIES, Started, fill_with_key, guarded, race, versioned
from ..schedule import point
from .removals import STALE


@race(index=(*INDEXES, "lru"))
def invalidate_during_a_refresh(index: str) -> Started:
    """A refreshes; B changes the data and invalidates. Proves invariant 3.

    1. A begins to refresh from the old data   2. the data change; B invalidates   3. A stores what it made of the old

    Allowed: the refresher gets either version; afterwards it is the new. Each value that left is reported once.
    """
    reported: list[Any] = []
    cache, version, _ = versioned(index, on_removal=lambda *removal: reported.append(removal))
    assert cache["key"] == 0

    def change() -> bool:
        version[0] = 1
        return cache.invalidate("key")

    def check(results: list[Any]) -> None:
        assert results[0] in (0, 1)
        assert results[1] is True, "there was a value at every moment"
        assert cache["key"] == 1, STALE
        assert cache.cache_info().expirations == 0
        causes = sorted(cause.name for _, _, cause in reported)
        assert causes in (["EXPLICIT"], ["EXPLICIT", "REPLACED"]), reported
        assert_valid(cache)

    return (lambda: cache.refresh("key")), change, guarded(cache, check)


@race(index=("dict", "lru"))
def not_modified_and_an_invalidation(index: str) -> Started:
    """A's refresh finds that the old value is still right; B changes the data and invalidates. Proves invariant 3.

    1. A asks whether the old value is right: it is   2. the data change; B invalidates   3. A keeps the old one

    Allowed: the refresher gets either version; afterwards it is the new. The old value is reported once, as it leaves.
    """
    reported: list[Any] = []
    version = [0]

    def fill(key: str, *, previous: int | None = None) -> Any:
        read = version[0]
        point()
        return NOT_MODIFIED if read == previous else read

    limits: Any = {"max_items": 2, "policy": index} if index in POLICIES else {"index": index}
    cache = AtomicCache(fill, on_removal=lambda *removal: reported.append(removal), **limits)
    assert cache["key"] == 0

    def change() -> bool:
        version[0] = 1
        return cache.invalidate("key")

    def check(results: list[Any]) -> None:
        assert results[0] in (0, 1)
        assert results[1] is True, "there was a value at every moment"
        assert [cause.name for _, value, cause in reported if value == 0] in (["EXPLICIT"], ["REPLACED"]), reported
        assert cache["key"] == 1, STALE
        assert_valid(cache)

    return (lambda: cache.refresh("key")), change, guarded(cache, check)


@race(index=INDEXES)
def two_refreshes(index: str) -> Started:
    """A refreshes; B changes the data and then refreshes. Proves invariants 2 and 9.

    1. A fills from the old data      2. B fills from the new, and publishes      3. A publishes over it

    Allowed: B joins A's refresh, which had begun before; or two fills, one after the other, and B's value stays.
    """
    cache, version, fills = versioned(index)
    assert cache["key"] == 0
    fills.clear()

    def change() -> int:
        version[0] = 1
        return cache.refresh("key")

    def check(results: list[Any]) -> None:
        assert len(fills) in (1, 2)
        assert cache["key"] == max(results) == fills[-1]
        assert cache.cache_info().fills == 1 + len(fills)
        assert_valid(cache)

    return (lambda: cache.refresh("key")), change, guarded(cache, check)


@race(index=INDEXES)
def readers_of_a_refresh(index: str) -> Started:
    """B reads twice while A refreshes. Proves that the old value stays until the new one is there.

    1. A's entry takes the place of the old one, with no value yet      2. B finds nothing, and fills beside A

    Allowed: old and old, old and new, or new and new.
    """
    cache, version, fills = versioned(index)
    assert cache["key"] == 0
    version[0] = 1

    def check(results: list[Any]) -> None:
        assert results in ([1, [0, 0]], [1, [0, 1]], [1, [1, 1]])
        assert fills == [0, 1]
        assert_valid(cache)

    return (lambda: cache.refresh("key")), (lambda: [cache["key"], cache["key"]]), guarded(cache, check)


@race(symmetric=True, index=INDEXES)
def dead_refresh(index: str) -> Started:
    """A refresh dies while another waits for it. Proves invariants 2 and 9: its leader clears up its own flight alone.

    1. A's refresh dies; A sees that the entry's flight is its own
    2. B, who had joined, sees that too, clears it, and attaches a refresh of its own
    3. A clears the entry's flight, which is B's by now: a third refresh finds none, and fills beside B's.

    Allowed: A raises; B's refresh runs, and while it does it is to be found at the key's entry.
    """
    calls: list[str] = []
    seen: list[bool] = []

    def fill(key: str) -> Any:
        calls.append(key)
        number = len(calls)
        point()
        if number == 2:
            raise SystemExit
        if number > 2:
            entry = cache._state.index.find(key)
            seen.append(entry is not None and entry.flight is not None)
        return f"value {number}"

    cache: AtomicCache[str, Any] = AtomicCache(fill, index=index)
    assert cache["key"] == "value 1"

    def check(results: list[Any]) -> None:
        assert sorted(map(repr, results)) == ["'value 3'", "SystemExit()"]
        assert seen == [True], "the refresh that runs cannot be found: another one would run beside it"
        assert cache["key"] == "value 3"
        assert_valid(cache)

    return (lambda: cache.refresh("key")), (lambda: cache.refresh("key")), guarded(cache, check)


@race(preemptions=1, policy=POLICIES)
def eviction_of_what_is_refreshed(policy: str) -> Started:
    """A refreshes a key while B fills another, and there is room for one. Proves invariants 3, 7 and 9.

    1. A's refresh begins      2. B's value puts the refreshed entry out      3. A publishes into an entry that is gone,
                                                                                 and counts it: one item too many

    Allowed: either key is there at the end, and one alone; A gets its value all the same.
    """
    cache: AtomicCache[str, str] = AtomicCache(fill_with_key, max_items=1, policy=policy)
    assert cache["a"] == "a"

    def check(results: list[Any]) -> None:
        assert results == ["a", "b"]
        assert len(list(cache)) == 1
        assert cache.cache_info().evictions in (1, 2)
        assert_valid(cache)

    return (lambda: cache.refresh("a")), (lambda: cache["b"]), guarded(cache, check)
