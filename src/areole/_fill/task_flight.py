"""TaskFlight: the future of a fill that runs in a task; and CleanUp, what such a fill does after it was abandoned."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from math import inf
from typing import TYPE_CHECKING, Any, Final

from .._core.entry import Entry
from .._core.flight import Flight
from .._core.wait_graph import Participant, Wait, begin_wait, current_fill, end_wait
from ..errors import FillDeadlockError
from .task_waiter import TaskWaiter, running_loop

if TYPE_CHECKING:
    import asyncio

__all__ = ["TaskFlight", "wait_until_stopped"]

CANCEL_AGAIN: Final = 0.05
"""Seconds until a fill that others are cancelling is looked at again."""

ELSEWHERE: Final = 1.0
"""For how many seconds a cancelled call waits for a fill on another loop to clean up."""

CANCELLED_AGAIN = 1.0
"""For how many seconds more a call that is cancelled a second time waits for its fill to clean up."""


class TaskFlight(Flight):
    """A flight whose leader is a task on `loop`, for as long as that is not closed.

    `joiners` holds all waits for it, of threads and tasks, its requester's too (`own_wait`). Where `is_cancellable`,
    the last one to leave before the end marks it as abandoned; from then on it has no leader, so the next lookup fills
    again, and only *then* its task is cancelled. So nobody waits for a cancelled fill. `joiners` and the mark are
    changed under the lock of the graph of waits: without it,

        1. the last waiter leaves, and looks: nobody is left       3. the waiter marks the flight and cancels its task
        2. another one joins                                       4. the other waits for a fill that was cancelled.

    A finalizer may join between 1 and 3 even so, on the thread that has the lock. Its wait finds at its first look that
    the flight has no leader, and it fills again.
    """

    __slots__ = ("is_abandoned", "is_cancellable", "joiners", "loop", "own_wait", "task")
    poll_interval = 0.5
    is_abandonable = True

    def __init__(
        self, key: Any, entry_type: type[Entry], loop: asyncio.AbstractEventLoop, *, is_cancellable: bool
    ) -> None:
        super().__init__(key, entry_type)
        self.leader = Participant(host=self.leader)
        self.loop = loop
        self.is_cancellable = is_cancellable
        self.is_abandoned = False
        self.joiners: dict[Wait, None] = {}
        self.own_wait: Wait | None = None
        self.task: asyncio.Task[None] | None = None

    @property
    def is_orphaned(self) -> bool:
        return self.is_abandoned or self.has_stopped

    @property
    def has_stopped(self) -> bool:
        """Say whether nothing of the fill runs any more, its `finally` clauses included."""
        return super().is_orphaned or self.loop.is_closed()

    def add_waiter(self, wait: Wait) -> None:
        self.joiners[wait] = None

    def remove_waiter(self, wait: Wait) -> bool:
        if self.joiners.pop(wait, wait) is wait:
            return False  # it had not joined, or has left
        if self.joiners or self.task is None or self.is_abandoned or not (self.is_cancellable and self.is_pending):
            return False
        self.is_abandoned = True
        return True

    def keep_running(self) -> None:
        # Before the caller leaves, so one is left that keeps others from being the last: no lock is needed.
        self.is_cancellable = False

    @property
    def is_cancelled(self) -> bool:
        """Say whether the task was cancelled by others: as abandoned, or as its loop is shut down."""
        return self.is_abandoned or (self.task is not None and self.task.cancelling() > 0)

    def cancel(self) -> None:
        """Cancel the task, from any thread."""
        if running_loop() is self.loop:
            self._cancel()
        else:
            with suppress(RuntimeError):  # the loop has closed, and the task is gone
                self.loop.call_soon_threadsafe(self._cancel)

    def _cancel(self) -> None:
        """Cancel the task unless somebody is cancelling it: a second CancelledError would end its cleaning up.

        As its loop is shut down, say. Or a timeout of its own is, after which it goes on: so look again.
        """
        if self.task is None or self.task.done():
            return
        if self.task.cancelling():
            self.loop.call_later(CANCEL_AGAIN, self._cancel)
        else:
            self.task.cancel()


class CleanUp:
    """Stands, in the graph of waits, for what an abandoned fill does until it has stopped."""

    __slots__ = ("_flight",)
    is_abandonable = False
    runs_a_loop = False

    def __init__(self, flight: TaskFlight) -> None:
        self._flight = flight

    @property
    def leader(self) -> Participant:
        return self._flight.leader

    @property
    def is_running(self) -> bool:
        return not self._flight.has_stopped

    def add_waiter(self, wait: Wait) -> None:
        pass

    def remove_waiter(self, wait: Wait) -> bool:
        return False


class CleanUpWaiter(TaskWaiter):
    """Waits until an abandoned fill has stopped, or its loop, another thread's, does not run any more."""

    __slots__ = ()
    _flight: TaskFlight

    def _has_ended(self) -> bool:
        return self._flight.has_stopped or not self._flight.loop.is_running()


async def wait_until_stopped(flight: Any, loop: asyncio.AbstractEventLoop, check: Callable[[Flight], None]) -> None:
    """Wait for an abandoned fill's cleaning up, unless that needs, in the end, the fill that this is a part of.

    Another loop may be blocked until this one ends, as a thread is that joins this one, which nobody can see. So
    this waits for a fill of another loop for a moment at most.
    """
    clean_up = CleanUp(flight)
    wait = Wait(clean_up, None, current_fill.get())
    try:
        if begin_wait(wait, clean_up):
            with suppress(FillDeadlockError):  # what ends here is a cancellation
                await _see_it_stop(flight, loop, check)
    finally:
        end_wait(wait, clean_up)
        del flight, clean_up


async def _see_it_stop(flight: Any, loop: asyncio.AbstractEventLoop, check: Callable[[Flight], None]) -> None:
    """Wait until an abandoned fill has stopped; from a further cancellation on, for a moment at most.

    Under anyio a cancellation comes again at each turn of the loop, until the task has left its scope.
    """
    import asyncio

    end = inf if flight.loop is loop else loop.time() + ELSEWHERE
    while (left := end - loop.time()) > 0:
        try:
            await CleanUpWaiter(flight, loop, check).wait(None if end == inf else left)
            return
        except asyncio.CancelledError:
            end = min(end, loop.time() + CANCELLED_AGAIN)
