"""ThreadFills: the misses of threads. The one miss loop for them, and how a thread waits.

Where a Resilience has timeouts, the lookup that is to lead has a thread of the pool claim and lead on its behalf, and
waits like all others. Not: claim, and hand over. The latch must be held by the thread that fills, from before the
flight can be seen (invariant 4), and a lookup interrupted between claim and handing over would leave a flight without
a leader. A background fill is claimed by the thread that fills it, when it begins: one that is queued holds nobody up,
and nothing has to be undone if it never begins.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextvars import copy_context
from functools import partial
from itertools import takewhile
from math import inf
from operator import call
from queue import SimpleQueue
from typing import Any, Final

from .._core.entry import Empty, Entry, StaleTimes
from .._core.flight import Flight
from .._core.wait_graph import Wait, begin_wait, current_fill, current_participant, holds_graph
from .._platform import fork
from .._platform.module_imports import is_importing
from .._platform.worker_pool import HUNG_SECONDS, Client, pool
from .exceptions import raise_unchanged
from .filled import begun
from .protocol import Fills
from .rules import LEAD, Claim, FillRules
from .stale import StaleServing, throttle
from .task_waiter import limit_of

__all__ = ["ThreadFills"]

A_MOMENT: Final = 0.05
"""Seconds after which a waiter looks whether it can ever end."""


class ThreadFills(Fills):
    """Fills led by the thread that asks, or by one of the pool on its behalf."""

    __slots__ = ()
    is_inlined = True

    def get_or_fill(
        self,
        key: Any,
        call: Callable[..., Any],
        now: float | None = None,
        rules: FillRules | None = None,
        is_refresh: bool = False,
        is_counted: bool = False,
    ) -> Any:
        """Return the value of `key`: by `call`, or from the caller that is filling it; live or, by `rules`, stale.

        `now` is the clock's reading, if this lookup has taken one; `is_counted`: the lookup has been counted as a miss.

        Why this ends: a turn that brings nothing has waited for a fill (whose leader was interrupted, or whose stale
        value is gone), or found another entry, or another moment of it, than `try_without_waiting` did. Both go by
        `StaleRules.serves_stale`; so what the claim leaves alone the next look serves, unless it has changed again.
        """
        rules = self.rules if rules is None else rules
        stale = rules.stale
        serving = None if stale is None else StaleServing(self, key, call, rules, stale, is_refresh)
        while True:
            if serving is not None and (value := serving.try_without_waiting(now)) is not Empty:
                return value
            flight = Flight(key, self.state.entry_type)
            latch = flight.latch
            try:
                try:
                    if serving is not None:
                        found = serving.claim(flight)
                    elif is_refresh:
                        found = self.claim_refresh(flight)
                    else:
                        found = self.claim(flight, now, None, is_counted)
                    if found is LEAD:
                        fill = call
                        if rules.tags is not None or rules.previous is not None:
                            fill = begun(call, flight, rules, self.state)
                        self.complete(flight, fill(), rules, serving.now if serving is not None else 0.0)
                except BaseException as error:
                    flight.error = error
                    throttle(self, flight, stale)
                    self.abort(flight)
                    raise
                finally:
                    latch.release()
                value = self.result_or_wait(flight, found, serving)
            except BaseException as error:
                if serving is None or not serving.can_serve_instead(error):
                    raise
                value = serving.value
            finally:
                del flight  # a traceback keeps this frame, which must not lead back to the exception
                if serving is not None:
                    serving.drop_flights()
            if value is not Empty:
                return value
            now, is_counted = None, True

    def refresh(self, key: Any, call: Callable[[], Any], rules: FillRules | None = None) -> Any:
        """Fill `key` again, or join the fill that is running; return the new value."""
        return self.get_or_fill(key, call, rules=rules, is_refresh=True)

    def result_or_wait(self, flight: Flight, found: Claim, serving: StaleServing | None = None) -> Any:
        """Return the value that `flight` brought, or that a claim found; else wait. Empty: look again."""
        if found is LEAD:
            state = self.state
            if flight.waiters or flight.removed:
                self.after_lead(flight)
            elif state.expirer is not None:  # `after_lead`, where there is nothing else: most fills under a ttl
                state.expirer.expire_some(state)
            return flight.value if serving is None else serving.has_result(flight.value)
        joined, flight.joined, flight.entry.flight = flight.joined, None, None  # nobody else has seen this flight
        if joined is None:
            return flight.value
        try:
            patience = None if serving is None else serving.patience()
            if serving is not None and found is Claim.LED_IN_WORKER:
                return serving.has_result(self._wait_for_own(joined, patience))
            self._wait(joined, self.wait_timeout if patience is None else patience)
            value = self.read_result(joined, flight)
            return value if serving is None else serving.has_result(value)
        finally:
            del joined  # here and below: a traceback keeps its frames, which must not lead back to the exception

    # ---- waiting

    def _wait(self, flight: Flight, timeout: float | None, is_own: bool = False) -> None:
        """Return once the leader of `flight` has left; raise where that would be never, or not in time.

        One's own fill, which another thread leads on behalf of this one, counts as no wait for another's.
        """
        if flight.is_orphaned:
            return
        me, fill = current_participant(), current_fill.get()
        wait = Wait(flight, me, fill)
        try:
            if flight.leader is me or flight.leader is fill:
                if flight.is_pending:
                    raise self.wait_error("own key", flight)
                return  # it failed, and its own ttl or clock asks: it gets what the fill raised
            if self.holds_up_others():
                raise self.wait_error("inside a key", flight)
            if not is_own:
                self.state.counters.waits.increment_and_get()
            if not begin_wait(wait, flight):
                raise self.wait_error("cycle", flight)
            if not self._waits_out(flight, timeout):
                self.keep_running(flight)
                raise self.wait_error("timeout", flight, seconds=timeout)
        finally:
            wait.flight = None  # one store: no interrupt leaves the edge behind
            self.end_wait(wait, flight)
            del flight

    def holds_up_others(self) -> bool:
        """Say whether this thread has a lock that the fills of other threads may need, so that it must not wait."""
        return self.state.index.lock._is_owned() or holds_graph()

    def _waits_out(self, flight: Flight, timeout: float | None) -> bool:
        """Wait until the latch is open, or the leader gone; say whether it was in time.

        Whether the lock of another cache is held, of which there may be thousands, or that of a module, is looked at
        after a moment only.
        """
        left = limit_of(timeout)
        next_look = min(A_MOMENT, flight.poll_interval)
        while not _opens(flight.latch, min(left, next_look)):
            left -= next_look
            if left <= 0 or flight.is_orphaned:
                return left > 0 or not flight.is_pending
            self.check_wait(flight)
            next_look = A_MOMENT if is_importing() else flight.poll_interval  # the fill may import that module later
        return True

    # ---- fills in other threads

    def refresh_behind(self, entry: Entry, call: Callable[[], Any], rules: FillRules) -> None:
        """Have the pool refresh `entry`, unless it was asked already (two lookups may both ask: see stale)."""
        times = entry.times
        if times is None:
            return None
        if times.asked == fork.epoch:
            return pool.look()
        task = partial(self._refresh_entry, entry, times, _in_context(call), rules)
        stale, counters = rules.stale, self.state.counters
        patience = (stale and stale.hard_timeout) or HUNG_SECONDS
        if pool.submit(task, Client(counters, self.state.name, counters.hung_fills.increment_and_get), patience):
            times.asked = fork.epoch
        return None

    def _refresh_entry(self, entry: Entry, times: StaleTimes, call: Callable[[], Any], rules: FillRules) -> None:
        """Refresh `entry`, in a thread of the pool, if it is still in the index."""
        flight = Flight(entry.key, type(entry))
        try:
            self._lead_here(flight, partial(self.claim_place_of, entry), call, rules)
        finally:
            times.asked = 0  # where the claim failed, and `entry` is still there, it is to be asked for again

    def claim_in_worker(
        self, asking: Flight, claim: Callable[[Flight], Claim], call: Callable[[], Any], rules: FillRules
    ) -> Claim | None:
        """Have a thread of the pool claim and lead on behalf of `asking`. None: there is no thread to be had.

        Nor is there one where a method of a key, or a finalizer, asks: the other thread would wait for the lock that
        this one has.
        """
        if self.holds_up_others():
            return None
        flight = asking.another()
        flight.for_requester = []
        answers: SimpleQueue[tuple[Claim | None, BaseException | None]] = SimpleQueue()
        if not pool.run(partial(self._lead_there, flight, claim, _in_context(call), rules, answers)):
            flight.entry.flight = None
            return None
        found, error = answers.get()
        try:
            if error is not None:
                raise_unchanged(error)  # from the claim: a method of the key, the clock
            if found is LEAD:
                asking.joined = flight
                return Claim.LED_IN_WORKER
            asking.joined, asking.value = flight.joined, flight.value
            return found
        finally:
            del error, flight

    def _lead_there(
        self,
        flight: Flight,
        claim: Callable[[Flight], Claim],
        call: Callable[[], Any],
        rules: FillRules,
        answers: SimpleQueue[tuple[Claim | None, BaseException | None]],
    ) -> None:
        flight.leader = current_participant()

        def claim_and_tell(flight: Flight) -> Claim:
            found = claim(flight)
            answers.put((found, None))
            return found

        answers.put((None, self._lead_here(flight, claim_and_tell, call, rules)))

    def _lead_here(
        self, flight: Flight, claim: Callable[[Flight], Claim], call: Callable[..., Any], rules: FillRules
    ) -> BaseException | None:
        """Claim, and if that is won, fill, in a thread of the pool. Return what ended it, if that was raised."""
        latch = flight.latch
        try:
            found = claim(flight)
            if found is LEAD:
                began = self.state.clock()
                fill = call
                if rules.tags is not None or rules.previous is not None:
                    fill = begun(call, flight, rules, self.state)
                self.complete(flight, fill(), rules, began)
        except BaseException as error:
            flight.error = error
            raised = flight.for_requester  # read once: the requester takes it away when it leaves
            throttle(self, flight, rules.stale)
            self.abort(flight)
            if raised is not None:
                raised.append(error)  # last: once it is there, the requester may raise it, and nobody else may read it
            del flight, raised
            return error
        finally:
            latch.release()
        flight.entry.flight = None
        if found is LEAD:
            self.after_lead(flight)
        return None

    def _wait_for_own(self, flight: Flight, timeout: float | None) -> Any:
        """Return or raise what the fill brought that a thread of the pool leads on behalf of this one."""
        try:
            self._wait(flight, timeout, is_own=True)
            value = self.read_requested(flight)
            if value is Empty and flight.error is not None:
                if isinstance(flight.error, Exception):  # its leader is still reading it, to copy it for others
                    raise self.wait_error("timeout", flight, seconds=timeout)
                raise flight.error  # no Exception: meant for the leader alone
            return value
        finally:
            flight.for_requester = None
            del flight


def _in_context(call: Callable[[], Any]) -> Callable[[], Any]:
    """Have `call` run in this context, though in another thread; which is in no task, and leads for itself."""
    context = copy_context()
    context.run(current_fill.set, None)
    return partial(context.run, call)


def _opens(latch: threading.Lock, timeout: float) -> bool:
    """Wait until `latch` is open, for so many seconds at most; say whether it is.

    Taking and opening it are done by one call of C code, in which no signal handler runs, so that an interrupted
    waiter never leaves it held. The second step is only taken if the first gave True.
    """
    steps: Any = partial(latch.acquire, timeout=-1 if timeout == inf else timeout), latch.release
    return bool(list(takewhile(bool, map(call, steps))))
