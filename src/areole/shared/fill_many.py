"""Fills of many keys of a shared cache: one look for all, one call of the fill for those that are not there.

Each key is fenced as it is alone, by the same steps (see `fills`): it has a flight of its own, takes its own token
before the call, and is stored under that after it. These steps run side by side (see `side_by_side`). So a change of
one key refuses the store of that key alone. No step waits for a flight while another one is led: see `batch`.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any

from .._core.entry import Empty
from .._core.sources import note_source
from .._core.ttl import SecondsOf
from .._fill.outcomes import Failed, result_of
from ..errors import BackendError
from .fill_call import FillCall, TagsOf
from .fills import FillOperations
from .outcome import Found
from .side_by_side import Asking, FillMany, side_by_side
from .steps import Steps

__all__ = ["find_or_fill_many", "get_or_fill_many"]


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
        return (yield from side_by_side(operations.mode, calls, operations.fill_past_the_store, fill_many))
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
    try:
        values, raws, version, lefts = yield from operations.look_many(names, names if measures else (), measures)
    except BackendError:
        if operations.state.raises:
            raise
        values, raws, version, lefts = [Empty] * len(names), [None] * len(names), None, []
    for call, value, raw, left in zip(calls, values, raws, lefts or names, strict=True):
        call.old, call.raw, call.version = value, raw, version
        if measures and value is not Empty:
            call.measure(left, operations.envelope.stale_of(raw))
        results[call] = value if value is Empty or not measures or call.takes(value) else Empty


def _lead(
    operations: FillOperations, by_name: dict[str, FillCall], fill_many: FillMany, names: list[str]
) -> Steps[list[Any]]:
    """Do what the leader of these flights does."""
    begin = FillOperations(operations.state, Asking(operations.mode), operations.envelope).lead
    return (yield from side_by_side(operations.mode, [by_name[name] for name in names], begin, fill_many))
