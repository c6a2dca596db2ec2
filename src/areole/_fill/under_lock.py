"""Fills around each of which a lock of the user's is entered, so that one runs at a time, whatever the key.

A flight is claimed first, then the lock is entered: so one caller per key waits for the lock, and the others for its
outcome. Of a re-entrant lock, which a fill has already that looks up another key:

    1. A fills x, and has the lock        2. B leads y, and waits for the lock        3. A's fill asks for y

A must not wait for B. It detaches B's flight, and fills y itself. B finds that value once it has the lock, and returns
it to those who wait for B. That B has yet to enter the lock is seen by its flight, where B notes it once it has. While
A has a lock that only one can have, B cannot do that; of a semaphore B may just then, and y is filled twice.

Where the lock is known not to be re-entrant, A's lookup raises FillDeadlockError. What else a lock waits for is not
known here.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial
from typing import Any, Final

from .._core.entry import Empty
from .._core.flight import Flight
from .._core.wait_graph import Participant, current_fill, current_participant
from .._platform.arguments import is_async_function
from .._platform.locks import run_entered
from .protocol import Fills
from .resilience import StaleRules
from .rules import Claim, FillRules
from .tasks import TaskFills
from .threads import ThreadFills
from .wait_errors import wait_error

__all__ = ["TaskFillsUnderLock", "ThreadFillsUnderLock", "check_lock", "check_lock_for"]

_inside: Final[set[tuple[int, Participant | None]]] = set()
"""The threads, and fills in tasks, that have entered a lock, by its id; each adds and discards its own items alone.

The atomic steps relied on: `set.add`, `set.discard` and `in`, of items compared in C.
"""


def _is_inside(lock: object, participant: Participant | None) -> bool:
    return (id(lock), participant) in _inside


class ThreadFillsUnderLock(ThreadFills):
    """Fills of threads under `users_lock`; `look(key)` returns the value that there is for a key, or Empty.

    With `wraps`, all that is called to fill enters the lock; else what `inside` makes.
    """

    __slots__ = ("look", "users_lock", "wraps")
    is_inlined = False

    def __init__(self, users_lock: Any, look: Callable[[Any], Any], wraps: bool, *of_fills: Any) -> None:
        super().__init__(*of_fills)
        self.users_lock = users_lock
        self.look = look
        self.wraps = wraps

    def has_lock(self) -> bool:
        """Say whether the caller is in a fill that has the lock."""
        return _is_inside(self.users_lock, current_participant())

    def claim(
        self, flight: Flight, now: float | None = None, stale: StaleRules | None = None, is_counted: bool = False
    ) -> Claim:
        found = super().claim(flight, now, stale, is_counted)
        while self._is_overtaken(found, flight):
            found = super().claim(flight, now, stale, True)
        return found

    def claim_refresh(self, flight: Flight) -> Claim:
        found = super().claim_refresh(flight)
        while self._is_overtaken(found, flight):
            found = super().claim_refresh(flight)
        return found

    def _is_overtaken(self, found: Claim, flight: Flight) -> bool:
        """Detach the flight that was found if its leader waits for the lock that this thread has; say whether."""
        other = flight.joined
        if found is not Claim.JOIN or other is None or not _waits_for(other, self.users_lock, current_participant()):
            return False
        flight.joined = None
        _check_reentrant(self, self.users_lock, flight.entry.key)
        self.detach(other)
        return True

    def claim_in_worker(self, *args: Any) -> Claim | None:
        """Have no other thread lead on behalf of one that has the lock."""
        return None if self.has_lock() else super().claim_in_worker(*args)

    def get_or_fill(
        self,
        key: Any,
        call: Callable[[], Any],
        now: float | None = None,
        rules: FillRules | None = None,
        is_refresh: bool = False,
        is_counted: bool = False,
    ) -> Any:
        call = self.inside(key, call, is_refresh) if self.wraps else call
        return super().get_or_fill(key, call, now, rules, is_refresh, is_counted)

    def inside(self, key: Any, call: Callable[[], Any], is_refresh: bool) -> Callable[[], Any]:
        """Return what the leader of `key` is to call: it enters the lock, and calls `call`, if that is still needed."""

        def enter() -> Any:
            if self.has_lock():
                _check_reentrant(self, self.users_lock, key)
            return run_entered(self.users_lock, self._call_inside, key, call, is_refresh)

        return enter

    def _call_inside(self, key: Any, call: Callable[[], Any], is_refresh: bool) -> Any:
        me = current_participant()
        mark = id(self.users_lock), me
        is_nested = mark in _inside
        try:
            _inside.add(mark)
            if _note_entered(self, key, me) or is_refresh:
                return call()
            value = self.look(key)  # filled by one that has detached the flight of this leader, while it waited
            return call() if value is Empty else value
        finally:
            if not is_nested:
                _inside.discard(mark)


class TaskFillsUnderLock(TaskFills):
    """Fills of tasks under `users_lock`, an asynchronous one, which each fill enters in a task of its own."""

    __slots__ = ("users_lock", "wraps")

    def __init__(self, users_lock: Any, wraps: bool, *of_fills: Any) -> None:
        super().__init__(*of_fills)
        self.users_lock = users_lock
        self.wraps = wraps

    def has_lock(self) -> bool:
        return _is_inside(self.users_lock, current_fill.get())

    def claim(
        self, flight: Flight, now: float | None = None, stale: StaleRules | None = None, is_counted: bool = False
    ) -> Claim:
        found = super().claim(flight, now, stale, is_counted)
        return self._check(found, flight)

    def claim_refresh(self, flight: Flight) -> Claim:
        return self._check(super().claim_refresh(flight), flight)

    def _check(self, found: Claim, flight: Flight) -> Claim:
        other = flight.joined
        if found is Claim.JOIN and other is not None and _waits_for(other, self.users_lock, current_fill.get()):
            _check_reentrant(self, self.users_lock, flight.entry.key)
        return found

    async def get_or_fill(
        self,
        key: Any,
        call: Callable[[], Any],
        now: float | None = None,
        rules: FillRules | None = None,
        is_refresh: bool = False,
    ) -> Any:
        call = self.inside(key, call, is_refresh) if self.wraps else call
        return await super().get_or_fill(key, call, now, rules, is_refresh)

    def inside(self, key: Any, call: Callable[[], Any], is_refresh: bool) -> Callable[[], Any]:
        """Return what the fill of `key` is to call: it enters the lock, and awaits `call`."""
        return partial(self._call_inside, key, call, self.has_lock())

    async def _call_inside(self, key: Any, call: Callable[[], Any], requester_has_lock: bool) -> Any:
        if requester_has_lock:
            _check_reentrant(self, self.users_lock, key)
        me = current_fill.get()
        mark = id(self.users_lock), me
        async with self.users_lock:
            try:
                _inside.add(mark)
                _note_entered(self, key, me)
                return await call()
            finally:
                _inside.discard(mark)


def _note_entered(fills: Fills, key: Any, me: Participant | None) -> bool:
    """Note in the flight of `key` that its leader, this one, has entered the lock; say whether it still leads one."""
    entry = fills.state.find(key)
    flight = None if entry is None else entry.flight
    if flight is None or flight.leader is not me:
        return False
    flight.has_entered = True
    return True


def _waits_for(flight: Flight, lock: Any, me: Participant | None) -> bool:
    """Say whether the leader of `flight`, which needs `lock`, has yet to enter it, and `me` has it."""
    return _is_inside(lock, me) and not getattr(flight, "has_entered", False)


def _check_reentrant(fills: Fills, lock: Any, key: Any) -> None:
    """Raise FillDeadlockError where the fill of `key` needs a lock that its caller has, and cannot have twice."""
    if not _is_reentrant(lock):
        raise wait_error("lock", fills.state.name, key)


def _is_reentrant(lock: Any) -> bool:
    """Say whether one that has it may take it again; of locks that are not known here, it is said that one may."""
    kind = type(lock)
    return kind is not _PLAIN and (kind.__module__, kind.__name__) != ("asyncio.locks", "Lock")


_PLAIN: Final = type(threading.Lock())


# ---- the argument


def check_lock(lock: Any) -> None:
    """Raise TypeError unless `lock` is a context manager, of either kind."""
    if not (_can_be_entered(lock) or _can_be_entered(lock, "a")):
        hint = " (that one call per key runs is always so, and needs no lock)" if isinstance(lock, bool) else ""
        raise TypeError(
            "lock must be a context manager, such as threading.RLock(), or an asynchronous one, such as "
            f"asyncio.Lock(), not {type(lock).__name__}{hint}"
        )


def check_lock_for(function: Callable[..., Any], name: str, lock: Any) -> None:
    """Raise TypeError unless the fills of `function` can enter `lock`."""
    needs = _FOR_ASYNC if is_async_function(function) else _FOR_THREADS
    if not _can_be_entered(lock, needs[0]):
        raise TypeError(f"lock must be {needs[1]} for {name}, which is {needs[2]}, not {type(lock).__name__}")


_FOR_THREADS: Final = "", "a plain context manager, such as threading.RLock(),", "a def"
_FOR_ASYNC: Final = "a", "an asynchronous context manager, such as asyncio.Lock(),", "an async def"


def _can_be_entered(lock: Any, kind: str = "") -> bool:
    return all(hasattr(type(lock), f"__{kind}{name}__") for name in ("enter", "exit"))
