"""Which instructions of areole's code are steps: those that touch what threads share, those at which a signal comes."""

from __future__ import annotations

import dis
import functools
import os
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from types import CodeType
from typing import TypeAlias

import areole
from areole._platform import generated

__all__ = ["EXHAUSTIVE", "StepsOf", "all_steps", "every_step", "is_areole_code", "shared_steps", "signal_steps"]

StepsOf: TypeAlias = Callable[[CodeType], frozenset[int]]
"""Gives the offsets of some instructions of a code object: `shared_steps`, `signal_steps`, `every_step`."""

EXHAUSTIVE = "AREOLE_EXHAUSTIVE" in os.environ

_PACKAGE = os.path.dirname(areole.__file__) + os.sep
_TABLE_STEPS = ("BINARY_SUBSCR", "STORE_SUBSCR", "DELETE_SUBSCR", "BINARY_OP_SUBSCR")
_ATTRIBUTE_STEPS = ("LOAD_ATTR", "LOAD_METHOD", "STORE_ATTR")
_LOADS = ("COPY", "LOAD_CONST", "LOAD_FAST", "LOAD_GLOBAL", "NOP", "NOT_TAKEN", "PUSH_NULL", "SWAP")
_LOADS += ("LOAD_FAST_BORROW", "LOAD_FAST_BORROW_LOAD_FAST_BORROW", "LOAD_FAST_LOAD_FAST", "LOAD_SMALL_INT")
_SHARED_SLOTS = ("flight", "value", "deadline", "error", "entry", "waits", "locked", "old")
_SHARED_SLOTS += ("asked", "expires", "stale_until", "throttled_until", "times")  # of entries with StaleTimes
_UNDER_THE_LOCK = ("_leaving", "_placed", "_retiring", "_successors")  # used by the holder of the index's lock alone
_SHARED_TABLES = ("setdefault", "pop", "values", "compare_and_set", "append", "remove", "copy")


def is_areole_code(code: CodeType) -> bool:
    return code.co_filename.startswith(_PACKAGE) or code.co_filename.startswith(generated.FILE)


@functools.cache
def shared_steps(code: CodeType) -> frozenset[int]:
    """The offsets of the instructions of `code` that touch what threads share.

    What makes an object shares nothing; and when one is finalized may be for the garbage collector to say, so that the
    same choices would not give the same run.
    """
    if code.co_name in ("__init__", "__del__"):
        return frozenset()
    steps = [step for step in dis.get_instructions(code) if step.opname != "CACHE"]
    return frozenset(step.offset for i, step in enumerate(steps) if _touches_shared(step, steps[max(i - 2, 0) : i]))


def _touches_shared(step: dis.Instruction, before: Sequence[dis.Instruction] = ()) -> bool:
    if any(each.argval in _UNDER_THE_LOCK for each in before) and (step.argval == "pop" or "SUBSCR" in step.opname):
        return False
    if step.opname in _ATTRIBUTE_STEPS:
        return step.argval in _SHARED_SLOTS or step.argval in _SHARED_TABLES
    return step.opname in _TABLE_STEPS or (step.opname == "BINARY_OP" and step.argrepr == "[]")  # a subscript on 3.14


@functools.cache
def every_step(code: CodeType) -> frozenset[int]:
    """The offsets of the instructions of `code` before which something differs from what was before the one before.

    An instruction that only loads what is there, as `LOAD_FAST` does, changes nothing: what comes before the next one,
    under the same `except` or `finally`, could as well have come before it. AREOLE_EXHAUSTIVE=1 has all instructions.
    """
    steps, guards = all_steps(code), _guards_of(code)
    if EXHAUSTIVE:
        return steps
    return steps - {
        step.offset
        for before, step in pairwise(_instructions(code))
        if before.opname in _LOADS
        and before.offset in steps
        and not step.is_jump_target
        and guards(before.offset) == guards(step.offset)
    }


@functools.cache
def all_steps(code: CodeType) -> frozenset[int]:
    """The offsets of all instructions of `code`, without those by which a lock is released.

    Between a `finally:` and the end of the call of `release()` in it an exception would leave the lock held, and no
    Python code can help that. No signal arrives there: see `areole._platform.locks`.

    Nor those of a `__del__`: Python prints what is raised there, and drops it.
    """
    if code.co_name == "__del__":
        return frozenset()
    steps = _instructions(code)
    return frozenset(step.offset for step in steps).difference(_releasing(steps))


def _instructions(code: CodeType) -> list[dis.Instruction]:
    return [step for step in dis.get_instructions(code) if step.opname not in ("CACHE", "PRECALL")]


def _guards_of(code: CodeType) -> Callable[[int], tuple[int, int, bool] | None]:
    """Return what says where an exception at an offset goes."""
    entries = dis.Bytecode(code).exception_entries  # type: ignore[attr-defined]
    guards = [(each.start, each.end, (each.target, each.depth, each.lasti)) for each in entries]
    return lambda offset: next((guard for start, end, guard in guards if start <= offset < end), None)


def _releasing(steps: list[dis.Instruction]) -> Iterator[int]:
    """Give the offsets of what lies between a `finally:` and the end of the call of `release()` in it."""
    for i, step in enumerate(steps):
        if step.argval != "release" or not (step.opname == "LOAD_METHOD" or "NULL|self" in step.argrepr):
            continue
        first = i - _count_before(steps, i, _line(step))
        condition = _count_before(steps, first, _line(step) - 1)
        if _is_condition(steps[first - condition : first]):
            first -= condition
        if first and steps[first - 1].opname == "PUSH_EXC_INFO":
            first -= 1
        last = next(j for j in range(i, len(steps)) if steps[j].opname == "CALL")
        yield from (each.offset for each in steps[first : last + 1])


def _count_before(steps: list[dis.Instruction], i: int, line: int) -> int:
    """Count the instructions of `line` that come right before the i-th one."""
    return next((n for n in range(i) if _line(steps[i - 1 - n]) != line), i)


def _is_condition(steps: list[dis.Instruction]) -> bool:
    """Say whether these are an `if taken:`, which has an instruction more on 3.13, and another one on 3.14."""
    names = [name for each in steps for name in (each.argval if isinstance(each.argval, tuple) else (each.argval,))]
    return "taken" in names and any(each.opname.startswith("POP_JUMP") for each in steps)


def _line(step: dis.Instruction) -> int:
    line = step.positions.lineno if step.positions else None
    return -1 if line is None else line


@functools.cache
def signal_steps(code: CodeType) -> frozenset[int]:
    """The offsets of the instructions of `code` between which a signal handler can run: see `every_step`.

    These are RESUME, a backward jump, a CALL (for what comes as the called function starts), and the instruction after
    a CALL, if the same `except` or `finally` looks after it as after the CALL itself.
    """
    guards = _guards_of(code)
    steps = _instructions(code)
    offsets = {step.offset for step in steps if _looks_at_signals(step)}
    for step, following in pairwise(steps):
        is_call = step.opname.startswith("CALL") and _looks_at_signals(step)
        if is_call and guards(step.offset) == guards(following.offset):
            offsets.add(following.offset)
    return frozenset(offsets & all_steps(code))


def _looks_at_signals(step: dis.Instruction) -> bool:
    """Say whether the interpreter looks at signals in this instruction: not in calls of its own helpers."""
    if step.opname.startswith("CALL_INTRINSIC") or step.opname.endswith("NO_INTERRUPT"):
        return False
    return step.opname.startswith(("RESUME", "JUMP_BACKWARD", "CALL"))
