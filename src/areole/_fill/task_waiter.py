"""TaskWaiter: a task that waits for a flight, on whatever loop, without blocking it.

A waiter puts itself into the flight's table and *then* checks whether the leader has left; the leader opens the latch
and *then* wakes all that are in the table. So one of them sees the other:

    1. a waiter checks: the latch is held      3. the waiter enters the table, and sleeps
    2. the leader opens it, wakes the table    -- for ever, if it checked before it was in.

A waiter is woken on its own loop, where it checks for itself: a needless wake-up costs a check. Wake-ups may be lost to
an interrupt, a fork or a closed loop. So the `_Poller` of a loop has all its waiters check once in a while, by one
timer, and also whether their wait can end at all.
Adding to the tables, removing from them and copying them are atomic steps (see `locks`).
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from math import inf
from threading import TIMEOUT_MAX
from typing import TYPE_CHECKING, Any, Final

from .._platform.locks import holds_a_lock
from .._platform.module_imports import is_importing

if TYPE_CHECKING:
    import asyncio

    from .._core.flight import Flight

__all__ = ["TaskWaiter", "limit_of", "running_loop", "wake"]

POLL_SECONDS: Final = 1.0
"""Seconds between two checks of waiters that are not woken."""

CHECKED_PER_TURN: Final = 200
"""How many of them check in one turn of their loop, which thousands would block."""

RETRY_SECONDS: Final = 0.001
"""Seconds until a waiter checks again that finds an outcome, but the latch held.

By the leader, which is about to release it, or by a thread that has waited too, which takes it and releases it.
"""


def limit_of(timeout: float | None) -> float:
    """Return for how many seconds to wait: infinity, which no lock and no loop takes, is for ever."""
    return inf if timeout is None or timeout > TIMEOUT_MAX else timeout


class TaskWaiter:
    """One wait of one task. All but its making and `wake` happens on its loop.

    `check_wait` is called with the flight where the wait may be for ever, and then raises what ends it.
    """

    __slots__ = ("_check_wait", "_flight", "_future", "_limit", "_retry", "loop")

    def __init__(self, flight: Flight, loop: asyncio.AbstractEventLoop, check_wait: Callable[[Flight], None]) -> None:
        self.loop = loop
        self._flight = flight
        self._check_wait = check_wait
        self._future: asyncio.Future[bool | Exception] = loop.create_future()
        self._retry: asyncio.TimerHandle | None = None
        self._limit: asyncio.TimerHandle | None = None

    async def wait(self, timeout: float | None) -> bool:
        """Return once it has ended; say whether that was in time; raise what `check_wait` does."""
        flight, limit = self._flight, limit_of(timeout)
        poller = _poller_of(self.loop)
        flight.waiters[self] = None
        try:
            poller.add(self)
            self.check()
            if limit != inf:
                self._limit = self.loop.call_later(limit, self._give_up)
            outcome = await self._future
            if isinstance(outcome, Exception):
                raise outcome
            return outcome
        finally:
            outcome = False  # the traceback keeps this frame
            del flight.waiters[self]
            poller.waiters.pop(self, None)
            for timer in (self._retry, self._limit):
                if timer is not None:
                    timer.cancel()

    def _has_ended(self) -> bool:
        return self._flight.is_orphaned

    def check(self) -> None:
        """End the wait if it can be; retry soon where the leader is about to leave."""
        if self._retry is not None:
            self._retry.cancel()
        if self._has_ended():
            self._end(True)
        elif not (self._flight.is_pending or self._future.done()):
            self._retry = self.loop.call_later(RETRY_SECONDS, self.check)

    def end_if_stuck(self) -> None:
        """End the wait if it would never end."""
        try:
            self._check_wait(self._flight)
        except Exception as error:
            self._end(error)  # not an exception of the future's: a cancellation may come first

    def _give_up(self) -> None:
        self._end(not self._flight.is_pending)

    def _end(self, outcome: bool | Exception) -> None:
        if not self._future.done():
            self._future.set_result(outcome)


class _Poller:
    """Has all waiters on one loop check once in a while. Its methods are called on that loop.

    A finalizer may `add` between any two of their steps. It makes the timer itself if it finds no token; else it is in
    the table before `_check` has taken the token away, and so before that looks whether any waiter is left.
    """

    __slots__ = ("_loop", "_token", "waiters")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._token: object = None  # of the timer that counts, if there is one
        self.waiters: dict[TaskWaiter, None] = {}

    def add(self, waiter: TaskWaiter) -> None:
        self.waiters[waiter] = None
        if self._token is None:
            self._poll_later()

    def _poll_later(self) -> None:
        self._token = token = object()
        self._loop.call_later(POLL_SECONDS, self._poll, token)

    def _poll(self, token: object) -> None:
        if token is self._token:
            self._check(list(self.waiters), is_importing() or holds_a_lock())  # asked once for all

    def _check(self, waiters: list[TaskWaiter], may_be_stuck: bool) -> None:
        for waiter in waiters[-CHECKED_PER_TURN:]:
            waiter.check()
            if may_be_stuck:
                waiter.end_if_stuck()
        del waiters[-CHECKED_PER_TURN:]
        if waiters:
            self._loop.call_soon(self._check, waiters, may_be_stuck)
            return
        self._token = None
        if self.waiters:
            self._poll_later()
        else:
            _pollers.pop(self._loop, None)


_pollers: dict[asyncio.AbstractEventLoop, _Poller] = {}


def _poller_of(loop: asyncio.AbstractEventLoop) -> _Poller:
    poller = _pollers.get(loop)
    if poller is None:
        for each in list(_pollers):
            if each.is_closed():
                _pollers.pop(each, None)
        poller = _pollers.setdefault(loop, _Poller(loop))
    return poller


def wake(flight: Flight) -> None:
    """Have all waiters of `flight` check, each on its loop; one that has closed stops no other (anyio #1265)."""
    by_loop: dict[Any, list[TaskWaiter]] = {}
    for waiter in list(flight.waiters):
        by_loop.setdefault(waiter.loop, []).append(waiter)
    for loop, waiters in by_loop.items():
        if loop is running_loop():
            _check_all(waiters)
        else:
            with suppress(RuntimeError):  # it has closed
                loop.call_soon_threadsafe(_check_all, waiters)


def _check_all(waiters: list[TaskWaiter]) -> None:
    for waiter in waiters:
        waiter.check()


def running_loop() -> asyncio.AbstractEventLoop | None:
    """Return the loop that this thread runs, if any."""
    import asyncio  # loaded by now if there is a loop; importing areole does not

    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
