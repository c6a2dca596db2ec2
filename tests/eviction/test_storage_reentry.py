"""Whoever is called in the midst of an operation of a store may use that store: finalizers, key methods, callbacks.

Known faults: a finalizer that calls the cache deadlocks (cachebox #67, #84; gh-76757); a re-entrant `__eq__` corrupts
(lru_cache bpo-35780, gh-94879). What goes wrong in a store with limits:

    1. a set has found room for one      3. the set puts its own in: one too many, and the sums are wrong
    2. a finalizer, in between, sets     4. or it strikes out an entry that the finalizer has taken out already

Allowed everywhere: the operation ends, and raises nothing but what the callback raised; afterwards the books are in
order, no limit is exceeded, and all threads can use the store.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

import areole
from areole import CACHE_MISS, Cache, FillDeadlockError, RecursiveFillError, Storage
from areole.testing import ManualClock

from ..interleave import EXHAUSTIVE, Injected, before_each, every_step, inject
from ..kit import check_books, collect, every_pair, every_policy, make_store, run_python, run_threads
from ..process.test_process import Finalized, KeyThatActs, KeyThatRaises

Store = Storage[Any]
MOST = 3


def small_store(policy: str = "lru", **options: Any) -> Store:
    """Make a store with three items, which is full: a and b for ever, `old` until 5."""
    clock = options.setdefault("clock", ManualClock())
    assert isinstance(clock, ManualClock)
    store = make_store(policy, max_items=MOST, **options)
    store._most_swept = 100  # by `sweep` itself, for there is no thread
    store.set("a", [1])
    store.set("b", [2])
    store.set("old", [3], ttl=5)
    return store


def check_works(store: Store, *, closed: bool = False) -> None:
    """Check the books, that no lock is held, and, unless it was closed, that another thread can use the store."""
    check_books(store)
    assert store.number_of_items <= MOST
    if closed or store._is_closed:
        return

    def use() -> Any:
        return store.set("x", [9]), store.get("x"), store.delete("x"), store.get_or_fill("y", lambda key: [8])

    assert run_threads(use) == [(True, [9], True, [8])]
    check_books(store)


ACTIONS: dict[str, Callable[[Store], Any]] = {
    "get": lambda store: (store.get("a"), store.get("new")),
    "set the same": lambda store: store.set("a", ["set"]),
    "set two others": lambda store: store.set_many({"p": [1], "q": [2]}),
    "set the new": lambda store: store.set("new", ["set"]),
    "delete": lambda store: store.delete_many(["a", "b"]),
    "pop the new": lambda store: store.pop("new"),
    "expire": lambda store: (store.expire_in("a", 0), store.expire_in("b", 7)),
    "sweep": lambda store: store.sweep(),
    "fill": lambda store: store.get_or_fill("p", lambda key: ["filled"]),
    "clear": lambda store: store.clear(),
    "close": lambda store: store.close(),
    "look at all": lambda store: (len(store), list(store), store.cache_info(), store.size_in_bytes, repr(store)),
}
every_action = pytest.mark.parametrize("action", ACTIONS.values(), ids=ACTIONS)


def advance(store: Store, by: float = 5) -> None:
    store._clock.advance(by)  # type: ignore[attr-defined]


def set_many_others(store: Store) -> None:
    for i in range(3 * MOST):
        if store._is_closed:
            return
        store.set(i, [i])


OPERATIONS: dict[str, Callable[[Store], Any]] = {
    "set over it": lambda store: store.set("old", [0]),
    "set others": set_many_others,
    "set one that expires at once": lambda store: store.set("old", [0], ttl=0),
    "add over the expired": lambda store: (advance(store), store.add("old", [0])),
    "delete": lambda store: store.delete("old"),
    "pop": lambda store: [store.pop("old")].clear(),
    "delete_many": lambda store: store.delete_many(["old"]),
    "invalidate": lambda store: store.invalidate("old"),
    "clear": lambda store: store.clear(),
    "get of the expired": lambda store: (advance(store), store.get("old")),
    "peek at the expired": lambda store: (advance(store), store.peek("old")),
    "sweep": lambda store: (advance(store), store.sweep()),
    "a write that sweeps": lambda store: (advance(store), store.set("new", [0])),
    "fill over the expired": lambda store: (advance(store), store.get_or_fill("old", lambda key: [0])),
}
POLICIES = ["lru", "s3fifo"]


# ---- finalizers


@every_pair(operate=OPERATIONS, action=ACTIONS, policy=POLICIES)
def test_the_finalizer_of_a_value_may_use_the_store_from_wherever_it_dies(
    operate: Any, action: Any, policy: str
) -> None:
    store = small_store(policy)
    value = Finalized()
    deaths, errors = value.deaths, value.errors
    store.peek("old").append(value)  # type: ignore[union-attr]
    value.act = lambda: action(store)
    del value
    (result,) = run_threads(lambda: operate(store))
    assert not isinstance(result, BaseException) or store._is_closed, result
    assert deaths == ["died"], "it did not die of that"
    assert errors == []
    check_works(store)


@every_policy
@every_action
def test_so_may_that_of_a_value_too_large_to_store(action: Any, policy: str) -> None:
    """It dies, and the old value with it, of a set that says False."""
    store = small_store(policy, size_limit_in_bytes=4096, weigher=lambda key, value: 4000 if value == ["large"] else 1)
    value = Finalized()
    deaths = value.deaths
    store.peek("old").append(value)  # type: ignore[union-attr]
    value.act = lambda: action(store)
    del value
    assert store.set("old", ["large"]) is False
    assert deaths == ["died"] and (store.get("old") is CACHE_MISS)
    check_works(store)


@every_policy
def test_so_may_those_of_all_values_of_a_store_that_is_let_go_of(policy: str) -> None:
    """The store is gone for them by then; another one is not."""
    other = small_store(policy)
    store = small_store(policy)
    deaths = []
    for i in range(MOST):
        value = Finalized()
        deaths.append(value.deaths)
        value.act = lambda i=i: other.set(i, [i])  # type: ignore[misc]
        store.set(i, value)
        del value
    del store
    collect()
    assert deaths == [["died"]] * MOST and other.number_of_items == MOST
    check_works(other)


STEPPED: dict[str, Callable[[Store], Any]] = {
    "set": lambda store: store.set("new", [0]),
    "set over": lambda store: store.set("a", [0], ttl=3),
    "add": lambda store: store.add("new", [0]),
    "get": lambda store: store.get("a"),
    "pop": lambda store: store.pop("a"),
    "expire_in": lambda store: store.expire_in("a", 3),
    "get_or_fill": lambda store: store.get_or_fill("new", lambda key: [0]),
    "clear": lambda store: store.clear(),
    "sweep": lambda store: (advance(store), store.sweep()),
}


@every_policy
@pytest.mark.parametrize("operate", STEPPED.values(), ids=STEPPED)
def test_a_finalizer_that_runs_anywhere_in_an_operation_may_use_the_store(operate: Any, policy: str) -> None:
    """A collection of garbage runs finalizers between any two instructions, under any lock. Before each step in turn.

    The n-th step gets the n-th action, round and round; AREOLE_EXHAUSTIVE=1 gives each step each action. Of a clear,
    with many steps that are much the same, every third one.
    """
    stride = 3 if operate is STEPPED["clear"] and not EXHAUSTIVE else 1
    actions = list(ACTIONS.values())
    for shift in range(len(actions) if EXHAUSTIVE else 1):

        def run(at: int, shift: int = shift) -> Injected:
            return finalizer_anywhere(actions[(at + shift) % len(actions)], operate, policy, at)

        steps = before_each(every_step, run, stride=stride)
        assert steps > 10 or (areole.accelerated and operate is STEPPED["get"])  # a hit in C is one step


@every_policy
@pytest.mark.parametrize("action", ["set two others", "expire"])
def test_a_finalizer_that_runs_anywhere_in_an_eviction_may_set_and_expire(action: str, policy: str) -> None:
    """Two hangs that this file found: an entry that is being struck out is still in the dict, and stored no more.

    1. an eviction has struck out E    2. a finalizer asks for room: E is evicted, which makes none, again and again
                                       3. or gives E a deadline: E cannot have one, and is found, again and again
    """
    before_each(every_step, partial(finalizer_anywhere, ACTIONS[action], STEPPED["set"], policy))


def finalizer_anywhere(action: Any, operate: Any, policy: str, at: int) -> Injected:
    store = small_store(policy)
    injected = inject(lambda: operate(store), lambda: act_as_a_finalizer(action, store), at)
    try:
        assert not isinstance(injected.result, BaseException) or store._is_closed, repr(injected.result)
        check_books(store)
        assert store.number_of_items <= MOST
        if not store._is_closed:
            assert store.set("x", [9]) and store.get("x") == [9]
    except (AssertionError, RuntimeError) as error:
        raise AssertionError(f"{injected!r}: {error!r}") from None
    return injected


def act_as_a_finalizer(action: Callable[[Store], Any], store: Store) -> None:
    """What a finalizer raises is printed and dropped by Python; other errors than these are no answer of a store."""
    try:
        action(store)
    except (RecursiveFillError, FillDeadlockError):
        pass
    except RuntimeError:
        assert store._is_closed


# ---- keys


KEY_ACTIONS: dict[str, Callable[[Store], Any]] = {
    "get itself": lambda store: store.get(KeyThatActs("key")),
    "set itself": lambda store: store.set(KeyThatActs("key"), "again"),
    "delete itself": lambda store: store.delete(KeyThatActs("key")),
    "delete and set itself": lambda store: (
        store.delete(KeyThatActs("key")),
        store.set(KeyThatActs("key"), "again"),
    ),
    "set others": lambda store: [store.set(KeyThatActs(f"other {i}"), i) for i in range(MOST)],
    "clear": lambda store: store.clear(),
    "sweep": lambda store: store.sweep(),
    "fill another": lambda store: store.get_or_fill(KeyThatActs("filled"), lambda key: 1),
    "close": lambda store: store.close(),
}
KEY_OPERATIONS: dict[str, Callable[[Store, Any], Any]] = {
    "set": lambda store, key: store.set(key, "value"),
    "add": lambda store, key: store.add(key, "value"),
    "get": lambda store, key: store.get(key),
    "pop": lambda store, key: store.pop(key),
    "delete": lambda store, key: store.delete(key),
    "expire_in": lambda store, key: store.expire_in(key, 5),
    "ttl_of": lambda store, key: store.ttl_of(key),
    "get_or_fill": lambda store, key: store.get_or_fill(key, lambda key: "value"),
    "clear": lambda store, key: store.clear(),
    "get of the expired": lambda store, key: (advance(store), store.get(key)),
}
every_key_operation = pytest.mark.parametrize("operate", KEY_OPERATIONS.values(), ids=KEY_OPERATIONS)
both_presences = pytest.mark.parametrize("is_there", [False, True], ids=["absent", "present"])


@every_pair(
    action=KEY_ACTIONS,
    operate=KEY_OPERATIONS,
    when=["eq", "hash"],
    is_there={"absent": False, "present": True},
    policy=POLICIES,
)
def test_a_key_whose_methods_use_the_store_neither_hangs_nor_corrupts_it(
    action: Any, operate: Any, when: str, is_there: bool, policy: str
) -> None:
    store = make_store(policy, max_items=MOST, clock=ManualClock())
    store.set(KeyThatActs("stays"), "stays")
    if is_there:
        store.set(KeyThatActs("key"), "there", ttl=5)
    key = KeyThatActs("key")
    key.when, key.act = when, lambda: action(store)
    (result,) = run_threads(lambda: operate(store, key))
    key.act = None
    assert not isinstance(result, BaseException) or store._is_closed, result
    assert not any(isinstance(each, RuntimeError) for each in key.acted), key.acted
    names = [each.key.name for each in store._state.index.snapshot()]
    assert len(set(names)) == len(names), "a key is there twice"
    check_books(store)
    assert store.number_of_items <= MOST
    if not store._is_closed:
        assert store.set(KeyThatActs("key"), "now") and store.get(KeyThatActs("key")) == "now"
        check_books(store)


@every_policy
@both_presences
@pytest.mark.parametrize("when", ["eq", "hash"])
@every_key_operation
def test_a_key_whose_method_raises_leaves_the_books_in_order(
    operate: Any, when: str, is_there: bool, policy: str
) -> None:
    """The n-th comparison raises, for n = 1, 2, ... until the operation needs no more."""
    for at in range(1, 40):
        store = make_store(policy, max_items=2, clock=ManualClock())
        store.set(KeyThatRaises("stays"), "stays")
        if is_there:
            store.set(KeyThatRaises("key"), "there", ttl=5)
        key = KeyThatRaises("key", when, at)
        (result,) = run_threads(lambda store=store, key=key: operate(store, key))
        assert not isinstance(result, BaseException) or type(result) is ZeroDivisionError, result
        ended = key.left > 0
        key.when = ""
        check_books(store)
        assert store.set(KeyThatRaises("key"), "now") and store.get(KeyThatRaises("key")) == "now"
        check_books(store)
        if ended:
            return
    pytest.fail("the operation never ended without 40 comparisons")


# ---- what the user passes in


@every_pair(operate=OPERATIONS, action=ACTIONS, policy=POLICIES)
def test_a_listener_may_use_the_store(operate: Any, action: Any, policy: str) -> None:
    told: list[Any] = []

    def listen(*removal: Any) -> None:
        told.append(removal)
        if len(told) == 1:
            assert not store._state.index.lock._is_owned(), "the listener was called under the lock"
            action(store)

    store = small_store(policy, on_removal=listen)
    (result,) = run_threads(lambda: operate(store))
    assert not isinstance(result, BaseException) or store._is_closed, result
    assert told
    check_works(store)


@every_pair(operate=OPERATIONS, action=ACTIONS, called=["weigher", "clock"])
def test_a_weigher_or_a_clock_may_use_the_store(operate: Any, called: str, action: Any) -> None:
    """Once: each of the actions weighs, or looks at the clock, itself."""
    armed: list[bool] = []

    class Clock(ManualClock):
        def __call__(self) -> float:
            act("clock")
            return super().__call__()

    def weigher(key: Any, value: Any) -> int:
        act("weigher")
        return 10

    def act(who: str) -> None:
        if armed and who == called:
            armed.clear()
            assert not store._state.index.lock._is_owned(), f"the {who} was called under the lock"
            action(store)

    store = small_store(size_limit_in_bytes=4096, weigher=weigher, clock=Clock())
    armed.append(True)
    (result,) = run_threads(lambda: operate(store))
    armed.clear()
    assert not isinstance(result, BaseException) or store._is_closed, result
    check_works(store)


CACHE_OPERATIONS: dict[str, Callable[[Store], Any]] = {
    "set": lambda cache: cache.set("a", [0]),
    "add": lambda cache: cache.add("new", [0]),
    "get": lambda cache: cache.get("a"),
    "peek": lambda cache: cache.peek("a"),
    "pop": lambda cache: cache.pop("a"),
    "get_or_fill": lambda cache: cache.get_or_fill("new", lambda key: [0]),
}


@every_pair(
    operate=CACHE_OPERATIONS,
    raises={"returns": False, "raises": True},
    called=["serializer", "deserializer"],
    action=ACTIONS,
)
def test_serialisers_may_use_the_cache(operate: Any, raises: bool, called: str, action: Any) -> None:
    armed: list[bool] = []

    def act(who: str) -> None:
        if armed and who == called:
            armed.clear()
            assert not cache._state.index.lock._is_owned(), f"the {who} was called under the lock"
            action(cache)
            if raises:
                raise LookupError

    def serializer(value: Any) -> bytes:
        act("serializer")
        return repr(value).encode()

    def deserializer(data: bytes) -> Any:
        act("deserializer")
        return list(data)

    cache = Cache(
        max_items=MOST,
        expiration_thread_max_checks_per_iteration=0,
        serializer=serializer,
        deserializer=deserializer,
    )
    cache.set_many({"a": [1], "b": [2]})
    armed.append(True)
    (result,) = run_threads(lambda: operate(cache))
    armed.clear()
    assert not isinstance(result, BaseException) or store_may_raise(cache, result, raises), result
    check_books(cache)
    assert cache.number_of_items <= MOST


def store_may_raise(cache: Store, result: BaseException, raises: bool) -> bool:
    return cache._is_closed or (raises and isinstance(result, ValueError))


# ---- fork


SET = 'store.set("new", 4)'
FORKED: dict[str, tuple[str, str]] = {
    "BoundedIndex._unaccount": ('store.set("a", 4)', "a"),
    "BoundedIndex._account": ('store.get_or_fill("new", lambda key: 4)', "new"),
    "BoundedIndex._remove": (f"(clock.advance(5), {SET})", "new"),
    "BoundedIndex._make_room": (SET, "new"),
    "BoundedIndex._rebuild": (SET, "new"),
    "Policy.evict": (SET, "new"),
    "Policy.add": (SET, "new"),
    "Policy.remove": ('store.set("a", 4)', "a"),
    "DeadlineQueue.schedule": ('store.set("new", 4, ttl=5)', "new"),
}
"""A function that comes in the midst of an operation, that operation, and the key that it sets to 4."""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@every_policy
@pytest.mark.parametrize("where", FORKED)
def test_a_child_forked_while_another_thread_writes_has_its_books_in_order(where: str, policy: str) -> None:
    """Invariant 10. The writer stops in the midst of its critical section, with the lock held and the books half done.

    The child has no such thread: it frees the lock, and makes the books anew.
    """
    operation, key = FORKED[where]
    owner, name = where.split(".")
    code = f"""
    import faulthandler, os, signal, threading, traceback
    from areole import Storage
    from areole._index.bounded import BoundedIndex
    from areole._index.deadline_queue import DeadlineQueue
    from areole.testing import ManualClock, assert_valid

    clock = ManualClock()
    store = Storage(max_items=3, policy={policy!r}, expiration_thread_max_checks_per_iteration=0, clock=clock)
    store.set_many({{"a": 1, "b": 2}})
    store.set("old", 3, ttl=5)
    entered, go_on = threading.Event(), threading.Event()
    Policy = type(store._state.index.policy)
    step = {owner}.{name}

    def stop_in_the_middle(self, *args):
        result = step(self, *args)
        if threading.current_thread().name == "writer":
            entered.set()
            assert go_on.wait(100)
        return result

    {owner}.{name} = stop_in_the_middle
    if {name!r} == "_rebuild":
        store._state.index._dirty = True
    writer = threading.Thread(target=lambda: {operation}, name="writer", daemon=True)
    writer.start()
    assert entered.wait(50)
    assert store._state.index._dirty, "not in the midst of it"
    number = os.fork()
    if not number:
        faulthandler.register(signal.SIGALRM, all_threads=True, chain=True)
        signal.alarm(45)
        try:
            if {name!r} == "_account":  # its leader is not here to let go of its flight
                assert store.get_or_fill("new", lambda key: 6) in (4, 6) and store.delete("new")
            assert_valid(store)
            assert store.set("e", 5) and store.get("e") == 5 and store.number_of_items <= 3
            store.clear()
            assert store.number_of_items == store.size_in_bytes == 0
            assert_valid(store)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    assert os.waitpid(number, 0)[1] == 0, "the child failed"
    go_on.set()
    writer.join()
    assert store.get({key!r}) == 4 and store.number_of_items <= 3
    assert_valid(store)
    print("works")
    """
    assert run_python(code).split() == ["works"]
