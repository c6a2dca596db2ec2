"""A call binds its arguments as the function itself does, hit or miss: same result, or same error with the same text.

With the accelerator C binds them where it can; tests/memoize runs with it and without.
"""

from __future__ import annotations

import gc
import sys
from contextlib import suppress
from functools import partial
from typing import Any

import pytest

from areole import AtomicCache, Storage

from ..kit import PATIENCE, assert_valid, is_free_threaded, run_python, run_threads

memoize: Any = AtomicCache.memoize

BINDINGS = [
    ("", [(), (1,)], [{}, {"a": 1}]),
    ("a", [(), (1,), (1, 2)], [{}, {"a": 1}, {"b": 1}]),
    ("a, /", [(), (1,), (1, 2)], [{}, {"a": 1}]),
    ("a, b=2, *, c=3", [(), (1,), (1, 2), (1, 2, 3)], [{}, {"a": 1}, {"b": 2}, {"c": 3}, {"b": 2, "c": 3}, {"d": 4}]),
    ("*args, c", [(), (1,), (1, 2)], [{}, {"c": 1}, {"args": 1}]),
    ("a, /, b, **kwargs", [(), (1,), (1, 2)], [{}, {"a": 1}, {"b": 1}, {"b": 1, "a": 2}, {"self": 1}]),
    (", ".join(f"p{n}={n}" for n in range(20)), [(), tuple(range(20)), tuple(range(21))], [{}, {"p3": 1}, {"p19": 1}]),
]


class Name(str):
    """A str of another type, as a keyword."""


def outcome_of(function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    try:
        return function(*args, **kwargs)
    except TypeError as error:
        return type(error), str(error)


@pytest.mark.parametrize("parameters", [each[0] for each in BINDINGS])
def test_every_way_to_call_gives_what_the_function_gives(parameters: str) -> None:
    (_, positions, keywords), defined = next(each for each in BINDINGS if each[0] == parameters), {}
    exec(f"def function({parameters}): return sorted((n, v) for n, v in locals().items())", defined)
    function = defined["function"]
    memoized = memoize(function)
    for _ in range(2):  # misses, then hits
        for args in positions:
            for kwargs in keywords:
                named = {Name(name): value for name, value in kwargs.items()}
                made = {"".join(list(name)): value for name, value in kwargs.items()}  # not interned
                for each in (kwargs, named, made):
                    assert outcome_of(memoized, args, each) == outcome_of(function, args, each), (args, each)
    assert_valid(memoized.cache)


class Key:
    """A key that calls `then` the first time that it is compared with another object."""

    def __init__(self, number: int, then: Any = None) -> None:
        self.number, self.then = number, then

    def __hash__(self) -> int:
        return self.number % 7

    def __eq__(self, other: object) -> bool:
        then, self.then = self.then, None
        if then is not None:
            then()
        return isinstance(other, Key) and self.number == other.number


def hits_misses_and_errors(rounds: int) -> None:
    """Calls of all kinds, of which nothing is kept."""
    bounded, timed = memoize(lambda k: (k, "bounded"), max_items=8), memoize(lambda a, b=2, *, c=3: (a, b, c), ttl=99)
    cache, storage = AtomicCache(lambda k: (k, "cache")), Storage(max_items=8)

    def fail() -> None:
        raise ArithmeticError("compared")

    for n in range(rounds):
        key = Key(n % 16)
        assert bounded(key)[1] == "bounded" and timed(n % 8, c=n % 4, b=1)[1] == 1 and cache[key] == cache.get(key)
        storage.set(n % 16, key)
        storage.get(n % 16)
        for call in (bounded, cache.__getitem__, cache.get):
            with suppress(ArithmeticError):
                call(Key(n % 16, fail))
        with suppress(TypeError):
            timed([])
        if n % 5 == 0:
            cache.invalidate(Key(n % 16, partial(bounded, Key(n % 16))))


def blocks_left_by(rounds: int) -> int:
    hits_misses_and_errors(500)
    gc.collect()
    before = sys.getallocatedblocks()
    hits_misses_and_errors(rounds)
    gc.collect()
    return sys.getallocatedblocks() - before


@pytest.mark.skipif(is_free_threaded() and sys.version_info < (3, 14), reason="3.13t keeps functions for ever")
def test_memory_stays_flat() -> None:
    """One thing left behind by a call in fifty would show. As a program this file makes ten million calls."""
    assert blocks_left_by(5_000) < 1_000


def test_counts_of_references_are_what_they_were() -> None:
    value, key, argument = object(), Key(1), (1, "argument")
    of_one, of_two = memoize(lambda k: value), memoize(lambda a, b: value, ttl=99)
    cache = AtomicCache(lambda k: value)
    for _ in range(2):  # the second time all are hits
        parts = (value, key, argument, of_one, of_two, cache, None)
        before = [sys.getrefcount(each) for each in parts[:-1]]
        for _ in range(1000):
            of_one(key), of_two(argument, b=key), cache[key], cache.get(key)
        after = [sys.getrefcount(each) for each in parts[:-1]]
    assert max(abs(a - b) for a, b in zip(after, before, strict=True)) < 20


@pytest.mark.parametrize("change", ["invalidate", "cache_clear", "fill"])
def test_keys_whose_comparisons_change_the_cache_while_it_is_read(change: str) -> None:
    memoized = memoize(lambda k: k.number)
    changes = {
        "invalidate": lambda: memoized.invalidate(Key(3)),
        "cache_clear": lambda: memoized.cache_clear(),
        "fill": lambda: memoized(Key(10)),
    }

    def call() -> None:
        for n in range(300):
            assert memoized(Key(n % 15, changes[change] if n % 3 == 0 else None)) == n % 15

    assert run_threads(call, call) == [None, None]
    assert_valid(memoized.cache)


def test_a_function_that_is_deleted_during_its_own_call() -> None:
    held = {"f": memoize(lambda k: k.number)}
    for _ in range(20):
        held["f"](Key(1))

        def drop() -> None:
            held.pop("f", None)
            gc.collect()

        assert held["f"](Key(1, drop)) == 1
        held["f"] = memoize(lambda k: k.number)


def test_a_comparison_that_calls_itself_for_ever_is_a_recursion_error() -> None:
    printed = run_python(
        """
        import areole
        f = areole.AtomicCache.memoize(lambda k: 1)
        class Key:
            def __hash__(self): return 1
            def __eq__(self, other): return f(Key())
        f(Key())
        try:
            f(Key())
        except RecursionError:
            print("RecursionError")
        """,
        timeout=PATIENCE,
    )
    assert printed == "RecursionError\n"


def test_hits_while_the_interpreter_ends_and_in_a_child() -> None:
    printed = run_python(
        """
        import areole, os, sys, threading
        f = areole.AtomicCache.memoize(lambda k: k)
        cache = areole.AtomicCache(lambda k: k)
        class Last:
            def __init__(self, call): self.call = call
            def __del__(self): self.call(1)
        f(1), cache[1]
        sys.modules["last"] = [Last(f), Last(cache.get), Last(cache.__getitem__)]
        if hasattr(os, "fork"):
            child = os.fork()
            if child == 0:
                os._exit(f(1) + cache[1] + f(2))
            print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
        else:
            print(4)
        """
    )
    assert printed == "4\n"


if __name__ == "__main__":
    left = blocks_left_by(1_000_000)
    print(f"ten million calls have left {left} blocks of memory")
    sys.exit(left > 1_000)
