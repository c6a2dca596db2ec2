"""TaskFills: the misses of tasks. The one miss loop for them, how a task leads, and how it waits.

A miss claims at once, in the task that asks: `_lead`, which holds the latch and does what a leading thread does, is a
generator, and is run up to its claim by its requester. If another leads, it ends there, and no task is ever made. If it
leads, it is handed over to a task, in which it goes on. So a thousand tasks that ask for one cold key make one task.

Invariant 4: whatever happens to that generator, its `finally` opens the latch: the fill returns, raises, is cancelled;
or the task is cancelled before its first step, and the generator is closed as soon as the task is done; or the task
never gets any further, and is collected. If its loop is closed and nothing is collected, `TaskFlight.is_orphaned`
says so.

Its requester waits for it as all others do, and has no part in the fill: it may be cancelled and leave. The fill runs
in a copy of its requester's context: it sees the context variables of the leader, not of the waiters.

A background fill is claimed at once, by the lookup that asks for it, and is then a task like all other fills. Nobody
waits for it, so nobody can abandon it: it is not cancellable from its beginning. A fill in the foreground is no longer,
once somebody has given up waiting for it in time: that one keeps it running before leaving. The other way round

    1. the last waiter times out, and leaves: nobody is left      2. the fill is cancelled, though it was to be stored.

A fill that is cancelled from outside, as all tasks are when their loop shuts down, has not failed: nothing is
throttled or logged. Its entry stays, showing the old value, and the next lookup tries again.

Not seen as waiting for oneself, so that only a `wait_timeout` helps: a fill that waits for a thread or task that was
not started with its context (a queue's worker, say), or for a place in an executor that is full of fills that wait.
"""

from __future__ import annotations

import types
from collections.abc import Awaitable, Callable, Coroutine, Generator
from functools import partial
from typing import TYPE_CHECKING, Any, Self

from .._core.entry import Empty, Entry
from .._core.flight import Flight
from .._core.wait_graph import Wait, add_wait, begin_wait, current_fill, current_participant
from .._state.cache_state import CacheState
from .blocking import call_fill
from .filled import begun
from .protocol import Fills
from .rules import LEAD, Claim, FillRules
from .stale import StaleServing, throttle
from .task_flight import TaskFlight, wait_until_stopped
from .task_waiter import TaskWaiter, running_loop, wake

if TYPE_CHECKING:
    import asyncio

__all__ = ["TaskFills"]

running_flights: dict[asyncio.AbstractEventLoop, set[TaskFlight]] = {}
"""The flights that are led on each loop: asyncio itself holds its tasks by weak references alone."""


class TaskFills(Fills):
    """Fills led by one task each, while other tasks wait without blocking their loops.

    `cancels`: a fill that all have left is cancelled. `offloads`: a fill is called in the loop's executor.
    """

    __slots__ = ("cancels", "offloads")

    def __init__(
        self,
        state: CacheState,
        rules: FillRules,
        stored_errors: tuple[type[Exception], ...] = (),
        wait_timeout: float | None = None,
    ) -> None:
        super().__init__(state, rules, stored_errors, wait_timeout)
        self.cancels, self.offloads = True, False

    def over(self, state: CacheState) -> Self:
        fills = super().over(state)
        fills.cancels, fills.offloads = self.cancels, self.offloads
        return fills

    async def get_or_fill(
        self,
        key: Any,
        call: Callable[[], Any],
        now: float | None = None,
        rules: FillRules | None = None,
        is_refresh: bool = False,
    ) -> Any:
        """Return the value of `key`: by `call`, or from the caller that is filling it; live or, by `rules`, stale.

        `now` is the clock's reading, if this lookup has taken one. See `ThreadFills.get_or_fill`.
        """
        rules = self.rules if rules is None else rules
        stale = rules.stale
        serving = None if stale is None else StaleServing(self, key, call, rules, stale, is_refresh)
        is_counted = False
        while True:
            if serving is not None and (value := serving.try_without_waiting(now)) is not Empty:
                return value
            flight = self._new_flight(key)
            try:
                if serving is not None:
                    claim: Callable[[TaskFlight], Claim] = serving.claim
                elif is_refresh:
                    claim = self.claim_refresh
                else:
                    claim = partial(self.claim, now=now, is_counted=is_counted)
                found = self._start(flight, call, claim, rules, serving.now if serving is not None else 0.0)
                value = await self._result_or_wait(flight, found, serving)
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

    async def refresh(self, key: Any, call: Callable[[], Any], rules: FillRules | None = None) -> Any:
        """Fill `key` again, or join the fill that is running; return the new value."""
        return await self.get_or_fill(key, call, rules=rules, is_refresh=True)

    def refresh_behind(self, entry: Entry, call: Callable[[], Any], rules: FillRules) -> None:
        """Have a task refresh `entry`, if it is still in the index."""
        began = self.state.clock()
        flight = self._new_flight(entry.key)
        flight.is_cancellable = False
        self._start(flight, call, partial(self.claim_place_of, entry), rules, began, is_awaited=False)
        if not flight.leads:
            flight.entry.flight = None

    def claim_in_worker(self, *unused: Any) -> None:
        """No task has a thread lead on its behalf: it need not block to give up in time."""

    # ---- lead

    def _new_flight(self, key: Any) -> TaskFlight:
        return TaskFlight(key, self.state.entry_type, self.running_loop(), is_cancellable=self.cancels)

    def running_loop(self) -> asyncio.AbstractEventLoop:
        loop = running_loop()
        if loop is None:
            raise RuntimeError(
                f"{self.state.name}: no asyncio event loop runs in this thread, and a fill needs one: await it under "
                "asyncio.run(), or under anyio with its asyncio backend; trio is not supported"
            )
        return loop

    def _start(
        self,
        flight: TaskFlight,
        call: Callable[[], Any],
        claim: Callable[[TaskFlight], Claim],
        rules: FillRules,
        began: float,
        is_awaited: bool = True,
    ) -> Claim:
        """Claim the key of `flight`; if that is won, have a task fill it. Does not wait, but may begin to."""
        lead: Any = self._lead_in_task(flight, claim, call, rules, began)
        try:
            lead.send(None)
        except StopIteration as end:
            found: Claim = end.value
            return found
        # Before the task is made, which may run at once (an eager task factory): what it asks for must see this wait.
        if is_awaited:
            flight.for_requester = []
            flight.own_wait = Wait(flight, None, current_fill.get())
            add_wait(flight.own_wait, flight)
        _keep(flight)
        drive = self._drive(flight, lead)
        try:
            flight.task = flight.loop.create_task(drive)
        except BaseException:
            self._clear_up_start(flight, lead, drive)
            raise
        flight.task.add_done_callback(partial(_forget, flight, lead))
        return LEAD

    def _clear_up_start(
        self, flight: TaskFlight, lead: Generator[Any, Any, Any], drive: Coroutine[Any, Any, None]
    ) -> None:
        """Clear up where no task was made, or an interrupt came before it was returned.

        There may be a task all the same: an eager one, of which the first step has run, is known from `_drive`. One
        that is not known, and has yet to begin, finds that `lead` is closed, and ends.
        """
        if flight.own_wait is not None:
            self.end_wait(flight.own_wait, flight)
        _forget(flight, lead, flight.task)
        try:
            flight.loop.call_soon(drive.close)  # a task that there is has begun by then
        except RuntimeError:  # the loop has closed
            drive.close()

    @types.coroutine
    def _lead_in_task(
        self,
        flight: TaskFlight,
        claim: Callable[[TaskFlight], Claim],
        call: Callable[[], Any],
        rules: FillRules,
        began: float,
    ) -> Generator[Any, Any, Any]:
        """Do what a leader does; stop once after the claim, if that is won, to be handed over to a task.

        A generator, since a coroutine that has begun cannot be awaited, which task factories of tracing tools do.
        """
        latch = flight.latch
        try:
            found = claim(flight)
            if found is not LEAD:
                return found
            yield
            fill = call
            if rules.tags is not None or rules.previous is not None:
                fill = begun(call, flight, rules, self.state)
            value = yield from call_fill(fill, self.offloads).__await__()
            self.complete(flight, value, rules, began)
        except BaseException as error:
            flight.error = error
            if _has_failed(flight, error):
                throttle(self, flight, rules.stale)
            self._abort_task(flight, error)
            is_noted = flight.leads and _is_for_waiters(error)
            del flight  # the traceback keeps this frame: it must not lead back to the exception
            if not is_noted:
                raise
        finally:
            latch.release()
        return None

    def _abort_task(self, flight: TaskFlight, error: BaseException) -> None:
        """Clear up after what ended the fill; nobody is there to whom what comes of that could be raised."""
        raised = flight.for_requester
        if raised is not None:
            raised.append(error)
        try:
            self.abort(flight)
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
            if flight.value is not Empty or flight.found_stale:
                self.after_lead(flight)
            elif flight.waiters:  # those woken while the latch was held need not look again
                wake(flight)
            del flight  # as in `_lead_in_task`, whose frame leads back to this one

    # ---- wait

    async def _result_or_wait(self, flight: TaskFlight, found: Claim, serving: StaleServing | None) -> Any:
        """Return or raise what `flight` brought, or what its claim found, or what that waits for. Empty: look again."""
        joined = None
        try:
            if found is LEAD:
                patience = None if serving is None else serving.patience()
                value = await self._wait_for_own(flight, patience)
                return value if serving is None else serving.has_result(value)
            joined, flight.joined, flight.entry.flight = flight.joined, None, None  # nobody else has seen this flight
            if joined is None:
                return flight.value
            patience = None if serving is None else serving.patience()
            await self._wait_for(joined, self.wait_timeout if patience is None else patience)
            value = self.read_result(joined, flight)
            return value if serving is None else serving.has_result(value)
        finally:
            del flight, joined

    async def _wait_for_own(self, flight: TaskFlight, timeout: float | None) -> Any:
        """Wait for a fill that this task has asked for, which has no `wait_timeout`, and no second try."""
        try:
            if flight.own_wait is not None:
                await self._wait_and_leave(flight.own_wait, flight, timeout)
            if flight.value is not Empty or flight.found_stale:
                return flight.value
            if not isinstance(flight.error, Exception):
                raise self.wait_error("ended", flight, kind=type(flight.error).__name__)
            return self.read_requested(flight)
        finally:
            flight.for_requester = None  # it has left, or has it
            del flight

    async def _wait_and_leave(self, wait: Wait, flight: Flight, timeout: float | None) -> None:
        """Wait until the leader has left, or in vain, and end the wait.

        The last one to be cancelled cancels the fill, and returns when that has stopped: what the fill uses may be
        closed then, as after an `await` of the plain function. A second cancellation ends this wait a moment later.
        """
        try:
            if not await TaskWaiter(flight, self.running_loop(), self.check_wait).wait(timeout):
                self.keep_running(flight)
                raise self.wait_error("timeout", flight, seconds=timeout)
        except BaseException as error:
            if self.end_wait(wait, flight) and _is_cancellation(error):
                await wait_until_stopped(flight, self.running_loop(), self.check_wait)
            raise
        finally:
            if wait.flight is not None:
                self.end_wait(wait, flight)
            del flight

    async def _wait_for(self, flight: Flight, timeout: float | None) -> None:
        """Return once the leader of `flight` has left; raise where that would be never, or not in time."""
        if flight.is_orphaned:
            return
        fill = current_fill.get()
        try:
            if flight.leader is fill or flight.leader is current_participant():
                if flight.is_pending:
                    raise self.wait_error("own key", flight)
                return
            self.state.counters.waits.increment_and_get()
            wait = Wait(flight, None, fill)
            try:
                if not begin_wait(wait, flight):
                    raise self.wait_error("cycle", flight)
                await self._wait_and_leave(wait, flight, timeout)
            finally:
                if wait.flight is not None:
                    self.end_wait(wait, flight)
        finally:
            del flight


def _current_task() -> asyncio.Task[Any] | None:
    import asyncio

    return asyncio.current_task()


def _is_cancellation(error: BaseException) -> bool:
    from asyncio import CancelledError

    return isinstance(error, CancelledError)


def _is_for_waiters(error: BaseException) -> bool:
    """Say whether `error` is noted in the flight alone; a KeyboardInterrupt, say, is to stop the loop too."""
    return isinstance(error, Exception) or _is_cancellation(error)


def _has_failed(flight: TaskFlight, error: BaseException) -> bool:
    """Say whether the fill itself has failed: not where it was cancelled from outside, or its loop is no more."""
    return isinstance(error, Exception) or (_is_cancellation(error) and not flight.is_cancelled)


def _keep(flight: TaskFlight) -> None:
    loop = flight.loop
    flights = running_flights.get(loop)
    if flights is None:
        for each in list(running_flights):
            if each.is_closed():
                running_flights.pop(each, None)
        flights = running_flights[loop] = set()  # by this loop's own thread alone
    flights.add(flight)


def _forget(flight: TaskFlight, lead: Generator[Any, Any, Any], task: asyncio.Task[None] | None = None) -> None:
    """Clear up after a task that is done: of one that was cancelled before its first step, nothing has run."""
    lead.close()
    if task is not None and not task.cancelled():
        task.exception()  # what there is, a KeyboardInterrupt, went through the loop: it is not to be logged as lost
    flights = running_flights.get(flight.loop)
    if flights is not None:
        flights.discard(flight)
        if not flights:
            running_flights.pop(flight.loop, None)
