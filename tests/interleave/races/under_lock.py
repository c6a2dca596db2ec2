"""Fills under a lock of the user's: nobody waits for one that waits for the same lock; see `_fill.under_lock`."""

from __future__ import annotations

import threading
from typing import Any

from areole import AtomicCache, Storage, cached
from areole.testing import assert_valid

from ..locks import SeenLock
from ..race import Started, guarded, race
from ..schedule import point


def under_lock(kind: str) -> tuple[Any, Any, list[int], list[str]]:
    """Return a cache, a function that is cached there under a re-entrant lock, a version, and the function's calls.

    It reads the version and, a point later, returns it; for "x" it asks for "y" too.
    """
    cache: Any = Storage() if kind == "storage" else AtomicCache(str)
    version, calls = [0], list[str]()

    @cached(cache, lock=SeenLock(threading.RLock()))
    def fill(key: str) -> Any:
        calls.append(key)
        read = version[0]
        point()
        return ("x", fill("y")) if key == "x" else read

    return cache, fill, version, calls


@race(kind=("storage", "dict"))
def a_fill_that_needs_what_another_leads(kind: str) -> Started:
    """A fills "x" under the lock, and needs "y", which B leads. Proves invariant 5 for waits that are not seen.

    1. A fills x, and has the lock      2. B leads y, and waits for the lock      3. A waits for B: for ever
    Or: B has filled y, and left the lock, but not published, and A takes it for one that waits: y is filled twice.

    Allowed: each key is filled once, and both get its value.
    """
    cache, fill, _, calls = under_lock(kind)

    def check(results: list[Any]) -> None:
        assert results == [("x", 0), 0]
        assert sorted(calls) == ["x", "y"]
        assert_valid(cache)

    return (lambda: fill("x")), (lambda: fill("y")), guarded(cache, check)


@race(preemptions=1, kind=("storage", "dict"))
def a_fill_that_needs_what_two_others_want(kind: str) -> Started:
    """The same, with a third caller, which waits for B's fill. Proves invariants 2 and 4 for one that is overtaken.

    1. A detaches B's flight, and fills y      2. B's waiter is never woken, or B fills y again

    Allowed: each key is filled once, and all get its value.
    """
    cache, fill, _, calls = under_lock(kind)

    def check(results: list[Any]) -> None:
        assert results == [("x", 0), 0, 0]
        assert sorted(calls) == ["x", "y"]
        assert_valid(cache)

    return (lambda: fill("x")), (lambda: fill("y")), (lambda: fill("y")), guarded(cache, check)


@race(preemptions=1, kind=("storage", "dict"))
def an_invalidation_of_what_is_overtaken(kind: str) -> Started:
    """The third one invalidates "y", and asks for it. Proves invariant 3 for a leader that is overtaken.

    1. A detaches B's fill of y, and fills it      2. C invalidates y      3. B has the lock, and stores A's old value

    Allowed: C, which asks after its invalidation, and all later callers, get what was read after it.
    """
    cache, fill, version, _ = under_lock(kind)

    def invalidate_and_look() -> Any:
        version[0] = 1
        fill.invalidate("y")
        return fill("y")

    def check(results: list[Any]) -> None:
        assert results[2] == 1 and fill("y") == 1
        assert results[0] in (("x", 0), ("x", 1)) and results[1] in (0, 1)
        assert_valid(cache)

    return (lambda: fill("x")), (lambda: fill("y")), invalidate_and_look, guarded(cache, check)
