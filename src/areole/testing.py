"""For tests of what uses areole: a clock that stands still, caching turned off, caches emptied, and a check of one."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import timedelta
from math import isnan
from numbers import Real
from typing import Any

from ._cache.lookups import Lookups
from ._core.entry import UNPUBLISHED, Empty, Entry, IdleTimes
from ._core.flight import Flight
from ._expiry.freed_functions import KeyNamespace
from ._fill.protocol import Fills
from ._fill.rules import FillRules
from ._index.bounded import BoundedIndex, is_kept
from ._memoize.class_cache import CacheOfInstances
from ._platform.locks import run_locked
from ._state.cache_state import CacheState
from ._state.live_caches import LiveCache, live_caches
from .backends.memory import MemoryBackend
from .errors import CacheClosedError
from .shared.bypass import switch

__all__ = ["ManualClock", "assert_valid", "clear_all", "disabled"]


class ManualClock:
    """A clock for tests, to be passed as `clock=`: it moves only when a thread moves it.

    Calling it returns its reading in seconds. No move is lost, whichever threads move it. (After trio's MockClock and
    Caffeine's FakeTicker.)
    """

    def __init__(self, now: float | timedelta = 0.0) -> None:
        self._now = _seconds("ManualClock", "now", now)
        self._lock = threading.Lock()  # makes one step of reading and adding in `advance`

    def __call__(self) -> float:
        return self._now

    def advance(self, by: float | timedelta) -> float:
        """Move by so many seconds, back if negative; return the new reading."""
        return run_locked(self._lock, self._move, _seconds("advance", "by", by))

    def _move(self, seconds: float) -> float:
        self._now += seconds
        return self._now


def _seconds(called: str, name: str, value: object) -> float:
    """Check a reading or a move of a clock. One that is NaN would compare with no deadline."""
    if isinstance(value, timedelta):
        return value.total_seconds()
    if not isinstance(value, Real) or isinstance(value, bool):
        raise TypeError(f"{called}: {name} must be seconds (int or float) or a timedelta, not {type(value).__name__}")
    if isnan(value):
        raise ValueError(f"{called}: {name} must be a number of seconds, not nan")
    return value  # type: ignore[return-value]


# ---- caching turned off

_lock = threading.Lock()  # makes one step of counting and switching
_times_off = 0
_complete = Fills.complete


@contextmanager
def disabled() -> Iterator[None]:
    """Turn caching off in this process: within it each lookup that can fill does, and nothing that is filled is kept.

    That is so in read-through caches, memoized functions, functions under `cached`, and `get_or_fill` of any store. The
    results that these caches and functions have are removed first, without asking or changing a shared store; values
    that a `Storage` was given stay there, and are found. Lookups of a SharedCache find nothing, and what they fill is
    not stored; what is set, is. Callers that ask for a key while it is filled still share that fill, but for those of a
    SharedCache itself. For tests: it replaces a part of areole, so that a hit costs nothing more when it is not used.
    """
    run_locked(_lock, _switch, 1)
    try:
        _remove_what_was_filled()
        yield
    finally:
        run_locked(_lock, _switch, -1)


def _switch(by: int) -> None:
    global _times_off
    _times_off += by
    switch.is_off = _times_off > 0
    Fills.complete = _complete_unkept if switch.is_off else _complete  # type: ignore[method-assign]
    Fills.keeps_errors = not switch.is_off


def _complete_unkept(
    self: Fills, flight: Flight, value: Any, rules: FillRules | None = None, began: float = 0.0
) -> None:
    """Be `Fills.complete`, by which no value is stored."""
    rules = self.rules if rules is None else rules
    _complete(self, flight, value, replace(rules, deadline_of=lambda key, value: UNPUBLISHED, stale=None), began)


def _remove_what_was_filled() -> None:
    for state, live in live_caches.all():
        if live.reads_through:
            _clear(state, live)
        elif isinstance(state, CacheState):
            _remove_results(state)


def _remove_results(state: CacheState) -> None:
    """Remove what functions have in a store that are cached there."""
    for entry in state.index.snapshot():
        if isinstance(entry.key, tuple) and entry.key and isinstance(entry.key[0], KeyNamespace):
            state.invalidate(entry.key, state.clock())


# ---- every cache emptied


def clear_all() -> None:
    """Empty every cache of this process, so that no test finds what another one has left there.

    That is: read-through caches, memoized functions and methods, stores, with what was set in them, what is kept in
    front of shared caches, and `memory://`. Stores that other processes may use (Redis, SQLite, Django's) are neither
    asked nor changed, and counters go on. `on_removal` is called as for `clear`.

    Under concurrency:
        It does not wait. Fills that run meanwhile are detached: they go on, their callers and those who had joined get
        what they bring, and it is not stored in this process. A lookup that starts after this has returned gets no
        value from before; what other threads fill or set meanwhile may stay.
    """
    # Stores first: what is kept in front of one may have been made before it, and is filled from it.
    for state, live in sorted(live_caches.all(), key=lambda each: isinstance(each[0], CacheState)):
        if isinstance(state, CacheState):
            _clear(state, live)
        else:
            _clear_shared(state)


def _clear_shared(state: Any) -> None:
    """Empty a shared cache where its store is in this process, and detach its fills: no later caller joins them."""
    if isinstance(state.backend, MemoryBackend):
        with suppress(CacheClosedError):
            state.backend.clear("")  # with the tokens of fills that are running
        if state.item_limit is not None:
            state.item_limit.clear()
    state.flights.clear()


def _clear(state: CacheState, live: LiveCache) -> None:
    for each in live.states_of(state):
        each.clear()


def assert_valid(cache: object) -> None:
    """Raise AssertionError unless every structure of `cache` is consistent; call it while no operation is running.

    It takes any cache or store, also a closed one, and the `cache` of a memoized function or method. No fill may be
    running, and no other thread may be in a call of the cache. It walks through all entries.
    """
    if isinstance(cache, CacheOfInstances):
        for each in cache.caches():
            assert_valid(each)
        return
    if not isinstance(cache, Lookups):
        raise TypeError(f"assert_valid takes a cache, such as a memoized function's .cache, not {type(cache).__name__}")
    index = cache._state.index
    entries = index.snapshot()
    assert len({id(entry) for entry in entries}) == len(entries), "an entry is in the index twice"
    for entry in entries:
        if index.name == "atomic" and index.find(entry.key) is None and not entry.is_published:
            continue  # its leader was interrupted twice, before its cell was in and in undoing that: no lookup finds it
        assert index.find(entry.key) is entry, "an entry cannot be found by its key"
        _assert_idle(entry)
    if index.name == "dict":
        held = list(index.entries)  # type: ignore[call-overload]
        assert len(held) == len(entries), "keys are left whose entries are gone"
    if isinstance(index, BoundedIndex):
        _assert_accounting(index)
    _assert_counts(cache._state)


def _assert_idle(entry: Entry) -> None:
    """Check that an entry has a value, or a stored exception, and no fill."""
    flight, times = entry.flight, entry.times
    if flight is not None:
        assert flight.is_stored, "a flight is left that has not settled"
        assert isinstance(flight.error, Exception), "a flight is stored without an exception"
        assert not flight.latch.locked(), "a settled flight holds its latch"
        return
    assert entry.value is not Empty, "an entry has neither a value nor a flight"
    assert entry.deadline != UNPUBLISHED, "a value was stored and not published"
    if times is not None and not isinstance(times, IdleTimes):  # whose end moves with each hit
        assert entry.deadline is None or entry.deadline <= times.expires <= times.stale_until, "times disagree"


def _assert_counts(state: CacheState) -> None:
    live = len(state.live_entries())
    info = state.info()  # of a closed store too
    assert all(count >= 0 for count in (info.misses, info.fills, info.failures, info.waits, info.currsize)), info
    assert info.failures <= info.fills, info
    assert len(state.live_entries()) <= info.currsize <= live, info  # the clock goes on, and values expire meanwhile


def _assert_accounting(index: BoundedIndex) -> None:
    """Check what a bounded index counts, weighs and keeps in order against what is in it."""
    items, weight = index.count()  # first: it may put right what an interrupt has left
    entries: list[Any] = index.snapshot()
    stored = [entry for entry in entries if entry.is_stored]
    assert all(is_kept(entry) for entry in stored), "an entry is stored without a value"
    assert all(entry.is_stored for entry in entries if entry.is_published), "a value is there and not accounted for"
    assert items == len(stored), f"{items} items are counted, and {len(stored)} are there"
    assert weight == sum(entry.weight for entry in stored), "the weights do not add up"
    assert all(entry.weight >= 0 for entry in stored), "a weight is negative"
    assert index.max_items is None or items <= index.max_items, "there are more items than may be"
    assert index.max_weight is None or weight <= index.max_weight, "they weigh more than they may"
    assert len(index.policy) == items, "the policy holds others than the index"
    held = {id(entry) for entry in index.policy}
    assert held == {id(entry) for entry in stored}, "the policy holds others than the index"
    expiring = [entry for entry in stored if (entry if entry.is_published else entry.flight).deadline is not None]
    assert all(entry.expiry is not None for entry in expiring), "an entry would never be swept"
