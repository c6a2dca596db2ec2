"""Keys, values and listeners that call the cache from `__eq__`, `__hash__` and `__del__`, wherever those happen to run.

Proves: our locks are re-entrant, and hold nothing up that a finalizer or a method of a key may need: nobody is blocked,
nothing is corrupted, and each key has its own value (invariants 1, 2 and 9). With plain keys, no user code runs under a
lock (invariant 6).

Hunts:
    1. A removes an entry, holding the lock        3. `__del__` calls the cache, which takes the lock:
    2. its value is freed, under the lock             A waits for itself
and:
    1. A finds its entry, and pops the key, which compares keys
    2. `__eq__` removes that entry, and fills the key again        3. the pop takes the new entry out.

Allowed: a value of the key; or RecursiveFillError or FillDeadlockError, where a method of a key waits for the thread
that it runs in. How often a key is filled is not judged: its own methods remove it at any time. All act in half of the
rounds, and when idle none does.
"""

from __future__ import annotations

import traceback
from functools import partial
from typing import Any, ClassVar

from areole import FillDeadlockError, RecursiveFillError

from ..scenario import Scenario
from ..subject import INDEXES, POLICIES, Subject
from ..worker import Worker, current_worker

__all__ = ["Reentrant"]

ANSWERS = (RecursiveFillError, FillDeadlockError)


class Acting:
    """What calls the cache when one of its methods runs, in the thread that it runs in."""

    __slots__ = ("name", "scenario")

    def __init__(self, name: str, scenario: Reentrant) -> None:
        self.name = name
        self.scenario = scenario


class Key(Acting):
    """A key whose methods act. It is never the object that the cache holds, so that every lookup compares.

    No two collide: where a dict compares keys that are not equal, and `__eq__` puts an equal one in meanwhile, it may
    end up with both: CPython's dict does not look again.
    """

    __slots__ = ()

    def __hash__(self) -> int:
        self.scenario.act()
        return hash(self.name)

    def __eq__(self, other: object) -> bool:
        self.scenario.act()
        return isinstance(other, Key) and self.name == other.name

    def __del__(self) -> None:
        self.scenario.act()


class Value(Acting):
    """A value that acts as it dies."""

    __slots__ = ()

    def __del__(self) -> None:
        self.scenario.act()


class Reentrant(Scenario):
    only_ours = "it knows areole's errors; python -m stress.contenders has rows for it: reentrant_keys, finalizer"
    variants = (*INDEXES, *POLICIES)
    names: ClassVar[tuple[str, ...]] = ("a", "b", "c", "d")
    operations = 15

    def make_subject(self, maker: Any, **options: Any) -> Subject:
        limit = {"max_items": 2} if self.variant in POLICIES else {}
        return super().make_subject(maker, on_removal=self.notice, **limit, **options)

    def may_be_under_a_lock(self) -> bool:
        return not self.is_calm

    def fill(self, key: Key) -> Value:
        worker = self.worker()
        worker.fills_run += 1
        worker.pause(self.pauses)
        self.act()
        return Value(key.name, self)

    def notice(self, key: Key, value: Value, cause: Any) -> None:
        if type(value) is not Value or key.name != value.name:
            self.oracle.findings.add("wrong", f"the listener was notified that {key.name!r} had {value!r}")
        self.act()

    def step(self, worker: Worker) -> None:
        self.do_something(worker, worker.choices)

    def act(self) -> None:
        """Do the same, now and then, if this is a worker's thread, in its round, and not too deep in others already."""
        worker = current_worker()
        if worker is None or worker.resting or worker.depth > 2 or self.is_calm:
            return
        if worker.noise.random() < 0.06:
            self.do_something(worker, worker.noise)

    def do_something(self, worker: Worker, choices: Any) -> None:
        """Call the cache, and keep everything that it raises from the method that this runs in."""
        name, drawn = choices.choice(self.names), choices.random()
        worker.depth += 1
        try:
            self.call(worker, name, drawn)
        except ANSWERS:
            if self.is_calm:
                self.oracle.findings.add("wrong", f"with plain keys:\n{traceback.format_exc(limit=-3)}")
        except Exception:
            self.oracle.findings.add("wrong", traceback.format_exc(limit=-6))
        finally:
            worker.depth -= 1
            worker.operations += 1

    def call(self, worker: Worker, name: str, drawn: float) -> None:
        subject = self.subject
        operations = (
            (0.5, partial(self.expect, name, subject.read)),
            (0.6, partial(self.expect, name, subject.peek, may_miss=True)),
            (0.75, partial(self.expect, name, subject.refresh)),
            (0.97, subject.invalidate),
        )
        for chance, operation in operations:
            if drawn < chance:
                operation(Key(name, self))
                return
        subject.clear()

    def expect(self, name: str, lookup: Any, key: Key, may_miss: bool = False) -> None:
        value = lookup(key)
        if value is None and may_miss:
            return
        if type(value) is not Value or value.name != name:
            self.oracle.findings.add("wrong", f"{name!r} gave {getattr(value, 'name', value)!r}")

    def check_round(self, workers: list[Worker]) -> None:
        self.subject.check()
