"""Is there an order of steps that explains what was recorded? Key by key, for each key's operations stand alone.

The search of Wing and Gong (Testing and Verifying Concurrent Objects, 1993), with the memo of Lowe and his just-in-time
linearisation (Testing for Linearizability, 2017): the events are gone through in order, with all configurations that
can explain them so far. A configuration is the key's state, and how many steps each open operation has taken. Steps are
taken only when one must have been taken by now, and then also those of others that make it possible. A configuration
met before is not looked at again. If none is left at an event, nothing explains the history.

What operations may do is the model's: by default that of one process, see `model`; that of several is in tests/shared.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from operator import attrgetter
from typing import Any, Final, TypeAlias

from .model import EVERY_KEY, Operation, Rules, State, Step, Wrong, apply, steps_of

__all__ = ["Model", "check", "check_key"]

UNBOUNDED: Final = Rules()


@dataclass(frozen=True)
class Model:
    """The state of a key before anything is done, the steps of an operation, and the states that a step leads to."""

    start: Any
    steps_of: Callable[[Operation, Any], list[Step]]
    apply: Callable[[Step, Any, bool, Any], Iterable[Any]]


ONE_PROCESS: Final = Model(State(), steps_of, apply)

_Taken: TypeAlias = tuple[tuple[int, int], ...]  # open operations, and how many steps each has taken
_Configuration: TypeAlias = tuple[Any, _Taken]


def check(operations: Iterable[Operation], rules: Rules = UNBOUNDED) -> list[str]:
    """Return what cannot be explained, a message for each key; none, if the history is linearizable."""
    operations = list(operations)
    keys = sorted({operation.key for operation in operations} - {EVERY_KEY})
    messages = (check_key([each for each in operations if each.key in (key, EVERY_KEY)], rules) for key in keys)
    return [message for message in messages if message]


def check_key(operations: list[Operation], rules: Any = UNBOUNDED, model: Model = ONE_PROCESS) -> str:
    """The same for the operations of one key; the message is empty if all is well."""
    search = _Search(rules, model)
    for operation in operations:
        try:
            search.add(model.steps_of(operation, rules))
        except Wrong as wrong:
            return _describe(operations, str(wrong))
    unexplained = search.run()
    return "" if unexplained is None else _describe(operations, f"nothing explains {unexplained}")


class _Search:
    def __init__(self, rules: Any, model: Model) -> None:
        self._rules = rules
        self._model = model
        self._steps: list[list[Step]] = []
        self._settles: dict[str, tuple[int, int]] = {}  # a fill's name: its operation, and which step settles it
        self._opened: dict[int, int] = {}  # of each open operation, how many steps may have been taken by now

    def add(self, steps: list[Step]) -> None:
        number = len(self._steps)
        self._steps.append(steps)
        for i, step in enumerate(steps):
            if step.does in ("publish", "fail"):
                self._settles[step.what] = number, i

    def run(self) -> Step | None:
        """Return the first step that cannot have been taken when it must have been; None, if all can."""
        configurations: set[_Configuration] = {(self._model.start, ())}
        for _, closes, number, i in self._events():
            if not closes:
                self._opened[number] = i + 1
                if i == 0:
                    configurations = {(state, _with(taken, number, 0)) for state, taken in configurations}
                continue
            configurations = self._take(configurations, number, i)
            if not configurations:
                return self._steps[number][i]
            if i + 1 == len(self._steps[number]):
                del self._opened[number]
                configurations = {(state, _without(taken, number)) for state, taken in configurations}
        return None

    def _events(self) -> list[tuple[int, bool, int, int]]:
        """Return when which step of which operation may be taken, and by when it must have been, in order."""
        return sorted(
            (at, closes, number, i)
            for number, steps in enumerate(self._steps)
            for i, step in enumerate(steps)
            for at, closes in ((step.opens, False), (step.closes, True))
        )

    def _take(self, configurations: set[_Configuration], number: int, i: int) -> set[_Configuration]:
        """Let any open operations take steps until this one has taken its step `i`, in all ways."""
        met, to_visit, reached = set(configurations), list(configurations), set()
        while to_visit:
            configuration = to_visit.pop()
            if dict(configuration[1])[number] > i:
                reached.add(configuration)
                continue
            for following in self._next(configuration):
                if following not in met:
                    met.add(following)
                    to_visit.append(following)
        return reached

    def _next(self, configuration: _Configuration) -> Iterator[_Configuration]:
        state, taken = configuration
        for number, done in taken:
            if done < self._opened[number]:
                step = self._steps[number][done]
                for after in self._model.apply(step, state, self._is_settled(step, taken), self._rules):
                    yield after, _with(taken, number, done + 1)

    def _is_settled(self, step: Step, taken: _Taken) -> bool:
        if step.does != "leave" or step.what not in self._settles:
            return True
        number, settling = self._settles[step.what]
        return dict(taken).get(number, settling + 1) > settling


def _with(taken: _Taken, number: int, done: int) -> _Taken:
    return tuple(sorted({**dict(taken), number: done}.items()))


def _without(taken: _Taken, number: int) -> _Taken:
    return tuple(each for each in taken if each[0] != number)


def _describe(operations: list[Operation], what: str) -> str:
    lines = [_line(operation) for operation in sorted(operations, key=attrgetter("began"))]
    return "\n".join([what, *lines])


def _line(operation: Operation) -> str:
    fill, given = operation.fill, "" if operation.given is None else f", {operation.given!r}"
    filled = "" if fill is None else f", whose fill {fill.name!r} ran {fill.began} to {fill.ended}"
    called = f"{operation.kind}({operation.key!r}{given}) -> {operation.result!r}"
    return f"  {operation.began:3} to {operation.ended:3}  thread {operation.thread}  {called}{filled}"
