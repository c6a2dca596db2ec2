"""Bounded stores under threads: the limit holds, nothing is lost, nothing is told twice, one fill at a time.

The law of conservation, by which most of this is checked: values are unique, and whatever was stored is either still
there or was told to the listener, exactly once. What goes wrong where a write is not one step:

    1. A and B find one place left      3. both store: one item too many, for good
    2. A and B both replace V           4. V is told twice, and what A stored is told never

No test here waits for the time. Threads run until so much has been done, and the clock moves when it is told to.
"""

from __future__ import annotations

import random
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from areole import CACHE_MISS, Cache, RemovalCause, Storage

from ..interleave import explore
from ..kit import (
    PATIENCE,
    Gate,
    ManualClock,
    assert_valid,
    is_free_threaded,
    run_threads,
    start_threads,
    wait_until_waiting,
)

every_policy = pytest.mark.parametrize("policy", ["lru", "s3fifo"])

Value = tuple[Any, int, int]
"""A key, a serial number that no other value has, a size."""


@pytest.fixture(autouse=True)
def _switch_often() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(2e-4)
    yield
    sys.setswitchinterval(before)


class Ledger:
    """A store of unique values, and all that was put into it and told to have left."""

    def __init__(self, **options: Any) -> None:
        self.clock = ManualClock()
        self.told: list[tuple[Any, Value, RemovalCause]] = []  # `list.append` is one atomic step on both builds
        self.stored: list[Value] = []  # `set` or `add` said True
        self.refused: list[Value] = []  # `set` said False
        self.filled: list[Value] = []
        self.popped: list[Value] = []
        options = {"clock": self.clock, "expiration_thread_max_checks_per_iteration": 0} | options
        self.store: Storage[Value] = Storage(on_removal=lambda *removal: self.told.append(removal), **options)

    def check(self) -> None:
        """Check the law. A fill whose place was taken meanwhile is stored nowhere, and told to nobody."""
        present = [entry.value for entry in self.store._state.index.snapshot()]
        never_in = set(self.refused) | set(self.filled)
        left = [v for _, v, cause in self.told if cause is not RemovalCause.OVERSIZE or v not in never_in]
        accounted = Counter(present + left)
        assert max(accounted.values(), default=1) == 1, "a value was told twice, or told and is still there"
        assert not set(self.stored) - set(accounted), "a value that was stored has gone without a word"
        assert set(accounted) <= set(self.stored) | set(self.filled), "a value appears that nobody stored"
        explicit = {value for _, value, cause in self.told if cause is RemovalCause.EXPLICIT}
        assert set(self.popped) <= explicit
        assert len(set(self.popped)) == len(self.popped), "two threads popped the same value"
        self.check_oversize_and_counters()
        assert_valid(self.store)

    def check_oversize_and_counters(self) -> None:
        causes = Counter(cause for _, _, cause in self.told)
        oversize = Counter(value for _, value, cause in self.told if cause is RemovalCause.OVERSIZE)
        assert max(oversize.values(), default=1) == 1
        assert sum(oversize.values()) >= len(self.refused), "a value was refused without a word"
        assert set(oversize) <= set(self.refused) | set(self.filled) | set(self.stored)
        assert all(key == value[0] for key, value, _ in self.told), "a value was told under another key"
        info = self.store.cache_info()
        assert info.expirations == causes[RemovalCause.EXPIRED]
        assert info.evictions == causes[RemovalCause.EVICTED] + causes[RemovalCause.OVERSIZE]


class Worker:
    """One thread's random choice of operations on a few keys."""

    def __init__(self, ledger: Ledger, number: int, keys: int, most: int) -> None:
        self.ledger = ledger
        self.store = ledger.store
        self.random = random.Random(number)
        self.serials = iter(range(number, sys.maxsize, 100))
        self.keys = keys
        self.most = most

    def make(self, key: Any) -> Value:
        return key, next(self.serials), self.random.randrange(self.most)

    def fill(self, key: Any) -> Value:
        value = self.make(key)
        self.ledger.filled.append(value)
        return value

    def set(self, key: Any) -> None:
        value = self.make(key)
        is_in = self.store.set(key, value, ttl=self.random.choice([None, 0, 1, 3]))
        (self.ledger.stored if is_in else self.ledger.refused).append(value)

    def add(self, key: Any) -> None:
        value = key, next(self.serials), 0  # never too large, so that False means that there is another
        if self.store.add(key, value, ttl=self.random.choice([None, 2])):
            self.ledger.stored.append(value)

    def pop(self, key: Any) -> None:
        value = self.store.pop(key)
        if value is not CACHE_MISS:
            self.ledger.popped.append(value)

    def get(self, key: Any) -> None:
        value = self.store.get(key)
        assert value is CACHE_MISS or value[0] == key, "another key's value"  # type: ignore[index]

    def get_or_fill(self, key: Any) -> None:
        assert self.store.get_or_fill(key, self.fill, ttl=self.random.choice([None, 2]))[0] == key

    def delete(self, key: Any) -> None:
        self.store.delete(key)

    def expire(self, key: Any) -> None:
        self.store.expire_in(key, self.random.choice([None, 0, 1, 5]))

    def pass_time(self, key: Any) -> None:
        self.ledger.clock.advance(0.5)

    def sweep(self, key: Any) -> None:
        self.store.sweep()

    def step(self) -> None:
        often = [self.set] * 6 + [self.get, self.get_or_fill] * 3
        rarely = [self.add, self.pop, self.delete, self.expire, self.pass_time, self.sweep]
        self.random.choice(often + rarely)(self.random.randrange(self.keys))

    def run(self, steps: int) -> None:
        for _ in range(steps):
            self.step()

    def run_until(self, stop: threading.Event) -> None:
        while not stop.is_set():
            self.step()


LIMITS = [{"max_items": 5}, {"size_limit_in_bytes": 4096, "weigher": lambda key, value: value[2]}]
LIMITS += [{"max_items": 6, "size_limit_in_bytes": 4096, "weigher": lambda key, value: value[2]}]
every_limit = pytest.mark.parametrize("limits", LIMITS, ids=["items", "bytes", "both"])


def raise_first(results: list[Any]) -> None:
    for result in results:
        if isinstance(result, BaseException):
            raise result


@every_policy
@every_limit
def test_no_sample_taken_while_four_threads_write_delete_expire_and_fill_is_over_the_limit(
    policy: str, limits: dict[str, Any]
) -> None:
    """Invariant 7. A sample is what is really there and what is counted, both under the lock that writers take."""
    ledger = Ledger(policy=policy, **limits)
    index = ledger.store._state.index
    stop = threading.Event()

    def sample() -> None:
        most = samples = 0
        try:
            while samples < 60 or most < 2:  # the writers may come late
                samples += 1
                with index.lock:
                    weights = [entry.weight for entry in index.snapshot() if entry.is_published]  # type: ignore[attr-defined]
                    counted = index.count()
                assert counted == (len(weights), sum(weights))
                assert min(weights, default=0) >= 0
                assert index.max_items is None or counted[0] <= index.max_items
                assert index.max_weight is None or counted[1] <= index.max_weight
                most = max(most, counted[0])
                assert samples < 100_000, "the store was never filled"
                stop.wait(0.0005)  # lets the writers go on
        finally:
            stop.set()

    workers = [Worker(ledger, number, keys=12, most=2500) for number in range(4)]
    raise_first(run_threads(sample, *[lambda worker=worker: worker.run_until(stop) for worker in workers]))
    ledger.check()


@every_policy
@every_limit
def test_each_value_that_four_threads_stored_is_still_there_or_was_told_exactly_once(
    policy: str, limits: dict[str, Any]
) -> None:
    ledger = Ledger(policy=policy, **limits)
    workers = [Worker(ledger, number, keys=12, most=2500) for number in range(4)]
    raise_first(run_threads(*[lambda worker=worker: worker.run(1500) for worker in workers]))
    causes = {cause for _, _, cause in ledger.told}
    assert {RemovalCause.EVICTED, RemovalCause.REPLACED, RemovalCause.EXPIRED, RemovalCause.EXPLICIT} <= causes
    assert (RemovalCause.OVERSIZE in causes) is ("size_limit_in_bytes" in limits)
    ledger.check()


@every_policy
def test_a_store_with_room_for_all_loses_nothing_of_what_four_threads_set(policy: str) -> None:
    """Nothing evicts, expires, deletes or replaces here: every value is there."""
    ledger = Ledger(policy=policy, max_items=4 * 500)
    store = ledger.store

    def set_block(first: int) -> None:
        for key in range(first, first + 500):
            assert store.set(key, (key, key, 0), ttl=10)
            ledger.stored.append((key, key, 0))

    raise_first(run_threads(*[lambda first=first: set_block(first) for first in range(0, 2000, 500)]))
    assert [store.get(key) for key in range(2000)] == [(key, key, 0) for key in range(2000)]
    assert store.number_of_items == 2000
    assert ledger.told == []
    ledger.check()


@every_policy
def test_all_that_four_threads_delete_is_gone_and_counts_and_weighs_nothing(policy: str) -> None:
    ledger = Ledger(policy=policy, size_limit_in_bytes=10**6, weigher=lambda key, value: value[2])
    worker = Worker(ledger, 0, keys=1, most=100)
    for key in range(400):
        ledger.store.set(key, worker.fill(key), ttl=5)
    deleted = run_threads(*[lambda: sum([ledger.store.delete(key) for key in range(400)])] * 4)
    assert sum(deleted) == 400, "a key was deleted twice, or never"
    assert (ledger.store.number_of_items, ledger.store.size_in_bytes) == (0, 0)
    ledger.check()


# ---- who wins


def test_of_threads_that_add_one_absent_key_one_stores_and_of_those_that_pop_it_one_gets_it() -> None:
    ledger = Ledger(max_items=2)
    store = ledger.store
    for round_ in range(60):
        added = run_threads(*[lambda n=10 * round_ + n: store.add("key", ("key", n, 0)) for n in range(3)])
        assert sorted(added) == [False, False, True]
        winner = ("key", 10 * round_ + added.index(True), 0)
        ledger.stored.append(winner)
        popped = run_threads(*[lambda: store.pop("key")] * 3)
        assert [value for value in popped if value is not CACHE_MISS] == [winner]
    ledger.check()


@every_policy
def test_a_fill_is_run_by_one_thread_at_a_time_for_each_key_however_often_its_value_is_evicted(policy: str) -> None:
    """Three keys in a store for one: nearly each lookup evicts what another thread has filled just now."""
    ledger = Ledger(policy=policy, max_items=1)
    running: Counter[str] = Counter()
    serials = iter(range(10**9))
    lock = threading.Lock()
    twice: list[str] = []

    def fill(key: str) -> Value:
        with lock:
            running[key] += 1
            if running[key] > 1:
                twice.append(key)
            value = key, next(serials), 0
        ledger.filled.append(value)
        with lock:
            running[key] -= 1
        return value

    def look_up(number: int) -> None:
        choose = random.Random(number)
        for _ in range(600):
            key = choose.choice("abc")
            assert ledger.store.get_or_fill(key, fill)[0] == key
            assert ledger.store.number_of_items <= 1

    raise_first(run_threads(*[lambda number=number: look_up(number) for number in range(4)]))
    assert not twice, "a key was filled by two threads at once"
    info = ledger.store.cache_info()
    assert info.fills == len(ledger.filled) > 3
    assert info.failures == 0
    ledger.check()


@every_policy
def test_evictions_during_a_fill_do_not_let_a_second_fill_of_its_key_begin(policy: str) -> None:
    ledger = Ledger(policy=policy, max_items=1)
    store, gate = ledger.store, Gate()
    worker = Worker(ledger, 0, keys=1, most=1)

    def slow_fill(key: str) -> Value:
        gate.enter()
        return worker.fill(key)

    join = start_threads(lambda: store.get_or_fill("slow", slow_fill))
    gate.wait_until_entered()
    for key in "abcabc":
        assert store.get_or_fill(key, worker.fill)[0] == key
    join_second = start_threads(lambda: store.get_or_fill("slow", slow_fill))
    wait_until_waiting(store, 1)  # type: ignore[arg-type]
    gate.open()
    assert join() == join_second() == [store.get("slow")]
    assert store.number_of_items == 1
    ledger.check()


# ---- every interleaving of two


def scenario_of(
    first: Callable[[Ledger], Any],
    second: Callable[[Ledger], Any],
    check: Callable[[Ledger, list[Any]], None],
    prepare: Callable[[Ledger], Any] = lambda ledger: None,
    **options: Any,
) -> Callable[[], Any]:
    def scenario() -> Any:
        ledger = Ledger(**options)
        prepare(ledger)

        def check_all(results: list[Any]) -> None:
            raise_first(results)
            check(ledger, results)
            ledger.check()

        return lambda: first(ledger), lambda: second(ledger), check_all

    return scenario


def put(ledger: Ledger, key: str, serial: int, ttl: float | None = None) -> bool:
    value = key, serial, 0
    ledger.stored.append(value)
    return ledger.store.set(key, value, ttl)


def fill_with(ledger: Ledger, key: str, serial: int) -> Value:
    def fill(key: str) -> Value:
        value = key, serial, 0
        ledger.filled.append(value)
        return value

    return ledger.store.get_or_fill(key, fill)


def test_a_set_that_has_returned_is_what_is_there_whatever_a_fill_of_the_key_does_meanwhile() -> None:
    """Invariants 3 and 9, in all interleavings with up to two switches."""

    def check(ledger: Ledger, results: list[Any]) -> None:
        assert results[0] is True
        assert results[1] in (("key", 1, 0), ("key", 2, 0))
        assert ledger.store.get("key") == ("key", 1, 0), "a fill has overwritten what was set"

    explore(scenario_of(lambda led: put(led, "key", 1), lambda led: fill_with(led, "key", 2), check, max_items=1), 1)


def test_a_delete_during_a_fill_that_is_not_stored_any_more_lets_nothing_appear_later() -> None:
    """Allowed: the fill came first and was deleted, or it was detached, or it began after the delete."""

    def check(ledger: Ledger, results: list[Any]) -> None:
        was_there = results[0]
        is_there = ledger.store.get("key") is not CACHE_MISS
        assert not (was_there and is_there), "the one value of the one fill was deleted, and is there"

    explore(scenario_of(lambda led: led.store.delete("key"), lambda led: fill_with(led, "key", 1), check), 1)


def test_a_set_against_a_fill_of_another_key_leaves_one_of_them_in_a_store_for_one() -> None:
    def check(ledger: Ledger, results: list[Any]) -> None:
        assert results == [True, ("b", 2, 0)]
        assert ledger.store.number_of_items == 1
        assert [cause for _, _, cause in ledger.told] == [RemovalCause.EVICTED]

    explore(scenario_of(lambda led: put(led, "a", 1), lambda led: fill_with(led, "b", 2), check, max_items=1), 1)


def test_two_fills_of_one_key_while_there_is_an_expired_value_are_one() -> None:
    def prepare(ledger: Ledger) -> None:
        put(ledger, "key", 1, ttl=1)
        ledger.clock.advance(1)

    def check(ledger: Ledger, results: list[Any]) -> None:
        assert results[0] == results[1]
        assert len(ledger.filled) == 1
        assert [cause for _, _, cause in ledger.told] == [RemovalCause.EXPIRED]

    explore(scenario_of(lambda led: fill_with(led, "key", 2), lambda led: fill_with(led, "key", 3), check, prepare), 1)


def test_a_sweep_against_a_set_of_the_expired_key_tells_the_old_value_once_and_keeps_the_new() -> None:
    def prepare(ledger: Ledger) -> None:
        put(ledger, "key", 1, ttl=1)
        ledger.clock.advance(1)

    def check(ledger: Ledger, results: list[Any]) -> None:
        assert ledger.store.get("key") == ("key", 2, 0)
        assert ledger.told == [("key", ("key", 1, 0), RemovalCause.EXPIRED)]

    explore(scenario_of(lambda led: led.store.sweep(), lambda led: put(led, "key", 2), check, prepare), 2, at_least=10)


def test_a_get_of_an_expired_value_never_takes_out_what_is_set_meanwhile() -> None:
    """Invariant 9: the reader takes out the entry that it found, or none."""

    def prepare(ledger: Ledger) -> None:
        put(ledger, "key", 1, ttl=1)
        ledger.clock.advance(1)

    def check(ledger: Ledger, results: list[Any]) -> None:
        assert results[0] in (CACHE_MISS, ("key", 2, 0))
        assert ledger.store.get("key") == ("key", 2, 0)

    explore(scenario_of(lambda led: led.store.get("key"), lambda led: put(led, "key", 2), check, prepare), 2)


def test_expire_in_finds_a_key_that_is_there_all_the_time_though_it_is_set_meanwhile() -> None:
    """Fault 9 of the review: the entry found was replaced, and it said False instead of looking again.

    Allowed: the value that was set keeps its own ttl, none, if the set came last; else it has the new one.
    """

    def check(ledger: Ledger, results: list[Any]) -> None:
        assert results[0] is True, "it said that the key was not there"
        assert ledger.store.ttl_of("key") in (None, 5)

    prepare = lambda ledger: put(ledger, "key", 1)  # noqa: E731
    explore(scenario_of(lambda led: led.store.expire_in("key", 5), lambda led: put(led, "key", 2), check, prepare), 2)


# ---- during a fill, one step after another


CHANGES: list[tuple[Callable[[Storage[Any]], Any], Any]] = [
    (lambda store: store.set("key", "set"), "set"),
    (lambda store: store.add("key", "set"), "set"),
    (lambda store: store.set_many({"key": "set"}), "set"),
    (lambda store: store.delete("key"), CACHE_MISS),
    (lambda store: store.pop("key"), CACHE_MISS),
    (lambda store: store.delete_many(["key"]), CACHE_MISS),
    (lambda store: store.invalidate("key"), CACHE_MISS),
    (lambda store: store.clear(), CACHE_MISS),
    (lambda store: store.expire_in("key", 0), "filled"),
    (lambda store: store.sweep(), "filled"),
    (lambda store: store.set_many({"a": 1, "b": 2, "c": 3}), "filled"),
]
CHANGE_NAMES = ["set", "add", "set_many", "delete", "pop", "delete_many", "invalidate", "clear", "expire_in", "sweep"]
CHANGE_NAMES += ["evictions"]


@every_policy
@pytest.mark.parametrize(("change", "after"), CHANGES, ids=CHANGE_NAMES)
@pytest.mark.parametrize("store_type", [Storage, Cache])
def test_what_changes_the_key_during_a_fill_wins_over_it_and_the_fill_still_reaches_those_who_wait(
    store_type: Any, change: Callable[[Storage[Any]], Any], after: Any, policy: str
) -> None:
    told: list[Any] = []
    store = store_type(max_items=1, policy=policy, on_removal=lambda *removal: told.append(removal))
    gate = Gate()

    def fill(key: str) -> str:
        gate.enter()
        return "filled"

    join = start_threads(*[lambda: store.get_or_fill("key", fill)] * 2)
    gate.wait_until_entered()
    wait_until_waiting(store, 1)
    change(store)
    gate.open()
    assert join() == ["filled", "filled"]
    assert store.get("key") == after
    assert store.cache_info().fills == 1
    assert store.number_of_items == (after is not CACHE_MISS)
    assert not [removal for removal in told if removal[0] == "key"], "what was never stored was told to have left"
    assert_valid(store)


def test_a_fill_that_fails_after_a_set_of_its_key_does_not_take_the_set_value_out() -> None:
    """Invariant 9; async-lru 2.4: a failing old task removes the new entry (measured)."""
    store: Storage[str] = Storage(max_items=1)
    gate = Gate()

    def fill(key: str) -> str:
        gate.enter()
        raise LookupError(key)

    join = start_threads(lambda: store.get_or_fill("key", fill))
    gate.wait_until_entered()
    store.set("key", "set")
    gate.open()
    assert [type(result) for result in join()] == [LookupError]
    assert store.get("key") == "set"
    assert_valid(store)


def test_a_fill_too_large_to_store_reaches_all_who_wait_and_leaves_nothing() -> None:
    told: list[Any] = []
    store: Storage[bytes] = Storage(size_limit_in_bytes=4096, on_removal=lambda *removal: told.append(removal))
    gate = Gate()

    def fill(key: str) -> bytes:
        gate.enter()
        return bytes(3000)

    join = start_threads(*[lambda: store.get_or_fill("key", fill)] * 3)
    gate.wait_until_entered()
    wait_until_waiting(store, 2)  # type: ignore[arg-type]
    gate.open()
    assert join() == [bytes(3000)] * 3
    assert told == [("key", bytes(3000), RemovalCause.OVERSIZE)]
    assert (store.number_of_items, store.size_in_bytes) == (0, 0)
    assert_valid(store)


def test_threads_that_wait_for_the_fill_of_a_store_that_is_closed_meanwhile_get_its_value() -> None:
    store: Storage[str] = Storage()
    gate = Gate()

    def fill(key: str) -> str:
        gate.enter()
        return "filled"

    join = start_threads(*[lambda: store.get_or_fill("key", fill)] * 2)
    gate.wait_until_entered()
    wait_until_waiting(store, 1)  # type: ignore[arg-type]
    store.close()
    gate.open()
    assert join() == ["filled", "filled"]
    assert store.get("key") == "filled"


@pytest.mark.skipif(not is_free_threaded(), reason="with a GIL a claim waits for the lock")
@pytest.mark.parametrize("policy", ["lru", "s3fifo"])
def test_a_set_detaches_a_fill_that_claims_its_key_between_its_look_and_its_store(policy: str) -> None:
    gate = Gate()
    store = Storage[Any](max_items=3, policy=policy)
    thread = threading.Thread(target=store.get_or_fill, args=("a", lambda key: gate.enter() or "filled"))

    class ClaimedBetween(dict[Any, Any]):
        """Has the fill claim right after a look has found nothing."""

        def get(self, key: Any, default: Any = None) -> Any:
            found = super().get(key, default)
            if found is None and thread.ident is None:
                thread.start()
                gate.wait_until_entered()
            return found

    store._state.index.entries = store._entries = ClaimedBetween()
    store.set("a", "set")
    gate.open()
    thread.join(PATIENCE)
    assert store.get("a") == "set"
    assert store.number_of_items == 1
    assert_valid(store)
