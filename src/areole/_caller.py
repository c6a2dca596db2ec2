"""Who asks: a thread or a task as the leader or the waiter of flights, and whose wait would never end.

Every thread has one `Caller`, and so has every fill that runs in a task. A flight names its leader's, and a caller
names the flights that it waits for; so the waits of a process are a graph, caller -> flight -> leader -> flight -> ...,
over all its caches.

A fill in a task is known by a context variable, `current_fill`, to all that it starts: child tasks, `gather`,
`to_thread`, an executor's thread that was given its context. Whatever these wait for, the fill waits for. And a thread
that blocks holds up all fills of the loop that it runs: `host` leads from such a fill to its loop's thread.

Invariant 5, waiting for oneself is an error: an edge is added and the paths that start there are walked under one lock.
Without the lock two threads, each the leader of what the other is about to wait for, could

    1. A looks: B waits for nothing        3. A adds its edge, and waits for B
    2. B looks: A waits for nothing        4. B adds its edge, and waits for A     -- for ever.

A thread's own edges are changed by that thread alone. A fill's may be changed by many, so under the lock only, and an
edge is taken out by identity. One that an interrupt leaves behind does no harm once its flight has settled.

Invariant 10, fork: the child has one thread, the one that forked. Its caller is stamped with the new epoch; the callers
of all others keep the old one, and a flight led by such a caller is dropped by whoever comes upon it.
"""

from __future__ import annotations

import os
import threading
from contextvars import ContextVar
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ._entry import Flight
    from ._waiter import Waiter

__all__ = ["Caller", "add_waiter", "begin_wait", "current_caller", "current_fill", "end_wait"]


class Caller:
    """One thread, for as long as it lives, or one fill in a task, whose loop is run by the thread `host`.

    A new thread is a new caller, even where it gets a dead one's number.
    """

    __slots__ = ("epoch", "host", "waits")

    def __init__(self, host: Caller | None = None) -> None:
        self.epoch = _epoch
        self.host = host
        # The flights it waits for, outermost first: inside a wait, a signal handler or a finalizer may wait too.
        # A thread's: set by it alone, in one store; restored by one too, so that no interrupt leaves an edge behind.
        self.waits: tuple[Flight, ...] = ()

    @property
    def is_gone(self) -> bool:
        """Say whether this thread, or task, was left behind in the parent process by a fork."""
        return self.epoch != _epoch


_epoch = 0
# Makes one step of adding an edge and walking. Re-entrant: a finalizer that runs under it may have to wait itself.
_graph = threading.RLock()
_local = threading.local()
current_fill: ContextVar[Caller | None] = ContextVar("areole.current_fill", default=None)
"""The fill in a task, if any, on whose behalf the running code works."""


def current_caller() -> Caller:
    """Return the calling thread's own `Caller`."""
    try:
        caller: Caller = _local.caller
    except AttributeError:
        caller = _local.caller = Caller()
    return caller


def begin_wait(flight: Flight, thread: Caller | None, fill: Caller | None) -> bool:
    """Add the edges of a wait, and count it in the flight; say whether it can end: not if it closes a cycle.

    `thread` is the caller of a thread that will block; `fill` is the one on whose behalf it waits.
    """
    with _graph:  # no loop in here: on 3.13 an interrupt at a loop's jump back would leave the lock held
        flight.join()
        _add_edge(thread, flight)
        _add_edge(fill, flight)
        return not _leads_to(flight, thread, fill)


def end_wait(flight: Flight, fill: Caller | None) -> bool:
    """Take out what `begin_wait` has added, but for the thread's edge; say whether the flight is to be abandoned."""
    with _graph:
        _remove_edge(fill, flight)
        return flight.leave()


def _add_edge(caller: Caller | None, flight: Flight) -> None:
    if caller is not None:
        caller.waits = (*caller.waits, flight)


def _remove_edge(caller: Caller | None, flight: Flight) -> None:
    if caller is not None:
        waits = caller.waits
        at = next((i for i, each in enumerate(waits) if each is flight), len(waits))
        caller.waits = waits[:at] + waits[at + 1 :]


def _leads_to(flight: Flight, thread: Caller | None, fill: Caller | None) -> bool:
    """Say whether the outcome of `flight` waits, in the end, for one of these two."""
    to_visit: list[Flight] = [flight]
    met: set[Flight] = set()
    while to_visit:
        each = to_visit.pop()
        if each in met or not each.is_pending:
            continue
        met.add(each)
        leader, host = each.leader, each.leader.host
        if leader is thread or leader is fill or (host is not None and host is thread):
            return True
        to_visit.extend(leader.waits)
        if host is not None:
            to_visit.extend(blocking for blocking in host.waits if not blocking.runs_a_loop)
    return False


def add_waiter(flight: Flight, waiter: Waiter) -> None:
    """Add a task to those that are to be woken; the lock makes one step of looking for the table and making it."""
    with _graph:
        flight.waiters = {} if flight.waiters is None else flight.waiters
    flight.waiters[waiter] = None


def _start_epoch_in_child() -> None:
    global _epoch, _graph
    _epoch += 1
    _graph = threading.RLock()  # the old one may be held for ever by a thread that does not exist here
    current_caller().epoch = _epoch


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_start_epoch_in_child)
