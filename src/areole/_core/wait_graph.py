"""The graph of waits: which thread or task waits for which fill, so that a wait that would never end is refused.

Every thread has one `Participant`, and so has every fill that runs in a task. A flight names its leader's, and a
`Wait` is an edge to its flight from the participants that it holds up; so the waits of a process are a graph,
participant -> wait -> flight -> leader -> wait -> ..., over all its caches.

A fill in a task is known by a context variable, `current_fill`, to all that it starts: child tasks, `gather`,
`to_thread`, an executor's thread that was given its context. Whatever these wait for, the fill waits for. And a thread
that blocks holds up all fills of the loop that it runs: `Participant.loop` is the node that stands for that loop.

Invariant 5, waiting for oneself is an error: an edge is added, and the paths that continue it are walked, under one
lock. Without the lock two threads, each the leader of what the other is about to wait for, could

    1. A looks: B waits for nothing        3. A adds its edge, and waits for B
    2. B looks: A waits for nothing        4. B adds its edge, and waits for A     -- for ever.

Cost
    A node keeps its edges in two dicts, those by which it waits and those by which it is awaited. So an edge is added
    and removed in constant time. A participant with no waiters is part of no cycle, and walks nothing. Else two walks
    take turns, one from the flight to what it needs, one back from what the wait holds up, and the first one that ends
    decides: it costs twice what the cheaper one does.

Re-entrant calls
    A finalizer or a signal handler may begin and end waits between any two steps of an operation on the graph, on the
    thread that has the lock; it completes before that operation continues. So:
      - An edge is a key of a dict, added and removed by one atomic step each (see `locks`), not a number: an operation
        that loads a count, and stores it plus one after a finalizer has stored its own, loses a wait.
      - An operation walks when it has added all its edges. Of any two, the one that begins its walk last finds all
        edges of the other, be that another thread's or nested in it. So one of them sees a cycle that they close.
      - A walk copies the edges of a node in one atomic step. What is added after that is of a nested operation, which
        walks by itself, and finds the edges of the outer one.
      - A nested wait that would block the thread is refused (`holds_graph`): what it waits for may need the lock.
      - A wait is over once its `flight` is None, which is one store. If an interrupt prevents that it is removed from
        the dicts after it, it leads nowhere; if it prevents the store, it does no harm once its flight has settled.

Invariant 10, fork: the child has one thread, the one that forked. Its participant is stamped with the new epoch; all
others keep the old one, and a flight that one of them leads is dropped by the next lookup that finds it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Generator
from contextvars import ContextVar
from typing import Protocol, TypeAlias

from .._platform import fork
from .._platform.locks import Guarded, run_locked

__all__ = [
    "Awaited",
    "Participant",
    "Wait",
    "add_wait",
    "begin_wait",
    "current_fill",
    "current_participant",
    "end_wait",
    "holds_graph",
    "needs_thread",
]


class Node:
    """A node of the graph: a fill in a task, a thread, or the loop that a thread runs.

    `waits` and `awaited_by` are written under the lock of the graph. `ident` is the thread's; 0: it is a fill.
    """

    __slots__ = ("awaited_by", "ident", "waits")

    def __init__(self, ident: int = 0) -> None:
        self.ident = ident
        self.waits: dict[Wait, None] = {}
        self.awaited_by: dict[Wait, None] = {}


class Participant(Node):
    """One thread, for as long as it lives, or one fill in a task, whose loop is run by the thread `host`.

    A new thread is a new participant, even where it gets a dead one's number. The waits of `loop` are those of its
    thread that block it: not those for a loop that the thread itself runs.
    """

    __slots__ = ("epoch", "host", "loop")

    def __init__(self, host: Participant | None = None) -> None:
        super().__init__(threading.get_ident() if host is None else 0)
        self.epoch = fork.epoch
        self.host = host
        self.loop = Node(self.ident) if host is None else None

    @property
    def is_from_before_fork(self) -> bool:
        """Say whether this thread, or task, does not exist in this process, but in the one that was forked."""
        return self.epoch != fork.epoch

    def nodes(self) -> tuple[Node, ...]:
        """Return what must be free for this one to continue: itself, and the loop on which it is a task."""
        return (self,) if self.host is None or self.host.loop is None else (self, self.host.loop)


class Awaited(Protocol):
    """What a wait is for: a flight, or what stands for one. See `flight.Flight` for the methods."""

    is_abandonable: bool
    runs_a_loop: bool

    @property
    def leader(self) -> Participant: ...
    @property
    def is_running(self) -> bool: ...
    def add_waiter(self, wait: Wait) -> None: ...
    def remove_waiter(self, wait: Wait) -> bool: ...


class Wait:
    """One wait for `flight`: by a thread that it blocks, if any, and on behalf of a fill, if any."""

    __slots__ = ("flight", "holds_up")

    def __init__(self, flight: Awaited, thread: Participant | None, fill: Participant | None) -> None:
        self.flight: Awaited | None = flight  # None: it is over
        self.holds_up: tuple[Node, ...] = () if fill is None else (fill,)
        if thread is not None:
            self.holds_up += (thread,) if flight.runs_a_loop or thread.loop is None else (thread, thread.loop)


_graph = Guarded()  # its lock makes one step of adding an edge and walking
_local = threading.local()
current_fill: ContextVar[Participant | None] = ContextVar("areole.current_fill", default=None)
"""The fill in a task, if any, on whose behalf the running code works."""


def current_participant() -> Participant:
    """Return the calling thread's own `Participant`."""
    try:
        participant: Participant = _local.participant
    except AttributeError:
        participant = _local.participant = Participant()
    return participant


def holds_graph() -> bool:
    """Say whether this thread is inside an operation on the graph of waits: a finalizer or a signal handler asks.

    If it blocked, it would keep all others from waiting:

        1. A is about to wait, and has the lock        3. B's fill is about to wait for C's, and waits for the lock
        2. A's finalizer waits for what B fills        -- and A waits for B, which is not seen.
    """
    return _graph.is_held()


def begin_wait(wait: Wait, flight: Awaited) -> bool:
    """Add the edges of a wait for `flight`, and count it there; say whether it can end: not if it closes a cycle."""
    return run_locked(_graph.lock, _begin, wait, flight)


def add_wait(wait: Wait, flight: Awaited) -> None:
    """Do so for a flight that has only been made: it waits for nothing yet, so there is no cycle."""
    run_locked(_graph.lock, _add, wait, flight)


def end_wait(wait: Wait, flight: Awaited) -> bool:
    """Remove what was added, if it was and still is there; say whether the flight is to be abandoned."""
    return run_locked(_graph.lock, _end, wait, flight)


def _begin(wait: Wait, flight: Awaited) -> bool:
    _add(wait, flight)
    return not ([node for node in wait.holds_up if node.awaited_by] and closes_cycle(flight, wait))


def _add(wait: Wait, flight: Awaited) -> None:
    if flight.is_abandonable:
        flight.add_waiter(wait)
    if wait.holds_up:
        for node in wait.holds_up:
            node.waits[wait] = None
        for node in flight.leader.nodes():
            node.awaited_by[wait] = None


def _end(wait: Wait, flight: Awaited) -> bool:
    wait.flight = None
    if wait.holds_up:
        for node in wait.holds_up:
            node.waits.pop(wait, None)
        for node in flight.leader.nodes():
            node.awaited_by.pop(wait, None)
    return flight.is_abandonable and flight.remove_waiter(wait)


def closes_cycle(flight: Awaited, wait: Wait) -> bool:
    """Say whether the outcome of `flight` needs, in the end, something that `wait` holds up: others wait for that.

    A flight that has settled needs nothing any more, whatever its leader waits for by now:

        1. A, which fills x, finds that B fills y         3. B asks for x, and waits for A
        2. B settles y, before A has begun to wait        4. A begins to wait for y, which is there: there is no cycle.
    """
    held_up, needed = wait.holds_up, flight.leader.nodes()
    if not flight.is_running:
        return False
    return _first_to_end(
        _search(needed, held_up.__contains__, is_forward=True),
        _search(held_up, needed.__contains__, is_forward=False),
    )


Search: TypeAlias = Generator[int, None, bool]


def _first_to_end(*searches: Search) -> bool:
    """Run searches for the same thing, always the one that has cost the least, until one of them knows."""
    costs = dict.fromkeys(searches, 0)
    while True:
        search = min(costs, key=costs.__getitem__)
        try:
            costs[search] = next(search)
        except StopIteration as end:
            return bool(end.value)


def _search(start: Collection[Node], is_goal: Callable[[Node], bool], *, is_forward: bool) -> Search:
    """Walk the graph, forward to what is needed, or back to what is held up; return whether a goal was met.

    Before it walks on from a node, it yields what will have been spent by then.
    """
    to_visit, met, cost = list(start), set(start), 0
    for node in to_visit:
        if is_goal(node):
            return True
        edges = node.waits if is_forward else node.awaited_by
        cost += 1 + len(edges)
        yield cost
        for wait in list(edges):
            flight = wait.flight
            if flight is not None and flight.is_running:
                beyond = flight.leader.nodes() if is_forward else wait.holds_up
                new = [each for each in beyond if each not in met]
                met.update(new)
                to_visit += new
    return False


def needs_thread(flight: Awaited, is_it: Callable[[int], bool]) -> bool:
    """Say whether the outcome of `flight` needs, in the end, a thread to whose number `is_it` says yes."""

    def is_goal(node: Node) -> bool:
        return node.ident != 0 and is_it(node.ident)

    return flight.is_running and _first_to_end(_search(flight.leader.nodes(), is_goal, is_forward=True))


def _stamp_in_child() -> None:
    current_participant().epoch = fork.epoch


fork.after_fork_in_child("participants", _stamp_in_child)
