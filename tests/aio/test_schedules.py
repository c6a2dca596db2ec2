"""All interleavings of the last waiter who leaves with another one who comes: nobody waits for a cancelled fill."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from areole import AsyncAtomicCache
from areole._caller import begin_wait
from areole.aio._flight import TaskFlight

from ..schedules import explore, point
from ..support import assert_valid, every_index


class LoopOfAnotherThread:
    """Does at once what it is told to do soon."""

    def is_closed(self) -> bool:
        return False

    def call_soon_threadsafe(self, callback: Callable[..., Any], *args: Any) -> None:
        point()
        callback(*args)


class FillTask:
    """A fill that takes its time to end after it was cancelled: its latch stays held for longer than the test lasts."""

    def cancel(self) -> None:
        point()


@every_index
def test_in_every_schedule_who_comes_as_the_last_one_leaves_gets_a_value(index: str) -> None:
    """1. the last waiter leaves, and counts: nobody is left      3. the flight is marked, its task cancelled
    2. another one joins                                          4. the other waits for a fill that was cancelled

    Allowed: the other joins in time, the fill goes on and both end with its value; or the fill is cancelled, stored
    nowhere, and the other fills anew.
    """
    outcomes = set()

    def scenario() -> Any:
        cache: AsyncAtomicCache[Any, Any] = AsyncAtomicCache(lambda key: "new", index=index)
        for_threads = cache.sync
        loop: Any = LoopOfAnotherThread()
        flight: Any = TaskFlight("key", cache._index.entry_type, loop, is_cancellable=True)
        flight.latch.acquire()
        assert cache._claim(flight)
        flight.task = FillTask()
        assert begin_wait(flight, None, None)

        def leave() -> None:
            cache._end_wait(flight, None)
            if not flight.is_abandoned:
                cache._settle(flight, "old")
                flight.latch.release()
                cache._finish(flight)

        def check(results: list[Any]) -> None:
            value = "new" if flight.is_abandoned else "old"
            assert results == [None, value]
            assert for_threads["key"] == value
            assert_valid(cache)
            outcomes.add(value)

        return leave, (lambda: for_threads["key"]), check

    assert explore(scenario, preemptions=2) > 100
    assert outcomes == {"old", "new"}
