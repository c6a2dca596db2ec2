"""Two threads at one store, in every interleaving with one switch, or two if asked; limits are looked at each time.

What goes wrong where looking for room and taking it are two steps (invariant 7):

    1. A finds room for one     3. A stores     -- one too many, if only until the next eviction
    2. B finds room for one     4. B stores

Before each step of the one that goes on, the other could come in: if it can have the lock, what it sees must be within
the limits and in the books. What each operation may answer is said by its own scenario.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from areole import CACHE_MISS, RemovalCause, Storage
from areole.testing import ManualClock

from ..interleave import EXHAUSTIVE, BadSchedule, WithInvariant, explore, point
from ..kit import Told, check_books, every_policy

SWITCHES = 2 if EXHAUSTIVE else 1
"""Two are minutes of work; one, and two in the shorter scenarios of test_storage_threads, is for every day."""

MOST_ITEMS, MOST_WEIGHT = 2, 4096
Store = Storage[Any]


def weigh(key: Any, value: Any) -> int:
    return 1200 if value == "heavy" else 100


class Stores:
    """The store of the schedule that runs, and a look at it before each step."""

    def __init__(self, policy: str) -> None:
        self.policy = policy
        self.looks = 0
        self.store: Store

    def make(self) -> Store:
        self.told = Told()
        self.store = Storage(
            MOST_WEIGHT,
            MOST_ITEMS,
            expiration_thread_max_checks_per_iteration=0,
            weigher=weigh,
            policy=self.policy,
            clock=ManualClock(),
            on_removal=self.told,
        )
        self.store._most_swept = 100
        return self.store

    def look(self) -> None:
        """Check the limits, if no thread holds the lock, the one that is about to go on among them."""
        index: Any = self.store._state.index
        if not index.lock.is_free:
            return
        self.looks += 1
        stored = [entry for entry in list(index.entries.values()) if entry.is_published]
        weight = sum(entry.weight for entry in stored)
        assert len(stored) <= MOST_ITEMS, f"{len(stored)} items are there before a step"
        assert weight <= MOST_WEIGHT, f"they weigh {weight} before a step"
        assert (index.items, index._weight) == (len(stored), weight), "the books are wrong before a step"


def set_heavy(store: Store, key: str) -> Any:
    return store.set(key, "heavy")


def fill(store: Store, key: str, value: Any = "filled") -> Any:
    return store.get_or_fill(key, lambda key: value)


def evict(store: Store) -> Any:
    return store.set("c", "heavy"), store.set("d", "heavy")


def expire(store: Store) -> Any:
    store._clock.advance(5)  # type: ignore[attr-defined]
    return store.get("key")


def close(store: Store) -> Any:
    store.close()


Operation = Callable[[Store], Any]
PAIRS: dict[str, tuple[Operation, Operation, Callable[[Store, list[Any]], bool]]] = {
    "set, set of one key": (
        lambda store: store.set("key", "1"),
        lambda store: store.set("key", "2"),
        lambda store, results: results == [True, True] and store.get("key") in ("1", "2"),
    ),
    "set, set of two keys": (
        lambda store: set_heavy(store, "x"),
        lambda store: set_heavy(store, "y"),
        lambda store, results: results == [True, True] and {"x", "y"} & set(store),
    ),
    "set, evict": (
        lambda store: store.set("key", "1"),
        evict,
        lambda store, results: store.get("key") in ("1", CACHE_MISS),
    ),
    "delete, set": (
        lambda store: store.delete("key"),
        lambda store: store.set("key", "1"),
        lambda store, results: results == [True, True] and store.get("key") in ("1", CACHE_MISS),
    ),
    "pop, set": (
        lambda store: store.pop("key"),
        lambda store: store.set("key", "1"),
        lambda store, results: results[0] in ("first", "1") and (store.get("key") == "1") is (results[0] == "first"),
    ),
    "expire, set": (
        expire,
        lambda store: store.set("key", "1"),
        lambda store, results: results[0] in (CACHE_MISS, "1") and store.get("key") == "1",
    ),
    "expire_in, set": (
        lambda store: store.expire_in("key", 0),
        lambda store: store.set("key", "1"),
        lambda store, results: results[0] is True and store.get("key") in ("1", CACHE_MISS),
    ),
    "sweep, set": (
        lambda store: (store._clock.advance(5), store.sweep())[1],  # type: ignore[attr-defined]
        lambda store: store.set("key", "1"),
        lambda store, results: results[0] in (0, 1) and store.get("key") == "1",
    ),
    "close, set": (
        close,
        lambda store: store.set("key", "1"),
        lambda store, results: store.get("key") == ("1" if results[1] is True else "first"),
    ),
    "get_or_fill, set": (
        lambda store: fill(store, "new"),
        lambda store: store.set("new", "1"),
        lambda store, results: results[0] in ("filled", "1") and store.get("new") == "1",
    ),
    "get_or_fill, delete": (
        lambda store: fill(store, "new"),
        lambda store: store.delete("new"),
        lambda store, results: results[0] == "filled" and (store.get("new") is CACHE_MISS or not results[1]),
    ),
    "get_or_fill, evict": (
        lambda store: fill(store, "new", "heavy"),
        evict,
        lambda store, results: results[0] == "heavy" and store.get("new") in ("heavy", CACHE_MISS),
    ),
    "clear, set": (
        lambda store: store.clear(),
        lambda store: store.set("key", "1"),
        lambda store, results: store.get("key") in ("1", CACHE_MISS),
    ),
}


@every_policy
@pytest.mark.parametrize("pair", PAIRS.values(), ids=PAIRS)
def test_no_interleaving_exceeds_a_limit_or_answers_what_it_may_not(pair: Any, policy: str) -> None:
    stores = Stores(policy)

    def scenario() -> Any:
        store = stores.make()
        store.set("key", "first", ttl=5)
        store.set("other", "heavy")
        first, second, allows = pair

        def check(results: list[Any]) -> None:
            was_closed, store._is_closed = store._is_closed, False  # so that all can be asked
            for result in results:
                assert not isinstance(result, BaseException) or was_closed, repr(result)
            assert allows(store, results), (results, dict(store._state.index.entries))  # type: ignore[call-overload]
            check_told(stores.told)
            check_books(store)

        return lambda: first(store), lambda: second(store), WithInvariant(check, stores.look)

    number = explore(scenario, SWITCHES, at_least=15)
    assert stores.looks > number, "the limits were hardly ever looked at"


def check_told(told: Told) -> None:
    """Each value is told once; "heavy" ones are alike, and so are counted by their keys."""
    seen = [(key, value) for key, value, _ in told.all]
    assert len(set(seen)) == len(seen), f"told twice: {seen}"
    assert all(cause is not RemovalCause.OVERSIZE for _, _, cause in told.all)


def test_the_look_before_each_step_finds_a_limit_that_is_exceeded() -> None:
    """A planted fault: room is looked for before the lock is taken."""
    stores = Stores("lru")

    def put_carelessly(store: Store, key: str) -> None:
        index: Any = store._state.index
        index._max_items = 1000
        store.set(key, "1")
        point()
        index._max_items = MOST_ITEMS

    def scenario() -> Any:
        store = stores.make()
        store.set_many({"a": "1", "b": "2"})
        check = WithInvariant(lambda results: None, stores.look)
        return lambda: put_carelessly(store, "x"), lambda: store.get("a"), check

    with pytest.raises(BadSchedule, match="3 items are there before a step"):
        explore(scenario, 1, at_least=1)
