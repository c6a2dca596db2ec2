"""Fills of many keys of a shared cache: one look for all, one call of the fill for those that are not there.

Each key is fenced as it is alone, by the same steps (see `fills`): it has a flight of its own, takes its own token
before the call, and is stored under that after it. These steps run side by side: those of each key until they come to
the fill, then the call, then those of each key to their end. So a change of one key refuses the store of that key
alone, and what fails for one key fails for no other. No step waits for a flight while another one is led: see `batch`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, Final

from .._core.entry import Empty
from .._core.sources import note_source
from .._core.ttl import SecondsOf
from .._fill.outcomes import Failed, outcomes_of, result_of
from ..errors import BackendError
from .fill_call import FillCall, TagsOf
from .fills import FillOperations
from .outcome import Found
from .steps import Steps

__all__ = ["find_or_fill_many", "get_or_fill_many"]

FillMany = Callable[[list[Any]], Any]

AT_ITS_FILL: Final = Empty
"""What the steps of a key give when they have come to the fill."""


def get_or_fill_many(
    operations: FillOperations,
    keys: Iterable[Any],
    fill_many: FillMany,
    seconds_of: SecondsOf[Any, Any],
    tags_of: TagsOf = None,
) -> Steps[dict[Any, Any]]:
    """Return the value of each key; raise what one of them has raised when all that were filled are stored."""
    values: dict[Any, Any] = dict.fromkeys(keys, Empty)
    name = operations.state.keys.name
    calls = [FillCall(name(key), key, None, seconds_of, tags_of=tags_of) for key in values]
    local = operations.tiers()[0]
    if local is not None:
        values = {call.key: local.find_kept(operations, call.name) for call in calls}
        calls = [call for call in calls if values[call.key] is Empty]
    if not calls:
        return values
    if local is None:
        found = yield from find_or_fill_many(operations, calls, fill_many, measures=False)
    else:
        kept = partial(_find_to_keep, operations, calls, fill_many)
        found = [each.value for each in (yield from local.keep([call.name for call in calls], kept))]
    for call, outcome in zip(calls, found, strict=True):
        values[call.key] = result_of(outcome)
        note_source(operations.state.name, call.key, call.source)
    return values


def _find_to_keep(
    operations: FillOperations, calls: list[FillCall], fill_many: FillMany, keeps: list[bool]
) -> Steps[list[Found]]:
    found = yield from find_or_fill_many(operations, calls, fill_many, measures=any(keeps))
    return [
        Found(each, 0.0, "filled") if type(each) is Failed else call.found_as(each)
        for call, each in zip(calls, found, strict=True)
    ]


def find_or_fill_many(
    operations: FillOperations, calls: list[FillCall], fill_many: FillMany, measures: bool
) -> Steps[list[Any]]:
    """Return the value for each call, or Failed; `measures`: they note for how long it may be kept in front."""
    if not operations.tiers()[1]:
        return (yield from _together(operations, calls, operations.fill_past_the_store, fill_many))
    state = operations.state
    results: dict[FillCall, Any] = dict.fromkeys(calls, Empty)
    left, is_counted = calls, False
    while left:
        yield from _look(operations, left, measures, results)
        missing = [call for call in left if results[call] is Empty]
        if not is_counted:
            state.counters.hits += len(left) - len(missing)
            state.counters.misses += len(missing)
            is_counted = True
        if missing:
            by_name = {call.name: call for call in missing}
            lead = partial(_lead, operations, by_name, fill_many)
            outcomes = yield operations.mode.fly_many(list(by_name), lead)
            for call in missing:
                outcome = outcomes[call.name]
                failed = type(outcome) is Failed
                results[call] = outcome if failed else (yield from operations.served(call, outcome))
        left = [call for call in missing if results[call] is Empty]
    if state.item_limit is not None:
        for call in calls:
            if type(results[call]) is not Failed:
                yield from operations.evict(state.item_limit.note(call.name))
    return [results[call] for call in calls]


def _look(
    operations: FillOperations, calls: list[FillCall], measures: bool, results: dict[FillCall, Any]
) -> Steps[None]:
    """Note in each call what the store has for it, and what of that answers it in `results`."""
    names = [call.name for call in calls]
    lefts = (yield from operations.lefts(names)) if measures else names  # before the values are read
    try:
        values, raws, version = yield from operations.look_many(names, takes_stale=measures)
    except BackendError:
        if operations.state.raises:
            raise
        values, raws, version = [Empty] * len(names), [None] * len(names), None
    for call, value, raw, left in zip(calls, values, raws, lefts, strict=True):
        call.old, call.raw, call.version = value, raw, version
        if measures and value is not Empty:
            call.measure(left, operations.envelope.stale_of(raw))
        results[call] = value if value is Empty or not measures or call.takes(value) else Empty


def _lead(
    operations: FillOperations, by_name: dict[str, FillCall], fill_many: FillMany, names: list[str]
) -> Steps[list[Any]]:
    """Do what the leader of these flights does."""
    return (yield from _together(operations, [by_name[name] for name in names], operations.lead, fill_many))


def _together(
    operations: FillOperations,
    calls: list[FillCall],
    begin: Callable[[FillCall], Steps[Any]],
    fill_many: FillMany,
) -> Steps[list[Any]]:
    """Run the steps of each call, with one call of the fill for those that come to it; return what they give."""
    all_steps = {call: begin(call) for call in calls}
    results: dict[FillCall, Any] = {}
    try:
        for call, steps in all_steps.items():
            results[call] = yield from _go_on(call, steps, partial(next, steps))
        waiting = [call for call in calls if results[call] is AT_ITS_FILL]
        if waiting:
            results |= yield from _fill(operations, {call: all_steps[call] for call in waiting}, fill_many)
        return [results[call] for call in calls]
    finally:
        for steps in all_steps.values():
            steps.close()


def _fill(
    operations: FillOperations, waiting: dict[FillCall, Steps[Any]], fill_many: FillMany
) -> Steps[dict[FillCall, Any]]:
    """Call the fill for the keys of these calls, whose steps wait for that, and run those to their end."""
    keys = [call.key for call in waiting]
    try:
        filled = outcomes_of(keys, (yield operations.mode.call_fill(fill_many, list(keys))))
    except GeneratorExit:  # as in `fills`
        raise
    except BaseException as error:
        results = {}
        for call, steps in waiting.items():
            try:
                results[call] = yield from _go_on(call, steps, partial(steps.throw, error))
            except BaseException as raised:
                if raised is not error:
                    raise
        if not isinstance(error, Exception):
            raise
        return results
    results = {}
    for (call, steps), outcome in zip(waiting.items(), filled, strict=True):
        go_on = partial(steps.throw, outcome.error) if type(outcome) is Failed else partial(steps.send, outcome)
        results[call] = yield from _go_on(call, steps, go_on)
    return results


def _go_on(call: FillCall, steps: Steps[Any], go_on: Callable[[], Any]) -> Steps[Any]:
    """Run the steps of a call until they come to the fill, or to their end; return what they give, or Failed."""
    try:
        step = go_on()
        while step is not call:
            try:
                result = yield step
            except BaseException as error:
                step = steps.throw(error)
            else:
                step = steps.send(result)
    except StopIteration as end:
        return end.value
    except Exception as error:
        return Failed(error)
    return AT_ITS_FILL
