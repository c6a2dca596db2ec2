"""Life of the process: finalizers and key methods that call the cache, forks, threads, exit; invariants 6, 9 and 10.

Known faults: a finalizer that calls the cache deadlocks (cachebox #67, #84; gh-76757); a re-entrant `__eq__` corrupts
(lru_cache bpo-35780, gh-94879); one thread per cache instance, which is never collected unless closed, and not
restarted after fork (atomic_lru, measured); a lock held at fork is held in the child for ever (gh-50970); importing the
extension turns the GIL back on (moka-py 0.3).
"""

from __future__ import annotations

import contextlib
import os
import sys
import sysconfig
import textwrap
import weakref
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

import areole
from areole import AtomicCache, FillDeadlockError, RecursiveFillError

from ..interleave import Injected, before_each, inject, shared_steps
from ..kit import ManualClock, assert_valid, collect, every_index, run_python, run_threads

AnyCache = AtomicCache[Any, Any]

# ---- what finalizers and key methods do, and when

ACTIONS: dict[str, Callable[[AnyCache], Any]] = {
    "get": lambda cache: cache.get("key"),
    "fill the same key": lambda cache: cache["key"],
    "fill another key": lambda cache: cache["other"],
    "refresh the same key": lambda cache: cache.refresh("key"),
    "invalidate the same key": lambda cache: cache.invalidate("key"),
    "invalidate another key": lambda cache: cache.invalidate("other"),
    "clear": lambda cache: cache.clear(),
    "look at all": lambda cache: (len(cache), list(cache), cache.cache_info(), repr(cache)),
}
every_action = pytest.mark.parametrize("action", ACTIONS.values(), ids=ACTIONS.keys())


def expire_by_get(cache: AnyCache, clock: ManualClock) -> Any:
    clock.advance(1)
    return cache.get("key")


def expire_by_lookup(cache: AnyCache, clock: ManualClock) -> Any:
    clock.advance(1)
    return cache["key"]


REMOVALS: dict[str, Callable[[AnyCache, ManualClock], Any]] = {
    "invalidate": lambda cache, clock: cache.invalidate("key"),
    "clear": lambda cache, clock: cache.clear(),
    "refresh": lambda cache, clock: cache.refresh("key"),
    "expire by get": expire_by_get,
    "expire by lookup": expire_by_lookup,
}
every_removal = pytest.mark.parametrize("remove", REMOVALS.values(), ids=REMOVALS.keys())


class Finalized:
    """A value, or part of a key, that calls `act` as it dies; `act` is None until a test sets it."""

    act: Callable[[], Any] | None = None
    errors: list[BaseException]
    deaths: list[str]

    def __init__(self) -> None:
        self.errors, self.deaths = [], []

    def __del__(self) -> None:
        act, self.act = self.act, None
        if act is None:
            return
        self.deaths.append("died")
        try:
            act()
        except Exception as error:
            self.errors.append(error)


@every_action
@every_removal
def test_the_finalizer_of_a_value_that_leaves_may_use_the_cache(action: Any, remove: Any) -> None:
    """Known fault: a finalizer that calls the cache deadlocks (cachebox #67, #84; gh-76757).

    1. A removes an entry, holding the lock      3. the finalizer calls the cache, which takes the lock
    2. the value dies of it, under the lock      4. the lock is not re-entrant: A waits for itself

    Allowed: the operation ends, the action has run once, and raised nothing; afterwards all keys can be filled.
    """
    clock = ManualClock()
    cache: AnyCache = AtomicCache(lambda key: [key], ttl=1, clock=clock)
    value = Finalized()
    deaths, errors = value.deaths, value.errors
    cache["key"].append(value)
    cache["other"].append(0)
    value.act = lambda: action(cache)
    del value
    (result,) = run_threads(lambda: remove(cache, clock))
    assert not isinstance(result, BaseException), result
    assert deaths == ["died"]
    assert errors == []
    assert cache["key"][0] == "key"
    assert cache["other"][0] == "other"
    assert_valid(cache)


@every_index
@every_action
@pytest.mark.parametrize("removal", ["invalidate", "clear", "refresh"])
def test_a_weakref_callback_on_a_value_that_leaves_may_use_the_cache(removal: str, action: Any, index: str) -> None:
    """The same by another way; over both indexes."""

    class Value:
        pass

    cache: AnyCache = AtomicCache(lambda key: Value(), index=index)
    called: list[Any] = []
    ref = weakref.ref(cache["key"], lambda ref: called.append(action(cache)))
    (result,) = run_threads(lambda: REMOVALS[removal](cache, ManualClock()))
    assert not isinstance(result, BaseException), result
    assert len(called) == 1
    assert ref() is None
    assert type(cache["key"]) is type(cache["other"]) is Value
    assert_valid(cache)


class KeyThatActs:
    """A key whose `__eq__`, `__hash__` or `__del__` calls `act`; once each time it is set."""

    act: Callable[[], Any] | None = None
    when = ""

    def __init__(self, name: str) -> None:
        self.name = name
        self.acted: list[Any] = []

    def _act(self, when: str) -> None:
        act = self.act
        if act is None or self.when != when:
            return
        self.act = None
        try:
            self.acted.append(act())
        except (RecursiveFillError, FillDeadlockError) as error:  # the answer to what would otherwise be a hang
            self.acted.append(error)

    def __eq__(self, other: object) -> bool:
        self._act("eq")
        return isinstance(other, KeyThatActs) and self.name == other.name

    def __hash__(self) -> int:
        self._act("hash")
        return 1  # all collide, so that every lookup compares

    def __del__(self) -> None:
        self._act("del")


KEY_ACTIONS: dict[str, Callable[[AnyCache, Any], Any]] = {
    "get itself": lambda cache, key: cache.get(KeyThatActs(key.name)),
    "fill itself": lambda cache, key: cache[KeyThatActs(key.name)],
    "fill another": lambda cache, key: cache[KeyThatActs("another")],
    "invalidate itself": lambda cache, key: cache.invalidate(KeyThatActs(key.name)),
    "refresh itself": lambda cache, key: cache.refresh(KeyThatActs(key.name)),
    "invalidate and fill itself": lambda cache, key: (
        cache.invalidate(KeyThatActs(key.name)),
        cache[KeyThatActs(key.name)],
    ),
    "clear": lambda cache, key: cache.clear(),
}
KEY_OPERATIONS: dict[str, Callable[[AnyCache, Any], Any]] = {
    "look up": lambda cache, key: cache[key],
    "get": lambda cache, key: cache.get(key),
    "invalidate": lambda cache, key: cache.invalidate(key),
    "refresh": lambda cache, key: cache.refresh(key),
    "clear": lambda cache, key: cache.clear(),
}


@every_index
@pytest.mark.parametrize("is_there", [False, True], ids=["absent", "present"])
@pytest.mark.parametrize("when", ["eq", "hash"])
@pytest.mark.parametrize("operate", KEY_OPERATIONS.values(), ids=KEY_OPERATIONS.keys())
@pytest.mark.parametrize("action", KEY_ACTIONS.values(), ids=KEY_ACTIONS.keys())
def test_a_key_whose_methods_use_the_cache_neither_hangs_nor_corrupts_it(
    action: Any, operate: Any, when: str, is_there: bool, index: str
) -> None:
    """Known fault: a re-entrant `__eq__` corrupts (lru_cache bpo-35780, gh-94879).

    1. `remove_if` finds its entry, and pops the key, which compares keys
    2. `__eq__` removes that entry and fills the key anew      3. the pop takes the new entry out

    Allowed: the operation ends, with a value or, where the action waits for its own thread, an error that says so;
    afterwards each key is found once, has a value of its own, and nothing is left that cannot be found.
    """
    cache: AnyCache = AtomicCache(lambda key: ("value of", key.name), index=index)
    stays = KeyThatActs("stays")
    assert cache[stays] == ("value of", "stays")
    if is_there:
        assert cache[KeyThatActs("key")] == ("value of", "key")
    key = KeyThatActs("key")
    key.when, key.act = when, lambda: action(cache, key)
    (result,) = run_threads(lambda: operate(cache, key))
    key.act = None
    assert not isinstance(result, BaseException) or isinstance(result, RecursiveFillError | FillDeadlockError)
    assert cache[KeyThatActs("key")] == ("value of", "key")
    assert cache[KeyThatActs("stays")] == ("value of", "stays")
    assert sorted(each.name for each in cache) in (["key", "stays"], ["another", "key", "stays"])
    assert_valid(cache)


@pytest.mark.parametrize("operate", KEY_OPERATIONS.values(), ids=KEY_OPERATIONS.keys())
@pytest.mark.parametrize("action", KEY_ACTIONS.values(), ids=KEY_ACTIONS.keys())
def test_the_finalizer_of_a_key_that_leaves_may_use_the_cache(action: Any, operate: Any) -> None:
    """gh-76757, for the key: what a removal drops is kept until the lock is let go."""
    cache: AnyCache = AtomicCache(lambda key: ("value of", key.name), index="dict")
    key = KeyThatActs("key")
    acted = key.acted
    cache[key]
    key.when, key.act = "del", lambda: action(cache, KeyThatActs("key"))
    del key
    (result,) = run_threads(lambda: operate(cache, KeyThatActs("key")))
    assert not isinstance(result, BaseException), result
    cache.clear()
    assert len(acted) == 1
    assert not isinstance(acted[0], BaseException)
    assert cache[KeyThatActs("key")] == ("value of", "key")
    assert_valid(cache)


class KeyThatRaises:
    """A key whose n-th comparison raises, or n-th hash."""

    def __init__(self, name: str, when: str = "", at: int = 0) -> None:
        self.name, self.when, self.left = name, when, at

    def _count(self, when: str) -> None:
        if self.when == when:
            self.left -= 1
            if self.left == 0:
                raise ZeroDivisionError(self.name)

    def __eq__(self, other: object) -> bool:
        self._count("eq")
        return isinstance(other, KeyThatRaises) and self.name == other.name

    def __hash__(self) -> int:
        self._count("hash")
        return 1


@every_index
@pytest.mark.parametrize("when", ["eq", "hash"])
@pytest.mark.parametrize("is_there", [False, True], ids=["absent", "present"])
@pytest.mark.parametrize("operate", KEY_OPERATIONS.values(), ids=KEY_OPERATIONS.keys())
def test_a_key_whose_method_raises_leaves_nothing_behind(operate: Any, is_there: bool, when: str, index: str) -> None:
    """The n-th comparison raises, for n = 1, 2, ... until the operation needs no more: it may come anywhere.

    Allowed: the operation raises that; no flight and no lock is left; the key works with methods that do not raise.
    """
    for at in range(1, 30):
        cache: AnyCache = AtomicCache(lambda key: ("value of", key.name), index=index)
        cache[KeyThatRaises("stays")]
        if is_there:
            cache[KeyThatRaises("key")]
        key = KeyThatRaises("key", when, at)
        (result,) = run_threads(lambda cache=cache, key=key: operate(cache, key))
        assert not isinstance(result, BaseException) or type(result) is ZeroDivisionError, result
        ended = key.left > 0
        key.when = ""
        assert run_threads(lambda cache=cache: cache[KeyThatRaises("key")]) == [("value of", "key")]
        assert sorted(each.name for each in cache)[-2:] in (["key", "stays"], ["key"])
        assert_valid(cache)
        if ended:
            return
    pytest.fail("the operation never ended without 30 comparisons")


STEPPED: dict[str, Callable[[AnyCache], Any]] = {
    "miss": lambda cache: cache["new"],
    "hit": lambda cache: cache["key"],
    "get": lambda cache: cache.get("key"),
    "refresh": lambda cache: cache.refresh("key"),
    "invalidate": lambda cache: cache.invalidate("key"),
    "clear": lambda cache: cache.clear(),
}
AT_ANY_STEP = ACTIONS | {"fill the new key": lambda cache: cache["new"], "drop the new": lambda c: c.invalidate("new")}


@every_index
@pytest.mark.parametrize("operate", STEPPED.values(), ids=STEPPED.keys())
@pytest.mark.parametrize("action", AT_ANY_STEP.values(), ids=AT_ANY_STEP.keys())
def test_a_finalizer_that_runs_anywhere_in_an_operation_may_use_the_cache(
    action: Any, operate: Any, index: str
) -> None:
    """A collection of garbage runs finalizers between any two instructions, under any lock. Before each step in turn.

    Allowed: the operation returns what it promises, or RecursiveFillError reaches the finalizer that asks for what its
    own thread is filling, where Python prints and drops it.
    """
    steps = before_each(shared_steps, partial(finalizer_anywhere, action, operate, index))
    assert steps > (0 if areole.accelerated else 2)


def finalizer_anywhere(action: Any, operate: Any, index: str, at: int) -> Injected:
    cache: AnyCache = AtomicCache(lambda key: ("value of", key), index=index)
    cache.fetch_many(["key", "other"])
    injected = inject(lambda: operate(cache), lambda: act_as_a_finalizer(action, cache), at)
    assert not isinstance(injected.result, BaseException), f"{injected!r}: {injected.result!r}"
    results = run_threads(lambda: [cache[key] for key in ("key", "other", "new")])
    assert results == [[("value of", key) for key in ("key", "other", "new")]], injected
    assert_valid(cache)
    return injected


def act_as_a_finalizer(action: Callable[[AnyCache], Any], cache: AnyCache) -> None:
    """What a finalizer raises is printed and dropped by Python; other errors than these are no answer of a cache."""
    with contextlib.suppress(RecursiveFillError, FillDeadlockError):
        action(cache)


# ---- threads and memory


def test_neither_import_nor_use_starts_a_thread() -> None:
    """Known fault: one thread per cache instance (atomic_lru, measured)."""
    code = """
        import threading
        import areole, areole.testing
        caches = [areole.AtomicCache(lambda key: key, ttl=60, wait_timeout=1, stats=True) for _ in range(10)]
        for cache in caches:
            cache["key"], cache.refresh("key"), cache.invalidate("key"), cache.clear()
        call = areole.AtomicCache.memoize(lambda key: key)
        call(1)
        assert threading.active_count() == 1, threading.enumerate()
    """
    run_python(code)


@every_index
def test_a_cache_that_is_dropped_is_collected(index: str) -> None:
    """Known fault: a cache is never collected unless closed (atomic_lru, measured). Invariant 8, for the cache."""
    cache: AnyCache = AtomicCache(lambda key: [key], stats=True, index=index)
    ask = cache.__getitem__
    run_threads(*[lambda ask=ask: ask("key")] * 4)
    assert_valid(cache)
    ref = weakref.ref(cache)
    del cache, ask
    collect()
    assert ref() is None


@pytest.mark.skipif(
    bool(sysconfig.get_config_var("Py_GIL_DISABLED")) and sys.version_info < (3, 14),
    reason="3.13t, once it has had two threads, makes functions that are nested in none immortal: generated ones are",
)
@every_index
def test_a_memoized_function_that_is_dropped_is_collected_with_its_cache(index: str) -> None:
    @AtomicCache.memoize(index=index)
    def function(key: str) -> str:
        return key

    function("key")
    refs = weakref.ref(function), weakref.ref(function.cache)
    del function
    collect()
    assert [ref() for ref in refs] == [None, None]


@pytest.mark.skipif(not sysconfig.get_config_var("Py_GIL_DISABLED"), reason="this build always has a GIL")
def test_importing_areole_keeps_the_gil_off() -> None:
    """Known fault: importing the extension turns the GIL back on (moka-py 0.3). PYTHON_GIL would force it off."""
    run_python("import sys, areole; assert not sys._is_gil_enabled()", without="PYTHON_GIL")


# ---- fork

FORK = """
import faulthandler, os, signal, sys, threading, traceback
import areole
from areole import AtomicCache, FillDeadlockError, RecursiveFillError
from areole._core import wait_graph as wait_graph
from areole.testing import assert_valid

PARENT = os.getpid()
# Not for the child: at the fork a thread of the parent may hold the lock inside of them.
entered, go_on = threading.Event(), threading.Event()

def start(function):
    thread = threading.Thread(target=function)
    thread.start()
    return thread

def check_in_child(check):
    pid = os.fork()
    if pid == 0:
        # Ends a child that hangs, with all stacks. The watchdog thread of faulthandler itself is lost by the fork.
        faulthandler.register(signal.SIGALRM, all_threads=True, chain=True)
        signal.alarm(25)
        try:
            check()
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    if os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) != 0:
        os._exit(1)  # at once: threads of this process still wait to be let go on

def slow_in_the_parent(key):
    if key == "key" and os.getpid() == PARENT and not go_on.is_set():
        entered.set()
        go_on.wait()
    return key, os.getpid()

def check_all_works(cache, ask):
    assert ask("key")[0] == "key"
    assert ask("other") == ("other", os.getpid())
    cache.clear()
    assert ask("key") == ("key", os.getpid())
    elsewhere = []
    start(lambda: elsewhere.append(ask("other"))).join()
    assert elsewhere == [("other", os.getpid())]
    assert_valid(cache)
"""

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")


def run_forking(code: str) -> None:
    run_python(FORK + textwrap.dedent(code))


@needs_fork
@every_index
def test_a_child_forked_while_another_thread_fills_fills_that_key_itself(index: str) -> None:
    """Invariant 10. Known fault: what a thread held at fork is held in the child for ever (gh-50970).

    1. a thread leads the fill of a key, and holds its latch      2. another forks
    3. the child asks for the key, and waits for a thread that does not exist there
    """
    run_forking(f"""
        cache = AtomicCache(slow_in_the_parent, index={index!r})
        leader = start(lambda: cache["key"])
        entered.wait()

        def check():
            assert "key" not in cache and cache.get("key") is None and len(cache) == 0
            assert cache["key"] == ("key", os.getpid())
            assert cache["key"] == ("key", os.getpid())
            check_all_works(cache, cache.__getitem__)

        check_in_child(check)
        go_on.set()
        leader.join()
        assert cache["key"] == ("key", PARENT)
        check_all_works(cache, cache.__getitem__)
    """)


@needs_fork
@every_index
@pytest.mark.parametrize("first", ["cache.invalidate('key')", "cache.refresh('key')", "cache.clear()", "list(cache)"])
def test_a_child_may_do_anything_first_with_a_key_that_a_lost_thread_was_filling(first: str, index: str) -> None:
    """Invariant 10, for each way to come upon such a flight."""
    run_forking(f"""
        cache = AtomicCache(slow_in_the_parent, index={index!r})
        leader = start(lambda: cache["key"])
        entered.wait()

        def check():
            {first}
            check_all_works(cache, cache.__getitem__)

        check_in_child(check)
        go_on.set()
        leader.join()
    """)


@needs_fork
@every_index
def test_a_memoized_call_that_a_lost_thread_was_making_is_made_by_the_child(index: str) -> None:
    run_forking(f"""
        call = AtomicCache.memoize(slow_in_the_parent, index={index!r})
        leader = start(lambda: call("key"))
        entered.wait()
        check_in_child(lambda: check_all_works(call.cache, call))
        go_on.set()
        leader.join()
    """)


@needs_fork
@every_index
def test_a_child_forked_during_a_refresh_reads_the_old_value_and_can_refresh(index: str) -> None:
    """Invariant 10: the refresh is of a lost thread, but the value is as good as before."""
    run_forking(f"""
        go_on.set()
        cache = AtomicCache(slow_in_the_parent, index={index!r})
        assert cache["key"] == ("key", PARENT)
        go_on.clear()
        leader = start(lambda: cache.refresh("key"))
        entered.wait()

        def check():
            assert cache["key"] == ("key", PARENT)
            assert cache.refresh("key") == ("key", os.getpid())
            assert cache["key"] == ("key", os.getpid())
            check_all_works(cache, cache.__getitem__)

        check_in_child(check)
        go_on.set()
        leader.join()
    """)


@needs_fork
@every_index
@pytest.mark.parametrize("lock", ["cache._state.index.lock", "wait_graph._graph.lock"])
def test_a_lock_that_another_thread_held_at_the_fork_is_free_in_the_child(lock: str, index: str) -> None:
    """Invariant 10. Known fault: gh-50970."""
    run_forking(f"""
        cache = AtomicCache(slow_in_the_parent, index={index!r})

        def hold():
            with {lock}:
                entered.set()
                go_on.wait()

        holder = start(hold)
        entered.wait()

        def check():
            assert {lock}.acquire(blocking=False)
            {lock}.release()
            check_all_works(cache, cache.__getitem__)

        check_in_child(check)
        go_on.set()
        holder.join()
        check_all_works(cache, cache.__getitem__)
    """)


@needs_fork
def test_a_lock_that_the_forking_thread_itself_held_stays_its_own_in_the_child() -> None:
    """It is let go by the same `with` statement, in the child too."""
    run_forking("""
        cache = AtomicCache(slow_in_the_parent)
        go_on.set()
        pid = 0

        def check():
            with cache._state.index.lock:
                pid = os.fork()
                if pid:
                    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
            check_all_works(cache, cache.__getitem__)
            if not pid:
                os._exit(0)

        check()
    """)


@needs_fork
@every_index
def test_deadlocks_are_seen_in_the_child(index: str) -> None:
    """Invariants 5 and 10: and the waits of lost threads are no edges there."""
    run_forking(f"""
        together = threading.Barrier(2)
        errors = []

        def fill(key):
            if key == "key":
                return slow_in_the_parent(key)
            if key == "own":
                return cache["own"]
            together.wait(20)
            try:
                return cache["B" if key == "A" else "A"]
            except FillDeadlockError as error:
                errors.append(error)

        cache = AtomicCache(fill, index={index!r})
        threads = [start(lambda: cache["key"])]
        entered.wait()
        threads.append(start(lambda: cache["key"]))
        while not cache.cache_info().waits:
            pass

        def check():
            try:
                cache["own"]
                raise AssertionError
            except RecursiveFillError:
                pass
            for thread in [start(lambda: cache["A"]), start(lambda: cache["B"])]:
                thread.join(20)
                assert not thread.is_alive()
            assert len(errors) == 1
            assert cache["key"] == ("key", os.getpid())
            assert_valid(cache)

        check_in_child(check)
        go_on.set()
        for thread in threads:
            thread.join()
    """)


@needs_fork
@every_index
def test_the_forking_threads_own_fill_goes_on_in_the_child(index: str) -> None:
    """Invariant 10: the thread that forks exists in the child, and so does its flight, which it settles there too."""
    run_forking(f"""
        pids = []

        def fill(key):
            if key == "key" and not pids:
                pids.append(os.fork())
                try:
                    cache["key"]
                    raise AssertionError
                except RecursiveFillError:
                    pass
            return key, os.getpid()

        cache = AtomicCache(fill, index={index!r})
        if cache["key"] and pids[0] == 0:
            status = 1
            try:
                assert cache["key"] == ("key", os.getpid())
                assert cache.cache_info().fills == 1
                check_all_works(cache, cache.__getitem__)
                status = 0
            except BaseException:
                traceback.print_exc()
            os._exit(status)
        assert os.waitstatus_to_exitcode(os.waitpid(pids[0], 0)[1]) == 0
        assert cache["key"] == ("key", PARENT)
        check_all_works(cache, cache.__getitem__)
    """)


@needs_fork
def test_a_grandchild_works_too() -> None:
    """Invariant 10, for an epoch after the next."""
    run_forking("""
        cache = AtomicCache(slow_in_the_parent)
        leader = start(lambda: cache["key"])
        entered.wait()

        def check():
            stop, inside, child = threading.Event(), threading.Event(), os.getpid()
            def fill(key):
                if os.getpid() == child:
                    inside.set()
                    stop.wait()
                return key
            other = AtomicCache(fill)
            thread = start(lambda: other["key"])
            inside.wait()
            def check_deeper():
                assert other["key"] == "key"
                check_all_works(cache, cache.__getitem__)
            check_in_child(check_deeper)
            stop.set()
            thread.join()

        check_in_child(check)
        go_on.set()
        leader.join()
    """)


# ---- exit


@every_index
def test_the_interpreter_exits_at_once_while_daemon_threads_fill_and_wait(index: str) -> None:
    """gh-76757 and its kin: nothing joins, wakes or waits for those threads at exit. Status 0."""
    code = f"""
        import threading
        from areole import AtomicCache

        entered = threading.Event()

        def fill(key):
            entered.set()
            threading.Event().wait()

        cache = AtomicCache(fill, index={index!r})
        for _ in range(4):
            threading.Thread(target=lambda: cache["key"], daemon=True).start()
        entered.wait()
        while cache.cache_info().waits < 3:
            pass
    """
    run_python(code, timeout=30)


def test_the_cache_can_be_used_at_exit() -> None:
    """By an atexit function, and by a finalizer that runs when modules are torn down."""
    code = """
        import atexit
        from areole import AtomicCache

        cache = AtomicCache(lambda key: key)

        class AtTheVeryEnd:
            def __del__(self):
                print(cache["finalizer"])

        keep = AtTheVeryEnd()
        keep.itself = keep
        atexit.register(lambda: print(cache["atexit"], cache.refresh("atexit"), cache.invalidate("atexit")))
    """
    assert run_python(code).split() == ["atexit", "atexit", "True", "finalizer"]
