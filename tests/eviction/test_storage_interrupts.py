"""A KeyboardInterrupt before any instruction of an operation of a store: its books are in order when next looked at.

Invariants 4 and 7. What goes wrong where the books are changed in several steps:

    1. a set strikes out the old entry: one item less     3. the books say two, and three are there
    2. it is interrupted before it enters the new one     4. for good: the limit is exceeded by one from now on

Allowed: the operation raises it; no lock is held; what is there and what is counted agree, within the limits; all
threads can use the store. A value that was on its way out may have been told to nobody.

Interrupted is before each instruction at which a signal can arrive, `signal_steps`: `every_step` has some more where
the compiler leaves a `try` inside a `with`, at which no Python code could let go of the lock.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest

from areole import CACHE_MISS, AtomicCache, Cache, Storage
from areole._index.bounded import BoundedIndex
from areole.testing import ManualClock, assert_valid

from ..fills.test_interrupts import interrupt
from ..interleave import Injected, before_each, inject, signal_steps
from ..kit import PATIENCE, Gate, check_books, every_policy, make_store

Store = Storage[Any]
elsewhere = ThreadPoolExecutor(1)
"""Another thread."""


def a_full_store(policy: str) -> Store:
    """Two live items and one that has expired, of three that may be, and of bytes for not many more."""
    clock = ManualClock()
    store = make_store(
        policy, max_items=3, size_limit_in_bytes=4096, clock=clock, on_removal=lambda key, value, cause: None
    )
    store._most_swept = 100
    store.set("a", bytes(900), ttl=50)
    store.set("b", bytes(900))
    store.set("old", bytes(900), ttl=5)
    store.get("b")
    clock.advance(5)
    return store


OPERATIONS: dict[str, Callable[[Store], Any]] = {
    "set": lambda store: store.set("new", bytes(1500)),
    "set over": lambda store: store.set("a", b"", ttl=7),
    "set too large": lambda store: store.set("a", bytes(4000)),
    "add": lambda store: store.add("old", b"new"),
    "get": lambda store: store.get("a"),
    "get of the expired": lambda store: store.get("old"),
    "delete": lambda store: store.delete("a"),
    "pop": lambda store: store.pop("a"),
    "expire_in": lambda store: store.expire_in("a", 7),
    "clear": lambda store: store.clear(),
    "sweep": lambda store: store.sweep(),
    "get_or_fill": lambda store: store.get_or_fill("new", lambda key: bytes(1500)),
    "close": lambda store: store.close(),
}
every_operation = pytest.mark.parametrize("operate", OPERATIONS.values(), ids=OPERATIONS)


def interrupted(make: Callable[[str], Store], operate: Callable[[Store], Any], policy: str, *at: int) -> Injected:
    """Interrupt an operation on a new store before these steps, and check what is left."""
    store = make(policy)
    injected = inject(lambda: operate(store), interrupt, *at)
    try:
        if injected.places:
            assert isinstance(injected.result, KeyboardInterrupt), f"swallowed, for {injected.result!r}"
        elsewhere.submit(check_works, store).result(PATIENCE)
    except (AssertionError, RuntimeError) as error:
        raise AssertionError(f"{injected!r}: {error!r}") from None  # pytest cannot print a frame without a line
    return injected


def check_works(store: Store) -> None:
    assert store._state.index.lock.acquire(timeout=PATIENCE), "the lock is held"  # the sweeper may have it for a moment
    store._state.index.lock.release()
    for key in ("a", "b", "old", "new"):
        value = store.get(key)
        assert value is CACHE_MISS or isinstance(value, bytes)
    if not store._is_closed:
        assert store.get_or_fill("new", lambda key: b"filled") is not CACHE_MISS
        assert store.set("a", b"x") and store.get("a") == b"x"
    store.number_of_items  # noqa: B018  # makes the books anew, if need be: before anything else is done
    check_books(store)


@every_policy
@every_operation
def test_an_interrupt_before_any_instruction_leaves_the_books_in_order(operate: Any, policy: str) -> None:
    """Exhaustively: n = 1, 2, 3, ... until the operation ends before its n-th instruction."""
    assert before_each(signal_steps, partial(interrupted, a_full_store, operate, policy)) > 3, (
        "there were hardly any instructions to interrupt"
    )


@pytest.mark.parametrize("name", ["set", "set over", "expire_in", "sweep"])
def test_a_second_interrupt_while_the_books_are_put_right_leaves_them_in_order(name: str) -> None:
    """A nervous user presses Ctrl-C twice. A sample of the distances between the two."""
    for distance in (1, 3, 9):
        before_each(
            signal_steps,
            lambda at, distance=distance: interrupted(a_full_store, OPERATIONS[name], "lru", at, at + distance),  # type: ignore[misc]
        )


def a_cache(policy: str) -> Store:
    cache = Cache(
        max_items=2,
        expiration_thread_max_checks_per_iteration=0,
        serializer=bytes,
        deserializer=bytes,
        policy=policy,
    )
    cache.set_many({"a": b"1", "b": b"2"})
    return cache


@pytest.mark.parametrize("name", ["set", "pop", "get_or_fill", "get"])
def test_an_interrupt_anywhere_in_an_operation_of_a_cache_leaves_the_books_in_order(name: str) -> None:
    assert before_each(signal_steps, partial(interrupted, a_cache, OPERATIONS[name], "lru")) > 3


def test_an_interrupt_anywhere_in_a_set_of_a_swept_store_leaves_one_that_works() -> None:
    """The first ttl asks for the background thread, here of a sweeper that has no thread to start."""

    def make(policy: str) -> Store:
        store = make_store(policy, max_items=3, clock=ManualClock())
        store.set("b", b"")
        return store

    before_each(signal_steps, partial(interrupted, make, lambda store: store.set("new", b"", ttl=5), "lru"))


def test_a_late_value_that_is_interrupted_as_it_makes_room_leaves_nothing_pending(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A task that was abandoned publishes into the entry that it has left behind, which shows an old value.

    Broken: it made room in two steps, and released the lock in between with the entry pending and without a flight.
    """

    def make_no_room(*args: Any) -> None:
        raise SystemExit

    cache = AtomicCache[str, str](str, max_items=1, policy="lru")
    assert cache["a"] == "a"
    index: Any = cache._state.index
    with monkeypatch.context() as patch:
        patch.setattr(BoundedIndex, "_make_room", make_no_room)
        with pytest.raises(SystemExit):
            index.publish(index.find("a"), "late", None, 1, 0.0)
    assert cache.get("a") == "a", "it is pending, and whoever asks for it looks for ever"
    assert cache["b"] == "b" and list(cache) == ["b"]
    assert_valid(cache)


@pytest.mark.parametrize("policy", ["lru", "s3fifo"])
def test_a_value_whose_entry_an_interrupted_removal_took_out_is_not_stored(
    policy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A removal marks the flight, by which its leader knows. One that is cut short before that leaves no mark."""
    gate = Gate()
    cache = AtomicCache(lambda key: gate.enter() or key, max_items=3, policy=policy)
    thread = threading.Thread(target=cache.fetch, args=("a",))
    thread.start()
    gate.wait_until_entered()

    def interrupted(entry: object) -> None:
        monkeypatch.undo()
        raise KeyboardInterrupt

    monkeypatch.setattr(type(cache._state.index), "_note_removed", lambda index, entry: interrupted(entry))
    with pytest.raises(KeyboardInterrupt):
        cache.invalidate("a")
    gate.open()
    thread.join(PATIENCE)
    assert "a" not in cache and len(cache) == 0
    assert cache["a"] == "a"
    assert_valid(cache)
