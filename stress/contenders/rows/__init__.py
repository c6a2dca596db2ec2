"""The programs: a file each, whose header says what it asks and what counts as surviving.

Each has a `run(contender, effort)`, which returns a short detail, or raises Wrong, Hangs or NotOffered; what else it
raises is what the contender raised.
"""

from __future__ import annotations

import importlib
from typing import Final

from ..contender import Contender
from ..tools import Effort

__all__ = ["LOOP_ROWS", "THREAD_ROWS", "header_of", "question_of", "run_row"]

THREAD_ROWS: Final = (
    "cold_key",
    "fill_raises",
    "fill_dies",
    "own_key",
    "crossed_keys",
    "removed_during_fill",
    "interrupted_wait",
    "right_values",
    "expiry",
    "expired_leave",
    "expired_first",
    "clock_leaps",
    "bound",
    "bytes_limit",
    "finalizer",
    "reentrant_keys",
    "equal_hashes",
    "calls",
    "methods",
    "coroutine_under_decorator",
    "cached_exceptions",
    "fork",
    "memory",
    "threads_come_and_go",
    "many_instances",
    "import_keeps_gil_off",
)
LOOP_ROWS: Final = (
    "loop_cold_key",
    "loops_two",
    "loop_cancelled_leader",
    "loop_failed_task",
    "loop_old_task",
    "loop_old_timer",
    "loop_closed_waiter",
)


def run_row(row: str, contender: Contender, effort: Effort) -> str:
    detail: str = importlib.import_module(f".{row}", __name__).run(contender, effort)
    return detail


def header_of(row: str) -> str:
    return importlib.import_module(f".{row}", __name__).__doc__ or ""


def question_of(row: str) -> str:
    """Return the first line of the header: what surviving means, as a sentence."""
    return header_of(row).partition("\n")[0].rstrip(".")
