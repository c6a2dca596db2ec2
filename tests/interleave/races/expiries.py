"""Expire: the caller that finds a value expired removes that entry, and no fresh one."""

from __future__ import annotations

from typing import Any

from areole import CACHE_MISS, AtomicCache, RemovalCause, Storage
from areole.testing import ManualClock, assert_valid

from ..race import POLICIES, Started, guarded, race, versioned

KINDS = ("dict", "lru")


def expired(kind: str) -> tuple[AtomicCache[str, int], list[int]]:
    """Make a cache whose value of "key", 0, has just expired; fills give 1 from now on, and are noted."""
    clock = ManualClock()
    cache, version, fills = versioned(kind, ttl=10, clock=clock)
    assert cache["key"] == 0
    version[0] = 1
    clock.advance(10)
    return cache, fills


@race(symmetric=True, kind=KINDS)
def two_find_it_expired(kind: str) -> Started:
    """Expire against claim: async-lru #480, #503. Proves invariants 2 and 9.

    1. A and B find the value expired   2. A takes it out, and fills   3. B takes out what is there by now: A's

    Allowed: one fill, one expiration, one value.
    """
    cache, fills = expired(kind)

    def check(results: list[Any]) -> None:
        assert results == [1, 1]
        assert fills == [0, 1]
        assert cache.cache_info().expirations == 1
        assert_valid(cache)

    return (lambda: cache["key"]), (lambda: cache["key"]), guarded(cache, check)


@race(kind=KINDS)
def looking_at_what_has_expired(kind: str) -> Started:
    """`get` drops what it found expired, while another thread fills. Proves invariant 9: the fresh value stays.

    1. B finds the entry expired   2. A takes it out, and fills   3. B drops the key, and the fresh value

    Allowed: `get` finds nothing, or the fresh value.
    """
    cache, fills = expired(kind)

    def check(results: list[Any]) -> None:
        assert results[0] == 1
        assert results[1] in (None, 1)
        assert list(cache) == ["key"]
        assert fills == [0, 1]
        assert cache.cache_info().expirations == 1
        assert_valid(cache)

    return (lambda: cache["key"]), (lambda: cache.get("key")), guarded(cache, check)


@race(1, kind=("lru",), by=("evict", "refresh"))
def a_late_hit_of_a_value_that_is_read(kind: str, by: str) -> Started:
    """`idle=`: A's hit gives the entry another deadline, as it was read meanwhile; B has it leave. Proves invariant 3.

    1. A finds the value live     2. B evicts it, or replaces it     3. A gives it a deadline: it is back

    Allowed: A gets the old value, or one that is filled after B. What leaves is reported once.
    """
    clock, reported, read = ManualClock(), list[Any](), [0]
    limits: Any = {"max_items": 1, "policy": kind} if kind in POLICIES else {}

    def fill(key: str) -> tuple[str, int]:
        return key, read[0]

    cache = AtomicCache(fill, idle=10, clock=clock, on_removal=lambda *removal: reported.append(removal), **limits)
    for seconds in (9, 5):
        assert cache["key"] == ("key", 0)
        clock.advance(seconds)
    read[0] = 1
    change = {"evict": lambda key: cache["other"], "refresh": cache.refresh}[by]

    def check(results: list[Any]) -> None:
        assert results[0] in (("key", 0), ("key", 1))
        values = [value for _, value, _ in reported]
        assert len(values) == len(set(values))
        if by != "evict":
            assert cache["key"] == ("key", 1)
        assert len(cache) <= 1 + (by == "evict" and not limits)
        assert_valid(cache)
        clock.advance(10)
        assert not list(cache)
        cache.sweep()
        assert cache._state.index.snapshot() == []
        assert_valid(cache)

    return (lambda: cache["key"]), (lambda: change("key")), guarded(cache, check)


@race(kind=("dict",))
def looking_at_what_is_refreshed(kind: str) -> Started:
    """`get` of an expired value against its refresh. Proves invariants 2 and 9.

    1. `get` sees that the expired entry has no flight   2. a refresh is attached to it   3. `get` takes it out:
    the refresh is stored nowhere, and the next lookup fills beside it

    Allowed: `get` takes the entry out before the refresh finds it, or leaves it to the refresh.
    """
    cache, fills = expired(kind)

    def check(results: list[Any]) -> None:
        assert results[0] == 1
        assert results[1] in (None, 1)
        assert list(cache) == ["key"], "what the refresh returned was stored nowhere, though nobody invalidated"
        assert fills == [0, 1]
        assert_valid(cache)

    return (lambda: cache.refresh("key")), (lambda: cache.get("key")), guarded(cache, check)


@race(policy=("lru",))
def prolonged_and_found_expired(policy: str) -> Started:
    """One prolongs the ttl of a value that another finds expired. Proves that what is taken out has expired by then.

    1. expire_in reads the clock: live          3. expire_in gives it a new deadline, and says True
    2. time passes; a get finds it expired      4. the get takes out the entry, which lives

    Allowed: the value is there, and expire_in says True; or it is gone, and it says False.
    """
    clock = ManualClock()
    store: Storage[str] = Storage(policy=policy, clock=clock, expiration_thread_max_checks_per_iteration=0)
    store.set("key", "value", ttl=10)

    def get_late() -> Any:
        clock.advance(10)
        return store.get("key")

    def check(results: list[Any]) -> None:
        assert results[0] is ("key" in store), "expire_in said that the value is there, and it is gone"
        assert_valid(store)

    return (lambda: store.expire_in("key", 100)), get_late, guarded(store, check)


@race(preemptions=1, policy=POLICIES)
def sweep_set_and_get(policy: str) -> Started:
    """Three threads: a sweep, a set and a get of one expired key. Proves invariant 9.

    1. the sweep, or the get, finds the entry expired   2. the key is set again   3. the new value is taken out

    Allowed: the get finds the new value or nothing; the new value stays; the old one is reported once.
    """
    reported: list[Any] = []
    clock = ManualClock()
    store: Storage[str] = Storage(
        policy=policy,
        clock=clock,
        on_removal=lambda *removal: reported.append(removal),
        expiration_thread_max_checks_per_iteration=100,
        expiration_thread_delay=3600,
    )
    store.set("key", "old", ttl=10)
    store.close()  # no other thread sweeps it
    store._is_closed = False
    clock.advance(10)

    def check(results: list[Any]) -> None:
        assert results[1] is True
        assert results[2] in (CACHE_MISS, "new")
        assert store.get("key") == "new"
        assert reported == [("key", "old", RemovalCause.EXPIRED)]
        assert_valid(store)

    return store.sweep, (lambda: store.set("key", "new", None)), (lambda: store.get("key")), guarded(store, check)
