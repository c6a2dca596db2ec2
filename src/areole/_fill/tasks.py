"""AsyncSingleFlight: the protocol of `_single_flight` for event loops; a miss is filled once, by a task or a thread.

A miss claims at once, in the task that asks: `_fly`, which holds the latch and does what a leading thread does, is a
generator, and is run up to its claim by its requester. If another leads, it ends there, and no task is ever made. If it
leads, it is handed over to a task, in which it goes on. So a thousand tasks that ask for one cold key make one task.

Invariant 4: whatever happens to that generator, its `finally` opens the latch: the fill returns, raises, is cancelled;
or the task is cancelled before its first step, and the generator is closed as soon as the task is done; or the task
never gets any further, and is collected. If its loop is closed and nothing is collected, `TaskFlight.is_orphaned`
says so.

Its requester waits for it as all others do, and has no part in the fill: it may be cancelled and leave.

The fill runs in a copy of its requester's context: it sees the context variables of the leader, not of the waiters.

Not seen as waiting for oneself, so that only a `wait_timeout` helps: a fill that waits for a thread or task that was
not started with its context (a queue's worker, say), or for a place in an executor that is full of fills that wait.
"""

from __future__ import annotations

import inspect
import types
from collections.abc import Awaitable, Callable, Coroutine, Generator
from contextlib import suppress
from contextvars import copy_context
from functools import partial
from math import inf
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar

from .._core.entry import Empty, Entry
from .._core.flight import Flight
from .._core.ttl import DeadlineOf
from .._core.wait_graph import Wait, add_wait, begin_wait, current_caller, current_fill, end_wait
from ..errors import FillDeadlockError, FillTimeout, RecursiveFillError
from .protocol import SingleFlight, timed_out
from .task_flight import CleanUp, CleanUpWaiter, TaskFlight
from .task_waiter import Waiter, running_loop, wake

if TYPE_CHECKING:
    import asyncio

__all__ = ["AsyncSingleFlight"]

K = TypeVar("K")
V = TypeVar("V")

ELSEWHERE: Final = 1.0
"""For how many seconds a cancelled call waits for a fill on another loop to clean up."""

CANCELLED_AGAIN = 1.0
"""For how many seconds more a call that is cancelled a second time waits for its fill to clean up."""

_aloft: dict[asyncio.AbstractEventLoop, set[TaskFlight]] = {}
"""The flights that are led on each loop: asyncio itself holds its tasks by weak references alone."""


class AsyncSingleFlight(SingleFlight[K, V]):
    """A cache whose misses are filled by one task or thread each, while tasks wait without blocking their loop."""

    __slots__ = ("_cancels", "_offloads")
    _cancels: bool
    _offloads: bool
    _is_async = True

    @classmethod
    def _view_of(cls, cache: SingleFlight[K, V]) -> Self:
        """Make a view of any cache, for asynchronous fills of others' that cancel when all have left."""
        view = object.__new__(cls)
        cache._share_with(view)
        view._cancels, view._offloads = True, False
        return view

    async def _awaited(
        self,
        key: K,
        call: Callable[[], Any],
        now: float | None = None,
        deadline_of: DeadlineOf[K, V] | None = None,
    ) -> V:
        """Fill `key` by `call`, or wait for whoever is filling it; `now` is the clock's reading, if it was taken."""
        while (
            value := await self._outcome(
                self._start(self._new_flight(key), call, partial(self._claim, now=now), deadline_of)
            )
        ) is Empty:
            now = None
        return value  # type: ignore[no-any-return]

    async def _refresh(  # type: ignore[override]
        self,
        key: K,
        function: Callable[..., Any],
        args: Any,
        kwargs: Any,
        deadline_of: DeadlineOf[K, V] | None = None,
    ) -> V:
        call = partial(function, *args, **kwargs)
        while (
            value := await self._outcome(self._start(self._new_flight(key), call, self._claim_refresh, deadline_of))
        ) is Empty:
            self._was_no_lookup()
        return value  # type: ignore[no-any-return]

    # ---- lead

    def _new_flight(self, key: K) -> TaskFlight:
        return TaskFlight(key, self._entry_type(), self._running_loop(), is_cancellable=self._cancels)

    def _running_loop(self) -> asyncio.AbstractEventLoop:
        loop = running_loop()
        if loop is None:
            raise RuntimeError(
                f"{self.name}: no asyncio event loop runs in this thread, and a fill needs one: await it under "
                "asyncio.run(), or under anyio with its asyncio backend; trio is not supported"
            )
        return loop

    def _entry_type(self) -> type[Entry]:
        return self._index.entry_type

    def _start(
        self,
        flight: TaskFlight,
        call: Callable[[], Any],
        claim: Callable[[TaskFlight], bool],
        deadline_of: DeadlineOf[K, V] | None = None,
        is_awaited: bool = True,
    ) -> TaskFlight:
        """Claim the key of `flight`; if that is won, have a task fill it. Does not wait, but may begin to."""
        lead: Any = self._fly(flight, claim, call, deadline_of)
        try:
            lead.send(None)
        except StopIteration:
            return flight
        # Before the task is made, which may run at once (an eager task factory): what it asks for must see this wait.
        if is_awaited:
            flight.for_requester = []
            flight.own_wait = Wait(flight, None, current_fill.get())
            add_wait(flight.own_wait, flight)
        _keep_aloft(flight)
        drive = self._drive(flight, lead)
        try:
            flight.task = flight.loop.create_task(drive)
        except BaseException:
            self._clear_up_start(flight, lead, drive)
            raise
        flight.task.add_done_callback(partial(_land, flight, lead))
        return flight

    def _clear_up_start(
        self, flight: TaskFlight, lead: Generator[Any, Any, None], drive: Coroutine[Any, Any, None]
    ) -> None:
        """Clear up where no task was made, or an interrupt came before it was returned.

        There may be a task all the same: an eager one, of which the first step has run, is known from `_drive`. One
        that is not known, and has yet to begin, finds that `lead` is closed, and ends.
        """
        if flight.own_wait is not None:
            self._end_wait(flight.own_wait, flight)
        _land(flight, lead, flight.task)
        try:
            flight.loop.call_soon(drive.close)  # a task that there is has begun by then
        except RuntimeError:  # the loop has closed
            drive.close()

    @types.coroutine
    def _fly(
        self,
        flight: TaskFlight,
        claim: Callable[[TaskFlight], bool],
        call: Callable[[], Any],
        deadline_of: DeadlineOf[K, V] | None,
    ) -> Generator[Any, Any, None]:
        """Do what a leader does; stop once after the claim, if that is won, to be handed over to a task.

        A generator, since a coroutine that has begun cannot be awaited, which task factories of tracing tools do.
        """
        latch = flight.latch
        try:
            if claim(flight):
                yield
                value = yield from _run(call, self._offloads).__await__()
                self._settle(flight, value, deadline_of)
        except BaseException as error:
            self._note(flight, error)
            is_noted = flight.leads and _is_for_waiters(error)
            del flight  # the traceback keeps this frame: it must not lead back to the exception
            if not is_noted:
                raise
        finally:
            latch.release()

    def _note(self, flight: TaskFlight, error: BaseException) -> None:
        """Clear up after what ended the fill; nobody is there to whom what comes of that could be raised."""
        flight.error = error
        raised = flight.for_requester
        if raised is not None:
            raised.append(error)
        try:
            self._fail(flight)
        except Exception as worse:  # from the ttl of an exception that is to be stored
            if raised:
                raised[0] = worse
        finally:
            del raised

    async def _drive(self, flight: TaskFlight, lead: Awaitable[None]) -> None:
        """Be the task: run `lead` to its end, and let all know."""
        flight.task = _current_task()
        current_fill.set(flight.leader)
        try:
            await lead
        finally:
            if flight.value is not Empty:
                self._finish(flight)
            elif flight.waiters:  # those woken while the latch was held need not look again
                wake(flight)
            del flight  # as in `_fly`, whose frame leads back to this one

    # ---- wait

    async def _outcome(self, flight: TaskFlight, patience: float | None = None) -> Any:
        """Return or raise what `flight` brought, found or waits for; Empty if whoever led left none.

        `patience` is in seconds; None: `wait_timeout`, for those who join.
        """
        joined = None
        try:
            if flight.leads:
                return await self._own_outcome(flight, patience)
            joined, flight.joined, flight.entry.flight = flight.joined, None, None
            if joined is None:
                return flight.value
            await self._wait_async(joined, self._wait_timeout if patience is None else patience)
            return self._result_of(joined)
        finally:
            del flight, joined

    async def _own_outcome(self, flight: TaskFlight, timeout: float | None) -> Any:
        """The same for a fill that this task has asked for, which has no `wait_timeout`, and no second try."""
        try:
            if flight.own_wait is not None:
                await self._wait_and_leave(flight.own_wait, flight, timeout)
            if flight.value is Empty and not isinstance(flight.error, Exception):
                kind = type(flight.error).__name__
                reason = f"its fill was ended by {kind}, though nobody had left it; those who wait fill it anew"
                raise RuntimeError(self._while_waiting(flight, reason))
            return self._own_result_of(flight)
        finally:
            flight.for_requester = None  # it has left, or has it
            del flight

    async def _wait_and_leave(self, wait: Wait, flight: Flight, timeout: float | None) -> None:
        """Wait until the leader has left, or in vain, and end the wait.

        The last one to be cancelled cancels the fill, and returns when that has stopped: what the fill uses may be
        closed then, as after an `await` of the plain function. A second cancellation ends this wait a moment later.
        """
        try:
            if not await Waiter(flight, _loop(), self._check_wait).wait(timeout):
                self._let_go_on(flight)
                raise FillTimeout(self._while_waiting(flight, timed_out(timeout)))
        except BaseException as error:
            if self._end_wait(wait, flight) and _is_cancellation(error):
                await self._wait_until_stopped(flight)
            raise
        finally:
            if wait.flight is not None:
                self._end_wait(wait, flight)
            del flight

    async def _wait_until_stopped(self, flight: Any) -> None:
        """Wait for an abandoned fill's cleaning up, unless that needs, in the end, the fill that this is a part of.

        Another loop may be blocked until this one ends, as a thread is that joins this one, which nobody can see. So
        this waits for a fill of another loop for a moment at most.
        """
        clean_up = CleanUp(flight)
        wait = Wait(clean_up, None, current_fill.get())
        try:
            if begin_wait(wait, clean_up):
                with suppress(FillDeadlockError):  # what ends here is a cancellation
                    await self._see_it_stop(flight)
        finally:
            end_wait(wait, clean_up)
            del flight, clean_up

    async def _see_it_stop(self, flight: Any) -> None:
        """Wait until an abandoned fill has stopped; from a further cancellation on, for a moment at most.

        Under anyio a cancellation comes again at each turn of the loop, until the task has left its scope.
        """
        import asyncio

        loop = _loop()
        end = inf if flight.loop is loop else loop.time() + ELSEWHERE
        while (left := end - loop.time()) > 0:
            try:
                await CleanUpWaiter(flight, loop, self._check_wait).wait(None if end == inf else left)
                return
            except asyncio.CancelledError:
                end = min(end, loop.time() + CANCELLED_AGAIN)

    async def _wait_async(self, flight: Flight, timeout: float | None) -> None:
        """Return once the leader of `flight` has left; raise where that would be never, or not in time."""
        if flight.is_orphaned:
            return
        fill = current_fill.get()
        try:
            if flight.leader is fill or flight.leader is current_caller():
                if flight.is_pending:
                    reason = "its own fill asks for it; break that loop"
                    raise RecursiveFillError(self._while_waiting(flight, reason))
                return
            self._counters.waits.increment_and_get()
            wait = Wait(flight, None, fill)
            try:
                if not begin_wait(wait, flight):
                    reason = "its fill waits in turn for the one that asks; ask for keys in one order everywhere"
                    raise FillDeadlockError(self._while_waiting(flight, reason))
                await self._wait_and_leave(wait, flight, timeout)
            finally:
                if wait.flight is not None:
                    self._end_wait(wait, flight)
        finally:
            del flight


def _loop() -> asyncio.AbstractEventLoop:
    import asyncio

    return asyncio.get_running_loop()


def _current_task() -> asyncio.Task[Any] | None:
    import asyncio

    return asyncio.current_task()


def _is_cancellation(error: BaseException) -> bool:
    from asyncio import CancelledError

    return isinstance(error, CancelledError)


def _is_for_waiters(error: BaseException) -> bool:
    """Say whether `error` is noted in the flight alone; a KeyboardInterrupt, say, is to stop the loop too."""
    import asyncio

    return isinstance(error, Exception | asyncio.CancelledError)


def _keep_aloft(flight: TaskFlight) -> None:
    loop = flight.loop
    flights = _aloft.get(loop)
    if flights is None:
        for each in list(_aloft):
            if each.is_closed():
                _aloft.pop(each, None)
        flights = _aloft[loop] = set()  # by this loop's own thread alone
    flights.add(flight)


def _land(flight: TaskFlight, lead: Generator[Any, Any, None], task: asyncio.Task[None] | None = None) -> None:
    """Clear up after a task that is done: of one that was cancelled before its first step, nothing has run."""
    lead.close()
    if task is not None and not task.cancelled():
        task.exception()  # what there is, a KeyboardInterrupt, went through the loop: it is not to be logged as lost
    flights = _aloft.get(flight.loop)
    if flights is not None:
        flights.discard(flight)
        if not flights:
            _aloft.pop(flight.loop, None)


async def _run(call: Callable[[], Any], offloads: bool) -> Any:
    """Call a fill, in the loop's executor if it is to be offloaded; await what it returns, if that can be."""
    if offloads:
        # What the thread raises is carried here as a value: a future that is given a StopIteration never ends on 3.11.
        value, error = await _loop().run_in_executor(None, copy_context().run, _attempt, call)
        if error is not None:
            try:
                raise error
            finally:
                del error
    else:
        value = call()
    return await value if inspect.isawaitable(value) else value


def _attempt(call: Callable[[], Any]) -> tuple[Any, BaseException | None]:
    try:
        return call(), None
    except BaseException as error:
        return None, error
