"""TaskWaiter: a task that waits for a flight, on whatever loop, without blocking it.

Who signals whom: a waiter puts itself into the flight's table and *then* looks whether the leader has left; the leader
opens the latch and *then* wakes all that are in the table. So one of them sees the other:

    1. a waiter looks: the latch is held       3. the waiter enters the table, and sleeps
    2. the leader opens it, wakes the table    -- for ever, if it looked before it was in.

A waiter is woken on its own loop, where it looks for itself: to be woken for nothing costs a look. So nothing rests on
wakers alone, which an interrupt, a fork or a closed loop may stop: once in a while the `_Watch` of a loop has all its
waiters look, by one timer. Then they look too whether their wait can end at all.
Adding to the tables, removing from them and copying them are atomic steps (see `_locks`).
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

SELDOM: Final = 1.0
"""Seconds between two looks of the waiters that nobody wakes."""

AT_ONCE: Final = 200
"""How many of them look in one turn of their loop, which thousands would block."""

SOON: Final = 0.001
"""Seconds until a waiter looks again that finds an outcome, but the latch held.

By the leader, which is about to release it, or by a thread that has waited too, which takes it and releases it at once.
"""


def limit_of(timeout: float | None) -> float:
    """Return for how many seconds to wait: infinity, which no lock and no loop takes, is for ever."""
    return inf if timeout is None or timeout > TIMEOUT_MAX else timeout


class TaskWaiter:
    """One wait of one task. All but its making and `wake` happens on its loop.

    `check` is called with the flight where the wait may be for ever, and then raises what ends it.
    """

    __slots__ = ("_check", "_flight", "_future", "_limit", "_next_look", "loop")

    def __init__(
        self,
        flight: Flight,
        loop: asyncio.AbstractEventLoop,
        check: Callable[[Flight], None],
    ) -> None:
        self.loop = loop
        self._flight = flight
        self._check = check
        self._future: asyncio.Future[bool | Exception] = loop.create_future()
        self._next_look: asyncio.TimerHandle | None = None
        self._limit: asyncio.TimerHandle | None = None

    async def wait(self, timeout: float | None) -> bool:
        """Return once it has ended; say whether that was in time; raise what `check` does."""
        flight, limit = self._flight, limit_of(timeout)
        watch = _watch_of(self.loop)
        flight.waiters[self] = None
        try:
            watch.add(self)
            self.look()
            if limit != inf:
                self._limit = self.loop.call_later(limit, self._give_up)
            outcome = await self._future
            if isinstance(outcome, Exception):
                raise outcome
            return outcome
        finally:
            outcome = False  # the traceback keeps this frame
            del flight.waiters[self]
            watch.waiters.pop(self, None)
            for timer in (self._next_look, self._limit):
                if timer is not None:
                    timer.cancel()

    def _has_ended(self) -> bool:
        return self._flight.is_orphaned

    def look(self) -> None:
        """End the wait if it can be, else look again: soon where the leader is about to leave, or as all others do."""
        if self._future.done():
            return
        if self._has_ended():
            self._future.set_result(True)
        elif not self._flight.is_pending:
            self._next_look = self.loop.call_later(SOON, self.look)

    def look_now(self) -> None:
        """Look because a leader says that it leaves."""
        if self._next_look is not None:
            self._next_look.cancel()
        self.look()

    def check(self) -> None:
        """End the wait if that would never end."""
        try:
            self._check(self._flight)
        except Exception as error:
            if not self._future.done():
                self._future.set_result(error)  # not an exception of the future's: a cancellation may come first

    def _give_up(self) -> None:
        if not self._future.done():
            self._future.set_result(not self._flight.is_pending)


class _Watch:
    """Has all waiters on one loop look once in a while. Its methods are called on that loop.

    A finalizer may `add` between any two of their steps. It makes the timer itself if it finds no token; else it is in
    the table before `_look_at` has taken the token away, and so before that looks whether anybody is left.
    """

    __slots__ = ("_loop", "_token", "waiters")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._token: object = None  # of the timer that counts, if there is one
        self.waiters: dict[TaskWaiter, None] = {}

    def add(self, waiter: TaskWaiter) -> None:
        self.waiters[waiter] = None
        if self._token is None:
            self._look_later()

    def _look_later(self) -> None:
        self._token = token = object()
        self._loop.call_later(SELDOM, self._look, token)

    def _look(self, token: object) -> None:
        if token is not self._token:
            return
        may_be_stuck = is_importing() or holds_a_lock()  # asked once for all
        self._look_at(list(self.waiters), may_be_stuck)

    def _look_at(self, waiters: list[TaskWaiter], may_be_stuck: bool) -> None:
        for waiter in waiters[-AT_ONCE:]:
            waiter.look_now()
            if may_be_stuck:
                waiter.check()
        del waiters[-AT_ONCE:]
        if waiters:
            self._loop.call_soon(self._look_at, waiters, may_be_stuck)
            return
        self._token = None
        if self.waiters:
            self._look_later()
        else:
            _watches.pop(self._loop, None)


_watches: dict[asyncio.AbstractEventLoop, _Watch] = {}


def _watch_of(loop: asyncio.AbstractEventLoop) -> _Watch:
    watch = _watches.get(loop)
    if watch is None:
        for each in list(_watches):
            if each.is_closed():
                _watches.pop(each, None)
        watch = _watches.setdefault(loop, _Watch(loop))
    return watch


def wake(flight: Flight) -> None:
    """Have all waiters of `flight` look, each on its loop; one that has closed stops nobody else (anyio #1265)."""
    by_loop: dict[Any, list[TaskWaiter]] = {}
    for waiter in list(flight.waiters):
        by_loop.setdefault(waiter.loop, []).append(waiter)
    for loop, waiters in by_loop.items():
        if loop is running_loop():
            _look_all(waiters)
        else:
            with suppress(RuntimeError):  # it has closed
                loop.call_soon_threadsafe(_look_all, waiters)


def _look_all(waiters: list[TaskWaiter]) -> None:
    for waiter in waiters:
        waiter.look_now()


def running_loop() -> asyncio.AbstractEventLoop | None:
    """Return the loop that this thread runs, if any."""
    import asyncio  # by now loaded by the code that has a loop; importing areole does not

    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
