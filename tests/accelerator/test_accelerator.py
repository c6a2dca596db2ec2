"""Hits in C: they are the same as in Python, whatever is done to keys, entries and calls."""

from __future__ import annotations

import functools
import inspect
import os
import pickle
import subprocess
import sys
import threading
import time
import weakref
from typing import Any

import pytest

import areole
from areole import AtomicCache, Storage
from areole.testing import ManualClock, assert_valid

from ..kit import collect

memoize: Any = AtomicCache.memoize

needs_it = pytest.mark.skipif(not areole.accelerated, reason="hits are looked up in Python here")


@memoize
def add(a: int, b: int = 2, /, c: int = 3, *, d: int = 4) -> tuple[int, ...]:
    return a, b, c, d


def test_a_call_gives_what_the_function_gives_however_its_arguments_are_passed() -> None:
    for _ in range(2):
        assert add(1) == add(1, 2) == add(1, c=3) == add(1, 2, 3, d=4) == add(1, d=4, c=3) == (1, 2, 3, 4)
        assert add(1, d=5) == (1, 2, 3, 5) and add(0, 0, 0, d=0) == (0, 0, 0, 0)
    assert add.cache_info().fills == 3
    for args, kwargs in (((), {}), ((1,), {"b": 2}), ((1,), {"e": 2}), ((1, 2, 3, 4), {}), ((1, 2, 3), {"c": 3})):
        for form in (add, add.__wrapped__):
            with pytest.raises(TypeError, match=r"add\(\)"):
                form(*args, **kwargs)
    assert add(1, **{"".join(["c", "c"])[:1]: 3}) == (1, 2, 3, 4), "a name that is not interned"


def test_a_memoized_function_stays_a_function() -> None:
    assert inspect.isfunction(add) and str(inspect.signature(add)) == str(inspect.signature(add.__wrapped__))
    assert pickle.loads(pickle.dumps(add)) is add and weakref.ref(add)() is add
    assert functools.wraps(add)(lambda: None).__name__ == "add" == add.__name__

    class Holder:
        method = memoize(lambda self: id(self))

    one = Holder()
    assert one.method() == id(one)
    add.note = 1
    assert add.note == vars(add)["note"] == 1


class Nasty:
    """A key whose comparison does what `do` does."""

    def __init__(self, do: Any) -> None:
        self.do = do

    def __hash__(self) -> int:
        return 1

    def __eq__(self, other: object) -> bool:
        self.do()
        return isinstance(other, Nasty)


def forms() -> list[tuple[AtomicCache[Any, Any], Any]]:
    cache = AtomicCache[Any, Any](lambda key: "filled")
    function = memoize(lambda key: "filled", max_items=10)
    return [(cache, cache.__getitem__), (cache, cache.get), (function.cache, function)]


@pytest.mark.parametrize("number", range(3))
def test_what_the_comparison_of_a_key_raises_comes_out_and_what_it_does_is_seen(number: int) -> None:
    cache, look_up = forms()[number]
    kept = Nasty(lambda: None)
    (cache.__getitem__ if look_up == cache.get else look_up)(kept)  # its `__eq__` is the one that is called
    for error in (KeyboardInterrupt, ValueError, TypeError):

        def fail(error: Any = error) -> None:
            raise error

        kept.do = fail
        with pytest.raises(error):
            look_up(Nasty(None))
        kept.do = lambda: None
        assert look_up(Nasty(None)) == "filled"
    kept.do = cache.clear
    assert look_up(Nasty(None)) in ("filled", None)
    kept.do = lambda: None
    assert_valid(cache)


def test_a_hit_under_a_ttl_ends_exactly_at_its_deadline() -> None:
    clock = ManualClock()
    cache = AtomicCache[int, int](lambda key: key, ttl=5.0, clock=clock)
    function = memoize(lambda key: key, ttl=5.0, clock=clock)
    for look_up in (cache.__getitem__, function):
        assert look_up(1) == look_up(1) == 1
    clock.advance(4.999)
    assert cache.get(1) == 1 and function.peek(1) == 1
    clock.advance(0.001)
    assert cache.get(1) is None
    assert function(1) == cache[1] == 1
    assert function.cache_info().fills == cache.cache_info().fills == 2


@pytest.mark.parametrize("policy", ["lru", "s3fifo"])
def test_a_hit_saves_an_entry_from_eviction_and_is_counted(policy: Any) -> None:
    function = memoize(lambda key: key, max_items=3, policy=policy, stats=True)
    store = Storage[int](max_items=3, policy=policy, stats=True)
    for key in (0, 1, 2):
        function(key)
        store[key] = key
    for _ in range(4):
        assert function(0) == store.get(0) == 0
    for key in range(3, 5):
        function(key)
        store[key] = key
    assert function.peek(0) == store.peek(0) == 0
    assert function.cache_info().hits == 4 == store.cache_info().hits


def test_results_that_refer_to_their_function_are_collected_with_it() -> None:
    class Result:
        pass

    def make() -> Any:
        function = memoize(lambda key, more=1: Result())
        function(1).function = function
        return weakref.ref(function), weakref.ref(function(1))

    references = make()
    collect()
    expected = sys.version_info < (3, 14) and "free-threading" in sys.version  # functions are immortal on 3.13t
    assert expected or [reference() for reference in references] == [None, None]


def test_no_thread_gets_the_value_of_another_key_while_entries_come_and_go() -> None:
    function = memoize(lambda key: (key, object()), max_items=50)
    wrong: list[Any] = []
    start = threading.Barrier(3)

    def work(first: int) -> None:
        start.wait()
        for n in range(6000):
            key = (first + n) % 70
            if function(key)[0] != key:
                wrong.append(key)
            if not n % 50:
                function.invalidate(key)

    threads = [threading.Thread(target=work, args=(each * 7,)) for each in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert_valid(function.cache)


@needs_it
def test_hits_leave_no_references_behind() -> None:
    function, cache, store = memoize(lambda key, more: key), AtomicCache(lambda key: key, ttl=60), Storage(max_items=9)
    key, value = object(), object()
    store.set(key, value)  # type: ignore[arg-type]
    cases = [lambda: function(key, key), lambda: function(key, more=key), lambda: cache[key], lambda: store.get(key)]
    for case in cases:
        case()
        before = sys.getrefcount(key), sys.getrefcount(value)
        for _ in range(1000):
            case()
        assert (sys.getrefcount(key), sys.getrefcount(value)) == before


def test_the_environment_turns_it_off() -> None:
    code = "import areole; f = areole.AtomicCache.memoize(str); f(1); print(areole.accelerated, f(1))"
    environment = os.environ | {"AREOLE_PURE": "1"}
    shown = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=60)
    assert shown.stdout.strip() == "False 1"


def test_a_hash_that_is_memoized_is_an_error_and_no_crash() -> None:
    code = """if True:
        import areole
        for function in (lambda self: 1, lambda self, more=1: 1):
            class Key: pass
            Key.__hash__ = areole.AtomicCache.memoize(function)
            try:
                hash(Key())
            except RecursionError:
                print("raised")
    """
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (shown.stdout.split(), shown.returncode) == (["raised"] * 2, 0)


def test_a_clock_that_stands_in_the_place_of_monotonic_is_read(monkeypatch: Any) -> None:
    clock = ManualClock()
    clock.advance(1e12)
    monkeypatch.setattr(time, "monotonic", clock)
    function = memoize(lambda key: key, ttl=5.0, clock=time.monotonic)
    cache = AtomicCache[int, int](lambda key: key, ttl=5.0)
    assert function(1) == function(1) == cache[1] == 1
    clock.advance(6)
    assert function.peek(1) is None and function(1) == 1 and function.cache_info().fills == 2
    assert cache.get(1) == 1, "it reads the clock that was there when areole was imported"


def test_the_first_hit_of_a_thread_is_noted_once() -> None:
    function = memoize(lambda key: key, max_items=5, stats=True)
    for _ in range(2):
        function(1)
    assert function.cache._entries[1].freq == 1 == function.cache_info().hits


def test_the_globals_of_a_function_are_collected_though_they_hold_themselves() -> None:
    class Mark:
        pass

    def make() -> Any:
        mark, function = Mark(), memoize(lambda key: key)
        function.__globals__.update(mark=mark, me=function.__globals__)
        return weakref.ref(mark)

    reference = make()
    collect()
    expected = sys.version_info < (3, 14) and "free-threading" in sys.version  # functions are immortal on 3.13t
    assert expected or reference() is None


def test_a_cache_that_is_made_again_refuses_and_stays_what_it_was() -> None:
    cache, store = AtomicCache[int, str](lambda key: "first"), Storage[bytes](max_items=3)
    store[1] = b"first"
    for options in ({}, {"idle": 5.0}):
        with pytest.raises(TypeError, match="made once"):
            AtomicCache.__init__(cache, lambda key: "second", **options)  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="made once"):
            Storage.__init__(store, max_items=5, **options)  # type: ignore[arg-type]
        assert cache[1] == cache.get(1) == "first" and store.get(1) == store[1] == b"first"
        assert len(cache) == len(store) == 1
