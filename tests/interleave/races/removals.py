"""Remove: invalidate and clear against fills, and against each other."""

from __future__ import annotations

from typing import Any

from areole import RemovalCause
from areole.testing import assert_valid

from ..race import INDEXES, Started, guarded, race, versioned

STALE = "the value of a fill that began before the removal is there after it"


@race(index=(*INDEXES, "lru"), remove=("invalidate", "clear"))
def removal_during_a_fill(index: str, remove: str) -> Started:
    """A reads; B changes the data, and then removes the key. Proves invariant 3 (Guava #1881, caffeine #251).

    1. A begins to fill from the old data      3. A stores what it made of the old data
    2. the data change; B invalidates          4. a lookup after B's invalidate gets it

    Allowed: A gets the old or the new version; a lookup after both gets the new one. `invalidate` says True if it took
    out the flight or the value, and only then.
    """
    reported: list[Any] = []
    cache, version, fills = versioned(index, on_removal=lambda *removal: reported.append(removal))

    def change() -> bool | None:
        version[0] = 1
        if remove == "invalidate":
            return cache.invalidate("key")
        cache.clear()
        return None

    def check(results: list[Any]) -> None:
        ready = list(cache)
        assert results[0] in (0, 1)
        assert cache["key"] == 1, STALE
        assert cache.cache_info().expirations == 0, "an expiration was counted where there is no ttl"
        assert all(cause is RemovalCause.EXPLICIT for _, _, cause in reported), reported
        assert len(fills) == (1 if ready else 2)
        if results[1] is not None:  # an invalidate, and not a clear
            assert results[1] is (not ready), "invalidate removed something, and denied it, or the other way round"
        assert_valid(cache)

    return (lambda: cache["key"]), change, guarded(cache, check)


@race(preemptions=1, index=(*INDEXES, "lru"))
def removal_between_two_fills(index: str) -> Started:
    """Three threads: A and C ask, and B changes the data and invalidates, then asks. Proves invariants 2, 3 and 9.

    1. A fills from the old data      3. B, or C, fills from the new      5. C waits for A, or gets A's value, though it
    2. B invalidates                  4. A publishes over it                 asked after the invalidate

    Allowed: B gets the new version, A and C either; the new one stays. At most one fill of the new version.
    """
    cache, version, fills = versioned(index)

    def change() -> int:
        version[0] = 1
        cache.invalidate("key")
        return cache["key"]

    def check(results: list[Any]) -> None:
        assert results[1] == 1, STALE
        assert cache.get("key") == 1, STALE
        assert fills.count(1) <= 2 and fills.count(0) <= 1, "two fills at once"
        assert_valid(cache)

    return (lambda: cache["key"]), change, (lambda: cache["key"]), guarded(cache, check)


@race(symmetric=True, index=(*INDEXES, "lru"))
def two_invalidates(index: str) -> Started:
    """Two invalidate one value. Proves invariant 9.

    1. A looks: an entry      2. B looks: the same      3. both take it out, and tell the listener

    Allowed: exactly one of the two says True, and the listener is notified once.
    """
    reported: list[Any] = []
    cache, _, _ = versioned(index, on_removal=lambda *removal: reported.append(removal))
    assert cache["key"] == 0

    def check(results: list[Any]) -> None:
        assert sorted(results) == [False, True]
        assert reported == [("key", 0, RemovalCause.EXPLICIT)]
        assert cache["key"] == 0
        assert_valid(cache)

    return (lambda: cache.invalidate("key")), (lambda: cache.invalidate("key")), guarded(cache, check)


@race(index=(*INDEXES, "lru"))
def invalidate_and_fill_anew(index: str) -> Started:
    """Two invalidate one value; one of them fills the key again. Proves invariant 9: removal by identity.

    1. A looks: the index holds E             3. B removes E, and fills the key again: N
    2. B looks: the index holds E             4. A pops the key, and N, which nobody invalidated since it was filled,
                                                 is gone, though A says that it removed nothing

    Allowed: the new value is there, or A took it out and says True.
    """
    cache, _, fills = versioned(index)
    assert cache["key"] == 0

    def again() -> list[Any]:
        return [cache.invalidate("key"), cache["key"]]

    def check(results: list[Any]) -> None:
        there = "key" in cache
        removed = results[0] + results[1][0]
        assert removed == len(fills) - there, f"{removed} removals are reported, {len(fills)} fills, {there=}"
        assert_valid(cache)

    return (lambda: cache.invalidate("key")), again, guarded(cache, check)
