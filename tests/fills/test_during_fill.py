"""Invalidate, clear, refresh and expiry while a fill is on its way: invariants 2, 3, 8 and 9.

Known faults: clear or remove during a fill, and the old value is stored all the same (functools.lru_cache, cachetools
8, moka-py, measured; Guava #1881; caffeine #251; trino #22285); a failing *old* task removes the *new* entry, an old
timer expires a new entry (async-lru 2.4, measured; #480, #503); waiters get different objects for one fill (otter #137,
CPython gh-150708); `in` is true for a key whose fill failed (cereggii, measured); expired keys never leave (cereggii).
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from areole import AtomicCache, Cache, RemovalCause, cached

from ..kit import (
    PATIENCE,
    Gate,
    ManualClock,
    Told,
    assert_valid,
    every_index,
    every_policy,
    run_threads,
    start_threads,
    wait_until_waiting,
)


class GatedFills:
    """A fill whose n-th run stops at `gates[n]`, if there is one, and then raises `errors[n]` or returns "value n"."""

    def __init__(self, gated: int = 1) -> None:
        self.gates = [Gate() for _ in range(gated)]
        self.errors: dict[int, BaseException] = {}
        self.runs = 0
        self._lock = threading.Lock()  # makes one step of counting a run

    def __call__(self, key: Any) -> str:
        with self._lock:
            number = self.runs
            self.runs += 1
        if number < len(self.gates):
            self.gates[number].enter()
        if number in self.errors:
            raise self.errors[number]
        return f"value {number}"


def lead(cache: AtomicCache[Any, Any], fills: GatedFills, number: int, key: Any = "key") -> Callable[[], list[Any]]:
    """Start a thread that asks for `key`, and return when its fill, the one of this number, is at its gate."""
    join = start_threads(lambda: cache[key])
    fills.gates[number].wait_until_entered()
    return join


def invalidate(cache: AtomicCache[str, Any]) -> None:
    assert cache.invalidate("key") is True


def clear(cache: AtomicCache[str, Any]) -> None:
    cache.clear()


every_removal = pytest.mark.parametrize("remove", [invalidate, clear])
every_end = pytest.mark.parametrize(
    "error", [None, ValueError("late"), KeyboardInterrupt(), SystemExit()], ids=lambda error: type(error).__name__
)


# ---- removal during a fill


@every_index
@every_removal
def test_a_value_whose_fill_was_on_its_way_at_a_removal_is_stored_nowhere(remove: Any, index: str) -> None:
    """Invariant 3. Known fault: functools.lru_cache, cachetools 8, moka-py, Guava #1881, caffeine #251, trino #22285.

    1. A begins to fill from the old data      3. A stores what it made of the old data
    2. the data change; B invalidates          4. C reads it, after B's invalidate

    Allowed: the removal returns at once; A gets its value; C fills anew.
    """
    fills = GatedFills()
    cache = AtomicCache(fills, index=index)
    join = lead(cache, fills, 0)
    remove(cache)  # returns though the fill is at its gate: it does not wait
    assert cache["key"] == "value 1"
    fills.gates[0].open()
    assert join() == ["value 0"]
    assert cache["key"] == "value 1"
    assert fills.runs == 2
    assert_valid(cache)


@every_index
@every_removal
def test_with_nobody_asking_anew_the_old_value_is_not_stored_either(remove: Any, index: str) -> None:
    fills = GatedFills()
    cache = AtomicCache(fills, index=index)
    join = lead(cache, fills, 0)
    remove(cache)
    fills.gates[0].open()
    assert join() == ["value 0"]
    assert list(cache) == []
    assert cache.cache_info().currsize == 0
    assert cache["key"] == "value 1"
    assert_valid(cache)


@every_index
@every_removal
def test_waiters_of_a_detached_flight_get_its_value_the_very_object(remove: Any, index: str) -> None:
    """Known fault: waiters get different objects for one fill (otter #137, CPython gh-150708)."""
    gate = Gate()

    def fill(key: str) -> object:
        gate.enter()
        return object()

    cache = AtomicCache(fill, index=index)
    join = start_threads(*[lambda: cache["key"]] * 4)
    wait_until_waiting(cache, 3)
    remove(cache)
    gate.open()
    results = join()
    # A waiter that was counted may still be short of its wait, but it holds the flight by then.
    assert len({id(result) for result in results}) == 1
    assert cache.cache_info().currsize == 0
    assert_valid(cache)


@every_index
@every_removal
@every_end
def test_a_late_old_leader_leaves_the_newer_value_alone(error: BaseException | None, remove: Any, index: str) -> None:
    """Invariant 9. Known fault: a failing old task removes the new entry (async-lru 2.4, measured; #480, #503).

    1. A begins; B invalidates      2. C fills, and stores      3. A ends, and removes "its" key: C's value is gone
    """
    fills = GatedFills()
    if error is not None:
        fills.errors[0] = error
    cache = AtomicCache(fills, index=index, cache_exceptions=True)
    join = lead(cache, fills, 0)
    remove(cache)
    assert cache["key"] == "value 1"
    fills.gates[0].open()
    (result,) = join()
    assert result == "value 0" if error is None else type(result) is type(error)
    assert cache["key"] == "value 1"
    assert fills.runs == 2
    assert_valid(cache)


@every_index
@every_end
def test_a_late_old_leader_leaves_the_newer_flight_alone(error: BaseException | None, index: str) -> None:
    """Invariants 2 and 9: the newer fill is on its way when the old one ends; those who joined it stay with it."""
    fills = GatedFills(gated=2)
    if error is not None:
        fills.errors[0] = error
    cache = AtomicCache(fills, index=index)
    join_old = lead(cache, fills, 0)
    cache.invalidate("key")
    join_new = lead(cache, fills, 1)
    join_waiter = start_threads(lambda: cache["key"])
    wait_until_waiting(cache, 1)
    fills.gates[0].open()
    join_old()
    assert "key" not in list(cache)
    fills.gates[1].open()
    assert [*join_new(), *join_waiter()] == ["value 1", "value 1"]
    assert cache["key"] == "value 1"
    assert fills.runs == 2
    assert_valid(cache)


@every_index
def test_waiters_of_a_dead_detached_leader_join_or_fill_anew_and_store_that(index: str) -> None:
    """A detached flight that dies of a BaseException has no outcome for those who joined it: they start again."""
    fills = GatedFills()
    fills.errors[0] = SystemExit()
    cache = AtomicCache(fills, index=index)
    join_leader = lead(cache, fills, 0)
    join_waiters = start_threads(*[lambda: cache["key"]] * 3)
    wait_until_waiting(cache, 3)
    cache.invalidate("key")
    fills.gates[0].open()
    assert type(join_leader()[0]) is SystemExit
    assert join_waiters() == ["value 1"] * 3
    assert cache["key"] == "value 1"
    assert fills.runs == 2
    assert_valid(cache)


@every_index
def test_clear_during_several_fills_detaches_all_of_them(index: str) -> None:
    fills = GatedFills(gated=4)
    cache = AtomicCache(fills, index=index)
    joins = [lead(cache, fills, number, key=number) for number in range(4)]
    cache.clear()
    assert [cache[key] for key in range(4)] == [f"value {number}" for number in range(4, 8)]
    for gate in fills.gates:
        gate.open()
    assert [join() for join in joins] == [[f"value {number}"] for number in range(4)]
    assert [cache[key] for key in range(4)] == [f"value {number}" for number in range(4, 8)]
    assert_valid(cache)


@every_index
def test_invalidate_tells_of_a_fill_on_its_way_once(index: str) -> None:
    """It says whether there was a value or a flight; a flight that it detached is not there any more."""
    fills = GatedFills()
    cache = AtomicCache(fills, index=index)
    join = lead(cache, fills, 0)
    assert [cache.invalidate("key"), cache.invalidate("key")] == [True, False]
    fills.gates[0].open()
    join()
    assert cache.invalidate("key") is False
    assert_valid(cache)


@every_index
def test_removing_a_flight_tells_the_listener_of_no_value(index: str) -> None:
    fills, told = GatedFills(), []
    cache = AtomicCache(fills, index=index, on_removal=lambda *removal: told.append(removal))
    join = lead(cache, fills, 0)
    cache.invalidate("key")
    fills.gates[0].open()
    join()
    assert told == []
    assert cache.cache_info().expirations == 0
    assert_valid(cache)


@every_index
def test_a_memoized_call_invalidated_while_it_runs_is_not_stored(index: str) -> None:
    gate, calls = Gate(), []

    @AtomicCache.memoize(index=index)
    def function(a: int, b: int = 2) -> int:
        calls.append(a)
        if len(calls) == 1:
            gate.enter()
        return len(calls)

    join = start_threads(lambda: function(1))
    gate.wait_until_entered()
    assert function.invalidate(b=2, a=1) is True
    assert function(1, 2) == 2
    gate.open()
    join()
    assert function.peek(1) == 2
    assert_valid(function.cache)


# ---- looking during a fill


@every_index
def test_whoever_does_not_fill_neither_waits_for_a_fill_nor_sees_it(index: str) -> None:
    """get, peek, get_many, in, len, iteration, cache_info, repr: all return while the fill is at its gate."""
    fills = GatedFills()
    cache = AtomicCache(fills, index=index)
    join = lead(cache, fills, 0)
    assert "key" not in cache
    assert cache.get("key", "default") == "default"
    assert cache.peek("key", "default") == "default"
    assert cache.get_many(["key"]) == {}
    assert len(cache) == 0
    assert list(cache) == []
    assert cache.cache_info().currsize == 0
    assert "0 values" in repr(cache)
    assert fills.runs == 1
    fills.gates[0].open()
    assert join() == ["value 0"]
    assert cache.get("key") == "value 0"
    assert_valid(cache)


@every_index
def test_other_keys_are_filled_and_removed_while_a_fill_is_on_its_way(index: str) -> None:
    fills = GatedFills()
    cache = AtomicCache(fills, index=index)
    join = lead(cache, fills, 0)
    assert cache["other"] == "value 1"
    assert cache.refresh("other") == "value 2"
    assert cache.invalidate("other") is True
    fills.gates[0].open()
    assert join() == ["value 0"]
    assert_valid(cache)


# ---- refresh


def refreshing(cache: AtomicCache[str, Any], fills: GatedFills) -> Callable[[], list[Any]]:
    """Fill "key" with "value 0", and start a refresh that stops at gate 1; gate 0 must be open."""
    fills.gates[0].open()
    assert cache["key"] == "value 0"
    join = start_threads(lambda: cache.refresh("key"))
    fills.gates[1].wait_until_entered()
    return join


@every_index
def test_a_refresh_joins_a_fill_on_its_way(index: str) -> None:
    """Two fills of one key at once would break invariant 2."""
    fills = GatedFills()
    cache = AtomicCache(fills, index=index)
    join = lead(cache, fills, 0)
    join_refresh = start_threads(lambda: cache.refresh("key"))
    wait_until_waiting(cache, 1)
    fills.gates[0].open()
    assert [*join(), *join_refresh()] == ["value 0", "value 0"]
    assert fills.runs == 1
    assert_valid(cache)


@every_index
def test_refreshes_at_once_make_one_fill(index: str) -> None:
    fills = GatedFills(gated=2)
    cache = AtomicCache(fills, index=index)
    join = refreshing(cache, fills)
    join_others = start_threads(*[lambda: cache.refresh("key")] * 7)
    wait_until_waiting(cache, 7)
    fills.gates[1].open()
    assert [*join(), *join_others()] == ["value 1"] * 8
    assert fills.runs == 2
    assert_valid(cache)


@every_index
def test_readers_get_the_old_value_during_a_refresh(index: str) -> None:
    fills = GatedFills(gated=2)
    cache = AtomicCache(fills, index=index)
    join = refreshing(cache, fills)
    assert run_threads(*[lambda: cache["key"]] * 4) == ["value 0"] * 4
    assert cache.get("key") == cache.peek("key") == "value 0"
    assert "key" in cache
    assert len(cache) == 1
    fills.gates[1].open()
    assert join() == ["value 1"]
    assert cache["key"] == "value 1"
    assert_valid(cache)


@every_index
@every_removal
def test_a_removal_during_a_refresh_wins_over_it(remove: Any, index: str) -> None:
    """Invariant 3: 1. the refresh reads the old data   2. B invalidates   3. the refresh stores what it had read."""
    fills, told = GatedFills(gated=2), []
    cache = AtomicCache(fills, index=index, on_removal=lambda *removal: told.append(removal))
    join = refreshing(cache, fills)
    remove(cache)
    fills.gates[1].open()
    assert join() == ["value 1"]
    assert list(cache) == []
    assert cache["key"] == "value 2"
    assert told == [("key", "value 0", RemovalCause.EXPLICIT)]
    assert_valid(cache)


@every_index
@every_end
def test_a_refresh_that_ends_after_a_removal_leaves_the_newer_value_alone(
    error: BaseException | None, index: str
) -> None:
    """Invariant 9, for a refresh."""
    fills = GatedFills(gated=2)
    if error is not None:
        fills.errors[1] = error
    cache = AtomicCache(fills, index=index)
    join = refreshing(cache, fills)
    cache.invalidate("key")
    assert cache["key"] == "value 2"
    fills.gates[1].open()
    join()
    assert cache["key"] == "value 2"
    assert_valid(cache)


@every_index
@pytest.mark.parametrize("error", [ValueError("refresh"), SystemExit()], ids=lambda error: type(error).__name__)
def test_a_refresh_that_fails_keeps_the_old_value_and_the_next_one_works(error: BaseException, index: str) -> None:
    fills = GatedFills(gated=2)
    fills.errors[1] = error
    cache = AtomicCache(fills, index=index, cache_exceptions=True)
    join = refreshing(cache, fills)
    fills.gates[1].open()
    assert type(join()[0]) is type(error)
    assert cache["key"] == "value 0"
    assert cache.refresh("key") == "value 2"
    assert cache["key"] == "value 2"
    assert_valid(cache)


@every_index
def test_a_replaced_value_is_told_to_the_listener_after_the_new_one_can_be_read(index: str) -> None:
    told: list[Any] = []

    def listen(key: str, value: Any, cause: RemovalCause) -> None:
        told.append((value, cause, cache[key]))

    fills = GatedFills(gated=0)
    cache = AtomicCache(fills, index=index, on_removal=listen)
    assert cache["key"] == "value 0"
    assert cache.refresh("key") == "value 1"
    assert told == [("value 0", RemovalCause.REPLACED, "value 1")]
    assert_valid(cache)


# ---- expiry


def test_readers_join_a_refresh_rather_than_fill_when_the_old_value_expires_meanwhile() -> None:
    """1. A refreshes   2. the old value expires   3. B reads, finds nothing live, and fills beside A's refresh."""
    clock, fills = ManualClock(), GatedFills(gated=2)
    cache = AtomicCache(fills, ttl=10, clock=clock)
    join = refreshing(cache, fills)
    clock.advance(10)
    assert "key" not in cache
    join_readers = start_threads(*[lambda: cache["key"]] * 4)
    wait_until_waiting(cache, 4)
    fills.gates[1].open()
    assert [*join(), *join_readers()] == ["value 1"] * 5
    assert fills.runs == 2
    assert cache["key"] == "value 1"
    assert_valid(cache)


def test_a_refresh_that_dies_after_the_old_value_has_expired_leaves_the_fill_to_a_reader() -> None:
    clock, fills = ManualClock(), GatedFills(gated=2)
    fills.errors[1] = SystemExit()
    cache = AtomicCache(fills, ttl=10, clock=clock)
    join = refreshing(cache, fills)
    clock.advance(10)
    join_readers = start_threads(*[lambda: cache["key"]] * 3)
    wait_until_waiting(cache, 3)
    fills.gates[1].open()
    assert type(join()[0]) is SystemExit
    assert join_readers() == ["value 2"] * 3
    assert fills.runs == 3
    assert_valid(cache)


def test_the_ttl_is_counted_from_the_end_of_the_fill() -> None:
    clock, fills = ManualClock(), GatedFills()
    cache = AtomicCache(fills, ttl=10, clock=clock)
    join = lead(cache, fills, 0)
    clock.advance(100)
    fills.gates[0].open()
    assert join() == ["value 0"]
    clock.advance(9.5)
    assert cache["key"] == "value 0"
    clock.advance(0.5)
    assert cache["key"] == "value 1"
    assert_valid(cache)


def test_an_expired_value_is_filled_anew_by_one_of_many() -> None:
    """Invariants 2 and 9. Known fault: an old timer expires a new entry (async-lru #480, #503).

    1. A and B find the expired entry      2. A takes it out, fills, stores      3. B takes out "the key": A's value
    """
    clock = ManualClock()
    calls: list[int] = []

    def fill(key: int) -> object:
        calls.append(key)
        return object()

    cache = AtomicCache(fill, ttl=1, clock=clock)
    for burst in range(40):
        clock.advance(1)
        results = run_threads(*[lambda: cache[1]] * 8)
        assert len({id(result) for result in results}) == 1
        assert len(calls) == burst + 1
    assert cache.cache_info().expirations == 39
    assert_valid(cache)


def test_a_value_that_expires_while_another_key_fills_leaves_at_the_next_lookup() -> None:
    """Known fault: expired keys and tombstones never leave (cereggii, measured)."""
    clock, fills = ManualClock(), GatedFills(gated=2)
    cache = AtomicCache(fills, ttl=10, clock=clock)
    fills.gates[0].open()
    assert cache["key"] == "value 0"
    join = lead(cache, fills, 1, key="other")
    clock.advance(10)
    assert cache.get("key") is None
    assert cache._state.index.snapshot() == [cache._state.index.find("other")]
    fills.gates[1].open()
    join()
    assert_valid(cache)


# ---- many threads; all schedules of two or three are in test_interleavings.py


@every_index
def test_under_many_threads_no_lookup_gets_a_version_from_before_the_last_invalidate(index: str) -> None:
    """Invariant 3 at full speed: the floor is raised only after `invalidate` has returned, and read before a lookup."""
    data, floor, stale = [0], [0], []
    cache: AtomicCache[str, int] = AtomicCache(lambda key: data[0], index=index)
    done = threading.Event()

    def read() -> None:
        while not done.is_set():
            least = floor[0]
            if cache["key"] < least:
                stale.append(least)

    def write() -> None:
        for version in range(1, 2000):
            data[0] = version
            cache.invalidate("key")
            floor[0] = version
        done.set()

    results = run_threads(write, read, read, read)
    assert results == [None] * 4
    assert stale == []
    assert cache["key"] == 1999
    assert done.wait(PATIENCE)
    assert_valid(cache)


def test_a_value_invalidated_at_the_end_of_its_refresh_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without limits.

    1. A refreshes a key that has value 1      3. A publishes 2 into the entry, which is out: it tells nothing
    2. B invalidates: takes the entry out      4. B reads the value to tell: 2, never stored. Nobody ever told 1.
    """
    gate, told, number = Gate(), [], iter([1, 2])

    def fill(key: str) -> int:
        n = next(number)
        if n == 2:
            gate.enter()
        return n

    cache = AtomicCache[str, int](fill, on_removal=lambda key, value, cause: told.append((value, cause)))
    assert cache["a"] == 1
    join = start_threads(lambda: cache.refresh("a"))
    gate.wait_until_entered()
    remove_if = type(cache._state.index).remove_if

    def remove_and_let_the_refresh_end(self: Any, *args: Any) -> bool:
        was_in = remove_if(self, *args)
        gate.open()
        assert join() == [2]
        return was_in

    with monkeypatch.context() as patch:
        patch.setattr(type(cache._state.index), "remove_if", remove_and_let_the_refresh_end)
        assert cache.invalidate("a")
    assert told == [(1, RemovalCause.EXPLICIT)]


@pytest.mark.parametrize(
    "limits", [{}, {"max_items": 10}, {"max_items": 10, "policy": "lru"}], ids=["none", "s3fifo", "lru"]
)
def test_a_refresh_of_an_expired_value_stays_the_only_fill_of_its_key(limits: dict[str, Any]) -> None:
    """With limits, before expired entries of flights under way stayed.

    1. A refreshes a key whose value expires         3. C asks for the key: its fill is the second under way
    2. B fills another: the sweep takes the entry    4. A settles: what it has filled is stored nowhere.
    """
    gate, clock, fills = Gate(), ManualClock(), []

    def fill(key: str) -> int:
        fills.append(key)
        if fills.count("a") == 2 and key == "a":
            gate.enter()
        return fills.count("a")

    cache = AtomicCache[str, int](fill, 10, clock=clock, **limits)
    assert cache["a"] == 1
    clock.advance(11)
    join = start_threads(lambda: cache.refresh("a"))
    gate.wait_until_entered()
    assert cache["b"] == 2
    gate.open()
    assert join() == [2]
    assert cache["a"] == 2 and fills.count("a") == 2
    assert_valid(cache)


@pytest.mark.parametrize("policy", ["lru", "s3fifo"])
def test_a_refresh_of_an_expired_value_that_fails_leaves_nothing(policy: str) -> None:
    gate, clock, told = Gate(), ManualClock(), []

    def fill(key: str) -> str:
        if clock() and key == "a" and len(told) < 2:
            gate.enter()
            raise LookupError
        return key

    cache = AtomicCache[str, str](
        fill, 10, clock=clock, max_items=10, policy=policy, on_removal=lambda *removal: told.append(removal)
    )
    assert cache["a"] == "a"
    clock.advance(11)
    join = start_threads(lambda: cache.refresh("a"))
    gate.wait_until_entered()
    assert cache["b"] == "b"
    assert told == [("a", "a", RemovalCause.EXPIRED)]
    gate.open()
    assert isinstance(join()[0], LookupError)
    assert [entry.key for entry in cache._state.index.snapshot()] == ["b"]
    assert_valid(cache)


@every_policy
def test_a_value_that_expired_during_a_refresh_is_not_told_again_with_the_stored_exception(policy: str) -> None:
    """1. a sweep tells the value, and leaves it in the entry    3. the entry is evicted, and its old value told again.
    2. the refresh raises, which is stored in that entry
    """
    gate, clock, told = Gate(), ManualClock(), Told()

    def fill(key: str) -> str:
        if clock() and key == "a":
            gate.enter()
            raise LookupError
        return key

    cache = AtomicCache[str, str](
        fill, 10, clock=clock, max_items=2, policy=policy, cache_exceptions=True, on_removal=told
    )
    assert cache["a"] == "a"
    clock.advance(11)
    join = start_threads(lambda: cache.refresh("a"))
    gate.wait_until_entered()
    assert cache["b"] == "b"
    gate.open()
    assert isinstance(join()[0], LookupError)
    cache.fetch_many([*"cdefghij"])
    assert [each for each in told.take() if each[0] == "a"] == [("a", "a", "expired")]
    assert cache.cache_info().evictions == 9 - len(cache)
    assert_valid(cache)


@every_policy
def test_a_refresh_whose_old_value_is_evicted_stays_the_only_fill_of_its_key(policy: str) -> None:
    """1. A refreshes a key        3. C asks for the key: its fill is the second under way
    2. B's fill evicts its entry   4. A settles: what it has filled is stored nowhere.
    """
    gate, told, fills = Gate(), Told(), []

    def fill(key: str) -> int:
        fills.append(key)
        if fills == ["a", "a"]:
            gate.enter()
        return fills.count("a")

    cache = AtomicCache[str, int](fill, max_items=1, policy=policy, on_removal=told)
    assert cache["a"] == 1
    join = start_threads(lambda: cache.refresh("a"))
    gate.wait_until_entered()
    assert cache["b"] == 2
    assert told.take() == [("a", 1, "evicted")] and list(cache) == ["b"]
    join_second = start_threads(lambda: cache["a"])
    wait_until_waiting(cache, 1)
    gate.open()
    assert join() == join_second() == [2] and fills == ["a", "a", "b"]
    assert list(cache) == ["a"] and told.take() == [("b", 2, "evicted")]
    assert_valid(cache)


def test_corrupt_bytes_that_have_expired_meanwhile_are_told_once_and_leave_the_refresh_alone() -> None:
    """1. A reads bytes that cannot be turned back    3. A drops the entry that still shows them, and tells them again
    2. they expire, and are told; their key is being refreshed     -- and the refresh is stored nowhere.
    """
    gate, clock, told = Gate(), ManualClock(), Told()

    def deserialise(data: bytes) -> bytes:
        if data == b"bad":
            clock.advance(11)
            assert cache.sweep() == 1
            raise LookupError
        return data

    cache = Cache(
        default_ttl=10, serializer=bytes, deserializer=deserialise, clock=clock, on_removal=told, max_items=10
    )
    cache.close()  # nobody else sweeps it
    cache._is_closed = False
    values = iter([b"bad", b"good"])

    @cached(cache)
    def fill() -> bytes:
        value = next(values)
        if value == b"good":
            gate.enter()
        return value

    key = fill.cache_key()
    cache.set(key, next(values))
    join = start_threads(fill.refresh)
    gate.wait_until_entered()
    with pytest.raises(ValueError, match="cannot turn"):
        cache.get(key)
    gate.open()
    assert join() == [b"good"] and cache.get(key) == b"good"
    assert told.take() == [(key, b"bad", "expired")]
    assert_valid(cache)
