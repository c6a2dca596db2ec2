"""Resilience where several threads are at it: one background fill a key, timeouts, and who wins over whom.

No test waits for time to pass: fills are held at gates, and a timeout that is to pass is a few milliseconds, of a fill
that is never let through before it has.
"""

from __future__ import annotations

import contextvars
import threading
import weakref
from collections.abc import Iterator
from typing import Any

import pytest

from areole import AtomicCache, FillDeadlockError, FillTimeout, RecursiveFillError, Resilience, Storage
from areole._fill.stale import StaleServing
from areole._platform.worker_pool import HUNG_SECONDS, MOST_EACH, MOST_THREADS, pool

from ..kit import (
    PATIENCE,
    Gate,
    ManualClock,
    Numbered,
    Subject,
    assert_valid,
    collect,
    count_items,
    every_subject,
    run_threads,
    settle,
    start_threads,
    wait_until_settled,
    wait_until_waiting,
)

Kind = type[Subject]

AT_ONCE = Resilience(stale_ttl=5)
SHORT = 0.002


def gated(subject: Subject, number: int) -> Gate:
    """Have the fill of that number stop at a gate."""
    gate = Gate()
    subject.fill.before = lambda key: gate.enter() if subject.fill.keys.count(key) == number else None
    return gate


@every_subject
def test_many_lookups_of_a_stale_value_make_one_background_fill(kind: Kind) -> None:
    subject = kind(10, AT_ONCE)
    subject.look_up("a")
    subject.clock.advance(10)
    gate = gated(subject, 2)
    looks = run_threads(*[lambda: [subject.look_up("a") for _ in range(20)]] * 8)
    assert looks == [[("a", 1)] * 20] * 8
    gate.open()
    subject.settle()
    assert subject.look_up("a") == ("a", 2)
    info = subject.info()
    assert (subject.fill.keys, info.background_fills, info.stale_hits) == (["a", "a"], 1, 160)


@every_subject
def test_many_lookups_ahead_make_one_background_fill(kind: Kind) -> None:
    subject = kind(10, Resilience(refresh_ahead=0.5))
    subject.look_up("a")
    subject.clock.advance(5)
    gate = gated(subject, 2)
    looks = run_threads(*[lambda: [subject.look_up("a") for _ in range(20)]] * 8)
    assert looks == [[("a", 1)] * 20] * 8
    gate.wait_until_entered()
    assert subject.look_up("a") == subject.get("a") == ("a", 1)
    gate.open()
    subject.settle()
    assert (subject.fill.keys, subject.info().background_fills) == (["a", "a"], 1)


@every_subject
def test_an_invalidation_during_a_background_fill_wins(kind: Kind) -> None:
    subject = kind(10, AT_ONCE)
    subject.look_up("a")
    subject.clock.advance(10)
    gate = gated(subject, 2)
    assert subject.look_up("a") == ("a", 1)
    gate.wait_until_entered()
    assert subject.invalidate("a") is True  # a fill was on its way
    assert subject.look_up("a") == ("a", 3)
    gate.open()
    subject.settle()
    assert subject.look_up("a") == subject.get("a") == ("a", 3)


@every_subject
def test_a_clear_during_a_background_fill_wins(kind: Kind) -> None:
    subject = kind(10, Resilience(refresh_ahead=0.5))
    subject.look_up("a")
    subject.clock.advance(5)
    gate = gated(subject, 2)
    subject.look_up("a")
    gate.wait_until_entered()
    subject.cache.clear()
    gate.open()
    subject.settle()
    assert subject.get("a") is None
    assert subject.look_up("a") == ("a", 3)


@every_subject
def test_who_comes_when_the_stale_value_is_of_no_use_waits_for_the_background_fill(kind: Kind) -> None:
    subject = kind(10, AT_ONCE)
    subject.look_up("a")
    subject.clock.advance(10)
    gate = gated(subject, 2)
    subject.look_up("a")
    gate.wait_until_entered()
    subject.clock.advance(5)
    join = start_threads(*[lambda: subject.look_up("a")] * 4)
    wait_until_waiting(subject.cache, 4)
    gate.open()
    assert join() == [("a", 2)] * 4
    subject.settle()
    assert subject.fill.keys == ["a", "a"]


@pytest.mark.parametrize("change", ["set", "delete", "add"])
def test_what_is_set_during_a_background_fill_wins(change: str) -> None:
    clock, fill, gate = ManualClock(), Numbered(), Gate()
    storage: Storage[Any] = Storage(default_ttl=10, max_items=10, clock=clock)
    storage.get_or_fill("a", fill, resilience=AT_ONCE)
    clock.advance(10)
    fill.before = lambda key: gate.enter()
    storage.get_or_fill("a", fill, resilience=AT_ONCE)
    gate.wait_until_entered()
    if change == "delete":
        assert storage.delete("a") is False  # it had expired
    else:
        assert getattr(storage, change)("a", "mine") is True
    gate.open()
    settle()
    assert storage.get("a", None) == (None if change == "delete" else "mine")
    assert_valid(storage)


def test_expire_in_reaches_what_is_being_refreshed() -> None:
    clock, fill, gate = ManualClock(), Numbered(), Gate()
    storage: Storage[Any] = Storage(default_ttl=10, max_items=10, clock=clock)
    plan = Resilience(stale_ttl=5, refresh_ahead=0.5)
    storage.get_or_fill("a", fill, resilience=plan)
    clock.advance(5)
    fill.before = lambda key: gate.enter()
    fill.error = ValueError()
    storage.get_or_fill("a", fill, resilience=plan)
    gate.wait_until_entered()
    assert storage.expire_in("a", 2) is True and storage.ttl_of("a") == 2
    gate.open()
    settle()
    assert storage.ttl_of("a") == 2
    clock.advance(2)
    fill.error = None
    assert storage.get_or_fill("a", fill, resilience=plan) == ("a", 3)  # what was made to expire is not served stale
    assert_valid(storage)


def test_a_lookup_without_resilience_takes_no_stale_value() -> None:
    clock, fill = ManualClock(), Numbered()
    storage: Storage[Any] = Storage(default_ttl=10, max_items=10, clock=clock)
    storage.get_or_fill("a", fill, resilience=AT_ONCE)
    clock.advance(10)
    assert storage.get_or_fill("a", fill) == ("a", 2)
    storage.get_or_fill("b", fill, resilience=AT_ONCE)
    clock.advance(10)
    assert storage.get_or_fill("b", fill, resilience=Resilience(jitter=0.1)) == ("b", 2)
    assert_valid(storage)


def test_what_was_set_has_no_stale_time() -> None:
    clock, fill = ManualClock(), Numbered()
    storage: Storage[Any] = Storage(default_ttl=10, clock=clock)
    storage.set("a", "mine")
    assert storage.get_or_fill("a", fill, resilience=AT_ONCE) == "mine"
    clock.advance(10)
    assert storage.get_or_fill("a", fill, resilience=AT_ONCE) == ("a", 1)
    assert_valid(storage)


@pytest.mark.parametrize("policy", ["lru", "s3fifo"])
def test_a_stale_value_is_swept_when_it_is_of_no_use_and_not_before(policy: str) -> None:
    clock, fill = ManualClock(), Numbered()
    storage: Storage[Any] = Storage(default_ttl=10, max_items=100, clock=clock, policy=policy)
    for key in range(50):
        storage.get_or_fill(key, fill, resilience=Resilience(stale_ttl=5 + key, refresh_ahead=0.5))
    clock.advance(15 - 2**-20)
    assert storage.sweep() == 0 and storage.number_of_items == 50
    clock.advance(2**-20)
    assert storage.sweep() == 1
    clock.advance(9)
    assert storage.sweep() == 9 and storage.number_of_items == 40
    assert_valid(storage)
    clock.advance(100)
    assert storage.sweep() == 40 and count_items(storage._state.index._deadlines) == 0
    assert_valid(storage)


# ---- timeouts


@every_subject
def test_a_slow_fill_is_left_to_itself_for_the_stale_value(kind: Kind) -> None:
    subject = kind(10, Resilience(stale_ttl=5, fail_safe=True, soft_timeout=SHORT))
    subject.look_up("a")
    subject.clock.advance(10)
    gate = gated(subject, 2)
    assert run_threads(*[lambda: subject.look_up("a")] * 4) == [("a", 1)] * 4
    assert subject.look_up("a") == ("a", 1)
    assert subject.get("a") is None
    gate.open()
    wait_for_value(subject, ("a", 2))
    assert subject.look_up("a") == ("a", 2)
    assert subject.fill.keys == ["a", "a"]
    subject.settle()


@every_subject
def test_a_fill_slower_than_the_stale_value_lasts_is_waited_for(kind: Kind, monkeypatch: pytest.MonkeyPatch) -> None:
    """1. a lookup sees a stale value to fall back on      3. the soft timeout ends its wait: nothing to fall back on
    2. that is of no use any more, by now                  4. it looks again, and waits for as long as it takes
    """
    subject = kind(10, Resilience(stale_ttl=5, fail_safe=True, soft_timeout=SHORT))
    subject.look_up("a")
    subject.clock.advance(10)
    gate = gated(subject, 2)
    patience, seen = StaleServing.patience, []

    def see_and_go_on(self: Any) -> Any:
        seconds = patience(self)
        seen.append(self._had_fallback)
        subject.clock.advance(5)
        if len(seen) == 2:
            gate.open()
        return seconds

    monkeypatch.setattr(StaleServing, "patience", see_and_go_on)
    assert subject.look_up("a") == ("a", 2)
    assert seen == [True, False]
    subject.settle()


@every_subject
def test_a_slow_fill_that_ends_as_it_is_given_up_and_leaves_nothing_is_no_timeout(
    kind: Kind, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There is no hard timeout. 1. a lookup gives up      3. its value is invalidated: there is nothing to serve
    2. the fill ends                                       4. the lookup looks again, and fills
    """
    subject = kind(10, Resilience(stale_ttl=5, fail_safe=True, soft_timeout=SHORT))
    subject.look_up("a")
    subject.clock.advance(10)
    gate = gated(subject, 2)
    serve_instead = StaleServing.can_serve_instead

    def end_and_invalidate_first(self: Any, *args: Any) -> Any:
        monkeypatch.undo()
        gate.open()
        wait_for_value(subject, ("a", 2))
        wait_until_settled(subject.cache)
        subject.invalidate("a")
        return serve_instead(self, *args)

    monkeypatch.setattr(StaleServing, "can_serve_instead", end_and_invalidate_first)
    assert subject.look_up("a") == ("a", 3)
    subject.settle()


@every_subject
def test_after_the_hard_timeout_all_give_up_and_the_fill_goes_on(kind: Kind) -> None:
    subject = kind(10, Resilience(hard_timeout=SHORT))
    gate = gated(subject, 1)
    results = run_threads(*[lambda: subject.look_up("a")] * 4)
    assert [type(each) for each in results] == [FillTimeout] * 4
    gate.open()
    wait_for_value(subject, ("a", 1))
    assert subject.look_up("a") == ("a", 1)
    assert subject.fill.keys == ["a"]
    subject.settle()


@every_subject
def test_the_lookup_that_asked_for_a_fill_under_timeouts_is_no_wait_for_somebody_elses(kind: Kind) -> None:
    subject = kind(10, Resilience(hard_timeout=PATIENCE))
    gate = gated(subject, 1)
    join = start_threads(*[lambda: subject.look_up("a")] * 4)
    wait_until_waiting(subject.cache, 3)
    gate.wait_until_entered()
    gate.open()
    assert join() == [("a", 1)] * 4
    assert subject.look_up("b") == ("b", 1)
    info = subject.info()
    assert (info.misses, info.fills, info.waits) == (5, 2, 3)
    subject.settle()


@every_subject
def test_a_fill_in_time_is_returned_or_raised_under_timeouts(kind: Kind) -> None:
    subject = kind(10, Resilience(stale_ttl=5, fail_safe=True, soft_timeout=PATIENCE, hard_timeout=2 * PATIENCE))
    subject.fill.error = ValueError("no")
    with pytest.raises(ValueError, match="no"):
        subject.look_up("a")
    subject.fill.error = SystemExit("now")
    with pytest.raises(SystemExit, match="now"):
        subject.look_up("a")
    subject.fill.error = None
    assert subject.look_up("a") == ("a", 3)
    subject.clock.advance(10)
    subject.fill.error = ValueError("no")
    assert subject.look_up("a") == ("a", 3)
    subject.clock.advance(1)
    subject.fill.error = None
    assert subject.look_up("a") == ("a", 5)
    subject.settle()


def test_a_refresh_keeps_to_the_hard_timeout() -> None:
    gate = Gate()
    fill = Numbered()
    cache = AtomicCache(fill, 10, clock=ManualClock(), resilience=Resilience(hard_timeout=SHORT, stale_ttl=5))
    fill.before = lambda key: gate.enter()
    with pytest.raises(FillTimeout, match=f"{SHORT} s"):
        cache.refresh("a")
    gate.open()
    while cache.get("a") is None:
        threading.Event().wait(SHORT)
    wait_until_settled(cache)
    assert_valid(cache)


@pytest.mark.parametrize(
    "resilience", [Resilience(hard_timeout=PATIENCE), Resilience(hard_timeout=PATIENCE, stale_ttl=1)]
)
def test_a_fill_that_asks_for_its_own_key_is_told_so_under_timeouts(resilience: Resilience) -> None:
    cache: AtomicCache[str, Any] = AtomicCache(lambda key: cache[key], 10, resilience=resilience)
    with pytest.raises(RecursiveFillError):
        cache["a"]
    assert_valid(cache)


def test_fills_that_wait_for_each_other_are_told_so_under_timeouts() -> None:
    barrier = threading.Barrier(2)

    def fill(key: str) -> Any:
        barrier.wait(PATIENCE)
        return cache["b" if key == "a" else "a"]

    cache: AtomicCache[str, Any] = AtomicCache(fill, 10, resilience=Resilience(hard_timeout=2 * PATIENCE))
    results = run_threads(lambda: cache["a"], lambda: cache["b"])
    assert [type(each) for each in results] == [FillDeadlockError] * 2
    assert_valid(cache)


def test_more_fills_than_the_pool_has_threads_may_wait_for_each_other() -> None:
    def fill(key: int) -> int:
        return 0 if key == 0 else cache[key - 1] + 1

    cache: AtomicCache[int, int] = AtomicCache(fill, 10, resilience=Resilience(hard_timeout=2 * PATIENCE))
    assert cache[30] == 30
    assert_valid(cache)


def test_a_background_fill_may_ask_for_its_own_key_and_for_others_that_are_stale() -> None:
    clock = ManualClock()
    first = True

    def fill(key: str) -> Any:
        return key if first else (key, cache["a"], cache["b"])

    cache: AtomicCache[str, Any] = AtomicCache(fill, 10, clock=clock, resilience=AT_ONCE)
    assert cache.fetch_many([*"ab"]) == {"a": "a", "b": "b"}
    first = False
    clock.advance(10)
    assert cache["a"] == "a"
    settle()
    assert cache["a"][:2] == ("a", "a")
    assert_valid(cache)


@pytest.mark.parametrize("resilience", [AT_ONCE, Resilience(hard_timeout=PATIENCE)])
def test_a_fill_sees_the_context_of_the_lookup_that_began_it(resilience: Resilience) -> None:
    who = contextvars.ContextVar("who", default="nobody")
    clock = ManualClock()
    cache = AtomicCache(lambda key: who.get(), 10, clock=clock, resilience=resilience)
    context = contextvars.copy_context()
    context.run(who.set, "me")
    if resilience is AT_ONCE:
        cache["a"]
        clock.advance(10)
    context.run(cache.__getitem__, "a")
    settle()
    assert cache["a"] == "me"
    assert_valid(cache)


def test_a_key_whose_method_asks_is_filled_where_it_is() -> None:
    """Under the index's lock, a thread of the pool would wait for that lock, and the lookup for the thread."""
    clock = ManualClock()
    cache: AtomicCache[Any, Any] = AtomicCache(
        lambda key: "value", 10, clock=clock, resilience=Resilience(hard_timeout=PATIENCE)
    )
    asked: list[Any] = []

    class Key:
        def __hash__(self) -> int:
            return 1

        def __eq__(self, other: object) -> bool:
            if cache._state.index.lock._is_owned() and not asked:
                asked.append(True)
                asked.append(cache["other"])
            return self is other

    first, second = Key(), Key()
    assert cache[first] == cache[second] == "value"
    cache.invalidate(second)
    assert asked == [True, "value"]
    assert_valid(cache)


def wait_for_value(subject: Subject, value: Any) -> None:
    """Return once `get` gives `value`, which a fill that nobody waits for is about to store."""
    pause = threading.Event()
    for _ in range(PATIENCE * 1000):
        if subject.get("a") == value:
            return
        pause.wait(0.001)
    pytest.fail("the fill was not stored")


# ---- fills that hang


@every_subject
def test_hung_background_fills_of_one_cache_are_counted_and_replaced_and_hold_up_no_other(
    kind: Kind, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Four of them held all threads, and no cache was refreshed any more."""
    time_of_pool = ManualClock()
    monkeypatch.setattr(pool, "_clock", time_of_pool)
    hung, other = kind(10, Resilience(stale_ttl=50)), kind(10, AT_ONCE)
    keys = "abcdef"
    for key in keys:
        hung.look_up(key)
    other.look_up("a")
    gate = gated_from(hung, 2)
    hung.clock.advance(10), other.clock.advance(10)
    for key in keys:
        assert hung.look_up(key) == (key, 1)
    gate.wait_until_entered()
    assert other.look_up("a") == ("a", 1)
    wait_for_value(other, ("a", 2))
    wait_for_fills(hung, len(keys) + MOST_THREADS)
    time_of_pool.advance(HUNG_SECONDS)
    for key in keys:
        assert hung.look_up(key) == (key, 1)
    wait_for_fills(hung, len(keys) * 2)
    assert hung.info().hung_fills == MOST_THREADS
    gate.open()
    hung.settle()
    assert [hung.look_up(key) for key in keys] == [(key, 2) for key in keys]
    other.settle()
    assert (hung.info().hung_fills, other.info().hung_fills) == (MOST_THREADS, 0)


def wait_for_fills(subject: Subject, count: int) -> None:
    pause = threading.Event()
    for _ in range(PATIENCE * 1000):
        if len(subject.fill.keys) >= count:
            return
        pause.wait(0.001)
    pytest.fail("a fill was not begun")


@every_subject
def test_what_hung_fills_keep_in_the_queue_is_filled_by_lookups_after_its_stale_time(kind: Kind) -> None:
    subject = kind(10, Resilience(stale_ttl=5))
    keys = range(MOST_EACH + 2)
    for key in keys:
        subject.look_up(key)
    gate = gated_from(subject, 2, keys[:-1])
    subject.clock.advance(10)
    assert [subject.look_up(key) for key in keys] == [(key, 1) for key in keys]
    gate.wait_until_entered()
    subject.clock.advance(5)
    assert subject.look_up(keys[-1]) == (keys[-1], 2)
    gate.open()
    subject.settle()


def test_a_dropped_cache_leaves_no_queue_behind(busy_pool: Gate) -> None:
    clock = ManualClock()
    cache: Any = AtomicCache(lambda key: key, 10, clock=clock, resilience=AT_ONCE)
    cache["a"]
    clock.advance(10)
    cache["a"]
    dropped = weakref.ref(cache)
    del cache
    busy_pool.open()
    settle()
    collect()
    assert dropped() is None


def gated_from(subject: Subject, number: int, keys: Any = None) -> Gate:
    """Have the fills of these keys stop at a gate from that number on."""
    gate = Gate()

    def before(key: Any) -> None:
        if subject.fill.keys.count(key) >= number and (keys is None or key in keys):
            gate.enter()

    subject.fill.before = before
    return gate


# ---- what is queued


@pytest.fixture
def busy_pool() -> Iterator[Gate]:
    """A pool whose threads have something else to do until the gate opens."""
    gate = Gate()
    entered = threading.Semaphore(0)
    for _ in range(MOST_THREADS):
        pool.submit(lambda: (entered.release(), gate.enter()))
    for _ in range(MOST_THREADS):
        assert entered.acquire(timeout=PATIENCE)
    yield gate
    gate.open()
    settle()


@every_subject
def test_a_background_fill_that_is_queued_is_asked_for_once(kind: Kind, busy_pool: Gate) -> None:
    subject = kind(10, AT_ONCE)
    subject.look_up("a")
    subject.clock.advance(10)
    assert [subject.look_up("a") for _ in range(20)] == [("a", 1)] * 20
    assert sum(len(lane.waiting) for lane in pool.busy_lanes()) == 1
    busy_pool.open()
    subject.settle()
    assert subject.look_up("a") == ("a", 2)


@every_subject
def test_a_background_fill_that_is_queued_holds_nobody_up_and_is_not_made_after_an_invalidation(
    kind: Kind, busy_pool: Gate
) -> None:
    subject = kind(10, AT_ONCE)
    subject.look_up("a"), subject.look_up("b")
    subject.clock.advance(10)
    subject.look_up("a"), subject.look_up("b")
    subject.invalidate("a")
    subject.clock.advance(5)
    assert subject.look_up("b") == ("b", 2)  # its stale value is of no use any more: it is filled here
    busy_pool.open()
    subject.settle()
    assert subject.get("a") is None
    assert subject.fill.keys == ["a", "b", "b"]
    assert subject.info().background_fills == 0


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
