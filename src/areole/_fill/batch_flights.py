"""The flights of batches: that of a batch itself, which no index has, and those of its keys in a task. See `batch`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

from .._core.entry import Entry
from .._core.flight import Flight
from .._core.wait_graph import Wait
from .rules import LEAD, Claim
from .stale import StaleServing
from .task_flight import TaskFlight

if TYPE_CHECKING:
    import asyncio

__all__ = ["Asked", "Pair", "TaskBatch", "ThreadBatch", "drop", "led", "parts_of"]

Pair: TypeAlias = "tuple[Any, StaleServing | None]"
"""A key, and what may serve a stale value of it."""


class Asked:
    """One key of a batch: its flight, and what the claim has answered."""

    __slots__ = ("flight", "found", "key", "serving")

    def __init__(self, key: Any, serving: StaleServing | None) -> None:
        self.key = key
        self.serving = serving
        self.flight: Any = None
        self.found = Claim.LOOK_AGAIN


class ThreadBatch(Flight):
    """A batch that a thread leads."""

    __slots__ = ("asked",)

    def __init__(self, asked: list[Asked], entry_type: type[Entry]) -> None:
        super().__init__(asked[0].key, entry_type)
        self.asked = asked

    def another(self) -> ThreadBatch:
        return ThreadBatch(self.asked, type(self.entry))

    def flight_for(self, key: Any, entry_type: type[Entry]) -> Flight:
        flight = Flight(key, entry_type)
        flight.leader = self.leader
        return flight


class TaskBatch(TaskFlight):
    """A batch that a task leads."""

    __slots__ = ("asked",)

    def __init__(
        self, asked: list[Asked], entry_type: type[Entry], loop: asyncio.AbstractEventLoop, *, is_cancellable: bool
    ) -> None:
        super().__init__(asked[0].key, entry_type, loop, is_cancellable=is_cancellable)
        self.asked = asked

    def flight_for(self, key: Any, entry_type: type[Entry]) -> Flight:
        return BatchedFlight(key, entry_type, self)


class BatchedFlight(TaskFlight):
    """The flight of one key of a batch in a task: who waits for it waits for the batch."""

    __slots__ = ("batch",)

    def __init__(self, key: Any, entry_type: type[Entry], batch: TaskBatch) -> None:
        Flight.__init__(self, key, entry_type)
        self.batch = batch
        self.leader = batch.leader
        self.loop = batch.loop

    @property
    def is_orphaned(self) -> bool:
        return self.batch.is_abandoned or self.has_stopped

    @property
    def is_cancelled(self) -> bool:
        return self.batch.is_cancelled

    def add_waiter(self, wait: Wait) -> None:
        self.batch.add_waiter(wait)

    def remove_waiter(self, wait: Wait) -> bool:
        return self.batch.remove_waiter(wait)

    def keep_running(self) -> None:
        self.batch.keep_running()

    def cancel(self) -> None:
        self.batch.cancel()


def led(batch: Any) -> list[Asked]:
    return [asked for asked in batch.asked if asked.found is LEAD]


def drop(batch: Any) -> None:
    """Release what leads to an exception whose traceback leads to this; not while the batch still needs it."""
    for asked in batch.asked:
        if asked.flight is not None:
            asked.flight.for_requester = None
        if asked.serving is not None:
            asked.serving.drop_flights()
    if not batch.latch.locked():
        for asked in batch.asked:
            asked.flight = None  # whose error may be raised by now: each frame of that has an Asked
        batch.asked.clear()
        batch.error = None
    batch.entry.flight = None


def parts_of(pairs: list[Pair], most: int | None) -> list[list[Asked]]:
    all_asked = [Asked(key, serving) for key, serving in pairs]
    return [all_asked] if most is None else [all_asked[n : n + most] for n in range(0, len(pairs), most)]
