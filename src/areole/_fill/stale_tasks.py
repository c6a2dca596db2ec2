"""AsyncStayingUp: what a lookup of a resilient cache does when its hit fails, where tasks ask; see _staying_up.

A background fill is claimed at once, by the lookup that asks for it, and is then a task like all other fills; a task
that was not yet begun holds up nobody who would be content with the old value, which its entry shows. So of any
lookups, on whatever loops, one takes the place of the entry that they have found, and fills (`replace_if`). A fill that
threads have asked their pool for meanwhile finds that its entry is gone, and is not made: at most one a key runs.

Nobody waits for it, so nobody can abandon it: it is not cancellable from its beginning. A fill in the foreground is no
longer, once somebody has given up waiting for it in time: that one lets it go on before leaving. The other way round

    1. the last waiter times out, and leaves: nobody is left      2. the fill is cancelled, though it was to be stored.

A fill that is cancelled from outside, as all tasks are when their loop shuts down, has not failed: nothing is held off,
and nothing is logged. Its entry stays, showing the old value, and the next lookup tries again.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

from .._core.entry import Empty, Entry
from .._core.flight import Flight
from .._core.ttl import DeadlineOf
from .resilience import resilient
from .stale import Claim, NoValue, Order, Serving
from .task_flight import TaskFlight
from .tasks import AsyncSingleFlight

__all__ = ["AsyncStayingUp"]

K = TypeVar("K")
V = TypeVar("V")


class AsyncStayingUp(AsyncSingleFlight[K, V], Serving[K, V]):
    """Serving, where tasks ask."""

    __slots__ = ()

    async def _serve(self, key: K, call: Callable[[], Any], now: float | None = None) -> V:
        """Return the value of `key`: live, stale, or filled now; `now` is what the hit that failed read."""
        return await self._served(self._own_order(key, call), now)  # type: ignore[no-any-return]

    async def _served(self, order: Order, now: float | None) -> Any:
        """Return the value that is ordered: live, stale, or filled now."""
        while True:
            value = self._served_at_once(order, now)
            if value is Empty:
                claim = partial(self._claim, now=now, serves_stale=order.plan.serves_stale)
                value = await self._fill_or_wait(order, claim, falls_back=order.plan.fail_safe)
            if value is not Empty:
                return value
            now = None

    async def _refresh(  # type: ignore[override]
        self,
        key: K,
        function: Callable[..., Any],
        args: Any,
        kwargs: Any,
        deadline_of: DeadlineOf[K, V] | None = None,
    ) -> V:
        if self._plan is None:
            return await super()._refresh(key, function, args, kwargs, deadline_of)
        order = self._own_order(key, partial(function, *args, **kwargs))
        return await self._refreshed(order)  # type: ignore[no-any-return]

    async def _refreshed(self, order: Order) -> Any:
        """Return the value that is ordered, filled anew."""
        while (value := await self._fill_or_wait(order, self._claim_refresh, falls_back=False)) is Empty:
            self._was_no_lookup()
        return value

    # ---- in the background

    def _ask_for_refresh(self, entry: Entry, order: Order) -> None:
        """Have a task refresh `entry`, if it is still in the index."""
        flight = self._new_flight(order.key)
        flight.is_cancellable = False
        self._begin(flight, order, partial(self._claim_place_of, entry), self._clock(), is_awaited=False)
        if not flight.leads:
            flight.entry.flight = None

    # ---- in the foreground

    async def _fill_or_wait(self, order: Order, claim: Claim, falls_back: bool) -> Any:
        """Fill, or wait for who does; with `falls_back`, serve a stale value if that fails. Empty: look again."""
        flight = self._new_flight(order.key)
        followed: Flight = flight
        has_stale = False
        try:
            now = self._clock()  # before the wait has begun, which nothing may come between and its end
            self._begin(flight, order, claim, now)
            followed = flight.joined or flight
            has_stale = falls_back and self._has_stale(followed, now)
            return await self._outcome(flight, order.plan.patience(has_stale))
        except Exception as error:
            value = self._in_place_of(error, followed, order, has_stale) if falls_back else NoValue
            if value is NoValue:
                raise
            return value
        finally:
            del flight, followed  # a traceback keeps its frames, which must not lead back to the exception

    # ---- leading

    def _entry_type(self) -> type[Entry]:
        own = super()._entry_type()
        return own if self._plan is None else resilient(own)

    def _begin(self, flight: TaskFlight, order: Order, claim: Claim, now: float, is_awaited: bool = True) -> None:
        self._start(flight, order.fill, claim, partial(self._times_of, order, now), is_awaited)

    def _note(self, flight: TaskFlight, error: BaseException) -> None:
        if self._plan is not None and flight.old is not None and flight.value is Empty and _has_failed(flight, error):
            self._throttle(flight, error, self._plan)
        super()._note(flight, error)


def _has_failed(flight: TaskFlight, error: BaseException) -> bool:
    """Say whether the fill itself has failed: not where it was cancelled from outside, or its loop is no more."""
    from asyncio import CancelledError

    return isinstance(error, Exception) or (isinstance(error, CancelledError) and not flight.is_cancelled)
