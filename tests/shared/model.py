"""The model of a shared cache: what each operation may do to one key, in all processes, and when.

A key's state is its value, or none, with its ttl, and the fills that are attached: those whose token stands, in any
process. Values are unique, and a fill goes by the name of the value that it gives. An operation is a list of steps;
each takes effect at one moment, between two events that were recorded. See `tests.interleave.histories.model`, which is
that of one process.

    operation               its steps                         between
    get, get_many, in       see(v)                            call, return
    ttl_of                  see_ttl(seconds)                  call, return
    set, add, delete,
    expire_in, clear,
    invalidate_tags         one step                          call, return
    get_or_fill, who fills  claim(f)                          call, the fill's begin
                            publish(f), or fail(f)            the fill's end, return
    refresh, who fills      claim_over(f), then the same      as above
    get_or_fill, others     take(v), leave(v)                 call, return
    refresh, others         join(v), leave(v)                 call, return

    claim(f)      needs that there is no value; attaches f
    claim_over(f) attaches f
    publish(f)    if f is attached: it is the value, and no fill is attached any more; or it is not stored, for what
                  another fill of the same token has left may be in the way
    take(v)       needs the value v, or the fill v attached
    join(v)       needs the fill v attached
    set, add, delete, clear, and an expire_in of 0 seconds, detach all fills
    invalidate_tags removes a value, and detaches fills, whose names begin with "tagged"

So no value of a fill that began before a change is stored after it, nor given to a caller that began after it.

Weaker than a register is what goes on beside a clear, which others see in one step, and other calls in two:

    A set that overlaps a clear may be stored under the version from before it. Then it removes what was stored under
    the new one, and is itself not seen.

    So may a fill that overlaps a clear be stored, and is not seen. A delete that began before the clear may then say
    that there was a value: as if the fill had ended at the last moment before the clear.

    A clear that reclaims memory removes twice: all at once, by the version, and then key by key.

Of tagged values and fills that overlap an invalidate_tags the same is said. A lookup, or a delete, that overlaps it may
find nothing: it looks at a value and at its tags in two steps, between which others may replace the value.

A call that ended with an error may have done what it was to do, or not. If it was a change, the key, or all keys, may
be removed at any later moment: "late delete" and "late clear" are operations of the outbox.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from ..interleave.histories.checker import Model, check_key
from ..interleave.histories.model import ABSENT, FillRun, Operation, Raised, Step, Wrong

__all__ = ["LOST", "START", "TAGGED_START", "TTLS", "explain"]

LOST: Final = "an error of the store, or an interrupt"
"""The result of a call of which nobody knows what it has done."""

START, TAGGED_START = "start", "tagged start"
TTLS: Final = {START: 100.0, TAGGED_START: 100.0, "set": 200.0, "add": 300.0, "fill": 400.0, "expire": 500.0}
"""Seconds for which a value lives, by what has stored it, or has changed that."""


class State(NamedTuple):
    value: str | None = None
    ttl: float | None = None
    fills: frozenset[str] = frozenset()


class Rules(NamedTuple):
    """When all was cleared, and when the tag was invalidated: from the call to the return, in the order of events."""

    clears: tuple[tuple[int, int], ...] = ()
    untags: tuple[tuple[int, int], ...] = ()


def explain(operations: list[Operation]) -> str:
    """Return why no order of steps explains this history of one key; nothing, if one does."""
    shape = _shape_of(operations)
    if shape not in _explained:
        _explained[shape] = _explain(operations)
    return _explained[shape]


_explained: dict[Any, str] = {}
"""Of histories that differ in nothing but the number of events between theirs one is searched."""


def _shape_of(operations: list[Operation]) -> tuple[Any, ...]:
    runs = [FillRun("", False, 0, 0) if each.fill is None else each.fill for each in operations]
    events = [(each.began, each.ended, run.began, run.ended) for each, run in zip(operations, runs, strict=True)]
    order = {event: i for i, event in enumerate(sorted({event for each in events for event in each}))}
    return tuple(
        (each.kind, each.given, each.result, run.name, run.fails, *map(order.__getitem__, times))
        for each, run, times in zip(operations, runs, events, strict=True)
    )


def _explain(operations: list[Operation]) -> str:
    clears, untags = (
        tuple((each.began, each.ended) for each in operations if each.kind in kinds)
        for kinds in (("clear", "reclaim", "late clear"), ("untag", "late untag"))
    )
    return check_key(operations, Rules(clears, untags), SHARED)


def is_tagged(name: str | None) -> bool:
    """Say whether this value has the tag, by its name."""
    return name is not None and name.startswith("tagged")


def steps_of(operation: Operation, rules: Rules) -> list[Step]:
    kind, fill = operation.kind.removeprefix("tagged_"), operation.fill
    call, end = operation.began, operation.ended
    if kind in ("ask", "wait", "refresh"):
        return _steps_of_fill(operation, rules) if fill is not None else _steps_of_waiter(operation)
    if fill is not None:
        raise Wrong(f"{kind} ran a fill")
    is_change = kind in _CHANGES or kind.startswith("late")
    steps = list(_steps_of_change(operation) if is_change else _steps_of_look(operation))
    if kind == "set" and _overlaps_clear(operation, rules):
        steps.append(("fade", None))
    if operation.result in (ABSENT, False) and kind != "add" and _overlaps(operation, rules.untags):
        steps = [("drop" if kind in ("delete", "expire_now") else "look", None)]
    return [Step(does, what, call, end) for does, what in steps]


_CHANGES: Final = ("set", "add", "delete", "expire", "expire_now", "clear", "reclaim", "untag")


def _steps_of_look(operation: Operation) -> Iterator[tuple[str, Any]]:
    result = operation.result
    if result == LOST:
        return
    if operation.kind in ("get", "get_many"):
        yield "see", None if result == ABSENT else result
    elif operation.kind == "contains":
        yield "see_any", result
    elif operation.kind == "ttl_of":
        yield ("see", None) if result == ABSENT else ("see_ttl", result)
    else:
        raise Wrong(f"there is no operation {operation.kind!r}")


def _steps_of_change(operation: Operation) -> Iterator[tuple[str, Any]]:
    kind, result, given = operation.kind.removeprefix("tagged_"), operation.result, operation.given
    if kind.startswith("late"):
        yield "maybe", (kind.removeprefix("late "), None)
    elif result == LOST:
        yield from [("maybe", (kind, given))] * (2 if kind == "reclaim" else 1)
    elif kind in ("clear", "reclaim"):
        yield "clear", None
        if kind == "reclaim":
            yield "maybe", ("clear", None)
    elif kind == "untag":
        yield "untag", None
    elif not isinstance(result, bool) or (kind == "set" and not result):
        raise Wrong(f"{kind} gave {result!r}")
    elif kind == "add":
        yield "add" if result else "add_not", given
    else:
        yield kind, given if kind == "set" else result


def _steps_of_fill(operation: Operation, rules: Rules) -> list[Step]:
    fill, call, end = operation.fill, operation.began, operation.ended
    assert fill is not None
    if operation.result not in (Raised(fill.name) if fill.fails else fill.name, LOST):
        raise Wrong(f"{operation.kind} ran the fill {fill.name!r} and gave {operation.result!r}")
    is_refresh = operation.kind.endswith("refresh")
    claim = "claim_over" if is_refresh else "claim"
    ends = "fail" if fill.fails else "publish"
    opens = call if _overlaps_clear(operation, rules) else fill.ended or end
    steps = [Step(claim, fill.name, call, fill.began), Step(ends, fill.name, opens, end)]
    if is_refresh and is_tagged(fill.name) and _overlaps(operation, rules.untags):
        steps.append(Step("fade", None, fill.ended or end, end))
    return steps


def _overlaps_clear(operation: Operation, rules: Rules) -> bool:
    """Say whether what it stores may be stored under a version from before."""
    tagged = is_tagged(operation.given if operation.fill is None else operation.fill.name)
    return _overlaps(operation, rules.clears) or (tagged and _overlaps(operation, rules.untags))


def _overlaps(operation: Operation, times: tuple[tuple[int, int], ...]) -> bool:
    return any(began < operation.ended and operation.began < ended for began, ended in times)


def _steps_of_waiter(operation: Operation) -> list[Step]:
    result, call, end = operation.result, operation.began, operation.ended
    if result == LOST:
        return []
    name = result.name if isinstance(result, Raised) else result
    takes = "join" if operation.kind.endswith("refresh") or isinstance(result, Raised) else "take"
    return [Step(does, name, call, end) for does in (takes, "leave")]


def apply(step: Step, state: State, is_settled: bool, rules: Rules) -> Iterator[State]:
    does, what = step.does, step.what
    if does == "maybe":
        yield state
        kind, given = what
        does, what = ("clear" if kind == "reclaim" else kind), (state.value is not None if given is None else given)
    elif does == "publish" and what in state.fills:
        yield state._replace(fills=state.fills - {what})  # it was refused, or nothing was to be stored
    elif does == "fade":
        yield state
    if _may_happen(does, what, state, is_settled):
        yield _after(does, what, state)


def _may_happen(does: str, what: Any, state: State, is_settled: bool) -> bool:
    match does:
        case "see":
            return bool(state.value == what)
        case "see_any" | "delete" | "expire" | "expire_now":
            return bool(what) is (state.value is not None)
        case "see_ttl":
            return state.value is not None and state.ttl == what
        case "add" | "claim":
            return state.value is None
        case "add_not":
            return state.value is not None
        case "take":
            return what == state.value or what in state.fills
        case "join":
            return what in state.fills
        case "leave":
            return is_settled
    return does in ("set", "fade", "clear", "untag", "drop", "look", "claim_over", "publish", "fail")


def _after(does: str, what: Any, state: State) -> State:
    match does:
        case "set" | "add":
            return State(what, TTLS.get(what, TTLS[does]))
        case "delete" | "clear" | "expire_now" | "drop":
            return State()
        case "untag":
            fills = frozenset(fill for fill in state.fills if not is_tagged(fill))
            return State(None, None, fills) if is_tagged(state.value) else state._replace(fills=fills)
        case "fade":
            return State(None, None, state.fills)
        case "expire":
            return state._replace(ttl=TTLS[does]) if what else state
        case "claim" | "claim_over":
            return state._replace(fills=state.fills | {what})
        case "publish" if what in state.fills:
            return State(what, TTLS["fill"])
        case "fail":
            return state._replace(fills=state.fills - {what})
    return state


SHARED: Final = Model(State(), steps_of, apply)
