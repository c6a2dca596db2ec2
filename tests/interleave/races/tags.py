"""Tags: `invalidate_tags` against fills, refreshes, sets and itself."""

from __future__ import annotations

from typing import Any

from areole import RemovalCause
from areole.testing import assert_valid

from ..race import INDEXES, Started, guarded, race, versioned
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


@race(symmetric=True, index=(*INDEXES, "lru"))
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
