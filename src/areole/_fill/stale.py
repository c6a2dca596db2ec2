"""Serving: what lookups of resilient caches have in common, whether threads or tasks ask.

What a lookup that need not wait does, what one gets instead of a fill that failed or takes too long, and the moments
of a value. Who runs the fills, and how they are waited for, is said in _staying_up and in aio._staying_up.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import suppress
from typing import Any, NamedTuple, TypeAlias, TypeVar

from .._core.entry import UNPUBLISHED, Empty, Entry
from .._core.flight import Flight
from .._core.ttl import EXPIRED_AT_ONCE, SecondsOf
from .._platform.locks import run_locked
from ..errors import FillTimeout
from .protocol import SingleFlight
from .resilience import Plan

__all__ = ["Claim", "NoValue", "Order", "Serving"]

K = TypeVar("K")
V = TypeVar("V")

Claim: TypeAlias = Callable[[Any], bool]
"""Called with a flight; says whether that leads."""

_log = logging.getLogger("areole")


class NoValue:
    """Stands for "there is nothing to be served, and no use in looking again"."""


class Order(NamedTuple):
    """What is to be filled, and how."""

    key: Any
    fill: Callable[[], Any]
    plan: Plan
    seconds_of: SecondsOf[Any, Any]  # UNPUBLISHED: for those who wait alone


class Serving(SingleFlight[K, V]):
    """A cache whose lookups may have a Resilience: the cache's own, or one of the call."""

    __slots__ = ()

    def _own_order(self, key: K, fill: Callable[[], Any]) -> Order:
        """Order `key` by the cache's own Resilience."""
        return Order(key, fill, self._plan, self._seconds_of)

    # ---- at once

    def _hit(self, key: K) -> Any:
        """Return the value of `key` if nobody need look closer, else Empty."""
        try:
            entry = self._entries[key]
            deadline = entry.deadline
            if deadline is None or deadline > self._clock():
                if self._on_hit is not None:
                    self._on_hit(entry)
                return entry.value
        except KeyError:
            pass
        return Empty

    def _served_at_once(self, order: Order, now: float | None) -> Any:
        """Return a value that there is to be served without waiting, or Empty; `now` is what the hit that failed read.

        See that it will be replaced, if it is stale, or due.
        """
        entry = self._find(order.key)
        if entry is None or entry.times is None:
            return Empty
        return self._serve_at_once(entry, order, self._clock() if now is None else now)

    def _serve_at_once(self, entry: Entry, order: Order, now: float) -> Any:
        """Return the value of `entry` if this lookup need not wait for a better one, and see that there will be one."""
        plan, flight = order.plan, entry.flight  # the flight before the moments, as in _entry: they are final without
        deadline, times = entry.deadline, entry.times
        is_live = entry.is_live(now)
        if times is None or not (is_live or plan.serves_stale(entry, now)):
            return Empty
        value = entry.value
        if times.throttled_until <= now and (not is_live or plan.is_due(deadline, times, now)):
            if flight is None:
                self._ask_for_refresh(entry, order)
            elif flight.is_orphaned:
                self._retract(flight)  # it settled meanwhile, or was interrupted, or left behind by a fork
        if not is_live:
            self._counters.stale_hits.increment_and_get()
        elif self._on_hit is not None:
            self._on_hit(entry)
        return value

    def _ask_for_refresh(self, entry: Entry, order: Order) -> None:
        """Have `entry` refreshed in the background."""
        raise NotImplementedError

    def _claim_place_of(self, entry: Entry, flight: Flight) -> bool:
        if not self._take_over(flight, entry):
            return False
        self._counters.background_fills.increment_and_get()
        return self._lead(flight)

    # ---- instead of what did not come

    def _has_stale(self, flight: Flight, now: float) -> bool:
        """Say whether there is an old value to be served instead of what `flight` is to bring."""
        return flight.old is not None and flight.entry.is_usable(now)

    def _in_place_of(self, error: Exception, flight: Flight, order: Order, has_stale: bool) -> Any:
        """Return what to serve where waiting for `flight` raised `error`; Empty: look again; NoValue: raise it.

        Who has given up a wait for want of patience, as there was a stale value, looks again where that is gone. That
        the fill has ended since does not matter:

            1. a lookup gives up      2. the fill ends      3. its value is invalidated: there is nothing to serve
        """
        is_late = flight.is_pending
        if is_late and not isinstance(error, FillTimeout):
            return NoValue  # a wait that would never end is the program's fault, whatever there is to serve
        value = self._fall_back(order, is_late)
        # The fill itself may raise one, of another cache.
        gave_up = isinstance(error, FillTimeout) and not isinstance(flight.error, FillTimeout)
        if value is Empty and not (gave_up and has_stale):
            return NoValue
        self._counters.misses.decrement_and_get()  # of a lookup that counts as another thing, or again
        return value

    def _fall_back(self, order: Order, is_late: bool) -> Any:
        """Return the value that may be served now in the place of one that did not come, or Empty."""
        entry, now = self._find(order.key), self._clock()
        if entry is None or not entry.is_usable(now):
            return Empty
        if is_late and entry.times is not None:
            entry.times.throttled_until = now + order.plan.retry_after  # until then nobody waits for so slow a fill
        if not entry.is_live(now):
            self._counters.stale_hits.increment_and_get()
        elif self._on_hit is not None:
            self._on_hit(entry)
        return entry.value

    # ---- the moments of a value

    def _times_of(self, order: Order, began: float, key: Any, value: Any) -> Any:
        seconds = order.seconds_of(key, value)
        if seconds in (UNPUBLISHED, EXPIRED_AT_ONCE):
            return seconds  # it is not to be stored: see `_settle`
        return order.plan.times(seconds, began, self._clock())

    def _throttle(self, flight: Flight, error: BaseException, plan: Plan) -> None:
        """Have the old value of a failed refresh served without another one for a while, and log the failure.

        Only its type: a message or a traceback may show keys and values.
        """
        with suppress(Exception):  # from the clock; what counts is the error of the fill
            entry: Any = flight.entry
            until = self._clock() + plan.retry_after
            run_locked(self._index.lock, entry.throttle, until)
        _log.warning("%s: a refresh raised %s", self.name, type(error).__name__)
