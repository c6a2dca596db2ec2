"""CPython's own tests of `functools.lru_cache`, run on `memoize(max_items=..., policy="lru", stats=True)`.

They come from the running interpreter's `test` package. Those in `DIFFERS` fail by decision, each for the reason given,
which a user finds in the README, under "Moving here from functools"; all others pass.
"""

from __future__ import annotations

import functools
import re
import threading
import unittest
from types import FunctionType, SimpleNamespace
from typing import Any

import pytest

from areole import AtomicCache, CacheInfo

test_functools = pytest.importorskip("test.test_functools", reason="this interpreter comes without its tests")

DIFFERS = {
    "test_common_signatures": ("the helpers say their types", r"\(\) -> 'Any'"),
    "test_lru_bug_35780": ("a call inside itself is an error, as it would have no end", "RecursiveFillError"),
    "test_lru_cache_parameters": ("cache_parameters has all that memoize takes", "'ttl': None"),
    "test_lru_cache_threaded2": ("of threads that make one call, one runs the function", "BrokenBarrierError"),
    "test_lru_hash_only_once": ("a miss hashes its key once to look, and once more to claim it", r"[2-4] != 1\b"),
    "test_lru_method": (
        "each instance has results, and a limit, of its own",
        r"!= \(6, 4, 0\)|\(10, 10, 2, 4\) != \(10, 10, 2, 2\)",
    ),
    "test_lru_with_maxsize_negative": (
        "max_items is at least 1: leave the decorator out",
        "ValueError: memoize: max_items",
    ),
    "test_lru_with_types": ("f(x=3) is f(3)", "6 != 4"),
}
"""Of each that fails: why that is so, and with what."""


def lru_cache(maxsize: Any = 128, typed: bool = False) -> Any:
    """Take what `functools.lru_cache` takes, and memoize."""
    if callable(maxsize):
        return lru_cache()(maxsize)
    if maxsize == 0:  # as the README says
        return functools.lru_cache(0)

    def decorate(function: Any) -> Any:
        memoized: Any = AtomicCache.memoize(function, max_items=maxsize, policy="lru", typed=typed, stats=True)
        if isinstance(memoized, FunctionType):  # their tests unpack four
            ours = memoized.cache_info
            memoized.cache_info = lambda: FOUR(*ours()[:4])
        return memoized

    return decorate


FOUR: Any = functools._CacheInfo  # type: ignore[attr-defined]


@lru_cache()
def memoized_function(x: int, y: int) -> int:
    return 3 * x + y


class OnMemoize(test_functools.TestLRU, unittest.TestCase):  # type: ignore[misc]
    __test__ = False  # it is not pytest that is to run it
    module = SimpleNamespace(
        lru_cache=lru_cache,
        _CacheInfo=FOUR,
        WRAPPER_ASSIGNMENTS=functools.WRAPPER_ASSIGNMENTS,
        partial=functools.partial,
    )
    cached_func = (memoized_function,)

    @lru_cache()
    def cached_meth(self, x: int, y: int) -> int:
        return 3 * x + y

    @staticmethod
    @lru_cache()
    def cached_staticmeth(x: int, y: int) -> int:
        return 3 * x + y

    def assertEqual(self, first: Any, second: Any, msg: Any = None) -> None:
        """Compare what all caches count, of which lru_cache has four."""
        super().assertEqual(*(each[:4] if isinstance(each, CacheInfo) else each for each in (first, second)), msg)


class ImpatientBarrier(threading.Barrier):
    """Theirs wait for 10 seconds for calls that do not come."""

    def wait(self, timeout: float | None = None) -> int:
        return super().wait(0.2)


@pytest.mark.parametrize("name", unittest.TestLoader().getTestCaseNames(OnMemoize))
def test_memoize_does_what_lru_cache_does_but_where_it_differs_by_decision(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if name in DIFFERS:
        monkeypatch.setattr(threading, "Barrier", ImpatientBarrier)
        monkeypatch.setattr(threading, "excepthook", lambda args: None)
    result = unittest.TestResult()
    OnMemoize(name).run(result)
    if result.skipped:
        pytest.skip(result.skipped[0][1])
    failures = "\n".join(text for _, text in result.failures + result.errors)
    if name not in DIFFERS:
        assert not failures, failures
    else:
        reason, pattern = DIFFERS[name]
        assert failures, f"it passes: {reason}"
        assert re.search(pattern, failures), failures
