"""Which instructions are steps; what is left out lies between a `finally:` and the end of `release()` in it."""

from __future__ import annotations

import dis
import threading
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from areole._platform import locks as _locks
from areole._platform.locks import run_locked

from . import Injected, before_each, every_step, inject, signal_steps
from .steps import _looks_at_signals, _releasing, _touches_shared, all_steps

STEPS = [every_step, signal_steps]


def raise_interrupt() -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize("steps", STEPS)
@pytest.mark.parametrize("make", [threading.Lock, threading.RLock])
def test_an_interrupt_before_any_step_of_run_locked_leaves_the_lock_free(steps: Any, make: Any) -> None:
    assert before_each(steps, partial(interrupt, make)) > (10 if steps is every_step else 2)


def interrupt(make: Any, at: int) -> Injected:
    lock = make()
    injected = inject(partial(run_locked, lock, int, "7"), raise_interrupt, at)
    assert isinstance(injected.result, KeyboardInterrupt) if injected.places else injected.result == 7
    assert lock.acquire(blocking=False), injected
    return injected


def test_what_is_left_out_is_in_the_lines_of_the_release() -> None:
    code = run_locked.__code__
    shown = [each for each in dis.get_instructions(code) if each.opname not in ("CACHE", "PRECALL")]
    left_out = [each for each in shown if each.offset not in all_steps(code)]
    source = Path(_locks.__file__).read_text(encoding="utf-8").splitlines()
    lines = {source[each.positions.lineno - 1].strip() for each in left_out if each.positions and each.positions.lineno}
    assert lines == {"if taken:", "lock.release()"}
    assert {each.opname for each in left_out if not (each.positions and each.positions.lineno)} == {"PUSH_EXC_INFO"}


def test_of_instructions_that_only_load_the_first_is_a_step() -> None:
    """What comes before the next one could as well have come before it, unless a `try:` lies in between."""
    code = loads.__code__
    of_line: dict[int, int] = {}
    for each in dis.get_instructions(code):
        if each.offset in every_step(code) and each.positions and each.positions.lineno:
            line = each.positions.lineno - code.co_firstlineno
            of_line[line] = of_line.get(line, 0) + 1
    assert of_line[1] == 2, "the first load, and what comes after the call"
    assert of_line[3] >= 1, "the load in the `try`"


def loads(a: Any, b: Any, c: Any) -> Any:
    a(b, c)
    try:
        return c(a)
    finally:
        b()


# ---- other versions of the interpreter, by what `dis` shows there


def instructions(*told: tuple[int, str, Any, str]) -> list[Any]:
    """Make instructions, each with its line, name, argument, and that as text."""
    return [
        SimpleNamespace(
            offset=2 * i,
            positions=SimpleNamespace(lineno=line or None),
            opname=name,
            argval=argument,
            argrepr=text,
        )
        for i, (line, name, argument, text) in enumerate(told)
    ]


RELEASE_3_14 = [
    (5, "LOAD_FAST_BORROW", "taken", "taken"),
    (5, "TO_BOOL", None, ""),
    (5, "POP_JUMP_IF_FALSE", 60, "to L1"),
    (5, "NOT_TAKEN", None, ""),
    (6, "LOAD_FAST_BORROW", "lock", "lock"),
    (6, "LOAD_ATTR", "release", "release + NULL|self"),
    (6, "CALL", 0, ""),
    (6, "POP_TOP", None, ""),
]


def test_on_3_14_the_whole_condition_before_a_release_is_left_out() -> None:
    """Its `if` has an instruction more, and its loads have other names."""
    body = [(3, "LOAD_FAST_BORROW_LOAD_FAST_BORROW", ("function", "args"), ""), (3, "CALL_FUNCTION_EX", 0, "")]
    steps = instructions(*body, *RELEASE_3_14, (0, "PUSH_EXC_INFO", None, ""), *RELEASE_3_14, (6, "RERAISE", 1, ""))
    left_out = sorted({each // 2 for each in _releasing(steps)})
    assert [steps[i].opname for i in left_out[:7]] == [name for _, name, _, _ in RELEASE_3_14[:7]]
    assert [steps[i].opname for i in left_out[7:]] == ["PUSH_EXC_INFO", *[name for _, name, _, _ in RELEASE_3_14[:7]]]


def test_a_condition_of_something_else_in_the_line_before_is_a_step() -> None:
    other = [(5, "LOAD_FAST", "ended", "ended"), (5, "POP_JUMP_IF_FALSE", 60, "")]
    steps = instructions(*other, *RELEASE_3_14[4:])
    assert sorted({each // 2 for each in _releasing(steps)}) == [2, 3, 4]


@pytest.mark.parametrize(
    ("name", "looks"),
    [
        ("CALL", True),
        ("CALL_KW", True),
        ("CALL_FUNCTION_EX", True),
        ("CALL_INTRINSIC_1", False),
        ("RESUME", True),
        ("JUMP_BACKWARD", True),
        ("JUMP_BACKWARD_NO_INTERRUPT", False),
        ("JUMP_FORWARD", False),
        ("LOAD_SPECIAL", False),
        ("BINARY_OP", False),
        ("POP_ITER", False),
    ],
)
def test_where_signals_are_looked_at(name: str, looks: bool) -> None:
    assert _looks_at_signals(instructions((1, name, 0, ""))[0]) is looks


@pytest.mark.parametrize(
    ("name", "argument", "text", "touches"),
    [
        ("BINARY_OP", 26, "[]", True),  # a subscript, since 3.14
        ("BINARY_OP", 0, "+", False),
        ("BINARY_SUBSCR", None, "", True),
        ("LOAD_ATTR", "flight", "flight", True),
        ("LOAD_ATTR", "setdefault", "setdefault + NULL|self", True),
        ("LOAD_SPECIAL", 1, "__exit__", False),
        ("LOAD_FAST_BORROW", "flight", "flight", False),
    ],
)
def test_what_touches_what_threads_share(name: str, argument: Any, text: str, touches: bool) -> None:
    assert _touches_shared(instructions((1, name, argument, text))[0]) is touches
