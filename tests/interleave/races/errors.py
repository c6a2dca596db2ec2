"""Fills that raise: exceptions reach those that had joined, and only one leads after a dead leader."""

from __future__ import annotations

from typing import Any

from areole import AtomicCache
from areole.testing import assert_valid

from ..race import INDEXES, POLICIES, Started, guarded, race
from ..schedule import point


class FillError(Exception):
    """What a fill raises."""


@race(symmetric=True, index=INDEXES)
def dead_leader(index: str) -> Started:
    """The leader is interrupted by a BaseException while another waits. Proves invariant 4.

    1. A leads and dies; its flight stays in the index      2. B waits for it for ever, or finds it for ever

    Allowed: two fills; one lookup gets the SystemExit, and the other the value of the second.
    """
    calls: list[Any] = []

    def fill(key: Any) -> int:
        calls.append(key)
        point()
        if len(calls) == 1:
            raise SystemExit
        return len(calls)

    cache: AtomicCache[str, int] = AtomicCache(fill, index=index)

    def check(results: list[Any]) -> None:
        assert sorted(map(repr, results)) == ["2", "SystemExit()"]
        assert cache["key"] == 2
        assert len(calls) == 2
        assert_valid(cache)

    return (lambda: cache["key"]), (lambda: cache["key"]), guarded(cache, check)


@race(index=INDEXES + POLICIES)
def dead_leader_alone(index: str) -> Started:
    """The leader is interrupted by a BaseException, and nobody asks again. Proves invariants 4 and 8.

    1. A claims, and dies in its fill      2. its flight is left: a key that is gone keeps something

    Allowed: nothing is there afterwards; the other thread has found nothing.
    """

    def fill(key: Any) -> int:
        point()
        raise SystemExit

    options: dict[str, Any] = {"index": index} if index in INDEXES else {"max_items": 1, "policy": index}
    cache: AtomicCache[str, int] = AtomicCache(fill, **options)

    def check(results: list[Any]) -> None:
        assert repr(results) == "[SystemExit(), [None, False]]"
        assert cache._state.index.snapshot() == []
        assert_valid(cache)

    return (lambda: cache["key"]), (lambda: [cache.get("key"), "key" in cache]), guarded(cache, check)


@race(symmetric=True, index=INDEXES, stored=("stored", "raised"))
def failing_fill(index: str, stored: str) -> Started:
    """The fill raises an Exception. Proves who gets it, and that it is kept only if it was asked for.

    1. A fails, and retracts its flight      2. B had joined, and finds neither value nor exception

    Allowed, not stored: the second joins the first's flight and gets a copy, or comes later and fills "value".
    Allowed, stored: both raise, of one fill.
    """
    calls: list[str] = []

    def fill(key: str) -> Any:
        calls.append(key)
        point()
        if len(calls) == 1:
            raise FillError("first")
        return "value"

    cache: AtomicCache[str, Any] = AtomicCache(fill, cache_exceptions=stored == "stored", index=index)

    def check(results: list[Any]) -> None:
        failed = [result for result in results if isinstance(result, FillError)]
        if stored == "stored" or len(calls) == 1:
            assert len(failed) == 2 and len(calls) == 1
            assert failed[0] is not failed[1]
        else:
            assert [*map(str, failed)] == ["first"]
            assert "value" in results and len(calls) == 2
        assert cache.cache_info().failures == 1
        assert_valid(cache)

    return (lambda: cache["key"]), (lambda: cache["key"]), guarded(cache, check)


@race(index=INDEXES)
def late_failure(index: str) -> Started:
    """An old fill fails after an invalidate, and a new one of its key is running. Proves invariant 9.

    1. A's fill is invalidated      2. B fills the key again     3. A fails, and takes out what is under its key: B's

    (async-lru 2.4, and #480, #503.) Allowed: A's own exception; what B filled stays.
    """
    calls: list[str] = []

    def fill(key: str) -> str:
        calls.append(key)
        number = len(calls)
        point()
        if number == 1:
            raise FillError("first")
        return f"value {number}"

    cache: AtomicCache[str, Any] = AtomicCache(fill, index=index)

    def replace() -> Any:
        cache.invalidate("key")
        return cache["key"]

    def check(results: list[Any]) -> None:
        if len(calls) == 2 and isinstance(results[0], FillError):
            assert results[1] == cache.get("key") == "value 2", "a failing old fill has taken out the new value"
        assert len(calls) <= 2
        assert_valid(cache)

    return (lambda: cache["key"]), replace, guarded(cache, check)
