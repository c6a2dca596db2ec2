"""Schedules: operations of shared caches, step by step, in all interleavings.

An operation is a generator that yields what it needs: here the steps themselves, which are done when the schedule says
so, each as one. Two caches over one MemoryBackend stand for two processes; the flights of each are the real ones.

    for run in explore(World(), "live", [[("set", 0)], [("clear", 1), ("get", 0)]]):
        assert run.explain() == ""

Each list is a thread, which does its operations one after the other; the number is the process. At the end each process
looks. A run is given by its choices: the number of the thread that goes on, at each step. In a fine one other threads
may also go on between a step and what is done with its result.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from functools import partial
from types import GeneratorType
from typing import Any, Final, TypeAlias

from areole import CACHE_MISS
from areole._core.flight import Flight

from ..interleave.histories.model import ABSENT, FillRun, Operation, Raised
from .model import LOST, START, TAGGED_START, explain
from .stepped import Call, Pause, World

__all__ = ["Fault", "Program", "Run", "explore", "sample"]

Program: TypeAlias = Sequence[Sequence[tuple[str, int]]]
"""For each thread, its operations: what, and in which process. The fill of "ask fails" fails."""


MOST_STEPS: Final = 300


class Failed(Exception):
    """What a fill raises, with the name of the fill."""


class Fault:
    """What befalls one operation at its n-th step, before or after that step is done."""

    def __init__(self, thread: int, at: int, error: type[BaseException], is_after: bool = False) -> None:
        self.thread = thread
        self.at = at
        self.error = error
        self.is_after = is_after

    def __repr__(self) -> str:
        return f"{self.error.__name__} {'after' if self.is_after else 'before'} step {self.at} of thread {self.thread}"


class Run:
    """One run of a program, one step at a time."""

    def __init__(
        self, world: World, start: str, program: Program, fault: Fault | None = None, is_fine: bool = False
    ) -> None:
        self.world = world
        self.start = start
        self.program = program
        self.fault = fault
        self.is_fine = is_fine
        self.now = 0
        self.history: list[Operation] = []
        self.fills: list[tuple[int, Operation]] = []
        self.choices: list[int] = []
        self.log: list[str] = []
        self.numbers = [0] * len(program)
        self._stacks: list[list[Any]] = [[] for _ in program]
        self._asked: list[Any] = [None] * len(program)
        self._results: list[Any] = [None] * len(program)
        self._operations: list[Any] = [None] * len(program)
        self._slept: list[int] = [-1] * len(program)
        self.steps = [0] * len(program)
        self._struck: Operation | None = None  # what the fault has hit
        self._number_of_struck = 0
        world.begin(start)
        if start in ("live", "tagged"):
            value = START if start == "live" else TAGGED_START
            self.history.append(Operation(-1, "set", "key", value, self.tick(), self.tick(), True))

    def tick(self) -> int:
        self.now += 1
        return self.now

    def able(self) -> list[int]:
        """Return the threads that can go on. One that sleeps lets others go on first."""
        waiting = [i for i in range(len(self.program)) if self._is_waiting(i)]
        there = [i for i in range(len(self.program)) if self.numbers[i] < len(self.program[i]) and i not in waiting]
        awake = [i for i in there if self._slept[i] != len(self.choices)]
        return awake or there

    def _is_waiting(self, thread: int) -> bool:
        asked = self._asked[thread]
        return isinstance(asked, Flight) and not asked.is_orphaned

    def go_on(self, thread: int) -> None:
        """Let a thread take its next step. If it is fine, what comes of the step is looked at in another one."""
        assert len(self.choices) < MOST_STEPS, f"the threads turn in circles: {self.log[-10:]}"
        self.choices.append(thread)
        if self._results[thread] is not None:
            value, error = self._results[thread]
            self._results[thread] = None
            return self._resume(thread, value, error)
        if not self._stacks[thread]:
            self._begin(thread)
            if self._operations[thread] is None or self.is_fine:
                return None
        asked, value, error = self._asked[thread], None, None
        self._asked[thread] = None
        fault = self.fault if self.fault is not None and self.fault.thread == thread else None
        is_hit = fault is not None and fault.at == self.steps[thread]
        self.steps[thread] += 1
        if not is_hit or (fault is not None and fault.is_after):
            try:
                value = self._do(thread, asked)
            except Exception as raised:
                error = raised
        if is_hit and fault is not None:
            self._struck, self._number_of_struck = self._operations[thread], self.numbers[thread]
            if fault.error is GeneratorExit:
                return self._close(thread)
            error = fault.error("injected")
        if self.is_fine:
            self._results[thread] = value, error
        else:
            self._resume(thread, value, error)
        return None

    def _begin(self, thread: int) -> None:
        kind, process = self.program[thread][self.numbers[thread]]
        kind, _, fails = kind.partition(" ")
        is_given = kind.removeprefix("tagged_") in ("set", "add") or fails
        given = f"{kind} of {thread}.{self.numbers[thread]}" if is_given else None
        operation = Operation(thread, kind, "key", given, self.tick())
        self.history.append(operation)
        self._operations[thread] = operation
        self._stacks[thread].append(self.world.steps(kind, process, given, partial(self._fill, operation, process)))
        self._resume(thread, None, None)

    def _fill(self, operation: Operation, process: int, key: str) -> Iterator[Any]:
        """Be a fill that takes a while. One that is to fail is given something."""
        assert operation.fill is None, "one call has filled twice"
        name = f"fill of {operation.thread}.{self.numbers[operation.thread]}"
        if operation.kind.startswith("tagged"):
            name = f"tagged {name}"
        operation.fill = fill = FillRun(name, operation.given is not None, self.tick())
        self.fills.append((process, operation))
        yield Pause()
        fill.ended = self.tick()
        if fill.fails:
            raise Failed(name)
        return name

    def _do(self, thread: int, asked: Any) -> Any:
        if isinstance(asked, Call):
            self.log.append(f"{thread}: {asked.method}")
            return asked.do()
        self.log.append(f"{thread}: {type(asked).__name__}")
        if isinstance(asked, Pause):
            self.world.clock.advance(asked.seconds)
        return None

    def _resume(self, thread: int, value: Any, error: BaseException | None) -> None:
        """Send the result of a step into the operation, up to the next step."""
        stack = self._stacks[thread]
        while stack:
            try:
                asked = stack[-1].send(value) if error is None else stack[-1].throw(error)
            except StopIteration as end:
                stack.pop()
                value, error = end.value, None
            except BaseException as raised:
                stack.pop()
                value, error = None, raised.with_traceback(None)
            else:
                if isinstance(asked, GeneratorType):
                    stack.append(asked)
                    value, error = None, None
                    continue
                self._asked[thread] = asked
                self._slept[thread] = len(self.choices) if isinstance(asked, Pause) and asked.seconds else -1
                return
        self._finish(thread, value, error)

    def _finish(self, thread: int, value: Any, error: BaseException | None) -> None:
        operation = self._operations[thread]
        operation.ended = self.tick()
        operation.result = _result(operation.kind, value) if error is None else self._result_of_error(error)
        if operation is self._struck:
            _forgive(operation)
        self._operations[thread] = None
        self.numbers[thread] += 1

    def _result_of_error(self, error: BaseException) -> Any:
        if isinstance(error, Failed):
            return Raised(str(error))
        if self.fault is None or not isinstance(error, self.fault.error):
            raise error
        return LOST

    def _close(self, thread: int) -> None:
        while self._stacks[thread]:
            self._stacks[thread].pop().close()
        self._finish(thread, None, GeneratorExit())

    def explain(self) -> str:
        """Have each process look, and check what is left; say what is wrong, and how to do the same run again."""
        try:
            wrong = explain(self._complete())
        except AssertionError as error:
            wrong = f"{error}\n" + "\n".join(map(repr, self.history))
        if not wrong:
            return ""
        how = f"start {self.start!r}, program {self.program}, fault {self.fault}, fine {self.is_fine}, choices"
        return "\n".join([f"{how} {self.choices}", *self.log, wrong])

    def _complete(self) -> list[Operation]:
        for process, cache in enumerate(self.world.caches):
            found = cache.get(self.world.key, ABSENT)
            self.history.append(Operation(-2 - process, "get", "key", None, self.tick(), self.tick(), found))
        self._add_late_delete()
        self._check_fills()
        self.world.end(may_leave_token=self.fault is not None or self.start == "token")
        return self.history

    def _add_late_delete(self) -> None:
        """Let the outbox remove what a change that was struck may have left, at any moment until now."""
        kind = "" if self._struck is None else self.program[self._struck.thread][self._number_of_struck][0]
        kind = kind.removeprefix("tagged_")
        if self._struck is not None and kind in ("set", "delete", "expire_now", "refresh", "clear", "reclaim", "untag"):
            late = {"clear": "late clear", "reclaim": "late clear", "untag": "late untag"}.get(kind, "late delete")
            self.history.append(Operation(-9, late, "key", None, self._struck.began, self.tick()))

    def _check_fills(self) -> None:
        """No two fills at once in one process, unless it has changed the key since one of them was asked for."""
        for i, (process, one) in enumerate(self.fills):
            for other_process, other in self.fills[i + 1 :]:
                first, second = one.fill, other.fill
                assert first is not None and second is not None
                if process == other_process and second.began < (first.ended or one.ended):
                    assert any(
                        self._changes(each, process, min(one.began, other.began), second.began) for each in self.history
                    ), "two fills at once in one process"

    def _changes(self, each: Operation, process: int, after: int, before: int) -> bool:
        kinds = ("set", "add", "delete", "expire_now", "clear", "reclaim")
        if (
            each.thread < 0
            or each.kind.removeprefix("tagged_") not in kinds
            or each.began > before
            or (each.ended or before) < after
        ):
            return False
        return any(kind == each.kind and where == process for kind, where in self.program[each.thread])


def _forgive(operation: Operation) -> None:
    """Take what was said in the place of an error for nothing; and a fill, where the look failed, for a refresh."""
    if operation.fill is not None:
        operation.kind = "tagged_refresh" if operation.kind.startswith("tagged") else "refresh"
    elif operation.result in (ABSENT, False, None):
        operation.result = LOST


def _result(kind: str, value: Any) -> Any:
    if kind == "get_many":
        return next(iter(value.values()), ABSENT)
    if kind == "ttl_of":
        return ABSENT if value is CACHE_MISS else float(round(value, -2))
    return value


def explore(
    world: World,
    start: str,
    program: Program,
    fault: Fault | None = None,
    preemptions: int | None = None,
    is_fine: bool = False,
) -> Iterator[Run]:
    """Yield a run for each interleaving; with `preemptions`, for those that stop a running thread so often at most."""
    prefix: list[int] = []
    while True:
        run = Run(world, start, program, fault, is_fine)
        options: list[list[int]] = []
        left, last = preemptions, -1
        while able := run.able():
            if last in able:
                able.remove(last)
                able.insert(0, last)
                if left == 0:
                    able = able[:1]
            step = len(options)
            options.append(able)
            chosen = prefix[step] if step < len(prefix) else able[0]
            if left is not None and last in able and chosen != last:
                left -= 1
            run.go_on(chosen)
            last = chosen
        assert all(number == len(each) for number, each in zip(run.numbers, program, strict=True)), "nobody can go on"
        yield run
        prefix = _following(run.choices, options)
        if not prefix:
            return


def _following(choices: list[int], options: list[list[int]]) -> list[int]:
    for step in reversed(range(len(choices))):
        at = options[step].index(choices[step])
        if at + 1 < len(options[step]):
            return [*choices[:step], options[step][at + 1]]
    return []


def sample(
    world: World, start: str, program: Program, runs: int, seed: int, fault: Fault | None = None, is_fine: bool = False
) -> Iterator[Run]:
    """Yield so many random interleavings."""
    choices = random.Random(f"{seed} {start} {program}")
    for _ in range(runs):
        run = Run(world, start, program, fault, is_fine)
        while able := run.able():
            run.go_on(choices.choice(able))
        assert all(number == len(each) for number, each in zip(run.numbers, program, strict=True)), "nobody can go on"
        yield run
