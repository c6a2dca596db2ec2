"""TaskFlight: the future of a fill that runs in a task."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from .._caller import Caller
from .._entry import Entry, Flight
from .._waiter import running_loop

if TYPE_CHECKING:
    import asyncio

__all__ = ["TaskFlight"]


class TaskFlight(Flight):
    """A flight whose leader is a task on `loop`, for as long as that is not closed.

    `joiners` counts who waits for it, threads and tasks, its requester too. Where `is_cancellable`, the last one to
    leave before the end marks it as abandoned; from then on it has no leader, so whoever comes upon it fills anew, and
    only *then* its task is cancelled. So nobody waits for a cancelled fill. `joiners` and the mark are changed under
    the lock of the graph of waits: without it,

        1. the last waiter leaves, and counts: nobody is left      3. the waiter marks the flight and cancels its task
        2. another one joins                                       4. the other waits for a fill that was cancelled.
    """

    __slots__ = ("is_abandoned", "is_cancellable", "joiners", "loop", "task")
    look_every = 0.5
    may_be_left = True

    def __init__(
        self, key: Any, entry_type: type[Entry], loop: asyncio.AbstractEventLoop, *, is_cancellable: bool
    ) -> None:
        super().__init__(key, entry_type)
        self.leader = Caller(host=self.leader)
        self.loop = loop
        self.is_cancellable = is_cancellable
        self.is_abandoned = False
        self.joiners = 0
        self.task: asyncio.Task[None] | None = None

    @property
    def has_no_leader(self) -> bool:
        return self.is_abandoned or super().has_no_leader or self.loop.is_closed()

    def join(self) -> None:
        self.joiners += 1

    def leave(self) -> bool:
        self.joiners -= 1
        if self.joiners or self.task is None or self.is_abandoned or not (self.is_cancellable and self.is_pending):
            return False
        self.is_abandoned = True
        return True

    def go_on(self) -> None:
        # Before the caller leaves, so one is left that keeps others from being the last: no lock is needed.
        self.is_cancellable = False

    @property
    def is_cancelled(self) -> bool:
        """Say whether the task was cancelled by others: as abandoned, or as its loop is shut down."""
        return self.is_abandoned or (self.task is not None and self.task.cancelling() > 0)

    def cancel(self) -> None:
        """Cancel the task, from any thread."""
        if self.task is None:
            return
        if running_loop() is self.loop:
            self.task.cancel()
        else:
            with suppress(RuntimeError):  # the loop has closed, and the task is gone
                self.loop.call_soon_threadsafe(self.task.cancel)
