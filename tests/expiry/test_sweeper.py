"""The one background thread: when there is one, when it is gone, and what it lives through.

Known fault: one thread per cache instance, which is never collected unless closed, and not restarted after fork
(atomic_lru, measured).

No test waits for the time: delays are of hours, clocks are moved by hand and the sweeper is told to look. What another
thread does is waited for by an event, or asked for again and again for `PATIENCE` seconds at most.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from itertools import chain
from typing import Any
from unittest import mock

import pytest

from areole import AtomicCache, Cache, FillDeadlockError, Storage
from areole._cache import storage as _storage
from areole._expiry import sweeper as _sweeper
from areole._expiry.sweeper import Sweeper
from areole._platform.locks import run_locked
from areole.testing import ManualClock

from ..interleave import Injected, before_each, inject, signal_steps
from ..kit import PATIENCE, Gate, assert_valid, collect, run_threads, start_threads

HOUR = 3600.0


class FakeStore:
    """What a sweeper sees of a store; does `action`.

    It counts as swept once the sweeper has noted when it is next due: a clock that a test moves on before that would
    put the next sweep off.
    """

    def __init__(self, delay: float = HOUR, action: Callable[[], Any] = lambda: None) -> None:
        self.name = "fake"
        self._sweep_delay = delay
        self.swept = 0
        self._action = action
        self._is_being_swept = False
        self._has_been_swept = threading.Event()
        self._sweep_due = 0.0

    def sweep(self) -> int:
        try:
            self._action()
        finally:
            self.swept += 1
            self._is_being_swept = True
        return 0

    @property
    def _sweep_due(self) -> float:
        return self._due

    @_sweep_due.setter
    def _sweep_due(self, due: float) -> None:
        self._due = due
        if self._is_being_swept:
            self._is_being_swept = False
            self._has_been_swept.set()

    def wait_until_swept(self) -> None:
        assert self._has_been_swept.wait(PATIENCE), "it was never swept"
        self._has_been_swept.clear()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def sweeper(clock: ManualClock) -> Iterator[Sweeper]:
    """A sweeper of this test's own, which `Storage` uses too."""
    own = Sweeper(clock)
    with mock.patch.object(_storage, "sweeper", own):
        yield own
    for store in own._stores.objects():
        own.remove(store)
    wait_until(lambda: own.thread is None, "the thread of the test's sweeper goes on")


def wait_until(condition: Callable[[], Any], what: str) -> None:
    pause = threading.Event()
    for _ in range(PATIENCE * 1000):
        if condition():
            return
        pause.wait(0.001)
    pytest.fail(f"after {PATIENCE} s: {what}")


def wait_until_asleep(sweeper: Sweeper) -> None:
    """Return once the thread has read all that it was told: from then on it looks once more, or sleeps."""
    wait_until(sweeper._wakeups.empty, "the thread does not read its news")


# ---- when there is a thread


@pytest.mark.parametrize("kind", [Storage, Cache])
def test_there_is_no_thread_for_stores_that_never_have_a_ttl(kind: Any, sweeper: Sweeper) -> None:
    stores = [kind(max_items=5) for _ in range(10)]
    for store in stores:
        store.set("a", 1)
        store.set("a", 1, ttl=None)
        store.get_or_fill("b", str)
        store.expire_in("a", None)
        store.close()
        store.close(wait=True)
    assert sweeper.thread is None and sweeper._wakeups.empty(), "notes were left for a thread that there is not"


GIVE_A_TTL: dict[str, Callable[[], Any]] = {
    "default_ttl": lambda: Storage(default_ttl=5),
    "set": lambda: set_in_a_new_store(lambda store: store.set("a", 1, ttl=5)),
    "add": lambda: set_in_a_new_store(lambda store: store.add("a", 1, ttl=5)),
    "set_many": lambda: set_in_a_new_store(lambda store: store.set_many({"a": 1}, ttl=5)),
    "get_or_fill": lambda: set_in_a_new_store(lambda store: store.get_or_fill("a", str, ttl=5)),
    "expire_in": lambda: set_in_a_new_store(lambda store: (store.set("a", 1), store.expire_in("a", 5))),
}


def set_in_a_new_store(change: Callable[[Storage[Any]], Any]) -> Storage[Any]:
    store: Storage[Any] = Storage()
    change(store)
    return store


@pytest.mark.parametrize("make", GIVE_A_TTL.values(), ids=GIVE_A_TTL)
def test_it_starts_with_the_first_ttl(make: Any, sweeper: Sweeper) -> None:
    store = make()
    thread = sweeper.thread
    assert thread is not None and thread.daemon and thread.name == "areole-sweeper"
    store.close(wait=True)
    assert sweeper.thread is None and not thread.is_alive()


@pytest.mark.parametrize(
    "options",
    [{"expiration_thread_max_checks_per_iteration": 0}, {"expiration_disabled": True}],
    ids=["no checks", "expiration disabled"],
)
def test_there_is_none_for_who_does_not_want_it(options: dict[str, Any], sweeper: Sweeper) -> None:
    store: Storage[int] = Storage(default_ttl=5, **options)
    store.set("a", 1, ttl=7)
    assert sweeper.thread is None
    store.close(wait=True)


def test_a_thousand_stores_are_one_thread_and_it_is_gone_after_the_last_close(sweeper: Sweeper) -> None:
    """Known fault: one thread per cache instance (atomic_lru, measured)."""
    before = set(threading.enumerate())
    stores = [Storage[int](default_ttl=5) for _ in range(1000)]
    (thread,) = set(threading.enumerate()) - before
    assert thread is sweeper.thread
    for store in stores[1:]:
        store.close(wait=True)
        assert thread.is_alive(), "it went with a store that was not the last"
    stores[0].close(wait=True)
    assert sweeper.thread is None and set(threading.enumerate()) <= before


def test_close_waits_for_the_thread_though_an_earlier_close_did_not(sweeper: Sweeper) -> None:
    store = Storage[int](default_ttl=5)
    thread = sweeper.thread
    store.close()
    store.close(wait=True)
    assert thread is not None and not thread.is_alive()


def test_a_close_that_waits_ends_when_another_store_keeps_the_thread(sweeper: Sweeper) -> None:
    other = Storage[int](default_ttl=5)
    assert run_threads(lambda: Storage[int](default_ttl=5).close(wait=True)) == [None]
    assert sweeper.thread is not None
    other.close(wait=True)


@pytest.mark.parametrize("count", [1, 1000])
def test_it_is_gone_once_the_last_store_is_collected(count: int, sweeper: Sweeper) -> None:
    """Known fault: a store that is not closed is never collected, for its thread holds it (atomic_lru, measured).

    The delay is of ten seconds here, and the clock stands still: what wakes the thread is the end of the store.
    """
    stores = [Storage[int](default_ttl=5) for _ in range(count)]
    thread = sweeper.thread
    assert thread is not None
    wait_until_asleep(sweeper)
    stores.clear()

    def has_ended() -> bool:
        collect()  # where reference counts are deferred; again, as the thread may have held stores, for a last look
        return not thread.is_alive()

    wait_until(has_ended, "the thread goes on")
    assert sweeper.thread is None
    assert not sweeper._stores.records


def test_a_store_that_is_let_go_of_while_it_is_swept_is_collected_and_the_thread_ends(sweeper: Sweeper) -> None:
    """1. the thread holds the store while it sweeps    2. its user lets go    3. the thread's own is the last."""
    entered, let_go = threading.Event(), threading.Event()
    store = FakeStore(0.0, lambda: (entered.set(), let_go.wait(PATIENCE)))
    sweeper.add(store)
    assert entered.wait(PATIENCE)
    thread = sweeper.thread
    del store
    let_go.set()
    assert thread is not None
    thread.join(PATIENCE)
    assert not thread.is_alive()


def test_a_new_thread_is_started_after_the_old_one_has_ended(sweeper: Sweeper) -> None:
    for _ in range(50):
        store = FakeStore(0.0)
        sweeper.add(store)
        store.wait_until_swept()
        sweeper.remove(store, wait=True)
        assert sweeper.thread is None


def test_stores_that_come_while_the_thread_is_about_to_end_are_swept(sweeper: Sweeper) -> None:
    """1. the thread looks: no store    2. one is added: there is a thread    3. the thread ends: nobody sweeps it."""

    def come_and_go() -> None:
        for _ in range(200):
            store = FakeStore(0.0)
            sweeper.add(store)
            store.wait_until_swept()
            sweeper.remove(store)

    assert run_threads(*[come_and_go] * 3) == [None] * 3


def test_stores_made_by_many_threads_at_once_are_one_thread(sweeper: Sweeper) -> None:
    before = set(threading.enumerate())
    stores = run_threads(*[lambda: [Storage[int](default_ttl=5) for _ in range(50)]] * 4)
    assert set(threading.enumerate()) - before == {sweeper.thread}
    for store in chain(*stores):
        store.close(wait=True)
    assert set(threading.enumerate()) <= before


# ---- what it sweeps, and when


def test_each_store_is_swept_by_its_own_delay(sweeper: Sweeper, clock: ManualClock) -> None:
    quick, slow = FakeStore(1.0), FakeStore(10.0)
    sweeper.add(slow)
    sweeper.add(quick)
    for _ in range(10):
        assert slow.swept == 0
        clock.advance(1.0)
        sweeper.wake()
        quick.wait_until_swept()
    slow.wait_until_swept()
    sweeper.remove(quick)
    sweeper.remove(slow, wait=True)
    assert (quick.swept, slow.swept) == (10, 1)


def test_a_store_with_a_shorter_delay_need_not_wait_for_the_others(sweeper: Sweeper) -> None:
    """The thread sleeps for an hour when a store comes that is due at once."""
    patient = FakeStore(HOUR)
    sweeper.add(patient)
    wait_until_asleep(sweeper)
    hasty = FakeStore(0.0)
    sweeper.add(hasty)
    hasty.wait_until_swept()
    assert patient.swept == 0
    sweeper.remove(hasty)
    sweeper.remove(patient)


def test_it_takes_out_what_has_expired_and_nobody_asks_for(sweeper: Sweeper, clock: ManualClock) -> None:
    told: list[Any] = []
    all_told = threading.Event()

    def listen(*removal: Any) -> None:
        told.append(removal[0])
        if len(told) == 500:
            all_told.set()

    store: Storage[int] = Storage(expiration_thread_delay=10, clock=clock, on_removal=listen)
    for i in range(500):
        store.set(i, i, ttl=5)
    store.set("stays", 1, ttl=50)
    clock.advance(10)
    sweeper.wake()
    assert all_told.wait(PATIENCE)
    store.close(wait=True)
    assert store.number_of_items == 1 and sorted(told) == list(range(500))
    assert_valid(store)


def test_one_sweep_takes_out_no_more_than_it_may(sweeper: Sweeper, clock: ManualClock) -> None:
    store: Storage[int] = Storage(expiration_thread_max_checks_per_iteration=7, clock=clock)
    for i in range(20):
        store.set(i, i, ttl=5)
    clock.advance(5)
    sweeper.wake()
    assert [store.sweep() for _ in range(4)] == [7, 7, 6, 0]
    store.close(wait=True)


def test_a_delay_longer_than_a_queue_can_wait_is_no_error(sweeper: Sweeper) -> None:
    store = FakeStore(1e300)
    sweeper.add(store)
    wait_until_asleep(sweeper)
    assert sweeper.thread is not None
    sweeper.remove(store, wait=True)


def test_sweeps_are_logged_for_who_asks_for_it(
    sweeper: Sweeper, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "areole")
    for logs, name in ((True, "loud"), (False, "quiet")):
        store = Storage[int](expiration_thread_log=logs, clock=clock, name=name)
        store.set("secret", 1, ttl=5)
        clock.advance(5)
        assert store.sweep() == 1
        store.close(wait=True)
    assert [record.getMessage() for record in caplog.records] == ["loud: swept 1 expired entries"]


# ---- what it lives through


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit, GeneratorExit])
def test_what_raises_in_a_sweep_is_logged_and_the_thread_goes_on(
    error: type[BaseException], sweeper: Sweeper, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> None:
        raise error("the user's")

    failing, other = FakeStore(1.0, fail), FakeStore(1.0)
    sweeper.add(failing)
    sweeper.add(other)
    thread = sweeper.thread
    for _ in range(3):
        clock.advance(1.0)
        sweeper.wake()
        failing.wait_until_swept()
        other.wait_until_swept()
    assert sweeper.thread is thread
    sweeper.remove(failing)
    sweeper.remove(other, wait=True)
    assert [record.getMessage() for record in caplog.records] == ["fake: could not be swept"] * 3


def test_a_log_handler_that_raises_does_not_end_it_either(sweeper: Sweeper) -> None:
    def refuse(record: logging.LogRecord) -> bool:
        raise ValueError("a filter of the user's")

    failing = FakeStore(0.0, lambda: 1 // 0)
    logger = logging.getLogger("areole")
    logger.addFilter(refuse)
    try:
        sweeper.add(failing)
        for _ in range(3):
            failing.wait_until_swept()
        assert sweeper.thread is not None
        sweeper.remove(failing, wait=True)
    finally:
        logger.removeFilter(refuse)


@pytest.mark.parametrize("broken", ["listener", "clock"])
def test_a_store_whose_listener_or_clock_raises_does_not_end_the_sweeps_of_others(
    broken: str, sweeper: Sweeper, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    is_broken = threading.Event()

    def own_clock() -> float:
        if is_broken.is_set() and threading.current_thread() is sweeper.thread and broken == "clock":
            raise ZeroDivisionError
        return clock()

    def listen(*removal: Any) -> None:
        if broken == "listener":
            raise KeyboardInterrupt

    store: Storage[int] = Storage(expiration_thread_delay=1, clock=own_clock, on_removal=listen)
    store.set("a", 1, ttl=1)
    other = FakeStore(1.0)
    sweeper.add(other)
    is_broken.set()
    clock.advance(1)
    sweeper.wake()
    other.wait_until_swept()
    clock.advance(1)
    sweeper.wake()
    other.wait_until_swept()
    assert sweeper.thread is not None
    sweeper.remove(other)
    store.close(wait=True)
    assert "could not be swept" in caplog.text


def test_a_listener_run_by_the_thread_may_close_its_store_and_wait(sweeper: Sweeper, clock: ManualClock) -> None:
    """It would wait for itself: for this one there is nothing to be waited for."""
    closed = threading.Event()

    def listen(*removal: Any) -> None:
        assert threading.current_thread() is sweeper.thread
        store.close(wait=True)
        closed.set()

    store: Storage[int] = Storage(expiration_thread_delay=1, clock=clock, on_removal=listen)
    store.set("a", 1, ttl=1)
    thread = sweeper.thread
    assert thread is not None
    clock.advance(1)
    sweeper.wake()
    assert closed.wait(PATIENCE)
    thread.join(PATIENCE)
    assert not thread.is_alive()


def test_a_listener_run_by_the_thread_may_make_and_drop_stores(sweeper: Sweeper) -> None:
    made: list[Any] = []

    def make() -> None:
        if len(made) < 5:
            made.append(Storage[int](default_ttl=5))
        Storage[int](default_ttl=5)

    store = FakeStore(0.0, make)
    sweeper.add(store)
    wait_until(lambda: store.swept >= 5, "it was not swept five times")
    sweeper.remove(store)
    made.clear()


def test_a_finalizer_that_makes_a_store_while_the_thread_is_started_does_not_start_another(sweeper: Sweeper) -> None:
    """1. `add` finds no thread    2. in `Thread.start` a finalizer adds a store: no thread yet    3. two threads."""
    start, added = threading.Thread.start, FakeStore()

    def start_with_a_finalizer(thread: threading.Thread) -> None:
        sweeper.add(added)
        start(thread)

    before = set(threading.enumerate())
    store = FakeStore()
    with mock.patch.object(threading.Thread, "start", start_with_a_finalizer):
        sweeper.add(store)
    assert set(threading.enumerate()) - before == {sweeper.thread}
    sweeper.remove(added)
    sweeper.remove(store, wait=True)


def test_where_no_thread_can_be_started_stores_work_and_the_next_one_tries_again(sweeper: Sweeper) -> None:
    with mock.patch.object(threading.Thread, "start", side_effect=RuntimeError("can't start new thread")):
        first = Storage[int](default_ttl=5)
        assert first.set("a", 1) and first.get("a") == 1 and sweeper.thread is None
    second = Storage[int](default_ttl=5)
    assert sweeper.thread is not None
    first.close()
    second.close(wait=True)


def test_an_interrupt_while_the_thread_is_started_is_raised_and_leaves_one_thread_at_most(sweeper: Sweeper) -> None:
    start = threading.Thread.start

    def start_and_be_interrupted(thread: threading.Thread) -> None:
        start(thread)
        raise KeyboardInterrupt

    before, store = set(threading.enumerate()), FakeStore(0.0)
    with mock.patch.object(threading.Thread, "start", start_and_be_interrupted), pytest.raises(KeyboardInterrupt):
        sweeper.add(store)
    wait_until(lambda: set(threading.enumerate()) <= before, "the thread that nobody knows of goes on")
    sweeper.add(store)
    store.wait_until_swept()
    sweeper.remove(store, wait=True)


# ---- interrupts


@pytest.mark.parametrize("distance", [None, 1, 3, 8])
def test_an_interrupt_before_any_instruction_of_the_first_ttl_leaves_a_store_that_the_next_ttl_has_swept(
    clock: ManualClock, sweeper: Sweeper, distance: int | None
) -> None:
    """Broken: 1. `_is_swept` or `_runs` is set; 2. it is interrupted; 3. all take it that there is a thread."""

    def interrupt() -> None:
        raise KeyboardInterrupt

    def interrupted(at: int) -> Injected:
        store: Storage[int] = Storage(clock=clock, expiration_thread_delay=60)
        places = (at,) if distance is None else (at, at + distance)
        injected = inject(lambda: store.set("a", 1, ttl=5), interrupt, *places)
        assert not injected.places or isinstance(injected.result, KeyboardInterrupt)
        run_threads(lambda: store.set("a", 1, ttl=5))  # another thread: no lock is held
        assert sweeper.thread is not None
        assert any(each is store for each in sweeper._stores.objects())
        store.close(wait=True)
        return injected

    assert before_each(signal_steps, interrupted) > 30


def test_a_thread_that_has_died_is_replaced(clock: ManualClock, sweeper: Sweeper) -> None:
    store, other = FakeStore(), FakeStore()
    with mock.patch.object(sweeper, "_run", lambda news: None):
        sweeper.add(store)
        wait_until(lambda: sweeper.thread is None, "the thread goes on")
    sweeper.add(other)
    clock.advance(HOUR)
    sweeper.wake()
    store.wait_until_swept()
    other.wait_until_swept()


def test_a_lookup_in_the_midst_of_a_step_of_the_sweeper_may_not_wait() -> None:
    """A finalizer may run there, and the fill that it would wait for may need the lock, to make a store."""
    gate = Gate()
    cache = AtomicCache(lambda key: gate.enter())
    join = start_threads(lambda: cache["key"])
    gate.wait_until_entered()
    with pytest.raises(FillDeadlockError):
        run_locked(_sweeper.sweeper.lock, cache.__getitem__, "key")
    gate.open()
    assert join() == [None]
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
