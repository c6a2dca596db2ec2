"""StayingUp: what a lookup of a resilient cache does when its hit fails, where Resilience has a say.

Such a lookup has come past the `deadline` of an entry, or found none. By the moments of the entry (see _resilience):

    live, to be refreshed   it asks the pool for a background fill, and returns the value
    stale                   the same; with fail_safe it fills, or waits, and has the stale value to fall back on
    of no use, or none      it fills, or waits

A background fill is a refresh: a flight whose entry takes the place of the old one, and shows the old value until there
is a new one. What is refreshed is *this* entry. The pool is asked for it without any claim, so that one in the queue
holds nobody up and nothing has to be undone if it never begins; the claim is made when it begins, by `replace_if`:

  - At most one background fill a key runs: of several that were asked for, one finds its entry still in the index.
  - An invalidation, a `set`, a `clear` before it begins takes that entry out, and the fill is not made. One that comes
    later takes out the entry of the flight, and its value is stored nowhere (invariants 3, 9).

Where there are timeouts, the lookup that is to lead has a thread of the pool claim and lead in its stead, and waits
like all others. Not: claim, and hand over. The latch must be held by the thread that fills, from before the flight can
be seen (invariant 4), and a lookup interrupted between claim and handing over would leave a flight without a leader.

What failed is not tried again for a while (`retry_after`), if a value can be served meanwhile. A fallback looks the key
up anew: what it serves is in the index then, and so neither invalidated nor older than the newest there is.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import copy_context
from functools import partial
from queue import SimpleQueue
from typing import Any, Self, TypeVar

from .._core.entry import Empty, Entry, StaleTimes
from .._core.flight import Flight
from .._core.ttl import DeadlineOf
from .._core.wait_graph import current_caller, current_fill
from .._platform.worker_pool import HUNG_SECONDS, Client, pool
from ..errors import FillTimeout
from .exceptions import raise_unchanged
from .protocol import SingleFlight, timed_out
from .resilience import Plan, resilient
from .stale import Claim, NoValue, Order, Serving

__all__ = ["StayingUp"]

K = TypeVar("K")
V = TypeVar("V")


class StayingUp(Serving[K, V]):
    """Serving, where threads ask."""

    __slots__ = ()

    @classmethod
    def _view_of(cls, cache: SingleFlight[K, V]) -> Self:
        """Make a view of any cache, for fills of others' by threads."""
        view = object.__new__(cls)
        cache._share_with(view)
        return view

    def _serve(self, key: K, fill: Callable[[], V], now: float | None = None) -> V:
        """Return the value of `key`, by the cache's own Resilience; `now` is what the hit that failed read."""
        value: V = self._served(self._own_order(key, fill), now)
        return value

    def _served(self, order: Order, now: float | None) -> Any:
        """Return the value that is ordered: live, stale, or filled now.

        Why this ends: a turn that brings nothing has waited for a fill (whose leader was interrupted, or whose stale
        value is gone), or found another entry, or another moment of it, than `_served_at_once` did. Both go by
        `Plan.serves_stale`; so what the claim leaves alone the next look serves, unless it has changed again.
        """
        while True:
            value = self._served_at_once(order, now)
            if value is not Empty:
                return value
            claim = partial(self._claim, now=now, serves_stale=order.plan.serves_stale)
            value = self._fill_or_wait(order, claim, falls_back=order.plan.fail_safe)
            if value is not Empty:
                return value
            now = None

    # ---- in the background

    def _ask_for_refresh(self, entry: Entry, order: Order) -> None:
        """Have the pool refresh `entry`, unless it was asked already (two lookups may both ask: see the module)."""
        times = entry.times
        if times is None:
            return None
        if times.asked == pool.generation:
            return pool.look()
        task = partial(self._refresh_behind, entry, times, order._replace(fill=_in_context(order.fill)))
        patience = order.plan.hard_timeout or HUNG_SECONDS
        if pool.submit(task, Client(self._counters, self.name, self._counters.hung_fills.increment_and_get), patience):
            times.asked = pool.generation
        return None

    def _refresh_behind(self, entry: Entry, times: StaleTimes, order: Order) -> None:
        """Refresh `entry`, in a thread of the pool, if it is still in the index."""
        flight = Flight(entry.key, type(entry))
        try:
            if self._fly(flight, partial(self._claim_place_of, entry), order) is None:
                self._finish(flight)
        finally:
            times.asked = 0  # where the claim failed, and `entry` is still there, it is to be asked for again

    # ---- in the foreground

    def _fill_or_wait(self, order: Order, claim: Claim, falls_back: bool) -> Any:
        """Fill, or wait for who does; with `falls_back`, serve a stale value if that fails. Empty: look again."""
        flight = followed = Flight(order.key, resilient(self._index.entry_type))
        has_stale = False
        try:
            is_led_there = self._may_lead_there(order.plan) and self._lead_there(flight, claim, order)
            if not is_led_there:
                self._lead_here(flight, claim, order)
            followed = flight.joined or flight
            has_stale = falls_back and self._has_stale(followed, self._clock())
            patience = order.plan.patience(has_stale)
            if is_led_there and flight.leads:
                return self._outcome_for_leader(flight, patience)
            return self._finish(flight, patience)
        except Exception as error:
            value = self._in_place_of(error, followed, order, has_stale) if falls_back else NoValue
            if value is NoValue:
                raise
            return value
        finally:
            flight.for_requester = None
            del flight, followed  # a traceback keeps its frames, which must not lead back to the exception

    def _refresh(
        self,
        key: K,
        function: Callable[..., V],
        args: Any,
        kwargs: Any,
        deadline_of: DeadlineOf[K, V] | None = None,
    ) -> V:
        if self._plan is None:
            return super()._refresh(key, function, args, kwargs, deadline_of)
        return self._refreshed(self._own_order(key, partial(function, *args, **kwargs)))  # type: ignore[no-any-return]

    def _refreshed(self, order: Order) -> Any:
        """Return the value that is ordered, filled anew."""
        while (value := self._fill_or_wait(order, self._claim_refresh, falls_back=False)) is Empty:
            self._was_no_lookup()
        return value

    # ---- leading

    def _fly(self, flight: Flight, claim: Claim, order: Order) -> BaseException | None:
        """Claim; if that makes this thread the leader, fill and settle. Return what ended it, if that was raised."""
        latch = flight.latch
        try:
            if claim(flight):
                began = self._clock()
                self._settle(flight, order.fill(), partial(self._times_of, order, began))
        except BaseException as error:
            flight.error = error
            raised = flight.for_requester  # read once: the requester takes it away when it leaves
            if flight.old is not None and flight.value is Empty:
                self._throttle(flight, error, order.plan)
            self._fail(flight)
            if raised is not None:
                raised.append(error)  # last: once it is there, the requester may raise it, and nobody else may read it
            del flight, raised
            return error
        finally:
            latch.release()
        return None

    def _lead_here(self, flight: Flight, claim: Claim, order: Order) -> None:
        error = self._fly(flight, claim, order)
        try:
            if error is not None:
                raise_unchanged(error)
        finally:
            del error, flight

    def _may_lead_there(self, plan: Plan) -> bool:
        """Not where a method of a key, or a finalizer, asks: the other thread would wait for the lock that this has."""
        return plan.has_timeouts and not self._holds_up_others()

    def _lead_there(self, flight: Flight, claim: Claim, order: Order) -> bool:
        """Have a thread of the pool claim and lead; return when it has claimed. False: there is no thread to be had."""
        news: SimpleQueue[BaseException | None] = SimpleQueue()
        there = order._replace(fill=_in_context(order.fill))
        flight.for_requester = []
        if not pool.run(partial(self._fly_and_tell, flight, claim, there, news)):
            return False
        error = news.get()  # None: it has claimed
        try:
            if error is not None:
                raise_unchanged(error)  # from the claim: a method of the key, the clock
            return True
        finally:
            del error, flight

    def _fly_and_tell(
        self, flight: Flight, claim: Claim, order: Order, news: SimpleQueue[BaseException | None]
    ) -> None:
        def claim_here(flight: Flight) -> bool:
            flight.leader = current_caller()
            leads = claim(flight)
            news.put(None)
            return leads

        error = self._fly(flight, claim_here, order)
        news.put(error)
        if error is None and flight.leads:
            self._finish(flight)

    def _outcome_for_leader(self, flight: Flight, patience: float | None) -> Any:
        """Return or raise what the fill brought that a thread of the pool leads in the stead of this one."""
        try:
            value = self._outcome_of(flight, patience, is_own=True)
            if value is Empty and flight.error is not None:
                self._counters.misses.increment_and_get()  # this lookup does not count again
                if isinstance(flight.error, Exception):  # its leader is still reading it, to copy it for others
                    raise FillTimeout(self._while_waiting(flight, timed_out(patience)))
                raise flight.error  # no Exception: meant for the leader alone
            return value
        finally:
            del flight


def _in_context(fill: Callable[[], Any]) -> Callable[[], Any]:
    """Have `fill` run in this context, though in another thread; which is in no task, and leads for itself."""
    context = copy_context()
    context.run(current_fill.set, None)
    return partial(context.run, fill)
