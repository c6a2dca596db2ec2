"""Schedule: one run of a few threads, of which one at a time goes on, and who that is a strategy decides.

A decision is made before the first step, before each step that the tracing shows, before each acquisition of a lock and
after it was released, wherever a test calls `point()`, where a thread would block, and where one ends. Decisions are
numbered in the order in which they are made. Without a strategy's word the running thread goes on, or, where it cannot,
the first one that can. So a run is given by where it departed from that: a list of (decision, thread); the same list
gives the same run on every machine with the same interpreter and library.

    Fixed(choices)                 these departures, and no others; notes which others there could have been
    Pct(seed, threads, steps, d)   random priorities, which change at d - 1 random decisions

PCT (Burckhardt, Kothari, Musuvathi, Nagarakatte: A Randomized Scheduler with Probabilistic Guarantees of Finding Bugs,
ASPLOS 2010): the thread of the highest priority goes on; at each change point the running one falls below all others.
A fault that d ordered steps make (depth d) shows in a run of n threads and k steps with a chance of at least
1/(n * k^(d-1)): for n = 3 and k = 1,000 that is 1/3 for what needs an order alone, 1/3,000 for one preemption.

If nobody can go on, the one that blocks last gets a Deadlock, which fails the run. Nothing here looks at the time, but
for PATIENCE. What this cannot show: memory that one core sees later than another. The atomic steps that areole relies
on are listed in its modules.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Final, Protocol, TypeAlias

from .locks import Held, current_run, observing, set_current_run
from .tracing import place, stepping

__all__ = ["PATIENCE", "Choice", "Deadlock", "Fixed", "Pct", "Schedule", "Strategy", "point"]

PATIENCE: Final = 60.0
"""Seconds after which a thread counts as stuck."""

MOST_DECISIONS: Final = 200_000
"""A run with more is one that turns in circles."""

Choice: TypeAlias = tuple[int, int]
"""A decision's number, and the thread that went on in the place of the one expected."""


class Deadlock(AssertionError):
    """Raised in a thread that would block for ever: all others are blocked too, or have ended."""


class Strategy(Protocol):
    """Decides which thread runs next. `expected`, if nothing is decided; `is_free`: it was not running just now."""

    def choose(self, decision: int, able: list[int], expected: int, is_free: bool) -> int: ...


class Fixed:
    """Takes the choices given, and notes all that could have been taken after the last of them."""

    def __init__(self, choices: Sequence[Choice] = ()) -> None:
        self._choices = dict(choices)
        self._last = choices[-1][0] if choices else -1
        self.others: list[tuple[Choice, bool]] = []
        self.misfits: list[Choice] = []  # that could not be taken: another library, or another interpreter

    def choose(self, decision: int, able: list[int], expected: int, is_free: bool) -> int:
        chosen = self._choices.get(decision, expected)
        if decision > self._last:
            self.others += [((decision, other), is_free) for other in able if other != expected]
        if chosen not in able:
            self.misfits.append((decision, chosen))
            return expected
        return chosen


class Pct:
    """See the module."""

    def __init__(self, seed: str, threads: int, steps: int, depth: int) -> None:
        choices = random.Random(seed)
        order = list(range(threads))
        choices.shuffle(order)
        self._priorities = {thread: depth + i for i, thread in enumerate(order)}
        changes = [choices.randrange(1, max(steps, 2)) for _ in range(depth - 1)]
        self._changes = {decision: i for i, decision in enumerate(changes)}

    def choose(self, decision: int, able: list[int], expected: int, is_free: bool) -> int:
        if decision in self._changes:
            self._priorities[expected] = self._changes[decision]
        return max(able, key=self._priorities.__getitem__)


def point() -> None:
    """Let the scheduler switch threads here; nothing, where there is none."""
    run = current_run()
    if run is not None:
        run.point()


def _point_of_all() -> bool:
    point()
    return False


class _Run:
    """A schedule as one of its threads sees it."""

    def __init__(self, schedule: Schedule, me: int) -> None:
        self._schedule = schedule
        self._me = me

    def point(self) -> None:
        self._schedule.point(self._me)

    def block(self, lock: Any, may_give_up: bool) -> bool:
        return self._schedule.block(self._me, lock, may_give_up)

    def unblock(self, lock: Any) -> None:
        self._schedule.unblock(lock)


class Schedule:
    """One run. Only the thread whose turn it is touches this object."""

    def __init__(self, strategy: Strategy, invariant: Callable[[], None] | None = None) -> None:
        self.strategy = strategy
        self.decisions = 0
        self.taken: list[Choice] = []
        self.places: list[str] = []  # where the running thread was stopped for another one, for messages
        self.broken: BaseException | None = None  # what the invariant raised first
        self._invariant = invariant
        self._blocked: list[Any] = []  # for each thread, the lock that it needs, or None
        self._ended: list[bool] = []
        self._turns: list[threading.Lock] = []  # each held but for the moment in which its thread gets its turn

    def run(self, *functions: Callable[[], Any]) -> list[Any]:
        """Run each function in a thread of its own; return what they returned or raised."""
        count = len(functions)
        self._blocked, self._ended = [None] * count, [False] * count
        self._turns = [threading.Lock() for _ in functions]
        for turn in self._turns:
            turn.acquire()
        results: list[Any] = [None] * count
        threads = [
            threading.Thread(target=self._work, args=(me, functions[me], results), daemon=True, name=f"thread-{me}")
            for me in range(count)
        ]
        for thread in threads:
            thread.start()
        self._turns[self._decide(None)].release()
        for thread in threads:
            thread.join(PATIENCE)
            assert not thread.is_alive(), f"{thread.name} is stuck after the choices {self.taken}"
        return results

    def _work(self, me: int, function: Callable[[], Any], results: list[Any]) -> None:
        self._await_turn(me)
        set_current_run(_Run(self, me))
        try:
            with stepping(_point_of_all):
                results[me] = function()
        except BaseException as error:
            results[me] = error.with_traceback(None)
        finally:
            set_current_run(None)
            self._end(me)

    def _end(self, me: int) -> None:
        self._ended[me] = True
        if all(self._ended):
            return
        if not self._able():  # one of the blocked gets its turn, to find that out
            self._blocked[self._ended.index(False)] = None
        self._turns[self._decide(None)].release()

    def _await_turn(self, me: int) -> None:
        assert self._turns[me].acquire(timeout=PATIENCE), f"thread-{me} never had its turn, after {self.taken}"

    def _able(self) -> list[int]:
        return [i for i, ended in enumerate(self._ended) if not ended and self._blocked[i] is None]

    def _decide(self, running: int | None) -> int:
        able = self._able()
        expected = able[0] if running is None else running
        chosen = self.strategy.choose(self.decisions, able, expected, is_free=running is None)
        if chosen != expected:
            self.taken.append((self.decisions, chosen))
        self.decisions += 1
        assert self.decisions < MOST_DECISIONS, "the threads turn in circles"
        return chosen

    def point(self, me: int) -> None:
        self._check_invariant()
        chosen = self._decide(me)
        if chosen != me:
            self.places.append(f"thread-{me} before {place()}")
            self._switch(me, chosen)

    def _switch(self, me: int, to: int) -> None:
        self._turns[to].release()
        self._await_turn(me)

    def block(self, me: int, lock: Any, may_give_up: bool) -> bool:
        """Let others run until `lock` may be free; False: it never will be, and `me` may give up."""
        self._blocked[me] = lock
        if not self._able():
            self._blocked[me] = None
            if may_give_up:
                return False
            raise Deadlock(f"thread-{me} waits at {place()} for what no thread will release")
        self._switch(me, self._decide(None))
        return True

    def unblock(self, lock: Any) -> None:
        self._blocked = [None if needed is lock else needed for needed in self._blocked]

    def _check_invariant(self) -> None:
        if self._invariant is None or self.broken is not None:
            return
        try:
            with observing(), suppress(Held):
                self._invariant()
        except Exception as error:
            error.add_note(f"before {place()}")
            self.broken = error
