"""Gatherings: single misses that come at about the same time, filled by one call of `fill_many`.

A fill of one key gives that key to the gathering that is open, or opens one, and then asks for its outcome. That is a
lookup in a cache of gatherings, which stores nothing: one caller leads the flight of the gathering; the others wait for
it, threads and tasks alike. The leader waits until the time is over, or until the gathering is full; then it closes it,
and makes the call. The flight of each key is led by who asked for the key, as that of any fill. So

  - A leader that is interrupted, or a task that all have left, leaves a flight without an outcome: one of the others
    leads the same gathering. Who came too late for the flight itself finds the outcome in the gathering.
  - The graph of waits sees a fill that asks for a key of its own gathering: that key's leader waits for the gathering.
  - An invalidation detaches the flight of one key.

A key is in its gathering before anybody closes that, so what the call gives for it began after its lookup:

    1. A closes the gathering, and calls      2. B invalidates x, and asks for it: x is in another gathering
"""

from __future__ import annotations

import queue
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from threading import TIMEOUT_MAX
from typing import Any

from .._core.entry import UNPUBLISHED
from .._core.ttl import make_seconds
from .._core.wait_graph import Participant, current_participant
from .._platform.locks import Guarded, run_locked
from .._state.cache_state import CacheState
from .exceptions import raise_copy_of, twin_of
from .outcomes import Failed, outcomes_of
from .rules import FillRules
from .tasks import TaskFills
from .threads import ThreadFills

__all__ = ["Gatherings"]


class Gathering:
    """Keys that one call is to fill, and what came of it."""

    __slots__ = ("failure", "is_full", "keys", "leader", "outcomes", "wake", "wakes")

    def __init__(self) -> None:
        self.keys: list[Any] = []
        self.is_full = False
        self.leader: Participant = current_participant()  # the thread that waits until it is full, or runs that task
        self.wakes: queue.SimpleQueue[None] = queue.SimpleQueue()
        self.wake: Callable[[], object] | None = None  # wakes the task that does
        self.outcomes: dict[Any, Any] | None = None
        self.failure: Exception | None = None

    def set_going(self) -> None:
        """Wake its leader. A task sets `wake`, and then looks whether it is full: one of the two sees the other."""
        self.wakes.put(None)
        wake = self.wake
        if wake is not None:
            with suppress(RuntimeError):  # the loop is closed: its gathering has no leader any more
                wake()

    def note(self, keys: list[Any], given: Any) -> dict[Any, Any]:
        self.outcomes = dict(zip(keys, outcomes_of(keys, given), strict=True))
        return self.outcomes

    def found(self) -> dict[Any, Any] | None:
        """Return what another leader has got, or raise a copy of what it has raised."""
        if self.failure is not None:
            raise_copy_of(self.failure, keeps_frames=False)
        return self.outcomes


class Gatherings(Guarded):
    """Those of one cache. `lock` guards which one is open, and the keys of that."""

    def __init__(self, state: CacheState, seconds: float, most: int | None) -> None:
        super().__init__()
        rules = FillRules(lambda key, value: UNPUBLISHED, make_seconds(None), refused_types=frozenset())
        self._threads = ThreadFills(state, rules)
        self._tasks = TaskFills(state, rules)
        self._seconds = min(seconds, TIMEOUT_MAX)
        self._most = most
        self._open: Gathering | None = None

    def fill(self, key: Any, load: Callable[[list[Any]], Any]) -> Any:
        """Return what `load` gives for `key`, called by this thread or by another caller for many keys."""
        gathering = self._join(key, in_task=False)
        try:
            outcomes = self._threads.get_or_fill(gathering, partial(self._lead, gathering, load))
        except BaseException:
            run_locked(self.lock, self._leave, gathering, key)
            raise
        return _outcome_in(outcomes, key)

    async def fill_in_task(self, key: Any, load: Callable[[list[Any]], Awaitable[Any]]) -> Any:
        gathering = self._join(key, in_task=True)
        try:
            outcomes = await self._tasks.get_or_fill(gathering, partial(self._lead_in_task, gathering, load))
        except BaseException:
            run_locked(self.lock, self._leave, gathering, key)
            raise
        return _outcome_in(outcomes, key)

    # ---- who is in

    def _join(self, key: Any, in_task: bool) -> Gathering:
        gathering = run_locked(self.lock, self._enter, key, in_task)
        if gathering.is_full:
            gathering.set_going()
        return gathering

    def _enter(self, key: Any, in_task: bool) -> Gathering:
        """Put `key` into the gathering that is open: again, if nested code (a finalizer) has closed that meanwhile."""
        gathering = None
        while gathering is None or self._open is not gathering:
            gathering = self._open
            if gathering is None or (not in_task and gathering.leader is current_participant()):
                gathering = self._open = Gathering()  # a finalizer asks, while this thread, or a task on it, waits
            gathering.keys.append(key)
        if self._most is not None and len(gathering.keys) >= self._most:
            gathering.is_full, self._open = True, None
        return gathering

    def _leave(self, gathering: Gathering, key: Any) -> None:
        """Have nobody ask for a key whose caller was interrupted, or cancelled, before the call was made."""
        if self._open is gathering:
            for number, each in enumerate(gathering.keys):
                if each is key:
                    del gathering.keys[number]
                    break

    def _close(self, gathering: Gathering) -> list[Any]:
        """Let nobody in any more; return the keys."""
        run_locked(self.lock, self._close_if_open, gathering)
        return list(dict.fromkeys(gathering.keys))

    def _close_if_open(self, gathering: Gathering) -> None:
        if self._open is gathering:
            self._open = None

    # ---- the leader

    def _lead(self, gathering: Gathering, load: Callable[[list[Any]], Any]) -> dict[Any, Any]:
        outcomes = gathering.found()
        if outcomes is not None:
            return outcomes
        gathering.leader = current_participant()
        try:
            if not gathering.is_full and self._open is gathering:
                with suppress(queue.Empty):
                    gathering.wakes.get(timeout=self._seconds)
        finally:  # if this is interrupted, the next leader need not wait
            keys = self._close(gathering)
        try:
            return gathering.note(keys, load(list(keys)))
        except Exception as error:
            gathering.failure = twin_of(error, keeps_frames=False)
            raise

    async def _lead_in_task(self, gathering: Gathering, load: Callable[[list[Any]], Awaitable[Any]]) -> dict[Any, Any]:
        outcomes = gathering.found()
        if outcomes is not None:
            return outcomes
        try:
            await self._pause(gathering)
        finally:
            keys = self._close(gathering)
        try:
            return gathering.note(keys, await load(list(keys)))
        except Exception as error:
            gathering.failure = twin_of(error, keeps_frames=False)
            raise

    async def _pause(self, gathering: Gathering) -> None:
        import asyncio

        loop = asyncio.get_running_loop()
        is_full: asyncio.Future[None] = loop.create_future()
        gathering.leader = current_participant()
        gathering.wake = partial(loop.call_soon_threadsafe, _end, is_full)
        if not gathering.is_full and self._open is gathering:
            await asyncio.wait([is_full], timeout=self._seconds)


def _outcome_in(outcomes: dict[Any, Any], key: Any) -> Any:
    """Return the value of `key`, or raise a copy: after an invalidation two callers may have asked for one key."""
    try:
        outcome = outcomes[key]
        if type(outcome) is Failed:
            raise_copy_of(outcome.error, keeps_frames=False)
        return outcome
    finally:
        del outcomes  # a traceback keeps this frame


def _end(future: Any) -> None:
    if not future.done():
        future.set_result(None)
