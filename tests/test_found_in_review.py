"""Faults found by reading the code against its invariants."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from areole import AsyncAtomicCache, AtomicCache, Cache, FillDeadlockError, RemovalCause, Resilience, Storage, cached
from areole._core.flight import Flight
from areole._eviction.s3fifo import S3FifoPolicy
from areole._index.bounded import BoundedIndex
from areole.testing import ManualClock, assert_valid

from .kit import (
    PATIENCE,
    Gate,
    Told,
    every_policy,
    make_store,
    run_threads,
    start_threads,
    wait_until_settled,
    wait_until_waiting,
)


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


def test_a_lookup_whose_fill_exits_in_another_thread_stays_counted() -> None:
    """A thread of the pool leads; the one that asked gets its SystemExit, and does not look again."""

    def fill(key: str) -> int:
        raise SystemExit

    cache = AtomicCache[str, int](fill, resilience=Resilience(hard_timeout=PATIENCE))
    with pytest.raises(SystemExit):
        cache["a"]
    assert cache.cache_info().misses == 1


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


def test_a_sweep_goes_on_behind_what_left_early() -> None:
    """Broken: deadlines of entries that are gone stand first in the heap; a look that drops a part of them is the last.

    Nothing that is written here carries the heap over, as the larger half of it is not empty.
    """
    clock = ManualClock()
    storage: Storage[int] = Storage(clock=clock, expiration_thread_max_checks_per_iteration=1000)
    for n in range(300):
        storage.set(n, n, ttl=100)
    for n in range(300, 700):
        storage.set(n, n, ttl=1)
    storage.delete_many(range(300, 700))
    clock.advance(100)
    assert storage.sweep() == 300
    assert_valid(storage)
    storage.close()


def test_a_set_ends_though_it_may_file_one_value_again_of_many_that_were_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """Broken: it called itself for each part, so with 100,000 entries that were all used it raised RecursionError."""
    monkeypatch.setattr("areole._eviction.lru.FILED_A_TIME", 1)
    storage = make_store("lru", max_items=2000)
    for n in range(2000):
        storage.set(n, n)
    assert len(storage.get_many(range(2000))) == 2000
    for n in range(100):
        assert storage.set(("new", n), "value")
        assert n not in storage and n + 1 in storage
    assert_valid(storage)


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


class Meddling:
    """A key whose `__hash__` calls a function, once, when it has been called so many times."""

    def __init__(self, call: Any) -> None:
        self._call = call
        self._calls_left = 0

    def call_at(self, nth: int) -> None:
        self._calls_left = nth

    def __hash__(self) -> int:
        self._calls_left -= 1
        if self._calls_left == 0:
            self._call()
        return 7


def test_what_a_key_has_put_in_the_place_of_what_is_deleted_is_told_though_the_items_are_counted_first() -> None:
    def meddle() -> None:
        assert storage.delete(key)
        assert storage.set(key, "other")

    told, key = Told(), Meddling(meddle)
    storage = make_store(max_items=10, on_removal=told)
    storage.set(key, "value")
    key.call_at(3)  # found; looked at again under the lock; taken out
    assert not storage.delete(key)
    assert storage.number_of_items == 0
    storage.set("next", "value")
    assert told.take() == [(key, "value", "explicit"), (key, "other", "evicted")]
    assert_valid(storage)


def test_what_was_put_out_for_a_value_whose_key_then_raises_is_told() -> None:
    def fail() -> None:
        raise LookupError

    told, key = Told(), Meddling(fail)
    storage = make_store(max_items=1, on_removal=told)
    storage.set("old", "value")
    key.call_at(3)  # hashed; looked up; put in, after room was made
    with pytest.raises(LookupError):
        storage.set(key, "value")
    storage.set("next", "value")
    assert told.take() == [("old", "value", "evicted")] and storage.cache_info().evictions == 1
    assert_valid(storage)


def test_books_made_anew_put_out_a_stored_exception_without_a_word(monkeypatch: pytest.MonkeyPatch) -> None:
    """A finalizer fills a key while another fill, which has made room for its own value already, is publishing that."""
    make_room, meddlers = BoundedIndex._make_room, iter(["d"])
    told = Told()

    def fill(key: str) -> str:
        if key == "bad":
            raise LookupError
        return key

    def make_room_and_meddle(self: Any, *args: Any) -> None:
        make_room(self, *args)
        for key in meddlers:
            assert cache[key] == key

    cache = AtomicCache[str, str](fill, max_items=2, policy="lru", cache_exceptions=True, on_removal=told)
    with pytest.raises(LookupError):
        cache["bad"]
    with monkeypatch.context() as patch:
        patch.setattr(BoundedIndex, "_make_room", make_room_and_meddle)
        assert cache["c"] == "c"
    assert sorted(cache) == ["c", "d"] and told.take() == []
    assert cache.cache_info().evictions == 0
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


def test_an_insertion_that_is_interrupted_touches_no_newer_entry() -> None:
    """In an AtomicDict. Proves invariant 9.

    1. A's new cell is in       3. A, interrupted, empties the cell     -- and what B has filled is gone.
    2. B invalidates, and fills
    """

    class Cells:
        def __init__(self, cells: Any) -> None:
            self._cells = cells

        def __getitem__(self, key: str) -> Any:
            return self._cells[key]

        def compare_and_set(self, *args: Any) -> None:
            self._cells.compare_and_set(*args)
            index.cells = self._cells
            assert cache.invalidate("a")
            assert cache["a"] == "a"
            raise KeyboardInterrupt

    cache = AtomicCache[str, str](str, index="atomic")
    index: Any = cache._state.index
    index.cells = Cells(index.cells)
    with pytest.raises(KeyboardInterrupt):
        cache["a"]
    assert list(cache) == ["a"]
    assert_valid(cache)


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


def test_a_hit_that_comes_between_does_not_keep_an_entry_from_asking() -> None:
    """`S3FifoPolicy.record_access`: an eviction lowers `freq` and sets `needs_access`, after a hit has read three."""

    class Lowered:
        needs_access: bool | None = True
        readings = iter([3, 1])

        @property
        def freq(self) -> int:
            return next(self.readings)

    entry: Any = Lowered()
    S3FifoPolicy().record_access(entry)
    assert entry.needs_access


@pytest.mark.parametrize("resilience", [None, Resilience(hard_timeout=PATIENCE)], ids=["plain", "timeout"])
def test_a_key_that_asks_another_cache_under_the_lock_of_its_own_is_not_left_waiting(
    resilience: Resilience | None,
) -> None:
    """1. A fills a key of one cache                3. A's fill uses the other cache, and waits for that lock
    2. B, under the lock of another, asks for it    -- and B waits for A.
    """
    gate, found = Gate(), []

    def fill(key: str) -> str:
        gate.enter()
        storage.set("other", "value")
        return key

    def ask() -> None:
        try:
            found.append(cache["a"])
        except FillDeadlockError as error:
            found.append(error)
        gate.open()

    cache = AtomicCache[str, str](fill, resilience=resilience)
    storage, key = make_store(max_items=10), Meddling(ask)
    join = start_threads(lambda: cache["a"])
    gate.wait_until_entered()
    key.call_at(2)  # hashed; looked up, under the lock
    join_second = start_threads(lambda: storage.set(key, "value"))
    assert join_second() == [True] and join() == ["a"]
    assert isinstance(found[0], FillDeadlockError)
    assert len(storage) == 2
    assert_valid(storage)
    assert_valid(cache)


KINDS = {"plain": None, "stale": Resilience(stale_ttl=10), "timeout": Resilience(hard_timeout=PATIENCE)}


@pytest.mark.parametrize("resilience", KINDS.values(), ids=KINDS)
def test_a_refresh_that_joins_one_whose_leader_exits_counts_as_no_lookup(resilience: Resilience | None) -> None:
    """Broken: it took back a miss that it had not counted, and `misses` was -1.

    And who has its own fill led by a thread of the pool, under a timeout, does not wait for somebody else's.
    """
    gate, calls = Gate(), iter([1])

    def fill(key: str) -> str:
        for _ in calls:
            gate.enter()
            raise SystemExit
        return key

    cache = AtomicCache[str, str](fill, 60, resilience=resilience)
    join = start_threads(lambda: cache.refresh("a"))
    gate.wait_until_entered()
    join_second = start_threads(lambda: cache.refresh("a"))
    wait_until_waiting(cache, 1)
    gate.open()
    assert isinstance(join()[0], SystemExit) and join_second() == ["a"]
    info = cache.cache_info()
    assert (info.misses, info.waits, info.fills) == (0, 1, 2)
    assert_valid(cache)


def test_a_refresh_that_comes_upon_a_stored_exception_counts_as_no_lookup(monkeypatch: pytest.MonkeyPatch) -> None:
    """1. B's refresh finds A's fill under way   2. A's fill raises, which is stored, and A leaves   3. B looks at it

    Broken: B took the exception for its answer, as a hit, and took back a miss that it had not counted.
    """
    gate, calls = Gate(), iter([1])

    def fill(key: str) -> str:
        for _ in calls:
            gate.enter()
            raise LookupError
        return key

    cache = AtomicCache[str, str](fill, cache_exceptions=True, stats=True)
    join = start_threads(lambda: cache["a"])
    gate.wait_until_entered()
    lookups, is_stored = iter([1]), Flight.is_stored.fget  # type: ignore[attr-defined]

    def look_late(flight: Flight) -> bool:
        seen: bool = is_stored(flight)
        for _ in lookups:
            gate.open()
            assert isinstance(join()[0], LookupError)
        return seen

    with monkeypatch.context() as patch:
        patch.setattr(Flight, "is_stored", property(look_late))
        assert cache.refresh("a") == "a"
    info = cache.cache_info()
    assert (info.hits, info.misses, info.fills, info.failures) == (0, 1, 2, 1)


@pytest.mark.parametrize("limits", [{}, {"max_items": 10}], ids=["none", "s3fifo"])
def test_who_comes_upon_a_fill_at_its_very_start_has_the_stale_value_to_fall_back_on(
    limits: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """1. A's entry takes the place of a stale one      3. A notes which one: after B has looked
    2. B joins A: for nothing that it could fall back on, it waits for as long as the fill takes
    """
    clock, number = ManualClock(), iter(range(1, 9))
    cache = AtomicCache[str, int](
        lambda key: next(number),
        10,
        clock=clock,
        resilience=Resilience(stale_ttl=5, fail_safe=True, soft_timeout=0.002),
        **limits,
    )
    assert cache["a"] == 1
    clock.advance(10)
    replace_if, seen = type(cache._state.index).replace_if, []

    def replace_and_let_another_look(self: Any, *args: Any) -> bool:
        was_in = replace_if(self, *args)
        seen.extend(run_threads(lambda: cache["a"]))
        return was_in

    with monkeypatch.context() as patch:
        patch.setattr(type(cache._state.index), "replace_if", replace_and_let_another_look)
        assert cache["a"] in (1, 2)  # 1: where the fill took longer than the soft timeout
    assert seen == [1]
    wait_until_settled(cache)
    assert cache["a"] == 2
    assert_valid(cache)


def test_a_fallback_on_a_value_that_is_live_again_counts_as_a_hit() -> None:
    """Another lookup has filled the key meanwhile or, as here, the clock has gone back. Broken: it was not counted."""
    clock, values = ManualClock(), iter(["value"])

    def fill(key: str) -> str:
        for value in values:
            return value
        clock.advance(-5)
        raise LookupError

    resilience = Resilience(stale_ttl=10, fail_safe=True)
    cache = AtomicCache[str, str](fill, 10, clock=clock, stats=True, resilience=resilience)
    assert cache["a"] == "value"
    clock.advance(11)
    assert cache["a"] == "value"
    info = cache.cache_info()
    assert (info.hits, info.misses, info.stale_hits) == (1, 1, 0)
    assert_valid(cache)


def test_a_value_that_is_published_as_its_fill_is_abandoned_does_not_vanish_untold() -> None:
    """The last who waits, on another loop or in a thread, leaves as the task settles.

    1. A, who leaves, looks: the entry has no value      3. a hit gets it
    2. the task publishes one, for all to see            4. A takes the entry out     -- and nobody is told of it.
    """

    class SeenLock:
        """Says when the loop's thread comes to it while it is held."""

        def __init__(self, lock: Any) -> None:
            self._lock = lock

        def acquire(self) -> bool:
            if not self._lock.acquire(blocking=False):
                moved.set()
                self._lock.acquire()
            return True

        def release(self) -> None:
            self._lock.release()

    async def leave_at_the_end() -> None:
        may_end, loop = asyncio.Event(), asyncio.get_running_loop()

        async def fill(key: str) -> str:
            await may_end.wait()
            return "value"

        cache = AsyncAtomicCache[str, str](fill, on_removal=told)
        index: Any = cache._state.index
        task = asyncio.create_task(cache.fetch("a"))
        await asyncio.sleep(0)
        flight = index.find("a").flight
        flight.task.add_done_callback(lambda task: moved.set())
        index.lock, remove_if = SeenLock(index.lock), type(index).remove_if

        def remove_as_the_fill_ends(self: Any, *args: Any) -> bool:
            loop.call_soon_threadsafe(may_end.set)
            assert moved.wait(PATIENCE)
            seen.extend(cache.get_many([*"a"]).values())
            return bool(remove_if(self, *args))

        flight.is_abandoned = True
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(type(index), "remove_if", remove_as_the_fill_ends)
            await asyncio.to_thread(cache._fills.detach, flight)
        assert await task == "value"
        assert "a" not in cache

    told, moved, seen = Told(), threading.Event(), list[str]()
    asyncio.run(leave_at_the_end())
    assert seen == [value for _, value, _ in told.take()]
