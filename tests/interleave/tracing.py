"""See the instructions of areole's code as they are run, in this thread or in all; act before some of them.

Instructions are seen through `sys.monitoring`, which leaves the code as it is between runs, and is called in every
thread; on 3.11 through `sys.settrace`. Code that is met for the first time shows its instructions from the next run on,
so a run that met new code is thrown away, and made again.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import CodeType, FrameType
from typing import Any, TypeVar

from .steps import StepsOf, is_areole_code

__all__ = ["Injected", "afresh", "apart", "before_each", "inject", "place", "stepping", "watched"]

T = TypeVar("T")

_local = threading.local()
_met: dict[int, CodeType] = {}  # areole's code, as far as it has run, by identity: what is compiled again is equal
_watched: list[StepsOf] = []  # while instructions are asked for, which
_offsets: dict[int, tuple[CodeType, frozenset[int]]] = {}  # those of each code, by identity: a code's hash is slow
_TOOL = 4  # of the numbers that sys.monitoring gives out, one that no debugger, profiler or coverage uses


def place() -> str:
    frame: FrameType | None = sys._getframe()
    while frame is not None and not is_areole_code(frame.f_code):
        frame = frame.f_back
    return "a point of the test" if frame is None else f"{os.path.basename(frame.f_code.co_filename)}:{frame.f_lineno}"


@contextmanager
def watched(steps_of: StepsOf) -> Iterator[None]:
    """Make these instructions of areole visible, no longer than needed: all threads that run it get slower by it."""
    _watched.append(steps_of)
    try:
        if sys.version_info >= (3, 12):
            _ask_for_instructions()
        yield
    finally:
        _watched.clear()
        _offsets.clear()
        if sys.version_info >= (3, 12):
            _show_instructions(False)
            _met.clear()  # generated code would be kept for ever; the next one meets what it runs again
            sys.monitoring.set_events(_TOOL, 0)


@contextmanager
def stepping(at_step: Callable[[], bool]) -> Iterator[None]:
    """Call `at_step` before each of the watched instructions that this thread runs, until it says that it is over.

    Not within `at_step`.
    """
    assert _watched, "only within `with watched(...)`"
    if sys.version_info >= (3, 12):
        _local.at_step = at_step
        try:
            yield
        finally:
            _local.at_step = None
    else:
        before = sys.gettrace()
        sys.settrace(_tracer(at_step))
        try:
            yield
        finally:
            sys.settrace(before)


def _is_step(code: CodeType, offset: int) -> bool:
    known = _offsets.get(id(code))
    if known is None:
        known = _offsets[id(code)] = code, _watched[-1](code)
    return offset in known[1]


def _tracer(at_step: Callable[[], bool]) -> Any:
    def start(frame: FrameType, event: str, arg: object) -> Any:
        if not is_areole_code(frame.f_code):
            return None
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        return step

    def step(frame: FrameType, event: str, arg: object) -> Any:
        if event == "opcode" and _is_step(frame.f_code, frame.f_lasti):
            at_step()
        return step

    return start


def _ask_for_instructions() -> None:
    monitoring = sys.monitoring
    if monitoring.get_tool(_TOOL) is None:
        monitoring.use_tool_id(_TOOL, "schedules of areole")
        monitoring.register_callback(_TOOL, monitoring.events.INSTRUCTION, _step)
        monitoring.register_callback(_TOOL, monitoring.events.PY_START, _meet)
    monitoring.set_events(_TOOL, monitoring.events.PY_START)
    monitoring.restart_events()  # what `_step` had disabled, for it was not watched then
    _show_instructions(True)


def _show_instructions(shown: bool) -> None:
    for code in list(_met.values()):
        sys.monitoring.set_local_events(_TOOL, code, sys.monitoring.events.INSTRUCTION if shown else 0)


def _meet(code: CodeType, offset: int) -> Any:
    """Called when a function starts for the first time: note areole's; ask for nothing more of others."""
    if is_areole_code(code):
        _met[id(code)] = code
        _show_instructions(bool(_watched))
    return sys.monitoring.DISABLE


def _step(code: CodeType, offset: int) -> Any:
    """Called before each instruction that is shown."""
    at_step = getattr(_local, "at_step", None)
    if at_step is None:
        return None
    if not _is_step(code, offset):
        return sys.monitoring.DISABLE
    _local.at_step, is_over = None, False
    try:
        is_over = at_step()
    finally:
        if not is_over:
            _local.at_step = at_step
    return None


class Injected:
    """What became of one `inject`."""

    def __init__(self, at: tuple[int, ...]) -> None:
        self.at = at
        self.steps = 0
        self.places: list[str] = []  # where the action was called; empty if the function ended before
        self.result: Any = None  # what the function returned, or raised
        self.met_new_code = False  # some of its instructions were not seen, and the run must be made again

    def __repr__(self) -> str:
        return f"injected before step {self.at}, that is {self.places}"


def inject(function: Callable[[], Any], action: Callable[[], Any], *at: int) -> Injected:
    """Call `function` in this thread, and `action` in the midst of it, before the n-th step for each n of `at`.

    Only within `with watched(...)`, which says what a step is.
    """
    injected = Injected(at)
    last, known = max(at), len(_met)

    def at_step() -> bool:
        injected.steps += 1
        if injected.steps in at:
            injected.places.append(place())
            action()
        return injected.steps >= last

    try:
        with stepping(at_step):
            injected.result = next(apart(function))
    except BaseException as error:
        injected.result = error.with_traceback(None)
    injected.met_new_code = len(_met) > known
    assert sys.exception() is None, "an exception raised by the interpreter's cleaning code is still being handled"
    return injected


def apart(function: Callable[[], Any]) -> Iterator[Any]:
    """Yield what `function` returns. A generator has a stack of handled exceptions of its own, to be thrown away.

    What is raised between a handler's PUSH_EXC_INFO and its POP_EXCEPT is not popped off it, and would otherwise be the
    context of all that this thread ever raises again.
    """
    yield function()


def afresh(make_run: Callable[[], T]) -> T:
    """Make a run, and again for as long as it meets code that no tracer had seen before."""
    while True:
        known = len(_met)
        run = make_run()
        if len(_met) == known:
            return run


def before_each(steps: StepsOf, run: Callable[[int], Injected], first: int = 1, stride: int = 1) -> int:
    """Call `run(n)`, which injects before step n, for n = 1, 2, 3, ... until there is no n-th one; return that n."""
    at = first
    with watched(steps):
        while (injected := run(at)).places or injected.met_new_code:
            at += 0 if injected.met_new_code else stride
    return at
