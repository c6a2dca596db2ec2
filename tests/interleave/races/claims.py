"""Claim and settle: a miss is filled once, and everybody gets that value."""

from __future__ import annotations

import threading
from typing import Any

from areole import AtomicCache
from areole.errors import FillDeadlockError
from areole.testing import assert_valid

from ..locks import SeenLock
from ..race import INDEXES, Started, guarded, race, versioned
from ..schedule import point


@race(symmetric=True, index=(*INDEXES, "lru"))
def cold_key(index: str) -> Started:
    """Two ask for one cold key. Proves invariants 1, 2 and 4 for claim against claim.

    1. B looks: nothing      2. A fills, publishes and releases the slot     3. B takes the slot, fills again
    (moka #195, otter #152 and #184: no second look after winning.) Or: A leaves, and B is never woken.

    Allowed: one fill, and both get its value.
    """
    cache, _, fills = versioned(index)

    def check(results: list[Any]) -> None:
        assert fills == [0]
        assert results == [0, 0] and list(cache) == ["key"]
        assert_valid(cache)

    return (lambda: cache["key"]), (lambda: cache["key"]), guarded(cache, check)


@race(preemptions=1, symmetric=True, index=INDEXES)
def cold_key_of_three(index: str) -> Started:
    """Three ask for one cold key, with one preemption. Proves invariants 2 and 4 for more than one waiter.

    1. A leads; B and C wait      2. A leaves and wakes one of them      3. the other waits for ever

    Allowed: one fill, and all get its value.
    """
    cache, _, fills = versioned(index)

    def check(results: list[Any]) -> None:
        assert results == [0, 0, 0]
        assert fills == [0]
        assert_valid(cache)

    return *[lambda: cache["key"]] * 3, guarded(cache, check)


@race(index=INDEXES)
def get_of_what_is_being_filled(index: str) -> Started:
    """`get` and `in` neither wait for a fill nor see it before it is there. Proves the order of publication.

    1. A stores the deadline, from which on the entry is a hit      2. B reads the value: there is none yet

    Allowed: nothing, or the value; and never nothing after the value.
    """
    cache, _, _ = versioned(index)

    def check(results: list[Any]) -> None:
        assert results in ([0, [first, second]] for first, second in ((None, None), (None, 0), (0, 0)))
        assert_valid(cache)

    return (lambda: cache["key"]), (lambda: [cache.get("key"), cache.get("key")]), guarded(cache, check)


@race(index=INDEXES)
def two_keys(index: str) -> Started:
    """1, 1.0 and True are one key; two keys that only share a hash are two. Proves invariants 1 and 2.

    1. A inserts its entry where the hash leads      2. B finds an entry there, and takes it for its own key's

    Allowed: each key is filled once, with its own value.
    """

    class Collides:
        def __hash__(self) -> int:
            return 1

    calls: list[Any] = []

    def fill(key: Any) -> tuple[str, Any]:
        calls.append(key)
        point()
        return "value of", key

    cache: AtomicCache[Any, Any] = AtomicCache(fill, index=index)
    other = Collides()

    def check(results: list[Any]) -> None:
        assert results == [("value of", 1), ("value of", other)]
        assert cache[True] is results[0]
        assert calls.count(1) == 1 and len(calls) == 2
        assert_valid(cache)

    return (lambda: cache[1]), (lambda: cache[other]), guarded(cache, check)


@race(preemptions=1, index=INDEXES)
def fills_that_need_each_other(index: str) -> Started:
    """A fills "A", which needs "B", while B fills "B", which needs "A"; both lead by then. Proves invariant 5.

    1. A looks: B waits for nothing        3. A adds its edge, and waits for B
    2. B looks: A waits for nothing        4. B adds its edge, and waits for A, for ever

    Allowed: either thread gets the FillDeadlockError, and the other one the value of the fill that caught it.
    """
    errors: list[Exception] = []
    leads = {"A": SeenLock(threading.Lock()), "B": SeenLock(threading.Lock())}
    for lock in leads.values():
        lock.acquire()

    def fill(key: str) -> Any:
        other = "B" if key == "A" else "A"
        leads[key].release()
        leads[other].acquire()
        try:
            return key, cache[other]
        except FillDeadlockError as error:
            errors.append(error)
            return key, None

    cache: AtomicCache[str, Any] = AtomicCache(fill, index=index)

    def check(results: list[Any]) -> None:
        assert len(errors) == 1, errors
        assert (results[0][0], results[1][0]) == ("A", "B")
        assert cache.cache_info().fills == 2
        assert_valid(cache)

    return (lambda: cache["A"]), (lambda: cache["B"]), guarded(cache, check)
