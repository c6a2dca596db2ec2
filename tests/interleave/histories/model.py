"""The model: what each operation may do to one key, and when.

A key's state is its value, or none, and the fill that is attached to it, or none; values and fills are unique, and a
fill goes by the name of the value that it gives. An operation is a list of steps, in order; each takes effect at one
moment, between two events that were recorded: the operation's call and return, the fill's begin and end. By design.md:

    operation              its steps                       between
    get, a value           see(v), or take(v), leave(v)    call, return
    get, nothing           see(nothing)                    call, return
    cache[key], who fills  claim(f)                        call, the fill's begin
                           publish(f), land(f); or fail(f) the fill's end, return
    cache[key], others     take(v), leave(v)               call, return
    refresh, who fills     claim_over(f), then the same    as above
    refresh, others        join(v), leave(v)               call, return
    set, add, invalidate,
    delete, pop, clear     one step                        call, return

    see(v)         needs the value v
    take(v)        needs the value v, or the fill v attached: it is joined
    join(v)        needs the fill v attached
    leave(v)       needs that fill to have been published, or failed
    claim(f)       needs neither value nor fill; attaches f
    claim_over(f)  needs no fill; attaches f and leaves the value
    publish(f)     if f is still attached: it is the value. Else nothing: it is stored nowhere
    land(f)        if f is still attached, it is no longer
    fail(f)        if f is still attached, it is no longer. Waiters have taken it, and get its exception
    set, add, invalidate, delete, pop, clear   what they say; all that change anything detach the fill

From these follow: one fill at a time that is attached (invariant 2); a lookup that begins after `invalidate` has
returned never gives what a fill gives that began before it, and that is not stored (invariant 3), for the fill's claim
came before and the removal has detached it; those that had joined may get it all the same; of several `add` one stores,
of several `pop` one gets the value.

Four places are weaker than a register, and no weaker than the library:

    A get of an unbounded cache may be the one that takes: it finds the entry while the fill is attached, and reads its
    value after an invalidate and the publication: it had begun before the invalidate returned. A bounded index looks
    whether the entry is in before it publishes, so there a get sees.

    A refresh joins a fill that is attached, and one is until it has landed: so it may get, for a moment, a value that
    others have read already.

    A clear invalidates each key that it finds; in an AtomicDictIndex it may find one twice while two threads race to
    insert it, for the loser's cell is there too for a moment, and then the key is removed twice.

    A store with a limit may evict a value at any moment. So where a step needs that there is no value, it may evict it
    first. It is enough to do so at the last moment, since in between nobody looked. Evicted values never come back;
    a refresh that has yet to replace one stays attached.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

__all__ = [
    "ABSENT",
    "EVERY_KEY",
    "FillRun",
    "Operation",
    "Raised",
    "Rules",
    "State",
    "Step",
    "Wrong",
    "apply",
    "steps_of",
]

ABSENT: Final = "absent"
EVERY_KEY: Final = "every key"


class Wrong(Exception):
    """Raised for an operation that no model could explain."""


@dataclass(frozen=True)
class Raised:
    """The result of an operation whose fill, or the one that it waited for, failed; the name of that fill."""

    name: str


@dataclass
class FillRun:
    """One run of a fill: when it began and ended, and the name of what it gave or raised."""

    name: str
    fails: bool
    began: int
    ended: int = 0


@dataclass
class Operation:
    """What was called, when by the history's count of events, and what came of it."""

    thread: int
    kind: str
    key: str
    given: Any = None
    began: int = 0
    ended: int = 0
    result: Any = None
    fill: FillRun | None = None


class Step(NamedTuple):
    """One effect of an operation, at a moment between two events."""

    does: str
    what: Any
    opens: int
    closes: int


class Rules(NamedTuple):
    """In what kinds of caches differ: whether a value may be evicted at any moment, whether a get may be the one that
    takes, and how often a clear may remove one key."""

    may_evict: bool = False
    gets_join: bool = False
    clears: int = 1


class State(NamedTuple):
    value: str | None = None
    fill: str | None = None


_NOTHING = State()


def steps_of(operation: Operation, rules: Rules) -> list[Step]:
    """Return the steps by which the operation can have given what it gave; raise Wrong if there are none."""
    kind, result, fill = operation.kind, operation.result, operation.fill
    call, end = operation.began, operation.ended
    if kind in ("ask", "refresh"):
        return _steps_of_fill(operation, fill) if fill is not None else _steps_of_waiter(operation)
    if fill is not None:
        raise Wrong(f"{kind} ran a fill")
    if kind == "get":
        if result == ABSENT or not rules.gets_join:
            return [Step("see", None if result == ABSENT else result, call, end)]
        return [Step("take", result, call, end), Step("leave", result, call, end)]
    if kind in ("set", "add"):
        if not isinstance(result, bool) or (kind == "set" and not result):
            raise Wrong(f"{kind} gave {result!r}")
        return [Step(kind if result else "add_not", operation.given, call, end)]
    if kind in ("invalidate", "delete") and not isinstance(result, bool):
        raise Wrong(f"{kind} gave {result!r}")
    if kind == "clear":
        return [Step(each, None, call, end) for each in ("clear", *["clear_again"] * (rules.clears - 1))]
    if kind in ("invalidate", "delete", "pop"):
        return [Step(kind, result, call, end)]
    raise Wrong(f"there is no operation {kind!r}")


def _steps_of_fill(operation: Operation, fill: FillRun) -> list[Step]:
    expected = Raised(fill.name) if fill.fails else fill.name
    if operation.result != expected:
        raise Wrong(f"{operation.kind} ran the fill of {expected!r} and gave {operation.result!r}")
    claim = Step("claim" if operation.kind == "ask" else "claim_over", fill.name, operation.began, fill.began)
    ends = ["fail"] if fill.fails else ["publish", "land"]
    return [claim, *[Step(each, fill.name, fill.ended, operation.ended) for each in ends]]


def _steps_of_waiter(operation: Operation) -> list[Step]:
    result = operation.result
    if operation.kind == "refresh" and not isinstance(result, Raised):
        does, name = "join", result  # of a refresh a value that was there already is no answer
    elif isinstance(result, Raised):
        does, name = "join", result.name
    else:
        does, name = "take", result
    return [Step(each, name, operation.began, operation.ended) for each in (does, "leave")]


def apply(step: Step, state: State, is_settled: bool, rules: Rules) -> Iterator[State]:
    """Yield the states that `step` can lead to from `state`: none, if it cannot be taken there.

    `is_settled`: the fill that the step names has been published or has failed.
    """
    if _may_happen(step, state, is_settled):
        yield _after(step, state)
    if step.does == "clear_again" and state != _NOTHING:
        yield _NOTHING
    if rules.may_evict and state.value is not None:
        without = State(None, None if state.fill == state.value else state.fill)
        if _may_happen(step, without, is_settled):
            yield _after(step, without)


def _may_happen(step: Step, state: State, is_settled: bool) -> bool:
    does, what = step.does, step.what
    match does:
        case "see":
            return bool(state.value == what)
        case "take":
            return what in (state.value, state.fill)
        case "join":
            return bool(state.fill == what)
        case "leave":
            return is_settled
        case "claim":
            return state == _NOTHING
        case "claim_over":
            return state.fill is None
        case "add":
            return state.value is None
        case "add_not":
            return state.value is not None
        case "invalidate":
            return bool(what) is (state != _NOTHING)
        case "delete":
            return bool(what) is (state.value is not None)
        case "pop":
            return bool(state.value == (None if what == ABSENT else what))
    return does in ("publish", "land", "fail", "set", "clear", "clear_again")


def _after(step: Step, state: State) -> State:
    does, what = step.does, step.what
    match does:
        case "claim" | "claim_over":
            return state._replace(fill=what)
        case "publish":
            return state._replace(value=what) if state.fill == what else state
        case "fail" | "land":
            return state._replace(fill=None) if state.fill == what else state
        case "set" | "add":
            return State(what)
        case "invalidate" | "delete" | "pop" | "clear":
            return _NOTHING
    return state
