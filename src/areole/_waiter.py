"""Waiter: a task that waits for a flight, on whatever loop, without blocking it.

Who signals whom: a waiter puts itself into the flight's table and *then* looks whether the leader has left; the leader
opens the latch and *then* wakes all that are in the table. So one of them sees the other:

    1. a waiter looks: the latch is held       3. the waiter enters the table, and sleeps
    2. the leader opens it, wakes the table    -- for ever, if it looked before it was in.

A waiter is woken on its own loop, where it looks for itself: to be woken for nothing costs a look. So nothing rests on
wakers alone, which an interrupt, a fork or a closed loop may stop: every waiter looks by itself once in a while too.
Adding to the table, removing from it and copying it are atomic steps (see `_locks`).
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from math import inf
from threading import TIMEOUT_MAX
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import asyncio

    from ._entry import Flight

__all__ = ["Waiter", "limit_of", "running_loop", "wake"]

SELDOM: Final = 1.0
"""Seconds between two looks of a waiter that nobody wakes."""

SOON: Final = 0.001
"""Seconds until a waiter looks again that finds an outcome, but the latch held.

By the leader, which is about to release it, or by a thread that has waited too, which takes it and releases it at once.
"""


def limit_of(timeout: float | None) -> float:
    """Return for how many seconds to wait: infinity, which no lock and no loop takes, is for ever."""
    return inf if timeout is None or timeout > TIMEOUT_MAX else timeout


class Waiter:
    """One wait of one task. All but its making and `wake` happens on its loop.

    `check` is called with the flight when it looks by itself, and may raise what ends the wait.
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
        flight.waiters[self] = None
        try:
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
            for timer in (self._next_look, self._limit):
                if timer is not None:
                    timer.cancel()

    def _has_ended(self) -> bool:
        return self._flight.has_no_leader

    def look(self) -> None:
        """End the wait if it can be, else look again later."""
        if self._future.done():
            return
        if self._has_ended():
            self._future.set_result(True)
        else:
            self._next_look = self.loop.call_later(SELDOM if self._flight.is_pending else SOON, self._look_again)

    def look_now(self) -> None:
        """Look because a leader says that it leaves."""
        if self._next_look is not None:
            self._next_look.cancel()
        self.look()

    def _look_again(self) -> None:
        try:
            if not self._has_ended():
                self._check(self._flight)
        except Exception as error:
            if not self._future.done():
                self._future.set_result(error)  # not an exception of the future's: a cancellation may come first
        else:
            self.look()

    def _give_up(self) -> None:
        if not self._future.done():
            self._future.set_result(not self._flight.is_pending)


def wake(flight: Flight) -> None:
    """Have all waiters of `flight` look, each on its loop; one that has closed stops nobody else (anyio #1265)."""
    by_loop: dict[Any, list[Waiter]] = {}
    for waiter in list(flight.waiters):
        by_loop.setdefault(waiter.loop, []).append(waiter)
    for loop, waiters in by_loop.items():
        if loop is running_loop():
            _look_all(waiters)
        else:
            with suppress(RuntimeError):  # it has closed
                loop.call_soon_threadsafe(_look_all, waiters)


def _look_all(waiters: list[Waiter]) -> None:
    for waiter in waiters:
        waiter.look_now()


def running_loop() -> asyncio.AbstractEventLoop | None:
    """Return the loop that this thread runs, if any."""
    import asyncio  # by now loaded by whoever has a loop; importing areole does not

    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
